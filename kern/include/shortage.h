/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shortage: how a request that can't be served sleeps.
 *
 *	static bool try_both(struct shortage *s)
 *	{
 *		struct both *b = (struct both *)s;
 *
 *		b->ring = arena_alloc(dma32_arena, RING_SIZE, MEM_ATOMIC);
 *		b->page = b->ring ? arena_alloc(kpages_arena, PAGE, MEM_ATOMIC) : NULL;
 *		if (b->ring && !b->page)
 *			arena_free(dma32_arena, b->ring, RING_SIZE);
 *		return b->page != NULL;
 *	}
 *
 *	struct shortage_part parts[] = {{dma32_arena, RING_SIZE, RING_SIZE}, {kpages_arena, PAGE, PAGE}};
 *	struct both b = {.record = {.try = try_both, .parts = parts, .part_count = 2, .flags = MEM_WAIT}};
 *
 *	if (!try_both(&b.record))
 *		shortage_wait(&b.record);
 *
 * arena_alloc() and its kin do this by themselves.  A module that needs several things at once does
 * it as above: one record that takes all of them or none, and holds nothing while it sleeps.  The
 * record lies on the sleeper's stack, in the one queue of all sleepers.  A ktask, the server, tries
 * for the records, the oldest first, whenever something that they depend on was freed
 * (kern/src/arena/wait.c has the theory).  Any thread may sleep at any time.
 */
#ifndef SPANDREL_SHORTAGE_H
#define SPANDREL_SHORTAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "port.h"

struct shortage;
struct shortage_mark; /* of a cache; the slab layer's */

/* Takes all that the record wants, atomically and without sleeping, or nothing; returns which.  It is
 * called by the server: it may run no constructor, destructor or callback, nor take a sleeping
 * lock (what may sleep panics in it, and names the arena), and it compares what it wants with what is
 * free before it takes much. */
typedef bool (*shortage_try_fn)(struct shortage *s);

/* One thing that a request depends on: `amount` units of an arena, of which `piece` are needed in one
 * piece.  The arena's sources, to the root, are depended on as well.  Of sizes that don't add up
 * the record with the largest piece names it. */
struct shortage_part {
	struct arena *arena;
	size_t piece, amount;
	struct shortage_mark *cache; /* NULL: no cache's object */
};

enum shortage_state {
	SHORTAGE_WAITING,
	SHORTAGE_TRYING,   /* the server is in `try` */
	SHORTAGE_ANSWERED, /* it has left the queue: served says how */
};

/* A record.  The caller fills in the first part and clears the rest. */
struct shortage {
	shortage_try_fn try;
	struct shortage_part *parts; /* part_count of them, alive as long as the record */
	unsigned part_count;
	unsigned flags;	   /* MEM_WAIT or MEM_ERROR */
	uint64_t deadline; /* a moment of port_ns(); 0 and PORT_FOREVER: none */
	void *caller;	   /* for reports */
	/* NULL, or the arena the try missed a boundary tag in, or base_arena, if it missed memory for what
	 * describes a slab: set by `try`, the record then depends on the pages of that arena's base as
	 * well. */
	struct arena *lacks_tags;
	bool is_plain; /* any segment of that size serves: larger requests of the arena fail if this did */

	/* The rest is kern/src/arena/wait.c's. */
	struct shortage *next, *prev;
	port_thread_t *thread;
	enum shortage_state state;
	bool served;
	bool is_counted;   /* in what its roots want */
	bool is_late;	   /* its deadline came while the server was at it */
	bool is_parked;
	bool has_tag_part; /* tag_part is one of its parts */
	struct shortage_part tag_part;
	uint64_t since;	     /* port_ns() when it entered */
	uint64_t hard_begun; /* the last cycle of reclaim that had begun then */
	uint64_t retry;	     /* parked: when it is taken for short again */
	size_t passes_seen;  /* serves of its root, at its last try */
	size_t passed;
};

/*
 * Sleeps until the server has tried for the record with success; with MEM_ERROR, until a hardest pass
 * of reclaim that began after the call, and a try after that, have failed; or until the deadline.
 * The first try is the server's.  Returns whether it was served.
 *
 * Context: a thread, interrupts on, no lock held that a callback takes; not in a callback or a ktask of
 * reclaim.  Elsewhere it isn't served by MEM_ERROR, which returns at once, and MEM_WAIT is a panic; a
 * kernel without threads has what the arenas hold idle given back, and tries once more, first.  By
 * MEM_ERROR without a deadline it tries once and returns, too, if more is asked for than there is, or if
 * nothing could be given back.  Cost: a switch to another thread and back, and two calls of `try` at
 * least.  Panics unless the record has one of the three flags.
 */
bool shortage_wait(struct shortage *s);

/* Whether a record that isn't parked depends on the arena: then what is freed in it, or laid by for
 * it elsewhere, belongs back in it at once.  Context: any.  Cost: constant. */
bool shortage_is_short(const struct arena *arena);

/* To be called, without a lock, when something was freed that a record may depend on and that no
 * arena or cache sees.  Legal wherever rendez_wakeup() is; a few instructions if no record waits. */
void shortage_poke(void);

/* Units that the arena and its sources, to the root, have free, those idle in their fronts included:
 * more than that no try can get.  Context: any but an NMI; linear in sources and their fronts'
 * caches. */
size_t shortage_chain_free(struct arena *arena);

/* Inspect */

/* One record, copied. */
struct shortage_row {
	char arena[ARENA_NAME_MAX]; /* of its first part */
	bool in_bytes;		    /* amounts are, as in arena_stats */
	size_t piece, amount;
	unsigned flags, parts;
	bool is_parked;
	uint64_t since, deadline; /* port_ns(); deadline 0: none */
	size_t passed;		  /* later ones that were served before it */
	void *caller;
};

/* Fills rows[0 .. max) with the records in the order of their arrival and returns how many there are.
 * Context: may sleep.  Cost: linear in records; none comes or leaves meanwhile. */
size_t shortage_rows(struct shortage_row *rows, size_t max);

/* Checks that what is short, and what roots count as wanted, are the sums over the records, and that as many have
 * no answer as are counted.  Returns 0, or the number of the invariant of kern/src/arena/wait.c, 1 or 2, having
 * said on `sink` (may be NULL) where.  Context: may sleep.  Cost: records times arenas. */
int shortage_check(struct sink *sink);

#endif
