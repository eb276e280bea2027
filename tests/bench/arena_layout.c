/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas to be measured: adversarial layouts, and rows of used segments.
 */
#include "arena_layout.h"

#include "lib/bench.h"
#include "lib/panic.h"
#include "physical.h"

#define START ((uintptr_t)1 << 20)
#define SIZE ((size_t)1 << 45)

/* The most bytes that a hole takes: two tags, a node, their part of the hash. */
#define BYTES_PER_HOLE 512

bool bench_has_room(size_t n)
{
	return n * BYTES_PER_HOLE < arena_amt_free(base_arena);
}

void *bench_must(void *p)
{
	if (!p)
		panic("bench: no memory for a layout");
	return p;
}

static struct arena *make_plain(void)
{
	return bench_must(
		arena_create("bench", (void *)START, SIZE, 1, NULL, NULL, NULL, 0, MEM_ERROR));
}

/* Allocates holes and walls in turn, in address order, and then frees the holes. */
void layout_make(struct layout *l, const struct hard_rows *rows, size_t holes)
{
	uintptr_t at = START;

	*l = (struct layout){rows, holes, rows->serves, rows->fails, make_plain()};
	if (rows->set_window)
		rows->set_window(&l->serves, &l->fails, holes);
	for (size_t i = 0; i < holes; i++) {
		bench_must(arena_alloc(l->arena, rows->size_of(i, holes), MEM_ATOMIC));
		bench_must(arena_alloc(l->arena, rows->wall, MEM_ATOMIC));
	}
	/* Allocates the rest of the span too, so that it isn't a hole. */
	bench_must(arena_alloc(l->arena, arena_amt_free(l->arena), MEM_ATOMIC));
	for (size_t i = 0; i < holes; i++) {
		size_t size = rows->size_of(i, holes);

		arena_free(l->arena, (void *)at, size);
		at += size + rows->wall;
	}
}

void layout_end(struct layout *l)
{
	uintptr_t at = START;

	/* An index that isn't for good goes, since each free would have to change it. */
	arena_reap(l->arena, SIZE_MAX);
	for (size_t i = 0; i < l->holes; i++) {
		at += l->rows->size_of(i, l->holes);
		arena_free(l->arena, (void *)at, l->rows->wall);
		at += l->rows->wall;
	}
	arena_free(l->arena, (void *)at, SIZE - (at - START));
	arena_destroy(l->arena);
}

/* Requests */

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
#define WARM_PAIRS 4 /* the index comes, the triple is kept, its numbers become exact */

static void hard_pair(struct arena *a, const struct hard *h, bool serves, unsigned mem)
{
	void *p = ask(a, h, mem);

	if ((p != NULL) != serves)
		panic("bench: a request %s", serves ? "failed" : "was served");
	if (p)
		give_back(a, h, p);
}

uint64_t layout_pair(struct layout *l, bool serves)
{
	const struct hard *h = serves ? &l->serves : &l->fails;
	uint64_t start;

	for (int i = 0; i < WARM_PAIRS; i++)
		hard_pair(l->arena, h, serves, MEM_ERROR);
	start = port_ticks();
	for (int i = 0; i < HARD_PAIRS; i++)
		hard_pair(l->arena, h, serves, MEM_ATOMIC);
	return bench_per(port_ticks() - start, HARD_PAIRS);
}

/* Kinds of layouts */

/* All are one quantum short but the last. */
static size_t short_holes(size_t i, size_t n)
{
	return i == n - 1 ? 64 : 63;
}

/* All of one bin, of sixteen sizes. */
static size_t mixed_holes(size_t i, size_t n)
{
	return i == n - 1 ? 143 : 128 + i * 7 % 15;
}

/* In the next two layouts no hole is as large as the request with its slack, not even the hole that
 * serves. */

/* With walls of 33, holes begin on multiples of 64 and end at phase 31; the last one is 64 long. */
static size_t misaligned_holes(size_t i, size_t n)
{
	return i == n - 1 ? 64 : 31;
}

