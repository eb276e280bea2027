/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many who sleep for memory: in one arena, in many that import from one, for objects, through a
 * front.
 */
#include "arena.h"
#include "drive.h"
#include "kthread.h"
#include "slab.h"
#include "lib/test.h"

#define SLEEPERS 1000
#define SECOND 1000000000ull /* ns */

/* What a ktask asks for, and gives back when it has it. */
struct sleeper {
	struct arena *arena;	  /* its record counts there */
	struct kmem_cache *cache; /* NULL: `size` of the arena */
	size_t size;
	uint64_t deadline; /* 0: none */
	struct ktask *task;
};

static struct sleeper sleepers[SLEEPERS];

static void sleep_for(void *arg)
{
	struct sleeper *s = arg;
	void *p;

	if (s->cache) {
		kmem_cache_free(s->cache, kmem_cache_alloc(s->cache, MEM_WAIT));
		return;
	}
	p = s->deadline ? arena_alloc_timeout(s->arena, s->size, MEM_ERROR, s->deadline) :
			  arena_alloc(s->arena, s->size, MEM_WAIT);
	if (p)
		arena_free(s->arena, p, s->size);
}

static size_t waiting(struct arena *a)
{
	struct arena_stats s;

	arena_get_stats(a, &s);
	return s.waiting;
}

/* Sleeper i, once it sleeps: then `asleep` records count in arena `a`. */
static void start(size_t i, struct sleeper plan, struct arena *a, size_t asleep)
{
	sleepers[i] = plan;
	CHECK(sleepers[i].task = ktask("sleeper", sleep_for, &sleepers[i]));
	while (waiting(a) < asleep)
		kthread_yield();
}

static void join(void)
{
	for (size_t i = 0; i < SLEEPERS; i++)
		ktask_join(sleepers[i].task);
}

static struct arena *ids(size_t n)
{
	return arena_create("ids", (void *)1, n, 1, NULL, NULL, NULL, 0, MEM_WAIT);
}

/* In one arena, each wanting another size; what they wait for comes unit by unit, and the server tries
 * for all of them each time. */
static void one_queue(void)
{
	struct arena *a = ids(SLEEPERS);
	uintptr_t i;

	for (i = 1; i <= SLEEPERS; i++)
		CHECK(arena_alloc(a, 1, MEM_ATOMIC));
	for (i = 0; i < SLEEPERS; i++)
		start(i, (struct sleeper){.arena = a, .size = 1 + i * 7919 % SLEEPERS}, a, i + 1);
	for (i = 1; i <= SLEEPERS; i++)
		arena_free(a, (void *)i, 1);
	join();
	CHECK_EQ(arena_destroy(a), 0);
}

/* All of them come to their deadline at one moment, and take their records out of the queue. */
static void deadline(void)
{
	struct arena *a = ids(1);
	uint64_t moment = port_ns() + 60 * SECOND; /* later than the last of them sleeps */

	CHECK(arena_alloc(a, 1, MEM_ATOMIC));
	for (size_t i = 0; i < SLEEPERS; i++)
		start(i, (struct sleeper){.arena = a, .size = 1, .deadline = moment}, a, i + 1);
	join();
	arena_free(a, (void *)1, 1);
	CHECK_EQ(arena_destroy(a), 0);
}

/* Each in an importer of its own, two levels above where is freed, so that as many arenas are short, and
 * wanting more than a free brings. */
static void importers(void)
{
	static struct arena *above[SLEEPERS];
	struct arena *source = ids(4 * SLEEPERS);
	struct arena *between = arena_create("between", NULL, 0, 1, arena_alloc, arena_free, source, 0, MEM_WAIT);
	void *all = arena_alloc(source, 4 * SLEEPERS - 64, MEM_ATOMIC), *some[64];
	size_t i;

	for (i = 0; i < 64; i++)
		CHECK(some[i] = arena_alloc(source, 1, MEM_ATOMIC));
	for (i = 0; i < SLEEPERS; i++) {
		CHECK(above[i] = arena_create(
			"above", NULL, 0, 1, arena_alloc, arena_free, between, 0, MEM_WAIT));
		start(i, (struct sleeper){.arena = above[i], .size = 100}, above[i], 1);
	}
	for (i = 0; i < 64; i++)
		arena_free(source, some[i], 1);
	arena_free(source, all, 4 * SLEEPERS - 64);
	join();
	for (i = 0; i < SLEEPERS; i++)
		CHECK_EQ(arena_destroy(above[i]), 0);
	CHECK_EQ(arena_destroy(between), 0);
	CHECK_EQ(arena_destroy(source), 0);
}

/* For objects of one cache, which come back all at once. */
static void objects(void)
{
	static void *taken[SLEEPERS];
	struct arena *a = ids(SLEEPERS);
	struct kmem_cache *c = kmem_cache_create("ids", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
	size_t n = 0;

	while ((taken[n] = kmem_cache_alloc(c, MEM_ATOMIC)))
		n++;
	for (size_t i = 0; i < SLEEPERS; i++)
		start(i, (struct sleeper){.cache = c}, a, i + 1);
	kmem_cache_free_bulk(c, taken, n);
	join();
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

/* In an arena with quantum caches, whose magazines its frees would go to. */
static void front(void)
{
	static void *taken[SLEEPERS];
	struct arena *a = arena_create("fronted", (void *)1, SLEEPERS, 1, NULL, NULL, NULL, 4, MEM_WAIT);
	size_t n = 0;

	while (n < SLEEPERS && (taken[n] = arena_alloc(a, 1, MEM_ATOMIC)))
		n++;
	for (size_t i = 0; i < SLEEPERS; i++)
		start(i, (struct sleeper){.arena = a, .size = 1 + i % 6}, a, i + 1);
	while (n > 0)
		arena_free(a, taken[--n], 1);
	join();
	CHECK_EQ(arena_destroy(a), 0);
}

void drive_waiters(void)
{
	one_queue();
	deadline();
	importers();
	objects();
	front();
}
