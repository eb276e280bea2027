/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segment store: the boundary tags of one arena.
 *
 * Half of arena.c's representation, apart so that it can be read and tested alone.  It keeps
 * segments in address order, free ones in bins by size, used ones in a hash by address, spans in a
 * tree.  It takes no lock, allocates nothing and never fails: tags, nodes and hash pages are put in
 * its hand beforehand (btag_give, btag_index_give, linear_hash_give_page), and each function says
 * how many tags it may take.
 *
 * Four operations change it, one for each thing that can happen to a segment or a span: btag_carve,
 * btag_release (of what btag_unuse has taken out of the hash), btag_span_in and btag_span_out.
 * Added spans that touch are joined by btag_span_join; btag_split and btag_span_split make two of one;
 * btag_grow and btag_span_grow have a used segment end later; and btag_retag changes which tag a segment
 * has.  The first two run once for each allocation and free, so they are inline, at the end of this file.
 *
 * Sizes and addresses are in the arena's units and multiples of its quantum, but for the extents of
 * spans, which are what the source gave.  A segment may end at 2^64, so ends are not computed;
 * lasts (start + size - 1) are.
 *
 * Context: the arena's lock is held.
 */
#ifndef SPANDREL_BTAG_H
#define SPANDREL_BTAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/linear_hash.h"
#include "lib/list.h"
#include "lib/tree.h"
#include "port.h"

/* Tags */

enum btag_kind {
	BTAG_IDLE, /* stands for nothing, waits in a spare list or a tag page */
	BTAG_FREE,
	BTAG_USED,
	BTAG_XALLOCATED, /* used, and handed out at a place that was asked for: freed by arena_xfree() */
	BTAG_SPAN,	 /* stands before the first segment of its span; also the list's anchor */
};

struct btag_node;
struct stack;

struct btag {
	struct btag *prev, *next; /* address order, over all spans */
	size_t size;
	union {
		struct {
			struct hash_link link; /* USED, XALLOCATED: its key is `start` */
			/* Its allocation's backtrace and port_ns(), which the arena notes; NULL: it didn't. */
			const struct stack *user;
			uint64_t since;
		};
		struct {
			uintptr_t start;
			union {
				struct {
					struct btag *bin_next, *bin_prev; /* FREE; NULL at both ends */
					struct btag_node *node;		  /* FREE, in the index */
				};
				struct btag *idle_next; /* IDLE */
				struct tree_node span;	/* SPAN */
			};
		};
	};
	enum btag_kind kind;
	bool by_xalloc; /* SPAN: the source has it as XALLOCATED */
	uint16_t bin;	/* FREE: the bin it is in */
};

#define BTAG_SIZE 64
_Static_assert(sizeof(struct btag) <= BTAG_SIZE, "a boundary tag fits in a cache line");
_Static_assert(offsetof(struct btag, link.key) == offsetof(struct btag, start), "start is the key");

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

/* Bins: exact sizes up to BTAG_EXACT, then BTAG_PER_DOUBLING for each doubling to 2^64. */
#define BTAG_EXACT_SHIFT 5
#define BTAG_EXACT (1u << BTAG_EXACT_SHIFT)
#define BTAG_DOUBLING_SHIFT 3
#define BTAG_PER_DOUBLING (1u << BTAG_DOUBLING_SHIFT)
#define BTAG_BINS (BTAG_EXACT + (64 - BTAG_EXACT_SHIFT) * BTAG_PER_DOUBLING)
#define BTAG_NO_BIN BTAG_BINS

/* A place in address order that survives changes. */
struct btag_cursor {
	struct btag_cursor *next_open; /* in the store's list */
	struct btag *at; /* the last tag that starts before the place, or lies across it */
	uintptr_t last;	 /* the place is behind this unit, if `begun`; else before all */
	bool begun;
};

/*
 * Where a request may start: at numbers r with r % step == phase, such that [r, r + size) crosses no
 * multiple of nocross.  step and nocross are powers of two (nocross 0: none), but for a store whose quantum isn't
 * one: there the step is the quantum, phase and nocross are 0.  A segment counts only as far as it
 * is whole multiples of `grain`, the largest quantum of the arenas that the request has come
 * through.  btag/triple.c has the formulas.
 */
struct btag_triple {
	size_t step, phase, nocross, grain;
};

