/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests that sleep for boundary tags: every page of their base arena is taken.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "lib/string.h"
#include "port.h"
#include "reclaim.h"
#include "shortage.h"
#include "sleepers.h"
#include "lib/test.h"
#include "threads.h"

#define PAGE PORT_PAGE_SIZE
#define PAGES 64
#define PIECE 64

/* Takes all that can be had by `flags`; memory for tags ends first in an arena of pieces. */
static struct piece *take(struct arena *a, size_t size, unsigned flags, struct piece *pieces)
{
	struct piece *p;

	while ((p = arena_alloc(a, size, flags))) {
		*p = (struct piece){pieces, size};
		pieces = p;
	}
	return pieces;
}

/* A base without a free page, and arenas over it that have room and no tag to cut it with. */
struct tagless {
	struct arena *base, *a, *b;
	struct piece *pages, *pieces, *others;
};

/* `others` of arena b are taken.  Spans stay when they are free, since some of each stays taken. */
static void tagless_begin(struct tagless *t, size_t others)
{
	void *p, *q;

	t->base = arenas_base(PAGES);
	t->a = arenas_importer("pieces", t->base, PIECE);
	t->b = arenas_importer("others", t->base, PIECE);
	p = arena_alloc(t->a, 16 * PAGE, MEM_ATOMIC);
	q = arena_alloc(t->b, 8 * PAGE, MEM_ATOMIC);
	arena_free(t->a, p, 16 * PAGE);
	arena_free(t->b, q, 8 * PAGE);
	t->pieces = pieces_take(t->a, PIECE, 1, NULL);
	t->others = pieces_take(t->b, PIECE, others, NULL);
	t->pages = take(t->base, PAGE, MEM_ERROR, NULL);
	t->pieces = take(t->a, PIECE, MEM_ERROR, t->pieces);
	t->pages = take(t->base, PAGE, MEM_ERROR, t->pages);
	CHECK_LE(4 * PIECE, arena_amt_free(t->a));
}

static void tagless_end(struct tagless *t)
{
	pieces_give(t->base, t->pages, SIZE_MAX);
	pieces_give(t->b, t->others, SIZE_MAX);
	pieces_give(t->a, t->pieces, SIZE_MAX);
	CHECK_EQ(arena_destroy(t->b), 0);
	CHECK_EQ(arena_destroy(t->a), 0);
	arenas_base_end(t->base, PAGES);
}

#define ROOTS 200

/* How many requests depend on the root of that name. */
static size_t waiting_for(const char *name)
{
	static struct reclaim_root rows[ROOTS];
	size_t n = reclaim_roots(rows, ROOTS), waiting = 0;

	for (size_t i = 0; i < n && i < ROOTS; i++)
		if (strcmp(rows[i].name, name) == 0)
			waiting += rows[i].waiting;
	return waiting;
}

/* While `others` pieces of arena b are taken, a request lacks nothing but a tag: checks that it is served
 * when so many pages of the base, or of those pieces, are freed. */
static void check_served(size_t others, size_t pages_freed, size_t others_freed)
{
	struct tagless t;
	struct sleeper s = {.size = PIECE, .gives_back = true};
	bool served;

	tagless_begin(&t, others);
	s.arena = t.a;
	sleeper_start(&s, 1);
	CHECK(!sleeper_is_done(&s));
	CHECK_EQ(shortage_check(&console_sink), 0);
	CHECK_EQ(waiting_for("little"), 1);
	t.pages = pieces_give(t.base, t.pages, pages_freed);
	t.others = pieces_give(t.b, t.others, others_freed);
	served = sleeper_is_served(&s);
	t.pages = pieces_give(t.base, t.pages, SIZE_MAX);
	sleeper_end(&s);
	tagless_end(&t);
	CHECK(served);
}

TEST("wait: a request that lacks only a tag is served when a page of base comes free")
{
	check_served(1, 1, 0);
}

TEST("wait: tags that another arena of base gives up serve a request that lacks a tag")
{
	check_served(300, 0, 200);
}

/* What `b` gives up it keeps, since nothing is short then. */
static void hoard(struct tagless *t)
{
	tagless_begin(t, 300);
	while (shortage_is_short(t->base))
		kthread_usleep(100);
	t->others = pieces_give(t->b, t->others, 299);
}

