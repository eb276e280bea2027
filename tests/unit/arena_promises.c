/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sentences of arena.h that no other test is about.
 */
#include "arenas.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"

TEST("arena: storage of the caller's need not be cleared, and is the caller's again")
{
	static char storage[ARENA_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));
	struct arena *a;

	for (int byte = 0xff; byte > 0; byte -= 0x55) {
		memset(storage, byte, sizeof(storage));
		a = __arena_create((struct arena *)storage, "placed", (void *)1, 100, 1, NULL, NULL, NULL, 4,
			MEM_WAIT);
		CHECK(a == (struct arena *)storage);
		arena_free(a, arena_alloc(a, 3, MEM_ATOMIC), 3);
		CHECK_EQ(arena_check(a, &console_sink), 0);
		CHECK_EQ(__arena_destroy(a), 0);
	}
}

TEST("arena: the first of all arenas is the base arena")
{
	CHECK(all_arenas == base_arena);
}

/* Which integers of [4, 28) a piece that mustn't cross a multiple of 8 may start at. */
TEST("xalloc: starting on a multiple of nocross is no crossing, nor is ending on one")
{
	struct arena *a = arenas_ids(4, 24);

	for (size_t size = 1; size <= 8; size++)
		for (uintptr_t at = 4; at + size <= 28; at++) {
			void *got = arena_xalloc(a, size, 0, 0, 8, at, at + size, MEM_ATOMIC);
			bool crosses = at / 8 != (at + size - 1) / 8;

			CHECK_EQ((uintptr_t)got, crosses ? 0 : at);
			if (got)
				arena_xfree(a, got, size);
		}
	arenas_end(a);
}

TEST("xalloc: a size that is larger than nocross once it is rounded has no place")
{
	struct arena *a = arenas_root(128, 10);

	CHECK(!arena_xalloc(a, 60, 0, 0, 64, 0, 0, MEM_ATOMIC));
	CHECK_EQ(arenas_stats(a).failures_by[ARENA_FAILURE_IMPOSSIBLE], 1);
	CHECK_PANICS(arena_xalloc(a, 60, 0, 0, 64, 0, 0, MEM_WAIT), "no address can serve");
	arena_xfree(a, arena_xalloc(a, 60, 0, 0, 128, 0, 0, MEM_ATOMIC), 60);
	arenas_end(a);
}

TEST("arena: the segment that has an address is found at its first and last unit")
{
	static const struct {
		uintptr_t at, start;
		size_t size;
		enum arena_segment_kind kind;
	} known[] = {
		{9, 0, 0, 0},
		{10, 10, 5, ARENA_SEGMENT_USED},
		{14, 10, 5, ARENA_SEGMENT_USED},
		{15, 15, 5, ARENA_SEGMENT_FREE},
		{19, 15, 5, ARENA_SEGMENT_FREE},
		{20, 20, 10, ARENA_SEGMENT_USED}, /* by arena_xalloc() */
		{29, 20, 10, ARENA_SEGMENT_USED},
		{30, 0, 0, 0},
		{UINTPTR_MAX, 0, 0, 0},
		{0, 0, 0, 0},
	};
	struct arena *a = arenas_ids(10, 20);
	void *low = arena_xalloc(a, 5, 0, 0, 0, 10, 15, MEM_WAIT);
	void *high = arena_xalloc(a, 10, 0, 0, 0, 20, 30, MEM_WAIT);

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		struct arena_segment s = {0};

		CHECK_EQ(arena_find_segment(a, known[i].at, &s), known[i].size > 0);
		CHECK_EQ(s.start, known[i].start);
		CHECK_EQ(s.size, known[i].size);
		CHECK_EQ(s.kind, known[i].kind);
	}
	arena_xfree(a, low, 5);
	arena_xfree(a, high, 10);
	arenas_end(a);
}

static bool stop_at_second(const struct arena_segment *s, void *arg)
{
	return ++*(size_t *)arg < 2;
}

TEST("arena: a walk ends where its function says so")
{
	struct arena *a = arenas_ids(10, 20);
	void *p = arena_alloc(a, 5, MEM_ATOMIC);
	size_t n = 0;

	arena_walk(a, stop_at_second, &n);
	CHECK_EQ(n, 2);
	arena_free(a, p, 5);
	arenas_end(a);
}

