/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What slab caches do, line by line.
 */
#include "kmalloc.h"
#include "lib/string.h"
#include "lib/table.h"
#include "port.h"
#include "slab.h"
#include "test.h"

#define MANY 1000

static struct kmem_cache *make(size_t size)
{
	struct kmem_cache *c = kmem_cache_create("test", size, 0, 0, NULL, NULL, NULL, NULL);

	CHECK(c);
	return c;
}

static struct kmem_cache_stats stats(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	return s;
}

static void destroy(struct kmem_cache *c)
{
	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("slab: objects don't overlap and are aligned")
{
	static const size_t sizes[] = {1, 8, 24, 64, 100, 256, 1000, 1024, 4096, 5000, 20000};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct kmem_cache *c = make(sizes[i]);
		static char *objects[200];

		for (size_t n = 0; n < ARRAY_SIZE(objects); n++) {
			objects[n] = kmem_cache_alloc(c, MEM_ATOMIC);
			CHECK(objects[n]);
			CHECK_EQ((uintptr_t)objects[n] % 8, 0);
			memset(objects[n], (int)n, sizes[i]);
		}
		for (size_t n = 0; n < ARRAY_SIZE(objects); n++) {
			for (size_t b = 0; b < sizes[i]; b++)
				CHECK_EQ((unsigned char)objects[n][b], (unsigned char)n);
			kmem_cache_free(c, objects[n]);
		}
		destroy(c);
	}
}

TEST("slab: an allocation and a free in turn stay on the hot path")
{
	struct kmem_cache *c = make(64);
	struct kmem_cache_stats before, after;

	kmem_cache_free(c, kmem_cache_alloc(c, MEM_ATOMIC));
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
	before = stats(c);
	for (int i = 0; i < MANY; i++)
		kmem_cache_free(c, kmem_cache_alloc(c, i % 2 ? MEM_ATOMIC : MEM_ERROR));
	after = stats(c);
	CHECK_EQ(after.allocs - before.allocs, MANY);
	CHECK_EQ(after.frees - before.frees, MANY);
	CHECK_EQ(after.alloc_misses, before.alloc_misses);
	CHECK_EQ(after.free_misses, before.free_misses);
	CHECK_EQ(after.live, 0);
	destroy(c);
}
