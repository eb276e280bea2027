/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several requests that sleep in one cache, each for something else.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "port.h"
#include "slab.h"
#include "sleepers.h"
#include "lib/test.h"
#include "threads.h"

#define UNITS 4096

/* A cache of integers that has taken all of its source, and what of them is live. */
static struct arena *ids;
static struct kmem_cache *cache;
static void *live[UNITS];
static size_t lives;

static void begin(kmem_ctor_fn ctor)
{
	ids = arenas_ids(1, UNITS);
	cache = kmem_cache_create("ids", 1, 0, 0, ids, ctor, NULL, NULL);
	for (lives = 0; lives < UNITS; lives++)
		if (!(live[lives] = kmem_cache_alloc(cache, MEM_ATOMIC)))
			break;
}

static void free_live(size_t n)
{
	while (n-- > 0)
		kmem_cache_free(cache, live[--lives]);
}

static void end(void)
{
	free_live(lives);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	CHECK_EQ(arena_destroy(ids), 0);
}

static struct sleeper for_one(void)
{
	return (struct sleeper){.arena = ids, .cache = cache};
}

static void reserve(struct sleeper *s)
{
	CHECK_EQ(kmem_cache_reserve(cache, *(size_t *)s->arg, MEM_WAIT), 0);
}

/* *n objects are to be kept. */
static struct sleeper for_reserve(size_t *n)
{
	return (struct sleeper){.arena = ids, .ask = reserve, .arg = n};
}

/* A reserve beyond what there is */

static struct sleeper one, other, reserver;

static void reserver_start(void)
{
	static size_t much = 2 * UNITS;

	reserver = for_reserve(&much);
	sleeper_start(&reserver, 1);
}

static void reserver_end(void)
{
	CHECK_EQ(arena_add(ids, (void *)(4 * UNITS), 4 * UNITS, MEM_WAIT), 0);
	sleeper_end(&reserver);
	CHECK_EQ(kmem_cache_reserve(cache, 0, MEM_WAIT), 0);
}

TEST("slab: a request for a reserve that sleeps keeps none from objects that are free")
{
	bool served;

	begin(NULL);
	free_live(2);
	reserver_start();
	one = for_one();
	sleeper_begin(&one);
	served = sleeper_is_served(&one);
	reserver_end();
	sleeper_end(&one);
	end();
	CHECK(served);
}

TEST("slab: an object that is freed serves a request for one, not one for a reserve")
{
	bool served;

	begin(NULL);
	reserver_start();
	one = for_one();
	sleeper_start(&one, 2);
	free_live(1);
	served = sleeper_is_served(&one);
	reserver_end();
	sleeper_end(&one);
	end();
	CHECK(served);
}

/* A constructor that waits when it is told to */

static bool is_slow, is_in, goes_on;

static int construct(void *object, void *priv, unsigned flags)
{
	if (__atomic_exchange_n(&is_slow, false, __ATOMIC_ACQ_REL)) {
		__atomic_store_n(&is_in, true, __ATOMIC_RELEASE);
		while (!__atomic_load_n(&goes_on, __ATOMIC_ACQUIRE))
			kthread_usleep(100);
	}
	return 0;
}

TEST("slab: a constructor that sleeps keeps no other request from objects that are freed meanwhile")
{
	struct sleeper slow;
	bool served;

	begin(construct);
	is_in = goes_on = false;
	slow = for_one();
	sleeper_start(&slow, 1);
	__atomic_store_n(&is_slow, true, __ATOMIC_RELEASE);
	free_live(1);
	threads_await(&is_in);
	one = other = for_one();
	sleeper_start(&one, 2);
	sleeper_start(&other, 3);
	free_live(2);
	served = sleeper_is_served(&one) && sleeper_is_served(&other);
	__atomic_store_n(&goes_on, true, __ATOMIC_RELEASE);
	sleeper_end(&slow);
	sleeper_end(&one);
	sleeper_end(&other);
	end();
	CHECK(served);
}

/* Growth by another request */

/* What is freed meets a waiter that is awake and wants something else: unit 1 and no other.  Then
 * an atomic request makes a slab of it. */
static void grow_for_reserve(unsigned core, void *arg)
{
	struct sleeper elsewhere = {.size = 1, .min = 1, .max = 2, .is_here = true};
	struct kmem_cache_stats stats;
	void *first, *second, *room, *rest, *object;
	size_t two = 2;
	bool served;

	ids = arenas_ids(1, UNITS);
	cache = kmem_cache_create("ids", 1, 0, 0, ids, NULL, NULL, NULL);
	lives = 0;
	kmem_cache_get_stats(cache, &stats);
	first = arena_alloc(ids, 1, MEM_ATOMIC);
	second = arena_alloc(ids, 1, MEM_ATOMIC);
	room = arena_alloc(ids, stats.slab_size, MEM_ATOMIC);
	rest = arena_alloc(ids, UNITS - 2 - stats.slab_size, MEM_ATOMIC);
	elsewhere.arena = ids;
	sleeper_start(&elsewhere, 1);
	reserver = for_reserve(&two);
	reserver.is_here = true;
	other = reserver;
	sleeper_start(&reserver, 2);
	sleeper_start(&other, 3);
	arena_free(ids, second, 1);
	arena_free(ids, room, stats.slab_size);
	object = kmem_cache_alloc(cache, MEM_ATOMIC);
	CHECK_NE((uintptr_t)object, 0);
	served = sleeper_is_served(&reserver) && sleeper_is_served(&other);
	arena_free(ids, rest, UNITS - 2 - stats.slab_size);
	sleeper_end(&reserver);
	sleeper_end(&other);
	arena_free(ids, first, 1);
	sleeper_end(&elsewhere);
	kmem_cache_free(cache, object);
	end();
	CHECK(served);
}

TEST("slab: a slab that another request has made serves all that sleep for a reserve")
{
	threads_run(THREADS_PINNED, 1, grow_for_reserve, NULL);
}
