/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parts of spans: what is used of a span, or of a slab of a quantum cache, keeps nothing else.
 */
#include "arena.h"
#include "arenas.h"
#include "lib/string.h"
#include "lib/test.h"
#include "modes.h"
#include "port.h"

#define PIECES 256
#define ROUNDS 40

/* Pieces of one size of an arena, some of them live. */
struct pieces {
	struct arena *arena;
	size_t size;
	uintptr_t at[PIECES]; /* 0: not live */
};

static void piece_flip(struct pieces *p, size_t i)
{
	if (p->at[i]) {
		arena_free(p->arena, (void *)p->at[i], p->size);
		p->at[i] = 0;
	} else {
		p->at[i] = (uintptr_t)arena_alloc(p->arena, p->size, MEM_ATOMIC);
	}
}

static void pieces_leave(struct pieces *p)
{
	for (size_t i = 0; i < PIECES; i++)
		if (p->at[i])
			piece_flip(p, i);
}

/* How many quanta of the source the live ones touch. */
static size_t quanta_touched(const struct pieces *p, size_t quantum)
{
	size_t touched = 0;
	bool is_first;

	for (size_t i = 0; i < PIECES; i++) {
		for (uintptr_t q = p->at[i] / quantum; p->at[i] && q <= (p->at[i] + p->size - 1) / quantum; q++) {
			is_first = true;
			for (size_t j = 0; j < i && is_first; j++)
				is_first = !p->at[j] || p->at[j] / quantum > q ||
					   (p->at[j] + p->size - 1) / quantum < q;
			touched += is_first;
		}
	}
	return touched;
}

/* Flips pieces at random, and has spans of many of them come. */
static void check_parts(size_t source_quantum, size_t quantum, size_t size)
{
	size_t total = 2 * PIECES * (size > source_quantum ? size : source_quantum);
	struct arena *source = arenas_root(source_quantum, total / source_quantum);
	struct pieces p = {.arena = arenas_importer("parts", source, quantum), .size = size};

	for (int round = 0; round < ROUNDS; round++) {
		void *large = arena_alloc(p.arena, 16 * source_quantum, MEM_ATOMIC);

		if (large)
			arena_free(p.arena, large, 16 * source_quantum);
		for (size_t i = test_random_below(3 * PIECES); i > 0; i--)
			piece_flip(&p, test_random_below(PIECES));
		arena_reap(p.arena, SIZE_MAX);
		CHECK_EQ(arena_check(p.arena, &console_sink), 0);
		CHECK_EQ(arena_check(source, &console_sink), 0);
		CHECK_LE(arenas_stats(source).frees, arenas_stats(source).allocs);
		CHECK_EQ(arena_amt_free(source), total - quanta_touched(&p, source_quantum) * source_quantum);
	}
	pieces_leave(&p);
	arena_reap(p.arena, SIZE_MAX);
	CHECK_EQ(arenas_stats(p.arena).imports, arenas_stats(p.arena).returns);
	CHECK_EQ(arena_amt_free(source), total);
	arenas_end(p.arena);
	arenas_end(source);
}

TEST("parts: a reap gives back each of the source's quanta of which nothing is used")
{
	check_parts(16, 16, 16);
	check_parts(16, 16, 48);
	check_parts(64, 16, 16);
	check_parts(64, 16, 80);
	check_parts(1, 1, 1);
	check_parts(8, 1, 3);
}

TEST("parts: spans that the source placed go back in parts, too")
{
	struct arena *source = arenas_root(16, 64), *a = arenas_importer("placed", source, 16);
	uintptr_t at = (uintptr_t)arena_xalloc(a, 256, 256, 0, 0, 0, 0, MEM_ATOMIC);
	void *low, *high;

	CHECK(at);
	arena_xfree(a, (void *)at, 256);
	low = arena_xalloc(a, 16, 0, 0, 0, at + 16, at + 32, MEM_ATOMIC);
	high = arena_xalloc(a, 32, 0, 0, 0, at + 160, at + 192, MEM_ATOMIC);
	CHECK_EQ((uintptr_t)low, at + 16);
	CHECK_EQ((uintptr_t)high, at + 160);
	CHECK_EQ(arena_amt_free(source), 64 * 16 - 256);
	CHECK_EQ(arena_reap(a, SIZE_MAX) >= 256 - 48, 1);
	CHECK_EQ(arena_amt_free(source), 64 * 16 - 48);
	CHECK_EQ(arenas_stats(a).spans, 2);
	arena_xfree(a, low, 16);
	arena_xfree(a, high, 32);
	arenas_end(a);
	CHECK_EQ(arena_amt_free(source), 64 * 16);
	arenas_end(source);
}

