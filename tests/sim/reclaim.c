/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim, and the ends of arenas and caches, under simulated schedules.
 */
#include "arena.h"
#include "kthread.h"
#include "port.h"
#include "reclaim.h"
#include "shortage.h"
#include "sim/sim.h"
#include "slab.h"
#include "unit/arenas.h"
#include "unit/threads.h"
#include "lib/test.h"

#define THREADS 4
#define ROUNDS 6
#define OBJECTS 16
#define IDLE_MAX 200000000 /* nanoseconds: reclaim may pause after a pass that gave little */
#define SLAB 64 /* numbers in a slab of them */
#define UNITS (SLAB + 16)

static struct arena *ids;
static struct kmem_cache *cache;

static void objects(unsigned i, void *arg)
{
	void *p[OBJECTS];

	for (int n = 0; n < ROUNDS; n++) {
		size_t wanted = 1 + test_random_below(OBJECTS / 2);

		for (size_t at = 0; at < wanted; at++)
			p[at] = kmem_cache_alloc(cache, MEM_WAIT);
		if (test_random_below(2))
			kthread_yield();
		for (size_t at = 0; at < wanted; at++)
			kmem_cache_free(cache, p[at]);
	}
}

/* Half of the threads draw on the source of the other's cache: what that keeps idle must come back. */
static void compete(unsigned i, void *arg)
{
	if (i % 2) {
		objects(i, arg);
		return;
	}
	for (int n = 0; n < ROUNDS; n++) {
		size_t size = 1 + test_random_below(UNITS / 2);
		void *p = arena_alloc(ids, size, MEM_WAIT);

		if (test_random_below(2))
			kthread_yield();
		arena_free(ids, p, size);
	}
}

static void poke(void)
{
	reclaim_poke();
}

TEST("sim: reclaim: what a cache keeps idle serves requests of its source")
{
	ids = arenas_ids(1, UNITS);
	cache = kmem_cache_create("sim", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	sim_begin();
	sim_set_interrupt(poke);
	sim_set_nmi(poke);
	threads_run(THREADS_FREE, THREADS, compete, NULL);
	CHECK_LT(sim_longest_idle(), IDLE_MAX);
	sim_end();
	CHECK_EQ(shortage_check(NULL), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	CHECK_EQ(arena_amt_free(ids), UNITS);
	arenas_end(ids);
}

static void run_and_walk(unsigned i, void *arg)
{
	if (i == 0)
		for (int n = 0; n < 2; n++)
			reclaim_run(1 + (unsigned)test_random_below(3));
	else if (i == 1)
		for (struct arena *a = arena_next(NULL); a; a = arena_next(a))
			(void)arena_amt_free(a);
	else if (i == 2)
		for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
			kthread_yield();
}

/* Makes a tree, uses it and ends it, again and again. */
static void trees(unsigned i, void *arg)
{
	if (i < 3) {
		run_and_walk(i, arg);
		return;
	}
	for (int n = 0; n < 3; n++) {
		struct arena *a = arenas_ids(1, SLAB), *b = arenas_importer("b", a, 1);
		struct kmem_cache *c = kmem_cache_create("c", 1, 0, KMC_NOTOUCH, b, NULL, NULL, NULL);
		void *p = kmem_cache_alloc(c, MEM_WAIT);

		CHECK_EQ(arena_destroy(b), -EBUSY);
		kmem_cache_free(c, p);
		while (kmem_cache_destroy(c) != 0)
			kthread_yield();
		while (arena_destroy(b) != 0)
			kthread_yield();
		while (arena_destroy(a) != 0)
			kthread_yield();
	}
}

TEST("sim: reclaim: passes and walks don't stand on what has ended")
{
	sim_begin();
	threads_run(THREADS_FREE, THREADS, trees, NULL);
	sim_end();
}
