/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What takes several allocations, with each of them failing in turn: it is refused, and nothing of it is left.
 */
#include "arenas.h"
#include "block_cache.h"
#include "fails.h"
#include "fake_disk.h"
#include "irq.h"
#include "kmalloc.h"
#include "kmem_debug.h"
#include "kthread.h"
#include "leaks.h"
#include "slab.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"
#include "vmap.h"
#include "work.h"

#define PAGE PORT_PAGE_SIZE
#define PAGES 5

static unsigned flags; /* that may fail */

static void each(bool (*make)(void), void (*undo)(void))
{
	static const unsigned both[] = {MEM_ATOMIC, MEM_ERROR};

	for (int i = 0; i < 2; i++) {
		flags = both[i];
		CHECK_LT(0, fails_each(make, undo, NULL));
	}
}

/* Mappings */

static void *mapping, *pages[PAGES];

static bool make_vmalloc(void)
{
	mapping = vmalloc(PAGES * PAGE, flags);
	return mapping;
}

static void undo_vmalloc(void)
{
	vfree(mapping, PAGES * PAGE);
}

static bool make_vmap(void)
{
	mapping = vmap(pages, PAGES, flags);
	return mapping;
}

static void undo_vmap(void)
{
	vunmap(mapping, PAGES);
}

TEST("fail: vmalloc and vmap that fail at any allocation keep no page and no address")
{
	uint64_t addresses;

	vmap_drain();
	arena_reap(vaddr_arena, SIZE_MAX);
	addresses = arena_amt_free(vaddr_arena);
	each(make_vmalloc, undo_vmalloc);
	for (int i = 0; i < PAGES; i++)
		pages[i] = arena_alloc(kpages_arena, PAGE, MEM_WAIT);
	each(make_vmap, undo_vmap);
	for (int i = 0; i < PAGES; i++)
		arena_free(kpages_arena, pages[i], PAGE);
	vmap_drain();
	arena_reap(vaddr_arena, SIZE_MAX);
	CHECK_EQ(arena_amt_free(vaddr_arena), addresses);
}

/* Caches and arenas */

static struct kmem_cache *cache;
static struct arena *arena, *source;

static bool make_cache(void)
{
	cache = kmem_cache_create("failing", 100, 0, 0, NULL, NULL, NULL, NULL);
	return cache;
}

static bool make_full_cache(void)
{
	cache = kmem_cache_create("failing", 100, 0, KMC_FULL, NULL, NULL, NULL, NULL);
	return cache;
}

static void undo_cache(void)
{
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}

static bool make_trace(void)
{
	if (!make_cache())
		return false;
	if (kmem_trace_start(cache) == 0)
		return true;
	undo_cache();
	return false;
}

static void undo_trace(void)
{
	kmem_trace_stop(cache);
	undo_cache();
}

static bool make_scan(void)
{
	return leaks_scan() == 0;
}

static void undo_scan(void)
{
	leaks_clear();
}

TEST("fail: tracing, and a scan for leaks, fail at any allocation, and nothing is on")
{
	CHECK_LT(0, fails_each(make_trace, undo_trace, NULL));
	CHECK_LT(0, fails_each(make_scan, undo_scan, undo_scan));
}

/* The second scan of two finds what the first suspected. */
static bool make_second_scan(void)
{
	return leaks_scan() == 0 && leaks_scan() == 0;
}

static bool count_leak(const struct leak *leak, void *arg)
{
	++*(size_t *)arg;
	return true;
}

static bool count_first(const struct leak *leak, void *arg)
{
	++*(size_t *)arg;
	return false;
}

#define LOST 1000 /* most of which no other test's old addresses lead to */

/* Turned over, so that no scan sees them. */
static uintptr_t hidden[LOST];

static __attribute__((noinline)) void lose(void)
{
	for (size_t i = 0; i < LOST; i++)
		hidden[i] = ~(uintptr_t)kmem_cache_alloc(cache, MEM_WAIT);
}

