/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The queue of requests that sleep, for the server and the reclaim ktask, and arenas as nodes of a
 * walk.  kern/src/reclaim* alone includes it beside arena/; wait.c has the theory.
 */
#ifndef SPANDREL_ARENA_QUEUE_H
#define SPANDREL_ARENA_QUEUE_H

#include "front.h"

/* The arena that `a` imports from, NULL for a root; and the root. */
struct arena *arena_source(const struct arena *a);
struct arena *arena_root(struct arena *a);
/* Whether as many units may ever be had: the root has them in all, free or not, or makes its own. */
bool arena_may_ever_have(struct arena *a, size_t units);
/* Whether a span of its root has a place, be it free or not, for `size` units in one piece at a multiple of
 * `align`, a power of two.  Context: any but an NMI.  Cost: a logarithmic step for each span. */
bool arena_may_ever_place(struct arena *a, size_t size, size_t align);
/* Whether `a`, or one that it imports from, has too few boundary tags in hand for a request; the base that
 * tags are made of then has no memory for more. */
bool arena_chain_lacks_tags(struct arena *a);

/* What the records want of a root, and what its passes came to.  Guarded by shortage_marks_lock but
 * for what says else. */
struct arena_account {
	unsigned parked; /* parts of records */
	/* Guarded by the queue's lock: of records that are neither parked nor answered. */
	size_t wanted; /* units */
	unsigned short_records; /* parts; also read without it */
	uint64_t error_came; /* the cycle in which the last record came that waits for a pass to be refused */
	uint64_t serves;   /* of its records by the server, and of requests that passed them; atomic */
	/* Guarded by the queue's lock. */
	struct shortage *holder;     /* the record that holds up later ones, or NULL */
	uint64_t hold_until, hold_after; /* port_ns() */
	bool is_held;	   /* a holder holds up; atomic */
	uint64_t next_pass; /* port_ns() */
	/* The reclaim ktask's. */
	uint64_t pause_ns, frees_seen;
	uint64_t hard_done; /* the number of the last cycle that came to level 3 here */
	struct { uint64_t at, serves, progress; size_t free; bool is_reported; } out;
};
struct arena_account *arena_account(struct arena *a);
/* What a part of a record adds to its root's `wanted`. */
size_t shortage_counted(const struct shortage_part *p);

/* What is under the queue's lock there.  `changes` counts those of all accounts. */
struct shortage_wants {
	size_t amount;
	unsigned records;
	uint64_t error_came, changes;
};
struct shortage_wants shortage_wants_of(struct arena *root);

/* Records.  None comes or leaves, is parked or ceases to be, while this lock is held; it sleeps. */
extern struct qlock shortage_marks_lock;
/* The record behind s, the first for NULL; NULL at the end.  The lock above is held. */
struct shortage *shortage_after(struct shortage *s) SPANDREL_REQUIRES(&shortage_marks_lock);
/* Counts a record as waiting no longer for what is freed, until s->retry; and again as one that is.
 * The lock is held. */
void shortage_park(struct shortage *s) SPANDREL_REQUIRES(&shortage_marks_lock);
void shortage_unpark(struct shortage *s) SPANDREL_REQUIRES(&shortage_marks_lock);
/* Has the record depend on its lacks_tags, if the server found that.  The lock is held. */
void shortage_adopt_tags(struct shortage *s) SPANDREL_REQUIRES(&shortage_marks_lock);
/* Ends the shortness of arenas and caches that no record has needed for SHORTAGE_LINGER_NS; returns
 * when to call it again, PORT_FOREVER: when a record has left.  Takes the lock. */
#define SHORTAGE_LINGER_NS 10000000
uint64_t shortage_expire(void);

#define SHORTAGE_HOLD_NS 30000000ull

/* The last cycle of the reclaim ktask that has begun, and the last that has ended with a hardest pass: the
 * ktask counts, the server compares. */
extern uint64_t shortage_hard_begun, shortage_hard_done;

