/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The body of an arena: for those who place one themselves (__arena_create), and for the files of
 * kern/src that make up the arena module.  No other file looks inside.
 */
#ifndef SPANDREL_ARENA_IMPL_H
#define SPANDREL_ARENA_IMPL_H

#include "arena.h"
#include "btag/btag.h"
#include "front.h"
#include "lib/panic.h"
#include "spinlock.h"
#include "sync.h"
#include "tags.h"

struct arena;

/* Makes a front for an arena with a qcache_max, or NULL (arena_front_install()). */
extern struct arena_front *(*arena_front_create)(struct arena *a);

/* A request that sleeps in an arena's queue; on its thread's stack. */
struct arena_waiter {
	struct tree_node by_size; /* then by arrival */
	struct list by_age;
	struct arena_clients *clients; /* or NULL */
	struct list client_link;
	size_t size;
	uint64_t served_before; /* how many the queue had served when it came */
	uint64_t tried, tried_least; /* what was freed when it last tried in vain; and the least of its subtree */
	port_thread_t *thread;
	bool is_up;  /* it may try: it has the baton, or an object was freed for it */
	bool missed; /* another was, while it was up */
	bool looks;  /* it is up and hasn't begun to try */
};

/* Those who wait for an arena (arena_wait.c).  Guarded by the arena's lock. */
struct arena_queue {
	struct tree waiters;
	struct list by_age;	    /* the oldest first */
	struct arena_waiter *baton; /* the one that is awake and tries, or NULL */
	bool slow;		    /* somebody waits here, or in short_above; also read without the lock */
	struct list short_above;    /* arenas above with waiters, by short_link */
	struct list short_link;
	size_t short_count;
	bool is_passing;	   /* is first there, and those above it are having their turn */
	uint64_t passed, pass_end; /* of short_above: arenas that had theirs; up to which count this turn is */
	size_t count; /* waiters; also read without the lock */
	uint64_t sleeps, wakeups, served;
};

struct arena {
	/* Fixed once created. */
	char name[ARENA_NAME_MAX];
	arena_alloc_fn afunc; /* NULL: spans are added, not imported */
	arena_free_fn ffunc;
	struct arena *source; /* itself if self-sourced */
	struct arena *base;   /* the nearest base arena, whose pages hold our tags; itself if it is one */
	struct tag_supply *supply;
	struct tag_supply *node_supply; /* of index nodes */
	size_t retain_max;   /* units in wholly free spans that stay for the next request */
	bool imports_aligned; /* arena_imports_aligned() */
	size_t import_slack; /* what an import asks for beyond its need, to find whole quanta in it */
	size_t qcache_max;
	struct arena_front *front; /* NULL: none */
	struct arena_rounds *const *rounds; /* the front's */
	uint64_t quantum_share;	   /* (2^64 - 1) / quantum: class_of() in arena.c */
	size_t front_max;	   /* sizes up to it go to the front: qcache_max, 0 without one */
	bool owns_storage; /* made by arena_create() */
	bool is_memory;

	/* Guarded by arenas_and_slabs_lock. */
	struct arena *all_next, *all_prev; /* in all_arenas; NULL at the ends */
	struct list importers;	  /* the arenas that import from us, by importer_link */
	struct list importer_link;
	struct list slabs;	   /* the caches that draw slabs from us; slab.c knows what they are */
	struct arena *tree_source; /* whose importers we are among; NULL: nobody's */

	/* Guarded by lock. */
	struct spinlock lock;
	uint64_t allocs; /* frees are what they exceed the used segments by */
	uint64_t allocs_by[ARENA_STYLES]; /* of `allocs`; what remains is ARENA_STYLE_INSTANT */
	uint64_t failures_by[ARENA_FAILURES];
	uint64_t imports, returns;
	uint64_t held_since;	  /* port_ticks() when arena_lock() took the lock */
	uint64_t hold_ticks_max;  /* the longest such hold */
	uint64_t search_looks_max; /* the most that store.looks came to in one */
	size_t tag_reserve; /* tags in hand that are set aside: see arena.c, THE TAG RESERVE */
	bool tags_missed;   /* somebody lacked tags while some were; also read without the lock */
	size_t retained; /* units in imported spans that are wholly free, as the source counts them */
	struct arena_queue queue;
	struct btag_store store;
};

static inline bool arena_is_base(const struct arena *a)
{
	return a->base == a;
}

/*
 * The lock of an arena, the time that it is held noted.  Who takes it for a few instructions, on
 * paths where two readings of a clock would show, takes it by spin_lock(): the constant-time paths
 * of allocation and freeing, and reading a field.
 */
