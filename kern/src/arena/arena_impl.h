/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The body of an arena, and what the files of arena/ share.  arena.c opens with the theory.
 */
#ifndef SPANDREL_ARENA_IMPL_H
#define SPANDREL_ARENA_IMPL_H

#include "arena.h"
#include "btag/btag.h"
#include "front.h"
#include "lib/panic.h"
#include "queue.h"
#include "spinlock.h"
#include "supply.h"
#include "sync.h"

/* Makes a front for an arena with a qcache_max, or NULL (arena_front_install()). */
extern struct arena_front *(*arena_front_create)(struct arena *a);

struct arena {
	/* Fixed once created: what the hot way through a front reads, so nothing that is written lies on
	 * its line. */
	struct arena_rounds *const *rounds; /* the front's */
	uint64_t quantum_share; /* (2^64 - 1) / quantum: class_of() in arena.c */
	size_t front_max;	/* sizes up to it go to the front: qcache_max, 0 without one */
	struct arena_front *front; /* NULL: none */
	arena_alloc_fn afunc; /* NULL: spans are added, not imported */
	arena_free_fn ffunc;
	struct arena *source; /* itself if self-sourced */
	struct arena *base;   /* the nearest base arena, whose pages hold our tags; itself if it is one */

	/* The lock, and guarded by it what imports write and most calls only read. */
	struct spinlock lock __attribute__((aligned(PORT_LINE_SIZE)));
	size_t tag_reserve; /* tags in hand that are set aside: see arena.c, TAGS */
	size_t retained; /* units in imported spans that are wholly free, as the source counts them */
	uint64_t imports, returns;
	uint64_t units_returned; /* in the spans that ever went back to the source */

	/* Guarded by lock, to search_looks_max: what each hold writes comes first, on one line, since a core
	 * that takes the lock after another fetches each line; and not on the lock's, which waiters poll. */
	uint64_t allocs __attribute__((aligned(PORT_LINE_SIZE))); /* frees: what they exceed used segments by */
	struct btag_store store;
	uint64_t allocs_by[ARENA_STYLES]; /* of `allocs`; what remains is ARENA_STYLE_INSTANT */
	uint64_t failures_by[ARENA_FAILURES];
	uint64_t search_looks_max; /* the most that store.looks came to in one hold */
	size_t placed; /* segments of such sizes as the front has that arena_xalloc() cut past it; atomic */
	bool is_parting; /* a caller is in arena_parts_reap() */
	bool is_short; /* a record depends on it (wait.c); also read without the lock */
	uint64_t waiting, sleeps, wakeups, waits_served; /* of records that name it; atomic, not under the lock */

	/* Fixed once created. */
	char name[ARENA_NAME_MAX];
	struct tag_supply *supply;
	struct tag_supply *node_supply; /* of index nodes */
	bool passes_down; /* it imports by arena_alloc(), gives back by arena_free(), and both quanta are powers of two */
	bool owns_storage; /* made by arena_create() */
	bool is_memory;
	size_t retain_max; /* units in wholly free spans that stay for the next request */
	size_t qcache_max;

	/* Guarded by arenas_and_slabs_lock. */
	struct arena *all_prev, *all_next; /* in all_arenas; NULL at the ends */
	struct list importers;	  /* the arenas that import from us, by importer_link */
	struct list importer_link;
	struct list slabs;	   /* the caches that draw slabs from us; slab.c knows what they are */
	struct arena *tree_source; /* the arena whose importers we are among, or NULL */

	size_t (*reclaim)(void *priv, size_t units); /* the owner's; changed under it, called without */
	void *reclaim_priv;

	struct shortage_mark mark;
	struct arena_account account; /* of a root */
	struct reclaim_account asked;
};

_Static_assert(PORT_LINE_SIZE < 64 || offsetof(struct arena, store.hash.buckets) - offsetof(struct arena, allocs) <= PORT_LINE_SIZE,
	"what each hold writes ends with the count of the hash's entries");

static inline bool arena_is_base(const struct arena *a)
{
	return a->base == a;
}

