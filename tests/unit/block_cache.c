/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block caches, on a disk in memory.
 */
#include "block_cache.h"

#include "disk_pattern.h"
#include "errors.h"
#include "kthread.h"
#include "lib/string.h"
#include "lib/test.h"
#include "slab.h"

#include "unit/arenas.h"
#include "unit/fake_disk.h"
#include "unit/threads.h"

#define BLOCKS 200
#define THREADS 6

/* The cache under test, its disk, and its headers. */
static struct fake_disk *fake;
static struct block_cache *cache;
static struct kmem_cache *headers;
static size_t ktasks_before;

static struct kmem_cache *find_headers(void)
{
	struct kmem_cache_stats stats;
	char name[KMEM_NAME_MAX];

	ksnprintf(name, sizeof(name), "%s-blocks", disk_name(&fake->disk));
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &stats);
		if (strcmp(stats.name, name) == 0) {
			kmem_cache_unpin(c);
			return c;
		}
	}
	return NULL;
}

static void begin(void)
{
	ktasks_before = ktask_count();
	fake = fake_disk_create(BLOCKS);
	cache = block_cache_create(&fake->disk);
	CHECK(cache);
	headers = find_headers();
	CHECK(headers);
}

/* No thread joins the writer, whose memory is freed soon after it has ended. */
static void end(void)
{
	CHECK_EQ(block_cache_check(cache), 0);
	CHECK_EQ(block_cache_destroy(cache), 0);
	fake_disk_destroy(fake);
	while (ktask_count() != ktasks_before)
		kthread_yield();
}

static struct block_cache_stats stats_now(void)
{
	struct block_cache_stats stats;

	block_cache_get_stats(cache, &stats);
	return stats;
}

/* Waits until the disk has n requests. */
static void await_requests(size_t n)
{
	while (fake_disk_count(fake) != n && !test_has_failed())
		kthread_yield();
}

static struct block *get(uint64_t number)
{
	struct block *b;

	CHECK_EQ(block_get(cache, number, MEM_WAIT, &b), 0);
	return b;
}

/* Fills a block anew. */
static void fill(uint64_t number, uint64_t generation)
{
	struct block *b;

	CHECK_EQ(block_get(cache, number, MEM_WAIT | BLOCK_NEW, &b), 0);
	disk_pattern_fill(b->data, number, generation);
	block_dirty(b);
	block_put(b);
}

static void check_generation(const void *data, uint64_t number, uint64_t wanted)
{
	uint64_t generation;

	CHECK(disk_pattern_check(data, number, &generation));
	CHECK_EQ(generation, wanted);
}

/* Block `number` in the cache, and on the disk. */
static void check_cached(uint64_t number, uint64_t generation)
{
	struct block *b = get(number);

	check_generation(b->data, number, generation);
	block_put(b);
}

static void check_on_disk(uint64_t number, uint64_t generation)
{
	check_generation(fake->data + number * DISK_BLOCK_SIZE, number, generation);
}

TEST("block cache: a block is read once, and stays")
{
	begin();
	check_cached(7, 0);
	check_cached(7, 0);
	check_cached(8, 0);
	CHECK_EQ(fake->served, 2);
	CHECK_EQ(stats_now().hits, 1);
	CHECK_EQ(stats_now().misses, 2);
	CHECK_EQ(stats_now().blocks, 2);
	CHECK_EQ(stats_now().in_use, 0);
	end();
}

static void get_block_9(unsigned i, void *arg)
{
	check_cached(9, 0);
}

TEST("block cache: callers that want a block that is being read wait for the one read")
{
	struct threads *threads;

	begin();
	fake_disk_hold(fake, DISK_READ, true);
	threads = threads_start(THREADS_FREE, THREADS, get_block_9, NULL);
	while (stats_now().hits + stats_now().misses < THREADS)
		kthread_yield();
	CHECK_EQ(fake_disk_count(fake), 1);
	fake_disk_hold(fake, DISK_READ, false);
	threads_join(threads);
	CHECK_EQ(fake->served, 1);
	end();
}

static void fail_block_9(unsigned i, void *arg)
{
	struct block *b;

	CHECK_EQ(block_get(cache, 9, MEM_WAIT, &b), -EIO);
}

TEST("block cache: a read that fails is every waiter's error, and the block isn't kept")
{
	begin();
	fake_disk_fail(fake, 9);
	threads_run(THREADS_FREE, THREADS, fail_block_9, NULL);
	CHECK_EQ(stats_now().blocks, 0);
	CHECK_EQ(stats_now().in_use, 0);
	fake_disk_fail(fake, UINT64_MAX);
	check_cached(9, 0);
	end();
}

TEST("block cache: a block that will be written whole isn't read")
{
	begin();
	fake_disk_hold(fake, DISK_READ, true);
	fill(3, 1);
	CHECK_EQ(block_cache_sync(cache), 0);
	check_on_disk(3, 1);
	fake_disk_hold(fake, DISK_READ, false);
	end();
}

