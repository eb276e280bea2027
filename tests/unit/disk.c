/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks: one in memory, and the machine's first one if it is filled with patterns.
 *
 * tests/boot/run.py gives the machine such a disk.  Where there is none, or it holds something else,
 * the tests named "the machine's" do nothing.
 */
#include "disk.h"

#include "arena.h"
#include "disk_pattern.h"
#include "errors.h"
#include "lib/string.h"
#include "lib/test.h"
#include "machine.h"
#include "sync.h"

#include "unit/fake_disk.h"
#include "unit/threads.h"
#include "vmap.h"

#define PIECE_MAX 16 /* blocks */
#define THREADS 6
#define MANY 300 /* more requests than the queues of a few cores have slots for */

static char *pages(size_t n)
{
	return arena_alloc(kpages_arena, n * DISK_BLOCK_SIZE, MEM_WAIT);
}

static void pages_free(char *data, size_t n)
{
	arena_free(kpages_arena, data, n * DISK_BLOCK_SIZE);
}

static void check_blocks(const char *data, uint64_t first, size_t n)
{
	uint64_t generation;

	for (size_t i = 0; i < n; i++)
		CHECK(disk_pattern_check(data + i * DISK_BLOCK_SIZE, first + i, &generation));
}

TEST("disk: a pattern shows another block, another place in it, two generations in one")
{
	char *data = pages(1);
	uint64_t generation;

	disk_pattern_fill(data, 7, 3);
	CHECK(disk_pattern_check(data, 7, &generation));
	CHECK_EQ(generation, 3);
	CHECK(!disk_pattern_check(data, 8, &generation));
	data[DISK_BLOCK_SIZE - 1] ^= 1;
	CHECK(!disk_pattern_check(data, 7, &generation));
	disk_pattern_fill(data, 7, 4);
	((uint64_t *)data)[512 - 8 + 1] = 3;
	CHECK(!disk_pattern_check(data, 7, &generation));
	pages_free(data, 1);
}

/* Thread i reads every block that is i modulo THREADS, and some behind it. */
static void read_all(unsigned i, void *arg)
{
	struct disk *d = arg;
	char *data = pages(PIECE_MAX);

	for (uint64_t block = i; block < disk_blocks(d); block += THREADS) {
		uint64_t left = disk_blocks(d) - block;
		size_t n = 1 + test_random_below(left < PIECE_MAX ? left : PIECE_MAX);

		CHECK_EQ(disk_read(d, block, n, data), 0);
		check_blocks(data, block, n);
	}
	pages_free(data, PIECE_MAX);
}

/* Thread i fills some blocks that are i modulo THREADS anew, and reads each back. */
static void write_some(unsigned i, void *arg)
{
	struct disk *d = arg;
	uint64_t generation = 1 + test_random_below(1000), found;
	char *data = pages(1);

	for (uint64_t block = i; block < disk_blocks(d); block += THREADS * 5) {
		disk_pattern_fill(data, block, generation);
		CHECK_EQ(disk_write(d, block, 1, data), 0);
		disk_pattern_fill(data, 0, 0);
		CHECK_EQ(disk_read(d, block, 1, data), 0);
		CHECK(disk_pattern_check(data, block, &found));
		CHECK_EQ(found, generation);
	}
	CHECK_EQ(disk_flush(d), 0);
	pages_free(data, 1);
}

/* Requests that are all under way at once. */
struct many {
	struct disk_request requests[MANY];
	struct semaphore ended;
};

static struct many many;

static void note_end(struct disk_request *r)
{
	sem_up(&many.ended, 1);
}

static void read_many(struct disk *d)
{
	char *data = pages(MANY);

	sem_init(&many.ended, 0);
	for (size_t i = 0; i < MANY; i++) {
		many.requests[i] = (struct disk_request){.operation = DISK_READ,
			.block = i % disk_blocks(d),
			.count = 1,
			.data = data + i * DISK_BLOCK_SIZE,
			.done = note_end};
		disk_submit(d, &many.requests[i]);
	}
	sem_down(&many.ended, MANY);
	for (size_t i = 0; i < MANY; i++) {
		CHECK_EQ(many.requests[i].error, 0);
		check_blocks(many.requests[i].data, many.requests[i].block, 1);
	}
	pages_free(data, MANY);
}

/* The machine's disk, NULL unless its first block is a pattern. */
static struct disk *scratch_disk(void)
{
	struct disk *d = disk_next(NULL);
	char *data = pages(1);
	uint64_t generation;
	bool is_scratch = d && disk_blocks(d) > 0 && disk_read(d, 0, 1, data) == 0 &&
			  disk_pattern_check(data, 0, &generation);