/* Names a caller's bug; no lock is held. */
#define arena_bug(arena, caller, fmt, ...)                                                         \
	panic("arena %s: " fmt " (called from %pS)", (arena)->name, __VA_ARGS__, caller)

/* The hot way through a front */

/* Whether the front takes `units`.  0, a caller's bug, is no size of the front's. */
static inline bool arena_is_fronted(const struct arena *a, size_t units)
{
	return units - 1 < a->front_max;
}

/* (size - 1) / quantum, of a size that the front takes.  The share is too small by less than one,
 * so what is too little in the product is less than size * quantum / 2^64, less than one,
 * quantumths: a multiple of the quantum falls just short of its number of quanta, and nothing else
 * short of a whole one. */
static inline size_t arena_class_of(const struct arena *a, size_t size)
{
	return (size_t)((unsigned __int128)size * a->quantum_share >> 64);
}

/* NULL: this core has none. */
static inline void *arena_round_take(const struct arena *a, size_t size)
{
	return arena_rounds_pop(a->rounds[arena_class_of(a, size)]);
}

/* Of a size that the front takes. */
static inline void arena_round_give(struct arena *a, void *addr, size_t size, void *caller)
{
	size_t class = arena_class_of(a, size);

	if (SPANDREL_DEBUG && port_in_nmi())
		arena_bug(a, caller, "free of %p in an NMI", addr);
	if (__builtin_expect(!arena_rounds_push(a->rounds[class], addr), 0))
		a->front->free(a->front, addr, class, caller);
}

/* A memory flag that is legal here, and no fit: other flags want a look. */
static inline bool arena_flags_plain(unsigned flags)
{
	if (__builtin_expect(flags == MEM_WAIT, 1))
		return port_may_sleep();
	return flags == MEM_ATOMIC || flags == MEM_ERROR;
}

/* Requests (arena.c) */

/* One request, from the call to its end. */
struct arena_request {
	struct arena *arena;
	struct btag_request rq;
	unsigned flags;
	enum btag_kind kind; /* what becomes of the segment */
	struct btag_place place; /* what it got */
	bool has_tags_aside; /* for its import, by the search that found nothing just now */
	enum arena_failure why;	 /* it wasn't served */
};

/* A request for `units`, whole quanta, by the fit in `flags`, without constraints. */
void arena_request_init(struct arena_request *r, struct arena *a, size_t units, unsigned flags);
/* One attempt: the front, if it has what serves, and then arena_serve(). */
bool arena_request_serve(struct arena_request *r);
/* Serves a request from what its arena holds, else by an import; false: why says what was short.
 * Never sleeps; without MEM_ATOMIC it may take long.  No lock held. */
bool arena_serve(struct arena_request *r);
/* For a caller that takes a place under its own hold: marks [start, start + size) of free segment f
 * used, and counts it.  The tags are in hand. */
void arena_take(struct arena *a, struct btag *f, uintptr_t start, size_t size, enum btag_fit fit,
	enum btag_kind kind);
/* Makes used segment t end at `at`, and what is behind one of its own: as that is freed by itself, it
 * counts as handed out.  Takes a tag.  Lock held. */
static inline void arena_split(struct arena *a, struct btag *t, uintptr_t at) SPANDREL_REQUIRES(&a->lock)
{
	btag_split(&a->store, t, at);
	a->allocs++;
}
/* Takes back [addr, addr + size), which must be a segment of this kind, or panics. */
void arena_take_back(
	struct arena *a, uintptr_t addr, size_t size, void *caller, enum btag_kind kind);
/* Counts an allocation that returned NULL.  No lock held. */
void arena_count_failure(struct arena *a, enum arena_failure why);

/* Whether a caller with these flags may take long, and lets a search go on, or an index be built. */
static inline bool arena_may_search(unsigned flags)
{
	return !(flags & MEM_ATOMIC);
}

/* A span on its way between an arena and its source. */
struct arena_span {
	uintptr_t start;
	size_t size;
	bool by_xalloc;
};