static inline void arena_hold_begin(struct arena *a)
{
	a->held_since = port_ticks();
}

static inline void arena_hold_end(struct arena *a)
{
	uint64_t held = port_ticks() - a->held_since;

	if (__builtin_expect(held > a->hold_ticks_max, 0))
		a->hold_ticks_max = held;
}

static inline __attribute__((always_inline)) port_irq_t arena_lock(struct arena *a)
{
	port_irq_t irq = spin_lock(&a->lock);

	arena_hold_begin(a);
	return irq;
}

/* While that of an arena below it is held. */
static inline __attribute__((always_inline)) port_irq_t arena_lock_nested(struct arena *a)
{
	port_irq_t irq = spin_lock_nested(&a->lock);

	arena_hold_begin(a);
	return irq;
}

static inline __attribute__((always_inline)) void arena_unlock(struct arena *a, port_irq_t irq)
{
	arena_hold_end(a);
	spin_unlock(&a->lock, irq);
}

/* The fit that `flags` ask for. */
static inline enum btag_fit arena_fit_of(unsigned flags)
{
	return flags & ARENA_BESTFIT ? BTAG_FIT_BEST :
	       flags & ARENA_NEXTFIT ? BTAG_FIT_NEXT :
				       BTAG_FIT_ANY;
}

/* Counts an allocation that didn't go by the constant-time path. */
static inline void arena_count_alloc(struct arena *a, enum btag_fit fit, enum btag_kind kind)
{
	a->allocs++;
	if (kind == BTAG_XALLOCATED)
		a->allocs_by[ARENA_STYLE_CONSTRAINED]++;
	else if (fit == BTAG_FIT_BEST)
		a->allocs_by[ARENA_STYLE_BEST]++;
	else if (fit == BTAG_FIT_NEXT)
		a->allocs_by[ARENA_STYLE_NEXT]++;
}

/* Counts one that returned NULL.  No lock held. */
void arena_count_failure(struct arena *a, enum arena_failure why);

/* Names a caller's bug; no lock is held. */
#define arena_bug(arena, caller, fmt, ...)                                                         \
	panic("arena %s: " fmt " (called from %pS)", (arena)->name, __VA_ARGS__, caller)

/* Links `a` at the end of all_arenas, and unlinks it.  Lock held. */
void arena_list_add(struct arena *a);
void arena_list_del(struct arena *a);

/* How many sources lie above it.  Lock held. */
unsigned arena_tree_depth(const struct arena *a);
/* Fills in depth and importers.  Lock held. */
void arena_tree_place(const struct arena *a, struct arena_stats *row);

/* Has `front` serve small sizes from now on.  Nobody uses the arena meanwhile. */
void arena_set_front(struct arena *a, struct arena_front *front);

/* How much to ask the source for, in its quanta, so that `size` fits wherever it lands; 0 if that wraps. */
size_t arena_import_size(const struct arena *a, size_t size);

/* Waiting */

void arena_queue_init(struct arena_queue *q);

/* What is left of an allocation that can't be served at once, for the reason `why`: counts the
 * failure and returns false if `deadline` is 0, else waits.  `size` and `try` as for
 * arena_wait(). */
bool arena_shortage(struct arena *a, size_t size, bool (*try)(void *arg), void *arg, uint64_t deadline,
	enum arena_failure why, void *caller);

/* Whether a request that may sleep stands behind others who do, and doesn't take what it finds. */
static inline bool arena_queues(const struct arena *a, bool may_sleep)
{
	return __builtin_expect(__atomic_load_n(&a->queue.count, __ATOMIC_RELAXED) > 0, 0) && may_sleep;
}

/* arena_freed() for what serves with the segments of any arena in the chain: tags. */
void arena_chain_freed(struct arena *a);

/* Free segment f is about to be used: if it is a whole span, that is retained no more.  Lock held. */
static inline void arena_span_begin_use(struct arena *a, struct btag *f)
{
	if (__builtin_expect(a->retained > 0, 0) && btag_span_whole(f))
		a->retained -= f->prev->size;
}

/* Fills all of *stats but depth and importers.  Lock held, or nobody else runs. */
void arena_read_stats(struct arena *a, struct arena_stats *stats);

/* Somebody lacks tags: the end of an import that has some set aside will tell who waits.  Lock held. */
static inline void arena_tags_miss(struct arena *a)
{
	if (a->tag_reserve > 0 && !arena_is_base(a))
		__atomic_store_n(&a->tags_missed, true, __ATOMIC_RELAXED);
}

/* Tags of the supply, up to `count` of them, fetching a page if it must; and back.  No lock held. */
void arena_tags_fetch(struct arena *a, struct btag_chain *chain, size_t count);
/* Fetches them for who cares for an index.  The base's own isn't cared for then, as it is otherwise:
 * it may be the same one, and with no memory left that would have no end. */
