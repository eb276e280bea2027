/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Replays a recorded stream (stream.h): does to this kernel's allocators what was done to another's.
 *
 *	struct replay *replay = kmalloc(sizeof(*replay), MEM_WAIT);
 *	const char *wrong = replay_open(replay, boot_info->initrd, boot_info->initrd_size, 0);
 *
 *	if (!wrong) {
 *		replay_run(replay, 1, MEM_WAIT);
 *		replay_close(replay);
 *	}
 *
 * Pages come from kpages_arena, objects of named caches from caches of the replay's own, the others
 * from kmalloc, and address ranges from an arena of its own over vaddr_arena.  An object in memory
 * is stamped when it is allocated, in its first and last word and at the start of each page, and the
 * stamp is checked when it is freed: it shows two objects that overlap, and memory that came back
 * too early.
 *
 * One thread opens, runs and closes a replay; replay_stop() and replay_progress() may be called by
 * any other meanwhile.  Several replays run at once, of one stream too.  Context: a ktask,
 * interrupts on; may sleep.
 */
#ifndef SPANDREL_WORK_REPLAY_H
#define SPANDREL_WORK_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream.h"

struct arena;
struct kmem_cache;

/* What a replay has done. */
struct replay_progress {
	uint64_t operations; /* records, and frees at the end of a round */
	uint64_t rounds;     /* whole runs of the stream */
	uint64_t refused;    /* allocations that were NULL: never with MEM_WAIT */
	uint64_t errors;     /* objects whose stamp was wrong when they were freed */
};

struct replay {
	struct stream stream;
	uint32_t object_count;
	struct stream_object *objects; /* what each object is */
	void **at;		       /* where it is: NULL while it isn't live */
	struct kmem_cache **caches;    /* one for each of the stream's table */
	struct arena *ranges;	       /* NULL: the stream has none */
	uint64_t salt;		       /* of this round's stamps */
	struct replay_progress progress; /* each atomic */
	bool stop;			 /* atomic */
	char wrong[96];
};

/* Opens stream `number`, from 0 on, of bytes[0 .. size), which stay as they are until
 * replay_close(); checks all of it; and makes what it needs: caches, an arena, and tables of 16
 * bytes for each object.  Cost: linear in records.  Returns NULL; or one plain line, with nothing
 * left behind: what is wrong with the stream, or which memory or addresses it needs more of than
 * there are. */
const char *replay_open(struct replay *r, const void *bytes, size_t size, unsigned number);

/* Replays the stream `rounds` times (0: for ever), or until replay_stop().  `flags`, one of the
 * memory flags (arena.h), is what it asks with; what is NULL is counted, and its free left out.
 * What is live at the end of a round is freed.  Yields every few dozen records.  With MEM_WAIT it
 * sleeps through shortage, and can't be stopped meanwhile. */
void replay_run(struct replay *r, uint64_t rounds, unsigned flags);

/* Has the replay end soon; for good.  Context: any. */
void replay_stop(struct replay *r);

/* What it has done so far; the numbers may be of different moments.  Context: any. */
struct replay_progress replay_progress(const struct replay *r);

/* Frees what replay_open() made.  The replay doesn't run any more. */
void replay_close(struct replay *r);

#endif
