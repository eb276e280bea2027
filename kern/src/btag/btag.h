/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segment store: the boundary tags of one arena.
 *
 * Half of arena.c's representation, apart so that it can be read and tested alone.  It keeps
 * segments in address order, free ones in bins by size, used ones in a hash by address, spans in a
 * tree.  It takes no lock, allocates nothing and never fails: tags and hash pages are put in the
 * caller's hand beforehand (btag_give, btag_hash_give_page), and each function says how many tags
 * it may take.
 *
 * Sizes and addresses are in the arena's units and multiples of its quantum, but for the extents of
 * spans, which are what the source gave.  A segment may end at 2^64, so ends are not computed;
 * lasts (start + size - 1) are.
 *
 * Context: whoever holds the arena's lock.
 */
#ifndef SPANDREL_BTAG_H
#define SPANDREL_BTAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/list.h"
#include "lib/tree.h"
#include "port.h"

enum btag_kind {
	BTAG_IDLE, /* stands for nothing, waits in a spare list or a tag page */
	BTAG_FREE,
	BTAG_USED,
	BTAG_XALLOCATED, /* used, and handed out by arena_xalloc() */
	BTAG_SPAN, /* stands before the first segment of its span; also the list's anchor */
};

struct btag_node;

struct btag {
	uintptr_t start;
	size_t size;
	struct btag *prev, *next; /* address order, over all spans */
	union {
		struct {
			union {
				struct {
					struct btag *bin_prev, *bin_next; /* FREE; NULL at both ends */
				};
				struct btag *hash_next; /* USED, XALLOCATED */
				struct btag *idle_next; /* IDLE */
			};
			struct btag_node *node; /* FREE and in the index; else without meaning */
		};
		struct tree_node span; /* SPAN */
	};
	enum btag_kind kind;
	bool by_xalloc; /* SPAN: the source gave it by arena_xalloc() */
	uint16_t bin;	/* FREE: the bin of its size */
};

#define BTAG_SIZE 64
_Static_assert(sizeof(struct btag) <= BTAG_SIZE, "a boundary tag fits in a cache line");

static inline uintptr_t btag_last(const struct btag *t)
{
	return t->start + (t->size - 1);
}

static inline bool btag_is_used(const struct btag *t)
{
	return t->kind == BTAG_USED || t->kind == BTAG_XALLOCATED;
}

/* A chain of idle tags. */
struct btag_chain {
	struct btag *head;
	size_t count;
};

static inline void btag_chain_push(struct btag_chain *c, struct btag *t)
{
	t->kind = BTAG_IDLE;
	t->idle_next = c->head;
	c->head = t;
	c->count++;
}

/* c is not empty. */
static inline struct btag *btag_chain_pop(struct btag_chain *c)
{
	struct btag *t = c->head;

	c->head = t->idle_next;
	c->count--;
	return t;
}

/*
 * Bins: exact sizes up to BTAG_EXACT quanta, then BTAG_PER_DOUBLING for each doubling up to 2^64.
 */
#define BTAG_EXACT_SHIFT 5
#define BTAG_EXACT (1u << BTAG_EXACT_SHIFT)
#define BTAG_DOUBLING_SHIFT 3
#define BTAG_PER_DOUBLING (1u << BTAG_DOUBLING_SHIFT)
#define BTAG_BINS (BTAG_EXACT + (64 - BTAG_EXACT_SHIFT) * BTAG_PER_DOUBLING)

/*
 * The hash of used segments: linear hashing (Litwin, "Linear Hashing: A New Tool for File and Table
 * Addressing", VLDB 1980), so that it grows and shrinks a bucket at a time.  Buckets live in a
 * radix tree of pages, so that it never wants two pages in a row; the first few live in the store.
 */
#define BTAG_SMALL_BUCKETS 16
#define BTAG_PAGE_SLOTS (PORT_PAGE_SIZE / sizeof(void *))

struct btag_hash {
	size_t used_max;	   /* segments it holds before it should grow */
	ptrdiff_t room, room_max;  /* for how many more it has room; it should shrink above room_max */
	size_t buckets;	 /* at least BTAG_SMALL_BUCKETS */
	size_t mask;	 /* 2^k - 1 with 2^(k-1) < buckets <= 2^k */
	unsigned height; /* of the radix tree in pages; 0: the root is small[] */
	bool wants_page; /* to grow it needs more pages than pages_spare has */
	bool needs_care; /* it wants a page or has too many; may be read without the lock */
	void **root;
	void **pages;	  /* spare ones, linked through their first slot */
	size_t pages_spare;
	size_t pages_held; /* in the tree and spare */
	struct btag *small[BTAG_SMALL_BUCKETS];
};