enum btag_fit {
	BTAG_FIT_ANY,	 /* any segment that serves */
	BTAG_FIT_BEST,	 /* the smallest, the lowest among equals; without constraints */
	BTAG_FIT_LOWEST, /* the lowest address */
	BTAG_FIT_NEXT,	 /* the lowest address behind the last next fit, then the lowest */
	BTAG_FIT_HIGH,	 /* the highest address */
};

struct btag_request {
	size_t size;
	enum btag_fit fit;
	bool is_plain; /* any place in a free segment of that size serves, in this store */
	struct btag_triple triple;
	uintptr_t lo, hi; /* its first and last unit lie at or between these */
};

static inline bool btag_has_window(const struct btag_request *rq)
{
	return rq->lo > 0 || rq->hi < UINTPTR_MAX;
}

/* What was found: [at, at + rq->size) lies in [start, start + size), whole quanta, within f. */
struct btag_place {
	struct btag *f;
	uintptr_t at;
	uintptr_t start;
	size_t size;
};

/* The index of free segments; btag/index.c explains it. */
#define BTAG_TRIPLES 3 /* constraints it keeps */
#define BTAG_RIVALS 8  /* others that it counts */
#define BTAG_NODE_SIZE 128

struct btag_rival {
	struct btag_triple triple;
	size_t searches; /* under it */
	size_t looks;	 /* what they cost, or, for a kept one, would have */
};

struct btag_kept {
	struct btag_rival rival;
	size_t saves;	/* looks that a search under it would take if it weren't kept */
	uint64_t since; /* nodes with an older stamp know nothing of it */
};

struct btag_index {
	bool live;	  /* it stands, or is being built: changes go into it */
	bool stands;
	bool is_pinned;	  /* it doesn't go for being idle */
	bool needs_care;  /* nodes should be given or taken; may be read without the lock */
	bool wanted;	  /* an atomic request missed it; may be read without the lock */
	unsigned builders; /* calls that gather nodes for it */
	size_t spent;	  /* looks that searches without it have cost, beyond BTAG_LOOKS each */
	size_t idle;	  /* changes since a search used it */
	uintptr_t passed; /* live: the free segments that start at or below it are in it */
	uintptr_t sized;  /* the nodes that start at or below it are in by_size, too */
	struct tree by_address, by_size;
	struct tree_ops order; /* of by_address */
	struct btag_chain nodes; /* spare */
	size_t nodes_held;	 /* spare ones and those in the trees */
	struct tree dead;	 /* by_address of an index that has ended, to be taken apart */
	struct btag_cursor build; /* open while it is being built */
	uint64_t stamp;	  /* of the triple kept last */
	uint64_t searches; /* under triples, of this index */
	unsigned triples; /* the first so many of kept[] are in use */
	struct btag_kept kept[BTAG_TRIPLES];
	struct btag_rival rivals[BTAG_RIVALS];
};

/* What each change writes comes first, so that it lies on one line (struct arena). */
struct btag_store {
	uint64_t changes; /* as often segments or spans changed */
	size_t used;	  /* units in used segments */
	size_t used_peak; /* the most there were used before the last free; since then maybe `used` */
	size_t segments_free;
	struct btag_chain spare;
	struct linear_hash hash; /* of used segments; `entries` comes first in it */

	size_t quantum;
	bool is_power;	/* the quantum is a power of two */
	/* A cursor is open, or the index is live: changes are told to them. */
	bool is_watched;
	unsigned shift; /* of the largest power of two in it: bins are by size >> shift */
	uint64_t bin_summary;			 /* bit w: bin_map[w] != 0 */
	uint64_t bin_map[(BTAG_BINS + 63) / 64]; /* bit b: bins[b] != NULL */
	struct btag *bins[BTAG_BINS + 1];	 /* the last one, BTAG_NO_BIN, is empty for ever */

	size_t total; /* units in segments */
	size_t spans;
	size_t looks; /* nodes, and without an index tags, that searches met; the caller sets it to 0 */
	struct btag anchor; /* its next is the first span, its prev the last segment */
	struct tree span_tree;
	struct btag_cursor *cursors;  /* the open ones */
	struct btag_cursor next_fit; /* where next fit goes on; open from the first one on */
	struct btag_index index;
};

void btag_store_init(struct btag_store *s, size_t quantum);

/* A size as bins measure it: in quanta, if the quantum is a power of two; else in the largest power
 * of two below it, by which two sizes that differ differ, too. */
