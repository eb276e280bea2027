/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segment store: spans and cursors.  Carving and releasing are in btag.h.
 *
 * The list of tags runs through all spans in address order: a span's tag, then its segments, then
 * the next span's.  Since a span's tag is never free, segments of two spans never coalesce, and
 * "the whole span is free" reads: one free segment between two span tags (the anchor counts as
 * one).
 */
#include "btag.h"

#include "lib/string.h"

void btag_store_init(struct btag_store *s, size_t quantum)
{
	memset(s, 0, sizeof(*s));
	s->quantum = quantum;
	s->is_power = (quantum & (quantum - 1)) == 0;
	s->shift = 63 ^ (unsigned)__builtin_clzl(quantum);
	s->anchor.kind = BTAG_SPAN;
	s->anchor.prev = s->anchor.next = &s->anchor;
	linear_hash_init(&s->hash);
}

void btag_watch_update(struct btag_store *s)
{
	s->is_watched = s->cursors || s->index.live;
}

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

/* Spans */

static inline struct btag *span_of(const struct tree_node *n)
{
	return n ? container_of(n, struct btag, span) : NULL;
}

static bool span_before(const struct tree_node *a, const struct tree_node *b)
{
	return span_of(a)->start < span_of(b)->start;
}

const struct tree_ops btag_span_order = {.before = span_before};

/* The last span that starts at or before addr, and the first that starts behind. */
static inline void spans_around(
	const struct btag_store *s, uintptr_t addr, struct btag **below, struct btag **above)
{
	struct tree_node *n = s->span_tree.root, *last = NULL, *first = NULL;

	while (n) {
		bool right = span_of(n)->start <= addr;

		last = right ? n : last;
		first = right ? first : n;
		n = right ? n->right : n->left;
	}
	*below = span_of(last);
	*above = span_of(first);
}

struct btag *btag_span_below(const struct btag_store *s, uintptr_t addr)
{
	struct btag *below, *above;

	spans_around(s, addr, &below, &above);
	return below;
}

struct btag *btag_span_above(const struct btag_store *s, uintptr_t addr)
{
	struct btag *below, *above;

	spans_around(s, addr, &below, &above);
	return below && below->start == addr ? below : above;
}

bool btag_extent_find(const struct btag_store *s, uintptr_t start, size_t size, struct btag_extent *e)
{
	uintptr_t last = start + (size - 1);

	spans_around(s, start, &e->below, &e->above);
	e->start = start;
	e->size = size;
	e->first = btag_round_up(s, start);
	e->inside = e->first == 0 || e->first > last ? 0 : btag_round_down(s, last - e->first + 1);
	return !(e->below && btag_last(e->below) >= start) && !(e->above && e->above->start <= last);
}

/* A tag for the extent, in its place in the tree: beneath one of its neighbours. */
static inline void span_enter(
	struct btag_store *s, const struct btag_extent *e, bool by_xalloc, struct btag *next)
{
	struct btag *span = btag_tag_insert(s, next, BTAG_SPAN, e->start, e->size);
	bool left = e->above && !e->above->span.left;
	struct btag *parent = left ? e->above : e->below;

	span->by_xalloc = by_xalloc;
	tree_insert_at(&s->span_tree, parent ? &parent->span : NULL, !left, &span->span, &btag_span_order);
	s->spans++;
	s->total += e->inside;
}

struct btag *btag_span_in(struct btag_store *s, const struct btag_extent *e, bool by_xalloc,
	uintptr_t start, size_t size, enum btag_kind kind)
{
	struct btag *next = e->above ? e->above : &s->anchor, *t = NULL;
	uintptr_t end = start + size;
	size_t above = e->inside - size - (start - e->first);

	s->changes++;
	span_enter(s, e, by_xalloc, next);
	if (start != e->first)
		btag_free_enter(s, btag_tag_insert(s, next, BTAG_FREE, e->first, start - e->first));
	if (size > 0) {
		t = btag_tag_insert(s, next, kind, start, size);
		t->user = NULL;
		s->used += size;
		linear_hash_insert(&s->hash, &t->link);
		if (above == 0)
			return t;
	}
	next = btag_tag_insert(s, next, BTAG_FREE, end, above);
	btag_free_enter(s, next);
	return t ? t : next;
}

void btag_span_join(struct btag_store *s, struct btag *below, struct btag *above)
{
	struct btag *end = above->prev, *begin = above->next;

	s->changes++;
	below->size += above->size;
	tree_remove(&s->span_tree, &above->span, &btag_span_order);
	s->spans--;
	btag_tag_remove(s, above);
	if (end->kind != BTAG_FREE || begin->kind != BTAG_FREE)
		return;
	btag_free_leave(s, begin);
	btag_tag_remove(s, begin);
	btag_free_resize(s, end, end->start, end->size + begin->size);
}

void btag_span_out(struct btag_store *s, struct btag *span)
{
	struct btag *t = span->next;

	if (t->kind == BTAG_FREE)
		btag_free_leave(s, t);
	s->changes++;
	tree_remove(&s->span_tree, &span->span, &btag_span_order);
	s->spans--;
	s->total -= t->size;
	btag_tag_remove(s, t);
	btag_tag_remove(s, span);
}

