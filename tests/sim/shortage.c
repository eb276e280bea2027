/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests that sleep, under simulated schedules: none sleeps for what is free.  A wake-up that is lost shows
 * as a machine in which all cores sleep.
 */
#include "arena.h"
#include "kthread.h"
#include "port.h"
#include "shortage.h"
#include "sim/sim.h"
#include "slab.h"
#include "unit/arenas.h"
#include "unit/threads.h"
#include "lib/test.h"

#define THREADS 4
#define ROUNDS 6
#define US 1000ull /* nanoseconds */
#define IDLE_MAX (1000 * US)	       /* a wake-up that was lost is made up for after 100 ms */
#define IDLE_PASS_MAX (200 * 1000 * US) /* so long may reclaim pause after a pass that gave little */

static struct arena *ids, *importer, *above;
static struct kmem_cache *cache;

static void linger(void)
{
	if (test_random_below(2))
		kthread_yield();
	else if (test_random_below(4) == 0)
		kthread_usleep(1 + test_random_below(20));
}

static void take_and_give(struct arena *a, size_t most, unsigned flags)
{
	size_t size = 1 + test_random_below(most);
	void *p = arena_alloc(a, size, flags);

	CHECK(p || !(flags & MEM_WAIT));
	linger();
	if (p)
		arena_free(a, p, size);
}

/* No request slept until the server looked by itself. */
static void end(uint64_t idle_max)
{
	CHECK_LT(sim_longest_idle(), idle_max);
	sim_end();
	CHECK_EQ(shortage_check(NULL), 0);
}

static void of_one(unsigned i, void *arg)
{
	for (int n = 0; n < ROUNDS; n++)
		take_and_give(ids, 3, MEM_WAIT);
}

TEST("sim: shortage: requests of one arena are all served")
{
	ids = arenas_ids(1, 4);
	sim_begin();
	threads_run(THREADS_FREE, THREADS, of_one, NULL);
	end(IDLE_MAX);
	CHECK_EQ(arenas_stats(ids).waiting, 0);
	arenas_end(ids);
}

static void of_tree(unsigned i, void *arg)
{
	struct arena *const all[] = {ids, importer, above};

	for (int n = 0; n < ROUNDS; n++)
		take_and_give(all[(i + test_random_below(2)) % 3], 3, MEM_WAIT);
}

TEST("sim: shortage: requests of a tree are all served")
{
	ids = arenas_ids(4, 16);
	importer = arenas_importer("importer", ids, 2);
	above = arenas_importer("above", importer, 1);
	sim_begin();
	threads_run(THREADS_FREE, THREADS, of_tree, NULL);
	end(IDLE_MAX);
	arenas_end(above);
	arenas_end(importer);
	CHECK_EQ(arena_amt_free(ids), 16);
	arenas_end(ids);
}

/* Sums that went wrong once stay so. */
static void with_deadline(unsigned i, void *arg)
{
	for (int n = 0; n < 4 * ROUNDS; n++) {
		size_t size = 1 + test_random_below(3);
		void *p;

		if (i % 2) {
			take_and_give(ids, 3, MEM_ERROR);
			continue;
		}
		p = arena_alloc_timeout(ids, size, MEM_ERROR, port_ns() + test_random_below(20) * US);
		linger();
		if (p)
			arena_free(ids, p, size);
	}
}

TEST("sim: shortage: an answer and a deadline that come at once lose nothing")
{
	ids = arenas_ids(1, 4);
	sim_begin();
	threads_run(THREADS_FREE, THREADS, with_deadline, NULL);
	end(IDLE_MAX);
	CHECK_EQ(arena_amt_free(ids), 4);
	arenas_end(ids);
}

/* All together want more than there is. */
#define SLAB 64 /* numbers in a slab of them */

static void objects(unsigned i, void *arg)
{
	for (int n = 0; n < ROUNDS; n++) {
		size_t wanted = 1 + test_random_below(SLAB / 2);
		void *p[SLAB / 2];

		CHECK_EQ(kmem_cache_alloc_bulk(cache, p, wanted, MEM_WAIT), wanted);
		linger();
		kmem_cache_free_bulk(cache, p, wanted);
	}
}

TEST("sim: shortage: requests of a cache are all served")
{
	ids = arenas_ids(1, SLAB);
	cache = kmem_cache_create("sim", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	sim_begin();
	threads_run(THREADS_FREE, THREADS, objects, NULL);
	end(IDLE_MAX);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	CHECK_EQ(arena_amt_free(ids), SLAB);
	arenas_end(ids);
}

static void of_fronts(unsigned i, void *arg)
{
	for (int n = 0; n < ROUNDS; n++)
		take_and_give(i % 2 ? importer : ids, i % 2 ? 2 : 2 * SLAB, MEM_WAIT);
}

TEST("sim: shortage: requests behind quantum caches are all served")
{
	ids = arenas_ids(1, 2 * SLAB);
	importer = arena_create("fronted", NULL, 0, 1, arena_alloc, arena_free, ids, 2, MEM_WAIT);
	CHECK(importer);
	sim_begin();
	threads_run(THREADS_FREE, THREADS, of_fronts, NULL);
	end(IDLE_PASS_MAX);
	arenas_end(importer);
	CHECK_EQ(arena_amt_free(ids), 2 * SLAB);
	arenas_end(ids);
}