static inline size_t btag_scaled(const struct btag_store *s, size_t n)
{
	return n >> s->shift;
}

/* n rounded up to the quantum, 0 if that wraps; and rounded down. */

static inline size_t btag_round_up(const struct btag_store *s, size_t n)
{
	if (__builtin_expect(s->is_power, 1))
		return ((n - 1) | (s->quantum - 1)) + 1;

	size_t over = n % s->quantum, m = over ? n - over + s->quantum : n;

	return m < n ? 0 : m;
}

static inline size_t btag_round_down(const struct btag_store *s, size_t n)
{
	return s->is_power ? n & -s->quantum : n - n % s->quantum;
}

/* Puts the chain into the store's hand. */
void btag_give(struct btag_store *s, struct btag_chain *chain);
/* Moves tags from the store's hand to the chain until the chain has `count` or the hand is empty. */
void btag_take(struct btag_store *s, struct btag_chain *chain, size_t count);

/* Triples: constraints on where a request may start (btag/triple.c) */

/* The triple of a store for align, phase < align and nocross, powers of two or 0; false if no
 * multiple of the quantum has that phase. */
bool btag_triple_make(struct btag_triple *t, const struct btag_store *s, size_t align, size_t phase,
	size_t nocross);
bool btag_triple_equal(const struct btag_triple *a, const struct btag_triple *b);
/* Whether every segment of the store serves under it what its size says. */
bool btag_triple_is_plain(const struct btag_store *s, const struct btag_triple *t);
/* The lowest, or highest, r in [lo, hi] such that [r, r + size) lies there and in segment [start,
 * last], and satisfies the triple. */
bool btag_triple_lowest(const struct btag_triple *t, uintptr_t start, uintptr_t last, uintptr_t lo,
	uintptr_t hi, size_t size, uintptr_t *r);
bool btag_triple_highest(const struct btag_triple *t, uintptr_t start, uintptr_t last, uintptr_t lo,
	uintptr_t hi, size_t size, uintptr_t *r);
/* The largest request that segment [start, last] serves: it serves all up to that and none above. */
size_t btag_triple_largest(const struct btag_triple *t, uintptr_t start, uintptr_t last);
/* The smallest size that has a place for the request in it, whichever multiple of `unit` it starts at;
 * 0: there is none. */
size_t btag_triple_covers(const struct btag_triple *t, size_t unit, size_t size);

/* Spans */

/* An extent that is to be a span, and where among the spans. */
struct btag_extent {
	uintptr_t start;
	size_t size;
	uintptr_t first; /* its whole quanta; `inside` is 0 if there are none */
	size_t inside;
	struct btag *below, *above; /* the spans around it, or NULL */
};

/* Fills *e for [start, start + size); false if it overlaps a span.  Logarithmic in spans. */
bool btag_extent_find(
	const struct btag_store *s, uintptr_t start, size_t size, struct btag_extent *e);
/* Adds an extent that holds whole quanta as a span, of which [start, start + size) is used at once:
 * returns that segment.  Size 0: all is free, and the segment is that.  Takes 2 tags, and one for each
 * end that stays free. */
struct btag *btag_span_in(struct btag_store *s, const struct btag_extent *e, bool by_xalloc,
	uintptr_t start, size_t size, enum btag_kind kind);
/* Makes two spans that touch one, and of their free ends one segment. */
void btag_span_join(struct btag_store *s, struct btag *below, struct btag *above);
/* Removes a span of which one segment is the whole, a free one, or a used one that isn't in the hash
 * any more. */
void btag_span_out(struct btag_store *s, struct btag *span);
/* Makes what lies from `at` on a span of its own: t is the segment that is to be its first, and not its
 * span's.  Takes a tag. */
void btag_span_split(struct btag_store *s, struct btag *span, struct btag *t, uintptr_t at);
/* Makes what lies from `at` on in used segment t a segment of its own, of the same kind.  Takes a tag. */
void btag_split(struct btag_store *s, struct btag *t, uintptr_t at);
/* Used segment t grows by `more` units of the free segment behind it; or, the last one of its span, with
 * that, which the source has made larger. */
void btag_grow(struct btag_store *s, struct btag *t, size_t more);
void btag_span_grow(struct btag_store *s, struct btag *t, size_t more);

