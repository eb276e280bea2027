/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine's first disk and one in memory, and thousands of their blocks in a cache.
 */
#include "block_cache.h"
#include "disk.h"
#include "disk_pattern.h"
#include "drive.h"
#include "errors.h"
#include "kmalloc.h"
#include "kthread.h"
#include "lib/test.h"

#include "unit/fake_disk.h"

#define BLOCKS 8000
#define LARGE 1024	/* blocks of one read or write */
#define REQUESTS 512	/* under way at once */
#define FAKE_BLOCKS 512
#define FEW 16

/* Requests, all submitted at once. */

static struct disk_request requests[REQUESTS];
static size_t ended;

static void count_end(struct disk_request *r)
{
	__atomic_fetch_add(&ended, 1, __ATOMIC_RELEASE);
}

static void submit_all(struct disk *d, enum disk_operation operation, char *data)
{
	ended = 0;
	for (size_t i = 0; i < REQUESTS; i++) {
		requests[i] = (struct disk_request){operation, i, 1, data + i * DISK_BLOCK_SIZE, count_end, 0, NULL};
		disk_submit(d, &requests[i]);
	}
	while (__atomic_load_n(&ended, __ATOMIC_ACQUIRE) < REQUESTS)
		kthread_usleep(100);
}

static void raw(struct disk *d)
{
	char *data = arena_alloc(kpages_arena, LARGE * DISK_BLOCK_SIZE, MEM_WAIT);
	struct disk_stats stats;
	uint64_t generation;

	for (size_t i = 0; i < LARGE; i++)
		disk_pattern_fill(data + i * DISK_BLOCK_SIZE, i, 1);
	CHECK_EQ(disk_write(d, 0, LARGE, data), 0);
	CHECK_EQ(disk_read(d, 0, LARGE, data), 0);
	for (size_t i = 0; i < LARGE; i++)
		CHECK(disk_pattern_check(data + i * DISK_BLOCK_SIZE, i, &generation));
	submit_all(d, DISK_READ, data);
	submit_all(d, DISK_WRITE, data);
	CHECK_EQ(disk_flush(d), 0);
	disk_get_stats(d, &stats);
	arena_free(kpages_arena, data, LARGE * DISK_BLOCK_SIZE);
}

/* Caches */

static void visit(struct block_cache *c, size_t from, size_t to, unsigned flags, bool changes)
{
	struct block *b;

	for (size_t i = from; i < to; i++) {
		CHECK_EQ(block_get(c, i, flags, &b), 0);
		if (changes)
			block_dirty(b);
		block_put(b);
	}
}

static void look(struct block_cache *c)
{
	struct block_cache_stats stats;

	block_cache_get_stats(c, &stats);
	CHECK_EQ(block_cache_check(c), 0);
}

static void blocks(struct block_cache *c)
{
	visit(c, 0, BLOCKS, MEM_WAIT | BLOCK_NEW, true);
	look(c);
	CHECK_EQ(block_cache_sync(c), 0);
	look(c);
	CHECK_LE(BLOCKS / 2 * DISK_BLOCK_SIZE, block_cache_give_up(c, SIZE_MAX));
	visit(c, 0, BLOCKS, MEM_ERROR, false);
	visit(c, 0, BLOCKS, MEM_ATOMIC, true);
	/* Those that are dirty go when they are written. */
	block_cache_give_up(c, SIZE_MAX);
	CHECK_EQ(block_cache_sync(c), 0);
	look(c);
}

/* All that is dirty is written when the cache ends. */
static void end_cache(struct block_cache *c)
{
	struct block *b;

	CHECK_EQ(block_get(c, 0, MEM_WAIT, &b), 0);
	CHECK_EQ(block_cache_destroy(c), -EBUSY);
	block_put(b);
	visit(c, 0, BLOCKS, MEM_WAIT | BLOCK_NEW, true);
	CHECK_EQ(block_cache_destroy(c), 0);
}

/* A disk that holds back writes, then loses them. */
static void fake(void)
{
	struct fake_disk *f = fake_disk_create(FAKE_BLOCKS);
	struct block_cache *c = block_cache_create(&f->disk);

	CHECK(c && disk_blocks(&f->disk) == FAKE_BLOCKS && disk_name(&f->disk));
	fake_disk_hold(f, DISK_WRITE, true);
	visit(c, 0, FAKE_BLOCKS, MEM_WAIT | BLOCK_NEW, true);
	look(c);
	fake_disk_fail(f, FEW);
	fake_disk_hold(f, DISK_WRITE, false);
	CHECK(!block_cache_sync_all());
	fake_disk_fail(f, UINT64_MAX);
	visit(c, 0, FAKE_BLOCKS, MEM_WAIT, false);
	CHECK_EQ(block_cache_destroy(c), 0);
	disk_set_offline(&f->disk, "driven");
	fake_disk_destroy(f);
}

void drive_disks(void)
{
	struct disk *d = disk_next(NULL);
	struct block_cache *c = block_cache_next(NULL);

	CHECK(d && c && block_cache_disk(c) == d && disk_blocks(d) >= BLOCKS);
	raw(d);
	blocks(c);
	end_cache(c);
	CHECK(block_cache_create(d));
	fake();
}