/* Takes a span out, which the caller gives back to the source when it has released the lock. */
static inline void arena_span_out(struct arena *a, struct btag *span, struct arena_span *gone)
{
	*gone = (struct arena_span){span->start, span->size, span->by_xalloc};
	btag_span_out(&a->store, span);
	a->returns++;
	a->units_returned += gone->size;
}

/* Takes a span out of which nothing is used, the first that starts at `from` or above; false if
 * there is none.  The caller gives it back to the source.  No lock held. */
bool arena_span_retire(struct arena *a, uintptr_t from, struct arena_span *span);
/* Gives a span back to the source, the way it came.  No lock held. */
void arena_span_return(struct arena *a, const struct arena_span *span);
/* Gives such spans back until they come to `wanted` units; returns what they came to.  No lock held. */
size_t arena_spans_reap(struct arena *a, size_t wanted);
/* Gives free parts of spans back to the source until they come to `amount` units; returns what they came
 * to (part.c).  No lock held. */
size_t arena_parts_reap(struct arena *a, size_t amount);

/* Whether an amount of the source's isn't enough, since the place of the span matters: if only that it
 * starts at a multiple of the arena's larger quantum. */
bool arena_source_must_place(const struct arena_request *r);
/* Makes the request one of the source's; false, and why, if that has no place for it.  No lock held. */
bool arena_pass_down(struct arena_request *r, struct arena_span *span);

/* Has `front` serve small sizes from now on.  Nothing else uses the arena meanwhile. */
void arena_set_front(struct arena *a, struct arena_front *front);

/* Notes the caller's backtrace at the used segment that starts at `at`, which has been handed out, and returns
 * that.  It isn't a front's: where users are noted there are none.  No lock held. */
void *arena_note_user(struct arena *a, uintptr_t at, void *caller);

/* What each request returns that was served: a segment, noted, or a round of the front's. */
static inline void *arena_served(struct arena *a, uintptr_t at, void *caller)
{
	return __builtin_expect(arena_notes_users, 0) ? arena_note_user(a, at, caller) : (void *)at;
}

/* Searches (search.c) */

/* Looks for a place in what the arena holds, and takes it.  `far`: goes on until that is settled,
 * else until it has looked at BTAG_LOOKS segments; the lock is dropped between steps.  If it finds
 * none and the caller imports next, the last hold sets tags aside for that, where enough are in
 * hand.  No lock held. */
enum btag_verdict arena_search(struct arena_request *r, bool far, bool imports_next);
/* An atomic request could not be settled: asks reclaim for the index.  No lock held. */
void arena_index_miss(struct arena_request *r);
/* Builds the index; false if there is no memory for it.  Ends it, and gives its memory back.  Both
 * in bounded steps; no lock held.  Context: a thread, or reclaim. */
bool arena_index_build(struct arena *a);
void arena_index_drop(struct arena *a);
/* arena_indexes_build() (front.h) for the sources of `a` alone. */
bool arena_sources_build(struct arena *a);
/* What a store has in hand (tags.c) */

/* What an import takes: tags for the span and its segment, and for both ends that stay free. */
#define ARENA_IMPORT_TAGS 4

/* Tags in hand that aren't set aside.  Lock held. */
static inline size_t arena_tags(const struct arena *a) SPANDREL_REQUIRES(&a->lock)
{
	return a->store.spare.count - a->tag_reserve;
}

/* Sets tags aside for an import; false if too few are in hand.  Lock held. */
static inline bool arena_tags_hold(struct arena *a) SPANDREL_REQUIRES(&a->lock)
{
	bool holds = arena_tags(a) >= ARENA_IMPORT_TAGS;

	if (__builtin_expect(holds, 1))
		a->tag_reserve += ARENA_IMPORT_TAGS;
	return holds;
}

/* Gets more tags into the arena's hand, or none if there is no memory.  No lock held. */
bool arena_tags_fetch(struct arena *a);
/* Takes `count` tags out of its hand, fetching if need be; false, and none, without memory for them. */
bool arena_tags_take(struct arena *a, struct btag_chain *chain, size_t count);
/* Gives a chain of tags back to the supply.  No lock held. */
void arena_tags_return(struct arena *a, struct btag_chain *chain);
/* Gives back some of the tags in hand, if there are many; with `all`, every one, and pages of tags
 * that this empties to the base. */
