/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segment store: the boundary tags of one arena.
 *
 * Half of arena.c's representation, apart so that it can be read and tested alone.  It keeps segments
 * in address order, free ones in bins by size, used ones in a hash by address, spans in a tree.  It
 * takes no lock, allocates nothing and never fails: tags and hash pages are put in the caller's hand
 * beforehand (btag_give, btag_hash_give_page), and each function says how many tags it may take.
 *
 * Sizes and addresses are in the arena's units and multiples of its quantum, but for the extents of
 * spans, which are what the source gave.  A segment may end at 2^64, so ends are not computed; lasts
 * (start + size - 1) are.
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
	BTAG_SPAN, /* stands before the first segment of its span; also the list's anchor */
};

struct btag {
	uintptr_t start;
	size_t size;
	struct btag *prev, *next; /* address order, over all spans */
	union {
		struct {
			struct btag *bin_prev, *bin_next; /* FREE; NULL at both ends */
		};
		struct btag *hash_next; /* USED */
		struct tree_node span;	/* SPAN */
		struct btag *idle_next; /* IDLE */
	};
	enum btag_kind kind;
};

#define BTAG_SIZE 64
_Static_assert(sizeof(struct btag) <= BTAG_SIZE, "a boundary tag fits in a cache line");

static inline uintptr_t btag_last(const struct btag *t)
{
	return t->start + (t->size - 1);
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
 * Addressing", VLDB 1980), so that it grows and shrinks a bucket at a time.  Buckets live in a radix
 * tree of pages, so that it never wants two pages in a row; the first few live in the store.
 */
#define BTAG_SMALL_BUCKETS 16
#define BTAG_PAGE_SLOTS (PORT_PAGE_SIZE / sizeof(void *))

struct btag_hash {
	size_t used;	 /* segments in it */
	size_t buckets;	 /* at least BTAG_SMALL_BUCKETS */
	size_t mask;	 /* 2^k - 1 with 2^(k-1) < buckets <= 2^k */
	unsigned height; /* of the radix tree in pages; 0: the buckets are small[] */
	bool wants_page; /* to grow it needs more pages than pages_spare has */
	bool needs_care; /* it wants a page or has too many; may be read without the lock */
	void **root;
	void **pages;	  /* spare ones, linked through their first slot */
	size_t pages_spare;
	size_t pages_held; /* in the tree and spare */
	struct btag *small[BTAG_SMALL_BUCKETS];
};

struct btag_store {
	size_t quantum;
	int shift; /* quantum == 1 << shift, or -1 */

	size_t total, used; /* units in segments, and in used ones */
	size_t spans, segments_free;

	struct btag_chain spare;
	struct btag anchor; /* its next is the first span, its prev the last segment */
	struct tree span_tree;
	struct list cursors;

	uint64_t bin_summary;			   /* bit w: bin_map[w] != 0 */
	uint64_t bin_map[(BTAG_BINS + 63) / 64]; /* bit b: bins[b] != NULL */
	struct btag *bins[BTAG_BINS];

	struct btag_hash hash;
};

void btag_store_init(struct btag_store *s, size_t quantum);

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
/* The first segment and the last unit of the multiples of the quantum inside an extent; false if
 * there are none. */
bool btag_round_inward(
	const struct btag_store *s, uintptr_t start, size_t size, uintptr_t *first, size_t *inside);

/* Adds the extent [start, start + size) as a span with one free segment, its part that is whole
 * quanta, and returns that.  It overlaps no span and has such a part.  Takes 2 tags. */
struct btag *btag_span_import(struct btag_store *s, uintptr_t start, size_t size);
/* The same for an extent of whole quanta, which becomes one with the spans it touches.  Takes 2. */
void btag_span_add(struct btag_store *s, uintptr_t start, size_t size);
/* The span of which free segment f is the whole, or NULL. */
struct btag *btag_span_whole(const struct btag *f);
/* Removes a span of which one free segment is the whole. */
void btag_span_remove(struct btag_store *s, struct btag *span);

/* Fits: a free segment of at least `size`, or NULL */

struct btag *btag_fit_instant(struct btag_store *s, size_t size);
struct btag *btag_fit_best(struct btag_store *s, size_t size);
struct btag *btag_fit_exact(struct btag_store *s, size_t size);
/* Whether some segment has `size`; it may say so wrongly if the bin of that size holds many.  Constant. */
bool btag_may_serve(const struct btag_store *s, size_t size);
size_t btag_largest_free(const struct btag_store *s);

/* What next fit remembers: where the last one ended. */
struct btag_cursor {
	struct list link;
	struct btag *at; /* a tag that starts at or before where the cursor stands */
	uintptr_t last;	 /* the last unit that lies behind it, if begun */
	bool begun;
};

/* Next fit also says where in the segment: *start.  The caller carves there and moves the cursor. */
struct btag *btag_fit_next(
	struct btag_store *s, const struct btag_cursor *c, size_t size, uintptr_t *start);

/* Segments */

/* Makes [start, start + size) within free segment f a used one and returns its tag.  Takes a tag for
 * each end of f that stays free. */
struct btag *btag_carve(struct btag_store *s, struct btag *f, uintptr_t start, size_t size);
/* The used segment that starts at addr, or NULL. */
struct btag *btag_find(const struct btag_store *s, uintptr_t addr);
/* Makes used segment t free; returns the free segment it became part of. */
struct btag *btag_release(struct btag_store *s, struct btag *t);

/* Has idle tag `to`, which isn't in any chain, stand for all that `from` stands for; from is idle then. */
void btag_move(struct btag_store *s, struct btag *from, struct btag *to);

/* Cursors: a place in address order that survives changes */

void btag_cursor_open(struct btag_store *s, struct btag_cursor *c);
void btag_cursor_close(struct btag_cursor *c);
/* The next tag (span or segment) not wholly behind the cursor, or NULL; *start is where the part
 * that isn't behind begins.  The cursor moves behind it. */
struct btag *btag_cursor_next(struct btag_store *s, struct btag_cursor *c, uintptr_t *start);
/* Moves the cursor behind segment t. */
void btag_cursor_move(struct btag_cursor *c, struct btag *t);

/* Bins, for btag.c and the checker */

size_t btag_bin(const struct btag_store *s, size_t size);
void btag_bin_insert(struct btag_store *s, struct btag *f);
void btag_bin_remove(struct btag_store *s, struct btag *f);

/* Hash, for btag.c, the checker and whoever supplies its pages */

void btag_hash_init(struct btag_hash *h);
void btag_hash_insert(struct btag_hash *h, struct btag *t);
void btag_hash_remove(struct btag_hash *h, struct btag *t);
struct btag *btag_hash_find(const struct btag_hash *h, uintptr_t addr);
/* The chain of bucket i < buckets. */
struct btag *btag_hash_bucket(const struct btag_hash *h, size_t i);
/* The bucket a segment at addr belongs in. */
size_t btag_hash_index(const struct btag_hash *h, uintptr_t addr);
/* Has `to` take the place of `from`, which starts where it does. */
void btag_hash_replace(struct btag_hash *h, struct btag *from, struct btag *to);
/* Shrinks it by a bucket if it is sparse; false if it isn't. */
bool btag_hash_shrink(struct btag_hash *h);
/* Gives it a page it wanted; takes one that it has beyond `keep` spare ones, or NULL. */
void btag_hash_give_page(struct btag_hash *h, void *page);
void *btag_hash_take_page(struct btag_hash *h, size_t keep);
/* The most pages it keeps spare: a leaf, an inner page and a root for the step that needs all. */
#define BTAG_HASH_SPARE_MAX 3

/* Whether a page should be given or taken. */
static inline bool btag_hash_needs_care(const struct btag_hash *h)
{
	return __atomic_load_n(&h->needs_care, __ATOMIC_RELAXED);
}

#endif
