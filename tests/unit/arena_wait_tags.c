/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests that sleep for boundary tags: every page of their base arena is taken.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "port.h"
#include "sleepers.h"
#include "lib/test.h"
#include "threads.h"

#define PAGE PORT_PAGE_SIZE
#define PAGES 64
#define PIECE 64

TEST("wait: tags that another arena of the base gives up serve a request that lacks nothing else")
{
	struct arena *base = arenas_base(PAGES);
	struct arena *a = arenas_importer("pieces", base, PIECE);
	struct arena *b = arenas_importer("others", base, PIECE);
	struct sleeper s = {.arena = a, .size = PIECE, .gives_back = true};
	struct piece *pages, *pieces, *others;
	void *p = arena_alloc(a, 16 * PAGE, MEM_ATOMIC), *q = arena_alloc(b, 8 * PAGE, MEM_ATOMIC);
	bool served;

	/* The spans stay. */
	arena_free(a, p, 16 * PAGE);
	arena_free(b, q, 8 * PAGE);
	others = pieces_take(b, PIECE, 300, NULL);
	pages = pieces_take(base, PAGE, SIZE_MAX, NULL);
	pieces = pieces_take(a, PIECE, SIZE_MAX, NULL);
	CHECK_LE(4 * PIECE, arena_amt_free(a));
	sleeper_start(&s, 1);
	others = pieces_give(b, others, 200);
	served = sleeper_is_served(&s);
	pieces_give(base, pages, SIZE_MAX);
	sleeper_end(&s);
	pieces_give(b, others, SIZE_MAX);
	pieces_give(a, pieces, SIZE_MAX);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
	arenas_base_end(base, PAGES);
	CHECK(served);
}

/* A source that may refuse.  Before it does, it sets `asked` and waits for `told`. */
static bool refuses, asked, told;
static size_t refused; /* by conjure() */

static void *reluctant(struct arena *source, size_t size, unsigned flags)
{
	if (!refuses)
		return arena_alloc(source, size, flags);
	__atomic_store_n(&asked, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&told, __ATOMIC_ACQUIRE))
		kthread_usleep(100);
	refuses = false;
	return NULL;
}

/* An import of arena `a` that its source refuses has set aside all tags there are, as many as
 * `tags` pieces gave back.  A request for `size` sleeps meanwhile, and is to be served when the
 * import has ended.  It is on this core, so when it is seen to wait, it sleeps. */
static void check_told(
	struct arena *base, struct arena *a, struct sleeper *import, size_t tags, size_t size)
{
	struct sleeper s = {.arena = a, .size = size, .is_here = true, .gives_back = true};
	void *p = arena_alloc(a, 16 * PAGE, MEM_ATOMIC);
	struct piece *pages, *pieces;
	bool served;

	arena_free(a, p, 16 * PAGE);
	pages = pieces_take(base, PAGE, SIZE_MAX, NULL);
	pieces = pieces_take(a, PIECE, SIZE_MAX, NULL);
	/* Neighbours that join give up their tags. */
	pieces = pieces_give(a, pieces, tags);
	refuses = true;
	refused = import->size;
	asked = told = false;
	sleeper_begin(import);
	threads_await(&asked);
	sleeper_start(&s, 1);
	__atomic_store_n(&told, true, __ATOMIC_RELEASE);
	served = sleeper_is_served(&s);
	pieces_give(base, pages, SIZE_MAX);
	sleeper_end(&s);
	sleeper_end(import);
	CHECK_EQ((uintptr_t)import->got, 0);
	refused = 0;
	pieces_give(a, pieces, SIZE_MAX);
	CHECK_EQ(arena_destroy(a), 0);
	arenas_base_end(base, PAGES);
	CHECK(served);
}

static void plain(unsigned core, void *arg)
{
	struct arena *base = arenas_base(PAGES);
	struct arena *a = arena_create("pieces", NULL, 0, PIECE, reluctant, arena_free, base, 0, MEM_WAIT);
	struct sleeper import = {.arena = a, .size = 20 * PAGE, .flags = MEM_ERROR};

	check_told(base, a, &import, 4, PIECE);
}

TEST("wait: tags that a refused import had set aside serve a request that lacks nothing else")
{
	threads_run(THREADS_PINNED, 1, plain, NULL);
}

/* The same, but requests smaller than `refused` it serves, with integers that aren't memory. */
static void *conjure(struct arena *source, size_t size, unsigned flags)
{
	static uintptr_t next = 16 * PAGE;

	if (size >= refused)
		return reluctant(source, size, flags);
	return (void *)__atomic_fetch_add(&next, size, __ATOMIC_RELAXED);
}

static void vanish(struct arena *source, void *addr, size_t size)
{
	if ((uintptr_t)addr >= (uintptr_t)1 << 30)
		arena_free(source, addr, size);
}

static void importing(unsigned core, void *arg)
{
	struct arena *base = arenas_base(PAGES);
	struct arena *a = arena_create("pieces", NULL, 0, PIECE, conjure, vanish, base, 0, MEM_WAIT);
	struct sleeper import = {.arena = a, .size = 40 * PAGE, .flags = MEM_ATOMIC};

	check_told(base, a, &import, 4, 20 * PAGE);
}

TEST("wait: tags that a refused import had set aside serve a request that has to import")
{
	threads_run(THREADS_PINNED, 1, importing, NULL);
}

static void ask_aligned(struct sleeper *s)
{
	s->got = arena_xalloc(s->arena, s->size, 2 * PAGE, 0, 0, 0, 0, MEM_ATOMIC);
}

static void aligned(unsigned core, void *arg)
{
	struct arena *base = arenas_base(PAGES);
	struct arena *a = arena_create("pieces", NULL, 0, PIECE, reluctant, arena_free, base, 0, MEM_WAIT);
	struct sleeper import = {.arena = a, .size = 20 * PAGE, .ask = ask_aligned};

	check_told(base, a, &import, 4, PIECE);
}

TEST("wait: tags that a refused aligned import had set aside serve a request that lacks nothing else")
{
	threads_run(THREADS_PINNED, 1, aligned, NULL);
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
		int error = arena_add(base, more, PAGE, MEM_ATOMIC);

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
	struct piece *pieces = pieces_take(a, PIECE, SIZE_MAX, NULL);
	struct piece *pages = pieces_take(base, PAGE, SIZE_MAX, NULL);
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