/* A place in address order that survives changes. */
struct btag_cursor {
	struct list link;
	struct btag *at; /* a tag that starts at or before where the cursor stands */
	uintptr_t last;	 /* the last unit that lies behind it, if begun */
	bool begun;
};

/*
 * Constraints on where a request may start, the triple (align, phase, nocross) in solved form: the
 * numbers that are multiples of a quantum and equal to phase modulo align form a progression.  For
 * a request that an importer hands down to its source, the quantum is the importer's, and what is
 * cut has to be whole quanta of every arena between: a segment counts only as far as it is, when it
 * is rounded inward to the clip quanta, the last one first.
 */
#define BTAG_CLIPS 4
struct btag_triple {
	uintptr_t first;	 /* the least number of the progression */
	size_t step;		 /* between its numbers; 0: there is one only below 2^64 */
	size_t nocross;		 /* the request crosses no multiple of it; a power of two, 0: none */
	size_t clip[BTAG_CLIPS]; /* 0: none, and none behind it */
};

/* Whether there is such a triple; quantum > 0, align and nocross are powers of two or 0. */
bool btag_triple_make(
	struct btag_triple *t, size_t quantum, size_t align, size_t phase, size_t nocross);
bool btag_triple_equal(const struct btag_triple *a, const struct btag_triple *b);
/* The lowest r in [lo, hi] such that [r, r + size) lies there and in segment [start, last], and
 * satisfies the triple. */
bool btag_triple_place(const struct btag_triple *t, uintptr_t start, uintptr_t last, uintptr_t lo,
	uintptr_t hi, size_t size, uintptr_t *r);
/* The largest request that segment [start, last] can serve: it serves all up to that and none above. */
size_t btag_triple_largest(const struct btag_triple *t, uintptr_t start, uintptr_t last);
/* How far above the start of a segment, a multiple of `grid`, the lowest place for a request can
 * lie at most; SIZE_MAX: that has no bound.  `grid` divides first and step. */
size_t btag_triple_slack(const struct btag_triple *t, size_t grid, size_t size);

/* The index of free segments; btag_index.c explains it. */
#define BTAG_TRIPLES 4
/* Nodes an index has in hand beyond its need, so that they can be fetched after the fact; and how
 * many it may have before it gives some back. */
#define BTAG_NODES_MARGIN 32
#define BTAG_NODES_SPARE_MAX 128
/* Free segments that one step of adding a triple handles, and one of building or dropping the
 * index; and tags that the latter passes. */
#define BTAG_KEEP_STEP 2
#define BTAG_SIZE_STEP 6
#define BTAG_BUILD_STEP 3
#define BTAG_BUILD_WALK 64
#define BTAG_DROP_STEP 16
/* Segments looked at in one hold where there is no index; and where each takes longer. */
#define BTAG_LOOKS 32
#define BTAG_LOOKS_DEAR 12

struct btag_kept {
	struct btag_triple triple;
	bool adding;	  /* only segments that start at or below `passed` are right yet */
	uintptr_t passed;
	uint64_t used_at; /* by the index's clock */
};

struct btag_index {
	bool live;	  /* it stands, or is being built: changes go into it */
	bool stands;
	bool adding;	  /* some triple is being added */
	bool wanted;	  /* an atomic request missed it; may be read without the lock */
	unsigned builders; /* who gather nodes for it */
	bool needs_care;  /* it is short of nodes or has too many; may be read without the lock */
	uintptr_t passed; /* live: the free segments that start at or below it are in it */
	struct tree by_address, by_size;
	uintptr_t sized; /* the nodes that start at or below it are in by_size, too */
	struct btag_chain nodes;  /* spare */
	size_t nodes_held;	  /* spare ones and those in the trees */
	struct tree dead;	  /* by_address of an index dropped before, to be taken apart */
	struct btag_cursor build; /* open while it is being built */
	uint64_t clock;
	unsigned triples; /* the first so many of kept[] are in use */
	struct btag_kept kept[BTAG_TRIPLES];
};

/* Why btag_quick.h doesn't apply. */
#define BTAG_DETOUR_STORE (1u << 0)  /* the quantum is no power of two, an index is live, or a cursor open */
#define BTAG_DETOUR_WAITER (1u << 1) /* somebody waits for what is freed */

