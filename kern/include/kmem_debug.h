/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Debug modes: a wrong free is caught, a wrong write is found, and a report has the
 * object's last allocation and free.
 *
 *	kmem_debug=check		every free is looked up at once
 *	kmem_debug=full			and what is beside and in freed objects is verified, in all caches
 *	kmem_debug=full:inodes,files	in these caches alone; nothing else changes
 *
 * They work by keeping every core's magazines of a cache closed, so that each call comes to the slab layer;
 * while they are off they cost nothing.  A cache may also be made with KMC_CHECK or KMC_FULL (slab.h).
 *
 * `check`: arenas have no quantum caches, so each free meets the arena's own boundary tag: address, size and
 * kind; each free of a cache meets its slab: owner, start of the object, whether it is used.  And a used
 * segment has the backtrace and the time of its allocation (arena_walk()).
 *
 * `full`, of memory of the direct map that may be written: an object has a zone before and behind it, down to
 * the byte that was asked for, which is verified when it is freed; a freed object is filled with a pattern,
 * which is verified when it is handed out again, by kmem_cache_check(), and by the reclaim ktask when it is
 * idle; it isn't handed out again before others were freed (quarantine); and of each object the last
 * allocation and the last free are known: backtrace, core, ktask and time.  Of other objects the last alone
 * holds.  A constructor runs for each allocation.  Behind a large kmalloc lies such a zone, too, before it none;
 * for that it may take a page more, and names of caches may have "kmalloc-large" among them.
 */
#ifndef SPANDREL_KMEM_DEBUG_H
#define SPANDREL_KMEM_DEBUG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sink.h"
#include "stacks.h"

struct kmem_cache;

/* Chooses the mode, by the words above; "" and "off": none.  Returns NULL, or what is wrong with them, and
 * nothing is changed; also after kmem_cache_init().  Context: boot. */
const char *kmem_debug_set(const char *value);

/* The mode, as on the command line: "off", "check", "full", or "full:" and names.  Context: any. */
const char *kmem_debug_mode(void);

/* Whether every free is looked up at once: the mode is check, or full for all caches.  Context: any. */
bool kmem_debug_checks(void);

/* What is on, and what it has done. */
struct kmem_debug_stats {
	uint64_t closed;     /* caches with their magazines closed for it */
	uint64_t full;	     /* caches in mode full */
	uint64_t looked_up;  /* frees that were looked up in caches in mode full */
	uint64_t verified;   /* freed objects whose pattern was found whole */
	uint64_t tracked;    /* objects of which something is known, traced ones too */
	uint64_t untracked;  /* allocations that found no memory to note them */
	uint64_t quarantined; /* objects */
	uint64_t stacks;     /* backtraces that are kept */
	uint64_t bytes;	     /* of base_arena for all of it, but for zones */
};

/* Fills *stats.  Context: may sleep.  Cost: linear in caches. */
void kmem_debug_get_stats(struct kmem_debug_stats *stats);

/* One end of an object's life. */
struct kmem_event {
	const struct stack *stack; /* NULL: not known */
	uint64_t ns;	/* port_ns() then; 0: it has not happened, or isn't known */
	uint64_t ktask; /* its number; 0: there was none */
	unsigned core;
};

/* What is known of an object. */
struct kmem_history {
	uintptr_t object;
	size_t size; /* that was asked for */
	bool is_free;
	struct kmem_event alloc, free; /* the last ones */
};

/* Fills *history with what is known of the object that addr lies in, or, beside objects, of the one before
 * it; false: nothing is.  Context: any but an NMI.  Cost: constant. */
bool kmem_cache_history(struct kmem_cache *cache, uintptr_t addr, struct kmem_history *history);

/* Prints a history, the object's two ends with their backtraces, in rows of at most 80 columns. */
void kmem_history_print(struct sink *sink, const struct kmem_history *history);

/* Verifies some slabs of each cache in mode full, others at each call, and panics on what it finds.  Whether
 * there is any such cache.  Context: may sleep.  Cost: linear in caches, and in their slabs' bytes; a lock is held for one
 * object, or 512 bytes of small ones, at a time. */
bool kmem_debug_walk(void);

/* Tracing */

/* From now on each allocation of the cache is noted, with its backtrace, until it is freed.  Its magazines
 * are closed meanwhile.  Returns 0, or -ENOMEM.  Nothing if it is traced already, or in mode full.
 * Context: may sleep. */
int kmem_trace_start(struct kmem_cache *cache);

/* Ends it, and forgets what was noted.  Context: may sleep. */
void kmem_trace_stop(struct kmem_cache *cache);

/* Forgets what was noted, and goes on.  Context: may sleep. */
void kmem_trace_reset(struct kmem_cache *cache);

/* Adds what is known of the cache's live objects to the tally of backtraces that was begun (stacks.h): one
 * each, with the bytes asked for and the time of allocation.  Returns how many live objects nothing is known
 * of.  Context: any but an NMI.  Cost: linear in objects. */
size_t kmem_trace_tally(struct kmem_cache *cache);

/* Prints live objects by backtrace, the most bytes first: how many, bytes, the age of the oldest, and the
 * frames; at most `rows` backtraces.  Context: may sleep. */
void kmem_trace_print(struct kmem_cache *cache, size_t rows, struct sink *sink);

#endif