#define ARENA_TAGS_MAX 64
void arena_tags_shed(struct arena *a, bool all);
/* As arena_tags_hold(), fetching if need be; false without memory for them.  No lock held.  The
 * import lowers tag_reserve again under the hold that takes them, or lets go of them. */
bool arena_tags_set_aside(struct arena *a);
void arena_tags_let_go(struct arena *a);

/* Cuts a page out of the base arena for the module's own use, or returns 0.  No lock held. */
uintptr_t arena_page_take(struct arena *base);
/* Gives a page of a hash back to the base.  No lock held. */
void arena_hash_page_return(struct arena *a, void *page);
/* Gives pages of tags back to the base that hold nothing but idle ones; returns how many. */
size_t arena_tag_pages_return(struct arena *base);
/* Nodes for the index of `a`, up to `count`: whether it got any.  And back.  No lock held. */
bool arena_nodes_fetch(struct arena *a, size_t count);
void arena_nodes_return(struct arena *a, struct btag_chain *chain);

/* What the last operations left to be done for hash and index, here and in the base.  No lock held. */
void arena_care(struct arena *a);

static inline bool arena_needs_care(const struct arena *a)
{
	return btag_needs_care(&a->store) || btag_needs_care(&a->base->store);
}

/* Pages of a base arena that the base itself uses: the arena, its tags, all hashes above it. */
size_t arena_base_own_pages(struct arena *base);

/* The tree (tree.c) */

/* Links `a` at the end of all_arenas, and unlinks it.  Lock held. */
void arena_list_add(struct arena *a) SPANDREL_REQUIRES(&arenas_and_slabs_lock);
void arena_list_del(struct arena *a) SPANDREL_REQUIRES(&arenas_and_slabs_lock);
/* Fills in depth and importers.  Lock held. */
void arena_tree_place(const struct arena *a, struct arena_stats *row) SPANDREL_REQUIRES(&arenas_and_slabs_lock);
/* Fills all of *stats but depth and importers.  Lock held, or nothing else runs. */
void arena_read_stats(struct arena *a, struct arena_stats *stats);

/* Waiting (wait.c) */

/*
 * What is left of a request that couldn't be served: it sleeps, by flag, until try(record) succeeds;
 * else the failure is counted, for the reason `why`.  `record` has try, flags, deadline and caller, and
 * is_plain; `size`: units it needs in one piece.  Returns whether it was served.
 */
bool arena_shortage(struct arena *a, size_t size, struct shortage *record, enum arena_failure why);
/* A request that sleeps, or may. */
struct arena_sleep {
	struct shortage record;
	struct arena_request *request;
};
/* What remains of a request that wasn't served: sleeps by its flags, or to the deadline unless that is
 * 0, while try(&sleep.record) fails. */
bool arena_sleep(struct arena_request *r, shortage_try_fn try, uint64_t deadline, void *caller);

/* At the end of such a try: notes whether tags were all that it lacked. */
static inline bool arena_sleep_note(struct arena_sleep *s, bool served)
{
	struct arena *lacks = !served && s->request->why == ARENA_FAILURE_TAGS ? s->request->arena : NULL;

	__atomic_store_n(&s->record.lacks_tags, lacks, __ATOMIC_RELAXED);
	return served;
}

/* Whether a request with these flags isn't to be tried for: it is made to fail, or has to sleep at once. */
static inline bool arena_must_stand_back(struct arena *a, unsigned flags)
{
	return shortage_any() && (arena_fails(a->name, flags) || shortage_must_queue(a, &a->mark, flags));
}

/* Whether a part of a request, which takes something of the arena, is made to fail. */
static inline bool arena_part_fails(const struct arena *a)
{
	return shortage_any() && arena_fails(a->name, MEM_ATOMIC);
}

/* Sets an arena's mark (struct shortage_mark). */
void arena_mark_set(struct shortage_mark *m, bool is_set);

#endif
