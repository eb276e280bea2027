/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What arenas cost: cycles of allocation and freeing, imports, mappings, and hard requests in adversarial
 * layouts.
 *
 * A layout is a row of n holes, each between two used segments.  In every one of them all holes but one fail
 * the request, each by a little; that one lies at the far end of the search.  A `_fail` row asks for what not
 * even that hole can serve.
 *
 * Rows come at 10^3 to 10^6 segments, as many of those as memory has room for.
 */
#include "arena.h"
#include "arena_impl.h"
#include "bench.h"
#include "lib/panic.h"
#include "physical.h"
#include "port.h"
#include "vmap.h"

#define START ((uintptr_t)1 << 20)
#define SIZE ((size_t)1 << 45)

/* Bytes a hole takes at most: two tags, a node, their part of the hash. */
#define BYTES_PER_HOLE 512

static const size_t sizes[] = {1000, 10000, 100000, 1000000};

static bool has_room(size_t n)
{
	return n * BYTES_PER_HOLE < arena_amt_free(base_arena);
}

static void *must(void *p)
{
	if (!p)
		panic("bench: no memory for a layout");
	return p;
}

static struct arena *make_plain(void)
{
	return must(arena_create("bench", (void *)START, SIZE, 1, NULL, NULL, NULL, 0, MEM_ERROR));
}

/* Layouts: segments in address order, hole and wall in turn; the holes are freed once all stand. */

struct layout {
	struct arena *arena;
	size_t holes;
	size_t (*size_of)(size_t i, size_t n); /* of hole i of n */
	size_t wall;
};

static void layout_make(struct layout *l)
{
	uintptr_t at = START;

	l->arena = make_plain();
	for (size_t i = 0; i < l->holes; i++) {
		must(arena_alloc(l->arena, l->size_of(i, l->holes), MEM_ATOMIC));
		must(arena_alloc(l->arena, l->wall, MEM_ATOMIC));
	}
	/* The rest of the span is used too, so that no hole is larger than it should be. */
	must(arena_alloc(l->arena, arena_amt_free(l->arena), MEM_ATOMIC));
	for (size_t i = 0; i < l->holes; i++) {
		size_t size = l->size_of(i, l->holes);

		arena_free(l->arena, (void *)at, size);
		at += size + l->wall;
	}
}

static void layout_end(struct layout *l)
{
	uintptr_t at = START;

	arena_index_drop(l->arena);
	for (size_t i = 0; i < l->holes; i++) {
		at += l->size_of(i, l->holes);
		arena_free(l->arena, (void *)at, l->wall);
		at += l->wall;
	}
	arena_free(l->arena, (void *)at, SIZE - (at - START));
	arena_destroy(l->arena);
}

/* Hard requests */

struct hard {
	size_t size, align, phase, nocross;
	uintptr_t min, max;
	unsigned fit;
};

static bool is_plain(const struct hard *h)
{
	return !h->align && !h->nocross && !h->min && !h->max;
}

static void *ask(struct arena *a, const struct hard *h, unsigned mem)
{
	if (is_plain(h))
		return arena_alloc(a, h->size, mem | h->fit);
	return arena_xalloc(
		a, h->size, h->align, h->phase, h->nocross, h->min, h->max, mem | h->fit);
}

static void give_back(struct arena *a, const struct hard *h, void *p)
{
	if (is_plain(h))
		arena_free(a, p, h->size);
	else
		arena_xfree(a, p, h->size);
}

#define HARD_PAIRS 256

static void hard_pair(struct arena *a, const struct hard *h, bool serves, unsigned mem)
{
	void *p = ask(a, h, mem);

	if ((p != NULL) != serves)
		panic("bench: a request %s", serves ? "failed" : "was served");
	if (p)
		give_back(a, h, p);
}

/* Mean of a pair; the first, which builds what it needs, isn't counted. */
static uint64_t hard_pairs(struct arena *a, const struct hard *h, bool serves)
{
	uint64_t start;

	hard_pair(a, h, serves, MEM_ERROR);
	start = port_ticks();
	for (int i = 0; i < HARD_PAIRS; i++)
		hard_pair(a, h, serves, MEM_ATOMIC);
	return bench_per(port_ticks() - start, HARD_PAIRS);
}

