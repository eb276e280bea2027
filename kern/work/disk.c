/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workload: readers and writers of a disk's blocks, through its cache.
 *
 * A table has the generation that each block was last filled as, 0 if it hasn't been.  A block is
 * filled, or checked, and its row of the table written, or read, under one of a few locks; a ktask
 * has the block in hand before it takes the lock, so nothing is allocated and no disk is waited for
 * under it.  So a reader knows exactly what a block must hold, after it has gone to the disk and
 * come back, too: a write that was lost is found.
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

/* Whether the block holds what was last written, as far as it has been.  Its lock is held. */
static void check(struct work_task *t, const struct block *block, uint64_t number, uint32_t wanted)
{
	uint64_t found;
	bool whole;

	if (wanted == 0)
		return;
	whole = disk_pattern_check(block->data, number, &found);
	if (!whole || found != wanted)
		work_wrong(t, "block %llu: %s generation %llu, not %u", (unsigned long long)number,
			whole ? "it is of" : "torn, it begins with", (unsigned long long)found,
			wanted);
}

/* Gets a block and checks it, unless `new` is BLOCK_NEW: then it may hold anything.  A writer fills
 * it. */
static void visit(
	struct work_task *t, struct disk_work *d, uint64_t number, unsigned new, bool writes)
{
	struct qlock *lock = &d->locks[number % LOCKS];
	struct block *block;
	int error = block_get(d->cache, number, MEM_WAIT | new, &block);

	if (error) {
		work_count(t, error == -EIO ? WORK_FAILED : WORK_REFUSED);
		return;
	}
	qlock_lock(lock);
	if (!new)
		check(t, block, number, d->generations[number]);
	if (writes) {
		disk_pattern_fill(block->data, number, ++d->generations[number]);
		block_dirty(block);
	}
	qlock_unlock(lock);
	block_put(block);
}

static void read_blocks(struct work_task *t)
{
	struct disk_work *d = t->work->data;

	do {
		visit(t, d, choose_block(t, d), 0, false);
	} while (work_step(t));
}

static void write_blocks(struct work_task *t)
{
	struct disk_work *d = t->work->data;

	do {
		visit(t, d, choose_block(t, d), work_random(t) & 1 ? BLOCK_NEW : 0, true);
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