TEST("block cache: where memory is out a block is had that is there, no other one")
{
	struct block *block, *other;
	struct piece *taken;
	int error;

	begin();
	block = get(1);
	taken = pieces_take_all(base_arena, arena_amt_total(base_arena), PORT_PAGE_SIZE, MEM_ATOMIC);
	for (uint64_t i = 2; (error = block_get(cache, i, MEM_ATOMIC, &other)) == 0 && i < BLOCKS - 1; i++)
		block_put(other);
	pieces_give(base_arena, taken, SIZE_MAX);
	CHECK_EQ(error, -ENOMEM);
	CHECK_EQ(block_get(cache, 1, MEM_ATOMIC, &other), 0);
	CHECK(other == block);
	block_put(other);
	block_put(block);
	end();
}

TEST("block cache: one is in the list of them with its disk, until it is destroyed")
{
	struct block_cache *c;

	begin();
	for (c = block_cache_next(NULL); c && c != cache; c = block_cache_next(c))
		;
	CHECK(c == cache && block_cache_disk(c) == &fake->disk);
	CHECK_STR(stats_now().disk, disk_name(&fake->disk));
	/* It is the last that was made. */
	CHECK(!block_cache_next(cache));
	end();
}

TEST("block cache: one that can't be written back is destroyed all the same")
{
	begin();
	fake_disk_fail(fake, 0);
	fill(3, 1);
	end();
}

TEST("block cache: a block that the disk doesn't have is refused")
{
	struct block *b;

	begin();
	CHECK_EQ(block_get(cache, BLOCKS, MEM_WAIT, &b), -EINVAL);
	CHECK_EQ(block_get(cache, UINT64_MAX, MEM_WAIT, &b), -EINVAL);
	end();
}

TEST("block cache: a dirty block is written by itself, and sync waits for it")
{
	begin();
	for (uint64_t i = 0; i < BLOCKS; i++)
		fill(i, 1);
	CHECK_EQ(block_cache_sync(cache), 0);
	CHECK_EQ(stats_now().dirty, 0);
	for (uint64_t i = 0; i < BLOCKS; i++)
		check_on_disk(i, 1);
	CHECK_EQ(stats_now().misses, BLOCKS);
	end();
}

TEST("block cache: a block that is changed while it is written is written again")
{
	struct block *b;

	begin();
	fake_disk_hold(fake, DISK_WRITE, true);
	fill(5, 1);
	await_requests(1);
	b = get(5);
	disk_pattern_fill(b->data, 5, 2);
	block_dirty(b);
	block_dirty(b);
	block_put(b);
	CHECK_EQ(stats_now().dirty, 1);
	CHECK_EQ(fake_disk_count(fake), 1);
	fake_disk_hold(fake, DISK_WRITE, false);
	CHECK_EQ(block_cache_sync(cache), 0);
	check_on_disk(5, 2);
	CHECK_EQ(stats_now().written, 2);
	end();
}

/* Whether the cache has a block: getting it reads nothing. */
static bool has(uint64_t number)
{
	uint64_t misses = stats_now().misses;

	check_cached(number, 0);
	return stats_now().misses == misses;
}

TEST("block cache: the least recently used blocks are given up first, as many as asked")
{
	begin();
	for (uint64_t i = 0; i < 50; i++)
		check_cached(i, 0);
	check_cached(0, 0);
	check_cached(10, 0);
	CHECK_EQ(block_cache_give_up(cache, 20 * DISK_BLOCK_SIZE - 1), 20 * DISK_BLOCK_SIZE);
	CHECK_EQ(stats_now().blocks, 30);
	for (uint64_t i = 0; i < 50; i++)
		if (i == 0 || i == 10 || i >= 22)
			CHECK(has(i));
	CHECK_EQ(block_cache_give_up(cache, 0), 0);
	CHECK_EQ(stats_now().blocks, 30);
	end();
}

TEST("block cache: a block that a caller has isn't given up")
{
	struct block *used;

	begin();
	used = get(0);
	check_cached(1, 0);
	kmem_cache_reap(headers, KMEM_REAP_IDLE);
	CHECK_EQ(stats_now().blocks, 1);
	CHECK_EQ(stats_now().given_up, 1);
	check_generation(used->data, 0, 0);
	block_put(used);
	end();
}