void arena_tags_fetch_in_care(struct arena *a, struct btag_chain *chain, size_t count);
void arena_tags_return(struct arena *a, struct btag_chain *chain);
/* An import has ended: lets go of n tags that were set aside for it, of none if it took them.  No
 * lock held. */
void arena_tags_let_go(struct arena *a, size_t n);
/* Back for good, so that others may be served with them. */
void arena_tags_give_up(struct arena *a, struct btag_chain *chain);
/* A span that has left an arena and is on its way to the source. */
struct arena_span {
	uintptr_t start;
	size_t size;
	bool by_xalloc;
};

/* Takes a span out of which nothing is used, the first that starts at `from` or above; false if
 * there is none.  The caller gives it back to the source.  No lock held. */
bool arena_span_retire(struct arena *a, uintptr_t from, struct arena_span *span);
/* Gives such spans back until they come to `wanted` units; returns what they came to.  No lock held. */
size_t arena_spans_reap(struct arena *a, size_t wanted);
/* Has a held segment serve, whatever search that takes, or returns false.  A search that needs the
 * index builds it, unless `flags` says MEM_ATOMIC: then it asks for that, and fails.  `kind` is
 * what becomes of the segment.  Sets *why if it fails for another reason than that nothing held
 * serves.  No lock held. */
bool arena_search(struct arena *a, const struct btag_request *rq, unsigned flags, enum btag_kind kind,
	struct btag_place *place, enum arena_failure *why);
/* The same when no memory can be had for tags, or for an index: by a walk, in steps.  Context: may take long. */
bool arena_search_steps(struct arena *a, const struct btag_request *rq, enum btag_kind kind,
	struct btag_place *place, enum arena_failure *why);
/* How many tags it takes to cut a place out of its segment; and cuts it, with those in hand.  Lock held. */
size_t arena_tags_to_carve(const struct btag_place *p);
void arena_place_carve(struct arena *a, const struct btag_request *rq, enum btag_kind kind,
	const struct btag_place *p);
/* The request for `size` by the fit in `flags`, without constraints. */
void arena_request_plain(struct arena *a, struct btag_request *rq, size_t size, unsigned flags);

/* Builds the index; false if there is no memory for it.  Ends it, and gives its memory back.  Both
 * in bounded steps; no lock held.  Context: thread, or reclaim. */
bool arena_index_build(struct arena *a);
void arena_index_drop(struct arena *a);
/* As arena_indexes_build(), in its sources alone. */
bool arena_sources_build(struct arena *a);
/* One bounded step to give the index the nodes it is short of, or take those it has too many. */
void arena_index_care(struct arena *a);

/* Asks reclaim to see to an arena: it is short of memory, or an atomic request missed its index.
 * Set by reclaim, NULL before.  Context: any; no lock held. */
extern void (*arena_poke)(struct arena *a);

/* Whether a's quantum is a larger power of two than its source's, whose integers are its own: what
 * it imports is then asked for aligned, rather than large enough that it holds what is.  And such
 * an import for a request that nothing held serves, carved for it.  No lock held. */
bool arena_imports_aligned(const struct arena *a);
bool arena_import_aligned(struct arena *a, const struct btag_request *rq, unsigned flags,
	uintptr_t *result, enum arena_failure *why);

/* Why a span can't be what an honest source gave, or NULL: then *e is how it goes in.  Lock held. */
const char *arena_span_refused(
	struct arena *a, uintptr_t start, size_t got, size_t size, struct btag_extent *e);
/* Reports it: tags have been given back. */
void arena_span_bug(struct arena *a, uintptr_t start, size_t got, const char *refused)
	__attribute__((noreturn, cold));
/* Gives a span back to the source, the way it came.  No lock held. */
void arena_span_return(struct arena *a, const struct arena_span *span);
/* Takes back [addr, addr + size), which must be a segment of this kind, or panics. */
void arena_take_back(
	struct arena *a, uintptr_t addr, size_t size, void *caller, enum btag_kind kind);
/* What the last operation left to be done for hash and index. */
void arena_care(struct arena *a);

static inline bool arena_needs_care(const struct arena *a)
{
	return btag_hash_needs_care(&a->store.hash) || btag_index_needs_care(&a->store.index);
}

/* Gives a page of a hash back to the base.  No lock held. */
void arena_hash_page_return(struct arena *a, void *page);

/* Pages of a base arena that the base itself uses: the arena, its tags, all hashes above it. */
size_t arena_base_own_pages(struct arena *base);

#endif
