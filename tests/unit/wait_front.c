/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Allocations that sleep, through fronts and caches.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "port.h"
#include "slab.h"
#include "sleepers.h"
#include "lib/test.h"
#include "threads.h"

/* Integers, handed out through quantum caches of 1 and 2. */
static struct arena *fronted(const char *name, size_t n, struct arena *source)
{
	return source ? arena_create(name, NULL, 0, 1, arena_alloc, arena_free, source, 2, MEM_WAIT) :
			arena_create(name, (void *)1, n, 1, NULL, NULL, NULL, 2, MEM_WAIT);
}

#define ALL_MAX 512

struct all {
	struct kmem_cache *cache;
	void *each[ALL_MAX];
	size_t n;
};

static void take_all(struct all *all, struct arena *a)
{
	void *p;

	for (all->n = 0; (p = arena_alloc(a, 1, MEM_ATOMIC)); all->n++)
		all->each[all->n] = p;
}

static void give_all(struct all *all, struct arena *a)
{
	while (all->n > 0)
		arena_free(a, all->each[--all->n], 1);
}

/* A piece of what was taken goes back while a request for as much sleeps in `a`, which imports from
 * `from`, or is it. */
static void check_served(struct arena *from, struct arena *a, struct all *all)
{
	struct sleeper s = {.arena = a, .size = 1};
	bool served;

	sleeper_start(&s, 1);
	arena_free(from, all->each[0], 1);
	all->each[0] = all->each[--all->n];
	served = sleeper_is_served(&s);
	give_all(all, from);
	sleeper_end(&s);
	CHECK(served);
}

TEST("wait: what goes back to a front's slab serves a request for as much")
{
	static struct all all;
	struct arena *a = fronted("fronted", 200, NULL);

	take_all(&all, a);
	CHECK_EQ(all.n, 200);
	check_served(a, a, &all);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("wait: what goes back to a front's slab serves a request in an importer")
{
	static struct all all;
	struct arena *a = fronted("fronted", 200, NULL), *b = fronted("above", 0, a);

	take_all(&all, a);
	check_served(a, b, &all);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

#define MANY 400

struct taken {
	void *threes[MANY], *ones[MANY];
	size_t three_count, one_count;
};

static void take_many(struct arena *a, struct taken *t)
{
	void *p;

	t->three_count = t->one_count = 0;
	while ((p = arena_alloc(a, 3, MEM_ERROR)))
		t->threes[t->three_count++] = p;
	while ((p = arena_alloc(a, 1, MEM_ERROR)))
		t->ones[t->one_count++] = p;
}

static void give_many(struct arena *a, struct taken *t)
{
	while (t->three_count > 0)
		arena_free(a, t->threes[--t->three_count], 3);
	while (t->one_count > 0)
		arena_free(a, t->ones[--t->one_count], 1);
}

static void await_either(struct sleeper *s, struct sleeper *t)
{
	uint64_t end = port_ns() + THREADS_PATIENCE;

	while (!sleeper_is_done(s) && !sleeper_is_done(t) && port_ns() < end)
		kthread_usleep(100);
	CHECK(sleeper_is_done(s) || sleeper_is_done(t));
}

/* One is freed, or three in one piece, while requests for 1 and for 3 sleep.  Three that are freed
 * serve either: the server may be in a round, behind the oldest. */
static void check_right_one(size_t freed, bool one_is_first)
{
	static struct taken t;
	struct arena *a = arena_create("fronted", (void *)1, MANY, 1, NULL, NULL, NULL, 4, MEM_WAIT);
	struct sleeper one = {.arena = a, .size = 1}, three = {.arena = a, .size = 3};

	take_many(a, &t);
	sleeper_start(one_is_first ? &one : &three, 1);
	sleeper_start(one_is_first ? &three : &one, 2);
	if (freed == 1)
		arena_free(a, t.ones[--t.one_count], 1);
	else
		arena_free(a, t.threes[--t.three_count], 3);
	if (freed == 3) {
		await_either(&one, &three);
	} else {
		CHECK(sleeper_is_served(&one));
		CHECK(!sleeper_is_done(&three));
	}
	give_many(a, &t);
	sleeper_end(&one);
	sleeper_end(&three);
	arenas_end(a);
}

TEST("wait: a free in an arena with quantum caches serves the request that it can")
{
	check_right_one(1, false);
	check_right_one(1, true);
	check_right_one(3, false);
	check_right_one(3, true);
}

TEST("wait: a freed object serves a request for one of its cache")
{
	struct arena *a = arenas_ids(1, 64);
	struct kmem_cache *c = kmem_cache_create("ids", 1, 0, 0, a, NULL, NULL, NULL);
	struct sleeper s = {.arena = a, .cache = c};
	static struct all all;
	bool served;
	void *p;

	for (all.n = 0; (p = kmem_cache_alloc(c, MEM_ATOMIC)); all.n++)
		all.each[all.n] = p;
	CHECK_EQ(all.n, 64);
	sleeper_start(&s, 1);
	kmem_cache_free(c, all.each[--all.n]);
	served = sleeper_is_served(&s);
	while (all.n > 0)
		kmem_cache_free(c, all.each[--all.n]);
	if (!served)
		kmem_cache_reap(c, KMEM_REAP_ALL);
	sleeper_end(&s);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_destroy(a), 0);
	CHECK(served);
}

TEST("wait: spans that the arena retains itself don't keep a larger request asleep")
{
	struct arena *a = arenas_ids(16, 16), *b = arenas_importer("b", a, 1);
	void *p = arena_alloc(b, 8, MEM_ATOMIC), *q = arena_alloc(b, 8, MEM_ATOMIC);

	arena_free(b, p, 8);
	arena_free(b, q, 8);
	p = arena_alloc_timeout(b, 16, MEM_ERROR, port_ns() + THREADS_PATIENCE);
	CHECK_NE((uintptr_t)p, 0);
	arena_free(b, p, 16);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

#define UNITS 4096

/* The cache has no slab, and its source no room for one. */
TEST("wait: room for a slab that comes free serves all that sleep for an object of it")
{
	struct arena *a = arenas_ids(1, UNITS);
	struct kmem_cache *c = kmem_cache_create("ids", 1, 0, 0, a, NULL, NULL, NULL);
	struct sleeper window = {.arena = a, .size = 1, .min = 1, .max = 2};
	struct sleeper one = {.arena = a, .cache = c}, other = one;
	struct kmem_cache_stats s;
	void *first = arena_alloc(a, 1, MEM_ATOMIC), *room, *rest;

	kmem_cache_get_stats(c, &s);
	room = arena_alloc(a, s.slab_size, MEM_ATOMIC);
	rest = arena_alloc(a, UNITS - 1 - s.slab_size, MEM_ATOMIC);
	sleeper_start(&window, 1);
	sleeper_start(&one, 2);
	sleeper_start(&other, 3);
	arena_free(a, room, s.slab_size);
	CHECK(sleeper_is_served(&one));
	CHECK(sleeper_is_served(&other));
	CHECK(!sleeper_is_done(&window));
	sleeper_end(&one);
	sleeper_end(&other);
	arena_free(a, first, 1);
	sleeper_end(&window);
	arena_free(a, rest, UNITS - 1 - s.slab_size);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_destroy(a), 0);
}
