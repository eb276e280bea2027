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
#include "sink.h"
#include "slab.h"
#include "sync.h"
#include "unit/arenas.h"
#include "unit/threads.h"
#include "lib/test.h"

#define THREADS 4
#define ROUNDS ((unsigned)test_ops(6))
#define MS 1000000ull
#define SLAB 64 /* numbers in a slab of them */
#define IDLE_MAX MS	       /* a wake-up that was lost is made up for after 100 ms */
#define IDLE_PASS_MAX (200 * MS) /* so long may reclaim pause after a pass that gave little */

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

	sim_scribble();
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
	CHECK_EQ(shortage_check(&console_sink), 0);
}

static void of_one(unsigned i, void *arg)
{
	for (unsigned n = 0; n < 4 * ROUNDS; n++)
		take_and_give(ids, 3, MEM_WAIT);
}

TEST("sim: shortage: requests of one arena are all served")
{
	ids = arenas_ids(1, 4);
	sim_begin();
	threads_run(THREADS_FREE, 2 * THREADS, of_one, NULL);
	end(IDLE_MAX);
	CHECK_EQ(arenas_stats(ids).waiting, 0);
	arenas_end(ids);
}

static void of_tree(unsigned i, void *arg)
{
	struct arena *const all[] = {ids, importer, above};

	for (unsigned n = 0; n < ROUNDS; n++)
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

/* Numbers, `left` of them free; of the others an object is in use in a cache, so that a request by MEM_ERROR may hope. */
static void *hope;

static void hopeful_make(size_t left)
{
	ids = arenas_ids(1, SLAB + left);
	cache = kmem_cache_create("sim", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	hope = kmem_cache_alloc(cache, MEM_ATOMIC);
	CHECK(hope);
}

static void hopeful_end(size_t left)
{
	CHECK_EQ(arena_amt_free(ids), left);
	kmem_cache_free(cache, hope);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	arenas_end(ids);
}

/* Wakes the others for no reason, while there is one. */
static struct ktask *sleepers[THREADS]; /* atomic */
static unsigned at_work;
static struct semaphore let_go;

static void rouse(void)
{
	while (__atomic_load_n(&at_work, __ATOMIC_ACQUIRE) > 0) {
		struct ktask *t = __atomic_load_n(&sleepers[test_random_below(THREADS)], __ATOMIC_ACQUIRE);

		if (t)
			port_thread_unblock(t);
		kthread_yield();
	}
	for (unsigned i = 0; i < THREADS; i++)
		__atomic_store_n(&sleepers[i], NULL, __ATOMIC_RELAXED);
	sem_up(&let_go, THREADS);
}

/* Sums that went wrong once stay so. */
static void with_deadlines(unsigned i)
{
	for (unsigned n = 0; n < 6 * ROUNDS; n++) {
		size_t size = 1 + test_random_below(3);
		void *p;

		if (i % 2) {
			take_and_give(ids, 3, n % 2 ? MEM_WAIT : MEM_ERROR);
			continue;
		}
		p = arena_alloc_timeout(ids, size, MEM_ERROR, sim_soon());
		sim_scribble();
		if (n % 2)
			linger();
		if (p)
			arena_free(ids, p, size);
	}
}

static void roused(unsigned i, void *arg)
{
	if (i == THREADS) {
		rouse();
		return;
	}
	__atomic_store_n(&sleepers[i], ktask_self(), __ATOMIC_RELEASE);
	with_deadlines(i);
	__atomic_fetch_sub(&at_work, 1, __ATOMIC_RELEASE);
	/* What rouses it needs it. */
	sem_down(&let_go, 1);
}

TEST("sim: shortage: an answer and a deadline that come at once lose nothing")
{
	hopeful_make(4);
	at_work = THREADS;
	sem_init(&let_go, 0);
	sim_begin();
	threads_run(THREADS_FREE, THREADS + 1, roused, NULL);
	end(IDLE_PASS_MAX);
	hopeful_end(4);
}

/* Rounds over records that leave, each at its deadline, and some that are served. */
static void leave_early(unsigned i, void *arg)
{
	for (unsigned n = 0; n < 3 * ROUNDS; n++) {
		if (i % 3 == 0)
			take_and_give(ids, 1, MEM_WAIT);
		else
			CHECK(!arena_alloc_timeout(ids, 2, MEM_ERROR, sim_soon()));
		sim_scribble();
	}
}

TEST("sim: shortage: records that leave at their deadlines lose no other")
{
	hopeful_make(1);
	sim_begin();
	threads_run(THREADS_FREE, 2 * THREADS, leave_early, NULL);
	end(IDLE_PASS_MAX);
	hopeful_end(1);
}

/* An owner that answers only when none sleeps any more: so the pass that asks it lasts. */
#define PATIENCE 30000 /* pauses */
static unsigned asleep;
static unsigned turn;
static bool was_late;

static size_t answer_late(void *priv, size_t units)
{
	unsigned n = 0;

	while (__atomic_load_n(&asleep, __ATOMIC_ACQUIRE) > 0 && n++ < PATIENCE)
		port_pause();
	if (n > PATIENCE)
		__atomic_store_n(&was_late, true, __ATOMIC_RELAXED);
	return 0;
}

/* Each free has the server try. */
static void have_it_try(void)
{
	for (size_t n = test_random_below(6); n > 0; n--) {
		void *p = arena_alloc(ids, 1, MEM_ATOMIC);

		if (p)
			arena_free(ids, p, 1);
	}
}

static void too_much(unsigned i, void *arg)
{
	for (unsigned n = 0; n < 6 * ROUNDS; n++) {
		if (i == 1) {
			while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) <= n)
				kthread_yield();
			have_it_try();
			continue;
		}
		__atomic_store_n(&asleep, 1, __ATOMIC_RELEASE);
		__atomic_store_n(&turn, n + 1, __ATOMIC_RELEASE);
		CHECK(!arena_alloc_timeout(ids, 2, MEM_ERROR, sim_soon()));
		__atomic_store_n(&asleep, 0, __ATOMIC_RELEASE);
	}
}

TEST("sim: shortage: a deadline that comes during a try doesn't wait for a pass")
{
	hopeful_make(1);
	was_late = false;
	turn = 0;
	kmem_cache_set_reclaim(cache, answer_late, NULL);
	sim_begin();
	threads_run(THREADS_FREE, 2, too_much, NULL);
	end(IDLE_PASS_MAX);
	CHECK(!was_late);
	hopeful_end(1);
}

/* All together want more than there is. */
static void objects(unsigned i, void *arg)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
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
	for (unsigned n = 0; n < ROUNDS; n++)
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
