/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workload: readers and writers of a disk's blocks, through its cache.
 *
 * A table has the generation that each block was last filled as, 0 if it hasn't been.  A block is
 * filled, or checked, and its row of the table written, or read, under one of a few locks; a ktask
 * has the block in hand before it takes the lock, so nothing is allocated and no disk is waited for
 * under it.  So a reader knows exactly what a block must hold, after it has gone to the disk and
 * come back, too: a write that was lost is found.
 *
 * A block that BLOCK_NEW brought into the cache holds anything until it is filled, and callers that get
 * it before then see that.  So a writer counts itself in the block's row before it asks by BLOCK_NEW,
 * until it has filled the block; meanwhile the block isn't checked.
 */
#include "work_impl.h"

#include "block_cache.h"
#include "disk_pattern.h"
#include "kmalloc.h"
#include "lib/string.h"
#include "port.h"
#include "vmap.h"

#define BLOCKS_MAX ((uint64_t)1 << 18) /* a GiB; its table is a MiB */
#define LOCKS 64
#define HOT_PART 16 /* one block in so many is hot: half of all accesses go there */
#define READERS_MAX 16
#define WRITERS_MAX 16

/* A row of the table: how many writers are about to overwrite the block, and its generation. */
#define OVERWRITER (1u << 27)
_Static_assert(WRITERS_MAX <= UINT32_MAX / OVERWRITER, "their number fits above a generation");

struct disk_work {
	struct block_cache *cache;
	uint64_t blocks;           /* the disk's first, BLOCKS_MAX at most */
	struct qlock locks[LOCKS]; /* block i: locks[i % LOCKS] */
	uint32_t *generations;
};

static size_t table_size(const struct disk_work *d)
{
	return d->blocks * sizeof(*d->generations);
}

static uint64_t choose_block(struct work_task *t, const struct disk_work *d)
{
	bool hot = work_random(t) & 1;

	return work_below(t, hot ? (d->blocks + HOT_PART - 1) / HOT_PART : d->blocks);
}

/* Whether the block holds what was last written, as far as it has been and no writer is about to
 * overwrite it.  Its lock is held. */
static void check(struct work_task *t, const struct block *block, uint64_t number, uint32_t wanted)
{
	uint64_t found;
	bool whole;

	if (wanted == 0 || wanted >= OVERWRITER)
		return;
	whole = disk_pattern_check(block->data, number, &found);
	if (!whole || found != wanted)
		work_wrong(t, "block %llu: %s generation %llu, not %u", (unsigned long long)number,
			whole ? "it is of" : "torn, it begins with", (unsigned long long)found,
			wanted);
}

/* Returns NULL, and counts the failure, if the block can't be had. */
static struct block *get(
	struct work_task *t, const struct disk_work *d, uint64_t number, unsigned new)
{
	struct block *block;
	int error = block_get(d->cache, number, MEM_WAIT | new, &block);

	if (!error)
		return block;
	work_count(t, error == -EIO ? WORK_FAILED : WORK_REFUSED);
	return NULL;
}

static struct qlock *lock_of(struct disk_work *d, uint64_t number)
{
	return &d->locks[number % LOCKS];
}

/* The block's lock is held. */
static void fill(struct disk_work *d, struct block *block, uint64_t number)
{
	disk_pattern_fill(block->data, number, ++d->generations[number] % OVERWRITER);
	block_dirty(block);
}

/* Checks a block; a writer then fills it. */
static void visit(struct work_task *t, struct disk_work *d, uint64_t number, bool writes)
{
	struct block *block = get(t, d, number, 0);

	if (!block)
		return;
	qlock_lock(lock_of(d, number));
	check(t, block, number, d->generations[number]);
	if (writes)
		fill(d, block, number);
	qlock_unlock(lock_of(d, number));
	block_put(block);
}

/* Fills a block whatever it holds. */
static void overwrite(struct work_task *t, struct disk_work *d, uint64_t number)
{
	struct block *block;

	qlock_lock(lock_of(d, number));
	d->generations[number] += OVERWRITER;
	qlock_unlock(lock_of(d, number));
	block = get(t, d, number, BLOCK_NEW);
	qlock_lock(lock_of(d, number));
	d->generations[number] -= OVERWRITER;
	if (block)
		fill(d, block, number);
	qlock_unlock(lock_of(d, number));
	if (block)
		block_put(block);
}

static void read_blocks(struct work_task *t)
{
	struct disk_work *d = t->work->data;

	do {
		visit(t, d, choose_block(t, d), false);
	} while (work_step(t));
}

static void write_blocks(struct work_task *t)
{
	struct disk_work *d = t->work->data;

	do {
		if (work_random(t) & 1)
			overwrite(t, d, choose_block(t, d));
		else
			visit(t, d, choose_block(t, d), true);
	} while (work_step(t));
}

/* Start and end */

/* The cache of the disk of that name, NULL: of the first disk. */
static struct block_cache *find_cache(const char *disk)
{
	struct block_cache *c = block_cache_next(NULL);

	while (disk && c && strcmp(disk_name(block_cache_disk(c)), disk) != 0)
		c = block_cache_next(c);
	return c;
}

static struct disk_work *disk_work_create(struct block_cache *cache)
{
	struct disk_work *d = kzalloc(sizeof(*d), MEM_ERROR);

	if (!d)
		return NULL;
	d->cache = cache;
	d->blocks = disk_blocks(block_cache_disk(cache));
	if (d->blocks > BLOCKS_MAX)
		d->blocks = BLOCKS_MAX;
	for (size_t i = 0; i < LOCKS; i++)
		qlock_init(&d->locks[i]);
	d->generations = vmalloc(table_size(d), MEM_ERROR);
	if (!d->generations) {
		kfree(d);
		return NULL;
	}
	memset(d->generations, 0, table_size(d));
	return d;
}

static void end(struct work *w)
{
	struct disk_work *d = w->data;

	vfree(d->generations, table_size(d));
	kfree(d);
}

bool work_start_disk(struct work *w, const struct work_args *args)
{
	struct block_cache *cache = find_cache(args->n > 0 ? args->words[0] : NULL);
	uint64_t readers = 2, writers = 2;

	if (!cache || disk_blocks(block_cache_disk(cache)) == 0) {
		sink_puts(args->why, "there is no such disk");
		return false;
	}
	if (!work_number(args, 1, 0, READERS_MAX, &readers) ||
		!work_number(args, 2, 0, WRITERS_MAX, &writers) ||
		!work_add_tasks(w, args, readers, read_blocks) ||
		!work_add_tasks(w, args, writers, write_blocks))
		return false;
	w->claim = cache;
	w->end = end;
	w->data = disk_work_create(cache);
	return w->data || work_no_memory(args);
}
