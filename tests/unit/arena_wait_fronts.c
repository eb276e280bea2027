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

#define PAGE PORT_PAGE_SIZE

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

#define LITTLE_PAGES 64
#define PIECE 64
/* Of the pages that come free, the base's own hash may take some. */
#define FREED_PAGES 8

/* The importer has room, but every page of its base arena is taken, so there is no tag to cut with. */
TEST("wait: a request that lacks only a boundary tag is served when pages of the base come free")
{
	struct arena *base = arenas_base(LITTLE_PAGES), *a = arenas_importer("pieces", base, PIECE);
	struct sleeper s = {.arena = a, .size = PIECE};
	struct piece *pages, *pieces;
	void *p = arena_alloc(a, 16 * PAGE, MEM_ATOMIC);
	size_t before;
	bool served;

	/* The span stays. */
	arena_free(a, p, 16 * PAGE);
	pages = pieces_take(base, PAGE, SIZE_MAX, NULL);
	pieces = pieces_take(a, PIECE, SIZE_MAX, NULL);
	before = arena_amt_free(a);
	CHECK_LE(4 * PIECE, before);
	sleeper_start(&s, 1);
	pages = pieces_give(base, pages, FREED_PAGES);
	served = sleeper_is_served(&s);
	pieces_give(base, pages, SIZE_MAX);
	sleeper_end(&s);
	CHECK_EQ(arena_amt_free(a), before);
	pieces_give(a, pieces, SIZE_MAX);
	CHECK_EQ(arena_destroy(a), 0);
	arenas_base_end(base, LITTLE_PAGES);
	CHECK(served);
}

#define UNITS 4096

static size_t slab_size(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	return s.slab_size;
}

/* What is freed meets a waiter that is awake and wants something else: unit 1 and no other.  Then
 * an atomic request makes a slab of it. */
static void grow_for_another(unsigned core, void *arg)
{
	struct arena *a = arenas_ids(1, UNITS);
	struct kmem_cache *c = kmem_cache_create("ids", 1, 0, 0, a, NULL, NULL, NULL);
	size_t slab = slab_size(c);
	void *first = arena_alloc(a, 1, MEM_ATOMIC), *second = arena_alloc(a, 1, MEM_ATOMIC);
	void *room = arena_alloc(a, slab, MEM_ATOMIC), *object;
	void *rest = arena_alloc(a, UNITS - 2 - slab, MEM_ATOMIC);
	struct sleeper other = {.arena = a, .size = 1, .min = 1, .max = 2, .is_here = true};
	struct sleeper s = {.arena = a, .cache = c, .is_here = true};
	bool served;

	sleeper_start(&other, 1);
	sleeper_start(&s, 2);
	arena_free(a, second, 1);
	arena_free(a, room, slab);
	object = kmem_cache_alloc(c, MEM_ATOMIC);
	CHECK_NE((uintptr_t)object, 0);
	served = sleeper_is_served(&s);
	kmem_cache_free(c, object);
	sleeper_end(&s);
	arena_free(a, first, 1);
	sleeper_end(&other);
	arena_free(a, rest, UNITS - 2 - slab);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_destroy(a), 0);
	CHECK(served);
}

TEST("wait: objects that one request has made serve others that sleep")
{
	threads_run(THREADS_PINNED, 1, grow_for_another, NULL);
}

/* A cache whose destructor may sleep for memory. */

static struct arena *used_up;

static int begin(void *object, void *priv, unsigned flags)
{
	return 0;
}

static void finish(void *object, void *priv)
{
	arena_alloc_timeout(used_up, 1, MEM_ERROR, port_ns() + 1000000);
}

static struct all all_ids;

/* The last core has a few in its magazines, for which the first one, which has none, waits. */
static void lay_up(unsigned core, void *arg)
{
	struct all *all = &all_ids;

	if (core == port_core_count() - 1)
		for (int i = 0; i < 4; i++)
			kmem_cache_free(all->cache, all->each[--all->n]);
}

static void want(unsigned core, void *arg)
{
	kmem_cache_free(all_ids.cache, kmem_cache_alloc(all_ids.cache, MEM_WAIT));
}

TEST("wait: destructors of what other cores have in magazines may wait for memory themselves")
{
	struct arena *a = arenas_ids(1, 64);
	struct all *all = &all_ids;
	void *p;

	used_up = arena_create("used up", (void *)1, 1, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	arena_alloc(used_up, 1, MEM_ATOMIC);
	all->cache = kmem_cache_create("ids", 1, 0, KMC_NOTOUCH, a, begin, finish, NULL);
	for (all->n = 0; (p = kmem_cache_alloc(all->cache, MEM_ATOMIC)); all->n++)
		all->each[all->n] = p;
	threads_run(THREADS_PINNED, port_core_count(), lay_up, NULL);
	threads_run(THREADS_PINNED, 1, want, NULL);
	while (all->n > 0)
		kmem_cache_free(all->cache, all->each[--all->n]);
	CHECK_EQ(kmem_cache_destroy(all->cache), 0);
	CHECK_EQ(arena_destroy(a), 0);
	arena_free(used_up, (void *)1, 1);
	CHECK_EQ(arena_destroy(used_up), 0);
}
