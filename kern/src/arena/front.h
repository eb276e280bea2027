/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the slab layer needs of arenas beside arena.h: their fronts, segments past a front, waiting
 * in an arena's queue, and what an arena is.  No other folder includes it.
 */
#ifndef SPANDREL_ARENA_FRONT_H
#define SPANDREL_ARENA_FRONT_H

#include "arena.h"
#include "lib/list.h"
#include "port.h"
#include "sync.h"

/* Fronts */

/*
 * What a front has of one size on one core: arena_alloc() and arena_free() pop and push there
 * themselves.  The core's next size lies elsewhere, the size's next core ARENA_ROUNDS_STRIDE
 * behind; what lies between is the front's.
 */
struct arena_rounds {
	struct port_stack stack; /* closed while there is none, or while the front changes it */
	uint64_t allocs, frees;	 /* tried */
};
#define ARENA_ROUNDS_STRIDE (2 * PORT_LINE_SIZE)

/*
 * A front: caches for the small sizes of an arena, installed by the layer above, which alone knows
 * what they are.  `size` is above 0 and at most the arena's qcache_max, not rounded up to quanta;
 * its class is (size - 1) / quantum.  No lock is held around these.
 */
struct arena_front {
	/* Core 0's of each class. */
	struct arena_rounds *const *rounds;
	/* When this core has no round of it.  Never sleeps; NULL: nothing is cached and none could
	 * be had, the arena looks itself. */
	void *(*alloc)(struct arena_front *f, size_t class);
	/* When this core has no room for it.  Takes back what alloc, or the arena itself, handed
	 * out.  `caller` is for reports, one of which is that this is an NMI. */
	void (*free)(struct arena_front *f, void *addr, size_t class, void *caller);
	/* Gives back to the arena what is idle in it, with `all` what cores hold too (not in an
	 * interrupt then, interrupts on).  Returns the units that went back. */
	size_t (*drain)(struct arena_front *f, bool all);
	/* While slow, everything passes magazines by: what is freed on any core reaches the arena
	 * at once.  In a thread, interrupts on. */
	void (*set_slow)(struct arena_front *f, bool slow);
	/* Whether what it holds idle may serve `size`.  The arena's lock is held. */
	bool (*may_serve)(const struct arena_front *f, size_t size);
	/* Units of the arena's that it holds now, and how many of them it has handed out. */
	void (*usage)(struct arena_front *f, size_t *held, size_t *live);
	/* Ends it: 0, or -EBUSY with all as it was if something it handed out is still out. */
	int (*destroy)(struct arena_front *f);
	size_t caches; /* how many of the arena's caches (its list of slabs) are the front's own */
};

/* Has `create` make fronts from now on, for arenas with a qcache_max: for those that stand at once.
 * It returns NULL if there is no memory, or if qcache_max times the quantum isn't below 2^64 (which
 * finding a class needs); the arena goes without one then.  Context: boot, once. */
void arena_front_install(struct arena_front *(*create)(struct arena *a));

/* Segments past the front: what the front's slabs are made of.  As arena_alloc() and arena_free()
 * in all else, but asked for with MEM_ATOMIC, and one that isn't had is no failure. */
void *arena_segment_alloc(struct arena *a, size_t size);
void arena_segment_free(struct arena *a, void *addr, size_t size, void *caller);

/* What an arena is */

const char *arena_name(const struct arena *a);
size_t arena_quantum(const struct arena *a);
size_t arena_qcache_max(const struct arena *a);
bool arena_is_memory(const struct arena *a);
/* The nearest base arena, itself if it is one. */
struct arena *arena_base(const struct arena *a);
/* The same, if what the arena hands out are direct-map addresses in whole pages of their own: it is
 * a base arena, or nothing lies between it and one but arena_alloc(); else NULL. */
struct arena *arena_direct_base(const struct arena *a);
/* The caches that draw slabs from it; what links them is their layer's.  Under the lock below. */
struct list *arena_slabs(const struct arena *a);

/* The import tree and the list of all arenas, and everything in them that links them.  It sleeps,
 * so it comes before every spinlock; MEM_WAIT is illegal under it. */
extern struct qlock arenas_and_slabs_lock;

/* The arena behind `a` in the order that shows each behind its source, NULL at the end; the first
 * one for NULL.  Lock held. */
struct arena *arena_tree_next(const struct arena *a);

/* Requests */

/* Why the flags aren't sound in this context, or NULL; panics if they aren't. */
const char *arena_flags_wrong(unsigned flags);
void arena_check_flags(const struct arena *a, unsigned flags, void *caller);

/* Builds the indexes that atomic requests missed in a and its sources; returns whether there was
 * one.  Context: a thread that may sleep. */
bool arena_indexes_build(struct arena *a);

/* Waiting */

/*
 * Waiters in an arena's queue that may be served without the arena, too: those for an object of a
 * cache, by one that is freed, or those for a reserve of it, by a slab.  What serves them is marked
 * slow while there are any.
 */
struct arena_clients {
	void (*set_slow)(struct arena_clients *c, bool slow);
	void (*drain)(struct arena_clients *c); /* what magazines hold goes back; no lock is held */
	size_t (*objects)(const struct arena_clients *c); /* that are free */
	bool is_shared; /* what comes for one may be enough for all */
	/* Guarded by the arena's lock. */
	struct list asleep; /* those that sleep, by client_link: the first is next */
	size_t count;	    /* of all; also read without the lock */
	size_t looking;	    /* of those that are awake and haven't begun to try */
};

/*
 * Sleeps in the arena's queue until try(arg) succeeds when it is this caller's turn, or until
 * `deadline` (a moment of port_ns(), or PORT_FOREVER).  `size`: units it needs in one piece at
 * least, from the arena or its source.  `clients`: NULL, or those it is one of.  Returns what try
 * did last.  Context: a thread, interrupts on, no lock held.
 */
bool arena_wait(struct arena *a, size_t size, bool (*try)(void *arg), void *arg, uint64_t deadline,
	struct arena_clients *clients);

/* Something was freed that may serve one of the clients.  Context: any but an NMI; no lock held. */
void arena_clients_wake(struct arena *a, struct arena_clients *clients);

/* Whether requests sleep in the arena's queue or above it. */
bool arena_is_slow(const struct arena *a);

/* To be called, without a lock, when something was freed in a slow arena, or in its front.
 * Context: any but an NMI. */
void arena_freed(struct arena *a);

#endif
