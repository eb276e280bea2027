/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What caches ask of a source that would need its index to serve.
 */
#include "arena.h"
#include "slab.h"
#include "lib/test.h"

#define START 64
#define HOLES 72 /* more than are looked at */
#define STRIDE 17 /* of which a slab has 64 objects: in one bin with what is a little less */
#define SLAB ((size_t)64 * STRIDE)

/* Every hole but the last is one short of a slab; then comes the wall behind it. */
static size_t hole(size_t i)
{
	return i == HOLES - 1 ? SLAB : SLAB - 1;
}

static struct arena *source_make(void)
{
	size_t units = HOLES * (SLAB + 1) - (HOLES - 1);
	struct arena *a = arena_create("holes", (void *)START, units, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	void *at[HOLES];

	for (size_t i = 0; i < HOLES; i++) {
		CHECK((at[i] = arena_alloc(a, hole(i), MEM_ATOMIC)));
		CHECK(arena_alloc(a, 1, MEM_ATOMIC));
	}
	/* The last one is the last of its size to be looked at. */
	for (size_t i = HOLES; i-- > 0;)
		arena_free(a, at[i], hole(i));
	return a;
}

static void source_end(struct arena *a)
{
	uintptr_t at = START;

	for (size_t i = 0; i < HOLES; i++) {
		at += hole(i);
		arena_free(a, (void *)at++, 1);
	}
	CHECK_EQ(arena_destroy(a), 0);
}

/* A cache of that source, or of an importer of it, asks atomically, and then so that it may build.
 */
static void check_served(bool imports, unsigned flags)
{
	struct arena *a = source_make();
	struct arena *b =
		imports ? arena_create("importer", NULL, 0, 1, arena_alloc, arena_free, a, 0, MEM_WAIT) : a;
	struct kmem_cache *c = kmem_cache_create("in holes", STRIDE, 0, 0, b, NULL, NULL, NULL);
	void *object;

	CHECK_EQ((uintptr_t)kmem_cache_alloc(c, MEM_ATOMIC), 0);
	object = kmem_cache_alloc(c, flags);
	CHECK_NE((uintptr_t)object, 0);
	kmem_cache_free(c, object);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	if (imports)
		CHECK_EQ(arena_destroy(b), 0);
	source_end(a);
}

TEST("slab: a slab that takes an index to find is found by a request that may build it")
{
	check_served(false, MEM_ERROR);
	check_served(false, MEM_WAIT);
	check_served(true, MEM_ERROR);
	check_served(true, MEM_WAIT);
}

TEST("slab: slabs for a reserve are found the same way")
{
	struct arena *a = source_make();
	struct kmem_cache *c = kmem_cache_create("in holes", STRIDE, 0, 0, a, NULL, NULL, NULL);

	CHECK_EQ(kmem_cache_reserve(c, 1, MEM_ATOMIC), -ENOMEM);
	CHECK_EQ(kmem_cache_reserve(c, 1, MEM_ERROR), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	source_end(a);
}
