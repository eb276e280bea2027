/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches, magazines and depots under simulated schedules: an object has one user at a time.
 */
#include "arena.h"
#include "port.h"
#include "sim/sim.h"
#include "slab.h"
#include "unit/arenas.h"
#include "unit/threads.h"
#include "lib/test.h"

#define NUMBERS 256
#define HELD 24
#define ROUNDS 40

static struct kmem_cache *cache;
static struct arena *ids;
static bool taken[NUMBERS + 1]; /* atomic */
static void *passed[4];		/* objects that another thread frees; atomic */

static bool mark(void *p)
{
	return !__atomic_exchange_n(&taken[(uintptr_t)p], true, __ATOMIC_RELAXED);
}

static bool unmark(void *p)
{
	return __atomic_exchange_n(&taken[(uintptr_t)p], false, __ATOMIC_RELAXED);
}

static void cache_make(void)
{
	ids = arenas_ids(1, NUMBERS);
	cache = kmem_cache_create("sim", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	CHECK(cache);
}

static void cache_end(void)
{
	CHECK_EQ(kmem_cache_check(cache, NULL), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	CHECK_EQ(arena_amt_free(ids), NUMBERS);
	arenas_end(ids);
}

static void *take(void)
{
	void *p = kmem_cache_alloc(cache, MEM_ATOMIC);

	CHECK(!p || mark(p));
	return p;
}

static void give(void *p)
{
	if (!p)
		return;
	CHECK(unmark(p));
	kmem_cache_free(cache, p);
}

static void objects(unsigned i, void *arg)
{
	void *held[HELD] = {NULL};

	for (int n = 0; n < ROUNDS; n++) {
		size_t at = test_random_below(HELD);

		if (held[at]) {
			give(held[at]);
			held[at] = NULL;
			continue;
		}
		held[at] = take();
		if (test_random_below(3) == 0)
			held[at] = __atomic_exchange_n(&passed[test_random_below(4)], held[at], __ATOMIC_ACQ_REL);
	}
	for (size_t at = 0; at < HELD; at++)
		give(held[at]);
}

static void give_passed(void)
{
	for (size_t i = 0; i < 4; i++) {
		give(passed[i]);
		passed[i] = NULL;
	}
}

TEST("sim: slab: objects that wander between cores have one user at a time")
{
	cache_make();
	sim_begin();
	threads_run(THREADS_FREE, 3, objects, NULL);
	sim_end();
	give_passed();
	cache_end();
}

static void reaped(unsigned i, void *arg)
{
	if (i > 0) {
		objects(i, arg);
		return;
	}
	for (int n = 0; n < 3; n++) {
		kmem_cache_reap(cache, (enum kmem_pressure)test_random_below(KMEM_REAP_ALL + 1));
		CHECK_EQ(kmem_cache_check(cache, NULL), 0);
	}
}

TEST("sim: slab: reaps at each pressure take nothing that is in use")
{
	cache_make();
	sim_begin();
	threads_run(THREADS_FREE, 3, reaped, NULL);
	sim_end();
	give_passed();
	cache_end();
}

static void bulks(unsigned i, void *arg)
{
	void *p[HELD];

	for (int n = 0; n < 8; n++) {
		size_t got = kmem_cache_alloc_bulk(cache, p, 1 + test_random_below(HELD), MEM_ATOMIC);

		for (size_t at = 0; at < got; at++)
			CHECK(mark(p[at]));
		for (size_t at = 0; at < got; at++)
			CHECK(unmark(p[at]));
		kmem_cache_free_bulk(cache, p, got);
	}
}

TEST("sim: slab: bulks and single objects have one user at a time")
{
	cache_make();
	sim_begin();
	threads_run(THREADS_FREE, 3, bulks, NULL);
	sim_end();
	cache_end();
}

/* Interrupts take and free; an NMI takes one for the core's next interrupt to free.  A check can't fail there: they
 * note. */
#define CORES 64
static void *from_nmi[CORES]; /* by core */
static bool wrong;

static void note(bool right)
{
	if (!right)
		__atomic_store_n(&wrong, true, __ATOMIC_RELAXED);
}

static void free_one(void *p)
{
	if (!p)
		return;
	note(unmark(p));
	kmem_cache_free(cache, p);
}

static void in_interrupt(void)
{
	void *p = kmem_cache_alloc(cache, MEM_ATOMIC);

	note(!p || mark(p));
	free_one(p);
	free_one(__atomic_exchange_n(&from_nmi[port_core_id()], NULL, __ATOMIC_RELAXED));
}

static void in_nmi(void)
{
	void **place = &from_nmi[port_core_id()];

	if (__atomic_load_n(place, __ATOMIC_RELAXED))
		return;
	*place = kmem_cache_alloc(cache, MEM_ATOMIC);
	note(!*place || mark(*place));
}

TEST("sim: slab: interrupts and NMIs that allocate get objects that none has")
{
	cache_make();
	wrong = false;
	sim_begin();
	sim_set_interrupt(in_interrupt);
	sim_set_nmi(in_nmi);
	threads_run(THREADS_FREE, 3, objects, NULL);
	sim_end();
	for (unsigned i = 0; i < CORES; i++) {
		free_one(from_nmi[i]);
		from_nmi[i] = NULL;
	}
	CHECK(!wrong);
	give_passed();
	cache_end();
}
