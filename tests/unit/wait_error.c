/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is idle elsewhere serves a request that may sleep; and when MEM_ERROR is NULL.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "port.h"
#include "reclaim.h"
#include "shortage.h"
#include "slab.h"
#include "spinlock.h"
#include "lib/test.h"
#include "modes.h"
#include "threads.h"

#define IDS 64

static const unsigned both[] = {MEM_ERROR, MEM_WAIT};

static struct arena *fronted(size_t qcache_max)
{
	return arena_create("fronted", (void *)1, IDS, 1, NULL, NULL, NULL, qcache_max, MEM_WAIT);
}

/* Takes all of the arena one by one, and frees it again. */
static void lay_up(struct arena *a)
{
	void *taken[IDS];

	for (size_t i = 0; i < IDS; i++)
		CHECK((taken[i] = arena_alloc(a, 1, MEM_ATOMIC)));
	for (size_t i = 0; i < IDS; i++)
		arena_free(a, taken[i], 1);
}

/* Checks that a request for `size` is served. */
static void check_served(struct arena *a, size_t size, unsigned flags)
{
	void *p = arena_alloc(a, size, flags);

	CHECK_NE((uintptr_t)p, 0);
	arena_free(a, p, size);
}

static void lay_up_here(unsigned core, void *arg)
{
	lay_up(arg);
}

static unsigned flags_there;

/* On the second core, if there is one, all of it: each of them lies with the first core. */
static void take_there(unsigned core, void *arg)
{
	void *taken[IDS];

	if (core != port_core_count() - 1)
		return;
	for (size_t i = 0; i < IDS; i++)
		CHECK((taken[i] = arena_alloc(arg, 1, flags_there)));
	for (size_t i = 0; i < IDS; i++)
		arena_free(arg, taken[i], 1);
}

TEST("wait: what lies in another core's magazines serves a request")
{
	for (int i = 0; i < 2; i++) {
		struct arena *a = fronted(1);

		flags_there = both[i];
		threads_run(THREADS_PINNED, 1, lay_up_here, a);
		threads_run(THREADS_PINNED, port_core_count(), take_there, a);
		arenas_end(a);
	}
}

TEST("wait: what lies in a front's smaller sizes serves a request for a larger one")
{
	for (int i = 0; i < 2; i++) {
		struct arena *a = fronted(4);

		threads_run(THREADS_PINNED, 1, lay_up_here, a);
		check_served(a, 4, both[i]);
		threads_run(THREADS_PINNED, 1, lay_up_here, a);
		check_served(a, IDS, both[i]);
		arenas_end(a);
	}
}

TEST("wait: what lies in a front serves a request in an importer")
{
	for (int i = 0; i < 2; i++) {
		struct arena *a = fronted(4), *b = arenas_importer("above", a, 1);

		threads_run(THREADS_PINNED, 1, lay_up_here, a);
		check_served(b, IDS, both[i]);
		arenas_end(b);
		arenas_end(a);
	}
}

TEST("wait: spans that a sibling retains serve a request")
{
	for (int i = 0; i < 2; i++) {
		struct arena *a = arenas_ids(16, 16), *b = arenas_importer("b", a, 1);
		struct arena *c = arenas_importer("c", a, 1);

		arena_free(b, arena_alloc(b, 16, MEM_ATOMIC), 16);
		CHECK_EQ(arenas_stats(b).retained, 16);
		CHECK_EQ((uintptr_t)arena_alloc(c, 16, MEM_ATOMIC), 0);
		check_served(c, 16, both[i]);
		arenas_end(c);
		arenas_end(b);
		arenas_end(a);
	}
}

TEST("wait: empty slabs and magazines of one cache serve a request of another")
{
	for (int i = 0; i < 2; i++) {
		struct arena *a = arenas_ids(1, IDS);
		struct kmem_cache *one = kmem_cache_create("one", 1, 0, 0, a, NULL, NULL, NULL);
		struct kmem_cache *other = kmem_cache_create("other", 1, 0, 0, a, NULL, NULL, NULL);
		void *objects[IDS], *p;

		CHECK_EQ(kmem_cache_alloc_bulk(one, objects, IDS, MEM_ATOMIC), IDS);
		for (size_t n = 0; n < IDS; n++)
			kmem_cache_free(one, objects[n]);
		p = kmem_cache_alloc(other, both[i]);
		CHECK_NE((uintptr_t)p, 0);
		kmem_cache_free(other, p);
		CHECK_EQ(kmem_cache_destroy(one), 0);
		CHECK_EQ(kmem_cache_destroy(other), 0);
		arenas_end(a);
	}
}

/* Refusals */

