/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim: what each level gives back, and no more than was wanted and a step.
 */
#include "arenas.h"
#include "kthread.h"
#include "machine.h"
#include "port.h"
#include "reclaim.h"
#include "slab.h"
#include "sleepers.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"
#include "modes.h"
#include "threads.h"
#include "vmap.h"

#define UNITS 4096
#define OBJECTS 2000

static void *objects[OBJECTS];

static struct kmem_cache *cache_over(struct arena *a)
{
	return kmem_cache_create("idle", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
}

static struct kmem_cache_stats stats_of(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	return s;
}

static void take(struct kmem_cache *c, size_t n)
{
	CHECK_EQ(kmem_cache_alloc_bulk(c, objects, n, MEM_ATOMIC), n);
}

/* Frees them one by one, so that they fill magazines. */
static void give(struct kmem_cache *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		kmem_cache_free(c, objects[i]);
}

static void cache_end(struct kmem_cache *c)
{
	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* By level, with reclaim_run() */

static void fill_and_empty(unsigned i, void *arg)
{
	take(arg, OBJECTS);
	give(arg, OBJECTS);
	take(arg, OBJECTS);
	give(arg, OBJECTS);
}

/* Runs on core 0 alone, so that only its magazines hold something. */
TEST("reclaim: level 1 takes surplus magazines, 2 depot and empty slabs, 3 cores' own")
{
	if (!modes_leave_fronts())
		return;
	struct arena *a = arenas_ids(1, UNITS);
	struct kmem_cache *c = cache_over(a);
	struct kmem_cache_stats s;

	threads_run(THREADS_PINNED, 1, fill_and_empty, c);
	/* The first interval saw all of them needed, the second one none. */
	reclaim_run(1);
	s = stats_of(c);
	CHECK_EQ(s.depot_full, 0);
	CHECK_LT(0, s.out);
	CHECK_LE(s.slab_size, s.total);
	reclaim_run(2);
	s = stats_of(c);
	CHECK_EQ(s.depot_full + s.depot_empty + s.slabs_empty, 0);
	CHECK_LT(0, s.out);
	reclaim_run(3);
	s = stats_of(c);
	CHECK_EQ(s.out, 0);
	CHECK_EQ(s.slabs, 0);
	CHECK_EQ(arena_amt_free(a), UNITS);
	cache_end(c);
	arenas_end(a);
}

TEST("reclaim: a span that an arena retains goes back at level 2, not at level 1")
{
	struct arena *a = arenas_ids(1, UNITS), *b = arenas_importer("b", a, 1);

	arena_free(b, arena_alloc(b, 8, MEM_ATOMIC), 8);
	CHECK_LT(0, arenas_stats(b).retained);
	reclaim_run(1);
	CHECK_LT(0, arenas_stats(b).retained);
	CHECK_LE(8, reclaim_run(2));
	CHECK_EQ(arenas_stats(b).retained, 0);
	CHECK_EQ(arena_amt_free(a), UNITS);
	arenas_end(b);
	arenas_end(a);
}

static void scatter(struct arena *a)
{
	for (size_t i = 0; i < OBJECTS; i++)
		CHECK((objects[i] = arena_alloc(a, 1, MEM_ATOMIC)) != NULL);
	for (size_t i = 0; i < OBJECTS; i += 2)
		arena_free(a, objects[i], 1);
}

static void gather(struct arena *a)
{
	for (size_t i = 1; i < OBJECTS; i += 2)
		arena_free(a, objects[i], 1);
}

/* Has searches that cost so much that an index comes: only odd ids are free. */
static void index_earn(struct arena *a)
{
	for (size_t i = 0; i < OBJECTS && arenas_stats(a).index_bytes == 0; i++)
		CHECK(!arena_xalloc(a, 1, 2, 0, 0, 0, 0, MEM_ERROR));
	CHECK_LT(0, arenas_stats(a).index_bytes);
}

TEST("reclaim: an index goes at level 1 when none uses it, at 2 when none needs it")
{
	struct arena *a = arenas_ids(1, OBJECTS);

	scatter(a);
	index_earn(a);
	reclaim_run(1);
	CHECK_LT(0, arenas_stats(a).index_bytes);
	/* Changes without a search. */
	for (size_t i = 0; i < OBJECTS / 4; i++)
		arena_free(a, arena_alloc(a, 1, MEM_ATOMIC), 1);
	reclaim_run(1);
	CHECK_EQ(arenas_stats(a).index_bytes, 0);
	index_earn(a);
	reclaim_run(2);
	CHECK_EQ(arenas_stats(a).index_bytes, 0);
	gather(a);
	arenas_end(a);
}

TEST("reclaim: an index that arena_index() built stays at every level")
{
	struct arena *a = arenas_ids(1, OBJECTS);

	scatter(a);
	CHECK(arena_index(a));
	reclaim_run(RECLAIM_LEVELS);
	CHECK_LT(0, arenas_stats(a).index_bytes);
	gather(a);
	arenas_end(a);
}

#define NODES_MAX 300
#define IDS 10000

/* The units that an arena has given since boot. */
static uint64_t given_by(const char *name)
{
	static struct reclaim_node rows[NODES_MAX];
	size_t n = reclaim_nodes(rows, NODES_MAX), i = 0;

	CHECK_LE(n, NODES_MAX);
	while (i < n && strcmp(rows[i].name, name) != 0)
		i++;
	CHECK_LT(i, n);
	return rows[i].given;
}

TEST("reclaim: pages of an ID arena's tags count as its base's memory, not as IDs")
{
	struct arena *ids = arenas_ids(1, IDS);
	uint64_t before = given_by("base");

	for (uintptr_t id = 1; id <= IDS; id++)
		CHECK(arena_alloc(ids, 1, MEM_WAIT));
	for (uintptr_t id = 1; id <= IDS; id++)
		arena_free(ids, (void *)id, 1);
	reclaim_run(RECLAIM_LEVELS);
	CHECK_EQ(given_by("ids"), 0);
	CHECK_LE(before + 100 * PORT_PAGE_SIZE, given_by("base"));
	arenas_end(ids);
}

TEST("reclaim: boundary tags, their pages and pages of hashes go back at level 2")
{
	struct arena *a = arenas_ids(1, OBJECTS);
	uint64_t before, most;

	reclaim_run(RECLAIM_LEVELS);
	before = arenas_stats(base_arena).tag_pages;
	scatter(a);
	most = arenas_stats(base_arena).tag_pages;
	CHECK_LT(before + 16, most);
	gather(a);
	reclaim_run(2);
	/* The arena's own first page of the hash, and what is in hands. */
	CHECK_LE(arenas_stats(base_arena).tag_pages, before + 4);
	arenas_end(a);
}

/* Targets, through requests that sleep */

/* A cache that holds all of `a` idle but `left`, in full magazines of the depot. */
static struct kmem_cache *cache_that_holds(struct arena *a, size_t n)
{
	struct kmem_cache *c = cache_over(a);

	take(c, n);
	give(c, n);
	return c;
}

/* `size` of the arena, while it lacks about that. */
static void *ask(struct arena *a, size_t size)
{
	void *p = arena_alloc(a, size, MEM_WAIT);

	CHECK(p != NULL);
	return p;
}

/* Waits for the end of a pass that is under way. */
static void pass_end(void)
{
	struct reclaim_stats s;

	do {
		kthread_usleep(100);
		reclaim_get_stats(&s);
	} while (s.level > 0);
}

#define STEP_UNITS 512 /* more than one magazine's or one core's rounds, and their slabs, come to */

TEST("reclaim: a request is served by what a cache holds idle, which keeps most of it")
{
	if (!modes_leave_fronts())
		return;
	struct arena *a = arenas_ids(1, UNITS);
	struct kmem_cache *c = cache_that_holds(a, OBJECTS);
	size_t size = arena_amt_free(a), total = stats_of(c).total, rest;
	void *p = arena_alloc(a, size, MEM_ATOMIC), *q;

	CHECK(p != NULL);
	q = ask(a, 16);
	pass_end();
	rest = stats_of(c).total;
	arena_free(a, q, 16);
	arena_free(a, p, size);
	cache_end(c);
	arenas_end(a);
	CHECK_LT(rest, total);
	CHECK_LE(total, rest + 16 + STEP_UNITS);
}

TEST("reclaim: what a core holds in its magazines serves a request on another one")
{
	struct arena *a = arenas_ids(1, 64);
	struct kmem_cache *c = cache_over(a);
	void *p;

	CHECK((objects[0] = kmem_cache_alloc(c, MEM_ATOMIC)) != NULL);
	kmem_cache_free(c, objects[0]);
	CHECK_EQ(arena_amt_free(a), 0);
	p = ask(a, 64);
	arena_free(a, p, 64);
	cache_end(c);
	arenas_end(a);
}

struct owner {
	struct arena *arena;
	size_t held[8]; /* ids of pieces, of OWNED units each; 0: none */
	size_t asked, times;
};
#define OWNED 32

static size_t owner_gives(void *priv, size_t units)
{
	struct owner *o = priv;
	size_t given = 0;

	o->asked = units;
	o->times++;
	for (size_t i = 0; i < ARRAY_SIZE(o->held) && given < units; i++) {
		size_t piece = o->held[i];

		if (!piece)
			continue;
		/* First: once it is free, the request that it serves may end on another core, and the test looks. */
		o->held[i] = 0;
		arena_free(o->arena, (void *)piece, OWNED);
		given += OWNED;
	}
	return given;
}

static void owner_takes(struct owner *o, struct arena *a)
{
	*o = (struct owner){.arena = a};
	for (size_t i = 0; i < ARRAY_SIZE(o->held); i++)
		CHECK((o->held[i] = (uintptr_t)arena_alloc(a, OWNED, MEM_ATOMIC)) != 0);
}

static size_t owner_has(const struct owner *o)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(o->held); i++)
		n += o->held[i] != 0;
	return n;
}