TEST("block cache: a dirty block is given up once it is written, and its data survives")
{
	begin();
	fake_disk_hold(fake, DISK_WRITE, true);
	for (uint64_t i = 0; i < 50; i++)
		fill(i, 3);
	check_cached(60, 0);
	kmem_cache_reap(headers, KMEM_REAP_IDLE);
	CHECK_EQ(stats_now().blocks, 50);
	CHECK_EQ(stats_now().dirty, 50);
	fake_disk_hold(fake, DISK_WRITE, false);
	CHECK_EQ(block_cache_sync(cache), 0);
	CHECK_EQ(stats_now().blocks, 0);
	CHECK_EQ(stats_now().given_up, 51);
	for (uint64_t i = 0; i < 50; i++)
		check_cached(i, 3);
	CHECK_EQ(stats_now().blocks, 50);
	end();
}

TEST("block cache: a block that can't be written is lost, sync says so once")
{
	struct block *used;

	begin();
	fake_disk_fail(fake, 10);
	used = get(5);
	fill(3, 4);
	fill(12, 4);
	CHECK_EQ(block_cache_sync(cache), -EIO);
	CHECK_EQ(block_cache_sync(cache), 0);
	fake_disk_fail(fake, UINT64_MAX);
	check_cached(3, 4);
	check_cached(12, 0);
	CHECK_EQ(stats_now().write_errors, 1);
	CHECK_EQ(stats_now().dirty, 0);
	block_put(used);
	end();
}

TEST("block cache: what is dirty is written before the end, or the disk is named")
{
	begin();
	for (uint64_t i = 0; i < BLOCKS; i++)
		fill(i, 2);
	CHECK(block_cache_sync_all());
	for (uint64_t i = 0; i < BLOCKS; i++)
		check_on_disk(i, 2);
	fake_disk_fail(fake, 10);
	fill(9, 3);
	fill(10, 3);
	CHECK(!block_cache_sync_all());
	check_on_disk(9, 3);
	check_on_disk(10, 2);
	/* What was lost is told once. */
	CHECK(block_cache_sync_all());
	end();
}

TEST("block cache: a destroy that is refused leaves the next sync to say what is lost")
{
	struct block *b;

	begin();
	b = get(6);
	fake_disk_fail(fake, 0);
	block_dirty(b);
	/* Lost then, it is no block of the cache's, but still its caller's. */
	while (stats_now().write_errors == 0)
		kthread_yield();
	CHECK_EQ(block_cache_destroy(cache), -EBUSY);
	CHECK_EQ(block_cache_sync(cache), -EIO);
	fake_disk_fail(fake, UINT64_MAX);
	block_put(b);
	end();
}

TEST("block cache: one whose blocks callers have isn't destroyed, and goes on")
{
	struct block *b;

	begin();
	b = get(1);
	CHECK_EQ(block_cache_destroy(cache), -EBUSY);
	block_put(b);
	check_cached(1, 0);
	fill(2, 1);
	CHECK_EQ(block_cache_sync(cache), 0);
	end();
}

TEST("block cache: putting a block that no caller has, unsound flags: a caller's bug")
{
	struct block *b;

	begin();
	b = get(1);
	block_put(b);
	CHECK_PANICS(block_put(b), "block 1 is put");
	CHECK_PANICS(block_dirty(b), "block 1 is changed");
	CHECK_EQ(stats_now().dirty, 0);
	CHECK_PANICS(block_get(cache, 1, 0, &b), "not exactly one memory flag");
	CHECK_PANICS(block_get(cache, 1, MEM_WAIT | MEM_ERROR | BLOCK_NEW, &b), "not exactly one");
	end();
}

/* What each block must hold.  Thread i alone changes the blocks that are i modulo THREADS, and looks
 * at their data; it gets and puts others, too. */
static uint64_t generations[BLOCKS];

static void change(uint64_t number)
{
	struct block *b = get(number);

	check_generation(b->data, number, generations[number]);
	disk_pattern_fill(b->data, number, ++generations[number]);
	block_dirty(b);
	block_put(b);
}

static void work(unsigned i, void *arg)
{
	size_t ops = test_ops(4000);

	for (size_t n = 0; n < ops; n++) {
		uint64_t number = test_random_below(BLOCKS / THREADS) * THREADS;

		if (test_random_below(2))
			change(number + i);
		else
			block_put(get(test_random_below(BLOCKS)));
		if (test_random_below(50) == 0)
			kmem_cache_reap(headers, KMEM_REAP_IDLE);
		if (test_random_below(20) == 0)
			kthread_yield();
	}
}

TEST("block cache: blocks changed and given up by several ktasks are never lost")
{
	begin();
	for (uint64_t i = 0; i < BLOCKS; i++)
		generations[i] = 0;
	threads_run(THREADS_FREE, THREADS, work, NULL);
	for (uint64_t i = 0; i < BLOCKS; i++)
		check_cached(i, generations[i]);
	CHECK_EQ(block_cache_sync(cache), 0);
	for (uint64_t i = 0; i < BLOCKS; i++)
		check_on_disk(i, generations[i]);
	CHECK_LT(0, stats_now().given_up);
	CHECK_LT(0, stats_now().written);
	end();
}