	pages_free(data, 1);
	return is_scratch ? d : NULL;
}

static void check_counts(struct disk *d)
{
	struct disk_stats stats;

	disk_get_stats(d, &stats);
	CHECK_EQ(stats.errors, 0);
	CHECK_EQ(stats.in_flight, 0);
	CHECK_STR(stats.state, "online");
}

static void run_all(struct disk *d)
{
	threads_run(THREADS_FREE, THREADS, read_all, d);
	read_many(d);
	threads_run(THREADS_PINNED, THREADS, write_some, d);
	threads_run(THREADS_PINNED, THREADS, read_all, d);
	check_counts(d);
}

TEST("disk: the machine's is read and written block by block, by several ktasks")
{
	struct disk *d = scratch_disk();

	if (d)
		run_all(d);
}

TEST("disk: one in memory is read and written block by block, by several ktasks")
{
	struct fake_disk *f = fake_disk_create(400);

	run_all(&f->disk);
	fake_disk_destroy(f);
}

TEST("disk: one that was added is in the list, with a name of its own")
{
	struct fake_disk *a = fake_disk_create(1), *b = fake_disk_create(1);
	size_t found = 0;

	CHECK(a->disk.name[4] != b->disk.name[4]);
	for (struct disk *d = disk_next(NULL); d; d = disk_next(d))
		found += d == &a->disk || d == &b->disk;
	CHECK_EQ(found, 2);
	fake_disk_destroy(a);
	fake_disk_destroy(b);
}

TEST("disk: an error is the caller's, and is counted")
{
	struct fake_disk *f = fake_disk_create(20);
	struct disk_stats stats;
	char *data = pages(20);

	fake_disk_fail(f, 10);
	CHECK_EQ(disk_read(&f->disk, 0, 10, data), 0);
	CHECK_EQ(disk_read(&f->disk, 0, 11, data), -EIO);
	CHECK_EQ(disk_write(&f->disk, 19, 1, data), -EIO);
	disk_get_stats(&f->disk, &stats);
	CHECK_EQ(stats.errors, 2);
	CHECK_EQ(stats.in_flight, 0);
	pages_free(data, 20);
	fake_disk_destroy(f);
}

TEST("disk: a request for blocks that aren't there is a caller's bug")
{
	struct fake_disk *f = fake_disk_create(20);
	char *data = pages(1);

	CHECK_PANICS(disk_read(&f->disk, 20, 1, data), "from 20 of 20");
	CHECK_PANICS(disk_read(&f->disk, UINT64_MAX, 1, data), "of 20");
	CHECK_PANICS(disk_write(&f->disk, 19, 2, data), "2 blocks from 19");
	/* More than one request would hold, the first of which would be good. */
	CHECK_PANICS(disk_read(&f->disk, 1, 20, data), "20 blocks from 1");
	CHECK_PANICS(disk_read(&f->disk, 1, SIZE_MAX, data), "from 1 of 20");
	CHECK_EQ(f->served, 0);
	CHECK_EQ(disk_read(&f->disk, 20, 0, NULL), 0);
	pages_free(data, 1);
	fake_disk_destroy(f);
}

TEST("disk: one that is added gets the lowest number that is free")
{
	struct fake_disk *f[3];
	char name[DISK_NAME_MAX];

	for (int i = 0; i < 3; i++)
		f[i] = fake_disk_create(1);
	str_copy(name, disk_name(&f[1]->disk), sizeof(name));
	CHECK(strcmp(name, disk_name(&f[2]->disk)) != 0);
	fake_disk_destroy(f[1]);
	f[1] = fake_disk_create(1);
	CHECK_STR(disk_name(&f[1]->disk), name);
	/* Behind those there are. */
	CHECK(disk_next(&f[2]->disk) == &f[1]->disk);
	CHECK(!disk_next(&f[1]->disk));
	for (int i = 0; i < 3; i++)
		fake_disk_destroy(f[i]);
}

struct asked {
	struct disk_request request;
	unsigned ends; /* atomic */
	bool irq_on;
};

static void note_asked(struct disk_request *r)
{
	struct asked *a = (struct asked *)r;

	a->irq_on = machine_irq_enabled();
	__atomic_fetch_add(&a->ends, 1, __ATOMIC_RELEASE);
}

TEST("disk: a request's end is told once, with interrupts off, also if it failed")
{
	struct fake_disk *f = fake_disk_create(20);
	char *data = pages(1);

	for (uint64_t block = 4; block < 6; block++) {
		struct asked a = {.request = {DISK_READ, block, 1, data, note_asked, 1, NULL}};

		fake_disk_fail(f, 5);
		disk_submit(&f->disk, &a.request);
		while (!__atomic_load_n(&a.ends, __ATOMIC_ACQUIRE))
			kthread_yield();
		CHECK_EQ(disk_flush(&f->disk), 0);
		CHECK_EQ(a.ends, 1);
		CHECK(!a.irq_on);
		CHECK_EQ(a.request.error, block < 5 ? 0 : -EIO);
	}
	pages_free(data, 1);
	fake_disk_destroy(f);
}

