/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workloads: each kind starts, works, finds nothing wrong, stops and leaves nothing behind.
 */
#include "work.h"

#include "arena.h"
#include "block_cache.h"
#include "disk_pattern.h"
#include "kthread.h"
#include "lib/string.h"
#include "lib/test.h"
#include "modes.h"
#include "slab.h"

#include "unit/fake_disk.h"
#include "unit/threads.h"

#define WHY_MAX 100 /* bytes of what work_start() says, its end included */
#define BLOCKS 64
#define ARGS_MAX 3

static char why[WHY_MAX];

/* Starts a workload with the words of `args`, up to the first that is NULL; 0: it couldn't. */
static uint64_t try_start(const char *name, const char *const args[ARGS_MAX])
{
	struct buffer_sink sink;
	size_t n = 0;

	while (n < ARGS_MAX && args[n])
		n++;
	buffer_sink_init(&sink, why, sizeof(why));
	return work_start(name, n, args, &sink.sink);
}

static uint64_t start(const char *name, const char *const args[ARGS_MAX])
{
	uint64_t id = try_start(name, args);

	CHECK_STR(why, "");
	CHECK_NE(id, 0);
	return id;
}

#define START(name, ...) start(name, (const char *const[ARGS_MAX]){__VA_ARGS__})
#define TRY_START(name, ...) try_start(name, (const char *const[ARGS_MAX]){__VA_ARGS__})

static struct work_stats stats_of(uint64_t id)
{
	struct work_stats row;

	CHECK_EQ(work_list(id, &row, 1), 1);
	CHECK_EQ(row.id, id);
	return row;
}

/* Waits until the workload has done n operations more. */
static void await_operations(uint64_t id, uint64_t n)
{
	uint64_t wanted = stats_of(id).ops + n;

	while (stats_of(id).ops < wanted && !test_has_failed())
		kthread_yield();
}

/* Whether it has found nothing wrong; then stops it. */
static void end_clean(uint64_t id)
{
	struct work_stats row = stats_of(id);

	CHECK_EQ(row.wrong, 0);
	CHECK_EQ(row.refused, 0);
	CHECK_EQ(row.failed, 0);
	CHECK(work_stop(id));
	CHECK_EQ(work_list(id, &row, 1), 0);
}

TEST("work: alloc holds its share of memory, and gives it back when it is stopped")
{
	size_t free = arena_amt_free(base_arena), share = arena_amt_total(base_arena) / 100;
	uint64_t id = START("alloc", "4", "3");

	CHECK_EQ(stats_of(id).ktasks, 3);
	while (free - arena_amt_free(base_arena) < 3 * share && !test_has_failed())
		kthread_yield();
	await_operations(id, test_ops(20000));
	if (modes_leave_layout())
		CHECK_LT(free - arena_amt_free(base_arena), 8 * share);
	end_clean(id);
}

TEST("work: bursts of ktasks come and end, and none is left")
{
	uint64_t id = START("bursts", "3");

	await_operations(id, test_ops(5000));
	end_clean(id);
}

TEST("work: IDs are never two ktasks' at once")
{
	uint64_t id = START("ids", "4");

	await_operations(id, test_ops(50000));
	end_clean(id);
}

TEST("work: mappings hold what was written into them")
{
	uint64_t id = START("maps", "3");

	await_operations(id, test_ops(5000));
	end_clean(id);
}

TEST("work: a hog takes all free pages, again and again, and gives them back")
{
	size_t total = arena_amt_total(base_arena);
	uint64_t id = START("hog", "5", "0");

	while (arena_amt_free(base_arena) > total / 50 && !test_has_failed())
		kthread_yield();
	await_operations(id, 2);
	end_clean(id);
}

TEST("work: a hog that holds its pages gives them back when it is stopped")
{
	size_t total = arena_amt_total(base_arena);
	uint64_t id = START("hog", "60000");

	while (arena_amt_free(base_arena) > total / 50 && !test_has_failed())
		kthread_yield();
	end_clean(id);
	kmem_reap_all(KMEM_REAP_ALL);
	CHECK_LT(total / 2, arena_amt_free(base_arena));
}

