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
 * Pages come from kpages_arena, objects of named caches from caches of the replay's own, those of
 * kmalloc from kmalloc, and address ranges from an arena of its own over vaddr_arena.  An object in
 * memory is stamped when it is allocated, in its first and last bytes and at the start of each page,
 * and the stamp is checked when it is freed: it shows two objects that overlap, and memory that came
 * back too early.
 *
 * A replay belongs to one thread at a time; replay_stop() and replay_progress() may be called by any
 * other meanwhile.  Several replays run at once, of one stream too.  Context: a ktask, interrupts
 * on; may sleep.
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
	uint64_t operations; /* allocations asked for, and frees */
	uint64_t rounds;     /* whole runs of the stream */
	uint64_t refused;    /* allocations that were NULL: never with MEM_WAIT */
	uint64_t errors;     /* objects whose stamp was wrong when they were freed */
};

struct replay {
	struct stream stream;
	struct stream_peak peak;       /* of what is live */
	struct stream_cursor cursor;   /* of this round */
	uint32_t ended;		       /* behind the last record: objects that were looked at */
	uint32_t object_count;
	struct stream_object *objects; /* what each object is */
	void **at;		       /* where it is: NULL while it isn't live */
	struct kmem_cache **caches;    /* one for each of the stream's table */
	struct arena *ranges;	       /* NULL: the stream has none */
	uint64_t salt;		       /* of this round's stamps */
	uint32_t wrong_id;	       /* the last object whose stamp was wrong */
	struct replay_progress progress; /* each atomic */
	bool stop;		       /* atomic */
	char wrong[96];		       /* why it was refused */
};

/* Opens stream `number`, from 0 on, of bytes[0 .. size), which stay as they are until
 * replay_close(); checks all of it; and makes what it needs: caches, an arena, and tables of 16
 * bytes for each object.  Cost: linear in records.  Returns NULL; or one plain line, with nothing
 * left behind: what is wrong with the stream, or which memory or addresses it needs more of than
 * there are. */
const char *replay_open(struct replay *r, const void *bytes, size_t size, unsigned number);

/* Replays one record.  `flags`, one of the memory flags (arena.h), is what it asks with; what is NULL
 * is counted, and its free left out.  Behind the last record of the stream, what is live is freed, an
 * object a step; then the next round begins.  Cost: that of the allocation or free, and of the stamp:
 * linear in the object's pages. */
void replay_step(struct replay *r, unsigned flags);

/* Replays the stream `rounds` times (0: for ever), or until replay_stop(), by replay_step(); yields
 * every few dozen records.  With MEM_WAIT it sleeps through shortage, and can't be stopped
 * meanwhile. */
void replay_run(struct replay *r, uint64_t rounds, unsigned flags);

/* Has replay_run() end soon; later ones end at once.  Context: any. */
void replay_stop(struct replay *r);

/* What it has done so far; the numbers may be of different moments.  Context: any. */
struct replay_progress replay_progress(const struct replay *r);

/* Frees what is live, and what replay_open() made.  The replay doesn't run any more, but
 * replay_progress() still answers.  Cost: linear in objects and caches.  Where a walk over all caches
 * stands on one of them, it waits until the walk has left. */
void replay_close(struct replay *r);

#endif
