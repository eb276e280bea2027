/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What block_cache.c and block_writer.c share.
 */
#ifndef SPANDREL_DEV_BLOCK_CACHE_IMPL_H
#define SPANDREL_DEV_BLOCK_CACHE_IMPL_H

#include "block_cache.h"
#include "lib/linear_hash.h"
#include "lib/list.h"
#include "slab.h"
#include "spinlock.h"
#include "sync.h"

/* Writes that are under way at once: enough to keep a disk busy, and few enough that the memory
 * reserved for them is two pages. */
#define WRITES_MAX 32

struct cached {
	struct block block; /* first: block_cache.h hands out pointers to it */
	struct block_cache *cache;
	struct rendez ready; /* wakes the callers that wait for the read */
	/* Guarded by the cache's lock. */
	struct hash_link link; /* its key is the block's number */
	struct list place;     /* in idle, dirty or writing, or in none */
	size_t users;	       /* callers that have it */
	uint64_t order;	       /* in dirty and writing: c->orders when it entered dirty */
	bool is_hashed;	       /* block_get() may find it */
	bool is_dirty;	       /* it was changed since the last write of it began */
	bool is_writing;
	/* Written under the lock too, read without it by the callers that wait. */
	bool is_reading;
	int error; /* of the read; fixed once is_reading is false */
};

struct write;

struct block_cache {
	/* Fixed once it is made. */
	struct disk *disk;
	struct kmem_cache *headers; /* struct cached */
	struct kmem_cache *writes;  /* the writer's requests, reserved */
	struct block_cache *next;   /* guarded by the list's lock */

	struct rendez work;	/* wakes the writer */
	struct rendez written;	/* wakes block_cache_sync() */
	struct semaphore slots; /* writes that may still begin, of WRITES_MAX */
	struct semaphore ended; /* 1 once the writer has ended */

	/* Of block_cache_sync_all(), which may leave it to a disk that doesn't answer. */
	struct disk_request last_flush;
	bool is_flushed; /* that has ended; atomic */

	struct spinlock lock; /* guards the rest, and nothing is called under it */
	struct linear_hash hash;
	struct list idle; /* the least recently used first */
	struct list dirty, writing; /* both in ascending order */
	struct write *ended_writes; /* that the writer has yet to settle, in the order in which they ended */
	struct write **ended_last;  /* the place of the pointer behind the last of them */
	uint64_t changes; /* of hash, lists and counts: a check sees whether there were any */
	uint64_t orders;  /* blocks that have entered dirty */
	size_t owed;	  /* blocks to give up as soon as they are clean */
	size_t in_use, dirty_count;
	uint64_t hits, misses, written_count, given_up, read_errors, write_errors;
	bool has_lost; /* a write has failed since the last block_cache_sync() */
	bool is_freeing; /* the writer frees a block that was lost */
	bool ends;
};

/* Frees a block that is in no list, not hashed, and that no caller has.  Context: any but an NMI,
 * no lock held. */
void block_free(struct cached *b);

/* Takes a block out of the hash.  Lock held. */
void block_unhash(struct cached *b);

/* Enters a block into `dirty`, behind all others.  Lock held. */
void block_enter_dirty(struct cached *b);

/* Puts a block where it belongs, once it may have become idle: into `idle`, or out of the cache.
 * Returns whether the caller must free it.  Lock held. */
bool block_settle(struct cached *b);

/* Starts the writer; returns false if there is no memory for it.  block_writer_stop() ends it when
 * nothing is dirty; when it returns, no write is under way and the writer has left the cache. */
bool block_writer_start(struct block_cache *c);
void block_writer_stop(struct block_cache *c);

#endif
