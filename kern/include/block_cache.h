/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block caches: blocks of a disk in memory, as many as memory is left for.
 *
 *	struct block *b;
 *	int error = block_get(cache, 7, MEM_WAIT, &b);
 *	if (!error) {
 *		change(b->data);
 *		block_dirty(b);
 *		block_put(b);
 *	}
 *
 * A block stays where it is while a caller has it, that is, between block_get() and block_put().
 * One that no caller has stays in the cache until memory is wanted back: the least recently used
 * goes first, and one that was changed only after it has been written to the disk, which a ktask of
 * the cache begins at once.  Callers that have the same block at the same time settle among
 * themselves which of them reads and writes its data.
 *
 * Any core may use any cache at any time.  A disk, cache or block at NULL is a caller's bug: each function
 * panics, and names itself and its caller.
 */
#ifndef SPANDREL_BLOCK_CACHE_H
#define SPANDREL_BLOCK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "disk.h"

struct block_cache;

struct block {
	void *data; /* DISK_BLOCK_SIZE bytes, a page of kpages_arena */
	/* The rest of it is block_cache_impl.h's. */
};

/* Create */

/* Makes a cache of all blocks of a disk, empty at first, and starts its writer.  Context: may sleep.
 * Returns NULL if there is no memory for it.  Panics if the disk has a cache: block_cache_init() makes one for
 * each disk that is there at boot. */
struct block_cache *block_cache_create(struct disk *d);

/* Use */

/* BLOCK_NEW, or'd with a memory flag of block_get(): the caller will write all of the block's data,
 * so it isn't read from the disk; its data is then anything, if it isn't in the cache. */
#define BLOCK_NEW (1u << 31)

/*
 * Gets block `number`, from the disk unless it is in the cache.  `flags` is exactly one of MEM_WAIT,
 * MEM_ERROR and MEM_ATOMIC, for the memory it may need; the call sleeps until the block is read,
 * whatever they are.  Callers that want the same block meanwhile wait for the same read.
 *
 * Context: may sleep, holding no lock that a reclaim callback takes.  Cost: constant if it is there;
 * else a page, a header and the disk's time.  Returns 0 with *block set; -ENOMEM, by flag; -EIO if
 * the disk failed, and then the block isn't in the cache; or -EINVAL if the disk has no such block.
 * Panics on other flags, and where it may not sleep.
 */
int block_get(struct block_cache *cache, uint64_t number, unsigned flags, struct block **block);

/* Notes that the data of a block the caller has was changed: it will be written to the disk.  To be
 * called after the change.  Context: any but an NMI; no spinlock held.  Cost: constant.  Panics if no
 * caller has it. */
void block_dirty(struct block *block);

/* Gives it back.  Context: any but an NMI; no spinlock held.  Cost: constant.  Panics if no caller
 * has it. */
void block_put(struct block *block);

/* Returns when every block that was dirty at the call is on the disk, and would survive a loss of
 * power.  Context: may sleep.  Returns 0; or -EIO if a write has failed since the last call: what
 * such a block held is lost, and the next block_get() reads what the disk has. */
int block_cache_sync(struct block_cache *cache);

/* Syncs every cache, for a machine that is about to stop: none may be destroyed any more.  A disk that has
 * failed, or of which no request ends for BLOCK_CACHE_PATIENCE_NS, gets one plain line on the console, and
 * the others are still synced.  Context: may sleep.  Allocates nothing.  Returns whether all were synced. */
bool block_cache_sync_all(void);
#define BLOCK_CACHE_PATIENCE_NS 10000000000ull

/* Gives up blocks that no caller has, the least recently used first, until `bytes` are free or none
 * is left, and has those that are dirty given up as soon as they are written.  What a cache does by
 * itself when memory is wanted back (kmem_cache_set_reclaim, of its headers).  Context: any but an
 * NMI; no spinlock held.  Never sleeps, and allocates nothing.  Cost: linear in the blocks.  Returns
 * how many bytes were freed. */
size_t block_cache_give_up(struct block_cache *cache, size_t bytes);

/* Inspect */

/* The cache that was made after `cache`; of NULL, the first.  NULL: none.  It must not be destroyed
 * meanwhile.  Context: may sleep. */
struct block_cache *block_cache_next(struct block_cache *cache);

struct disk *block_cache_disk(struct block_cache *cache);

struct block_cache_stats {
	const char *disk;
	uint64_t blocks;       /* in the cache */
	uint64_t in_use;       /* of them, those that callers have */
	uint64_t dirty;	       /* of them, those that the disk doesn't have, being written included */
	uint64_t hits, misses; /* calls of block_get() */
	uint64_t written;      /* blocks written back */
	uint64_t given_up;     /* blocks given up because memory was wanted back */
	uint64_t read_errors, write_errors;
};
/* Fills *stats.  Context: any but an NMI.  Cost: constant. */
void block_cache_get_stats(struct block_cache *cache, struct block_cache_stats *stats);

/* Checks that lists, hash and counts agree.  Returns 0, or the number of the first invariant of
 * block_cache.c that fails.  Context: may sleep; others may use the cache meanwhile.  Cost: linear in
 * blocks, a few of them under one hold of the cache's lock, and it lets others run; when something
 * has changed it begins anew, eight times at most, and leaves lists and counts unchecked then. */
int block_cache_check(struct block_cache *cache);

/* Destroy */

/* Writes back what is dirty and ends the cache.  Context: may sleep; for 0, no other caller may use
 * it any more.  Returns 0, also if blocks couldn't be written, which are lost: a
 * block_cache_sync() before it says so.  Or -EBUSY, and the cache goes on as it was, if callers have
 * blocks. */
int block_cache_destroy(struct block_cache *cache);

/* Boot */

/* Makes a cache for each disk there is.  To be called once, after disk_init().  Context: a
 * thread. */
void block_cache_init(void);

#endif
