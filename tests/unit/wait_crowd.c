/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Crowds of threads that sleep in allocations: all the time more is wanted than there is.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"
#include "threads.h"

#define TASKS 16
#define IDS_MAX 128
#define DEADLINE_NS 50000

struct crowd {
	struct arena *arena;	    /* of IDs below IDS_MAX */
	struct kmem_cache *cache;   /* NULL, or its objects are asked for */
	size_t rounds, most;
	size_t sleeps;		    /* they go on until there were as many */
	bool has_deadlines;
	size_t missed;		    /* deadlines; atomic */
	unsigned char owned[IDS_MAX]; /* atomic: whether an ID is handed out */
	bool all_here;		    /* none begins before */
};

static void *take(struct crowd *c, size_t size)
{
	void *p;

	if (c->cache)
		return kmem_cache_alloc(c->cache, MEM_WAIT);
	if (!c->has_deadlines)
		return arena_alloc(c->arena, size, MEM_WAIT);
	p = arena_alloc_timeout(c->arena, size, MEM_ERROR, port_ns() + test_random_below(DEADLINE_NS));
	__atomic_fetch_add(&c->missed, !p, __ATOMIC_RELAXED);
	return p;
}

static void give(struct crowd *c, void *p, size_t size)
{
	if (c->cache)
		kmem_cache_free(c->cache, p);
	else
		arena_free(c->arena, p, size);
}

/* Checks that no other thread has them. */
static void own(struct crowd *c, void *p, size_t size, unsigned char owned)
{
	for (uintptr_t id = (uintptr_t)p; id < (uintptr_t)p + size; id++)
		CHECK_NE(__atomic_exchange_n(&c->owned[id], owned, __ATOMIC_RELAXED), owned);
}

static void round_once(struct crowd *c)
{
	size_t size = 1 + test_random_below(c->most);
	void *p = take(c, size);

	if (p)
		own(c, p, size, 1);
	kthread_yield();
	if (!p)
		return;
	own(c, p, size, 0);
	give(c, p, size);
}

/* The count of sleeps is read only now and then, since that takes the arena's lock. */
static void run(unsigned i, void *arg)
{
	struct crowd *c = arg;

	threads_await(&c->all_here);
	do {
		for (size_t n = 0; n < c->rounds; n++)
			round_once(c);
	} while (arenas_stats(c->arena).sleeps < c->sleeps && !test_has_failed());
}

/* Each wake-up is an answer: it serves, or tells a thread that its time is over. */
static void run_crowd(struct crowd *c)
{
	struct threads *threads = threads_start(THREADS_FREE, TASKS, run, c);
	struct arena_stats s;

	__atomic_store_n(&c->all_here, true, __ATOMIC_RELEASE);
	threads_join(threads);
	s = arenas_stats(c->arena);
	CHECK_EQ(s.waiting, 0);
	CHECK_EQ(s.sleeps, s.waits_served + c->missed);
	CHECK_EQ(s.wakeups, s.waits_served);
}

static struct arena *fronted(size_t ids, size_t qcache_max)
{
	return arena_create("ids", (void *)1, ids, 1, NULL, NULL, NULL, qcache_max, MEM_WAIT);
}

TEST("wait: of a hundred thousand sleeps none is forgotten, and each wake-up serves")
{
	struct crowd c = {.arena = arenas_ids(1, 3), .rounds = 64, .most = 1, .sleeps = test_ops(100000)};

	run_crowd(&c);
	arenas_end(c.arena);
}

TEST("wait: nor is one of a hundred thousand sleeps in front of quantum caches")
{
	struct crowd c = {.arena = fronted(6, 4), .rounds = 64, .most = 4, .sleeps = test_ops(100000)};

	run_crowd(&c);
	arenas_end(c.arena);
}

TEST("wait: sizes that differ, through an importer, none forgotten")
{
	struct arena *a = arenas_ids(16, IDS_MAX - 16), *b = arenas_importer("b", a, 1);
	struct crowd c = {.arena = b, .rounds = test_ops(20000) / TASKS, .most = 40};

	run_crowd(&c);
	arenas_end(b);
	arenas_end(a);
}

TEST("wait: a deadline at the moment of the answer loses nothing, serves nothing twice")
{
	struct crowd c = {.arena = arenas_ids(1, 4), .rounds = test_ops(20000) / TASKS, .most = 4,
		.has_deadlines = true};

	run_crowd(&c);
	CHECK_EQ(arena_amt_free(c.arena), 4);
	arenas_end(c.arena);
}

TEST("wait: nor does one at the moment of an answer by a quantum cache")
{
	struct crowd c = {.arena = fronted(6, 4), .rounds = test_ops(20000) / TASKS, .most = 4,
		.has_deadlines = true};

	run_crowd(&c);
	arena_reap(c.arena, SIZE_MAX);
	CHECK_EQ(arena_amt_free(c.arena), 6);
	arenas_end(c.arena);
}

/* The cache has taken all of its source, and four of its objects are free. */
TEST("wait: a crowd around a cache with too few objects, none forgotten")
{
	struct arena *a = arenas_ids(1, IDS_MAX - 1);
	struct kmem_cache *cache = kmem_cache_create("crowded", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
	struct crowd c = {.arena = a, .cache = cache, .rounds = test_ops(20000) / TASKS, .most = 1};
	void *hogged[IDS_MAX];
	size_t n = 0;

	while (n < IDS_MAX && (hogged[n] = kmem_cache_alloc(cache, MEM_ATOMIC)))
		n++;
	CHECK_LT(4, n);
	for (size_t i = 0; i < 4; i++)
		kmem_cache_free(cache, hogged[--n]);
	run_crowd(&c);
	CHECK_LT(0, arenas_stats(a).sleeps);
	kmem_cache_free_bulk(cache, hogged, n);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	arenas_end(a);
}