/* The span with the greatest start <= addr, or NULL; it need not contain addr. */
struct btag *btag_span_below(const struct btag_store *s, uintptr_t addr);
/* The span with the least start >= addr, or NULL. */
struct btag *btag_span_above(const struct btag_store *s, uintptr_t addr);
extern const struct tree_ops btag_span_order;

/* The span of which segment t is the whole, or NULL. */
static inline struct btag *btag_span_whole(const struct btag *t)
{
	return t->prev->kind == BTAG_SPAN && t->next->kind == BTAG_SPAN ? t->prev : NULL;
}

/* Cursors */

void btag_cursor_open(struct btag_store *s, struct btag_cursor *c);
void btag_cursor_close(struct btag_store *s, struct btag_cursor *c);
/* The next tag (span or segment), or NULL at the end; *start is where the part begins that isn't
 * behind the cursor, 0 if all of it is: it has come since.  The cursor moves behind it. */
struct btag *btag_cursor_next(struct btag_store *s, struct btag_cursor *c, uintptr_t *start);
/* Puts next fit's place behind segment t. */
void btag_next_fit_move(struct btag_store *s, struct btag *t);
/* Tag t goes: cursors that stand at it fall back to the tag before. */
void btag_cursors_leave(struct btag_store *s, struct btag *t);
/* Tag `front` takes over the front of t: cursors at t fall back to it. */
void btag_cursors_split(struct btag_store *s, struct btag *t, struct btag *front);
/* Sets is_watched, when one of what it depends on has changed. */
void btag_watch_update(struct btag_store *s);

/* Searches (btag/search.c) */

/* Segments that one step of a search looks at; and that a search without an index looks at where it
 * may not take long. */
#define BTAG_STEP 12
#define BTAG_LOOKS 64

enum btag_verdict {
	BTAG_FOUND,
	BTAG_NOTHING, /* nothing serves */
	BTAG_MORE,    /* not settled yet: there are more to look at */
};

/* A search, which may take several steps.  Between them the store may change. */
struct btag_search {
	const struct btag_request *rq;
	unsigned steps;
	bool by_index;	  /* a step was in the index */
	uintptr_t from;	  /* in the index: what lies below has been looked at (high fit: above); in a
			   * walk: what lies below doesn't count */
	size_t looks;	  /* segments looked at */
	uint64_t changes; /* of the store, when the search began in the bins */
	size_t passed;	  /* so many there have been looked at since */
	struct btag_place best; /* the best of them, if there is one that serves */
	bool is_past_bins; /* it walks, or was in the index: it looks there no more */
	bool is_around;	  /* next fit: it goes on from the bottom of the window */
	bool is_walking;  /* `walk` is open */
	struct btag_cursor walk;
	unsigned tags_max; /* a place may take so many to carve: below BTAG_CARVE_TAGS, it walks */
	bool lacked_tags; /* the walk met a place that takes more */
	bool learned;	  /* best and high fit: a first walk has learned where the second is to end */
	unsigned rounds;  /* as often that has gone meanwhile */
	size_t best_size; /* the smallest segment that serves */
	uintptr_t best_at; /* the highest place that serves */
};

#define BTAG_CARVE_TAGS 2 /* the most that carving takes: a place in the middle of a segment */

void btag_search_begin(struct btag_search *c, const struct btag_request *rq);
/* One bounded step. */
enum btag_verdict btag_search_step(
	struct btag_store *s, struct btag_search *c, struct btag_place *place);
/* After the last step, unless no step was taken; c->is_walking says whether it does anything. */
void btag_search_end(struct btag_store *s, struct btag_search *c);
/* Whether segment f serves; fills *place with its lowest place at or above `lo`, for high fit the
 * highest. */
bool btag_place_in(const struct btag_store *s, const struct btag_request *rq, struct btag *f,
	uintptr_t lo, struct btag_place *place);
/* The same for a span that is to come: whole quanta, no segment yet. */
bool btag_place_within(const struct btag_store *s, const struct btag_request *rq, uintptr_t start,
	size_t size, struct btag_place *place);
/* Tags that it takes to carve a place. */
static inline size_t btag_place_tags(const struct btag_place *p)
{
	return (p->start != p->f->start) + (p->start + (p->size - 1) != btag_last(p->f));
}
/* A place that surely exists in some segment, found in constant time: any that is larger than the
 * request by what a place may have to move.  Only for requests without a window. */