struct btag_store {
	size_t quantum;
	int shift;	 /* quantum == 1 << shift, or -1 */
	unsigned detour; /* 0: btag_quick.h applies */

	size_t total, used; /* units in segments, and in used ones */
	size_t used_peak;   /* the most there were used before the last release; since then it may be `used` */
	size_t spans, segments_free;
	size_t looks; /* free segments and nodes that searches have looked at; who counts them sets it to 0 */

	struct btag_chain spare;
	struct btag anchor; /* its next is the first span, its prev the last segment */
	struct tree span_tree;
	struct list cursors;
	struct btag_cursor next_fit; /* where next fit goes on; in no list */

	uint64_t bin_summary;			   /* bit w: bin_map[w] != 0 */
	uint64_t bin_map[(BTAG_BINS + 63) / 64]; /* bit b: bins[b] != NULL */
	struct btag *bins[BTAG_BINS];

	struct btag_hash hash;
	struct btag_index index;
};

void btag_store_init(struct btag_store *s, size_t quantum);
/* Sets BTAG_DETOUR_STORE, when one of what it depends on has changed. */
void btag_detour_update(struct btag_store *s);

/* n / quantum, and n rounded up to it: 0 if that wraps. */
static inline size_t btag_quanta(const struct btag_store *s, size_t n)
{
	return s->shift >= 0 ? n >> s->shift : n / s->quantum;
}

static inline size_t btag_round_up(const struct btag_store *s, size_t n)
{
	if (__builtin_expect(s->shift >= 0, 1))
		return ((n - 1) | (s->quantum - 1)) + 1;

	size_t over = n % s->quantum, m = over ? n - over + s->quantum : n;

	return m < n ? 0 : m;
}

static inline size_t btag_round_down(const struct btag_store *s, size_t n)
{
	return s->shift >= 0 ? n & -s->quantum : n - n % s->quantum;
}

/* The first segment and how much there is of the multiples of the quantum inside an extent; false
 * if there are none. */
static inline bool btag_round_inward(
	const struct btag_store *s, uintptr_t start, size_t size, uintptr_t *first, size_t *inside)
{
	uintptr_t last = start + (size - 1);

	*first = btag_round_up(s, start);
	*inside = *first == 0 || *first > last ? 0 : btag_round_down(s, last - *first + 1);
	return *inside > 0;
}

/* Tags */

/* Puts the chain into the store's hand. */
void btag_give(struct btag_store *s, struct btag_chain *chain);
/* Moves tags from the store's hand to the chain until the chain has `count` or the hand is empty. */
void btag_take(struct btag_store *s, struct btag_chain *chain, size_t count);

/* Spans */

extern const struct tree_ops btag_span_order;

/* The span with the greatest start <= addr, or NULL; it need not contain addr. */
struct btag *btag_span_below(const struct btag_store *s, uintptr_t addr);
/* The span with the least start >= addr, or NULL. */
struct btag *btag_span_above(const struct btag_store *s, uintptr_t addr);
/* Whether [start, start + size) overlaps a span. */
bool btag_span_overlaps(const struct btag_store *s, uintptr_t start, size_t size);
/* An extent that is to be a span, and where among the spans. */
struct btag_extent {
	uintptr_t start;
	size_t size;
	uintptr_t first; /* its whole quanta; `inside` is 0 if there are none */
	size_t inside;
	struct btag *below, *above; /* the spans around it, or NULL */
};

/* Adds an extent that holds whole quanta as a span with one free segment, those, and returns that.
 * Takes 2 tags. */
struct btag *btag_span_import(struct btag_store *s, const struct btag_extent *e);
/* The same for an extent of whole quanta, which becomes one with the spans it touches.  Takes 2. */
void btag_span_add(struct btag_store *s, uintptr_t start, size_t size);
/* The span of which free segment f is the whole, or NULL. */
static inline struct btag *btag_span_whole(const struct btag *f)
{
	return f->prev->kind == BTAG_SPAN && f->next->kind == BTAG_SPAN ? f->prev : NULL;
}
/* Removes a span of which one free segment is the whole. */
void btag_span_remove(struct btag_store *s, struct btag *span);

/* Fits: a free segment of at least `size`, or NULL */