/* With walls of 33, holes lie across a multiple of 64, with 16 below it and 15 above.  The first is
 * smaller; the last has 20 above. */
static size_t crossing_holes(size_t i, size_t n)
{
	return i == 0 ? 15 : i == n - 1 ? 36 : 31;
}

/* The first and the last hole are huge; between them all are one quantum short but the last. */
#define HUGE_HOLE 4096
static size_t window_holes(size_t i, size_t n)
{
	return i == 0 || i == n - 1 ? HUGE_HOLE : i == n - 2 ? 64 : 63;
}

/* The window of the request that is served has 60 units of each huge hole in it.  The window of the
 * request that fails ends one unit before the end of the hole that would serve. */
static void set_window(struct hard *serves, struct hard *fails, size_t n)
{
	uintptr_t first = START + HUGE_HOLE + 1, serving = first + (n - 3) * (63 + 1);

	serves->min = fails->min = first - 61;
	serves->max = serving + 64 + 1 + 60;
	fails->max = serving + 63;
}

const struct hard_rows hard_bestfit = {"bestfit", "bestfit_fail", mixed_holes, 1,
	{.size = 143, .fit = ARENA_BESTFIT}, {.size = 144, .fit = ARENA_BESTFIT}, NULL};
const struct hard_rows hard_nextfit = {"nextfit", "nextfit_fail", short_holes, 1,
	{.size = 64, .fit = ARENA_NEXTFIT}, {.size = 65, .fit = ARENA_NEXTFIT}, NULL};
const struct hard_rows hard_align = {"xalloc_align", "xalloc_align_fail", misaligned_holes, 33,
	{.size = 16, .align = 64, .phase = 48}, {.size = 17, .align = 64, .phase = 48}, NULL};
const struct hard_rows hard_nocross = {"xalloc_nocross", "xalloc_nocross_fail", crossing_holes, 33,
	{.size = 20, .nocross = 64}, {.size = 21, .nocross = 64}, NULL};
const struct hard_rows hard_window = {"xalloc_window", "xalloc_window_fail", window_holes, 1,
	{.size = 64}, {.size = 64}, set_window};

/* Requests in turn, where holes are of all sizes and at all places */

#define MANY_PAIRS 4096
#define MANY_SIZES 64

/* The finaliser of MurmurHash3 (A. Appleby), whose results look like chance. */
static uint64_t scatter(uint64_t x)
{
	x = (x ^ x >> 33) * 0xff51afd7ed558ccd;
	x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53;
	return x ^ x >> 33;
}

static size_t scattered_holes(size_t i, size_t n)
{
	return 1 + scatter(i + 1) % MANY_SIZES;
}

const struct hard_rows hard_many = {"xalloc_many", NULL, scattered_holes, 1, {0}, {0}, NULL};

/* Of holes of 1 to 64, these serve one in eight: (65 - size)^2 = 16 * align.  No hole is as large
 * as size + align - 1, which would serve in any case. */
static const struct hard many_kinds[MANY_KINDS / 4] = {
	{.size = 42, .align = 32}, {.size = 33, .align = 64}, {.size = 20, .align = 128},
	{.size = 1, .align = 256},
};

/* Each alignment comes at four phases. */
static void many_pair(struct layout *l, unsigned i, unsigned mem)
{
	struct hard h = many_kinds[i % (MANY_KINDS / 4)];

	h.phase = i / (MANY_KINDS / 4) * (h.align / 4);
	hard_pair(l->arena, &h, true, mem);
}

uint64_t layout_many(struct layout *l, unsigned mem)
{
	uint64_t start;

	for (unsigned i = 0; i < MANY_PAIRS; i++)
		many_pair(l, i % MANY_KINDS, mem);
	start = port_ticks();
	for (unsigned i = 0; i < MANY_PAIRS; i++)
		many_pair(l, i % MANY_KINDS, mem);
	return bench_per(port_ticks() - start, MANY_PAIRS);
}

