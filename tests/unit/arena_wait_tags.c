/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Allocations that sleep for want of boundary tags: every page of their base arena is taken.
 */
#include "arena.h"
#include "kthread.h"
#include "port.h"
#include "lib/test.h"
#include "threads.h"

#define PAGE PORT_PAGE_SIZE
#define PAGES 64
#define PIECE 64

/* Takes up to `most` pieces of an arena of memory, chained through themselves. */
static void **take(struct arena *a, size_t size, size_t most)
{
	void **head = NULL, **p;

	while (most-- > 0 && (p = arena_alloc(a, size, MEM_ATOMIC))) {
		*p = head;
		head = p;
	}
	return head;
}

/* Gives up to `most` of them back, the last first; returns the others. */
static void **give(struct arena *a, void **head, size_t size, size_t most)
{
	for (void **next; head && most-- > 0; head = next) {
		next = *head;
		arena_free(a, head, size);
	}
	return head;
}

/* One who wants `size`, and gives it back. */
struct request {
	struct arena *arena;
	size_t size;
	unsigned flags;
	void *got;
	bool done;
	struct ktask *task;
};

static void request_run(void *arg)
{
	struct request *r = arg;

	r->got = arena_alloc(r->arena, r->size, r->flags);
	if (r->got)
		arena_free(r->arena, r->got, r->size);
	__atomic_store_n(&r->done, true, __ATOMIC_RELEASE);
}

static void request_start(struct request *r, void (*run)(void *arg))
{
	r->task = ktask("request", run, r);
	CHECK(r->task != NULL);
}

/* A base arena of its own, and a piece of memory that it doesn't know of. */
static struct arena *base_make(void **memory)
{
	*memory = base_alloc(NULL, PAGES * PAGE, MEM_WAIT);
	return arena_create_base("little", *memory, PAGES * PAGE);
}

static void base_end(struct arena *base, void *memory)
{
	CHECK_EQ(arena_destroy(base), 0);
	base_free(NULL, memory, PAGES * PAGE);
}

TEST("wait: tags that another arena of the base gives up serve who is short of nothing else")
{
	void *memory, **pages, **pieces, **others;
	struct arena *base = base_make(&memory);
	struct arena *a = arena_create("pieces", NULL, 0, PIECE, arena_alloc, arena_free, base, 0, MEM_WAIT);
	struct arena *b = arena_create("others", NULL, 0, PIECE, arena_alloc, arena_free, base, 0, MEM_WAIT);
	struct request r = {.arena = a, .size = PIECE, .flags = MEM_WAIT};
	void *p = arena_alloc(a, 16 * PAGE, MEM_ATOMIC), *q = arena_alloc(b, 8 * PAGE, MEM_ATOMIC);
	bool served;

	/* The spans stay. */
	arena_free(a, p, 16 * PAGE);
	arena_free(b, q, 8 * PAGE);
	others = take(b, PIECE, 300);
	pages = take(base, PAGE, SIZE_MAX);
	pieces = take(a, PIECE, SIZE_MAX);
	CHECK_LE(4 * PIECE, arena_amt_free(a));
	request_start(&r, request_run);
	threads_await_waiting(a, 1);
	others = give(b, others, PIECE, 200);
	served = threads_sleep_for(&r.done);
	give(base, pages, PAGE, SIZE_MAX);
	ktask_join(r.task);
	give(b, others, PIECE, SIZE_MAX);
	give(a, pieces, PIECE, SIZE_MAX);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
	base_end(base, memory);
	CHECK(served);
}

/* A source that may have nothing, and doesn't say so before it has `asked` and is told. */
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

/* An import of arena `a` that comes to nothing has set `tags` aside, all there are; then one who wants
 * `size` sleeps, and is to be served when it has ended. */
static void check_told(struct arena *base, void *memory, struct arena *a, struct request *import,
	void (*run)(void *arg), size_t tags, size_t size)
{
	struct request r = {.arena = a, .size = size, .flags = MEM_WAIT};
	void *p = arena_alloc(a, 16 * PAGE, MEM_ATOMIC), **pages, **pieces;
	bool served;

	arena_free(a, p, 16 * PAGE);
	pages = take(base, PAGE, SIZE_MAX);
	pieces = take(a, PIECE, SIZE_MAX);
	/* Those who join give up their tags. */
	pieces = give(a, pieces, PIECE, tags);
	refuses = true;
	refused = import->size;
	asked = told = false;
	request_start(import, run);
	while (!__atomic_load_n(&asked, __ATOMIC_ACQUIRE))
		kthread_usleep(100);
	request_start(&r, request_run);
	threads_await_waiting(a, 1);
	kthread_usleep(10000);
	__atomic_store_n(&told, true, __ATOMIC_RELEASE);
	served = threads_sleep_for(&r.done);
	give(base, pages, PAGE, SIZE_MAX);
	ktask_join(r.task);
	ktask_join(import->task);
	CHECK_EQ((uintptr_t)import->got, 0);
	refused = 0;
	give(a, pieces, PIECE, SIZE_MAX);
	CHECK_EQ(arena_destroy(a), 0);
	base_end(base, memory);
	CHECK(served);
}

