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

	arena_reap(l->arena, SIZE_MAX); /* its index, which each free would have to change */
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

	/* The first build the index, and make its numbers exact for the constraints. */
	for (int i = 0; i < 4; i++)
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

/* The row keeps the seed: each call takes other segments, which aren't in the CPU's cache yet. */
uint64_t row_random(struct row *r, unsigned flags)
{
	uintptr_t *at = r->at;
	uint64_t start = port_ticks(), seed = r->seed;

	for (int i = 0; i < PAIRS; i++) {
		size_t k;

		/* Knuth's MMIX generator; its high bits are the random ones. */
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		k = (seed >> 32) * r->n >> 32;
		arena_free(r->arena, (void *)at[k], 1);
		at[k] = (uintptr_t)arena_alloc(r->arena, 1, flags);
	}
	r->seed = seed;
	return bench_per(port_ticks() - start, PAIRS);
}