static void never_done(struct disk_request *r)
{
}

static void check_submit(struct disk *d, struct disk_request r, const char *why)
{
	CHECK_PANICS(disk_submit(d, &r), why);
}

TEST("disk: a request that a device couldn't carry out is reported, and none begins")
{
	struct fake_disk *f = fake_disk_create(20);
	char *data = arena_alloc(kpages_arena, DISK_BLOCK_SIZE, MEM_WAIT), *mapped = vmalloc(DISK_BLOCK_SIZE, MEM_WAIT);
	struct disk_request r = {DISK_READ, 0, 1, data, never_done, 0, NULL}, wrong;
	struct disk_stats stats;

	wrong = r, wrong.done = NULL;
	check_submit(&f->disk, wrong, "a request has no done() (called from check_submit");
	wrong = r, wrong.operation = (enum disk_operation)7;
	check_submit(&f->disk, wrong, "a request is no read, write or flush");
	wrong = r, wrong.data = NULL;
	check_submit(&f->disk, wrong, "data of 1 blocks at 0x0 isn't in the direct map");
	wrong = r, wrong.data = mapped;
	check_submit(&f->disk, wrong, "isn't in the direct map");
	wrong = r, wrong.data = (void *)(UINTPTR_MAX - 100);
	check_submit(&f->disk, wrong, "isn't in the direct map");
	wrong = r, wrong.count = 0;
	check_submit(&f->disk, wrong, "a request is for 0 blocks");
	wrong = r, wrong.count = SIZE_MAX;
	check_submit(&f->disk, wrong, "a request is for 18446744073709551615 blocks");
	wrong = r, wrong.block = UINT64_MAX;
	check_submit(&f->disk, wrong, "a request is for 1 blocks from 18446744073709551615");
	CHECK_PANICS(disk_read(&f->disk, 0, 1, NULL), "at 0x0 isn't in the direct map (called from test_");
	CHECK_PANICS(disk_write(&f->disk, 0, 1, mapped), "isn't in the direct map (called from test_");
	CHECK_EQ(disk_read(&f->disk, 0, 0, NULL), 0);
	disk_get_stats(&f->disk, &stats);
	CHECK_EQ(stats.in_flight + stats.reads + stats.writes, 0);
	CHECK_PANICS(disk_add(&f->disk), "added, but is there (called from test_");
	vfree(mapped, DISK_BLOCK_SIZE);
	arena_free(kpages_arena, data, DISK_BLOCK_SIZE);
	fake_disk_destroy(f);
}

static void submit_never(struct disk *d, struct disk_request *r)
{
}

TEST("disk: one that can't do anything isn't added, one that isn't there isn't removed")
{
	struct disk d = {.kind = "bare", .blocks = 1, .blocks_max = 0, .submit = submit_never};

	CHECK_PANICS(disk_add(&d), "added without blocks in a request (called from test_");
	d.blocks_max = 1;
	CHECK_PANICS(disk_remove(&d), "removed, but isn't there (called from test_");
	d.submit = NULL;
	CHECK_PANICS(disk_add(&d), "added without a submit()");
	d.kind = NULL;
	CHECK_PANICS(disk_add(&d), "added without a kind");
}

#define TIMES 5

struct repeated {
	struct disk_request request;
	struct disk *disk;
	unsigned ends;
	bool is_over;
};

static void submit_anew(struct disk_request *r)
{
	struct repeated *again = (struct repeated *)r;

	if (++again->ends < TIMES)
		disk_submit(again->disk, r);
	else
		__atomic_store_n(&again->is_over, true, __ATOMIC_RELEASE);
}

TEST("disk: a request may be submitted anew by its own done()")
{
	struct fake_disk *f = fake_disk_create(8);
	char *data = pages(1);
	struct repeated r = {.request = {DISK_READ, 3, 1, data, submit_anew, 0, NULL}, .disk = &f->disk};
	struct disk_stats stats;

	disk_submit(&f->disk, &r.request);
	threads_await(&r.is_over);
	CHECK_EQ(r.ends, TIMES);
	disk_get_stats(&f->disk, &stats);
	CHECK_EQ(stats.reads, TIMES);
	CHECK_EQ(stats.blocks_read, TIMES);
	check_blocks(data, 3, 1);
	pages_free(data, 1);
	fake_disk_destroy(f);
}
