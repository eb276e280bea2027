/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Going home: an arena gives back what it has and doesn't need.
 *
 * In this order, since each makes more of the next: what its front holds idle; the spans it
 * retains; its index; pages of its hash; spare tags.  Then pages of tags go back to the base arena.
 * A page goes only when none of its tags is in use, and a single tag that happens to lie there
 * would keep it; so tags move: from emptier pages to fuller ones, a few at a time, while there are
 * idle tags enough to fill a page.  Those of all arenas over the base do, for whosever a tag is, it
 * keeps its page.  The last page may hold one tag that is in use because the page is: it goes, too.
 */
#include "arena_impl.h"

#include "sync.h"

/* Steps under one hold of a lock. */
#define REAP_TAGS 32  /* tags handed to the supply */
#define REAP_MOVES 8 /* tags that move */
#define REAP_SHRINKS 8 /* buckets of the hash */

/* Spans */

size_t arena_spans_reap(struct arena *a, size_t wanted)
{
	struct arena_span span = {0};
	size_t given = 0;

	while (given < wanted && arena_span_retire(a, span.start, &span)) {
		arena_span_return(a, &span);
		given += span.size;
	}
	return given;
}

/* The hash */

/* Shrinks it a little; says whether there is more to do. */
static bool hash_step(struct arena *a, void **page)
{
	port_irq_t irq = arena_lock(a);
	bool more = true;

	for (int i = 0; i < REAP_SHRINKS && more; i++)
		more = btag_hash_trim(&a->store.hash);
	*page = btag_hash_take_page(&a->store.hash, 0);
	arena_unlock(a, irq);
	return more || *page;
}

static size_t hash_reap(struct arena *a)
{
	size_t pages = 0;
	void *page;

	while (hash_step(a, &page)) {
		if (page) {
			arena_hash_page_return(a, page);
			pages++;
		}
	}
	return pages;
}

/* Tags */

static void tags_reap(struct arena *a)
{
	size_t taken;

	do {
		struct btag_chain chain = {NULL, 0};
		port_irq_t irq = arena_lock(a);
		size_t spare = a->store.spare.count > a->tag_reserve ? a->store.spare.count - a->tag_reserve : 0;

		btag_take(&a->store, &chain, spare < REAP_TAGS ? spare : REAP_TAGS);
		arena_unlock(a, irq);
		taken = chain.count;
		arena_tags_give_up(a, &chain);
	} while (taken == REAP_TAGS);
}

/* A tag of one of the fullest pages there are, in exchange for t if that is fuller than t's own; else
 * t, and another page comes first: a list has pages that differ a little, and if its first is the
 * emptiest no tag would ever move.  The supply's lock is held. */
static struct btag *tag_exchange(struct tag_supply *supply, struct btag *t)
{
	struct btag_chain chain = {NULL, 0};
	struct btag *fresh;

	tag_supply_take(supply, &chain, 1);
	fresh = btag_chain_pop(&chain);
	if (tag_supply_is_denser(fresh, t))
		return fresh;
	btag_chain_push(&chain, fresh);
	tag_supply_give(supply, &chain);
	tag_supply_pass_by(supply, fresh);
	return t;
}

/* Gives the tag that was exchanged back.  The supply's lock is held. */
static void tag_drop(struct tag_supply *supply, struct btag *t)
{
	struct btag_chain chain = {NULL, 0};

	btag_chain_push(&chain, t);
	tag_supply_give(supply, &chain);
}

static bool segment_tag_move(struct arena *a, struct btag *t)
{
	struct btag *fresh = tag_exchange(a->supply, t);

	if (fresh == t)
		return false;
	btag_move(&a->store, t, fresh);
	tag_drop(a->supply, t);
	return true;
}

/* The same for the tags that a base arena keeps in reserve. */
static size_t reserve_move(struct arena *base)
{
	port_irq_t irq = spin_lock(&base->supply->lock), inner = arena_lock(base);
	struct btag_chain reserve = {NULL, 0};
	size_t moved = 0;

	btag_take(&base->store, &reserve, base->supply->idle > 0 ? base->tag_reserve : 0);
	while (reserve.count > 0) {
		struct btag *t = btag_chain_pop(&reserve), *fresh = tag_exchange(base->supply, t);

		btag_chain_push(&base->store.spare, fresh);
		if (fresh != t) {
			tag_drop(base->supply, t);
			moved++;
		}
	}
	arena_unlock(base, inner);
	spin_unlock(&base->supply->lock, irq);
	return moved;
}

/* Moves the tags of the next few segments; returns how many moved, and in *more whether it is worth
 * going on: segments are left, and idle tags enough to fill a page. */
