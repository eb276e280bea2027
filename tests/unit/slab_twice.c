/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects that are freed twice in a row: the second free is found where the first one went to a
 * magazine, and changes nothing.
 */
#include "kmalloc.h"
#include "lib/test.h"
#include "modes.h"
#include "slab.h"

#define OBJECTS_MAX 256

static struct kmem_cache *c;
static void *objects[OBJECTS_MAX];

static void begin(size_t n)
{
	CHECK_LE(n, OBJECTS_MAX);
	CHECK((c = kmem_cache_create("twice", 64, 0, 0, NULL, NULL, NULL, NULL)));
	CHECK_EQ(kmem_cache_alloc_bulk(c, objects, n, MEM_WAIT), n);
}

/* Each object is free once: as many are handed out again, all different. */
static void end(size_t n)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	CHECK_EQ(s.live, 0);
	CHECK_EQ(kmem_cache_alloc_bulk(c, objects, n, MEM_WAIT), n);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			CHECK(objects[i] != objects[j]);
	kmem_cache_free_bulk(c, objects, n);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("freed twice: an object in a row, by a message that names cache and caller")
{
	if (!modes_leave_fronts())
		return;
	begin(3);
	for (size_t i = 0; i < 3; i++) {
		kmem_cache_free(c, objects[i]);
		CHECK_PANICS(kmem_cache_free(c, objects[i]), "cache twice: free of ");
		CHECK_PANICS(kmem_cache_free(c, objects[i]), "freed twice in a row (called from ");
	}
	end(3);
}

TEST("freed twice: an object that filled its magazine")
{
	if (!modes_leave_fronts())
		return;
	struct kmem_cache_stats s;

	begin(1);
	kmem_cache_get_stats(c, &s);
	CHECK_EQ(kmem_cache_alloc_bulk(c, objects + 1, s.magazine_size - 1, MEM_WAIT), s.magazine_size - 1);
	kmem_cache_free_bulk(c, objects, s.magazine_size);
	CHECK_PANICS(kmem_cache_free(c, objects[s.magazine_size - 1]), "freed twice in a row");
	end(s.magazine_size);
}

TEST("freed twice: an object in an array, and one that was freed before the array")
{
	if (!modes_leave_fronts())
		return;
	void *twice[4];

	begin(3);
	kmem_cache_free(c, objects[0]);
	CHECK_PANICS(kmem_cache_free_bulk(c, objects, 3), "freed twice in a row");
	twice[0] = objects[1];
	twice[1] = twice[2] = objects[2];
	CHECK_PANICS(kmem_cache_free_bulk(c, twice, 3), "freed twice in a row");
	end(3);
}

TEST("freed twice: memory of kmalloc, and a page that a front handed out")
{
	if (!modes_leave_fronts())
		return;
	void *p = kmalloc(64, MEM_WAIT), *page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);

	kfree(p);
	CHECK_PANICS(kfree(p), "cache kmalloc-64: free of ");
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
	CHECK_PANICS(arena_free(kpages_arena, page, PORT_PAGE_SIZE), "cache kpages-1: free of ");
}
