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
#include "shortage.h"
#include "sync.h"

/* Fronts */

/*
 * What a front has of one size on one core: arena_alloc() and arena_free() pop and push there
 * themselves.  The core's next size lies elsewhere, the size's next core ARENA_ROUNDS_STRIDE
 * behind; what lies between is the front's.
 */
struct arena_rounds {
	struct port_stack stack; /* closed while there is none, or while the front changes it */
	uint64_t allocs, frees;
};
#define ARENA_ROUNDS_STRIDE (PORT_LINE_SIZE < 64 ? 128 : 2 * PORT_LINE_SIZE)

/* One step of the running core's, of which `first` is core 0's: NULL, there is no round; false, there
 * is no room, or it is freed twice.  A step that fails is counted by the front, and a count may miss
 * some where threads change cores in between. */
static inline void *arena_rounds_pop(struct arena_rounds *first)
{
	struct port_stack *used;
	void *round = port_stack_pop(&first->stack, ARENA_ROUNDS_STRIDE, &used);

	if (round)
		port_count(&container_of(used, struct arena_rounds, stack)->allocs, 1);
	return round;
}

static inline bool arena_rounds_push(struct arena_rounds *first, void *round)
{
	struct port_stack *used;

	if (!port_stack_push(&first->stack, ARENA_ROUNDS_STRIDE, round, &used))
		return false;
	port_count(&container_of(used, struct arena_rounds, stack)->frees, 1);
	return true;
}

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
	/* Gives back to the arena what is idle in it, by a level of reclaim (reclaim.h): the hardest, what
	 * cores hold too (not in an interrupt then, interrupts on).  Returns the units that went back. */
	size_t (*drain)(struct arena_front *f, unsigned level);
	/* While slow, everything passes magazines by: what is freed on any core reaches the arena
	 * at once, and what they held has gone back.  In a thread, interrupts on. */
	void (*set_slow)(struct arena_front *f, bool slow);
	/* Units of the arena's that it holds now, and how many of them it has handed out. */
	void (*usage)(struct arena_front *f, size_t *held, size_t *live);
	/* Ends it: 0, or -EBUSY with all as it was if something it handed out is still out. */
	int (*destroy)(struct arena_front *f);
	size_t caches; /* how many of the arena's caches (its list of slabs) are the front's own */
};

#define ARENA_DRAIN_ALL 3 /* the hardest level */

/* Has `create` make fronts from now on, for arenas with a qcache_max: for those that stand at once.
 * It returns NULL if there is no memory, or if qcache_max times the quantum isn't below 2^64 (which
 * finding a class needs); the arena goes without one then.  Context: boot, once. */
void arena_front_install(struct arena_front *(*create)(struct arena *a));

/* Segments past the front: what the front's slabs are made of.  As arena_alloc() and arena_free()
 * in all else, but asked for with MEM_ATOMIC, and one that isn't had is no failure.  Starts at a
 * multiple of align, a power of two like the quantum then; 0: anywhere. */
void *arena_segment_alloc(struct arena *a, size_t size, size_t align);
void arena_segment_free(struct arena *a, void *addr, size_t size, void *caller);

/* Makes a used segment several, of which `at` has the starts, ascending, but for the first; false, and
 * it is as it was, without tags for that in hand.  A lock of the slab layer may be held.  To have them in
 * hand then, the other call comes first, with no lock held; false: there is no memory for them. */
bool arena_segment_cut(struct arena *a, uintptr_t addr, const uintptr_t *at, size_t count);
bool arena_segment_ready(struct arena *a, size_t pieces);

/* Used segment [addr, addr + size), of a size beyond the front's, ends `more` or `less` units later or
 * earlier, whole quanta, wherever they can be taken from, and given to, what is free behind it: in the arena,
 * or behind the span in the source.  False, and nothing changed: they can't; the front would take what
 * remains; or there is no memory for a tag.  No lock held; not in an NMI. */
bool arena_segment_grow(struct arena *a, uintptr_t addr, size_t size, size_t more);
bool arena_segment_trim(struct arena *a, uintptr_t addr, size_t size, size_t less);

/* Whether used segments have the backtraces of their allocations: from boot on, or never. */
extern bool arena_notes_users;

/* What an arena is */

const char *arena_name(const struct arena *a);
size_t arena_quantum(const struct arena *a);
size_t arena_qcache_max(const struct arena *a);
bool arena_is_memory(const struct arena *a);
/* Whether amounts are bytes: it is memory, or addresses in whole pages. */
bool arena_in_bytes(const struct arena *a);
/* The nearest base arena, itself if it is one. */
struct arena *arena_base(const struct arena *a);
/* The same, if what the arena hands out are direct-map addresses in whole pages of their own: it is
 * a base arena, or nothing lies between it and one but arena_alloc(); else NULL. */
