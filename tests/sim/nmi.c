/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NMIs that allocate, wherever they land: they get what their core has at hand, or nothing, and nothing waits for a lock
 * that its own core holds.  A check can't fail there: they note.
 */
#include "arena.h"
#include "kmalloc.h"
#include "kmem_debug.h"
#include "kmem_fail.h"
#include "port.h"
#include "sim/sim.h"
#include "slab.h"
#include "unit/arenas.h"
#include "unit/threads.h"
#include "lib/test.h"

#define NUMBERS 256
#define FRONTED 4 /* the largest size that the front has */
#define LARGE (KMALLOC_CACHED_MAX + PORT_PAGE_SIZE)
#define SMALL 64
#define ROUNDS 24
#define CORES 64
#define NMIS 400

static struct arena *ids, *fronted;
static bool taken[NUMBERS + 1]; /* by number; atomic */
static bool wrong;		/* atomic */
static unsigned nmis;		/* so far; atomic, may miss some */
static char *large, *small;	/* which only NMIs look at */

/* What an NMI took, for the core's next interrupt to free. */
static struct took {
	void *number, *object;
} from_nmi[CORES]; /* by core */

static void note(bool right)
{
	if (!right)
		__atomic_store_n(&wrong, true, __ATOMIC_RELAXED);
}

static void *take_number(void)
{
	void *p = arena_alloc(fronted, FRONTED, MEM_ATOMIC);

	note(!p || !__atomic_exchange_n(&taken[(uintptr_t)p], true, __ATOMIC_RELAXED));
	return p;
}

static void give_number(void *p)
{
	if (!p)
		return;
	note(__atomic_exchange_n(&taken[(uintptr_t)p], false, __ATOMIC_RELAXED));
	arena_free(fronted, p, FRONTED);
}

static void give(struct took *t)
{
	give_number(__atomic_exchange_n(&t->number, NULL, __ATOMIC_RELAXED));
	kfree(__atomic_exchange_n(&t->object, NULL, __ATOMIC_RELAXED));
}

static void in_interrupt(void)
{
	give_number(take_number());
	kfree(kmalloc(SMALL, MEM_ATOMIC));
	give(&from_nmi[port_core_id()]);
}

/* One thing at a time, and no more than some, so that cores go on where NMIs are frequent.  By MEM_ERROR, too, which
 * doesn't sleep where nothing may. */
static void in_nmi(void)
{
	struct took *t = &from_nmi[port_core_id()];
	unsigned n = __atomic_load_n(&nmis, __ATOMIC_RELAXED);

	if (n == NMIS)
		return;
	__atomic_store_n(&nmis, n + 1, __ATOMIC_RELAXED);
	switch (n % 4) {
	case 0:
		if (!__atomic_load_n(&t->number, __ATOMIC_RELAXED))
			t->number = take_number();
		break;
	case 1:
		if (!__atomic_load_n(&t->object, __ATOMIC_RELAXED))
			t->object = kmalloc(SMALL, MEM_ERROR);
		break;
	case 2:
		note(kmalloc(LARGE, MEM_ATOMIC) == NULL);
		break;
	default:
		note(krealloc(large, 2 * LARGE, MEM_ATOMIC) == NULL);
		note(ksize(large) >= LARGE && ksize(small) >= SMALL);
	}
}

static void work(unsigned i, void *arg)
{
	for (int n = 0; n < ROUNDS; n++) {
		void *number = take_number(), *object = kmalloc(SMALL, MEM_ATOMIC);
		void *block = test_random_below(4) ? NULL : kmalloc(LARGE, MEM_ATOMIC);

		kfree(block);
		kfree(object);
		give_number(number);
	}
}

static void begin(void)
{
	ids = arenas_ids(FRONTED, NUMBERS / FRONTED * FRONTED);
	fronted = arena_create("fronted", NULL, 0, 1, arena_alloc, arena_free, ids, FRONTED, MEM_WAIT);
	large = kmalloc(LARGE, MEM_WAIT);
	small = kmalloc(SMALL, MEM_WAIT);
	CHECK(fronted && large && small);
	wrong = false;
	nmis = 0;
}

static void run(void)
{
	sim_begin();
	sim_set_interrupt(in_interrupt);
	sim_set_nmi(in_nmi);
	threads_run(THREADS_FREE, 3, work, NULL);
	sim_end();
	for (unsigned i = 0; i < CORES; i++)
		give(&from_nmi[i]);
	CHECK(!wrong);
}

static void end(void)
{
	kfree(small);
	kfree(large);
	arenas_end(fronted);
	CHECK_EQ(arena_amt_free(ids), NUMBERS / FRONTED * FRONTED);
	arenas_end(ids);
}

TEST("sim: nmi: one gets what its core has at hand, and large memory not at all")
{
	begin();
	run();
	end();
}

/* Each allocation of kmalloc's is looked up, and one in three fails; but none of an NMI's by a rule. */
TEST("sim: nmi: by rules none of one's allocations fails; closed caches are empty")
{
	struct kmem_fail_rule rule = {.name = "kmalloc-64", .one_in = 3};
	struct kmem_fail_stats stats;
	int number;

	begin();
	number = kmem_fail_start(&rule);
	run();
	CHECK(kmem_fail_get_stats(number, &stats));
	CHECK_LT(0, stats.failed);
	kmem_fail_stop(number);
	end();
}