#define OWNERS 3

/* A cache for each owner; a cache can't be created over an arena that is full. */
static void owners_begin(struct arena *a, struct owner *o, struct kmem_cache **c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		c[i] = cache_over(a);
		owner_takes(&o[i], a);
		kmem_cache_set_reclaim(c[i], owner_gives, &o[i]);
	}
}

TEST("reclaim: owners of caches are asked for what is wanted, until one has answered")
{
	struct arena *a = arenas_ids(OWNED, OWNERS * 8 * OWNED);
	struct kmem_cache *c[OWNERS];
	struct owner o[OWNERS];
	size_t asked = 0, has = 0;
	void *p;

	owners_begin(a, o, c, OWNERS);
	CHECK_EQ(arena_amt_free(a), 0);
	p = ask(a, OWNED);
	for (size_t i = 0; i < OWNERS; i++) {
		asked += o[i].asked;
		has += owner_has(&o[i]);
	}
	CHECK_EQ(asked, OWNED);
	CHECK_EQ(has, OWNERS * 8 - 1);
	arena_free(a, p, OWNED);
	reclaim_run(1);
	for (size_t i = 0; i < OWNERS; i++) {
		CHECK_EQ(owner_has(&o[i]), 0);
		cache_end(c[i]);
	}
	CHECK_EQ(arena_amt_free(a), arena_amt_total(a));
	arenas_end(a);
}