TEST("parts: a reap for an amount gives back little more")
{
	struct arena *source = arenas_root(16, 64), *a = arenas_importer("amount", source, 16);
	void *p[16];
	uintptr_t at = (uintptr_t)arena_alloc(a, 256, MEM_ATOMIC);

	arena_free(a, (void *)at, 256);
	for (int i = 0; i < 16; i++)
		CHECK_EQ((uintptr_t)(p[i] = arena_alloc(a, 16, MEM_ATOMIC)), at + i * 16);
	for (int i = 0; i < 16; i += 2)
		arena_free(a, p[i], 16);
	CHECK_EQ(arena_reap(a, 48), 48);
	CHECK_EQ(arena_amt_total(a), 256 - 48);
	for (int i = 1; i < 16; i += 2)
		arena_free(a, p[i], 16);
	arenas_end(a);
	arenas_end(source);
}

/* The span is an object of a slab there; and more is free behind the part than before it. */
TEST("parts: a part of a span that the source can't split stays, and the reap ends")
{
	if (!modes_leave_fronts())
		return;
	struct arena *source = arena_create("fronted", (void *)64, 1024 * 64, 64, NULL, NULL, NULL, 4 * 64, MEM_WAIT);
	struct arena *a = arenas_importer("object", source, 16);
	uintptr_t at = (uintptr_t)arena_alloc(a, 256, MEM_ATOMIC);
	void *low, *middle, *high;

	arena_free(a, (void *)at, 256);
	CHECK_EQ((uintptr_t)(low = arena_alloc(a, 48, MEM_ATOMIC)), at);
	CHECK_EQ((uintptr_t)(middle = arena_alloc(a, 192, MEM_ATOMIC)), at + 48);
	CHECK_EQ((uintptr_t)(high = arena_alloc(a, 16, MEM_ATOMIC)), at + 240);
	arena_free(a, middle, 192);
	arena_reap(a, SIZE_MAX);
	CHECK_EQ(arena_amt_total(a), 256);
	CHECK_EQ(arena_amt_free(a), 192);
	arena_free(a, low, 48);
	arena_free(a, high, 16);
	arenas_end(a);
	arenas_end(source);
}

#define FRONT_PAGES 1024
#define KEEP 7

TEST("parts: a page that is used keeps no other, of slabs of quantum caches either")
{
	if (!modes_leave_fronts())
		return;
	struct arena *base = arenas_base(FRONT_PAGES);
	struct arena *a = arena_create("fronted", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free, base,
		8 * PORT_PAGE_SIZE, MEM_WAIT);
	struct pieces *p = base_alloc(NULL, sizeof(*p), MEM_WAIT);
	size_t free, live = 0;

	for (size_t pages = 1; pages <= 2; pages++) {
		*p = (struct pieces){.arena = a, .size = pages * PORT_PAGE_SIZE};
		arena_reap(a, SIZE_MAX);
		free = arena_amt_free(base);
		for (size_t i = 0; i < PIECES; i++)
			piece_flip(p, i);
		for (size_t i = 0; i < PIECES; i++)
			if (i % KEEP)
				piece_flip(p, i);
		live = (PIECES + KEEP - 1) / KEEP * p->size;
		arena_reap(a, SIZE_MAX);
		CHECK_EQ(arena_check(a, &console_sink), 0);
		CHECK_LE(arenas_stats(a).frees, arenas_stats(a).allocs);
		/* And a few for tags, and headers of slabs. */
		CHECK_LE(free - arena_amt_free(base), live + 8 * PORT_PAGE_SIZE);
		pieces_leave(p);
	}
	base_free(NULL, p, sizeof(*p));
	arenas_end(a);
	arenas_base_end(base, FRONT_PAGES);
}

/* Of two spans side by side the inner halves are free: together as much as is wanted. */
TEST("parts: a request by MEM_ERROR waits for a pass that joins parts of two spans")
{
	struct arena *source = arenas_root(4, 16), *a = arenas_importer("halves", source, 4);
	uintptr_t span[2], at[4], both;

	for (int i = 0; i < 2; i++)
		span[i] = (uintptr_t)arena_alloc(a, 32, MEM_ATOMIC);
	CHECK_EQ(span[1], span[0] + 32);
	for (int i = 0; i < 4; i++) {
		if (i % 2 == 0)
			arena_free(a, (void *)span[i / 2], 32);
		CHECK_EQ((at[i] = (uintptr_t)arena_alloc(a, 16, MEM_ATOMIC)), span[0] + i * 16);
	}
	arena_free(a, (void *)at[1], 16);
	arena_free(a, (void *)at[2], 16);
	CHECK_EQ((uintptr_t)arena_alloc(a, 32, MEM_ATOMIC), 0);
	both = (uintptr_t)arena_alloc(a, 32, MEM_ERROR);
	CHECK_EQ(both, at[1]);
	arena_free(a, (void *)both, 32);
	arena_free(a, (void *)at[0], 16);
	arena_free(a, (void *)at[3], 16);
	arenas_end(a);
	arenas_end(source);
}
