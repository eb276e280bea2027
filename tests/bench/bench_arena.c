/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What arenas cost: cycles of allocation and freeing, and hard requests in adversarial layouts.
 *
 * A layout is a row of n holes, each between two used segments.  In every one of them all holes but one fail
 * the request, each by a little; that one lies at the far end of the search.  A `_fail` row asks for what not
 * even that hole can serve.
 */
#include "bench_arena.h"

#include "arena.h"
#include "arena_impl.h"
#include "port.h"

/* Layouts */

/* Segments in address order, hole and wall in turn; the holes are freed once all stand. */
struct layout {
	struct arena *arena;
	size_t holes;
	size_t (*size_of)(size_t i); /* of hole i */
	size_t wall;
	uintptr_t first;
};

#define BENCH_START ((uintptr_t)1 << 20)

static void *must(void *p)
{
	if (!p)
		panic("bench: no memory for %s", "a layout");
	return p;
}

static void layout_make(struct layout *l, size_t quantum, size_t holes, size_t wall,
	size_t (*size_of)(size_t i))
{
	uintptr_t at;

	*l = (struct layout){.holes = holes, .size_of = size_of, .wall = wall, .first = BENCH_START};
	l->arena = arena_create("bench", (void *)BENCH_START, (size_t)1 << 45, quantum, NULL, NULL, NULL,
		0, MEM_WAIT);
	for (size_t i = 0; i < holes; i++) {
		must(arena_alloc(l->arena, size_of(i), MEM_ATOMIC));
		must(arena_alloc(l->arena, wall, MEM_ATOMIC));
	}
	/* The rest of the span is used too, so that no hole is larger than it should be. */
	must(arena_alloc(l->arena, arena_amt_free(l->arena), MEM_ATOMIC));
	at = BENCH_START;
	for (size_t i = 0; i < holes; i++) {
		arena_free(l->arena, (void *)at, size_of(i));
		at += size_of(i) + wall;
	}
}

static void layout_end(struct layout *l)
{
	uintptr_t at = BENCH_START;

	arena_index_drop(l->arena);
	for (size_t i = 0; i < l->holes; i++) {
		at += l->size_of(i);
		arena_free(l->arena, (void *)at, l->wall);
		at += l->wall;
	}
	arena_free(l->arena, (void *)at, ((size_t)1 << 45) - (at - BENCH_START));
	arena_destroy(l->arena);
}

/* Rows */

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
	uint64_t begin;

	hard_pair(a, h, serves, MEM_ERROR);
	begin = port_ticks();
	for (int i = 0; i < HARD_PAIRS; i++)
		hard_pair(a, h, serves, MEM_ATOMIC);
	return (port_ticks() - begin) / HARD_PAIRS;
}

struct hard_row {
	const char *name, *name_fail;
	size_t (*size_of)(size_t i);
	size_t wall;
	struct hard serves, fails;
};

static size_t holes_now; /* of the layout being made */

static bool is_last(size_t i)
{
	return i == holes_now - 1;
}

/* One quantum short but for the last. */
static size_t short_holes(size_t i)
{
	return is_last(i) ? 64 : 63;
}

/* All of one bin, of sixteen sizes. */
static size_t mixed_holes(size_t i)
{
	return is_last(i) ? 143 : 128 + i * 7 % 15;
}

/* With walls of 33 they begin on multiples of 64 and reach to phase 31 of it; the last to 95. */
static size_t misaligned_holes(size_t i)
{
	return is_last(i) ? 95 : 31;
}

/* With walls of 33 they lie across a multiple of 64, 16 below it and 15 above, all but the first, which is
 * small; the last has 47 above. */
static size_t crossing_holes(size_t i)
{
	return i == 0 ? 15 : is_last(i) ? 63 : 31;
}

static const struct hard_row hard_rows[] = {
	{"bestfit", "bestfit_fail", mixed_holes, 1, {.size = 143, .fit = ARENA_BESTFIT},
		{.size = 144, .fit = ARENA_BESTFIT}},
	{"nextfit", "nextfit_fail", short_holes, 1, {.size = 64, .fit = ARENA_NEXTFIT},
		{.size = 65, .fit = ARENA_NEXTFIT}},
	{"xalloc_align", "xalloc_align_fail", misaligned_holes, 33, {.size = 16, .align = 64, .phase = 48},
		{.size = 80, .align = 64, .phase = 48}},
	{"xalloc_window", "xalloc_window_fail", short_holes, 1,
		{.size = 64, .min = BENCH_START + 100, .max = (uintptr_t)1 << 45},
		{.size = 64, .min = BENCH_START + 100, .max = 0}},
	{"xalloc_nocross", "xalloc_nocross_fail", crossing_holes, 33, {.size = 17, .nocross = 64},
		{.size = 48, .nocross = 64}},
};

static void bench_hard(const struct hard_row *r, size_t n, bench_row_fn row)
{
	struct hard fails = r->fails;
	struct layout l;
	uint64_t begin;

	holes_now = n;
	layout_make(&l, 1, n, r->wall, r->size_of);
	begin = port_ticks();
	arena_index_build(l.arena);
	row("index_build", n, port_ticks() - begin);
	/* A window whose last unit cuts the hole that would serve. */
	if (fails.min)
		fails.max = BENCH_START + (n - 1) * (63 + 1) + 63;
	row(r->name, n, hard_pairs(l.arena, &r->serves, true));
	row(r->name_fail, n, hard_pairs(l.arena, &fails, false));
	layout_end(&l);
}

/* Cycles without an index */

#define EASY_PAIRS 4096

static void bench_easy(size_t live, bench_row_fn row)
{
	struct arena *a = arena_create("bench", (void *)BENCH_START, (size_t)1 << 45, 1, NULL, NULL, NULL,
		0, MEM_WAIT);
	size_t pages = (live * sizeof(uintptr_t) + PORT_PAGE_SIZE - 1) / PORT_PAGE_SIZE;
	uintptr_t *at = must(base_alloc(NULL, pages * PORT_PAGE_SIZE, MEM_ERROR));
	uint64_t begin, seed = 1;

	for (size_t i = 0; i < live; i++)
		at[i] = (uintptr_t)must(arena_alloc(a, 1, MEM_ATOMIC));

	begin = port_ticks();
	for (int i = 0; i < EASY_PAIRS; i++)
		arena_free(a, must(arena_alloc(a, 1, MEM_ATOMIC)), 1);
	row("arena_pair", live, (port_ticks() - begin) / EASY_PAIRS);

	begin = port_ticks();
	for (int i = 0; i < EASY_PAIRS; i++) {
		size_t k;

		seed = seed * 6364136223846793005 + 1442695040888963407;
		k = (seed >> 33) % live;
		arena_free(a, (void *)at[k], 1);
		at[k] = (uintptr_t)must(arena_alloc(a, 1, MEM_ATOMIC));
	}
	row("arena_random", live, (port_ticks() - begin) / EASY_PAIRS);

	for (size_t i = 0; i < live; i++)
		arena_free(a, (void *)at[i], 1);
	base_free(NULL, at, pages * PORT_PAGE_SIZE);
	arena_destroy(a);
}

void bench_arena(size_t n, bench_row_fn row)
{
	bench_easy(n, row);
	for (size_t i = 0; i < sizeof(hard_rows) / sizeof(hard_rows[0]); i++)
		bench_hard(&hard_rows[i], n, row);
}
