/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who sleeps is overtaken by nobody who might sleep, too.
 */
#include "arena.h"
#include "kthread.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"
#include "threads.h"

#define MS 1000000ull /* nanoseconds */
#define UNITS 64

/* One who sleeps, and gives back what it gets. */
struct sleeper {
	struct arena *arena;
	struct kmem_cache *cache;
	bool served;
};

static void sleeper_run(void *arg)
{
	struct sleeper *s = arg;
	void *got = s->cache ? kmem_cache_alloc(s->cache, MEM_WAIT) : arena_alloc(s->arena, 1, MEM_WAIT);

	s->served = true;
	if (s->cache)
		kmem_cache_free(s->cache, got);
	else
		arena_free(s->arena, got, 1);
}

/* On this core, so that one who is woken doesn't run before who woke it does something else. */
static struct ktask *sleeper_start(struct sleeper *s)
{
	struct ktask_plan plan = {
		.name = "sleeper", .fn = sleeper_run, .arg = s, .core = port_core_id()};
	struct ktask *task = ktask_create(&plan);

	CHECK(task != NULL);
	threads_await_waiting(s->arena, 1);
	return task;
}

/* `taken` has all there is of the arena or cache; one is freed, and `take` asks for one. */
static void check_order(struct sleeper *s, void **taken, size_t n, void *(*take)(struct sleeper *s))
{
	struct ktask *task = sleeper_start(s);
	void *got;

	if (s->cache)
		kmem_cache_free(s->cache, taken[0]);
	else
		arena_free(s->arena, taken[0], 1);
	got = take(s);
	CHECK_EQ(s->served, true);
	taken[0] = got;
	ktask_join(task);
	for (size_t i = 0; i < n; i++) {
		if (s->cache)
			kmem_cache_free(s->cache, taken[i]);
		else
			arena_free(s->arena, taken[i], 1);
	}
}

/* Objects of a cache */

static void check_cache(void *(*take)(struct sleeper *s))
{
	struct arena *a = arena_create("ids", (void *)1, UNITS, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct kmem_cache *c = kmem_cache_create("ids", 1, 0, 0, a, NULL, NULL, NULL);
	struct sleeper s = {.arena = a, .cache = c};
	void *taken[UNITS];

	for (size_t i = 0; i < UNITS; i++)
		CHECK((taken[i] = kmem_cache_alloc(c, MEM_ATOMIC)));
	check_order(&s, taken, UNITS, take);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

static void *take_object(struct sleeper *s)
{
	return kmem_cache_alloc(s->cache, MEM_WAIT);
}

static void *take_bulk(struct sleeper *s)
{
	void *got = NULL;

	CHECK_EQ(kmem_cache_alloc_bulk(s->cache, &got, 1, MEM_WAIT), 1);
	return got;
}

static void objects(unsigned i, void *arg)
{
	check_cache(take_object);
	check_cache(take_bulk);
}

TEST("wait: who comes to wait for an object takes none that was freed for another")
{
	threads_run(THREADS_PINNED, 1, objects, NULL);
}

/* Requests with a deadline */

static void *take_in_time(struct sleeper *s)
{
	return arena_alloc_timeout(s->arena, 1, MEM_ERROR, port_ns() + 10000 * MS);
}

static void check_arena(size_t qcache_max)
{
	struct arena *a =
		arena_create("ids", (void *)1, UNITS, 1, NULL, NULL, NULL, qcache_max, MEM_WAIT);
	struct sleeper s = {.arena = a};
	void *taken[UNITS];

	for (size_t i = 0; i < UNITS; i++)
		CHECK((taken[i] = arena_alloc(a, 1, MEM_ATOMIC)));
	check_order(&s, taken, UNITS, take_in_time);
	CHECK_EQ(arena_destroy(a), 0);
}

static void deadlines(unsigned i, void *arg)
{
	check_arena(0);
	check_arena(1);
}

TEST("wait: who has until a deadline stands behind those who sleep")
{
	threads_run(THREADS_PINNED, 1, deadlines, NULL);
}
