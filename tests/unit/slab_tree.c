/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas and caches that come and go while others walk, check and reap them.
 */
#include "arena.h"
#include "kthread.h"
#include "errors.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"
#include "threads.h"

#define TASKS 4

static bool quiet(unsigned i)
{
	return i % 2;
}

/* A destroy that is refused leaves the cache as it was, and is tried again. */
static void cache_end(struct kmem_cache *c)
{
	for (;;) {
		void *p = kmem_cache_alloc(c, MEM_WAIT);

		kmem_cache_free(c, p);
		if (kmem_cache_destroy(c) == 0)
			return;
		kthread_yield();
	}
}

static void walk_caches(void)
{
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		kthread_yield();
}

static void caches_come_and_go(unsigned i, void *arg)
{
	size_t *left = arg;

	if (quiet(i)) {
		while (__atomic_load_n(left, __ATOMIC_ACQUIRE) > 0 && !test_has_failed()) {
			walk_caches();
			kthread_yield();
		}
		return;
	}
	for (size_t n = test_ops(400); n > 0; n--) {
		struct kmem_cache *c = kmem_cache_create("coming", 48, 0, 0, NULL, NULL, NULL, NULL);

		CHECK(c != NULL);
		cache_end(c);
		kthread_yield();
	}
	__atomic_fetch_sub(left, 1, __ATOMIC_RELEASE);
}

TEST("slab: caches that end while others walk over them")
{
	size_t left = TASKS / 2;

	threads_run(THREADS_PINNED, TASKS, caches_come_and_go, &left);
}

TEST("slab: a cache may be taken out of its source's list by hand, once")
{
	struct kmem_cache *c = kmem_cache_create("unlinked", 48, 0, 0, NULL, NULL, NULL, NULL);

	CHECK_PANICS(del_importing_slab(base_arena, c), "draws no slabs from base");
	del_importing_slab(kpages_arena, c);
	CHECK_PANICS(del_importing_slab(kpages_arena, c), "draws no slabs from kpages");
	add_importing_slab(kpages_arena, c);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("slab: a cache that a walk stands on is not destroyed")
{
	struct kmem_cache *c = kmem_cache_create("pinned", 48, 0, 0, NULL, NULL, NULL, NULL), *at;

	for (at = kmem_cache_next(NULL); at && at != c; at = kmem_cache_next(at))
		;
	CHECK(at == c);
	CHECK_EQ(kmem_cache_destroy(c), -EBUSY);
	kmem_cache_unpin(c);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

static struct arena *shared;

static void arena_once(unsigned i)
{
	struct arena *a = arena_create("coming", NULL, 0, 1, arena_alloc, arena_free, shared, 4, MEM_WAIT);
	struct arena *b = arena_create("own", (void *)1, 100, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	void *p, *q;

	CHECK(a && b);
	p = arena_alloc(a, 1 + i, MEM_WAIT);
	q = arena_xalloc(b, 8, 8, 0, 0, 0, 0, MEM_WAIT);
	CHECK_EQ(arena_add(b, (void *)1000, 100, MEM_WAIT), 0);
	arena_reap(a, SIZE_MAX);
	arena_reap(shared, SIZE_MAX);
	CHECK_EQ(arena_check(b, &console_sink), 0);
	arena_free(a, p, 1 + i);
	arena_xfree(b, q, 8);
	CHECK_EQ(arena_destroy(b), 0);
	while (arena_destroy(a) != 0)
		kthread_yield();
}

static void arenas_come_and_go(unsigned i, void *arg)
{
	struct arena_stats rows[8];

	for (size_t n = test_ops(200); n > 0 && !test_has_failed(); n--) {
		arena_once(i);
		arena_tree_stats(rows, 8);
		if (i == 0)
			walk_caches();
		CHECK_EQ(arena_check(shared, &console_sink), 0);
		kthread_yield();
	}
}

TEST("arena: created, filled, reaped, checked and destroyed on several cores at once")
{
	shared = arena_create("shared", (void *)16, 4096, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	threads_run(THREADS_PINNED, TASKS, arenas_come_and_go, NULL);
	CHECK_EQ(arena_destroy(shared), 0);
}
