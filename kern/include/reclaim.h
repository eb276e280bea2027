/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim: two ktasks, which are threads of the kernel's.  One walks the import tree and has arenas and
 * caches give back what they don't need; the other, the server, tries for the requests that sleep.
 *
 *	reclaim_poke();         from anywhere: look whether something is short
 *	reclaim_run(3);         give back everything idle, now
 *
 * A pass walks the tree of one root, children before their source, and asks each node by level:
 *   1  caches' owners (kmem_cache_set_reclaim), magazines that a depot didn't need lately, indexes that
 *      searches don't use
 *   2  all of the depot, empty slabs, retained spans, idle boundary tags and their pages, empty pages
 *      of hashes, arenas' owners (arena_set_reclaim)
 *   3  magazines of every core, each at a safe point of that core; what is free in quantum caches' slabs,
 *      and in imported spans, that are partly used; and in the trees of other roots what lies in memory
 *      of this one
 * It ends when it has given back what the requests that sleep, and the low watermark, want.
 * kern/src/reclaim.c opens with the theory.
 */
#ifndef SPANDREL_RECLAIM_H
#define SPANDREL_RECLAIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

#define RECLAIM_LEVELS 3

/* Run */

/* The two ktasks, to be started once each; neither returns, and `arg` is of no use.  The server should
 * run before ordinary threads.  Until both run, the kernel counts as one without threads: shortage
 * under MEM_WAIT is a panic.  8 KiB of stack are enough for each, beside what interrupts take on it.  Both panic
 * in a port without threads. */
void reclaim_main(void *arg);
void serve_main(void *arg);

/* Whether both run.  Context: any. */
bool reclaim_is_running(void);

/* Has the reclaim ktask look whether a request sleeps or a base arena is below its low watermark.
 * Context: any, NMIs included.  Cost: a few instructions if it has been poked already, else a
 * wake-up; in an NMI it interrupts its own core, and the wake-up follows there. */
void reclaim_poke(void);

/* What the port calls in the interrupt that reclaim_poke() raised from an NMI (port_core_poke). */
void reclaim_poked(void);

/* Has every tree give back what it can by `level`, 1 to 3, without a target, as often as that gives
 * anything, then has the server try for all records.  Returns the units that came free at the roots:
 * bytes for memory.  Context: may sleep (arena.h); not in a ktask of reclaim.  Cost:
 * linear in what there is.  Panics on another level. */
size_t reclaim_run(unsigned level);

/* Notes that memory is on its way: I/O of a writer that frees some when it ends.  While that goes on
 * memory isn't out.  Context: any. */
void reclaim_progress(void);

/* Inspect */

struct reclaim_stats {
	uint64_t pokes;	       /* that woke the ktask */
	uint64_t passes[RECLAIM_LEVELS + 1]; /* by level; [0] is unused */
	uint64_t given[RECLAIM_LEVELS + 1];  /* units that roots had more after them */
	unsigned level;	       /* of the pass under way; 0: none */
	uint64_t outs;	       /* reports that memory is out */
	uint64_t rounds, tries; /* of the server */
	uint64_t sleeps;       /* records that ever slept */
	uint64_t served;       /* of them, served */
	uint64_t refused;      /* of them, NULL after a pass */
	uint64_t wakeups;      /* of sleepers by the server */
	uint64_t longest_ns;   /* that a record which was served has slept */
	size_t waiting, parked; /* records now */
};
/* Fills *stats.  Context: any but an NMI.  Cost: constant. */
void reclaim_get_stats(struct reclaim_stats *stats);

/* A root of the tree. */
struct reclaim_root {
	char name[ARENA_NAME_MAX];
	bool in_bytes; /* amounts are, as in arena_stats */
	uint64_t free, total;
	uint64_t low, high; /* watermarks; 0: none, as for all but base arenas */
	uint64_t wanted;    /* by records that aren't parked */
	size_t waiting, parked; /* records that depend on it; of them parked */
	uint64_t pause_ns;  /* until the next pass after one that gave little */
};
/* Fills rows[0 .. max) with every root and returns how many there are.  Context: may sleep. */
size_t reclaim_roots(struct reclaim_root *rows, size_t max);

/* An arena or a cache, and what it gave. */
struct reclaim_node {
	char name[32];
	unsigned depth;	    /* as arena_stats has it; a cache's is its source's plus one */
	bool is_cache, in_bytes;
	bool has_owner;	    /* it has a callback */
	uint64_t last_given, last_instr; /* in the last pass that it gave something in: units, and port_ticks() they took */
	unsigned last_level;
	uint64_t given, asked;	   /* since boot: units, and times it was asked */
	uint64_t slow;		   /* times its callback took too long */
	bool is_skipped;	   /* it is left out for a while because it was slow */
};
/* Fills rows[0 .. max) with every arena and cache, each after its source, and returns how many there
 * are.  Pages of tags, indexes and hashes that came free count for the base arena they are from.  Context:
 * may sleep. */
size_t reclaim_nodes(struct reclaim_node *rows, size_t max);

/* The same without memory for rows: fn sees every node, each after its source.  Context:
 * arenas_and_slabs_lock is held, so none comes or goes meanwhile, and fn may not sleep. */
void reclaim_peek_nodes(void (*fn)(const struct reclaim_node *row, void *arg), void *arg);

#endif