/* The server's side */

/* shortage_poke(), from the reclaim ktask: whether or not a record waits. */
void shortage_poke_always(void);
/* Sleeps until shortage_poke() or the deadline; clears the poke. */
void shortage_await_poke(uint64_t deadline);
/* A round over all records, the oldest first.  Next says which record is to be tried, NULL at the end; it
 * is in state TRYING until it is settled.  `hard_done`: the last hardest pass that had ended before the
 * try. */
void shortage_round_begin(void);
struct shortage *shortage_round_next(void);
void shortage_round_settle(struct shortage *s, bool served, uint64_t hard_done);
/* Whether a record like this one has failed in this round, by its mark; and notes that it has. */
bool shortage_failed_before(const struct shortage *s);
void shortage_note_failure(const struct shortage *s);

/* Counts. */
struct shortage_counts {
	size_t waiting, parked;
	unsigned holders; /* roots with a record that holds up others, for SHORTAGE_HOLD_NS at most */
	uint64_t sleeps, served, refused, wakeups, longest_ns;
};
void shortage_get_counts(struct shortage_counts *c);

/* How many of the two ktasks run: until both do, no request sleeps. */
extern unsigned shortage_ktasks;
static inline bool shortage_is_served(void)
{
	return __atomic_load_n(&shortage_ktasks, __ATOMIC_ACQUIRE) == 2;
}
/* Set by reclaim: a record arrived, an atomic request missed its index, or a base arena is low; any
 * context but an NMI.  NULL before. */
extern void (*arena_poke)(struct arena *a);
/* Set by the slab layer: has all caches give back what is idle.  Context: may sleep.  Does nothing before. */
extern void (*arena_reap_caches)(void);

/* Arenas as nodes of a walk */

/* What a pass has asked of an arena or a cache, and what came of it: written by the pass alone, atomic. */
struct reclaim_account {
	uint64_t last_given, last_instr, given, asked, slow;
	uint64_t skip_until; /* port_ns() */
	uint64_t last_level;
	unsigned refs; /* guarded by arenas_and_slabs_lock: passes that stand on it; destroy waits for none */
};
struct reclaim_account *arena_reclaim_account(struct arena *a);

/* How many sources lie below it in the tree.  arenas_and_slabs_lock is held, or no source of it is destroyed
 * meanwhile. */
unsigned arena_tree_depth(const struct arena *a);
/* The next arena of a walk over the tree of `root`, importers before their source, the root last; the
 * first for NULL, NULL behind the root.  arenas_and_slabs_lock is held. */
struct arena *arena_walk_next(struct arena *root, struct arena *a) SPANDREL_REQUIRES(&arenas_and_slabs_lock);
/* The next root behind `a`, the first for NULL.  Lock held. */
struct arena *arena_root_next(struct arena *a) SPANDREL_REQUIRES(&arenas_and_slabs_lock);

/* Gives back what the arena itself holds idle, by level (reclaim.h), up to about `amount` units; its
 * owner first.  Returns the units that left it; *pages is how many pages of its base came free, of tags,
 * indexes and hashes.  No lock held. */
size_t arena_reclaim(struct arena *a, unsigned level, size_t amount, size_t *pages);
/* Its owner's callback, or NULL. */
size_t (*arena_owner(struct arena *a, void **priv))(void *priv, size_t units);

/* Below `low` free units of a base arena reclaim begins, and goes on up to `high`; 0, 0 for others. */
void arena_watermarks(const struct arena *a, size_t *low, size_t *high);

/* Calls an owner's callback: in it nothing may sleep, reap or run reclaim. */
size_t arena_call_owner(
	const char *name, size_t (*fn)(void *priv, size_t units), void *priv, size_t units);

/* Waits, with the lock dropped in between, until no pass stands on the node.  The lock is held. */
void reclaim_await_refs(const struct reclaim_account *r) SPANDREL_REQUIRES(&arenas_and_slabs_lock);

#endif