/* Rows of used segments */

#define PAIRS 65536

void row_make(struct row *r, size_t n)
{
	*r = (struct row){.arena = make_plain(), .n = n, .seed = 1};
	r->at = bench_must(arena_alloc(large_arena, n * sizeof(*r->at), MEM_ERROR));
	for (size_t i = 0; i < n; i++)
		r->at[i] = (uintptr_t)bench_must(arena_alloc(r->arena, 1, MEM_ATOMIC));
}

void row_end(struct row *r)
{
	for (size_t i = 0; i < r->n; i++)
		arena_free(r->arena, (void *)r->at[i], 1);
	arena_free(large_arena, r->at, r->n * sizeof(*r->at));
	arena_destroy(r->arena);
}

uint64_t bench_pair(struct arena *a, size_t size, unsigned flags)
{
	uint64_t start;

	for (int i = 0; i < 2; i++)
		arena_free(a, bench_must(arena_alloc(a, size, flags)), size);
	start = port_ticks();
	for (int i = 0; i < PAIRS; i++)
		arena_free(a, arena_alloc(a, size, flags), size);
	return bench_per(port_ticks() - start, PAIRS);
}

/* Knuth's MMIX generator; its high bits are the random ones.  Returns a number below n. */
static inline size_t chance(uint64_t *seed, size_t n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (*seed >> 32) * n >> 32;
}

/* The row keeps the seed: each call takes other segments, which aren't in the CPU's cache yet. */
uint64_t row_random(struct row *r, unsigned flags)
{
	uintptr_t *at = r->at;
	uint64_t start = port_ticks(), seed = r->seed;

	for (int i = 0; i < PAIRS; i++) {
		size_t k = chance(&seed, r->n);

		arena_free(r->arena, (void *)at[k], 1);
		at[k] = (uintptr_t)arena_alloc(r->arena, 1, flags);
	}
	r->seed = seed;
	return bench_per(port_ticks() - start, PAIRS);
}

#define DEEP_ROUNDS 16

static void shuffle(struct row *r)
{
	for (size_t i = r->n - 1; i > 0; i--) {
		size_t j = chance(&r->seed, i + 1);
		uintptr_t other = r->at[j];

		r->at[j] = r->at[i];
		r->at[i] = other;
	}
}

static void refill(struct row *r, unsigned flags)
{
	for (size_t i = 0; i < r->n; i++)
		arena_free(r->arena, (void *)r->at[i], 1);
	for (size_t i = 0; i < r->n; i++)
		r->at[i] = (uintptr_t)arena_alloc(r->arena, 1, flags);
}

uint64_t row_deep(struct row *r, unsigned flags)
{
	uint64_t ticks = 0;

	for (int i = -1; i < DEEP_ROUNDS; i++) {
		uint64_t start;

		shuffle(r);
		start = port_ticks();
		refill(r, flags);
		ticks += i < 0 ? 0 : port_ticks() - start;
	}
	return bench_per(ticks, r->n * DEEP_ROUNDS);
}

/* An index that comes and goes */

#define HARD_MAX 1000	 /* hard requests, until an index must have come */
#define HARD_MORE 64	 /* and then, under four constraints in turn */
#define OPERATIONS 10000 /* after the last of them */

static bool has_index(struct arena *a)
{
	struct arena_stats stats;

	arena_get_stats(a, &stats);
	return stats.index_bytes > 0;
}

/* A request for two quanta within [min, max), where no two are free side by side.  It doesn't sleep: before
 * that spans would go back, and leave some. */
static void hard_request(struct arena *a, size_t quantum, unsigned i, uintptr_t min, uintptr_t max)
{
	size_t align = quantum << i % 4;
	port_irq_t irq = port_irq_save();
	void *p = arena_xalloc(a, 2 * quantum, align, 0, 0, min, max, MEM_ERROR);

	port_irq_restore(irq);
	if (p)
		panic("bench: a request was served");
}

