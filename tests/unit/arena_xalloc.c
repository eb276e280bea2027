/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests with constraints: what they get, through which arena, and which calls are bugs.  The
 * answers under random constraints are compared in arena_model.c.
 */
#include "arena.h"
#include "arenas.h"
#include "lib/test.h"

static uintptr_t ask(struct arena *a, size_t size, size_t align, size_t phase, size_t nocross,
	uintptr_t min, uintptr_t max)
{
	return (uintptr_t)arena_xalloc(a, size, align, phase, nocross, min, max, MEM_ERROR);
}

TEST("xalloc: align, phase, nocross and window are met, by the lowest address")
{
	struct arena *a = arenas_root(1, 1000);

	CHECK_EQ(ask(a, 10, 64, 5, 0, 100, 0), 133);
	CHECK_EQ(ask(a, 10, 0, 0, 16, 143, 0), 144);
	CHECK_EQ(ask(a, 16, 0, 0, 16, 150, 0), 160);
	CHECK_EQ(ask(a, 7, 0, 0, 0, 500, 507), 500);
	CHECK_EQ(ask(a, 7, 0, 0, 0, 500, 507), 0);
	CHECK_EQ(ask(a, 1, 0, 0, 0, 1000, 0), 1000);
	arena_xfree(a, (void *)133, 10);
	arena_xfree(a, (void *)144, 10);
	arena_xfree(a, (void *)160, 16);
	arena_xfree(a, (void *)500, 7);
	arena_xfree(a, (void *)1000, 1);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("xalloc: the last unit there is can be asked for by its address")
{
	struct arena *a = arena_create("end", (void *)-(uintptr_t)100, 100, 1, NULL, NULL, NULL, 0, MEM_WAIT);

	CHECK_EQ(ask(a, 1, 0, 0, 0, UINTPTR_MAX, 0), UINTPTR_MAX);
	CHECK_EQ(ask(a, 9, 0, 0, 0, UINTPTR_MAX - 9, UINTPTR_MAX), UINTPTR_MAX - 9);
	arena_xfree(a, (void *)UINTPTR_MAX, 1);
	arena_xfree(a, (void *)(UINTPTR_MAX - 9), 9);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("xalloc: align and nocross with an odd quantum are a bug, windows are served")
{
	struct arena *a = arenas_root(12, 1000);

	CHECK_PANICS(ask(a, 12, 16, 4, 0, 0, 0), "quantum");
	CHECK_PANICS(ask(a, 12, 0, 0, 64, 0, 0), "quantum");
	CHECK_PANICS(ask(a, 12, 16, 4, 0, 100, 0), "quantum");
	CHECK_EQ(ask(a, 20, 0, 0, 0, 100, 0), 108);
	CHECK_EQ(ask(a, 12, 0, 0, 0, 132, 144), 132);
	CHECK_EQ(ask(a, 12, 0, 0, 0, 133, 144), 0);
	CHECK_EQ(ask(a, 24, 0, 0, 0, 0, 0), 12);
	arena_xfree(a, (void *)108, 20);
	arena_xfree(a, (void *)132, 12);
	arena_xfree(a, (void *)12, 24);
	arenas_end(a);
}

TEST("xalloc: what no address satisfies is NULL at once, and a bug with MEM_WAIT")
{
	struct arena *a = arenas_root(16, 100);

	CHECK_EQ(ask(a, 16, 32, 8, 0, 0, 0), 0);
	CHECK_EQ(ask(a, 32, 0, 0, 0, 64, 80), 0);
	CHECK_EQ(ask(a, 17, 64, 48, 32, 0, 0), 0);
	CHECK_PANICS(arena_xalloc(a, 16, 32, 8, 0, 0, 0, MEM_WAIT), "no address can serve");
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("xalloc: a caller's bugs are named")
{
	struct arena *a = arenas_root(16, 100);
	void *p = arena_xalloc(a, 16, 64, 0, 0, 0, 0, MEM_WAIT), *q = arena_alloc(a, 16, MEM_WAIT);

	CHECK_PANICS(ask(a, 16, 48, 0, 0, 0, 0), "not a power of two");
	CHECK_PANICS(ask(a, 16, 0, 0, 48, 0, 0), "not a power of two");
	CHECK_PANICS(ask(a, 16, 32, 32, 0, 0, 0), "not below align");
	CHECK_PANICS(ask(a, 16, 0, 1, 0, 0, 0), "not below align");
	CHECK_PANICS(ask(a, 65, 0, 0, 64, 0, 0), "crosses every multiple");
	CHECK_PANICS(ask(a, 16, 0, 0, 0, 80, 64), "ends before it begins");
	CHECK_PANICS(ask(a, 0, 0, 0, 0, 0, 0), "allocation of size 0");
	CHECK_PANICS(arena_free(a, p, 16), "the wrong one of arena_free and arena_xfree");
	CHECK_PANICS(arena_xfree(a, q, 16), "the wrong one of arena_free and arena_xfree");
	CHECK_PANICS(arena_xfree(a, p, 32), "wrong size");
	arena_xfree(a, p, 16);
	CHECK_PANICS(arena_xfree(a, p, 16), "not allocated");
	arena_free(a, q, 16);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("xalloc: constraints go down four levels, and the spans come back")
{
	struct arena *a = arenas_root(4096, 64), *b = arenas_importer("b", a, 4096);
	struct arena *c = arenas_importer("c", b, 64), *d = arenas_importer("d", c, 16);
	uintptr_t r = ask(d, 100, 1024, 48, 1024, 70000, 200000);

	CHECK_EQ(r, 70704);
	CHECK_EQ(arena_amt_total(b), 4096);
	arena_xfree(d, (void *)r, 100);
	arena_reap(d, SIZE_MAX);
	arena_reap(c, SIZE_MAX);
	arena_reap(b, SIZE_MAX);
	CHECK_EQ(arena_amt_total(d), 0);
	CHECK_EQ(arena_amt_free(a), 64 * 4096);
	CHECK_EQ(arena_destroy(d), 0);
	CHECK_EQ(arena_destroy(c), 0);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

/* A source whose integers are others: 1024 higher. */

static void *translate(struct arena *source, size_t size, unsigned flags)
{
	void *p = arena_alloc(source, size, flags);

	return p ? (char *)p + 1024 : NULL;
}

static void translate_back(struct arena *source, void *addr, size_t size)
{
	arena_free(source, (char *)addr - 1024, size);
}

TEST("xalloc: a translating source is asked for enough; a window it can't know is NULL")
{
	struct arena *a = arenas_root(16, 100);
	struct arena *b = arena_create("b", NULL, 0, 16, translate, translate_back, a, 0, MEM_WAIT);
	uintptr_t r = ask(b, 32, 128, 64, 128, 0, 0);

	CHECK_EQ(r % 128, 64);
	arena_xfree(b, (void *)r, 32);
	arena_reap(b, SIZE_MAX);
	CHECK_EQ(ask(b, 32, 0, 0, 0, 1, 0), 0);
	CHECK_EQ(arena_amt_total(b), 0);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

/* What the arena above wants is no whole quanta of the translating one, whose spans start anywhere
 * in its quantum. */
TEST("xalloc: a translating source is asked for enough on behalf of an importer, too")
{
	struct arena *a = arenas_root(64, 100);
	struct arena *b = arena_create("b", NULL, 0, 48, translate, translate_back, a, 0, MEM_WAIT);
	struct arena *c = arenas_importer("c", b, 1);
	uintptr_t r[12];

	for (int i = 0; i < 12; i++) {
		r[i] = ask(c, 20, 8, 4, 0, 0, 0);
		CHECK_EQ(r[i] % 8, 4);
	}
	CHECK_EQ(arena_check(b, &console_sink), 0);
	for (int i = 0; i < 12; i++)
		arena_xfree(c, (void *)r[i], 20);
	CHECK_EQ(arena_destroy(c), 0);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("xalloc: a translating source is asked for whole quanta of its own, by any fit")
{
	struct arena *root = arenas_root(1024, 100);
	struct arena *b = arena_create("b", NULL, 0, 1024, translate, translate_back, root, 0, MEM_WAIT);
	struct arena *c = arenas_importer("c", b, 256);
	void *high = arena_alloc(c, 256, ARENA_HIGHFIT | MEM_ATOMIC);
	void *constrained = arena_xalloc(c, 256, 0, 0, 0, 0, 0, ARENA_HIGHFIT | MEM_ATOMIC);

	CHECK(high && constrained && high != constrained);
	arena_free(c, high, 256);
	arena_xfree(c, constrained, 256);
	arenas_end(c);
	arenas_end(b);
	arenas_end(root);
}

/* The one in the middle cuts whole quanta of its own out of what it gets. */
TEST("xalloc: a translating source is asked for enough for all quanta above it")
{
	struct arena *a = arenas_root(8, 400);
	struct arena *b = arena_create("b", NULL, 0, 8, translate, translate_back, a, 0, MEM_WAIT);
	struct arena *c = arenas_importer("c", b, 3), *d = arenas_importer("d", c, 8);
	uintptr_t r[12];

	for (int i = 0; i < 12; i++) {
		r[i] = ask(d, 8, 0, 0, 0, 0, 0);
		CHECK_NE(r[i], 0);
	}
	for (int i = 0; i < 12; i++)
		arena_xfree(d, (void *)r[i], 8);
	CHECK_EQ(arena_destroy(d), 0);
	CHECK_EQ(arena_destroy(c), 0);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

/* Whole quanta of the arena in the middle can't be had for sure: that would take more than there
 * is. */
TEST("xalloc: what would take more than all integers is NULL, and no source's bug")
{
	struct arena *a = arenas_root(1, SIZE_MAX / 2);
	struct arena *b = arena_create("b", NULL, 0, 1, translate, translate_back, a, 0, MEM_WAIT);
	struct arena *c = arenas_importer("c", b, (size_t)1 << 63), *d = arenas_importer("d", c, 1);

	CHECK_EQ(ask(d, 10, 16, 0, 0, 0, 0), 0);
	CHECK_EQ(arena_amt_total(b), 0);
	CHECK_EQ(arena_destroy(d), 0);
	CHECK_EQ(arena_destroy(c), 0);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

/* Many equal holes: without the index a search doesn't know which one lies where. */

#define HOLES 200

static void holes_make(struct arena *a)
{
	for (uintptr_t i = 0; i < HOLES; i++)
		CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ATOMIC), 1 + i);
	for (uintptr_t i = 0; i < HOLES; i += 2)
		arena_free(a, (void *)(1 + i), 1);
}

static void holes_end(struct arena *a)
{
	for (uintptr_t i = 1; i < HOLES; i += 2)
		arena_free(a, (void *)(1 + i), 1);
	arenas_end(a);
}

TEST("xalloc: an atomic request without an index may miss, and is served after all")
{
	struct arena *a = arenas_root(1, HOLES);
	uintptr_t high = HOLES - 1;

	holes_make(a);
	CHECK_EQ((uintptr_t)arena_xalloc(a, 1, 0, 0, 0, high, 0, MEM_ATOMIC), 0);
	CHECK_EQ(ask(a, 1, 0, 0, 0, high, 0), high);
	arena_xfree(a, (void *)high, 1);
	CHECK_EQ((uintptr_t)arena_xalloc(a, 1, 0, 0, 0, high, 0, MEM_ATOMIC), high);
	arena_xfree(a, (void *)high, 1);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	arena_reap(a, SIZE_MAX);
	CHECK_EQ((uintptr_t)arena_xalloc(a, 1, 0, 0, 0, high, 0, MEM_ATOMIC), 0);
	holes_end(a);
}

TEST("xalloc: with an index, spans that come above and below it are found in it")
{
	struct arena *a = arenas_ids(1000, 100);
	void *p;

	CHECK(arena_index(a));
	CHECK_EQ(arena_add(a, (void *)2000, 100, MEM_WAIT), 0);
	CHECK_EQ(arena_add(a, (void *)500, 100, MEM_WAIT), 0);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	for (uintptr_t at = 500; at <= 2000; at *= 2) {
		p = arena_xalloc(a, 8, 8, 1, 0, at + 10, at + 90, MEM_ERROR);
		CHECK_EQ((uintptr_t)p, (at + 10 + 6) / 8 * 8 + 1);
		arena_xfree(a, p, 8);
	}
	arenas_end(a);
}

TEST("xalloc: more triples than are kept are all served, again and again")
{
	struct arena *a = arenas_root(1, HOLES);

	holes_make(a);
	for (int round = 0; round < 3; round++) {
		for (size_t phase = 0; phase < 16; phase += 2) {
			uintptr_t r = ask(a, 1, 16, phase + 1, 0, 20, 0);

			CHECK_EQ(r, 17 + phase < 20 ? 33 + phase : 17 + phase);
			CHECK_EQ(arena_check(a, &console_sink), 0);
			arena_xfree(a, (void *)r, 1);
			CHECK_EQ(ask(a, 2, 16, phase + 1, 0, 0, 0), 0);
		}
	}
	holes_end(a);
}

TEST("xalloc: what an arena's front has in no such place, or size, the arena finds")
{
	struct arena *ids = arenas_ids(1, 256), *a;
	void *three, *best, *wide, *two[8];

	a = arena_create("fronted", NULL, 0, 1, arena_alloc, arena_free, ids, 4, MEM_WAIT);
	/* So that it has some, those that aren't so aligned to be taken first. */
	for (size_t i = 0; i < 8; i++)
		two[i] = arena_alloc(a, 2, MEM_ATOMIC);
	for (size_t i = 0; i < 8; i++)
		if ((uintptr_t)two[i] % 32 == 0)
			arena_free(a, two[i], 2);
	for (size_t i = 0; i < 8; i++)
		if ((uintptr_t)two[i] % 32 != 0)
			arena_free(a, two[i], 2);
	three = arena_xalloc(a, 3, 1, 0, 0, 0, 0, MEM_ATOMIC);
	best = arena_xalloc(a, 4, 4, 0, 0, 0, 0, MEM_ATOMIC | ARENA_BESTFIT);
	wide = arena_xalloc(a, 2, 32, 0, 0, 0, 0, MEM_ATOMIC);
	CHECK(three && best && wide);
	CHECK_EQ((uintptr_t)best % 4, 0);
	CHECK_EQ((uintptr_t)wide % 32, 0);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	arena_xfree(a, wide, 2);
	arena_xfree(a, best, 4);
	arena_xfree(a, three, 3);
	arenas_end(a);
	CHECK_EQ(arena_amt_free(ids), 256);
	arenas_end(ids);
}

TEST("xalloc: a phase within the source's quantum is kept")
{
	struct arena *source = arenas_root(16, 64), *a = arenas_importer("fine", source, 1);

	for (uintptr_t phase = 1; phase < 8; phase++) {
		void *p = arena_xalloc(a, 3, 8, phase, 0, 0, 0, MEM_ATOMIC);

		CHECK_EQ((uintptr_t)p % 8, phase);
		arena_xfree(a, p, 3);
	}
	arenas_end(a);
	arenas_end(source);
}