struct arena *arena_direct_base(const struct arena *a);
/* The caches that draw slabs from it; what links them is their layer's.  Under
 * arenas_and_slabs_lock. */
struct list *arena_slabs(const struct arena *a);

/* The arena behind `a` in the order that shows each behind its source, NULL at the end; the first
 * one for NULL.  Lock held. */
struct arena *arena_tree_next(const struct arena *a) SPANDREL_REQUIRES(&arenas_and_slabs_lock);

/* Calls fn for each page of the arena's hash and, of a base arena, each page of tags and nodes, with no lock held.
 * Context: as fn.  Cost: linear in pages, a lock is held for 16 of them at a time. */
void arena_walk_own_pages(struct arena *a, void (*fn)(uintptr_t page, void *arg), void *arg);

/* Requests */

/* Why the flags aren't sound in this context, or NULL; and the end of that: whose callback it is, or which lock is
 * held, written to `text`.  And panics if they aren't. */
#define ARENA_WHERE_MAX 256
const char *arena_flags_wrong(unsigned flags);
const char *arena_flags_where(const char *wrong, char text[ARENA_WHERE_MAX]);
void arena_check_flags(const struct arena *a, unsigned flags, void *caller);

/* Builds the indexes that atomic requests missed in a and its sources; returns whether there was
 * one.  Context: a thread that may sleep. */
bool arena_indexes_build(struct arena *a);

/* Shortage (wait.c) */

/* How many arenas and caches are short, and rules make allocations fail.  Set before, and read under, the lock under which something is
 * freed there. */
extern unsigned shortage_marks_set;

static inline bool shortage_any(void)
{
	return __builtin_expect(__atomic_load_n(&shortage_marks_set, __ATOMIC_RELAXED) > 0, 0);
}

/*
 * An arena or a cache that records depend on.  While a record that isn't parked does, it is short:
 * what is freed on any core reaches it at once.  It stays so a little longer than the record, since
 * becoming short costs a call on each core.
 */
struct shortage_mark {
	void (*set)(struct shortage_mark *m, bool is_short); /* no spinlock held */
	/* Guarded by shortage_marks_lock. */
	unsigned count;		/* records that make it short */
	unsigned waiters;	/* those that are parked, too */
	bool is_set;		/* it is short */
	unsigned ahead;		/* records that name it first, neither parked nor answered; atomic */
	struct list lingers;	/* in the list of those that no record makes short any more */
	uint64_t until;		/* port_ns() when that ends */
	/* The server's. */
	uint64_t failed_round;	/* the last in which a plain request failed */
	size_t failed_size;	/* the smallest that did */
};
void shortage_mark_init(struct shortage_mark *m, void (*set)(struct shortage_mark *m, bool is_short));
/* How many records wait for it; 0: it isn't short any more either.  Context: may sleep. */
unsigned shortage_mark_end(struct shortage_mark *m);

/* Whether the arena, or one that it imports from, or its base is short: then it keeps nothing idle.
 * Any context. */
bool arena_is_pressed(const struct arena *a);

/* Whether a request with these flags has to sleep at once: behind records that name the same mark first,
 * of the arena or of a cache that draws on it, or behind one of its root that holds up others.  Any
 * context. */
bool shortage_must_queue(struct arena *a, const struct shortage_mark *m, unsigned flags);
/* A request that may sleep was served although records wait.  Any context. */
void arena_passed(struct arena *a);

/* Failure injection (fail.c) */

/* How many rules there are; counted in shortage_marks_set, too. */
extern unsigned arena_fail_rules;

static inline bool arena_fail_any(void)
{
	return __atomic_load_n(&arena_fail_rules, __ATOMIC_RELAXED) > 0;
}

/* Whether an allocation by this name and these flags is to fail, by a rule: asked once for each, where
 * shortage_any().  Flags 0: it is no part of a request.  Any context. */
bool arena_fail_ask(const char *name, unsigned flags);
static inline bool arena_fails(const char *name, unsigned flags)
{
	return arena_fail_any() && arena_fail_ask(name, flags);
}

/* Whether the running thread's last one was to fail.  Where a thread may sleep. */
static inline bool arena_failed_last(void)
{
	return arena_fail_any() && port_word(PORT_THREAD_FAILED);
}

/* Whether a rule names it. */
bool arena_fail_names(const char *name);

/* Called when rules have come or gone, for the slab layer to close and open caches; it may sleep. */
extern void (*arena_fail_changed)(void);

/* Pokes reclaim if the base of `a` has come below its low watermark.  Any context but an NMI; no lock
 * held. */
void arena_watch_base(struct arena *a);

#endif