/* Disks */

static struct fake_disk *fake;
static struct block_cache *cache;
static size_t ktasks_before;

static void disk_begin(void)
{
	ktasks_before = ktask_count();
	fake = fake_disk_create(BLOCKS);
	cache = block_cache_create(&fake->disk);
	CHECK(cache);
}

/* No thread joins the cache's writer, whose memory is freed soon after it has ended. */
static void disk_end_all(void)
{
	CHECK_EQ(block_cache_check(cache), 0);
	CHECK_EQ(block_cache_destroy(cache), 0);
	fake_disk_destroy(fake);
	while (ktask_count() != ktasks_before)
		kthread_yield();
}

static uint64_t disk_start(const char *readers, const char *writers)
{
	return START("disk", disk_name(&fake->disk), readers, writers);
}

TEST("work: disk reads back what it has written, though the cache gives blocks up")
{
	struct block_cache_stats stats;
	uint64_t generation, id;
	size_t filled = 0;

	disk_begin();
	id = disk_start("3", "3");
	/* At times all blocks are in use or dirty, and none can be given up at once. */
	for (int i = 0; (i < 20 || stats.written == 0 || stats.given_up == 0) && !test_has_failed(); i++) {
		await_operations(id, test_ops(500));
		block_cache_give_up(cache, SIZE_MAX);
		block_cache_get_stats(cache, &stats);
	}
	end_clean(id);
	block_cache_get_stats(cache, &stats);
	CHECK_EQ(stats.in_use, 0);
	CHECK_EQ(block_cache_sync(cache), 0);
	for (size_t i = 0; i < BLOCKS; i++) {
		CHECK(disk_pattern_check(fake->data + i * DISK_BLOCK_SIZE, i, &generation));
		filled += generation > 0;
	}
	CHECK_NE(filled, 0);
	disk_end_all();
}

TEST("work: disk finds blocks that the disk has lost")
{
	uint64_t id;

	disk_begin();
	id = disk_start("2", "2");
	/* Until a write has come to the disk, none can be lost. */
	await_operations(id, 100);
	while (stats_of(id).wrong == 0 && !test_has_failed()) {
		CHECK_EQ(block_cache_sync(cache), 0);
		memset(fake->data, 0xa5, BLOCKS * DISK_BLOCK_SIZE);
		block_cache_give_up(cache, SIZE_MAX);
		kthread_yield();
	}
	CHECK(work_stop(id));
	disk_end_all();
}

TEST("work: disk counts blocks that the disk can't read")
{
	uint64_t id;

	disk_begin();
	fake_disk_fail(fake, 0);
	id = disk_start("2", "0");
	while (stats_of(id).failed == 0 && !test_has_failed())
		kthread_yield();
	CHECK_EQ(stats_of(id).wrong, 0);
	fake_disk_fail(fake, UINT64_MAX);
	CHECK(work_stop(id));
	disk_end_all();
}

TEST("work: one workload at a time writes to a disk")
{
	char wanted[WHY_MAX];
	uint64_t id;

	disk_begin();
	id = disk_start("1", "1");
	ksnprintf(wanted, sizeof(wanted), "workload %llu uses it already", (unsigned long long)id);
	CHECK_EQ(TRY_START("disk", disk_name(&fake->disk)), 0);
	CHECK_STR(why, wanted);
	CHECK(work_stop(id));
	id = disk_start("1", "1");
	CHECK(work_stop(id));
	disk_end_all();
}

/* Start, list, stop */

