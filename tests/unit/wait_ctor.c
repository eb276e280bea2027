/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Constructors of objects that requests slept for: they run on the sleeper's own stack.
 */
#include "arena.h"
#include "arenas.h"
#include "slab.h"
#include "sleepers.h"
#include "sync.h"
#include "lib/test.h"

#define UNITS 64

static struct qlock lock = QLOCK_INIT(lock);
static struct arena *ids, *others;
static struct kmem_cache *cache;
static bool takes_lock;

static int take_lock(void *object, void *priv, unsigned flags)
{
	if (takes_lock) {
		qlock_lock(&lock);
		qlock_unlock(&lock);
	}
	return 0;
}

/* Sleeps for an ID of the other arena with the lock held. */
static void hold_lock(struct sleeper *s)
{
	qlock_lock(&lock);
	s->got = arena_alloc(others, 1, MEM_WAIT);
	qlock_unlock(&lock);
}

TEST("wait: a constructor that takes a sleeper's lock keeps neither of them asleep")
{
	struct sleeper holder = {.arena = NULL, .ask = hold_lock}, wanter = {.arena = NULL};
	void *live[UNITS], *other;
	size_t n = 0;

	ids = arenas_ids(1, UNITS);
	others = arenas_full(1);
	cache = kmem_cache_create("ids", 1, 0, 0, ids, take_lock, NULL, NULL);
	takes_lock = false;
	while (n < UNITS && (live[n] = kmem_cache_alloc(cache, MEM_ATOMIC)))
		n++;
	takes_lock = true;
	holder.arena = others;
	wanter.arena = ids;
	wanter.cache = cache;
	sleeper_start(&holder, 1);
	sleeper_start(&wanter, 1);
	/* The server hands it over; its constructor waits for the lock, on the sleeper's stack. */
	kmem_cache_free(cache, live[--n]);
	while (arenas_stats(ids).waits_served == 0)
		kthread_yield();
	CHECK(!sleeper_is_done(&wanter));
	other = (void *)1;
	arena_free(others, other, 1);
	sleeper_end(&holder);
	sleeper_end(&wanter);
	takes_lock = false;
	arena_free(others, holder.got, 1);
	while (n > 0)
		kmem_cache_free(cache, live[--n]);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	arenas_end(ids);
	arenas_end(others);
}