struct hard_rows {
	const char *name, *name_fail;
	size_t (*size_of)(size_t i, size_t n);
	size_t wall;
	struct hard serves, fails;
};

static void hard_at(const struct hard_rows *r, const struct hard *serves, const struct hard *fails, size_t n)
{
	struct layout l = {.holes = n, .size_of = r->size_of, .wall = r->wall};

	layout_make(&l);
	bench_row(r->name, n, hard_pairs(l.arena, serves, true), "instr");
	bench_row(r->name_fail, n, hard_pairs(l.arena, fails, false), "instr");
	layout_end(&l);
}

static void hard_rows_run(const struct hard_rows *r)
{
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && has_room(sizes[i]); i++)
		hard_at(r, &r->serves, &r->fails, sizes[i]);
}

/* One quantum short but for the last. */
static size_t short_holes(size_t i, size_t n)
{
	return i == n - 1 ? 64 : 63;
}

/* All of one bin, of sixteen sizes. */
static size_t mixed_holes(size_t i, size_t n)
{
	return i == n - 1 ? 143 : 128 + i * 7 % 15;
}

/* The last, too, serves but for where it lies: it is smaller than the request with its slack. */

/* With walls of 33 they begin on multiples of 64 and reach to phase 31 of it; the last to 64. */
static size_t misaligned_holes(size_t i, size_t n)
{
	return i == n - 1 ? 64 : 31;
}

/* With walls of 33 they lie across a multiple of 64, 16 below it and 15 above, all but the first, which is
 * small; the last has 20 above. */
static size_t crossing_holes(size_t i, size_t n)
{
	return i == 0 ? 15 : i == n - 1 ? 36 : 31;
}

/* A huge hole at either end; between them all are one quantum short but for the last. */
#define HUGE_HOLE 4096
static size_t window_holes(size_t i, size_t n)
{
	return i == 0 || i == n - 1 ? HUGE_HOLE : i == n - 2 ? 64 : 63;
}

BENCH("bestfit")
{
	static const struct hard_rows r = {"bestfit", "bestfit_fail", mixed_holes, 1,
		{.size = 143, .fit = ARENA_BESTFIT}, {.size = 144, .fit = ARENA_BESTFIT}};

	hard_rows_run(&r);
}

BENCH("nextfit")
{
	static const struct hard_rows r = {"nextfit", "nextfit_fail", short_holes, 1,
		{.size = 64, .fit = ARENA_NEXTFIT}, {.size = 65, .fit = ARENA_NEXTFIT}};

	hard_rows_run(&r);
}

BENCH("xalloc_align")
{
	static const struct hard_rows r = {"xalloc_align", "xalloc_align_fail", misaligned_holes, 33,
		{.size = 16, .align = 64, .phase = 48}, {.size = 17, .align = 64, .phase = 48}};

	hard_rows_run(&r);
}

BENCH("xalloc_nocross")
{
	static const struct hard_rows r = {"xalloc_nocross", "xalloc_nocross_fail", crossing_holes, 33,
		{.size = 20, .nocross = 64}, {.size = 21, .nocross = 64}};

	hard_rows_run(&r);
}

/* Either end of the window leaves 60 units of a huge hole in it; that of the request that fails cuts the
 * hole that would have served. */
BENCH("xalloc_window")
{
	static const struct hard_rows r = {
		"xalloc_window", "xalloc_window_fail", window_holes, 1, {0}, {0}};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && has_room(sizes[i]); i++) {
		uintptr_t first = START + HUGE_HOLE + 1, serving = first + (sizes[i] - 3) * (63 + 1);
		struct hard serves = {.size = 64, .min = first - 61, .max = serving + 64 + 1 + 60};
		struct hard fails = {.size = 64, .min = first - 61, .max = serving + 63};

		hard_at(&r, &serves, &fails, sizes[i]);
	}
}

