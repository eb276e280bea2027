/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How large magazines are, and what they hold.
 */
#include "lib/array.h"
#include "lib/test.h"
#include "modes.h"
#include "port.h"
#include "slab.h"

#define BATCH 4096
#define BYTES_MAX ((uint64_t)64 << 10) /* of objects, in a magazine */
#define ROUNDS_MAX 254
#define START_BYTES ((uint64_t)8 << 10)
#define ALL_SHARE 64 /* of memory, for all magazines */

static void *objects[BATCH];

static struct kmem_cache *make(size_t size)
{
	struct kmem_cache *c = kmem_cache_create("magazines", size, 0, 0, NULL, NULL, NULL, NULL);

	CHECK(c);
	return c;
}

static struct kmem_cache_stats stats(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	return s;
}

/* Allocates n objects, and frees them in the order in which they came. */
static void batch(struct kmem_cache *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		CHECK((objects[i] = kmem_cache_alloc(c, MEM_WAIT)));
	for (size_t i = 0; i < n; i++)
		kmem_cache_free(c, objects[i]);
}

static void end(struct kmem_cache *c)
{
	CHECK_EQ(stats(c).live, 0);
	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* In a cache that was just made a magazine holds few bytes; with traffic it grows as far as it may. */
TEST("magazines: with traffic they grow, and hold no more than 64 KiB or one object")
{
	if (!modes_leave_fronts())
		return;
	static const size_t sizes[] = {64, 100, 1000, 4096};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct kmem_cache *c = make(sizes[i]);
		uint64_t start = stats(c).magazine_size;

		CHECK(start > 1 && start * stats(c).stride <= START_BYTES);
		while (stats(c).magazine_size == start)
			batch(c, BATCH / 4);
		for (int n = 0; n < 8; n++)
			batch(c, BATCH / 4);
		CHECK_LE(stats(c).magazine_size, ROUNDS_MAX);
		CHECK_LE(stats(c).magazine_size * stats(c).stride, BYTES_MAX);
		end(c);
	}
}

/* Each fills some dozen magazines, or empties them. */
TEST("magazines: a few trips to a depot that no other core wants let none grow")
{
	if (!modes_leave_fronts())
		return;
	struct kmem_cache *c = make(64);
	uint64_t start = stats(c).magazine_size;

	batch(c, 12 * start);
	batch(c, 12 * start);
	CHECK_EQ(stats(c).magazine_size, start);
	end(c);
}

TEST("magazines: one of large objects has room for one; a pair stays on the hot path")
{
	if (!modes_leave_fronts())
		return;
	struct kmem_cache *c = make(BYTES_MAX);
	struct kmem_cache_stats before;

	CHECK_EQ(stats(c).magazine_size, 1);
	for (int n = 0; n < 8; n++)
		batch(c, 32);
	CHECK_EQ(stats(c).magazine_size, 1);
	batch(c, 1);
	before = stats(c);
	for (int n = 0; n < 100; n++)
		batch(c, 1);
	CHECK_EQ(stats(c).alloc_misses, before.alloc_misses);
	CHECK_EQ(stats(c).free_misses, before.free_misses);
	end(c);
}

/* Has the cache's magazines grow; returns how large they were before. */
static uint64_t grow(struct kmem_cache *c)
{
	uint64_t start = stats(c).magazine_size;

	while (stats(c).magazine_size == start)
		batch(c, BATCH);
	return start;
}

TEST("magazines: those of a cache that rests are small again, and its depot is empty")
{
	if (!modes_leave_fronts())
		return;
	struct kmem_cache *c = make(64);
	uint64_t start = grow(c);

	kmem_cache_reap(c, KMEM_REAP_IDLE);
	CHECK_LT(start, stats(c).magazine_size);
	kmem_cache_reap(c, KMEM_REAP_IDLE);
	CHECK_EQ(stats(c).magazine_size, start);
	CHECK_EQ(stats(c).depot_full + stats(c).depot_empty, 0);
	grow(c);
	end(c);
}

TEST("magazines: the hardest pressure makes them small at once")
{
	if (!modes_leave_fronts())
		return;
	struct kmem_cache *c = make(64);
	uint64_t start = grow(c);

	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_EQ(stats(c).magazine_size, start);
	CHECK_EQ(stats(c).out, 0);
	end(c);
}

/* What callers don't have and slabs don't have is in magazines. */
TEST("magazines: all together hold a 64th of memory, beside a small one for each core")
{
	if (!modes_leave_fronts())
		return;
	size_t memory = arena_amt_total(base_arena), n = 2 * memory / ALL_SHARE / PORT_PAGE_SIZE;
	struct kmem_cache *c[4];
	uint64_t held = 0;

	n = n < BATCH ? n : BATCH;
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		c[i] = make(PORT_PAGE_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		batch(c[i], n);
		batch(c[i], n);
	}
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		CHECK_LT(0, stats(c[i]).out);
		held += stats(c[i]).out * stats(c[i]).stride;
	}
	CHECK_LE(held, memory / ALL_SHARE + ARRAY_SIZE(c) * port_core_max() * START_BYTES);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		end(c[i]);
}

#define CACHES 1000

TEST("magazines: a thousand idle caches hold a slab each, and none after a hard reap")
{
	if (!modes_leave_fronts())
		return;
	static struct kmem_cache *c[CACHES];
	size_t own = KMEM_CACHE_STORAGE + port_core_max() * 2 * PORT_LINE_SIZE, held;
	size_t before = arena_amt_free(base_arena);

	for (size_t i = 0; i < CACHES; i++) {
		c[i] = make(64);
		batch(c[i], 1);
	}
	held = before - arena_amt_free(base_arena);
	CHECK_LE(held, CACHES * (PORT_PAGE_SIZE + 2048 + own) * 5 / 4);
	for (size_t i = 0; i < CACHES; i++) {
		CHECK_EQ(stats(c[i]).slabs, 1);
		kmem_cache_reap(c[i], KMEM_REAP_ALL);
		CHECK_EQ(stats(c[i]).slabs, 0);
	}
	kmem_reap_all(KMEM_REAP_ALL);
	held = before - arena_amt_free(base_arena);
	CHECK_LE((int64_t)held, (int64_t)(CACHES * own * 5 / 4));
	for (size_t i = 0; i < CACHES; i++)
		end(c[i]);
}
