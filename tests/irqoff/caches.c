/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches with many slabs, of memory and of what is none, and kmalloc.
 */
#include "drive.h"
#include "kmalloc.h"
#include "slab.h"
#include "lib/test.h"
#include "port.h"
#include "sync.h"

#define OBJECTS 100000
#define BULK 1000
#define ROWS 16

static void *objects[OBJECTS];

static size_t give_nothing(void *priv, size_t bytes)
{
	return 0;
}

static void look(struct kmem_cache *c, void *object)
{
	static struct kmem_cache_stats rows[ROWS];
	struct kmem_object where;

	kmem_cache_get_stats(c, rows);
	kmem_cache_rows(rows, ROWS);
	kmem_cache_get_fullness(c, (uint64_t[KMEM_FULLNESS]){0});
	CHECK(kmem_cache_find(c, (uintptr_t)object, &where));
	kmem_cache_is_idle(c, (uintptr_t)object);
	CHECK_EQ(kmem_cache_check(c, &null_sink), 0);
}

static void fill(struct kmem_cache *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		CHECK(objects[i] = kmem_cache_alloc(c, i & 1 ? MEM_WAIT : MEM_ATOMIC));
}

/* Every other one first, so that all slabs are in use partly. */
static void empty(struct kmem_cache *c, size_t n)
{
	for (size_t i = 0; i < n; i += 2)
		kmem_cache_free(c, objects[i]);
	kmem_cache_reap(c, KMEM_REAP_DEPOT);
	look(c, objects[1]);
	for (size_t i = 1; i < n; i += 2)
		kmem_cache_free(c, objects[i]);
	kmem_cache_reap(c, KMEM_REAP_IDLE);
	kmem_cache_reap(c, KMEM_REAP_ALL);
}

static void bulk(struct kmem_cache *c, size_t n)
{
	for (size_t i = 0; i + BULK <= n; i += BULK)
		CHECK_EQ(kmem_cache_alloc_bulk(c, objects + i, BULK, MEM_WAIT), BULK);
	for (size_t i = 0; i + BULK <= n; i += BULK)
		kmem_cache_free_bulk(c, objects + i, BULK);
}

static void drive(struct kmem_cache *c, size_t n)
{
	CHECK(c);
	fill(c, n);
	look(c, objects[0]);
	empty(c, n);
	bulk(c, n);
	CHECK_EQ(kmem_cache_reserve(c, n / 2, MEM_ERROR), 0);
	CHECK_EQ(kmem_cache_reserve(c, 0, MEM_ERROR), 0);
	kmem_cache_set_reclaim(c, give_nothing, NULL);
	/* Nothing reaps it before it ends. */
	fill(c, n);
	for (size_t i = 0; i < n; i++)
		kmem_cache_free(c, objects[i]);
}

static void ignore_row(const struct kmem_cache_stats *row, void *arg)
{
}

static void list(void)
{
	struct kmem_cache *c = kmem_cache_next(NULL);
	uintptr_t first;

	c = kmem_cache_next(c);
	kmem_cache_unpin(c);
	qlock_lock(&arenas_and_slabs_lock);
	kmem_cache_peek(kpages_arena, ignore_row, NULL);
	qlock_unlock(&arenas_and_slabs_lock);
	CHECK_LE(kmem_table_pages(), kmem_table_pages_max());
	CHECK(!kmem_table_find((uintptr_t)c, &first));
}

static void of_memory(void)
{
	static const size_t sizes[] = {8, 64, 200, 4096, 12000, 1 << 20};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct kmem_cache *c = kmem_cache_create("driven", sizes[i], 0, 0, NULL, NULL, NULL, NULL);

		drive(c, sizes[i] > 12000 ? 64 : sizes[i] > 200 ? 4000 : OBJECTS);
		kmem_cache_free(c, kmem_cache_zalloc(c, MEM_WAIT));
		CHECK_EQ(kmem_cache_destroy(c), 0);
	}
}

/* IDs, in storage of ours. */
static void of_ids(void)
{
	static char storage[KMEM_CACHE_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));
	struct arena *ids = arena_create("ids", (void *)1, (size_t)1 << 40, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct kmem_cache *c = __kmem_cache_create(
		(struct kmem_cache *)storage, "ids", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);

	drive(c, OBJECTS);
	del_importing_slab(ids, c);
	add_importing_slab(ids, c);
	CHECK_EQ(__kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_destroy(ids), 0);
}

/* An arena with quantum caches. */
static void quanta(void)
{
	for (size_t i = 0; i < 4000; i++)
		CHECK(objects[i] = arena_alloc(kpages_arena, (1 + i % 10) * PORT_PAGE_SIZE, MEM_ATOMIC));
	for (size_t i = 0; i < 4000; i++)
		arena_free(kpages_arena, objects[i], (1 + i % 10) * PORT_PAGE_SIZE);
	arena_reap(kpages_arena, SIZE_MAX);
}

static void general(void)
{
	uintptr_t start;
	size_t found;
	void *p;

	for (size_t size = 1; size < (1u << 20); size += 1 + size / 3) {
		CHECK(p = kmalloc(size, MEM_WAIT));
		kmalloc_find_large((uintptr_t)p, (uintptr_t)p, &start, &found);
		CHECK(ksize(p) >= size);
		CHECK(p = krealloc(p, size * 2, MEM_WAIT));
		kfree(p);
		kfree(kzalloc(size, MEM_WAIT));
		kfree(kmalloc_array(3, size, MEM_WAIT));
		kfree(kmalloc_align(size, 8192, MEM_WAIT));
	}
}

void drive_caches(void)
{
	of_memory();
	of_ids();
	quanta();
	general();
	list();
	kmem_reap_all(KMEM_REAP_IDLE);
	kmem_reap_all(KMEM_REAP_ALL);
}
