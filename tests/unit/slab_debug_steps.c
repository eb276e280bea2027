/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Debug mode full: a slab is verified in steps, and each object in one of them.
 */
#include "kmem_debug.h"
#include "kthread.h"
#include "reclaim.h"
#include "slab.h"
#include "lib/test.h"
#include "slab/debug.h"
#include "sync.h"

#define OBJECTS 100
#define SIZE 100

static void *objects[OBJECTS];

static struct kmem_cache *create(void)
{
	struct kmem_cache *c = kmem_cache_create("steps", SIZE, 0, KMC_FULL, NULL, NULL, NULL, NULL);

	CHECK(c);
	CHECK_EQ(kmem_cache_alloc_bulk(c, objects, OBJECTS, MEM_WAIT), OBJECTS);
	return c;
}

/* The byte behind an object, which the sanitizer doesn't let others touch. */
static __attribute__((noinline, no_sanitize("address"))) void flip_behind(void *object)
{
	*((volatile uint8_t *)object + SIZE) ^= 1;
}

/* The idle walk is held off meanwhile.  A failed check would leave it so, and is made after. */
TEST("debug: the checker finds a write behind any object of a slab, one by one")
{
	struct kmem_cache *c = create();
	size_t found = 0;

	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	qlock_lock(&slab_debug_walk_lock);
	for (size_t i = 0; i < OBJECTS; i++) {
		flip_behind(objects[i]);
		found += kmem_cache_check(c, NULL) == 7;
		flip_behind(objects[i]);
	}
	qlock_unlock(&slab_debug_walk_lock);
	CHECK_EQ(found, OBJECTS);
	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	kmem_cache_free_bulk(c, objects, OBJECTS);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

static uint64_t verified(void)
{
	struct kmem_debug_stats s;

	kmem_debug_get_stats(&s);
	return s.verified;
}

/* They fit in the slabs of one walk. */
TEST("debug: the walk verifies every freed object of the slabs that it comes to")
{
	struct kmem_cache *c = create();
	uint64_t before;

	kmem_cache_free_bulk(c, objects, OBJECTS);
	before = verified();
	CHECK(kmem_debug_walk());
	CHECK_LE(before + OBJECTS, verified());
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

static uint64_t pokes(void)
{
	struct reclaim_stats s;

	reclaim_get_stats(&s);
	return s.pokes;
}

/* More than two walks come to, of eight slabs each: one may be under way, and one be the poke's. */
#define WALKED (6 * OBJECTS)

TEST("debug: the reclaim ktask verifies freed objects again without a poke")
{
	struct kmem_cache *c = create();
	uint64_t before, poked;

	kmem_cache_free_bulk(c, objects, OBJECTS);
	reclaim_poke();
	do {
		poked = pokes();
		for (before = verified(); verified() - before < WALKED;)
			kthread_usleep(1000);
	} while (poked != pokes());
	CHECK_EQ(kmem_cache_destroy(c), 0);
}