bool btag_fit_surely(
	const struct btag_store *s, const struct btag_request *rq, struct btag_place *place);
/* A segment that the place is the whole of, so that carving takes no tag, among the first
 * BTAG_LOOKS in the bin of the request's size.  Only where btag_holds_enough(). */
bool btag_fit_exact(
	const struct btag_store *s, const struct btag_request *rq, struct btag_place *place);
/* Whether some segment has `size`; wrongly yes, perhaps, if the bin of that size holds many. */
bool btag_may_serve(const struct btag_store *s, size_t size);
/* The largest, if there is an index or its bin holds BTAG_LOOKS at most; else the largest of so
 * many, less than a ninth smaller.  Constant. */
size_t btag_largest_free(const struct btag_store *s);

/* Index (btag/index.c): memory for it comes as chains of idle nodes, tags of BTAG_NODE_SIZE bytes */

/* Free segments that one step of building or dropping handles, and tags that it passes. */
#define BTAG_BUILD_STEP 3
#define BTAG_BUILD_WALK 64
#define BTAG_DROP_STEP 16
/* Spare nodes: below MIN the index asks for more, above MAX it gives some back. */
#define BTAG_NODES_MIN 32
#define BTAG_NODES_MAX 96

/* Between these two, nodes in hand stay there though the index isn't live yet. */
void btag_index_begin(struct btag_store *s);
void btag_index_end(struct btag_store *s);
/* How many nodes it is short of, and whether it is worth having: see "earns its keep". */
size_t btag_index_lacks(const struct btag_store *s);
bool btag_index_is_earned(const struct btag_store *s);
void btag_index_give(struct btag_store *s, struct btag_chain *nodes);
/* Takes back some of what it holds beyond its need (which is nothing, if there is no index): at
 * most BTAG_DROP_STEP. */
void btag_index_take(struct btag_store *s, struct btag_chain *nodes);
/* One bounded step toward an index that stands; there are nodes enough, and none to be taken apart.
 * Returns whether it stands now. */
bool btag_index_build(struct btag_store *s);
/* Ends the index at once; its nodes are then taken apart step by step by btag_index_take(). */
void btag_index_drop(struct btag_store *s);
/* A step of a search, when the index stands. */
enum btag_verdict btag_index_step(
	struct btag_store *s, struct btag_search *c, struct btag_place *place);
/* Makes the number of another segment exact, for every triple that is kept; false when all are.
 * *from is where to go on, at first 0.  The index stands. */
bool btag_index_refine(struct btag_store *s, uintptr_t *from);
/* The largest free segment.  The index stands; there is one. */
size_t btag_index_largest(const struct btag_store *s);
/* Checks it whole, linear; and one segment: NULL, or what is wrong. */
const char *btag_index_check(struct btag_store *s);
const char *btag_index_check_one(const struct btag_store *s, const struct btag *f);

/* What has happened to a free segment: it has come, goes, has another extent.  Nothing if the index
 * isn't live. */
void btag_index_enter(struct btag_store *s, struct btag *f);
void btag_index_leave(struct btag_store *s, struct btag *f);
void btag_index_resize(struct btag_store *s, struct btag *f, uintptr_t old_start);

/* Whether nodes should be given or taken, or the hash wants a page or has too many.  Any context. */
static inline bool btag_needs_care(const struct btag_store *s)
{
	return __atomic_load_n(&s->index.needs_care, __ATOMIC_RELAXED) ||
	       linear_hash_needs_care(&s->hash);
}

/* Bins */

/*
 * The bin of size q, scaled (btag_scaled).  Behind the exact ones, bin 32 + 8 * (e - 5) + k holds the sizes from
 * (8 + k) << (e - 3) up to the next bin's, where e is the place of q's highest bit and k the three
 * bits below it.  (The first of them would begin at 32, which is exact, and so begins at 33.)
 */
static inline size_t btag_bin_of(size_t q)
{
	if (q <= BTAG_EXACT)
		return q - 1;

	/* (8 + k) - 8 + 8 * (e - 5) + 32 */
	unsigned e = 63 ^ (unsigned)__builtin_clzl(q);

	return (q >> (e - BTAG_DOUBLING_SHIFT)) + e * BTAG_PER_DOUBLING + BTAG_EXACT -
	       (BTAG_EXACT_SHIFT + 1) * BTAG_PER_DOUBLING;
}

