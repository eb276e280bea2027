/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An arena from empty to some million segments and back, with its index.
 */
#include "arena.h"
#include "drive.h"
#include "lib/test.h"

#define SEGMENTS 2000000 /* every other of them free: a million */
#define QUANTUM 16
#define START ((uintptr_t)QUANTUM << 20)
#define SOME 2000 /* requests of each kind */
#define WALK_MAX 100000

/* More triples than an index keeps and counts. */
static const struct {
	size_t align, phase, nocross;
} triples[] = {
	{64, 0, 0}, {64, 32, 0}, {0, 0, 64}, {256, 16, 1024}, {4096, 0, 0}, {32, 16, 32}, {128, 48, 0},
	{1024, 512, 0}, {0, 0, 256}, {512, 16, 512}, {2048, 0, 4096}, {8192, 4096, 0}, {256, 128, 0},
	{64, 48, 128},
};
#define TRIPLES (sizeof(triples) / sizeof(triples[0]))

static void *at(size_t i)
{
	return (void *)(START + i * QUANTUM);
}

/* Hands out free segments by constrained requests of every kind, and takes them back: many in turn
 * under few triples, so that these are kept, and under all. */
static void constrained_by(struct arena *a, size_t k, size_t i)
{
	size_t size = (1 + i % 2) * QUANTUM;
	uintptr_t low = START + i * 97 * QUANTUM;
	unsigned fit = i % 5 == 1 ? ARENA_HIGHFIT : i % 5 == 2 ? ARENA_NEXTFIT : ARENA_INSTANTFIT;
	void *p;

	size = triples[k].nocross && size > triples[k].nocross ? QUANTUM : size;
	p = arena_xalloc(a, size, triples[k].align, triples[k].phase, triples[k].nocross,
		i % 3 ? low : 0, i % 4 == 3 ? low + 4096 * QUANTUM : 0, fit | (i & 1 ? MEM_ERROR : MEM_ATOMIC));
	if (p)
		arena_xfree(a, p, size);
}

static void constrained(struct arena *a)
{
	for (size_t i = 0; i < SOME; i++)
		for (size_t k = 0; k < 4; k++)
			constrained_by(a, k, i);
	for (size_t i = 0; i < SOME; i++)
		constrained_by(a, i % TRIPLES, i);
}

static void fits(struct arena *a)
{
	static const unsigned flags[] = {
		ARENA_INSTANTFIT, ARENA_BESTFIT, ARENA_NEXTFIT, ARENA_HIGHFIT};

	for (size_t i = 0; i < SOME; i++) {
		size_t size = (1 + i % 3) * QUANTUM;
		void *p = arena_alloc(a, size, flags[i % 4] | (i % 7 ? MEM_ATOMIC : MEM_ERROR));

		if (p)
			arena_free(a, p, size);
	}
}

struct count {
	size_t seen;
};

static bool count_some(const struct arena_segment *s, void *arg)
{
	struct count *c = arg;

	return ++c->seen < WALK_MAX;
}

static bool never(void *arg)
{
	return false;
}

static void look(struct arena *a)
{
	struct arena_stats stats;
	struct arena_segment segment;
	struct count count = {0};

	for (size_t i = 0; i < SEGMENTS; i += SEGMENTS / 16)
		arena_find_segment(a, (uintptr_t)at(i), &segment);
	arena_find_segment(a, 1, &segment);
	arena_find_segment(a, UINTPTR_MAX, &segment);
	arena_get_stats(a, &stats);
	arena_walk(a, count_some, &count);
	CHECK_EQ(arena_check(a, &null_sink), 0);
	CHECK_EQ(arena_check_until(a, &null_sink, never, NULL), 0);
}

static void fill(struct arena *a)
{
	for (size_t i = 0; i < SEGMENTS; i++)
		CHECK(arena_alloc(a, QUANTUM, MEM_ERROR));
}

static void free_every(struct arena *a, size_t first, size_t step)
{
	for (size_t i = first; i < SEGMENTS; i += step)
		arena_free(a, at(i), QUANTUM);
}

static bool has_index(struct arena *a)
{
	struct arena_stats stats;

	arena_get_stats(a, &stats);
	return stats.index_bytes > 0;
}

/* A young arena's index grows with it. */
static void grow_indexed(struct arena *a)
{
	CHECK(arena_index(a));
	fill(a);
	free_every(a, 0, 2);
	CHECK(has_index(a));
	constrained(a);
	fits(a);
	CHECK(arena_index(a)); /* makes exact what it keeps */
	look(a);
	free_every(a, 1, 2);
}

void drive_segments(void)
{
	struct arena *a = arena_create("driven", (void *)START, (size_t)SEGMENTS * QUANTUM, QUANTUM, NULL,
		NULL, NULL, 0, MEM_WAIT);

	CHECK(a);
	fill(a);
	look(a);
	free_every(a, 0, 2);
	look(a);
	fits(a);
	constrained(a);
	look(a);
	/* It comes by itself, and by itself it goes. */
	CHECK(has_index(a));
	free_every(a, 1, 4);
	CHECK(!has_index(a));
	constrained(a);
	fits(a);
	arena_reap(a, SIZE_MAX);
	look(a);
	free_every(a, 3, 4);
	arena_reap(a, SIZE_MAX);
	look(a);
	grow_indexed(a);
	CHECK_EQ(arena_destroy(a), 0);
}
