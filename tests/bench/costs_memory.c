/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cost of calls on caches, kmalloc, mappings, disk blocks and records of shortage, in what each header says
 * it depends on.
 */
#include "costs.h"

#include "arena.h"
#include "arena_layout.h"
#include "block_cache.h"
#include "cmdline.h"
#include "kmalloc.h"
#include "kmem_debug.h"
#include "kthread.h"
#include "memmap.h"
#include "shortage.h"
#include "slab.h"
#include "stacks.h"
#include "vmap.h"
#include "work.h"
#include "lib/array.h"
#include "lib/bench.h"
#include "lib/string.h"
#include "unit/fake_disk.h"

#define SLABS 1024
#define SLAB_SIZE 1000 /* bytes of an object: a few in a slab */
#define SLAB_OBJECTS 4
#define OBJECTS 4096
#define CACHES 1024
#define BLOCKS 1024
#define MANY_BLOCKS 16384 /* beyond what magazines hold */
#define RECORDS 256
#define PAGES 4096
#define BYTES 65536

static void none(size_t n)
{
}

/* A cache with n slabs, all objects live but one in four */

static struct kmem_cache *cache;
static void **objects;

static void slabs_make(size_t n)
{
	cache = bench_must(kmem_cache_create("costs", SLAB_SIZE, 0, 0, NULL, NULL, NULL, NULL));
	objects = bench_must(kmalloc(n * SLAB_OBJECTS * sizeof(*objects), MEM_WAIT));
	kmem_cache_alloc_bulk(cache, objects, n * SLAB_OBJECTS, MEM_WAIT);
	for (size_t i = 0; i < n; i++)
		kmem_cache_free(cache, objects[i * SLAB_OBJECTS]);
	kmem_cache_reap(cache, KMEM_REAP_ALL);
}

static void slabs_end(size_t n)
{
	for (size_t i = 0; i < n; i++)
		kmem_cache_free_bulk(cache, &objects[i * SLAB_OBJECTS + 1], SLAB_OBJECTS - 1);
	kfree(objects);
	kmem_cache_destroy(cache);
}

static void object_pair(size_t n)
{
	kmem_cache_free(cache, kmem_cache_alloc(cache, MEM_WAIT));
}

/* The slab layer's part, too */
static void object_batch(size_t n)
{
	void *batch[64];

	kmem_cache_alloc_bulk(cache, batch, ARRAY_SIZE(batch), MEM_WAIT);
	kmem_cache_free_bulk(cache, batch, ARRAY_SIZE(batch));
}

static void object_stats(size_t n)
{
	struct kmem_cache_stats stats;

	kmem_cache_get_stats(cache, &stats);
}

static void fullness(size_t n)
{
	uint64_t slabs[KMEM_FULLNESS];

	kmem_cache_get_fullness(cache, slabs);
}

static void object_find(size_t n)
{
	struct kmem_object where;

	kmem_cache_find(cache, (uintptr_t)objects[n * SLAB_OBJECTS / 2 + 1], &where);
}

static void slab_check(size_t n)
{
	kmem_cache_check(cache, NULL);
}

static size_t nothing_back(void *priv, size_t bytes)
{
	return 0;
}

static void set_reclaim(size_t n)
{
	kmem_cache_set_reclaim(cache, nothing_back, NULL);
}

static void table_pages(size_t n)
{
	(void)kmem_table_pages();
	(void)kmem_table_pages_max();
}

/* A traced one */

static void traced_make(size_t n)
{
	cache = bench_must(kmem_cache_create("costs", SLAB_SIZE, 0, 0, NULL, NULL, NULL, NULL));
	kmem_trace_start(cache);
	objects = bench_must(kmalloc(n * sizeof(*objects), MEM_WAIT));
	for (size_t i = 0; i < n; i++)
		objects[i] = kmem_cache_alloc(cache, MEM_WAIT);
}

static void traced_end(size_t n)
{
	kmem_cache_free_bulk(cache, objects, n);
	kfree(objects);
	kmem_cache_destroy(cache);
}

static void tally(size_t n)
{
	stacks_tally_begin();
	kmem_trace_tally(cache);
	stacks_tally_end();
}

static void history(size_t n)
{
	struct kmem_history h;

	kmem_cache_history(cache, (uintptr_t)objects[n / 2], &h);
}

/* n caches */

static struct kmem_cache **caches;

