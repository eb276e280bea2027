/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segment store: address order, spans, carving and coalescing.
 *
 * The list of tags runs through all spans in address order: a span's tag, then its segments, then
 * the next span's.  Since a span's tag is never free, segments of two spans never coalesce, and
 * "the whole span is free" reads: one free segment between two span tags (the anchor counts as
 * one).
 */
#include "btag_quick.h"

#include "lib/string.h"

#define unlikely(x) __builtin_expect(!!(x), 0)

void btag_store_init(struct btag_store *s, size_t quantum)
{
	memset(s, 0, sizeof(*s));
	s->quantum = quantum;
	s->shift = quantum & (quantum - 1) ? -1 : __builtin_ctzl(quantum);
	s->anchor.kind = BTAG_SPAN;
	s->anchor.prev = s->anchor.next = &s->anchor;
	list_init(&s->cursors);
	s->next_fit.at = &s->anchor;
	btag_hash_init(&s->hash);
	btag_detour_update(s);
}

void btag_detour_update(struct btag_store *s)
{
	bool quick = s->shift >= 0 && !s->index.live && list_empty(&s->cursors);

	s->detour = (s->detour & ~BTAG_DETOUR_STORE) | (quick ? 0 : BTAG_DETOUR_STORE);
}

/* Tags */

void btag_give(struct btag_store *s, struct btag_chain *chain)
{
	while (chain->head)
		btag_chain_push(&s->spare, btag_chain_pop(chain));
}

void btag_take(struct btag_store *s, struct btag_chain *chain, size_t count)
{
	while (chain->count < count && s->spare.head)
		btag_chain_push(chain, btag_chain_pop(&s->spare));
}

/* A cursor that stands at a tag that goes falls back to the one before: all of that lies behind the
 * cursor, or, if it has taken over the segment of the one that goes, is passed in part. */
static void cursors_leave(struct btag_store *s, struct btag *t)
{
	struct btag_cursor *c;

	if (s->next_fit.at == t)
		s->next_fit.at = t->prev;
	list_for_each_entry (c, &s->cursors, link)
		if (c->at == t)
			c->at = t->prev;
}

static void tag_remove(struct btag_store *s, struct btag *t)
{
	cursors_leave(s, t);
	t->prev->next = t->next;
	t->next->prev = t->prev;
	btag_chain_push(&s->spare, t);
}

/* Makes the segment of t, which is in no bin and no hash, free: joins it with its free neighbours. */
static struct btag *coalesce(struct btag_store *s, struct btag *t)
{
	struct btag *prev = t->prev->kind == BTAG_FREE ? t->prev : NULL;
	struct btag *next = t->next->kind == BTAG_FREE ? t->next : NULL;
	struct btag *joined = prev ? prev : t;

	t->kind = BTAG_FREE;
	if (next) {
		btag_bin_remove(s, next);
		t->size += next->size;
		tag_remove(s, next);
	}
	if (prev) {
		btag_bin_remove(s, prev);
		prev->size += t->size;
		tag_remove(s, t);
	}
	btag_bin_insert(s, joined);
	/* The tags that went still have their start and node. */
	if (unlikely(s->index.live))
		btag_index_joined(s, prev, t, next);
	return joined;
}

/* Spans */

static bool span_before(const struct tree_node *a, const struct tree_node *b)
{
	return btag_of_span(a)->start < btag_of_span(b)->start;
}

const struct tree_ops btag_span_order = {.before = span_before};

struct btag *btag_span_below(const struct btag_store *s, uintptr_t addr)
{
	struct tree_node *n = s->span_tree.root, *best = NULL;

	while (n) {
		bool below = btag_of_span(n)->start <= addr;

		best = below ? n : best;
		n = below ? n->right : n->left;
	}
	return btag_of_span(best);
}

struct btag *btag_span_above(const struct btag_store *s, uintptr_t addr)
{
	struct tree_node *n = s->span_tree.root, *best = NULL;

	while (n) {
		bool above = btag_of_span(n)->start >= addr;

		best = above ? n : best;
		n = above ? n->left : n->right;
	}
	return btag_of_span(best);
}

bool btag_span_overlaps(const struct btag_store *s, uintptr_t start, size_t size)
{
	struct btag *below = btag_span_below(s, start), *above = btag_span_above(s, start);

	return (below && btag_last(below) >= start) || (above && above->start - start < size);
}

struct btag *btag_span_import(struct btag_store *s, const struct btag_extent *e)
{
	struct btag *span = btag_span_enter(s, e);
	struct btag *f = btag_tag_insert(s, span->next, BTAG_FREE, e->first, e->inside);

	btag_bin_insert(s, f);
	if (unlikely(s->index.live))
		btag_index_joined(s, NULL, f, NULL);
	return f;
}

/* Takes a span's tag away from between two segments: what follows belongs to the span before. */
static void span_join(struct btag_store *s, struct btag *below, struct btag *above)
{
	below->size += above->size;
	tree_remove(&s->span_tree, &above->span, &btag_span_order);
	s->spans--;
	tag_remove(s, above);
}