static size_t compact_step(struct arena *a, struct btag_cursor *c, bool *more)
{
	port_irq_t irq = spin_lock(&a->supply->lock), inner = arena_lock(a);
	struct btag *t = NULL;
	uintptr_t start;
	size_t moved = 0;

	*more = a->supply->idle >= TAG_PAGE_TAGS - 1;
	for (int i = 0; i < REAP_MOVES && *more; i++) {
		t = btag_cursor_next(&a->store, c, &start);
		*more = t != NULL;
		moved += t && segment_tag_move(a, t);
	}
	arena_unlock(a, inner);
	spin_unlock(&a->supply->lock, irq);
	return moved;
}

/* One walk over the arena's tags; returns how many moved. */
static size_t compact(struct arena *a)
{
	struct btag_cursor c;
	size_t moved = 0;
	bool more;
	port_irq_t irq = arena_lock(a);

	btag_cursor_open(&a->store, &c);
	arena_unlock(a, irq);
	do
		moved += compact_step(a, &c, &more);
	while (more);
	irq = arena_lock(a);
	btag_cursor_close(&a->store, &c);
	arena_unlock(a, irq);
	return moved;
}

/* The same for all arenas whose tags come from this base's pages, and for its reserve. */
static size_t compact_all(struct arena *base)
{
	size_t moved = reserve_move(base);

	qlock_lock(&arenas_and_slabs_lock);
	for (struct arena *a = all_arenas; a; a = a->all_next)
		if (a->base == base)
			moved += compact(a);
	qlock_unlock(&arenas_and_slabs_lock);
	return moved;
}

/* Gives every page of idle tags, or nodes, back to the base arena; returns how many. */
static size_t pages_reap(struct arena *base, struct tag_supply *supply)
{
	size_t pages = 0;
	void *page;

	for (;;) {
		port_irq_t irq = spin_lock(&supply->lock);

		page = tag_supply_take_page(supply);
		spin_unlock(&supply->lock, irq);
		if (!page)
			return pages;
		arena_segment_free(base, page, PORT_PAGE_SIZE, __builtin_return_address(0));
		pages++;
	}
}

/* Gives those tags in a base's hand that lie in `page` back to the supply.  Both locks held. */
static void hand_leave(struct arena *base, const void *page)
{
	struct btag_chain hand = base->store.spare;

	base->store.spare = (struct btag_chain){NULL, 0};
	while (hand.count > 0) {
		struct btag *t = btag_chain_pop(&hand);

		if (tag_supply_holds(page, t))
			tag_drop(base->supply, t);
		else
			btag_chain_push(&base->store.spare, t);
	}
}

static bool is_free_in(const void *page, const struct btag *t)
{
	return t->kind == BTAG_FREE && tag_supply_holds(page, t);
}

/* The same for a page that one tag keeps which going spares: the tag of its own segment, or of one
 * that this joins, or a tag in hand.  Segments that join give a tag back, so the reserve stays. */
static bool own_page_reap(struct arena *base)
{
	struct tag_supply *supply = base->supply;
	port_irq_t irq = spin_lock(&supply->lock), inner = arena_lock(base);
	void *page = tag_supply_page_but_one(supply);
	struct btag *t = page ? btag_find(&base->store, (uintptr_t)page) : NULL, *f;
	bool goes = t && (t->prev->kind == BTAG_FREE || t->next->kind == BTAG_FREE) &&
		    (tag_supply_holds(page, t) || is_free_in(page, t->prev) || is_free_in(page, t->next) ||
			    tag_supply_holds(page, base->store.spare.head));

	if (goes) {
		f = btag_release(&base->store, t);
		if (tag_supply_holds(page, f)) {
			btag_move(&base->store, f, btag_chain_pop(&base->store.spare));
			tag_drop(supply, f);
		} else {
			hand_leave(base, page);
		}
		tag_supply_take_page(supply);
	}
	arena_unlock(base, inner);
	spin_unlock(&supply->lock, irq);
	if (goes)
		arena_freed(base);
	return goes;
}

/* An index is dropped whole: it comes again when it is needed. */
static size_t index_reap(struct arena *a)
{
	arena_index_drop(a);
	arena_index_drop(a->base);
	return pages_reap(a->base, a->node_supply);
}

/* Rounds of these end when one moved nothing and freed nothing: each move fills a fuller page.  The
 * base's hash shrinks as its pages of tags, segments of its own, go. */
static size_t tag_pages_reap(struct arena *a)
{
	size_t pages = 0, moved, gained;

	do {
		tags_reap(a);
		tags_reap(a->base);
		gained = pages_reap(a->base, a->supply) + own_page_reap(a->base) + hash_reap(a->base);
		moved = compact_all(a->base);
		pages += gained;
	} while (moved + gained > 0);
	return pages;
}

size_t arena_reap(struct arena *a, size_t amount)
{
	size_t given = 0;

	if (a->front)
		a->front->drain(a->front, true);
	if (a->afunc)
		given += arena_spans_reap(a, amount);
	if (given < amount)
		given += index_reap(a) * PORT_PAGE_SIZE;
	if (given < amount)
		given += hash_reap(a) * PORT_PAGE_SIZE;
	if (given < amount)
		given += tag_pages_reap(a) * PORT_PAGE_SIZE;
	return given;
}
