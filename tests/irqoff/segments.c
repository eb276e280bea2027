/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An arena from empty to a million segments and back.
 */
#include "arena.h"
#include "arena/arena_impl.h"
#include "drive.h"
#include "lib/test.h"

#define SEGMENTS 1000000
#define QUANTUM 12 /* odd: it meets powers of two at its own multiples only */
#define START ((uintptr_t)QUANTUM << 20)
#define ODD 4096 /* quanta */
#define SOME 2000 /* requests of each kind */
#define WALK_MAX 100000

/* More triples than an index keeps. */
static const struct {
	size_t align, phase, nocross;
} triples[] = {
	{16, 0, 0}, {64, 32, 0}, {0, 0, 64}, {256, 4, 1024}, {4096, 0, 0}, {32, 8, 32},
};

static void *at(size_t i)
{
	return (void *)(START + i * QUANTUM);
}

/* Hands out every other segment again by constrained requests of every kind, and takes them back. */
static void constrained(struct arena *a)
{
	for (size_t k = 0; k < sizeof(triples) / sizeof(triples[0]); k++) {
		for (size_t i = 0; i < SOME; i++) {
			uintptr_t low = START + i * 97 * QUANTUM;
			void *p = arena_xalloc(a, QUANTUM, triples[k].align, triples[k].phase,
				triples[k].nocross, i & 1 ? low : 0, 0, i & 2 ? MEM_ERROR : MEM_ATOMIC);

			if (p)
				arena_xfree(a, p, QUANTUM);
		}
	}
}

static void fits(struct arena *a)
{
	static const unsigned flags[] = {ARENA_INSTANTFIT, ARENA_BESTFIT, ARENA_NEXTFIT};

	for (size_t i = 0; i < SOME; i++) {
		size_t size = (1 + i % 3) * QUANTUM;
		void *p = arena_alloc(a, size, flags[i % 3] | MEM_ATOMIC);

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

/* Few segments, of a quantum that wraps around most slowly in blocks of nocross. */
static void odd(void)
{
	static const size_t quanta[] = {3, 12, 0xfffff1, 0x9e3779b1, 0xc97ba3d5};

	for (size_t i = 0; i < sizeof(quanta) / sizeof(quanta[0]); i++) {
		size_t q = quanta[i];
		struct arena *a = arena_create("odd", (void *)q, ODD * q, q, NULL, NULL, NULL, 0, MEM_WAIT);

		for (size_t n = 0; n < ODD / 8; n++)
			CHECK(arena_alloc(a, q, MEM_WAIT));
		arena_index_build(a);
		for (size_t k = 0; k < 2 * BTAG_TRIPLES; k++) {
			void *p = arena_xalloc(a, q, 0, 0, (size_t)1 << (36 + 3 * k), 0, 0, MEM_ERROR);

			for (size_t n = 1; n < ODD / 8; n += 2)
				arena_free(a, (void *)(q * n), q);
			for (size_t n = 1; n < ODD / 8; n += 2)
				CHECK(arena_alloc(a, q, MEM_WAIT));
			if (p)
				arena_xfree(a, p, q);
		}
		for (size_t n = 1; n <= ODD / 8; n++)
			arena_free(a, (void *)(q * n), q);
		CHECK_EQ(arena_destroy(a), 0);
	}
}

void drive_segments(void)
{
	struct arena *a = arena_create("driven", (void *)START, (size_t)SEGMENTS * QUANTUM, QUANTUM, NULL,
		NULL, NULL, 0, MEM_WAIT);

	odd();
	CHECK(a);
	fill(a);
	look(a);
	free_every(a, 0, 2);
	look(a);
	fits(a);
	constrained(a);
	look(a);
	free_every(a, 1, 4);
	constrained(a);
	arena_reap(a, SIZE_MAX);
	look(a);
	free_every(a, 3, 4);
	arena_reap(a, SIZE_MAX);
	look(a);
	/* And with the index standing all the way. */
	arena_index_build(a);
	fill(a);
	constrained(a);
	free_every(a, 0, 2);
	constrained(a);
	free_every(a, 1, 2);
	CHECK_EQ(arena_destroy(a), 0);
}
