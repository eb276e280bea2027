/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cache's checker sees each invariant broken: words of the cache and of its slabs are overwritten, one at a
 * time, and mended when the checker has said what is wrong.
 */
#include "arenas.h"
#include "broken.h"
#include "lib/test.h"
#include "modes.h"
#include "slab.h"
#include "slab/slab_impl.h"

static struct kmem_cache *cache;

static int check_cache(struct sink *sink)
{
	return kmem_cache_check(cache, sink);
}

#define SEES(field, value, invariant, what) BROKEN(check_cache, field, value, invariant, what)

#define OBJECTS 100 /* more than a slab has */

/* Of the cache: the first slab, which is full, and another, which isn't. */
static struct slab *full, *partial;
static void *objects[OBJECTS];
static size_t count;

/* Where nothing is in magazines. */
static void slabs_make(void)
{
	cache = kmem_cache_create("broken", 200, 0, KMC_CHECK, NULL, NULL, NULL, NULL);
	for (count = 0; cache->slabs < 2 && count < OBJECTS; count++)
		objects[count] = kmem_cache_alloc(cache, MEM_WAIT);
	full = list_entry(cache->all.next, struct slab, all_link);
	partial = list_entry(full->all_link.next, struct slab, all_link);
	CHECK_EQ(full->free, 0);
	CHECK_EQ(partial->free, cache->slab_objects - 1);
}

static void slabs_end(void)
{
	while (count > 0)
		kmem_cache_free(cache, objects[--count]);
	CHECK_EQ(kmem_cache_check(cache, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}

#define MAP "a slab's map has not as many bits as objects are free"
#define OTHER "a slab is in the list of another fullness"
#define LISTED "a full slab is in a list, or another in none"
#define NOT_FOUND "a slab isn't found under an address of its own"

TEST("check: a slab that isn't as full as its map or its list says is found")
{
	slabs_make();
	SEES(partial->free, partial->free - 1, 1, MAP);
	SEES(partial->map[0], 0, 1, MAP);
	/* As many bits as ever, one of them of no object. */
	CHECK_LT(cache->slab_objects, 64);
	SEES(partial->map[0], (partial->map[0] & (partial->map[0] - 1)) | 1ull << 63, 1, MAP);
	SEES(partial->place, SLAB_FULL, 2, OTHER);
	SEES(partial->place, SLAB_EMPTY, 2, OTHER);
	SEES(full->place, SLAB_FULL + 1, 2, OTHER);
	SEES(partial->link.next, &partial->link, 2, LISTED);
	SEES(full->link.next, &partial->link, 2, LISTED);
	slabs_end();
}

TEST("check: a slab that belongs to another cache, or lies elsewhere, is found")
{
	struct kmem_cache *other = kmem_cache_create("other", 200, 0, 0, NULL, NULL, NULL, NULL);

	slabs_make();
	SEES(full->cache, other, 3, "a slab names another cache");
	SEES(full->base, partial->base, 3, NOT_FOUND);
	slabs_end();
	CHECK_EQ(kmem_cache_destroy(other), 0);
}

TEST("check: a cache's sums that aren't those of its slabs are found")
{
	slabs_make();
	SEES(cache->slabs, 3, 4, "the number of slabs isn't the one on record");
	SEES(cache->slabs_empty, 1, 4, "the number of slabs isn't the one on record");
	SEES(cache->objects_free, cache->objects_free - 1, 4, "the sum of free objects isn't the one on record");
	SEES(cache->reserve, 2 * cache->slab_objects + 1, 5, "slabs for the reserve are missing");
	slabs_end();
}

#define MANY 4000 /* objects, more than a core's magazines have */

TEST("check: a depot whose magazines aren't what its lists say is found")
{
	static void *many[MANY];
	struct depot *d;

	if (!modes_leave_fronts())
		return;
	cache = kmem_cache_create("broken", 200, 0, 0, NULL, NULL, NULL, NULL);
	d = &cache->depot;
	for (size_t i = 0; i < MANY; i++)
		many[i] = kmem_cache_alloc(cache, MEM_WAIT);
	for (size_t i = 0; i < MANY; i++)
		kmem_cache_free(cache, many[i]);
	CHECK(d->full.head != NULL);
	SEES(d->full.head->count, 0, 6, "a magazine of the depot is neither full nor empty");
	SEES(d->full.count, 0, 6, "the number of magazines isn't the one on record");
	SEES(d->empty.count, d->empty.count + 1, 6, "the number of magazines isn't the one on record");
	SEES(d->full.least, d->full.count + 1, 6, "a list never held as few magazines as it has");
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}
