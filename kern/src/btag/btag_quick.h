/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segment store's constant-time paths, to be compiled into whoever runs them once per
 * allocation: bins, hash chains, and those that arenas live on, cutting a segment out of a free one
 * and making it free again, while nothing in `detour` is against it: the quantum is a power of two,
 * and neither an index nor an open cursor is there.  (Next fit's is: it follows along.)
 *
 * What either leaves to be done once in a while, a change of bin, a step of the hash, is
 * btag_rebin() and the like, so that nothing is called from within them and no register need
 * survive a call.
 *
 * A segment that shrinks or grows keeps its tag and, while its size stays in its bin, its place
 * there: what is cut off gets the new tag, what is joined gives up its own.
 */
#ifndef SPANDREL_BTAG_QUICK_H
#define SPANDREL_BTAG_QUICK_H

#include "btag.h"
#include "lib/hash.h"

/* Bins */

/*
 * The bin of q quanta.  Behind the exact ones, bin 32 + 8 * (e - 5) + k holds the sizes from
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

static inline size_t btag_bin_quick(const struct btag_store *s, size_t size)
{
	return btag_bin_of(btag_quanta(s, size));
}

/* The first bin at or after b < BTAG_BINS that isn't empty, or BTAG_NO_BIN. */
static inline size_t btag_bin_from_quick(const struct btag_store *s, size_t b)
{
	size_t word = b / 64;
	uint64_t here = s->bin_map[word] & ~(uint64_t)0 << (b % 64);

	if (here)
		return word * 64 + (size_t)__builtin_ctzl(here);

	/* Two shifts: word + 1 may be 64 in a larger map, and a shift by 64 isn't defined. */
	uint64_t above = s->bin_summary >> word >> 1;

	if (!above)
		return BTAG_NO_BIN;
	word += 1 + (size_t)__builtin_ctzl(above);
	return word * 64 + (size_t)__builtin_ctzl(s->bin_map[word]);
}

/*
 * A free segment of more than b quanta, or NULL: the head of the first bin in which everything has.
 * That is the bin behind that of b: the bin of b + 1 itself if that is the smallest the bin can
 * hold, else the next.  What may still serve when those are empty is in the bin of b + 1, for a
 * search.
 */
static inline struct btag *btag_fit_quick(const struct btag_store *s, size_t b)
{
	uint64_t here, above;

	if (b >= BTAG_EXACT) {
		b = btag_bin_of(b) + 1;
		b = b < BTAG_BINS ? btag_bin_from_quick(s, b) : BTAG_NO_BIN;
		return b != BTAG_NO_BIN ? s->bins[b] : NULL;
	}
	if (s->bins[b])
		return s->bins[b];
	here = s->bin_map[0] >> b;
	if (here)
		return s->bins[b + (unsigned)__builtin_ctzl(here)];
	above = s->bin_summary & ~(uint64_t)1;
	if (!above)
		return NULL;
	b = (unsigned)__builtin_ctzl(above);
	return s->bins[b * 64 + (unsigned)__builtin_ctzl(s->bin_map[b])];
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

/* Gives free segment f another size; whether that may be one of another bin.  `least` is the
 * smaller of the two sizes.  If they differ only below its four highest bits they are of one bin;
 * up to BTAG_EXACT quanta the bound is a quantum at most, and no two sizes are. */
static inline bool btag_resize(struct btag *f, size_t size, size_t least)
{
	size_t differs = f->size ^ size, bound = least >> BTAG_EXACT_SHIFT;

	f->size = size;
	return differs >= bound;
}

/* The hash */

#define BTAG_SLOT_BITS __builtin_ctzl(BTAG_PAGE_SLOTS)

/* The page of buckets that bucket i is in, of a tree with more than three levels. */
static inline void **btag_hash_descend(const struct btag_hash *h, size_t i)
{
	void **node = h->root;

	for (unsigned level = h->height - 1; level > 2; level--)
		node = node[i >> level * BTAG_SLOT_BITS & (BTAG_PAGE_SLOTS - 1)];
	return node;
}

/* The slot of bucket i, which exists.  Up to three levels, which are 2^27 buckets, it is a straight line. */
static inline struct btag **btag_hash_slot(const struct btag_hash *h, size_t i)
{
	void **node = h->root;

	if (h->height > 1) {
		if (h->height > 2) {
			size_t top = i >> 2 * BTAG_SLOT_BITS;

			if (__builtin_expect(h->height > 3, 0)) {
				node = btag_hash_descend(h, i);
				top &= BTAG_PAGE_SLOTS - 1;
			}
			node = node[top];
		}
		node = node[i >> BTAG_SLOT_BITS & (BTAG_PAGE_SLOTS - 1)];
	}
	return (struct btag **)&node[i & (BTAG_PAGE_SLOTS - 1)];
}

static inline struct btag **btag_hash_chain(const struct btag_hash *h, uintptr_t addr)
{
	size_t i = hash_u64(addr) & h->mask;

	return btag_hash_slot(h, i < h->buckets ? i : i & h->mask >> 1);
}

/* The used segment that starts at addr, or NULL; *link is where the pointer to it stands. */
static inline struct btag *btag_hash_seek(const struct btag_hash *h, uintptr_t addr, struct btag ***link)
{
	struct btag *t;

	*link = btag_hash_chain(h, addr);
	while ((t = **link) && t->start != addr)
		*link = &t->hash_next;
	return t;
}

static inline void btag_hash_enter(struct btag_hash *h, struct btag *t)
{
	struct btag **chain = btag_hash_chain(h, t->start);

	t->hash_next = *chain;
	*chain = t;
	h->room--;
}

/* *link == t */
static inline void btag_hash_leave(struct btag_hash *h, struct btag **link, struct btag *t)
{
	*link = t->hash_next;
	h->room++;
}

/* Whether it should grow, or shrink. */
static inline bool btag_hash_is_full(const struct btag_hash *h)
{
	return __builtin_expect(h->room < 0, 0);
}

static inline bool btag_hash_is_sparse(const struct btag_hash *h)
{
	return __builtin_expect(h->room > h->room_max, 0);
}

/* Segments */

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

/* What the paths below leave undone: f, if it is free, may be in the wrong bin, and the hash too
 * small or too large by a step. */
static inline void btag_rebin(struct btag_store *s, struct btag *f)
{
	size_t b;

	if (f->kind == BTAG_FREE && (b = btag_bin_of(f->size >> s->shift)) != f->bin) {
		btag_bin_unlink(s, f);
		btag_bin_link(s, f, b);
	}
}

/* Cuts [f->start, f->start + size) off free segment f, under a new tag: the front or, taking none,
 * all.  Returns whether something is left undone; *used is the new segment. */
static inline __attribute__((always_inline)) bool btag_carve_quick(
	struct btag_store *s, struct btag *f, size_t size, struct btag **used)
{
	uintptr_t start = f->start;
	size_t rest = f->size - size;
	struct btag *t = f;

	if (rest > 0) {
		t = btag_tag_insert(s, f, BTAG_USED, start, size);
		f->start = start + size;
		if (__builtin_expect(s->next_fit.at == f, 0))
			s->next_fit.at = t;
	} else {
		btag_bin_unlink(s, f);
		s->segments_free--;
		f->kind = BTAG_USED;
	}
	s->used += size;
	btag_hash_enter(&s->hash, t);
	*used = t;
	return (rest > 0 && btag_resize(f, rest, rest)) || btag_hash_is_full(&s->hash);
}

/* Where next fit goes on at once: *start, in the free segment returned, which is the lowest place
 * behind the cursor and has room for `size` there; or NULL. */
static inline struct btag *btag_next_quick(const struct btag_store *s, size_t size, uintptr_t *start)
{
	const struct btag_cursor *c = &s->next_fit;
	struct btag *f = c->at;

	if (f->kind != BTAG_FREE || btag_last(f) <= c->last)
		f = f->next;
	if (!c->begun || f->kind != BTAG_FREE || btag_last(f) <= c->last)
		return NULL;
	*start = f->start > c->last ? f->start : c->last + 1;
	return btag_last(f) - *start >= size - 1 ? f : NULL;
}

/* Cuts [start, start + size) out of free segment f for next fit, taking two tags at most.  Returns
 * whether something is left undone. */
static inline bool btag_carve_next_quick(
	struct btag_store *s, struct btag *f, uintptr_t start, size_t size)
{
	size_t below = start - f->start;
	struct btag *t;
	bool unsettled = false;

	if (below > 0) {
		t = btag_tag_insert(s, f, BTAG_FREE, f->start, below);
		f->start = start;
		btag_bin_link(s, t, btag_bin_of(below >> s->shift));
		s->segments_free++;
		unsettled = btag_resize(f, f->size - below, f->size - below);
	}
	unsettled = btag_carve_quick(s, f, size, &t) || unsettled;
	s->next_fit.at = t;
	s->next_fit.last = start + (size - 1);
	return unsettled;
}

/* Tag t is no more: what it stood for has become part of `joined`. */
static inline void btag_joined_quick(struct btag_store *s, struct btag *t, struct btag *joined)
{
	if (__builtin_expect(s->next_fit.at == t, 0))
		s->next_fit.at = joined;
	btag_chain_push(&s->spare, t);
}

/* Joins used segment t with its neighbours, which are both free: the larger one, which is returned
 * in *joined, keeps its tag, and mostly its bin.  Returns whether it may be in the wrong one
 * now. */
bool btag_join_both(struct btag_store *s, struct btag *t, struct btag **joined);

/* Joins free segment t of `size`, which is in no bin, with its free neighbours, into *joined.
 * Returns whether that may be in the wrong bin now. */
static inline __attribute__((always_inline)) bool btag_join_quick(
	struct btag_store *s, struct btag *t, size_t size, struct btag **joined)
{
	struct btag *prev = t->prev, *next = t->next;

	if (prev->kind == BTAG_FREE) {
		if (next->kind == BTAG_FREE)
			return btag_join_both(s, t, joined);
		prev->next = next;
		next->prev = prev;
		btag_joined_quick(s, t, prev);
		*joined = prev;
		return btag_resize(prev, prev->size + size, prev->size);
	}
	if (next->kind == BTAG_FREE) {
		next->start = t->start;
		next->prev = prev;
		prev->next = next;
		btag_joined_quick(s, t, next);
		*joined = next;
		return btag_resize(next, next->size + size, next->size);
	}
	t->kind = BTAG_FREE;
	btag_bin_link(s, t, btag_bin_of(size >> s->shift));
	s->segments_free++;
	*joined = t;
	return false;
}

/* The peak is noted as `used` leaves it: growing costs nothing. */
static inline void btag_used_shrink(struct btag_store *s, size_t size)
{
	if (__builtin_expect(s->used > s->used_peak, 0))
		s->used_peak = s->used;
	s->used -= size;
}

/* Makes used segment t, to which *link points, free; *joined is the free segment it became part of.
 * Returns whether something is left undone. */
static inline __attribute__((always_inline)) bool btag_release_quick(
	struct btag_store *s, struct btag **link, struct btag *t, struct btag **joined)
{
	size_t size = t->size;

	btag_hash_leave(&s->hash, link, t);
	btag_used_shrink(s, size);
	return btag_join_quick(s, t, size, joined) || btag_hash_is_sparse(&s->hash);
}

/* Spans */

static inline struct btag *btag_of_span(const struct tree_node *n)
{
	return n ? container_of(n, struct btag, span) : NULL;
}

/* Fills *e for [start, start + size); false if it overlaps a span.  Logarithmic in spans. */
static inline __attribute__((always_inline)) bool btag_extent_find(
	const struct btag_store *s, uintptr_t start, size_t size, struct btag_extent *e)
{
	struct tree_node *n = s->span_tree.root, *below = NULL, *above = NULL;

	while (n) {
		bool right = btag_of_span(n)->start <= start;

		below = right ? n : below;
		above = right ? above : n;
		n = right ? n->right : n->left;
	}
	e->start = start;
	e->size = size;
	e->below = btag_of_span(below);
	e->above = btag_of_span(above);
	btag_round_inward(s, start, size, &e->first, &e->inside);
	return !(below && btag_last(e->below) >= start) && !(above && e->above->start - start < size);
}

/* A tag for the extent, and its place in the tree: beneath one of its neighbours. */
static inline struct btag *btag_span_enter(struct btag_store *s, const struct btag_extent *e)
{
	struct btag *next = e->above ? e->above : &s->anchor;
	struct btag *span = btag_tag_insert(s, next, BTAG_SPAN, e->start, e->size);
	bool left = e->above && !e->above->span.left;
	struct btag *parent = left ? e->above : e->below;

	span->by_xalloc = false;
	tree_insert_at(&s->span_tree, parent ? &parent->span : NULL, !left, &span->span, &btag_span_order);
	s->spans++;
	s->total += e->inside;
	return span;
}

/* btag_span_import(), and makes the first `size` units of the segment a used one, which is
 * returned.  Takes 3 tags.  No index is live. */
static inline __attribute__((always_inline)) struct btag *btag_span_import_used(
	struct btag_store *s, const struct btag_extent *e, size_t size)
{
	struct btag *span = btag_span_enter(s, e), *next = span->next;
	struct btag *t = btag_tag_insert(s, next, BTAG_USED, e->first, size);

	s->used += size;
	btag_hash_enter(&s->hash, t);
	if (__builtin_expect(e->inside != size, 0))
		btag_bin_insert(s, btag_tag_insert(s, next, BTAG_FREE, e->first + size, e->inside - size));
	if (btag_hash_is_full(&s->hash))
		btag_hash_grow(&s->hash);
	return t;
}

/* Takes a span out, and the used segment that is the whole of it, to which *link points in the
 * hash, which isn't to shrink for that: they remain what they were, in the caller's hand, until
 * btag_span_end_quick() makes them spare tags. */
static inline void btag_span_unlink_quick(struct btag_store *s, struct btag **link, struct btag *span)
{
	btag_hash_leave(&s->hash, link, span->next);
	tree_remove(&s->span_tree, &span->span, &btag_span_order);
}

static inline void btag_span_end_quick(struct btag_store *s, struct btag *span)
{
	struct btag *t = span->next, *prev = span->prev, *next = t->next;

	btag_used_shrink(s, t->size);
	s->total -= t->size;
	s->spans--;
	prev->next = next;
	next->prev = prev;
	btag_joined_quick(s, t, prev);
	btag_joined_quick(s, span, prev);
}

#endif