/* A span for each, so that what the front gives back goes on to the source, too. */
TEST("arena: a reap answers what came free in the source, what the front held included")
{
	struct arena *a = arenas_ids(1, 100000);
	struct arena *b = arena_create(
		"fronted", NULL, 0, 1, arena_alloc, arena_free, a, 4, MEM_WAIT);
	static void *held[1000];
	size_t before, came;

	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		held[i] = arena_alloc(b, 1, MEM_WAIT);
	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		arena_free(b, held[i], 1);
	before = arena_amt_free(a);
	CHECK_EQ(arena_reap(b, 0), 0);
	CHECK_EQ(arena_amt_free(a), before);
	came = arena_reap(b, SIZE_MAX);
	/* And pages of its hash and tags. */
	CHECK_LT(before, arena_amt_free(a));
	CHECK_EQ(came % PORT_PAGE_SIZE, (arena_amt_free(a) - before) % PORT_PAGE_SIZE);
	CHECK_LE(arena_amt_free(a) - before, came);
	CHECK_EQ(arena_amt_free(a), 100000);
	CHECK_EQ(arena_reap(b, SIZE_MAX) % PORT_PAGE_SIZE, 0);
	arenas_end(b);
	arenas_end(a);
}

TEST("arena: base_zalloc clears what was asked for, base_alloc takes whole pages")
{
	size_t size = 2 * PORT_PAGE_SIZE + 1, before = arena_amt_free(base_arena);
	unsigned char *p = base_alloc(NULL, size, MEM_WAIT);

	CHECK_EQ((uintptr_t)p % PORT_PAGE_SIZE, 0);
	CHECK_LE(3 * PORT_PAGE_SIZE, before - arena_amt_free(base_arena));
	memset(p, 0xa5, size);
	base_free(NULL, p, size);
	p = base_zalloc(NULL, size, MEM_WAIT);
	for (size_t i = 0; i < size; i++)
		CHECK_EQ(p[i], 0);
	base_free(NULL, p, size);
}

TEST("arena: a deadline goes with MEM_ERROR alone")
{
	struct arena *a = arenas_ids(1, 2);

	CHECK_PANICS(arena_alloc_timeout(a, 1, MEM_WAIT, 0), "a deadline is for MEM_ERROR");
	CHECK_PANICS(arena_alloc_timeout(a, 1, MEM_ATOMIC, 0), "a deadline is for MEM_ERROR");
	CHECK_PANICS(arena_alloc_timeout(a, 1, MEM_ERROR | MEM_WAIT, 0), "not exactly one memory flag");
	CHECK_PANICS(arena_alloc_timeout(a, 0, MEM_ERROR, 0), "size 0");
	arenas_end(a);
}

static struct arena *over(uintptr_t base, size_t size)
{
	return arena_create("over", (void *)base, size, 16, NULL, NULL, NULL, 0, MEM_WAIT);
}

struct first_span {
	uintptr_t base;
	size_t size;
	const char *why; /* NULL: it is added */
};

static void check_first_span(const struct first_span *s)
{
	if (s->why)
		CHECK_PANICS(over(s->base, s->size), s->why);
	else
		arenas_end(over(s->base, s->size));
}

/* The leak check finds storage and tags that it takes. */
TEST("arena: a first span that can't be added is reported before anything is taken")
{
	static const struct first_span spans[] = {
		{0, 64, "contains 0"},
		{100, 12, "holds no whole quantum"},
		{97, 30, "holds no whole quantum"},
		{UINTPTR_MAX, 1, "holds no whole quantum"},
		{-(uintptr_t)32, 33, "wraps around"},
		{1, SIZE_MAX, NULL},
		{96, 16, NULL},
		{97, 31, NULL},
		{-(uintptr_t)16, 16, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(spans); i++)
		check_first_span(&spans[i]);
}

TEST("arena: one that is destroyed twice is reported by its address")
{
	static char storage[ARENA_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));
	struct arena *a = arena_create("twice", (void *)1, 8, 1, NULL, NULL, NULL, 0, MEM_WAIT);

	CHECK_EQ(arena_destroy(a), 0);
	CHECK_PANICS(arena_destroy(a), "which is no arena (destroyed before?) (called from test_");
	a = __arena_create((struct arena *)storage, "twice", (void *)1, 8, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	CHECK_EQ(__arena_destroy(a), 0);
	CHECK_PANICS(__arena_destroy(a), "__arena_destroy of 0x");
	CHECK_PANICS(arena_destroy((struct arena *)&a), "arena_destroy of 0x");
}
