/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: what few caches are like, and calls that few make.
 */
#include "arenas.h"
#include "errors.h"
#include "kmalloc.h"
#include "kmem_debug.h"
#include "kmem_fail.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "lib/test.h"
#include "modes.h"
#include "port.h"
#include "slab.h"

#define MANY 2000

static void *objects[MANY];

static struct kmem_cache_stats stats_of(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	return s;
}

static size_t idle_of(struct kmem_cache *c)
{
	size_t n = 0;

	for (size_t i = 0; i < MANY; i++)
		n += kmem_cache_is_idle(c, (uintptr_t)objects[i]);
	return n;
}

TEST("slab: the objects that magazines have are idle, others aren't")
{
	struct kmem_cache *c = kmem_cache_create("idle", 64, 0, 0, NULL, NULL, NULL, NULL);
	struct kmem_cache_stats s;

	if (modes_leave_fronts()) {
		for (size_t i = 0; i < MANY; i++)
			objects[i] = kmem_cache_alloc(c, MEM_WAIT);
		CHECK_EQ(idle_of(c), 0);
		for (size_t i = 0; i < MANY; i++)
			kmem_cache_free(c, objects[i]);
		s = stats_of(c);
		CHECK_LT(0, s.depot_rounds);
		CHECK_EQ(idle_of(c), s.depot_rounds + s.core_rounds);
		kmem_cache_reap(c, KMEM_REAP_ALL);
		CHECK_EQ(idle_of(c), 0);
	}
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("slab: the module's own caches have no magazines, and aren't traced")
{
	size_t n = 0;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		struct kmem_cache_stats s = stats_of(c);

		if (!s.is_own)
			continue;
		n++;
		CHECK_EQ(s.depot_rounds + s.core_rounds, 0);
		CHECK(!kmem_cache_is_idle(c, (uintptr_t)c));
		CHECK_EQ(kmem_trace_start(c), 0);
		CHECK(!stats_of(c).is_traced);
		kmem_trace_stop(c);
		kmem_cache_reap(c, KMEM_REAP_ALL);
		CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	}
	CHECK_LT(2, n);
}

