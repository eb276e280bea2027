/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Giving back: what an arena has and doesn't need.
 *
 * In this order, since each makes more of the next: what its front holds idle; the spans it retains;
 * its index; pages of its hash; spare tags.  Then pages of tags go back to the base arena, those of
 * which every tag is idle.  Tags are taken from the fullest pages first, so that there are some.
 */
#include "arena_impl.h"

#include "sync.h"

/* Steps under one hold of a lock. */
#define REAP_TAGS 32  /* tags handed to the supply */
#define REAP_SHRINKS 8 /* buckets of the hash */

/* Spans */

/* Looks at one span after the other, until one is found or none is left. */
bool arena_span_retire(struct arena *a, uintptr_t from, struct arena_span *left)
{
	struct btag *span;
	bool found;

	do {
		port_irq_t irq = spin_lock(&a->lock);

		span = a->retained ? btag_span_above(&a->store, from) : NULL;
		found = span && span->next->kind == BTAG_FREE && btag_span_whole(span->next);
		if (span)
			from = span->start + 1;
		if (found) {
			a->retained -= span->size;
			*left = (struct arena_span){span->start, span->size, span->by_xalloc};
			btag_span_out(&a->store, span);
			a->returns++;
		}
		spin_unlock(&a->lock, irq);
	} while (span && !found && from != 0);
	return found;
}

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
	port_irq_t irq = spin_lock(&a->lock);
	bool more = true;

	for (int i = 0; i < REAP_SHRINKS && more; i++)
		more = linear_hash_trim(&a->store.hash);
	*page = linear_hash_take_page(&a->store.hash, 0);
	spin_unlock(&a->lock, irq);
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
		port_irq_t irq = spin_lock(&a->lock);
		size_t spare = arena_tags(a);

		btag_take(&a->store, &chain, spare < REAP_TAGS ? spare : REAP_TAGS);
		spin_unlock(&a->lock, irq);
		taken = chain.count;
		arena_tags_give_up(a, &chain);
	} while (taken == REAP_TAGS);
}

/* Gives every page of idle nodes back to the base arena; returns how many. */
static size_t node_pages_reap(struct arena *base)
{
	struct tag_supply *supply = base->node_supply;
	size_t pages = 0;
	void *page;

	do {
		port_irq_t irq = spin_lock(&supply->lock);

		page = tag_supply_take_page(supply);
		spin_unlock(&supply->lock, irq);
		if (page)
			arena_segment_free(base, page, PORT_PAGE_SIZE, __builtin_return_address(0));
		pages += page != NULL;
	} while (page);
	return pages;
}

/* An index that arena_index() asked for stays. */
static size_t index_reap(struct arena *a)
{
	if (!a->store.index.is_pinned)
		arena_index_drop(a);
	return node_pages_reap(a->base);
}

/* A page that goes leaves tags behind, those of neighbours it joins: so another may be idle then.  As
 * long as that gives something.  The base keeps a tag in hand, for a page's own to hand over to. */
static size_t tag_pages_reap(struct arena *a)
{
	size_t pages = 0, gained;

	do {
		tags_reap(a);
		tags_reap(a->base);
		arena_tags_fetch(a->base);
		gained = arena_tag_pages_return(a->base) + hash_reap(a->base);
		pages += gained;
	} while (gained > 0);
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