TEST("fail: scans for leaks that fail at any allocation hide none from the next")
{
	size_t leaks = 0, first = 0;

	CHECK(make_cache());
	lose();
	CHECK_LT(0, fails_each(make_second_scan, undo_scan, undo_scan));
	CHECK(make_second_scan());
	CHECK(make_second_scan());
	leaks_report(count_leak, &leaks);
	CHECK_LE(2, leaks);
	leaks_report(count_first, &first);
	CHECK_EQ(first, 1);
	leaks_clear();
	for (size_t i = 0; i < LOST; i++)
		kmem_cache_free(cache, (void *)~hidden[i]);
	undo_cache();
}

static char cache_storage[KMEM_CACHE_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));

static bool make_placed_cache(void)
{
	cache = __kmem_cache_create(
		(struct kmem_cache *)cache_storage, "failing", 100, 0, 0, NULL, NULL, NULL, NULL);
	return cache;
}

static void undo_placed_cache(void)
{
	CHECK_EQ(__kmem_cache_destroy(cache), 0);
}

TEST("fail: a cache whose creation fails at any allocation isn't there")
{
	each(make_cache, undo_cache);
	each(make_full_cache, undo_cache);
	each(make_placed_cache, undo_placed_cache);
}

static bool make_arena(void)
{
	arena = arena_create("failing", (void *)1, 1000, 1, NULL, NULL, NULL, 0, flags);
	return arena;
}

static bool make_importer(void)
{
	arena = arena_create("failing", NULL, 0, 1, arena_alloc, arena_free, source, 8, flags);
	return arena;
}

/* A front that can't be had is no failure: the arena does without. */
static void undo_arena(void)
{
	void *at = arena_alloc(arena, 2, MEM_WAIT);

	CHECK(at);
	arena_free(arena, at, 2);
	arenas_end(arena);
}

TEST("fail: an arena whose creation fails at any allocation isn't there")
{
	source = arenas_ids(1, 1000);
	each(make_arena, undo_arena);
	each(make_importer, undo_arena);
	arenas_end(source);
}

#define SPANS 40 /* so many that tags have to be fetched */

static bool make_spans(void)
{
	int error = 0;

	arena = arena_create("failing", NULL, 0, 1, NULL, NULL, NULL, 0, flags);
	if (!arena)
		return false;
	for (uintptr_t i = 1; i <= SPANS && !error; i++) {
		error = arena_add(arena, (void *)(i * 100), 50, flags);
		CHECK(error == 0 || error == -ENOMEM);
		CHECK_EQ(arena_amt_total(arena), (error ? i - 1 : i) * 50);
	}
	if (error)
		arenas_end(arena);
	return error == 0;
}

TEST("fail: a span that can't be added for want of tags isn't there")
{
	each(make_spans, undo_arena);
}

/* Objects, with all that is beneath */

#define OBJECTS 100 /* of the smallest, three slabs */
static void *objects[OBJECTS];
static size_t got;

static bool make_objects(void)
{
	got = kmem_cache_alloc_bulk(cache, objects, OBJECTS, flags);
	if (got < OBJECTS)
		kmem_cache_free_bulk(cache, objects, got);
	kmem_cache_reap(cache, KMEM_REAP_ALL);
	return got == OBJECTS;
}

static void undo_objects(void)
{
	kmem_cache_free_bulk(cache, objects, OBJECTS);
	kmem_cache_reap(cache, KMEM_REAP_ALL);
}

static void check_objects(void)
{
	struct kmem_cache_stats s;

	CHECK_EQ(kmem_cache_check(cache, &console_sink), 0);
	kmem_cache_get_stats(cache, &s);
	CHECK_EQ(s.live, 0);
	CHECK_EQ(s.slabs, 0);
}

static bool make_reserve(void)
{
	return kmem_cache_reserve(cache, OBJECTS, flags) == 0;
}

static void undo_reserve(void)
{
	CHECK_EQ(kmem_cache_reserve(cache, 0, flags), 0);
	kmem_cache_reap(cache, KMEM_REAP_ALL);
}

