/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches, magazines and depots under simulated schedules: an object has one user at a time.
 */
#include "arena.h"
#include "kthread.h"
#include "port.h"
#include "sim/sim.h"
#include "slab.h"
#include "unit/arenas.h"
#include "unit/threads.h"
#include "lib/test.h"

#define NUMBERS 256
#define HELD 24
#define ROUNDS ((unsigned)test_ops(40))

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

	for (unsigned n = 0; n < ROUNDS; n++) {
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

/* Memory: an object's first word says whether it is in use.  Magazines are so small that each few calls go to the depot. */
#define BIG 8192
#define BURST 6
#define IN_USE 0x5a5a1234u

static struct kmem_cache *big[2], *little;
static struct arena *base;

static bool word_take(uint32_t *p)
{
	return __atomic_exchange_n(p, IN_USE, __ATOMIC_RELAXED) != IN_USE;
}

static bool word_give(uint32_t *p)
{
	return __atomic_exchange_n(p, 0, __ATOMIC_RELAXED) == IN_USE;
}

static void burst(struct kmem_cache *c)
{
	uint32_t *p[BURST];
	size_t wanted = 1 + test_random_below(BURST), got;

	for (got = 0; got < wanted && (p[got] = kmem_cache_alloc(c, MEM_ATOMIC)); got++)
		CHECK(word_take(p[got]));
	if (test_random_below(4) == 0)
		kthread_yield();
	while (got-- > 0) {
		CHECK(word_give(p[got]));
		kmem_cache_free(c, p[got]);
	}
}

/* Without magazines: each thread gives its slabs back, and the other gets their pages. */
static void slabs(unsigned i, void *arg)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
		burst(big[i]);
		kmem_cache_reap(big[i], KMEM_REAP_ALL);
	}
}

TEST("sim: slab: pages that go from cache to cache lead to the slab they are in")
{
	for (int i = 0; i < 2; i++)
		big[i] = kmem_cache_create("big", BIG, 0, KMC_CHECK, base_arena, NULL, NULL, NULL);
	sim_begin();
	threads_run(THREADS_FREE, 2, slabs, NULL);
	sim_end();
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(kmem_cache_check(big[i], NULL), 0);
		CHECK_EQ(kmem_cache_destroy(big[i]), 0);
	}
}

/* Magazines come and go: they are as small as one object, and each reap frees them. */
static void magazines(unsigned i, void *arg)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
		burst(big[0]);
		if (test_random_below(4) == 0)
			kmem_cache_reap(big[0], KMEM_REAP_ALL);
	}
}

TEST("sim: slab: magazines that come and go have one user at a time")
{
	big[0] = kmem_cache_create("big", BIG, 0, 0, base_arena, NULL, NULL, NULL);
	sim_begin();
	threads_run(THREADS_FREE, 4, magazines, NULL);
	sim_end();
	CHECK_EQ(kmem_cache_check(big[0], NULL), 0);
	CHECK_EQ(kmem_cache_destroy(big[0]), 0);
}

/* On a base of their own, which is short at times. */
#define LITTLE 64
#define LITTLE_PAGES 64

static void little_make(void)
{
	base = arenas_base(LITTLE_PAGES);
	little = kmem_cache_create("little", LITTLE, 0, 0, base, NULL, NULL, NULL);
	CHECK(little);
}

static void little_end(void)
{
	CHECK_EQ(kmem_cache_check(little, NULL), 0);
	CHECK_EQ(kmem_cache_destroy(little), 0);
	arenas_base_end(base, LITTLE_PAGES);
}

/* Interrupts take and free; an NMI takes what threads and interrupts free.  A check can't fail there: they note. */
#define CORES 64
#define SLOTS 8
static void *held_in_irq[CORES]; /* by core */
static void *from_nmi[CORES * SLOTS]; /* some of each core's; atomic */
static bool wrong;

static void note(bool right)
{
	if (!right)
		__atomic_store_n(&wrong, true, __ATOMIC_RELAXED);
}

static void *little_take(void)
{
	void *p = kmem_cache_alloc(little, MEM_ATOMIC);

	note(!p || word_take(p));
	return p;
}

static void little_give(void *p)
{
	if (!p)
		return;
	note(word_give(p));
	kmem_cache_free(little, p);
}

static void give_one_from_nmi(size_t i)
{
	little_give(__atomic_exchange_n(&from_nmi[i], NULL, __ATOMIC_ACQ_REL));
}

static void in_interrupt(void)
{
	void **place = &held_in_irq[port_core_id()];
	void *p = *place;

	*place = p ? NULL : little_take();
	little_give(p);
}

static void in_nmi(void)
{
	void **place = &from_nmi[port_core_id() * SLOTS + port_ticks() % SLOTS];

	if (!__atomic_load_n(place, __ATOMIC_ACQUIRE))
		__atomic_store_n(place, little_take(), __ATOMIC_RELEASE);
}

static void disturbed_begin(void)
{
	little_make();
	wrong = false;
	sim_begin();
	sim_set_interrupt(in_interrupt);
}

static void disturbed_end(void)
{
	sim_end();
	for (unsigned i = 0; i < CORES; i++) {
		little_give(held_in_irq[i]);
		held_in_irq[i] = NULL;
	}
	for (size_t i = 0; i < CORES * SLOTS; i++)
		give_one_from_nmi(i);
	CHECK(!wrong);
	little_end();
}

static void little_bursts(unsigned i, void *arg)
{
	for (unsigned n = 0; n < 2 * ROUNDS; n++) {
		burst(little);
		give_one_from_nmi(test_random_below(port_core_count() * SLOTS));
	}
}

TEST("sim: slab: interrupts and NMIs that allocate get objects that none has")
{
	disturbed_begin();
	sim_set_nmi(in_nmi);
	threads_run(THREADS_FREE, 3, little_bursts, NULL);
	disturbed_end();
}

/* Its source is short for a while, again and again: then a free empties its core's magazines. */
#define PRESSES 4
#define REST_US 11000

static void pressed(unsigned i, void *arg)
{
	for (int n = 0; n < PRESSES; n++) {
		for (int k = 0; k < 8; k++)
			burst(little);
		if (i == 0)
			CHECK(!arena_alloc(base, (LITTLE_PAGES - 8) * PORT_PAGE_SIZE, MEM_ERROR));
		for (int k = 0; k < 8; k++)
			burst(little);
		kthread_usleep(REST_US);
	}
}

TEST("sim: slab: magazines that a free empties stand still meanwhile")
{
	void *p;

	disturbed_begin();
	p = arena_alloc(base, 16 * PORT_PAGE_SIZE, MEM_ATOMIC);
	CHECK(p);
	threads_run(THREADS_FREE, 3, pressed, NULL);
	arena_free(base, p, 16 * PORT_PAGE_SIZE);
	disturbed_end();
}
