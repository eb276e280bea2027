/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request that might sleep doesn't overtake those that sleep.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "port.h"
#include "slab.h"
#include "sleepers.h"
#include "lib/test.h"
#include "threads.h"

#define UNITS 64

static void give(struct sleeper *s, void *p)
{
	if (s->cache)
		kmem_cache_free(s->cache, p);
	else
		arena_free(s->arena, p, 1);
}

/* `taken` is all there is of the arena or cache.  One is freed, and `take` asks for one.  The
 * sleeper is on this core, so it runs only when `take` waits. */
static void check_order(struct sleeper *s, void **taken, size_t n, void *(*take)(struct sleeper *s))
{
	s->is_here = s->gives_back = true;
	sleeper_start(s, 1);
	give(s, taken[0]);
	taken[0] = take(s);
	CHECK(sleeper_is_done(s));
	sleeper_end(s);
	for (size_t i = 0; i < n; i++)
		give(s, taken[i]);
}

/* Objects of a cache */

static void check_cache(void *(*take)(struct sleeper *s))
{
	struct arena *a = arenas_ids(1, UNITS);
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

TEST("wait: a request that comes to wait for an object takes none that was freed for another")
{
	threads_run(THREADS_PINNED, 1, objects, NULL);
}

/* Requests with a deadline */

static void *take_in_time(struct sleeper *s)
{
	return arena_alloc_timeout(s->arena, 1, MEM_ERROR, port_ns() + THREADS_PATIENCE);
}

static void check_arena(size_t qcache_max)
{
	struct arena *a =
		arena_create("ids", (void *)1, UNITS, 1, NULL, NULL, NULL, qcache_max, MEM_WAIT);
	struct sleeper s = {.arena = a, .size = 1};
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

TEST("wait: a request with a deadline stands behind those that sleep")
{
	threads_run(THREADS_PINNED, 1, deadlines, NULL);
}
