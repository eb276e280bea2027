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

TEST("wait: a request for a reserve that sleeps keeps none from objects that are free")
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

TEST("wait: an object that is freed serves a request for one, not one for a reserve")
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

TEST("wait: a constructor that sleeps keeps no other request from objects freed then")
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
	/* The slow one has its object and waits no more. */
	sleeper_start(&one, 1);
	sleeper_start(&other, 2);
	free_live(2);
	served = sleeper_is_served(&one) && sleeper_is_served(&other);
	__atomic_store_n(&goes_on, true, __ATOMIC_RELEASE);
	sleeper_end(&slow);
	sleeper_end(&one);
	sleeper_end(&other);
	end();
	CHECK(served);
}

/* Growth */

/* The cache has no slab, and its source no room for one. */
TEST("wait: a slab that another request has made serves all that sleep for a reserve")
{
	struct kmem_cache_stats stats;
	void *room, *rest, *object;
	size_t two = 2;

	ids = arenas_ids(1, UNITS);
	cache = kmem_cache_create("ids", 1, 0, 0, ids, NULL, NULL, NULL);
	lives = 0;
	kmem_cache_get_stats(cache, &stats);
	room = arena_alloc(ids, stats.slab_size, MEM_ATOMIC);
	rest = arena_alloc(ids, UNITS - stats.slab_size, MEM_ATOMIC);
	other = reserver = for_reserve(&two);
	sleeper_start(&reserver, 1);
	sleeper_start(&other, 2);
	arena_free(ids, room, stats.slab_size);
	object = kmem_cache_alloc(cache, MEM_WAIT);
	CHECK(sleeper_is_served(&reserver));
	CHECK(sleeper_is_served(&other));
	sleeper_end(&reserver);
	sleeper_end(&other);
	arena_free(ids, rest, UNITS - stats.slab_size);
	CHECK_EQ(kmem_cache_reserve(cache, 0, MEM_WAIT), 0);
	kmem_cache_free(cache, object);
	end();
}

/* Either kind */

static void take_bulk_of_one(struct sleeper *s)
{
	CHECK_EQ(kmem_cache_alloc_bulk(s->cache, &s->got, 1, MEM_WAIT), 1);
}

TEST("wait: objects of a cache go to requests of either kind in the order they came")
{
	unsigned turns = 0;
	struct sleeper s[4];

	begin(NULL);
	for (size_t i = 0; i < 4; i++) {
		s[i] = for_one();
		s[i].turns = &turns;
		s[i].ask = i % 2 ? take_bulk_of_one : NULL;
		sleeper_start(&s[i], i + 1);
	}
	for (size_t i = 0; i < 4; i++) {
		free_live(1);
		CHECK(sleeper_is_served(&s[i]));
		CHECK_EQ(s[i].turn, i + 1);
	}
	for (size_t i = 0; i < 4; i++) {
		ktask_join(s[i].task);
		kmem_cache_free(cache, s[i].got);
	}
	end();
}

/* Many at once */

#define BULK 2500 /* more than half */

static void bulk(unsigned i, void *arg)
{
	void **objects = base_alloc(NULL, BULK * sizeof(*objects), MEM_WAIT);

	for (int round = 0; round < 8; round++) {
		CHECK_EQ(kmem_cache_alloc_bulk(cache, objects, BULK, MEM_WAIT), BULK);
		kthread_yield();
		kmem_cache_free_bulk(cache, objects, BULK);
	}
	base_free(NULL, objects, BULK * sizeof(*objects));
}

TEST("wait: two that want more than half of a cache's objects each get them in turn")
{
	ids = arenas_ids(1, UNITS);
	cache = kmem_cache_create("ids", 1, 0, 0, ids, NULL, NULL, NULL);
	lives = 0;
	threads_run(THREADS_FREE, 2, bulk, NULL);
	CHECK_EQ(arenas_stats(ids).sleeps, arenas_stats(ids).waits_served);
	end();
}

static void ask_bulk(struct sleeper *s)
{
	CHECK_EQ(kmem_cache_alloc_bulk(cache, s->arg, 3, MEM_WAIT), 3);
}

/* Two are free: a request for three that had kept them would leave none. */
TEST("wait: a request for many holds nothing while it sleeps")
{
	void *objects[3];
	struct sleeper many;

	begin(NULL);
	free_live(2);
	many = (struct sleeper){.arena = ids, .ask = ask_bulk, .arg = objects};
	sleeper_start(&many, 1);
	for (size_t i = 0; i < 2; i++) {
		live[lives] = kmem_cache_alloc(cache, MEM_WAIT);
		CHECK_NE((uintptr_t)live[lives++], 0);
	}
	CHECK(!sleeper_is_done(&many));
	free_live(3);
	CHECK(sleeper_is_served(&many));
	sleeper_end(&many);
	kmem_cache_free_bulk(cache, objects, 3);
	end();
}