/* Of a word that has one. */
static inline size_t btag_lowest_bit(uint64_t word)
{
	return (unsigned)__builtin_ctzl(word);
}

/* The first bin at or after b that isn't empty, or BTAG_NO_BIN. */
static inline size_t btag_bin_from(const struct btag_store *s, size_t b)
{
	size_t word = b / 64;
	uint64_t here, above;

	if (b >= BTAG_BINS)
		return BTAG_NO_BIN;
	here = s->bin_map[word] & ~(uint64_t)0 << (b % 64);
	if (here)
		return word * 64 + btag_lowest_bit(here);
	/* Two shifts: word + 1 may be 64 in a larger map, and a shift by 64 isn't defined. */
	above = s->bin_summary >> word >> 1;
	if (!above)
		return BTAG_NO_BIN;
	word += 1 + btag_lowest_bit(above);
	return word * 64 + btag_lowest_bit(s->bin_map[word]);
}

/*
 * Instant fit: a free segment of at least size q, scaled, or NULL, as for q == 0: the head of the first bin
 * in which everything has.  That is the bin behind that of q - 1: the bin of q itself if q is the
 * smallest it can hold, else the next.  What may still serve when those are empty is in the bin of
 * q, for a search.  Constant.
 */
static inline struct btag *btag_fit_instant(const struct btag_store *s, size_t q)
{
	size_t b = q - 1;
	uint64_t here;

	if (b < BTAG_EXACT) {
		here = s->bin_map[0] >> b;
		if (here)
			return s->bins[b + btag_lowest_bit(here)];
		b = 64;
	} else {
		b = btag_bin_of(b) + 1;
	}
	return s->bins[btag_bin_from(s, b)];
}

/* Whether any free segment is as large, in bins: wrongly yes, perhaps; none is as large as what wraps when it is rounded,
 * which is 0.  Constant. */
static inline bool btag_holds_enough(const struct btag_store *s, size_t size)
{
	return btag_bin_from(s, btag_bin_of(btag_scaled(s, size))) != BTAG_NO_BIN;
}

static inline void btag_bin_link(struct btag_store *s, struct btag *f, size_t b)
{
	struct btag *head = s->bins[b];

	f->bin = (uint16_t)b;
	f->bin_prev = NULL;
	f->bin_next = head;
	s->bins[b] = f;
	if (head) {
		head->bin_prev = f;
		return;
	}
	s->bin_map[b / 64] |= (uint64_t)1 << (b % 64);
	s->bin_summary |= (uint64_t)1 << (b / 64);
}

static inline void btag_bin_unlink(struct btag_store *s, struct btag *f)
{
	struct btag *prev = f->bin_prev, *next = f->bin_next;
	size_t b = f->bin;

	if (next)
		next->bin_prev = prev;
	if (prev) {
		prev->bin_next = next;
		return;
	}
	s->bins[b] = next;
	if (next)
		return;
	s->bin_map[b / 64] &= ~((uint64_t)1 << (b % 64));
	if (s->bin_map[b / 64] == 0)
		s->bin_summary &= ~((uint64_t)1 << (b / 64));
}

/* Free segments: one comes, goes, changes its extent but not its place in the order */

static inline void btag_free_enter(struct btag_store *s, struct btag *f)
{
	f->kind = BTAG_FREE;
	btag_bin_link(s, f, btag_bin_of(btag_scaled(s, f->size)));
	s->segments_free++;
	if (__builtin_expect(s->is_watched, 0))
		btag_index_enter(s, f);
}

static inline void btag_free_leave(struct btag_store *s, struct btag *f)
{
	if (__builtin_expect(s->is_watched, 0))
		btag_index_leave(s, f);
	btag_bin_unlink(s, f);
	s->segments_free--;
}

/* It keeps its place in its bin while its size stays in it.  Two sizes that differ only below the
 * four highest bits of the smaller are of one bin; up to BTAG_EXACT, scaled, that bound is below two
 * to the shift, and no two sizes are. */
static inline void btag_free_resize(
	struct btag_store *s, struct btag *f, uintptr_t start, size_t size)
{
	uintptr_t old_start = f->start;
	size_t old_size = f->size, least = size < old_size ? size : old_size;