void btag_span_split(struct btag_store *s, struct btag *span, struct btag *t, uintptr_t at)
{
	struct btag *upper = btag_tag_insert(s, t, BTAG_SPAN, at, btag_last(span) - at + 1);

	s->changes++;
	span->size -= upper->size;
	upper->by_xalloc = span->by_xalloc;
	tree_insert(&s->span_tree, &upper->span, &btag_span_order);
	s->spans++;
}

void btag_split(struct btag_store *s, struct btag *t, uintptr_t at)
{
	struct btag *upper = btag_tag_insert(s, t->next, t->kind, at, btag_last(t) - at + 1);

	s->changes++;
	t->size -= upper->size;
	upper->user = t->user;
	upper->since = t->since;
	linear_hash_insert(&s->hash, &upper->link);
}

void btag_grow(struct btag_store *s, struct btag *t, size_t more)
{
	struct btag *f = t->next;

	s->changes++;
	t->size += more;
	s->used += more;
	if (f->size == more) {
		btag_free_leave(s, f);
		btag_tag_remove(s, f);
		return;
	}
	if (s->is_watched)
		btag_cursors_split(s, f, t);
	btag_free_resize(s, f, f->start + more, f->size - more);
}

void btag_span_grow(struct btag_store *s, struct btag *t, size_t more)
{
	s->changes++;
	btag_span_below(s, t->start)->size += more;
	t->size += more;
	s->used += more;
	s->total += more;
}

struct btag *btag_carve_above(
	struct btag_store *s, struct btag *f, uintptr_t start, size_t size, enum btag_kind kind)
{
	size_t below = start - f->start, above = f->size - below - size;
	struct btag *next = f->next, *t = btag_tag_insert(s, next, kind, start, size);

	/* While f is whole in the index, what enters beside it changes no maximum above both. */
	if (above > 0)
		btag_free_enter(s, btag_tag_insert(s, next, BTAG_FREE, start + size, above));
	btag_free_resize(s, f, f->start, below);
	return t;
}

void btag_retag(struct btag_store *s, struct btag *t)
{
	struct btag *to = btag_chain_pop(&s->spare);
	struct hash_link **link = btag_is_used(t) ? btag_seek(s, t->start) : NULL;

	if (t->kind == BTAG_FREE)
		btag_free_leave(s, t);
	else if (t->kind == BTAG_SPAN)
		tree_remove(&s->span_tree, &t->span, &btag_span_order);
	s->changes++;
	*to = *t;
	to->prev->next = to->next->prev = to;
	if (link)
		*link = &to->link;
	else if (to->kind == BTAG_FREE)
		btag_free_enter(s, to);
	else
		tree_insert(&s->span_tree, &to->span, &btag_span_order);
	for (struct btag_cursor *c = s->cursors; c; c = c->next_open)
		c->at = c->at == t ? to : c->at;
	t->kind = BTAG_IDLE;
}

/* Cursors */

void btag_cursor_open(struct btag_store *s, struct btag_cursor *c)
{
	*c = (struct btag_cursor){.next_open = s->cursors, .at = &s->anchor};
	s->cursors = c;
	btag_watch_update(s);
}

void btag_cursor_close(struct btag_store *s, struct btag_cursor *c)
{
	struct btag_cursor **link = &s->cursors;

	while (*link != c)
		link = &(*link)->next_open;
	*link = c->next_open;
	btag_watch_update(s);
}

void btag_cursors_leave(struct btag_store *s, struct btag *t)
{
	for (struct btag_cursor *c = s->cursors; c; c = c->next_open)
		if (c->at == t)
			c->at = t->prev;
}

void btag_cursors_split(struct btag_store *s, struct btag *t, struct btag *front)
{
	for (struct btag_cursor *c = s->cursors; c; c = c->next_open)
		if (c->at == t && !(c->begun && c->last >= btag_last(front)))
			c->at = front;
}

static void move_behind(struct btag_cursor *c, struct btag *t)
{
	c->at = t;
	c->last = btag_last(t);
	c->begun = true;
}

/* Where the part of segment or span t begins that isn't behind the cursor; 0 if all of it is. */
static uintptr_t ahead_of(const struct btag_cursor *c, const struct btag *t)
{
	if (!c->begun || t->start > c->last)
		return t->start;
	return btag_last(t) > c->last ? c->last + 1 : 0;
}

/* The tag it stands at has been passed, unless it is a segment that has grown since. */
struct btag *btag_cursor_next(struct btag_store *s, struct btag_cursor *c, uintptr_t *start)
{
	struct btag *t = c->at;

	if (t->kind == BTAG_SPAN || !ahead_of(c, t))
		t = t->next;
	if (t == &s->anchor)
		return NULL;
	*start = ahead_of(c, t);
	if (t->kind == BTAG_SPAN || *start == 0)
		c->at = t;
	else
		move_behind(c, t);
	return t;
}

void btag_next_fit_move(struct btag_store *s, struct btag *t)
{
	if (!s->next_fit.begun)
		btag_cursor_open(s, &s->next_fit);
	move_behind(&s->next_fit, t);
}