static void caches_make(size_t n)
{
	caches = bench_must(kmalloc(n * sizeof(struct kmem_cache *), MEM_WAIT));
	for (size_t i = 0; i < n; i++)
		caches[i] = bench_must(kmem_cache_create("costs", 64, 0, 0, NULL, NULL, NULL, NULL));
}

static void caches_end(size_t n)
{
	for (size_t i = 0; i < n; i++)
		kmem_cache_destroy(caches[i]);
	kfree(caches);
}

static void debug_stats(size_t n)
{
	struct kmem_debug_stats stats;

	kmem_debug_get_stats(&stats);
}

static void create_and_destroy(size_t n)
{
	kmem_cache_destroy(kmem_cache_create("one more", 64, 0, 0, NULL, NULL, NULL, NULL));
}

/* kmalloc beside n that are live, of many sizes */

static void kmallocs_make(size_t n)
{
	objects = bench_must(kmalloc(n * sizeof(*objects), MEM_WAIT));
	for (size_t i = 0; i < n; i++)
		objects[i] = kmalloc(16 + i % 64 * 64, MEM_WAIT);
}

static void kmallocs_end(size_t n)
{
	for (size_t i = 0; i < n; i++)
		kfree(objects[i]);
	kfree(objects);
}

static void kmalloc_pair(size_t n)
{
	kfree(kmalloc(64, MEM_WAIT));
}

static void kmalloc_large_pair(size_t n)
{
	kfree(kmalloc(4 * KMALLOC_CACHED_MAX, MEM_WAIT));
}

static void kmalloc_size(size_t n)
{
	(void)ksize(objects[n / 2]);
}

/* Mappings of n pages */

static void vmalloc_pair(size_t n)
{
	vfree(vmalloc(n * PORT_PAGE_SIZE, MEM_WAIT), n * PORT_PAGE_SIZE);
}

static void *mapping;

static void mapping_make(size_t n)
{
	mapping = bench_must(vmalloc(n * PORT_PAGE_SIZE, MEM_WAIT));
}

static void mapping_end(size_t n)
{
	vfree(mapping, n * PORT_PAGE_SIZE);
}

static void mapping_kind(size_t n)
{
	(void)vmap_kind((uintptr_t)mapping + (n - 1) * PORT_PAGE_SIZE);
}

/* n blocks of a disk in its cache */

static struct disk disk;
static struct block_cache *blocks;

static void fill_blocks(size_t n)
{
	struct block *b;

	for (size_t i = 0; i < n; i++) {
		block_get(blocks, i, BLOCK_NEW | MEM_WAIT, &b);
		block_put(b);
	}
}

static void blocks_make(size_t n)
{
	disk = fake_disk_void();
	disk.blocks = n;
	blocks = bench_must(block_cache_create(&disk));
	fill_blocks(n);
}

static void blocks_end(size_t n)
{
	block_cache_destroy(blocks);
}

static void block_hit(size_t n)
{
	struct block *b;

	block_get(blocks, n / 2, MEM_WAIT, &b);
	block_put(b);
}

static void block_stats(size_t n)
{
	struct block_cache_stats stats;

	block_cache_get_stats(blocks, &stats);
}

static void blocks_check(size_t n)
{
	block_cache_check(blocks);
}

static void blocks_give_up(size_t n)
{
	block_cache_give_up(blocks, SIZE_MAX);
	fill_blocks(n);
}

/* n requests that sleep */

static struct arena *ids;
static struct ktask **tasks;

static void sleep_for_ids(void *arg)
{
	arena_free(ids, arena_alloc(ids, 1, MEM_WAIT), 1);
}

static void records_make(size_t n)
{
	struct arena_stats stats;

	ids = bench_must(arena_create("costs", (void *)1, 1, 1, NULL, NULL, NULL, 0, MEM_WAIT));
	arena_alloc(ids, 1, MEM_WAIT);
	tasks = bench_must(kmalloc(n * sizeof(struct ktask *), MEM_WAIT));
	for (size_t i = 0; i < n; i++)
		tasks[i] = bench_must(ktask("sleeper", sleep_for_ids, NULL));
	do {
		kthread_yield();
		arena_get_stats(ids, &stats);
	} while (stats.waiting < n);
}

static void records_end(size_t n)
{
	arena_free(ids, (void *)1, 1);
	for (size_t i = 0; i < n; i++)
		ktask_join(tasks[i]);
	kfree(tasks);
	arena_destroy(ids);
}

static void record_rows(size_t n)
{
	shortage_rows(NULL, 0);
}

static void records_check(size_t n)
{
	shortage_check(NULL);
}

