/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The body of an arena: for those who place one themselves (__arena_create), and for the files of
 * kern/src that make up the arena module.  No other file looks inside.
 */
#ifndef SPANDREL_ARENA_IMPL_H
#define SPANDREL_ARENA_IMPL_H

#include "arena.h"
#include "btag.h"
#include "lib/panic.h"
#include "spinlock.h"
#include "sync.h"
#include "tag_supply.h"

struct arena;

/*
 * What fronts an arena: caches for its small sizes, installed by the layer above, which alone knows what
 * they are.  `size` is above 0 and at most the arena's qcache_max, not rounded up to quanta.  No lock is held around these.
 */
struct arena_front {
	/* Never sleeps; NULL: nothing is cached and none could be had, the arena looks itself. */
	void *(*alloc)(struct arena_front *f, size_t size, unsigned flags);
	/* Takes back what alloc, or the arena itself, handed out.  `caller` is for reports. */
	void (*free)(struct arena_front *f, void *addr, size_t size, void *caller);
	/* Gives back to the arena what is idle in it, with `all` what cores hold too (not in an interrupt
	 * then, interrupts on).  Returns the units that went back. */
	size_t (*drain)(struct arena_front *f, bool all);
	/* Units of the arena's that it holds now, and how many of them it has handed out. */
	void (*usage)(struct arena_front *f, size_t *held, size_t *live);
	/* Ends it: 0, or -EBUSY if something it handed out is still out. */
	int (*destroy)(struct arena_front *f);
	size_t caches; /* how many of the arena's caches (its list of slabs) are the front's own */
};

/* Makes a front for an arena with a qcache_max; NULL if there is no memory for it, and the arena goes
 * without.  Set once, by qcache.c; arenas made before that get theirs from it. */
extern struct arena_front *(*arena_front_create)(struct arena *a);

struct arena {
	/* Fixed once created. */
	char name[ARENA_NAME_MAX];
	arena_alloc_fn afunc; /* NULL: spans are added, not imported */
	arena_free_fn ffunc;
	struct arena *source; /* itself if self-sourced */
	struct arena *base;   /* the nearest base arena, whose pages hold our tags; itself if it is one */
	struct tag_supply *supply;
	size_t tag_reserve;  /* tags in hand that only the fetching of a tag page may take */
	size_t import_slack; /* what an import asks for beyond its need, to find whole quanta in it */
	size_t qcache_max;
	struct arena_front *front; /* NULL: none */
	size_t front_max;	   /* sizes up to it go to the front: qcache_max, 0 without one */
	bool owns_storage; /* made by arena_create() */
	bool is_memory;

	/* Guarded by arenas_and_slabs_lock. */
	struct list all_link;	  /* in all_arenas */
	struct list importers;	  /* the arenas that import from us, by importer_link */
	struct list importer_link;
	struct list slabs;	   /* the caches that draw slabs from us; slab.c knows what they are */
	struct arena *tree_source; /* whose importers we are among; NULL: nobody's */

	/* Guarded by lock. */
	struct spinlock lock;
	uint64_t allocs, frees, failures;
	uint64_t imports, returns;
	struct btag_cursor next_fit;
	struct btag_store store;
};

static inline bool arena_is_base(const struct arena *a)
{
	return a->base == a;
}

/* Names a caller's bug; no lock is held. */
#define arena_bug(arena, caller, fmt, ...)                                                         \
	panic("arena %s: " fmt " (called from %pS)", (arena)->name, __VA_ARGS__, caller)

/* The import tree and the list of all arenas, and everything in them that links them.  It sleeps, so it
 * comes before every spinlock; nobody allocates with MEM_WAIT under it. */
extern struct qlock arenas_and_slabs_lock;

/* The arena behind `a` in the order that shows each behind its source, NULL at the end; the first one
 * for NULL.  Lock held. */
struct arena *arena_tree_next(const struct arena *a);
/* How many sources lie above it.  Lock held. */
unsigned arena_tree_depth(const struct arena *a);

/* Segments, past the front: what the front's slabs are made of.  As arena_alloc() and arena_free() in
 * all else. */
void *arena_segment_alloc(struct arena *a, size_t size, unsigned flags);
void arena_segment_free(struct arena *a, void *addr, size_t size, void *caller);

/* Has `front` serve small sizes from now on.  Nobody uses the arena meanwhile. */
void arena_set_front(struct arena *a, struct arena_front *front);

/* Fills all of *stats but depth and importers.  Lock held, or nobody else runs. */
void arena_read_stats(struct arena *a, struct arena_stats *stats);

/* Tags of the supply, up to `count` of them, fetching a page if it must; and back.  No lock held. */
void arena_tags_fetch(struct arena *a, struct btag_chain *chain, size_t count);
void arena_tags_return(struct arena *a, struct btag_chain *chain);
/* Gives a page of a hash back to the base.  No lock held. */
void arena_hash_page_return(struct arena *a, void *page);
/* Panics unless the flags are sound in this context. */
void arena_check_flags(const struct arena *a, unsigned flags, void *caller);

/* Pages of a base arena that the base itself uses: the arena, its tags, all hashes above it. */
size_t arena_base_own_pages(struct arena *base);

#endif