	f->start = start;
	f->size = size;
	if ((size ^ old_size) >= least >> BTAG_EXACT_SHIFT) {
		size_t b = btag_bin_of(btag_scaled(s, size));

		if (b != f->bin) {
			btag_bin_unlink(s, f);
			btag_bin_link(s, f, b);
		}
	}
	if (__builtin_expect(s->is_watched, 0))
		btag_index_resize(s, f, old_start);
}

/* Tags in address order */

/* A tag for [start, start + size), linked in before `next`. */
static inline struct btag *btag_tag_insert(
	struct btag_store *s, struct btag *next, enum btag_kind kind, uintptr_t start, size_t size)
{
	struct btag *t = btag_chain_pop(&s->spare);

	t->kind = kind;
	t->start = start;
	t->size = size;
	t->next = next;
	t->prev = next->prev;
	next->prev->next = t;
	next->prev = t;
	return t;
}

static inline void btag_tag_remove(struct btag_store *s, struct btag *t)
{
	if (__builtin_expect(s->is_watched, 0))
		btag_cursors_leave(s, t);
	t->prev->next = t->next;
	t->next->prev = t->prev;
	btag_chain_push(&s->spare, t);
}

/* Segments */

/* Cuts a segment out of f that doesn't begin where f does: f keeps what lies below, and what lies
 * above becomes free by itself. */
struct btag *btag_carve_above(
	struct btag_store *s, struct btag *f, uintptr_t start, size_t size, enum btag_kind kind);

/* Makes [start, start + size) within free segment f a used one and returns its tag.  Takes a tag
 * for each end of f that stays free, of which there is mostly one, the upper: f keeps that.  Inline,
 * like btag_release(), for the benchmark's row `arena_pair`. */
static inline __attribute__((always_inline)) struct btag *btag_carve(
	struct btag_store *s, struct btag *f, uintptr_t start, size_t size, enum btag_kind kind)
{
	struct btag *t = f;

	if (__builtin_expect(start != f->start, 0)) {
		t = btag_carve_above(s, f, start, size, kind);
	} else if (f->size != size) {
		t = btag_tag_insert(s, f, kind, start, size);
		if (__builtin_expect(s->is_watched, 0))
			btag_cursors_split(s, f, t);
		btag_free_resize(s, f, start + size, f->size - size);
	} else {
		btag_free_leave(s, f);
		f->kind = kind;
	}
	t->user = NULL;
	s->used += size;
	s->changes++;
	linear_hash_insert(&s->hash, &t->link);
	return t;
}

/* Where the pointer to the used segment that starts at addr stands; *result NULL: there is none. */
static inline struct hash_link **btag_seek(const struct btag_store *s, uintptr_t addr)
{
	return linear_hash_seek(&s->hash, addr);
}

static inline struct btag *btag_of_link(struct hash_link *l)
{
	return l ? container_of(l, struct btag, link) : NULL;
}

/* The used segment at *link is used no more; what becomes of it comes next. */
static inline struct btag *btag_unuse(struct btag_store *s, struct hash_link **link)
{
	struct btag *t = btag_of_link(*link);

	linear_hash_remove(&s->hash, link);
	/* The peak is noted as `used` leaves it: growing costs nothing. */
	if (__builtin_expect(s->used > s->used_peak, 0))
		s->used_peak = s->used;
	s->used -= t->size;
	s->changes++;
	return t;
}

/* Has a tag in hand stand for what t stands for, segment or span; t is idle then, and the caller's. */
void btag_retag(struct btag_store *s, struct btag *t);

/* Segment t, which btag_unuse() has taken out of the hash, becomes free and one with its free
 * neighbours; returns what it became part of.  The larger neighbour keeps its tag, and mostly its bin. */
static inline struct btag *btag_release(struct btag_store *s, struct btag *t)
{
	struct btag *prev = t->prev, *next = t->next, *kept;
	size_t size = t->size;
	uintptr_t start;

	kept = prev->kind == BTAG_FREE ? prev : next;
	if (kept->kind != BTAG_FREE) {
		btag_free_enter(s, t);
		return t;
	}
	start = t->start;
	btag_tag_remove(s, t);
	if (kept == prev) {
		start = prev->start;
		if (next->kind == BTAG_FREE) {
			struct btag *gone = next;

			if (prev->size < next->size) {
				kept = next;
				gone = prev;
			}
			size += gone->size;
			btag_free_leave(s, gone);
			btag_tag_remove(s, gone);
		}
	}
	btag_free_resize(s, kept, start, kept->size + size);
	return kept;
}

#endif
