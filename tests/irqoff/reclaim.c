/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim of what many arenas and caches hold idle: segments, spans, tags, slabs, magazines, what owners
 * have.
 */
#include "reclaim.h"

#include "arena.h"
#include "drive.h"
#include "slab.h"
#include "lib/test.h"

#define SEGMENTS 100000
#define SPANS 4000
#define CACHES 300
#define OBJECTS 200 /* of each cache */
#define OWNED 20000
#define START ((uintptr_t)1 << 20)

static struct arena *root, *importer;
static struct kmem_cache *caches[CACHES];
static void *objects[CACHES][OBJECTS];
static void *base_pages[SEGMENTS];

/* What owners free when they are asked. */
static void *owned[OWNED];
static size_t owned_count;
static struct kmem_cache *owned_cache;

static size_t give_owned(void *priv, size_t bytes)
{
	size_t given = 0;

	for (; owned_count > 0 && given < bytes; given += 64)
		kmem_cache_free(owned_cache, owned[--owned_count]);
	return given;
}

static size_t give_nothing(void *priv, size_t units)
{
	return 0;
}

static void run_levels(void)
{
	reclaim_poke();
	reclaim_poked();
	reclaim_progress();
	for (unsigned level = 1; level <= RECLAIM_LEVELS; level++)
		reclaim_run(level);
}

/* Many segments, of an index, of which every other is free; then none. */
static void segments(void)
{
	root = arena_create("segments", (void *)START, SEGMENTS * 16, 16, NULL, NULL, NULL, 0, MEM_WAIT);
	arena_set_reclaim(root, give_nothing, NULL);
	for (size_t i = 0; i < SEGMENTS; i++)
		CHECK(arena_alloc(root, 16, MEM_WAIT));
	for (size_t i = 0; i < SEGMENTS; i += 2)
		arena_free(root, (void *)(START + i * 16), 16);
	for (size_t i = 0; i < SEGMENTS / 100; i++)
		arena_xfree(root, arena_xalloc(root, 16, 64, 32, 0, 0, 0, MEM_WAIT), 16);
	run_levels();
	arena_index(root);
	run_levels();
	CHECK_EQ(arena_check(root, &null_sink), 0);
}

static void segments_end(void)
{
	for (size_t i = 1; i < SEGMENTS; i += 2)
		arena_free(root, (void *)(START + i * 16), 16);
	run_levels();
	CHECK_EQ(arena_destroy(root), 0);
}

/* Spans that an importer retains. */
static void spans(void)
{
	static void *all[SPANS];
	struct arena *source = arena_create("source", (void *)4096, 2 * SPANS * 4096, 4096, NULL, NULL, NULL,
		0, MEM_WAIT);

	importer = arena_create("importer", NULL, 0, 64, arena_alloc, arena_free, source, 16 * 64, MEM_WAIT);
	for (size_t i = 0; i < SPANS; i++)
		CHECK(all[i] = arena_alloc(importer, 4096, MEM_WAIT));
	for (size_t i = 0; i < SPANS; i += 2)
		arena_free(importer, all[i], 4096);
	reclaim_run(1);
	for (size_t i = 1; i < SPANS; i += 2)
		arena_free(importer, all[i], 4096);
	run_levels();
	CHECK_EQ(arena_destroy(importer), 0);
	CHECK_EQ(arena_destroy(source), 0);
}

/* Single pages of base_arena: its tags lie thinly when most have gone. */
static void thin_base(void)
{
	for (size_t i = 0; i < SEGMENTS; i++)
		CHECK(base_pages[i] = base_alloc(NULL, PORT_PAGE_SIZE, MEM_WAIT));
	for (size_t i = 0; i < SEGMENTS; i++)
		if (i % 2)
			base_free(NULL, base_pages[i], PORT_PAGE_SIZE);
	run_levels();
	for (size_t i = 0; i < SEGMENTS; i += 2)
		if (i % 64)
			base_free(NULL, base_pages[i], PORT_PAGE_SIZE);
	run_levels();
	for (size_t i = 0; i < SEGMENTS; i += 64)
		base_free(NULL, base_pages[i], PORT_PAGE_SIZE);
	run_levels();
}

static void caches_make(void)
{
	for (size_t i = 0; i < CACHES; i++) {
		caches[i] = kmem_cache_create("many", 64 + 64 * (i % 40), 0, 0, NULL, NULL, NULL, NULL);
		CHECK(caches[i]);
		if (i % 2)
			kmem_cache_set_reclaim(caches[i], give_nothing, NULL);
		for (size_t k = 0; k < OBJECTS; k++)
			CHECK(objects[i][k] = kmem_cache_alloc(caches[i], MEM_WAIT));
		for (size_t k = 0; k < OBJECTS; k += 2)
			kmem_cache_free(caches[i], objects[i][k]);
	}
}

static void caches_end(void)
{
	for (size_t i = 0; i < CACHES; i++)
		for (size_t k = 1; k < OBJECTS; k += 2)
			kmem_cache_free(caches[i], objects[i][k]);
	run_levels();
	for (size_t i = 0; i < CACHES; i++)
		CHECK_EQ(kmem_cache_destroy(caches[i]), 0);
}

static void owners(void)
{
	owned_cache = kmem_cache_create("owned", 64, 0, 0, NULL, NULL, NULL, NULL);
	kmem_cache_set_reclaim(owned_cache, give_owned, NULL);
	for (owned_count = 0; owned_count < OWNED; owned_count++)
		CHECK(owned[owned_count] = kmem_cache_alloc(owned_cache, MEM_WAIT));
	run_levels();
	CHECK_EQ(owned_count, 0);
	CHECK_EQ(kmem_cache_destroy(owned_cache), 0);
}

void drive_reclaim(void)
{
	segments();
	spans();
	owners();
	thin_base();
	caches_make();
	run_levels();
	caches_end();
	segments_end();
}