static void check_cache(struct arena *from, size_t size, unsigned cache_flags)
{
	cache = kmem_cache_create("failing", size, 0, cache_flags, from, NULL, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		flags = i ? MEM_ERROR : MEM_ATOMIC;
		CHECK_LT(0, fails_each(make_objects, undo_objects, check_objects));
		CHECK_LT(0, fails_each(make_reserve, undo_reserve, check_objects));
	}
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}

TEST("fail: a bulk of objects, or a reserve, fails at any allocation and keeps no slab")
{
	check_cache(NULL, 100, 0);
	check_cache(NULL, 3000, KMC_NOTOUCH);
	check_cache(NULL, 100, KMC_FULL);
	source = arenas_ids(1, 1000);
	check_cache(source, 1, KMC_NOTOUCH);
	arenas_end(source);
}

static size_t size;

static bool make_bytes(void)
{
	objects[0] = kmalloc(size, flags);
	return objects[0];
}

static bool make_aligned_bytes(void)
{
	objects[0] = kmalloc_align(size, 8 * PAGE, flags);
	return objects[0];
}

static bool make_grown_bytes(void)
{
	void *p;

	objects[0] = kmalloc(KMALLOC_CACHED_MAX + PAGE, flags);
	if (!objects[0])
		return false;
	memset(objects[0], 1, KMALLOC_CACHED_MAX + PAGE);
	p = krealloc(objects[0], size, flags);
	if (!p) {
		CHECK_EQ(((char *)objects[0])[KMALLOC_CACHED_MAX], 1);
		kfree(objects[0]);
		return false;
	}
	CHECK_EQ(((char *)p)[KMALLOC_CACHED_MAX], 1);
	objects[0] = p;
	return true;
}

static void undo_bytes(void)
{
	kfree(objects[0]);
}

TEST("fail: kmalloc and krealloc fail at any allocation, and keep no page")
{
	static const size_t sizes[] = {8, 100, 3 * PAGE, 8 * PAGE, KMALLOC_CACHED_MAX + PAGE, 2 * KMALLOC_CACHED_MAX};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size = sizes[i];
		each(make_bytes, undo_bytes);
	}
	each(make_aligned_bytes, undo_bytes);
	size = 5 * KMALLOC_CACHED_MAX;
	each(make_grown_bytes, undo_bytes);
}

/* What is zeroed, arrays, and what is resized from nothing */

static bool make_zeroed_bytes(void)
{
	objects[0] = kzalloc(size, flags);
	return objects[0];
}

static bool make_array(void)
{
	objects[0] = kmalloc_array(3, size, flags);
	return objects[0];
}

static bool make_resized(void)
{
	objects[0] = krealloc(NULL, size, flags);
	return objects[0];
}

static bool make_zeroed_object(void)
{
	objects[0] = kmem_cache_zalloc(cache, flags);
	kmem_cache_reap(cache, KMEM_REAP_ALL);
	return objects[0];
}

static void undo_zeroed_object(void)
{
	kmem_cache_free(cache, objects[0]);
	kmem_cache_reap(cache, KMEM_REAP_ALL);
}

static bool make_zeroed_pages(void)
{
	objects[0] = base_zalloc(NULL, 3 * PAGE, flags);
	return objects[0];
}

static void undo_zeroed_pages(void)
{
	base_free(NULL, objects[0], 3 * PAGE);
}

TEST("fail: what is zeroed, an array, and what is resized from nothing fail likewise")
{
	for (size = 100; size <= 2 * KMALLOC_CACHED_MAX; size *= 18) {
		each(make_zeroed_bytes, undo_bytes);
		each(make_array, undo_bytes);
		each(make_resized, undo_bytes);
	}
	cache = kmem_cache_create("failing", 100, 0, 0, NULL, NULL, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		flags = i ? MEM_ERROR : MEM_ATOMIC;
		CHECK_LT(0, fails_each(make_zeroed_object, undo_zeroed_object, check_objects));
	}
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	each(make_zeroed_pages, undo_zeroed_pages);
}