TEST("wait: tags idle in another arena's hand serve a request that lacks a tag")
{
	static const unsigned flags[] = {MEM_WAIT, MEM_ERROR};

	for (int i = 0; i < 2; i++) {
		struct tagless t;
		void *p;

		hoard(&t);
		CHECK_LT(0, arenas_stats(t.b).tags_spare);
		p = arena_alloc(t.a, PIECE, flags[i]);
		CHECK_NE((uintptr_t)p, 0);
		arena_free(t.a, p, PIECE);
		tagless_end(&t);
	}
}

/* Memory for the index */

#define HOLES 100 /* more than are looked at without it */

/* Holes of two pieces, one behind the other with a piece between, all of the span's rest taken. */
static void holes_make(struct arena *a, char *at, size_t pieces)
{
	for (size_t i = 0; i < pieces; i++)
		CHECK(arena_xalloc(a, PIECE, 0, 0, 0, (uintptr_t)at + i * PIECE,
			(uintptr_t)at + (i + 1) * PIECE, MEM_WAIT));
	for (size_t i = 0; i < 3 * HOLES; i++)
		if (i % 3 != 2)
			arena_xfree(a, at + i * PIECE, PIECE);
}

static void holes_end(struct arena *a, char *at, size_t pieces)
{
	for (size_t i = 0; i < pieces; i++)
		if (i >= 3 * HOLES || i % 3 == 2)
			arena_xfree(a, at + i * PIECE, PIECE);
}

TEST("wait: a request that lacks memory for an index is served by a walk")
{
	struct arena *base = arenas_base(PAGES), *a = arenas_importer("holes", base, PIECE);
	size_t span = 8 * PAGE, offset;
	char *at = arena_alloc(a, span, MEM_WAIT), *got;
	struct piece *pages;

	arena_free(a, at, span);
	holes_make(a, at, span / PIECE);
	pages = take(base, PAGE, MEM_ERROR, NULL);
	/* The last hole is one of many of its size: a walk has to look at all of them. */
	offset = 3 * (HOLES - 1) * PIECE;
	got = arena_xalloc(a, 2 * PIECE, 0, 0, 0, (uintptr_t)at + offset - 3 * PIECE + 1, 0,
		MEM_WAIT | ARENA_HIGHFIT);
	CHECK_EQ((uintptr_t)got, (uintptr_t)at + offset);
	CHECK_EQ(arenas_stats(a).index_bytes, 0);
	arena_xfree(a, got, 2 * PIECE);
	pieces_give(base, pages, SIZE_MAX);
	holes_end(a, at, span / PIECE);
	CHECK_EQ(arena_destroy(a), 0);
	arenas_base_end(base, PAGES);
}

/* A span for an arena that has no tag for it */

#define MORE 64 /* pages, every other one to be added */

static void add_span(struct sleeper *s)
{
	CHECK_EQ(arena_add(s->arena, s->arg, PAGE, MEM_WAIT), 0);
}

/* Adds pages, and takes each, until there are no tags for one more; returns that. */
static char *add_all(struct arena *base, char *more, struct piece **pages)
{
	for (char *end = more + MORE * PAGE; more < end; more += 2 * PAGE) {
		int error = arena_add(base, more, PAGE, MEM_ERROR);

		if (error) {
			CHECK_EQ(error, -ENOMEM);
			return more;
		}
		*pages = pieces_take(base, PAGE, 1, *pages);
		CHECK_EQ((uintptr_t)*pages, (uintptr_t)more);
	}
	test_fail(__FILE__, __LINE__, "there are always tags");
}

TEST("wait: a caller that may sleep has a span added when there are tags for it")
{
	void *more = base_alloc(NULL, MORE * PAGE, MEM_WAIT);
	struct arena *base = arenas_base(PAGES), *a = arenas_importer("pieces", base, PIECE);
	struct sleeper s = {.arena = base, .ask = add_span};
	struct piece *pieces = take(a, PIECE, MEM_ERROR, NULL);
	struct piece *pages = take(base, PAGE, MEM_ERROR, NULL);
	size_t total;

	s.arg = add_all(base, more, &pages);
	CHECK_EQ(arena_add(base, s.arg, PAGE, MEM_ERROR), -ENOMEM);
	total = arena_amt_total(base);
	sleeper_start(&s, 1);
	pieces_give(a, pieces, SIZE_MAX);
	CHECK(sleeper_is_served(&s));
	sleeper_end(&s);
	CHECK_EQ(arena_amt_total(base), total + PAGE);
	pieces_give(base, pages, SIZE_MAX);
	CHECK_EQ(arena_destroy(a), 0);
	arenas_base_end(base, PAGES);
	base_free(NULL, more, MORE * PAGE);
}
