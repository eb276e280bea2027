/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several who wait in one cache, each for something else.
 */
#include "arena.h"
#include "kthread.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"
#include "threads.h"

#define UNITS 4096

/* A cache of integers that has taken all that its source has, and what of them is live. */
static struct arena *ids;
static struct kmem_cache *cache;
static void *live[UNITS];
static size_t lives;

static void begin(kmem_ctor_fn ctor)
{
	ids = arena_create("ids", (void *)1, UNITS, 1, NULL, NULL, NULL, 0, MEM_WAIT);
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

struct sleeper {
	size_t reserve; /* objects it wants kept; 0: it wants one for itself */
	void *got;
	bool done;
	struct ktask *task;
};

static void sleeper_run(void *arg)
{
	struct sleeper *s = arg;

	if (s->reserve)
		CHECK_EQ(kmem_cache_reserve(cache, s->reserve, MEM_WAIT), 0);
	else
		s->got = kmem_cache_alloc(cache, MEM_WAIT);
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
}

static void sleeper_start(struct sleeper *s, size_t reserve)
{
	*s = (struct sleeper){.reserve = reserve};
	s->task = ktask("sleeper", sleeper_run, s);
	CHECK(s->task != NULL);
}

static void sleeper_end(struct sleeper *s)
{
	ktask_join(s->task);
	if (s->got)
		kmem_cache_free(cache, s->got);
}

/* A reserve beyond what there is */

static struct sleeper one, other, reserver;

static void reserver_start(void)
{
	sleeper_start(&reserver, 2 * UNITS);
	threads_await_waiting(ids, 1);
}

static void reserver_end(void)
{
	CHECK_EQ(arena_add(ids, (void *)(4 * UNITS), 4 * UNITS, MEM_WAIT), 0);
	sleeper_end(&reserver);
	CHECK_EQ(kmem_cache_reserve(cache, 0, MEM_WAIT), 0);
}

TEST("slab: who waits for a reserve keeps nobody from objects that are free")
{
	bool served;

	begin(NULL);
	free_live(2);
	reserver_start();
	sleeper_start(&one, 0);
	served = threads_sleep_for(&one.done);
	reserver_end();
	sleeper_end(&one);
	end();
	CHECK(served);
}

TEST("slab: an object that is freed isn't for who waits for a reserve")
{
	bool served;

	begin(NULL);
	reserver_start();
	sleeper_start(&one, 0);
	threads_await_waiting(ids, 2);
	free_live(1);
	served = threads_sleep_for(&one.done);
	reserver_end();
	sleeper_end(&one);
	end();
	CHECK(served);
}

/* A constructor that takes its time when it is told to */

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

TEST("slab: who constructs what he waited for keeps nobody from objects that are freed meanwhile")
{
	struct sleeper slow;
	bool served;

	begin(construct);
	is_in = goes_on = false;
	sleeper_start(&slow, 0);
	threads_await_waiting(ids, 1);
	__atomic_store_n(&is_slow, true, __ATOMIC_RELEASE);
	free_live(1);
	threads_await(&is_in);
	sleeper_start(&one, 0);
	threads_await_waiting(ids, 2);
	sleeper_start(&other, 0);
	threads_await_waiting(ids, 3);
	free_live(2);
	served = threads_sleep_for(&one.done) && threads_sleep_for(&other.done);
	__atomic_store_n(&goes_on, true, __ATOMIC_RELEASE);
	sleeper_end(&slow);
	sleeper_end(&one);
	sleeper_end(&other);
	end();
	CHECK(served);
}

/* Growth by another's request */

struct elsewhere {
	struct ktask *task;
	void *got;
};

/* Wants unit 1 and no other. */
static void elsewhere_run(void *arg)
{
	((struct elsewhere *)arg)->got = arena_xalloc(ids, 1, 0, 0, 0, 1, 2, MEM_WAIT);
}

/* What is freed meets a waiter who is up and wants something else; and then an atomic request makes
 * a slab of it. */
static void grow_for_reserve(unsigned core, void *arg)
{
	struct elsewhere elsewhere = {NULL, NULL};
	struct kmem_cache_stats stats;
	void *first, *second, *room, *rest, *object;
	bool served;

	ids = arena_create("ids", (void *)1, UNITS, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	cache = kmem_cache_create("ids", 1, 0, 0, ids, NULL, NULL, NULL);
	lives = 0;
	kmem_cache_get_stats(cache, &stats);
	first = arena_alloc(ids, 1, MEM_ATOMIC);
	second = arena_alloc(ids, 1, MEM_ATOMIC);
	room = arena_alloc(ids, stats.slab_size, MEM_ATOMIC);
	rest = arena_alloc(ids, UNITS - 2 - stats.slab_size, MEM_ATOMIC);
	elsewhere.task = ktask_pinned("elsewhere", elsewhere_run, &elsewhere, core);
	threads_await_waiting(ids, 1);
	reserver = other = (struct sleeper){.reserve = 2};
	reserver.task = ktask_pinned("sleeper", sleeper_run, &reserver, core);
	threads_await_waiting(ids, 2);
	other.task = ktask_pinned("sleeper", sleeper_run, &other, core);
	threads_await_waiting(ids, 3);
	arena_free(ids, second, 1);
	arena_free(ids, room, stats.slab_size);
	object = kmem_cache_alloc(cache, MEM_ATOMIC);
	CHECK_NE((uintptr_t)object, 0);
	served = threads_sleep_for(&reserver.done) && threads_sleep_for(&other.done);
	arena_free(ids, rest, UNITS - 2 - stats.slab_size);
	sleeper_end(&reserver);
	sleeper_end(&other);
	arena_free(ids, first, 1);
	ktask_join(elsewhere.task);
	arena_xfree(ids, elsewhere.got, 1);
	kmem_cache_free(cache, object);
	end();
	CHECK(served);
}

TEST("slab: a slab that another's request has made serves all who wait for a reserve")
{
	threads_run(THREADS_PINNED, 1, grow_for_reserve, NULL);
}