static bool make_used_bytes(void)
{
	if (!make_bytes())
		return false;
	memset(objects[0], 1, ksize(objects[0]));
	return true;
}

/* Debug mode full notes how many bytes were asked for, if there is memory for the note. */
TEST("fail: of what kmalloc hands out as many bytes are the caller's as ksize says")
{
	size = 2;
	flags = MEM_ATOMIC;
	fails_each(make_used_bytes, undo_bytes, NULL);
}

#define FAR ((size_t)8 << 20) /* bytes, and its alignment: a page of the frame table is for no more */

/* The page of the frame table goes with what it is for. */
static bool make_far_bytes(void)
{
	objects[0] = kmalloc_align(FAR, FAR, flags);
	return objects[0];
}

static void undo_far_bytes(void)
{
	kfree(objects[0]);
	kmem_reap_all(KMEM_REAP_IDLE);
}

TEST("fail: a large kmalloc for which the frame table has no page keeps none")
{
	uint64_t before;

	kmem_reap_all(KMEM_REAP_IDLE);
	before = arenas_stats(kpages_arena).used;
	each(make_far_bytes, undo_far_bytes);
	CHECK_EQ(arenas_stats(kpages_arena).used, before);
}

/* Segments: a chain of three, with a window below */

#define CHAIN_PAGES 200

static struct arena *chain[3];
static uintptr_t window; /* 0: none */

static bool make_segment(void)
{
	objects[0] = window ? arena_xalloc(chain[2], 3 * PAGE, 2 * PAGE, 0, 0, 0, window, flags) :
			      arena_alloc(chain[2], 3 * PAGE, flags | (flags == MEM_ERROR ? ARENA_BESTFIT : 0));
	return objects[0];
}

static void reap_chain(void)
{
	for (int i = 2; i >= 0; i--)
		arena_reap(chain[i], SIZE_MAX);
}

static void undo_segment(void)
{
	if (window)
		arena_xfree(chain[2], objects[0], 3 * PAGE);
	else
		arena_free(chain[2], objects[0], 3 * PAGE);
	reap_chain();
}

static void check_chain(void)
{
	reap_chain();
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(arena_check(chain[i], &console_sink), 0);
		CHECK_EQ(arenas_stats(chain[i]).used, 0);
	}
}

TEST("fail: an import through three arenas fails anywhere, and none keeps a span")
{
	/* Of a base of its own, which 64 looks settle. */
	struct arena *base = arenas_base(CHAIN_PAGES);

	chain[0] = arena_create("chain-0", NULL, 0, PAGE, arena_alloc, arena_free, base, 0, MEM_WAIT);
	chain[1] = arena_create("chain-1", NULL, 0, PAGE, arena_alloc, arena_free, chain[0], 4 * PAGE, MEM_WAIT);
	chain[2] = arena_create("chain-2", NULL, 0, PAGE, arena_alloc, arena_free, chain[1], 0, MEM_WAIT);
	for (int i = 0; i < 4; i++) {
		flags = i % 2 ? MEM_ERROR : MEM_ATOMIC;
		window = i < 2 ? 0 : UINTPTR_MAX;
		CHECK_LT(0, fails_each(make_segment, undo_segment, check_chain));
	}
	for (int i = 2; i >= 0; i--)
		arenas_end(chain[i]);
	arenas_base_end(base, CHAIN_PAGES);
}

/* Threads, blocks, workloads */

static struct ktask *task;
static struct ktask_plan plan;

static void nothing(void *arg)
{
}

static bool make_task(void)
{
	task = ktask_create(&plan);
	return task;
}

static void undo_task(void)
{
	ktask_join(task);
}

/* Interrupt vectors */

static unsigned vector;

static bool make_vector(void)
{
	vector = irq_alloc("failing", nothing, NULL);
	return vector;
}

static void undo_vector(void)
{
	irq_free(vector);
}