/* The head of the first bin in which everything serves.  Constant. */
struct btag *btag_fit_instant(struct btag_store *s, size_t size);
/* Whether some segment has `size`; it may say so wrongly if the bin of that size holds many.  Constant. */
bool btag_may_serve(const struct btag_store *s, size_t size);
/* The largest, if there is an index or its bin holds BTAG_LOOKS at most; else the largest of so
 * many, less than a ninth smaller.  Constant. */
size_t btag_largest_free(const struct btag_store *s);

/* Searches */

enum btag_fit {
	BTAG_FIT_ANY,	 /* any segment */
	BTAG_FIT_BEST,	 /* the smallest, the lowest among equals */
	BTAG_FIT_LOWEST, /* the lowest address */
	BTAG_FIT_NEXT,	 /* the lowest address behind the cursor, then the lowest */
};

struct btag_request {
	size_t size;
	enum btag_fit fit;		  /* ANY and BEST: unconstrained */
	const struct btag_cursor *cursor; /* NEXT */
	struct btag_triple triple;
	uintptr_t lo, hi; /* its first and last unit lie at or between these */
	bool surely;	  /* what surely serves will do: it need not be the lowest */
};

/* What a search found: [at, at + rq->size) lies in [start, start + size), whole quanta, within f. */
struct btag_place {
	struct btag *f;
	uintptr_t at;
	uintptr_t start;
	size_t size;
};

enum btag_verdict {
	BTAG_FOUND,
	BTAG_NOTHING,	   /* nothing serves */
	BTAG_WANTS_INDEX,  /* not to be told from BTAG_LOOKS segments; there is no index */
	BTAG_WANTS_MORE,   /* the index stands but isn't kept for such requests: btag_index_keep() */
};

/* A request without constraints. */
void btag_request_plain(
	struct btag_request *rq, const struct btag_store *s, size_t size, enum btag_fit fit);
/* Searches.  Logarithmic, or BTAG_LOOKS segments. */
enum btag_verdict btag_search(
	struct btag_store *s, const struct btag_request *rq, struct btag_place *place);
/* Whether segment f serves; fills all of *place, the lowest there is at or above `lo`. */
bool btag_place_in(const struct btag_store *s, const struct btag_request *rq, struct btag *f,
	uintptr_t lo, struct btag_place *place);
/* Looks for a segment that the place is the whole of, so that to carve it takes no tag, among the
 * first BTAG_LOOKS in the bin of the request's size.  Constant. */
bool btag_fit_exact(
	struct btag_store *s, const struct btag_request *rq, struct btag_place *place);
/* How many segments may be looked at for it in one hold of a lock: BTAG_LOOKS, or BTAG_LOOKS_DEAR with
 * clip quanta, or a step under nocross that is no power of two. */
int btag_looks(const struct btag_triple *t);
/* Whether the triple asks for nothing beyond what every segment of the store gives. */
bool btag_triple_is_plain(const struct btag_store *s, const struct btag_triple *t);

/* Segments */

/* Makes [start, start + size) within free segment f a used one and returns its tag.  Takes a tag
 * for each end of f that stays free. */
struct btag *btag_carve(struct btag_store *s, struct btag *f, uintptr_t start, size_t size);
/* The used segment that starts at addr, or NULL. */
struct btag *btag_find(const struct btag_store *s, uintptr_t addr);
/* Makes used segment t free; returns the free segment it became part of. */
struct btag *btag_release(struct btag_store *s, struct btag *t);

/* Has idle tag `to`, which isn't in any chain, stand for all that `from` stands for; from is idle then. */
void btag_move(struct btag_store *s, struct btag *from, struct btag *to);

/* Cursors */

void btag_cursor_open(struct btag_store *s, struct btag_cursor *c);
void btag_cursor_close(struct btag_store *s, struct btag_cursor *c);
/* The next tag (span or segment) not wholly behind the cursor, or NULL; *start is where the part
 * that isn't behind begins.  The cursor moves behind it. */
struct btag *btag_cursor_next(struct btag_store *s, struct btag_cursor *c, uintptr_t *start);
/* Moves the cursor behind segment t. */
void btag_cursor_move(struct btag_cursor *c, struct btag *t);

/* Index: memory for it comes as chains of idle nodes, which are tags of BTAG_NODE_SIZE bytes */

#define BTAG_NODE_SIZE 128