TEST("wait: MEM_ERROR is NULL at once where nothing can give, and for too much")
{
	struct arena *a = arenas_full(3), *b = arenas_importer("b", a, 1);

	CHECK_EQ((uintptr_t)arena_alloc(b, 4, MEM_ERROR), 0);
	CHECK_EQ(arenas_stats(b).sleeps, 0);
	arenas_end(b);
	CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ERROR), 0);
	CHECK_EQ(arenas_stats(a).sleeps, 0);
	for (uintptr_t id = 1; id <= 3; id++)
		arena_free(a, (void *)id, 1);
	arenas_end(a);
}

TEST("wait: MEM_ERROR is NULL after a hardest pass that found nothing")
{
	if (!modes_leave_fronts())
		return;
	struct arena *a = fronted(4);
	void *all = arena_alloc(a, IDS, MEM_ATOMIC);
	struct reclaim_stats before, after;

	CHECK_NE((uintptr_t)all, 0);
	reclaim_get_stats(&before);
	CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ERROR), 0);
	reclaim_get_stats(&after);
	CHECK_EQ(arenas_stats(a).sleeps, 1);
	CHECK_LT(before.passes[3], after.passes[3]);
	CHECK_LT(before.refused, after.refused);
	CHECK_EQ(arenas_stats(a).waiting, 0);
	arena_free(a, all, IDS);
	arenas_end(a);
}

TEST("wait: a request with a deadline in the past takes what is free, or is NULL")
{
	struct arena *a = arenas_full(1);

	CHECK_EQ((uintptr_t)arena_alloc_timeout(a, 1, MEM_ERROR, 1), 0);
	arena_free(a, (void *)1, 1);
	CHECK_EQ((uintptr_t)arena_alloc_timeout(a, 1, MEM_ERROR, 1), 1);
	arena_free(a, (void *)1, 1);
	arenas_end(a);
}

/* Passes over other trees */

#define OTHER_ROUNDS 200

static struct {
	struct arena *short_one, *source, *holder, *wanting;
	bool ends; /* atomic */
} passes;

/* Each refusal takes a hardest pass. */
static void be_refused(unsigned i, void *arg)
{
	while (!__atomic_load_n(&passes.ends, __ATOMIC_ACQUIRE) && !test_has_failed())
		CHECK_EQ((uintptr_t)arena_alloc(passes.short_one, 1, MEM_ERROR), 0);
}

/* What is wanted an importer retains, and a pass alone has it give that back. */
static void be_served(unsigned i, void *arg)
{
	for (size_t n = 0; n < test_ops(OTHER_ROUNDS); n++) {
		void *p = arena_alloc(passes.holder, 16, MEM_WAIT);

		while (shortage_is_short(passes.source))
			kthread_usleep(1000);
		arena_free(passes.holder, p, 16);
		check_served(passes.wanting, 16, MEM_ERROR);
		arena_reap(passes.wanting, SIZE_MAX);
	}
}

TEST("wait: a hardest pass over one tree refuses no request in another")
{
	struct threads *refused;
	void *all;

	/* Without a front there is nothing to wait for, and who is refused at once lets no other thread run. */
	if (!modes_leave_fronts())
		return;
	passes.short_one = fronted(4);
	passes.source = arenas_ids(16, 16);
	passes.holder = arenas_importer("holder", passes.source, 1);
	passes.wanting = arenas_importer("wanting", passes.source, 1);
	passes.ends = false;
	all = arena_alloc(passes.short_one, IDS, MEM_ATOMIC);
	refused = threads_start(THREADS_FREE, 1, be_refused, NULL);
	threads_run(THREADS_FREE, 1, be_served, NULL);
	__atomic_store_n(&passes.ends, true, __ATOMIC_RELEASE);
	threads_join(refused);
	arena_free(passes.short_one, all, IDS);
	arenas_end(passes.wanting);
	arenas_end(passes.holder);
	arenas_end(passes.source);
	arenas_end(passes.short_one);
}

TEST("wait: MEM_ERROR under a spinlock is NULL, though a sleep would be served")
{
	struct arena *a = arenas_ids(1, 16), *keeps = arenas_importer("keeps", a, 1);
	struct spinlock spin = SPINLOCK_INIT(SPIN_CALLER);
	port_irq_t irq;
	void *p;

	arena_free(keeps, arena_alloc(keeps, 16, MEM_ATOMIC), 16);
	CHECK_EQ(arenas_stats(keeps).retained, 16);
	irq = spin_lock(&spin);
	p = arena_alloc(a, 16, MEM_ERROR);
	spin_unlock(&spin, irq);
	CHECK_EQ((uintptr_t)p, 0);
	p = arena_alloc(a, 16, MEM_ERROR);
	CHECK(p);
	arena_free(a, p, 16);
	arenas_end(keeps);
	arenas_end(a);
}