static const struct irq_request requests[] = {
	{"failing", nothing, NULL}, {"failing", nothing, NULL}, {"failing", nothing, NULL}};

static bool make_vectors(void)
{
	vector = irq_alloc_block(requests, ARRAY_SIZE(requests));
	return vector;
}

static void undo_vectors(void)
{
	irq_free_block(vector, ARRAY_SIZE(requests));
}

TEST("fail: interrupt vectors fail at any allocation, and none is kept")
{
	CHECK_LT(0, fails_each(make_vector, undo_vector, NULL));
	CHECK_LT(0, fails_each(make_vectors, undo_vectors, NULL));
}

static size_t ktasks;

/* Those that end by themselves. */
static void await_others_end(void)
{
	while (ktask_count() != ktasks)
		kthread_yield();
}

static bool make_detached(void)
{
	return ktask_detached("failing", nothing, NULL);
}

/* One stack is that of a cache, the other is too large for it. */
TEST("fail: a ktask whose creation fails at any allocation isn't there")
{
	ktasks = ktask_count();
	plan = (struct ktask_plan){"failing", nothing, NULL, KTASK_ANY_CORE, 0, false, false};
	CHECK_LT(0, fails_each(make_task, undo_task, NULL));
	plan.stack_size = 20 * PAGE;
	CHECK_LT(0, fails_each(make_task, undo_task, NULL));
	CHECK_EQ(ktask_count(), ktasks);
	CHECK_LT(0, fails_each(make_detached, await_others_end, NULL));
	CHECK_EQ(ktask_count(), ktasks);
}

static struct fake_disk *fake;
static struct block_cache *blocks;
static struct block *block;
static uint64_t next_block;

static bool make_blocks(void)
{
	blocks = block_cache_create(&fake->disk);
	return blocks;
}

/* The writer ends by itself. */
static void undo_blocks(void)
{
	CHECK_EQ(block_cache_destroy(blocks), 0);
	await_others_end();
}

/* Another one each time, so that it isn't there. */
static bool make_block(void)
{
	int error = block_get(blocks, next_block++ % 1000, flags, &block);

	CHECK(error == 0 || error == -ENOMEM);
	return error == 0;
}

static void undo_block(void)
{
	block_put(block);
}

static void check_blocks(void)
{
	struct block_cache_stats s;

	CHECK_EQ(block_cache_check(blocks), 0);
	block_cache_get_stats(blocks, &s);
	CHECK_EQ(s.in_use, 0);
}

TEST("fail: a block cache, and a block of it, fail at any allocation and leave nothing")
{
	fake = fake_disk_create(1000);
	ktasks = ktask_count();
	CHECK_LT(0, fails_each(make_blocks, undo_blocks, NULL));
	CHECK(make_blocks());
	for (int i = 0; i < 2; i++) {
		flags = i ? MEM_ERROR : MEM_ATOMIC;
		CHECK_LT(0, fails_each(make_block, undo_block, check_blocks));
	}
	undo_blocks();
	fake_disk_destroy(fake);
}

static const char *kind;
static const char *work_args[2];
static size_t work_arg_count;
static uint64_t work;

static void drop(struct sink *sink, const char *bytes, size_t n)
{
}

static struct sink nowhere = {.write = drop};

static bool make_work(void)
{
	work = work_start(kind, work_arg_count, work_args, &nowhere);
	return work;
}

static void undo_work(void)
{
	CHECK(work_stop(work));
}

TEST("fail: workloads whose start fails at any allocation don't run, and hold nothing")
{
	static const char *const kinds[][3] = {{"ids", "2", NULL}, {"alloc", "2", "2"}, {"maps", "2", NULL}, {"bursts", "2", NULL}};
	struct work_stats row;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		kind = kinds[i][0];
		work_args[0] = kinds[i][1];
		work_args[1] = kinds[i][2];
		work_arg_count = work_args[1] ? 2 : 1;
		CHECK_LT(0, fails_each(make_work, undo_work, NULL));
		CHECK_EQ(work_list(0, &row, 1), 0);
	}
}
