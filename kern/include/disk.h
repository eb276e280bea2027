/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks: numbered blocks that are read and written by requests.
 *
 *	struct disk *d = disk_next(NULL);
 *	char *data = arena_alloc(kpages_arena, DISK_BLOCK_SIZE, MEM_WAIT);
 *	int error = disk_read(d, 7, 1, data);        block 7; sleeps until it is there
 *
 * A request is a struct of the caller's, anywhere; it allocates nothing, so a caller that has one
 * and the memory it is about can always go on.  Requests that a disk has no room for wait in the
 * order in which they came.  They may end in any order, and two that are under way at once and
 * touch the same block may do so in either order.
 *
 * Any core may use any disk at any time.  A disk or a request at NULL is a caller's bug: what uses, inspects
 * or adds one panics, and names itself and its caller.
 */
#ifndef SPANDREL_DISK_H
#define SPANDREL_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_BLOCK_SIZE 4096 /* bytes */
#define DISK_NAME_MAX 16     /* bytes, the end included */

struct disk;

/* Use */

enum disk_operation {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH, /* has all writes that have ended survive a loss of power; no blocks, no data */
};

struct disk_request {
	enum disk_operation operation;
	uint64_t block; /* the first */
	size_t count;	/* of blocks: 1 to blocks_max of the disk */
	void *data;	/* count * DISK_BLOCK_SIZE bytes, by their address in the direct map */
	/* Called once when the request has ended: `error` is 0 or -EIO.  From then on the request
	 * belongs to the caller again and may be freed or submitted anew, by done() itself, too.
	 * Context: interrupts off, no spinlock held; perhaps in an interrupt, perhaps before
	 * disk_submit() returns.  It may call what is legal in an interrupt; what may sleep
	 * panics, and names its caller. */
	void (*done)(struct disk_request *r);
	int error;
	struct disk_request *next; /* the disk's, until done() is called */
};

/* Begins a request.  It belongs to the disk until done() is called, which always happens: a disk
 * that fails or doesn't answer as it should is taken offline, and all its requests end with -EIO.
 * Context: any but an NMI; no spinlock held.  Cost: constant.  Panics if the blocks aren't all
 * blocks of the disk, or are none or too many, if the data isn't in the direct map, and on a request
 * without an operation or done(). */
void disk_submit(struct disk *d, struct disk_request *r);

/* Read and write blocks [first, first + count), any number of them; disk_flush() is DISK_FLUSH.
 * They sleep until that is done.  Context: may sleep.  Cost: the disk's.  Return 0 or -EIO: then
 * it isn't known which blocks were read or written.  Panic, before anything is read or written, if the
 * blocks aren't all blocks of the disk, or the data isn't in the direct map. */
int disk_read(struct disk *d, uint64_t first, size_t count, void *data);
int disk_write(struct disk *d, uint64_t first, size_t count, void *data);
int disk_flush(struct disk *d);

/* Inspect */

/* The disk that was added after `d`; of NULL, the first.  NULL: there is none. */
struct disk *disk_next(struct disk *d);

const char *disk_name(const struct disk *d);
uint64_t disk_blocks(const struct disk *d);

struct disk_stats {
	const char *name, *kind;
	const char *state; /* "online"; else "offline" */
	uint64_t blocks;
	uint64_t queues, vectors; /* how many the driver uses */
	uint64_t in_flight;	  /* requests that haven't ended */
	uint64_t reads, writes, flushes; /* requests that have ended without an error */
	uint64_t errors;	  /* and with one */
	uint64_t blocks_read, blocks_written;
};
/* Fills *stats.  Counts are read one by one while others go on.  Context: any. */
void disk_get_stats(const struct disk *d, struct disk_stats *stats);

/* Supply: what a driver does */

/* A driver's struct for a disk begins with this, or contains it. */
struct disk {
	/* Fixed once it is added; the driver fills them in. */
	const char *kind;    /* "virtio" */
	uint64_t blocks;
	size_t blocks_max;   /* in a request */
	unsigned queues, vectors;
	/* Begins a request, which is checked.  Context: as disk_submit().  It, or an interrupt later,
	 * calls disk_end() for it. */
	void (*submit)(struct disk *d, struct disk_request *r);

	/* disk.c's, and zero at first. */
	char name[DISK_NAME_MAX];
	struct disk *next;
	bool is_offline;
	uint64_t begun, ended, errors;
	uint64_t requests[3], blocks_done[3]; /* without an error, by operation */
};

/* Adds a disk behind those there are, and names it "disk" and the lowest number that is free.
 * disk_remove() takes it away: no request is under way, and no caller uses it any more.  Context:
 * may sleep.  Panic on a disk that is there already, or isn't, and on one without a kind, a submit()
 * or blocks in a request. */
void disk_add(struct disk *d);
void disk_remove(struct disk *d);

/* Ends a request with 0 or -EIO.  Context: as disk_submit(). */
void disk_end(struct disk *d, struct disk_request *r, int error);

/* Notes that every request will fail from now on, and prints why in one line, the first time.
 * Context: as disk_submit().  Returns whether it was the first time. */
bool disk_set_offline(struct disk *d, const char *why);

/* Boot */

/* Looks for disks and adds those it can use, one line for each, and one for each it can't.  To be
 * called once, when ktasks and all cores run.  Context: a thread. */
void disk_init(void);

#endif