void btag_span_add(struct btag_store *s, uintptr_t start, size_t size)
{
	struct btag *below = btag_span_below(s, start), *above = btag_span_above(s, start);
	struct btag *next = above ? above : &s->anchor;
	struct btag *span, *f;

	span = btag_tag_insert(s, next, BTAG_SPAN, start, size);
	span->by_xalloc = false;
	f = btag_tag_insert(s, next, BTAG_USED, start, size);
	tree_insert(&s->span_tree, &span->span, &btag_span_order);
	s->spans++;
	s->total += size;

	if (above && btag_last(span) + 1 == above->start)
		span_join(s, span, above);
	if (below && btag_last(below) + 1 == start)
		span_join(s, below, span);
	coalesce(s, f);
}

void btag_span_remove(struct btag_store *s, struct btag *span)
{
	struct btag *f = span->next;

	s->total -= f->size;
	s->spans--;
	btag_bin_remove(s, f);
	if (unlikely(s->index.live))
		btag_index_removed(s, f);
	tree_remove(&s->span_tree, &span->span, &btag_span_order);
	tag_remove(s, f);
	tag_remove(s, span);
}

/* Segments */

struct btag *btag_carve(struct btag_store *s, struct btag *f, uintptr_t start, size_t size)
{
	uintptr_t last = btag_last(f);
	struct btag *t = f, *rest = NULL;

	btag_bin_remove(s, f);
	if (start != f->start) {
		t = btag_tag_insert(s, f->next, BTAG_USED, start, last - start + 1);
		f->size = start - f->start;
		btag_bin_insert(s, f);
	}
	if (t->size != size) {
		rest = btag_tag_insert(s, t->next, BTAG_FREE, start + size, t->size - size);
		t->size = size;
		btag_bin_insert(s, rest);
	}
	t->kind = BTAG_USED;
	s->used += size;
	btag_hash_insert(&s->hash, t);
	if (unlikely(s->index.live))
		btag_index_carved(s, f, t, rest);
	return t;
}

struct btag *btag_find(const struct btag_store *s, uintptr_t addr)
{
	return btag_hash_find(&s->hash, addr);
}

struct btag *btag_release(struct btag_store *s, struct btag *t)
{
	btag_hash_remove(&s->hash, t);
	btag_used_shrink(s, t->size);
	return coalesce(s, t);
}

bool btag_join_both(struct btag_store *s, struct btag *t, struct btag **joined)
{
	struct btag *prev = t->prev, *next = t->next;
	bool keeps_prev = prev->size >= next->size;
	struct btag *f = keeps_prev ? prev : next, *gone = keeps_prev ? next : prev;
	size_t size = f->size + t->size + gone->size;

	btag_bin_unlink(s, gone);
	s->segments_free--;
	if (keeps_prev) {
		f->next = next->next;
		f->next->prev = f;
	} else {
		f->start = prev->start;
		f->prev = prev->prev;
		f->prev->next = f;
	}
	btag_joined_quick(s, t, f);
	btag_joined_quick(s, gone, f);
	*joined = f;
	return btag_resize(f, size, f->size);
}

static void bin_replace(struct btag_store *s, struct btag *from, struct btag *to)
{
	if (from->bin_prev)
		from->bin_prev->bin_next = to;
	else
		s->bins[from->bin] = to;
	if (from->bin_next)
		from->bin_next->bin_prev = to;
}

void btag_move(struct btag_store *s, struct btag *from, struct btag *to)
{
	struct btag_cursor *c;

	*to = *from;
	to->prev->next = to->next->prev = to;
	if (from->kind == BTAG_FREE) {
		bin_replace(s, from, to);
		if (s->index.live)
			btag_index_moved(s, to);
	} else if (btag_is_used(from))
		btag_hash_replace(&s->hash, from, to);
	else
		tree_replace(&s->span_tree, &from->span, &to->span);
	if (s->next_fit.at == from)
		s->next_fit.at = to;
	list_for_each_entry (c, &s->cursors, link)
		if (c->at == from)
			c->at = to;
	from->kind = BTAG_IDLE;
}

/* Cursors */

void btag_cursor_open(struct btag_store *s, struct btag_cursor *c)
{
	c->at = &s->anchor;
	c->last = 0;
	c->begun = false;
	list_add(&s->cursors, &c->link);
	btag_detour_update(s);
}

void btag_cursor_close(struct btag_store *s, struct btag_cursor *c)
{
	list_del(&c->link);
	btag_detour_update(s);
}

void btag_cursor_move(struct btag_cursor *c, struct btag *t)
{
	c->at = t;
	c->last = btag_last(t);
	c->begun = true;
}

/* Where the part of segment or span t begins that isn't behind the cursor; false if all of it is. */
static bool ahead_of(const struct btag_cursor *c, const struct btag *t, uintptr_t *start)
{
	*start = t->start;
	if (!c->begun || t->start > c->last)
		return true;
	*start = c->last + 1;
	return btag_last(t) > c->last;
}

/* The tag it stands at has been passed, unless it is a segment that has grown since. */
struct btag *btag_cursor_next(struct btag_store *s, struct btag_cursor *c, uintptr_t *start)
{
	struct btag *t = c->at;

	if (t->kind == BTAG_SPAN || !ahead_of(c, t, start)) {
		do
			t = t->next;
		while (t != &s->anchor && !ahead_of(c, t, start));
	}
	if (t == &s->anchor)
		return NULL;
	if (t->kind == BTAG_SPAN)
		c->at = t;
	else
		btag_cursor_move(c, t);
	return t;
}