TEST("wait: tags that an import in vain had set aside serve who is short of nothing else")
{
	void *memory;
	struct arena *base = base_make(&memory);
	struct arena *a = arena_create("pieces", NULL, 0, PIECE, reluctant, arena_free, base, 0, MEM_WAIT);
	struct request import = {.arena = a, .size = 20 * PAGE, .flags = MEM_ERROR};

	check_told(base, memory, a, &import, request_run, 3, PIECE);
}

/* The same, but what is smaller than `refused` it has, of other integers than memory. */
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

TEST("wait: tags that an import in vain had set aside serve who wants to import himself")
{
	void *memory;
	struct arena *base = base_make(&memory);
	struct arena *a = arena_create("pieces", NULL, 0, PIECE, conjure, vanish, base, 0, MEM_WAIT);
	struct request import = {.arena = a, .size = 40 * PAGE, .flags = MEM_ATOMIC};

	check_told(base, memory, a, &import, request_run, 3, 20 * PAGE);
}

static void aligned_run(void *arg)
{
	struct request *r = arg;

	r->got = arena_xalloc(r->arena, r->size, 2 * PAGE, 0, 0, 0, 0, r->flags);
	__atomic_store_n(&r->done, true, __ATOMIC_RELEASE);
}

TEST("wait: tags that an aligned import in vain had set aside serve who is short of nothing else")
{
	void *memory;
	struct arena *base = base_make(&memory);
	struct arena *a = arena_create("pieces", NULL, 0, PIECE, reluctant, arena_free, base, 0, MEM_WAIT);
	struct request import = {.arena = a, .size = 20 * PAGE, .flags = MEM_ATOMIC};

	check_told(base, memory, a, &import, aligned_run, 4, PIECE);
}

/* A span for an arena that has no tag */

#define MORE 64 /* pages, every other one to be added */

static void add_run(void *arg)
{
	struct request *r = arg;

	CHECK_EQ(arena_add(r->arena, r->got, PAGE, r->flags), 0);
	__atomic_store_n(&r->done, true, __ATOMIC_RELEASE);
}

/* Adds pages, and takes each, until there are no tags for one more; returns that. */
static char *add_all(struct arena *base, char *more, void ***pages)
{
	for (char *end = more + MORE * PAGE; more < end; more += 2 * PAGE) {
		int error = arena_add(base, more, PAGE, MEM_ATOMIC);
		void **p;

		if (error) {
			CHECK_EQ(error, -ENOMEM);
			return more;
		}
		p = arena_alloc(base, PAGE, MEM_ATOMIC);
		CHECK_EQ((uintptr_t)p, (uintptr_t)more);
		*p = *pages;
		*pages = p;
	}
	test_fail(__FILE__, __LINE__, "there are always tags");
}

TEST("wait: who may wait has a span added when there are tags for it")
{
	void *memory, *more = base_alloc(NULL, MORE * PAGE, MEM_WAIT);
	struct arena *base = base_make(&memory);
	struct arena *a = arena_create("pieces", NULL, 0, PIECE, arena_alloc, arena_free, base, 0, MEM_WAIT);
	struct request r = {.arena = base, .flags = MEM_WAIT};
	void **pieces = take(a, PIECE, SIZE_MAX), **pages = take(base, PAGE, SIZE_MAX);
	size_t total;

	r.got = add_all(base, more, &pages);
	CHECK_EQ(arena_add(base, r.got, PAGE, MEM_ERROR), -ENOMEM);
	total = arena_amt_total(base);
	request_start(&r, add_run);
	threads_await_waiting(base, 1);
	give(a, pieces, PIECE, SIZE_MAX);
	CHECK(threads_sleep_for(&r.done));
	ktask_join(r.task);
	CHECK_EQ(arena_amt_total(base), total + PAGE);
	give(base, pages, PAGE, SIZE_MAX);
	CHECK_EQ(arena_destroy(a), 0);
	base_end(base, memory);
	base_free(NULL, more, MORE * PAGE);
}