BENCH("index_build")
{
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && has_room(sizes[i]); i++) {
		struct layout l = {.holes = sizes[i], .size_of = mixed_holes, .wall = 1};
		uint64_t start;

		layout_make(&l);
		start = port_ticks();
		if (!arena_index_build(l.arena))
			panic("bench: no memory for an index");
		bench_row("index_build", sizes[i], port_ticks() - start, "instr");
		layout_end(&l);
	}
}

/* Cycles without an index */

#define PAIRS 65536

static uint64_t pairs(struct arena *a, size_t size, unsigned flags)
{
	uint64_t start;

	for (int i = 0; i < 2; i++)
		arena_free(a, must(arena_alloc(a, size, flags)), size);
	start = port_ticks();
	for (int i = 0; i < PAIRS; i++)
		arena_free(a, arena_alloc(a, size, flags), size);
	return bench_per(port_ticks() - start, PAIRS);
}

/* Frees one of the n segments at[] at a time and allocates another for it. */
static uint64_t random_pairs(struct arena *a, uintptr_t *at, size_t n, unsigned flags)
{
	uint64_t start = port_ticks(), seed = 1;

	for (int i = 0; i < PAIRS; i++) {
		size_t k;

		/* Knuth's MMIX generator; its high bits are the random ones. */
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		k = (seed >> 32) * n >> 32;
		arena_free(a, (void *)at[k], 1);
		at[k] = (uintptr_t)arena_alloc(a, 1, flags);
	}
	return bench_per(port_ticks() - start, PAIRS);
}

static void plain_rows(size_t n)
{
	struct arena *a = make_plain();
	uintptr_t *at = must(arena_alloc(large_arena, n * sizeof(*at), MEM_ERROR));

	for (size_t i = 0; i < n; i++)
		at[i] = (uintptr_t)must(arena_alloc(a, 1, MEM_ATOMIC));
	bench_row("arena_pair", n, pairs(a, 1, MEM_WAIT), "instr");
	bench_row("arena_pair.atomic", n, pairs(a, 1, MEM_ATOMIC), "instr");
	bench_row("arena_random", n, random_pairs(a, at, n, MEM_WAIT), "instr");
	bench_row("arena_random.atomic", n, random_pairs(a, at, n, MEM_ATOMIC), "instr");
	for (size_t i = 0; i < n; i++)
		arena_free(a, (void *)at[i], 1);
	arena_free(large_arena, at, n * sizeof(*at));
	arena_destroy(a);
}

BENCH("arena_pair")
{
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && has_room(sizes[i]); i++)
		plain_rows(sizes[i]);
}

/* Imports and mappings */

#define IMPORT_SIZE (16 * PORT_PAGE_SIZE)

/* The span that the first import brings stays. */
BENCH("import_pair")
{
	bench_row("import_pair", 1, pairs(kpages_arena, IMPORT_SIZE, MEM_WAIT), "instr");
	bench_row("import_pair.atomic", 1, pairs(kpages_arena, IMPORT_SIZE, MEM_ATOMIC), "instr");
}

/* An arena like kpages_arena that retains nothing. */
BENCH("import_forced")
{
	struct arena *a = must(arena_create("bench", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free,
		base_arena, 0, MEM_ERROR));

	a->retain_max = 0;
	bench_row("import_forced", 1, pairs(a, IMPORT_SIZE, MEM_WAIT), "instr");
	bench_row("import_forced.atomic", 1, pairs(a, IMPORT_SIZE, MEM_ATOMIC), "instr");
	arena_destroy(a);
}

BENCH("vmap_pair")
{
	void *page = must(arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_ERROR));
	uint64_t start = 0;

	/* The first makes the page tables. */
	for (int i = -1; i < PAIRS; i++) {
		if (i == 0)
			start = port_ticks();
		vunmap(must(vmap(&page, 1, MEM_WAIT)), 1);
	}
	bench_row("vmap_pair", 1, bench_per(port_ticks() - start, PAIRS), "instr");
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
}

BENCH("tag_bytes")
{
	bench_row("tag_bytes", 1, sizeof(struct btag), "bytes");
}