static void is_short(size_t n)
{
	(void)shortage_is_short(ids);
}

/* Boot's input */

static struct memmap_entry *entries;
static struct memmap_edge *edges;
static struct memmap_range *ranges;
static char *line;

static void map_make(size_t n)
{
	entries = bench_must(kmalloc(n * sizeof(*entries), MEM_WAIT));
	edges = bench_must(kmalloc(2 * n * sizeof(*edges), MEM_WAIT));
	ranges = bench_must(kmalloc((n + 1) * sizeof(*ranges), MEM_WAIT));
	for (size_t i = 0; i < n; i++)
		entries[i] = (struct memmap_entry){
			.start = i * 7919 % n * 4 * PORT_PAGE_SIZE, .size = 2 * PORT_PAGE_SIZE, .type = 1};
}

static void map_end(size_t n)
{
	kfree(entries);
	kfree(edges);
	kfree(ranges);
}

static void normalize(size_t n)
{
	struct memmap_result result;

	memmap_normalize(entries, n, NULL, 0, PORT_PAGE_SIZE, edges, ranges, n + 1, &result);
}

static void line_make(size_t n)
{
	line = bench_must(kmalloc(n, MEM_WAIT));
	for (size_t i = 0; i < n; i++)
		line[i] = i % 8 == 7 ? ' ' : 'x';
	line[n - 1] = '\0';
}

static void line_end(size_t n)
{
	kfree(line);
}

static void drop(struct sink *sink, const char *bytes, size_t n)
{
}

static struct sink nowhere = {.write = drop};

static const char *set_nothing(const char *value)
{
	return NULL;
}

static void parse(size_t n)
{
	static const struct cmdline_option option = {"xxxxxxx", set_nothing};

	cmdline_parse(line, &option, 1, &nowhere);
}

static const struct cost costs[] = {
	{"constant.kmem_cache_alloc", slabs_make, object_pair, slabs_end, SLABS},
	{"constant.kmem_cache_alloc_bulk", slabs_make, object_batch, slabs_end, SLABS},
	{"constant.kmem_cache_get_stats", slabs_make, object_stats, slabs_end, SLABS},
	{"constant.kmem_cache_find", slabs_make, object_find, slabs_end, SLABS},
	{"constant.kmem_cache_set_reclaim", slabs_make, set_reclaim, slabs_end, SLABS},
	{"constant.kmem_table_pages", slabs_make, table_pages, slabs_end, SLABS},
	{"linear.kmem_cache_get_fullness", slabs_make, fullness, slabs_end, SLABS},
	{"linear.kmem_cache_check", slabs_make, slab_check, slabs_end, SLABS},
	{"linear.kmem_trace_tally", traced_make, tally, traced_end, OBJECTS},
	{"constant.kmem_cache_history", traced_make, history, traced_end, OBJECTS},
	{"linear.kmem_debug_get_stats", caches_make, debug_stats, caches_end, CACHES},
	{"linear.kmem_cache_destroy", caches_make, create_and_destroy, caches_end, CACHES},
	{"constant.kmalloc", kmallocs_make, kmalloc_pair, kmallocs_end, SLABS},
	{"constant.kmalloc.large", kmallocs_make, kmalloc_large_pair, kmallocs_end, SLABS},
	{"constant.ksize", kmallocs_make, kmalloc_size, kmallocs_end, SLABS},
	{"linear.vmalloc", none, vmalloc_pair, none, PAGES},
	{"constant.vmap_kind", mapping_make, mapping_kind, mapping_end, PAGES},
	{"constant.block_get.hit", blocks_make, block_hit, blocks_end, BLOCKS},
	{"constant.block_cache_get_stats", blocks_make, block_stats, blocks_end, BLOCKS},
	{"linear.block_cache_check", blocks_make, blocks_check, blocks_end, BLOCKS},
	{"linear.block_cache_give_up", blocks_make, blocks_give_up, blocks_end, MANY_BLOCKS},
	{"linear.shortage_rows", records_make, record_rows, records_end, RECORDS},
	{"linear.shortage_check", records_make, records_check, records_end, RECORDS},
	{"constant.shortage_is_short.waiting", records_make, is_short, records_end, RECORDS},
	{"nlogn.memmap_normalize", map_make, normalize, map_end, PAGES},
	{"linear.cmdline_parse", line_make, parse, line_end, BYTES},
};

BENCH("cost.memory")
{
	costs_count(costs, ARRAY_SIZE(costs));
}