TEST("work: a call that is wrong starts nothing, and gets one line")
{
	struct work_stats row;

	CHECK_EQ(TRY_START("nothing"), 0);
	CHECK_STR(why, "no such workload: nothing");
	CHECK_EQ(TRY_START("alloc"), 0);
	CHECK_STR(why, "the arguments of alloc are PERCENT [KTASKS]");
	CHECK_EQ(TRY_START("ids", "1", "1"), 0);
	CHECK_STR(why, "the arguments of ids are [KTASKS]");
	CHECK_EQ(TRY_START("alloc", "91"), 0);
	CHECK_STR(why, "91: a number from 1 to 90 is wanted");
	CHECK_EQ(TRY_START("alloc", "10", "many"), 0);
	CHECK_STR(why, "many: a number from 1 to 64 is wanted");
	CHECK_EQ(TRY_START("disk", "none"), 0);
	CHECK_STR(why, "there is no such disk");
	CHECK_EQ(work_list(0, &row, 1), 0);
	CHECK(!work_stop(UINT64_MAX));
}

TEST("work: those that run are listed in order of id, with their arguments")
{
	struct work_stats rows[3];
	uint64_t first = START("ids", "2"), second = START("alloc", "1", "1");

	CHECK_LT(first, second);
	CHECK_EQ(work_list(0, rows, 3), 2);
	CHECK_EQ(rows[0].id, first);
	CHECK_STR(rows[0].name, "ids");
	CHECK_STR(rows[0].args, "2");
	CHECK_STR(rows[0].state, "running");
	CHECK_EQ(rows[1].id, second);
	CHECK_STR(rows[1].args, "1 1");
	CHECK_EQ(work_list(0, rows, 1), 1);
	CHECK_EQ(work_list(second + 1, rows, 3), 0);
	CHECK(work_stop(first));
	CHECK(!work_stop(first));
	CHECK_EQ(work_list(0, rows, 3), 1);
	CHECK(work_stop(second));
}

TEST("work: all are stopped by one call")
{
	struct work_stats row;

	START("alloc", "2");
	START("bursts");
	START("maps");
	START("ids");
	CHECK_EQ(work_stop_all(), 4);
	CHECK_EQ(work_list(0, &row, 1), 0);
	CHECK_EQ(work_stop_all(), 0);
}

#define STOPPERS 4

static void stop(unsigned i, void *arg)
{
	struct work_stats row;
	uint64_t id = *(uint64_t *)arg;

	work_stop(id);
	CHECK_EQ(work_list(id, &row, 1), 0);
}

TEST("work: several threads may stop the same one, and each returns when it has ended")
{
	for (size_t i = 0; i < test_ops(50); i++) {
		uint64_t id = START("alloc", "1", "2");

		threads_run(THREADS_FREE, STOPPERS, stop, &id);
	}
}

static bool has_stopped;

static void stop_one(unsigned i, void *id)
{
	CHECK(work_stop(*(uint64_t *)id));
	__atomic_store_n(&has_stopped, true, __ATOMIC_RELEASE);
}

/* The walk's place until the end of the workload has met it, as far as that shows. */
static void stop_under_walk(uint64_t id, const char *name)
{
	struct kmem_cache_stats s = {.name = ""};
	size_t ktasks = ktask_count();
	struct kmem_cache *c = NULL;
	struct threads *threads;

	while (strcmp(s.name, name) != 0 && (c = kmem_cache_next(c)))
		kmem_cache_get_stats(c, &s);
	CHECK(c != NULL);
	has_stopped = false;
	threads = threads_start(THREADS_FREE, 1, stop_one, &id);
	while (ktask_count() >= ktasks && !test_has_failed())
		kthread_yield();
	for (int i = 0; i < 100; i++)
		kthread_usleep(100);
	CHECK(!__atomic_load_n(&has_stopped, __ATOMIC_ACQUIRE));
	kmem_cache_unpin(c);
	threads_join(threads);
	CHECK(has_stopped);
}

TEST("work: one that ends while a walk stands on a cache of its own waits for that")
{
	if (!modes_leave_fronts())
		return;
	stop_under_walk(START("alloc", "1", "3"), "work-objects");
	stop_under_walk(START("ids", "3"), "work-ids-1");
}