TEST("slab: all slabs of a large cache are counted, by how full they are")
{
	struct kmem_cache *c = kmem_cache_create("fullness", 1000, 0, KMC_CHECK, NULL, NULL, NULL, NULL);
	uint64_t slabs[KMEM_FULLNESS], n = 0;

	for (size_t i = 0; i < MANY; i++)
		objects[i] = kmem_cache_alloc(c, MEM_WAIT);
	kmem_cache_get_fullness(c, slabs);
	for (size_t i = 0; i < KMEM_FULLNESS; i++)
		n += slabs[i];
	CHECK_LT(64, n);
	CHECK_EQ(n, stats_of(c).slabs);
	CHECK_LE(n - 1, slabs[0]);
	for (size_t i = 0; i < MANY; i++)
		kmem_cache_free(c, objects[i]);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

static void touch(void *object, void *priv)
{
	++*(size_t *)priv;
}

TEST("slab: a cache that has but a destructor calls it, and says that it has one")
{
	size_t calls = 0;
	struct kmem_cache *c = kmem_cache_create("dtor", 64, 0, 0, NULL, NULL, touch, &calls);

	CHECK(stats_of(c).has_ctor);
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_LT(0, calls);
}

TEST("slab: a zeroed object that fails is NULL")
{
	struct kmem_fail_rule all = {.name = "zeroed"};
	struct kmem_cache *c = kmem_cache_create("zeroed", 64, 0, 0, NULL, NULL, NULL, NULL);
	int rule = kmem_fail_start(&all);
	void *object = kmem_cache_zalloc(c, MEM_ATOMIC);

	kmem_fail_stop(rule);
	CHECK(object == NULL);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("slab: zeroed objects that aren't memory are refused")
{
	struct arena *ids = arenas_ids(1, 100);
	struct kmem_cache *c = kmem_cache_create("ids", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);

	CHECK_PANICS(kmem_cache_zalloc(c, MEM_WAIT), "aren't memory");
	CHECK_EQ(kmem_cache_alloc_bulk(c, objects, 0, MEM_ATOMIC), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	c = kmem_cache_create("ids", 1, 0, 0, ids, NULL, NULL, NULL);
	CHECK_PANICS(kmem_cache_zalloc(c, MEM_WAIT), "aren't memory");
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(ids);
}

TEST("slab: of several numbers that are no objects of a cache the first is reported")
{
	struct arena *ids = arenas_ids(1, 1000);
	struct kmem_cache *c = kmem_cache_create("right", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	struct kmem_cache *other = kmem_cache_create("other", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	const uintptr_t none = 5000;
	char first[64];

	CHECK_EQ(kmem_cache_alloc_bulk(other, objects, 2, MEM_WAIT), 2);
	if (modes_leave_fronts()) {
		kmem_cache_free(c, objects[0]);
		kmem_cache_free(c, objects[1]);
		kmem_cache_free(c, (void *)none);
		ksnprintf(first, sizeof(first), "cache right: free of %#lx,", (unsigned long)objects[0]);
		CHECK_PANICS(kmem_cache_reap(c, KMEM_REAP_ALL), first);
	} else {
		CHECK_PANICS(kmem_cache_free(c, (void *)none), "which lies in no slab");
		CHECK_PANICS(kmem_cache_free_bulk(c, objects, 2), "which lies in no slab");
	}
	kmem_cache_free_bulk(other, objects, 2);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(kmem_cache_destroy(other), 0);
	arenas_end(ids);
}

TEST("slab: a reserve of one object is refused while there is no room for a slab")
{
	struct arena *ids = arenas_ids(1, 64);
	struct kmem_cache *c = kmem_cache_create("reserve", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	void *all = arena_alloc(ids, 64, MEM_WAIT);

	CHECK_EQ(kmem_cache_reserve(c, 1, MEM_ERROR), -ENOMEM);
	CHECK_EQ(stats_of(c).reserve, 0);
	arena_free(ids, all, 64);
	CHECK_EQ(kmem_cache_reserve(c, 1, MEM_ERROR), 0);
	CHECK_EQ(stats_of(c).reserve, 1);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(ids);
}

TEST("slab: over memory of a small quantum objects lie at any byte")
{
	struct arena *bytes = arenas_importer("bytes", base_arena, 4);
	struct kmem_cache *c = kmem_cache_create("of-bytes", 12, 0, 0, bytes, NULL, NULL, NULL);
	void *object = kmem_cache_alloc(c, MEM_WAIT);

	memset(object, 1, 12);
	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	kmem_cache_free(c, object);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	/* One that is larger than a first guess at its slab. */
	c = kmem_cache_create("of-bytes", 500, 0, 0, bytes, NULL, NULL, NULL);
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(bytes);
}

static void *nothing_make(struct arena *self, size_t size, unsigned flags)
{
	return NULL;
}

static void nothing_unmake(struct arena *self, void *addr, size_t size)
{
}

TEST("slab: a reserve of what an arena fails to make is refused")
{
	struct arena *self = arena_create(
		"self", NULL, 0, 1, nothing_make, nothing_unmake, ARENA_SELF_SOURCE, 0, MEM_WAIT);
	struct kmem_cache *c = kmem_cache_create("of-self", 1, 0, KMC_NOTOUCH, self, NULL, NULL, NULL);

	CHECK_EQ(kmem_cache_reserve(c, 10, MEM_ATOMIC), -ENOMEM);
	CHECK_EQ(stats_of(c).reserve, 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(self);
}

TEST("slab: what is done once, at boot, is refused later")
{
	CHECK_PANICS(kmem_cache_init(), "kmem_cache_init");
	CHECK_STR(kmem_debug_set("full"), "too late: there are caches");
}

/* A constructor that allocates nothing and fails. */
static int refuse(void *object, void *priv, unsigned flags)
{
	return *(bool *)priv ? -1 : 0;
}

TEST("slab: of an object whose constructor fails nothing is known, traced or not")
{
	bool fails = false;
	struct kmem_cache *c;
	struct kmem_history h;
	void *object;

	if (!modes_leave_layout())
		return;
	c = kmem_cache_create("refused", 64, 0, 0, NULL, refuse, NULL, &fails);
	object = kmem_cache_alloc(c, MEM_WAIT);
	CHECK_EQ(kmem_trace_start(c), 0);
	fails = true;
	CHECK(kmem_cache_alloc(c, MEM_ATOMIC) == NULL);
	CHECK_EQ(stats_of(c).tracked, 0);
	fails = false;
	CHECK(!kmem_cache_history(c, (uintptr_t)object, &h));
	kmem_cache_free(c, object);
	kmem_trace_stop(c);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("slab: of several objects that are another cache's the first is reported")
{
	struct kmem_cache *c = kmem_cache_create("right", 64, 0, 0, NULL, NULL, NULL, NULL);
	struct kmem_cache *other = kmem_cache_create("other", 64, 0, 0, NULL, NULL, NULL, NULL);
	struct kmem_cache *full = kmem_cache_create("full", 64, 0, KMC_FULL, NULL, NULL, NULL, NULL);

	for (size_t i = 0; i < 3; i++)
		objects[i] = kmem_cache_alloc(other, MEM_WAIT);
	CHECK_PANICS(kmem_cache_free_bulk(full, objects, 3), "cache full: free of ");
	if (modes_leave_fronts()) {
		for (size_t i = 0; i < 3; i++)
			kmem_cache_free(c, objects[i]);
		CHECK_PANICS(kmem_cache_reap(c, KMEM_REAP_ALL), "which belongs to cache other");
	}
	kmem_cache_free_bulk(other, objects, 3);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(kmem_cache_destroy(other), 0);
	CHECK_EQ(kmem_cache_destroy(full), 0);
}

TEST("debug: what lies between two objects is told by the object before it")
{
	struct kmem_cache *c = kmem_cache_create("between", 700, 0, KMC_FULL, NULL, NULL, NULL, NULL);
	char *object = kmem_cache_alloc(c, MEM_WAIT);
	uintptr_t page = (uintptr_t)object & -(uintptr_t)PORT_PAGE_SIZE;
	struct kmem_history h;
	struct kmem_object where;

	CHECK(kmem_cache_history(c, (uintptr_t)object + 701, &h));
	CHECK_EQ(h.object, (uintptr_t)object);
	CHECK(kmem_cache_find(c, page, &where));
	CHECK_EQ(where.object, 0);
	/* Whatever is known of the first and the last object of the slab. */
	kmem_cache_history(c, page, &h);
	kmem_cache_history(c, page + PORT_PAGE_SIZE - 1, &h);
	kmem_cache_free(c, object);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("debug: what lies behind all objects of a slab is told by the last of them")
{
	struct kmem_cache *c = kmem_cache_create("behind", 700, 0, KMC_FULL, NULL, NULL, NULL, NULL);
	struct kmem_cache_stats s = stats_of(c);
	uintptr_t last = 0;
	struct kmem_history h;
	struct kmem_object where;

	CHECK_LT(s.slab_objects, MANY);
	for (size_t i = 0; i < s.slab_objects; i++)
		objects[i] = kmem_cache_alloc(c, MEM_WAIT);
	for (size_t i = 0; i < s.slab_objects; i++)
		last = (uintptr_t)objects[i] > last ? (uintptr_t)objects[i] : last;
	CHECK(kmem_cache_find(c, last, &where));
	CHECK(kmem_cache_history(c, where.slab + s.slab_size - 1, &h));
	CHECK_EQ(h.object, last);
	for (size_t i = 0; i < s.slab_objects; i++)
		kmem_cache_free(c, objects[i]);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}