TEST("reclaim: an arena's owner is asked at level 2, not 1, for what is wanted")
{
	struct arena *a = arenas_ids(OWNED, 8 * OWNED);
	struct owner o;
	void *p;

	owner_takes(&o, a);
	arena_set_reclaim(a, owner_gives, &o);
	reclaim_run(1);
	CHECK_EQ(o.times, 0);
	p = ask(a, 2 * OWNED);
	CHECK_EQ(o.asked, 2 * OWNED);
	CHECK_EQ(owner_has(&o), 6);
	arena_free(a, p, 2 * OWNED);
	reclaim_run(2);
	CHECK_EQ(owner_has(&o), 0);
	arena_set_reclaim(a, NULL, NULL);
	o.times = 0;
	reclaim_run(2);
	CHECK_EQ(o.times, 0);
	arenas_end(a);
}

/* Page tables */

#define TABLE_PAGES 512 /* the addresses of a table */

static void *pages[TABLE_PAGES];

TEST("reclaim: page tables that stand empty go back at level 2")
{
	size_t before;

	reclaim_run(RECLAIM_LEVELS);
	before = machine_table_pages();
	pages[0] = base_alloc(NULL, PORT_PAGE_SIZE, MEM_WAIT);
	for (size_t i = 1; i < TABLE_PAGES; i++)
		pages[i] = pages[0];
	for (size_t i = 0; i < 64; i++)
		vunmap(vmap(pages, TABLE_PAGES, MEM_WAIT), TABLE_PAGES);
	CHECK_EQ(machine_table_pages() > before, before > 0);
	reclaim_run(2);
	CHECK_LE(machine_table_pages(), before);
	base_free(NULL, pages[0], PORT_PAGE_SIZE);
}