/* Between these two, nodes in hand stay there though the index isn't live yet. */
void btag_index_begin(struct btag_store *s);
void btag_index_end(struct btag_store *s);
/* How many nodes it takes for the index to begin, beyond those in hand. */
size_t btag_index_lacks(const struct btag_store *s);
void btag_index_give(struct btag_store *s, struct btag_chain *nodes);
/* Takes back some of what it holds beyond its need (which is nothing, if there is no index): at
 * most BTAG_DROP_STEP. */
void btag_index_take(struct btag_store *s, struct btag_chain *nodes);
/* One bounded step toward an index that stands; there are nodes enough, and none to be taken apart.
 * Returns whether it stands now. */
bool btag_index_build(struct btag_store *s);
/* Ends the index at once; its nodes are then taken apart step by step by btag_index_take(). */
void btag_index_drop(struct btag_store *s);
/* One bounded step toward serving such requests; returns whether it does now.  The index stands. */
bool btag_index_keep(struct btag_store *s, const struct btag_request *rq);
/* The search, when the index stands: FOUND, NOTHING or WANTS_MORE. */
enum btag_verdict btag_index_search(
	struct btag_store *s, const struct btag_request *rq, struct btag_place *place);
/* The largest free segment.  The index stands; there is one. */
size_t btag_index_largest(const struct btag_store *s);
/* Checks it whole: NULL, or what is wrong.  Linear. */
const char *btag_index_check(struct btag_store *s);
/* One segment, for the checker. */
const char *btag_index_check_one(const struct btag_store *s, const struct btag *f);

/* For btag.c: what has just happened to free segments.  The index is live. */
void btag_index_carved(struct btag_store *s, struct btag *f, struct btag *used, struct btag *rest);
void btag_index_joined(
	struct btag_store *s, struct btag *prev, struct btag *t, struct btag *next);
void btag_index_removed(struct btag_store *s, struct btag *f);
/* Tag `to` stands for what another stood for: a free segment. */
void btag_index_moved(struct btag_store *s, struct btag *to);

static inline bool btag_index_needs_care(const struct btag_index *x)
{
	return __atomic_load_n(&x->needs_care, __ATOMIC_RELAXED);
}

/* Bins, for btag.c and the checker */

size_t btag_bin(const struct btag_store *s, size_t size);
/* The first bin at or after b that isn't empty, or BTAG_NO_BIN. */
size_t btag_bin_from(const struct btag_store *s, size_t b);
#define BTAG_NO_BIN BTAG_BINS
void btag_bin_insert(struct btag_store *s, struct btag *f);
void btag_bin_remove(struct btag_store *s, struct btag *f);
/* From the bin it is in to that of its size. */
void btag_bin_move(struct btag_store *s, struct btag *f);

/* Hash, for btag.c, the checker and whoever supplies its pages */

void btag_hash_init(struct btag_hash *h);
void btag_hash_insert(struct btag_hash *h, struct btag *t);
void btag_hash_remove(struct btag_hash *h, struct btag *t);
/* It is above, or below, the load it should have: grows, or shrinks, by two buckets at most. */
void btag_hash_grow(struct btag_hash *h);
void btag_hash_thin(struct btag_hash *h);
struct btag *btag_hash_find(const struct btag_hash *h, uintptr_t addr);
/* The chain of bucket i < buckets. */
struct btag *btag_hash_bucket(const struct btag_hash *h, size_t i);
/* The bucket a segment at addr belongs in. */
size_t btag_hash_index(const struct btag_hash *h, uintptr_t addr);
/* Has `to` take the place of `from`, which starts where it does. */
void btag_hash_replace(struct btag_hash *h, struct btag *from, struct btag *to);
/* Shrinks it by a bucket, to a load of 4 at most; false if there is none to spare. */
bool btag_hash_trim(struct btag_hash *h);
/* Gives it a page it wanted; takes one that it has beyond `keep` spare ones, or NULL. */
void btag_hash_give_page(struct btag_hash *h, void *page);
void *btag_hash_take_page(struct btag_hash *h, size_t keep);
/* The most pages it keeps spare: a leaf, an inner page and a root for the step that needs all. */
#define BTAG_HASH_SPARE_MAX 3

/* Segments in it. */
static inline size_t btag_hash_used(const struct btag_hash *h)
{
	return h->used_max - (size_t)h->room;
}

/* Whether a page should be given or taken. */
static inline bool btag_hash_needs_care(const struct btag_hash *h)
{
	return __atomic_load_n(&h->needs_care, __ATOMIC_RELAXED);
}

#endif