static void index_come(struct arena *a, size_t quantum, uintptr_t min, uintptr_t max)
{
	unsigned i = 0;

	while (!has_index(a) && i < HARD_MAX)
		hard_request(a, quantum, i++, min, max);
	if (!has_index(a))
		panic("bench: no index came");
	for (i = 0; i < HARD_MORE; i++)
		hard_request(a, quantum, i, min, max);
}

/* `done` operations have been since. */
static void index_go(struct arena *a, size_t size, unsigned done)
{
	for (; done < OPERATIONS; done += 2)
		arena_free(a, bench_must(arena_alloc(a, size, MEM_WAIT)), size);
	if (has_index(a))
		panic("bench: the index has not gone");
}

void row_index(struct row *r)
{
	for (size_t i = 0; i < r->n; i += 2)
		arena_free(r->arena, (void *)r->at[i], 1);
	index_come(r->arena, 1, START, START + r->n);
	for (size_t i = 0; i < r->n; i += 2)
		r->at[i] = (uintptr_t)bench_must(arena_alloc(r->arena, 1, MEM_WAIT));
	index_go(r->arena, 1, r->n / 2);
}

#define IMPORTER_BASE ((size_t)16 << 20)
#define SPAN_PAGES 8

/* Each span of SPAN_PAGES is freed, retained, and then handed out page by page. */
void importer_make(struct importer *i)
{
	void *apart[AFTER_SEGMENTS / SPAN_PAGES];

	i->memory = bench_must(base_alloc(NULL, IMPORTER_BASE, MEM_ERROR));
	i->base = bench_must(arena_create_base("bench", i->memory, IMPORTER_BASE));
	i->arena = bench_must(arena_create("bench", NULL, 0, PORT_PAGE_SIZE, arena_alloc,
		arena_free, i->base, 0, MEM_ERROR));
	for (size_t n = 0; n < AFTER_SEGMENTS; n++) {
		size_t span = SPAN_PAGES * PORT_PAGE_SIZE;

		if (n % SPAN_PAGES == 0) {
			arena_free(i->arena, bench_must(arena_alloc(i->arena, span, MEM_ERROR)), span);
			apart[n / SPAN_PAGES] = bench_must(arena_alloc(i->base, PORT_PAGE_SIZE, MEM_ERROR));
		}
		i->at[n] = bench_must(arena_alloc(i->arena, PORT_PAGE_SIZE, MEM_ERROR));
	}
	for (size_t n = 0; n < AFTER_SEGMENTS / SPAN_PAGES; n++)
		arena_free(i->base, apart[n], PORT_PAGE_SIZE);
}

void importer_end(struct importer *i)
{
	for (size_t n = 0; n < AFTER_SEGMENTS; n++)
		arena_free(i->arena, i->at[n], PORT_PAGE_SIZE);
	arena_destroy(i->arena);
	arena_destroy(i->base);
	base_free(NULL, i->memory, IMPORTER_BASE);
}

/* Hard requests end where the retained span begins, which lies behind the others. */
void importer_index(struct importer *i)
{
	void *end = bench_must(arena_alloc(i->arena, IMPORTER_PAIR, MEM_ERROR));

	arena_free(i->arena, end, IMPORTER_PAIR);
	for (size_t n = 0; n < AFTER_SEGMENTS; n += 2)
		arena_free(i->arena, i->at[n], PORT_PAGE_SIZE);
	index_come(i->arena, PORT_PAGE_SIZE, (uintptr_t)i->at[0], (uintptr_t)end);
	if (!has_index(i->base))
		panic("bench: no index came to the base");
	for (size_t n = 0; n < AFTER_SEGMENTS; n += 2)
		i->at[n] = bench_must(arena_alloc(i->arena, PORT_PAGE_SIZE, MEM_WAIT));
	index_go(i->arena, IMPORTER_PAIR, AFTER_SEGMENTS / 2);
}
