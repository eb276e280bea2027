/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: what a segment store has in hand, so that it needs no memory under the arena's lock: tags,
 * nodes of its index, pages of its hash.
 *
 * All of it is made of pages of the nearest base arena.  Tags and nodes come in small lots from the
 * base's supplies (supply.h), hash pages one by one.  Tags are fetched when a request finds too few;
 * nodes and hash pages after the fact, by arena_care(), in one bounded step for each operation that
 * leaves something to be done.  Nothing here sleeps.
 */
#include "arena_impl.h"

#define TAGS_FETCH 16 /* tags at a time, so that the supply's lock is taken once for many */
#define TAGS_SHED 32
#define NODES_FETCH 16

/* Pages */

uintptr_t arena_page_take(struct arena *base)
{
	uintptr_t page = 0;
	struct btag *f;

	do {
		port_irq_t irq = spin_lock(&base->lock);

		f = btag_fit_instant(&base->store, 1);
		if (f && arena_tags(base) >= (f->size != PORT_PAGE_SIZE)) {
			page = f->start;
			arena_take(base, f, page, PORT_PAGE_SIZE, BTAG_FIT_ANY, BTAG_USED);
		}
		spin_unlock(&base->lock, irq);
	} while (f && !page && arena_tags_fetch(base));
	return page;
}

/* Cuts a page of tags out of the base.  The tag which that takes is the first in the page itself: so
 * the base needs none in hand for it, and a page of tags keeps no other page.  The supply's lock is
 * held. */
static bool tag_page_fetch(struct arena *base) SPANDREL_UNANALYSED
{
	port_irq_t irq = spin_lock(&base->lock);
	struct btag *f = btag_fit_instant(&base->store, 1), *own = NULL;

	if (f) {
		uintptr_t page = f->start;

		tag_supply_add_page(base->supply, (void *)page, f->size == PORT_PAGE_SIZE ? NULL : &own);
		if (own)
			btag_chain_push(&base->store.spare, own);
		arena_take(base, f, page, PORT_PAGE_SIZE, BTAG_FIT_ANY, BTAG_USED);
	}
	spin_unlock(&base->lock, irq);
	return f != NULL;
}

/* A page whose tags are idle, taken out of the supply, or NULL: its own tag, if it has that,
 * hands over to one in the base's hand, of which there has to be one.  Lock of the supply held. */
static struct tag_page *idle_page_take(struct arena *base) SPANDREL_REQUIRES(&base->supply->lock)
{
	port_irq_t irq = spin_lock(&base->lock);
	struct tag_page *page = arena_tags(base) > 0 ? tag_supply_take_page(base->supply) : NULL;

	if (page && page->has_own)
		btag_retag(&base->store, btag_of_link(*btag_seek(&base->store, (uintptr_t)page)));
	spin_unlock(&base->lock, irq);
	return page;
}

size_t arena_tag_pages_return(struct arena *base)
{
	size_t pages = 0;
	struct tag_page *page;

	do {
		port_irq_t irq = spin_lock(&base->supply->lock);

		page = idle_page_take(base);
		spin_unlock(&base->supply->lock, irq);
		if (page)
			arena_segment_free(base, page, PORT_PAGE_SIZE, __builtin_return_address(0));
		pages += page != NULL;
	} while (page);
	return pages;
}

static bool node_page_fetch(struct arena *base)
{
	uintptr_t page = arena_page_take(base);
	port_irq_t irq;

	if (!page)
		return false;
	irq = spin_lock(&base->node_supply->lock);
	tag_supply_add_page(base->node_supply, (void *)page, NULL);
	spin_unlock(&base->node_supply->lock, irq);
	return true;
}

#define WALK_STEP 16 /* pages */

void arena_walk_own_pages(struct arena *a, void (*fn)(uintptr_t page, void *arg), void *arg)
{
	uintptr_t pages[WALK_STEP];
	size_t bucket = 0, n;

	do {
		port_irq_t irq = spin_lock(&a->lock);

		n = linear_hash_pages(&a->store.hash, &bucket, pages, WALK_STEP);
		spin_unlock(&a->lock, irq);
		for (size_t i = 0; i < n; i++)
			fn(pages[i], arg);
	} while (n > 0 && bucket > 0);
	if (!arena_is_base(a))
		return;
	tag_supply_walk(a->supply, fn, arg);
	tag_supply_walk(a->node_supply, fn, arg);
}

/* Tags */

bool arena_tags_fetch(struct arena *a)
{
	struct tag_supply *supply = a->supply;
	struct btag_chain chain = {NULL, 0};
	port_irq_t irq;
	bool some;

	if (arena_part_fails(a->base))
		return false;
	irq = spin_lock(&supply->lock);
	if (supply->idle >= TAGS_FETCH || tag_page_fetch(a->base) || supply->idle > 0)
		tag_supply_take(supply, &chain, TAGS_FETCH);
	spin_unlock(&supply->lock, irq);
	some = chain.count > 0;
	irq = spin_lock(&a->lock);
	btag_give(&a->store, &chain);
	spin_unlock(&a->lock, irq);
	return some;
}

bool arena_tags_take(struct arena *a, struct btag_chain *chain, size_t count)
{
	do {
		port_irq_t irq = spin_lock(&a->lock);

		if (arena_tags(a) >= count)
			btag_take(&a->store, chain, count);
		spin_unlock(&a->lock, irq);
	} while (chain->count < count && arena_tags_fetch(a));
	return chain->count == count;
}

void arena_tags_return(struct arena *a, struct btag_chain *chain)
{
	if (chain->count == 0)
		return;

	port_irq_t irq = spin_lock(&a->supply->lock);

	tag_supply_give(a->supply, chain);
	spin_unlock(&a->supply->lock, irq);
}

void arena_tags_shed(struct arena *a, bool all)
{
	struct btag_chain chain = {NULL, 0};
	port_irq_t irq = spin_lock(&a->lock);
	size_t spare = arena_tags(a);

	if (spare > ARENA_TAGS_MAX || all)
		btag_take(&a->store, &chain, spare < TAGS_SHED ? spare : TAGS_SHED);
	spin_unlock(&a->lock, irq);
	arena_tags_return(a, &chain);
	if (all)
		arena_tag_pages_return(a->base);
}

bool arena_tags_set_aside(struct arena *a)
{
	bool held;

	do {
		port_irq_t irq = spin_lock(&a->lock);

		held = arena_tags_hold(a);
		spin_unlock(&a->lock, irq);
	} while (!held && arena_tags_fetch(a));
	return held;
}

void arena_tags_let_go(struct arena *a)
{
	port_irq_t irq = spin_lock(&a->lock);

	a->tag_reserve -= ARENA_IMPORT_TAGS;
	spin_unlock(&a->lock, irq);
	/* A request that found them set aside may have slept. */
	if (shortage_any())
		shortage_poke();
}

/* Whether what no request waits for is made to fail. */
static bool care_fails(const struct arena *a)
{
	return shortage_any() && arena_fails(a->base->name, 0);
}

/* Nodes */

static void nodes_take(struct arena *a, struct btag_chain *chain, size_t count)
{
	port_irq_t irq = spin_lock(&a->node_supply->lock);

	tag_supply_take(a->node_supply, chain, count);
	spin_unlock(&a->node_supply->lock, irq);
}

bool arena_nodes_fetch(struct arena *a, size_t count)
{
	struct btag_chain chain = {NULL, 0};
	port_irq_t irq;
	bool some;

	if (care_fails(a))
		return false;
	count = count < NODES_FETCH ? count : NODES_FETCH;
	nodes_take(a, &chain, count);
	if (chain.count == 0 && node_page_fetch(a->base))
		nodes_take(a, &chain, count);
	some = chain.count > 0;
	irq = spin_lock(&a->lock);
	btag_index_give(&a->store, &chain);
	spin_unlock(&a->lock, irq);
	return some;
}

void arena_nodes_return(struct arena *a, struct btag_chain *chain)
{
	port_irq_t irq = spin_lock(&a->node_supply->lock);

	tag_supply_give(a->node_supply, chain);
	spin_unlock(&a->node_supply->lock, irq);
}

static void index_care(struct arena *a)
{
	struct btag_chain chain = {NULL, 0};
	port_irq_t irq = spin_lock(&a->lock);
	size_t lacks = a->store.index.live ? btag_index_lacks(&a->store) : 0;

	if (lacks == 0)
		btag_index_take(&a->store, &chain);
	spin_unlock(&a->lock, irq);
	if (lacks > 0)
		arena_nodes_fetch(a, lacks);
	else
		arena_nodes_return(a, &chain);
}

/* Hash pages */

void arena_hash_page_return(struct arena *a, void *page)
{
	arena_take_back(
		a->base, (uintptr_t)page, PORT_PAGE_SIZE, __builtin_return_address(0), BTAG_USED);
	__atomic_fetch_sub(&a->supply->hash_pages, 1, __ATOMIC_RELAXED);
}

static void hash_page_fetch(struct arena *a)
{
	uintptr_t page = care_fails(a) ? 0 : arena_page_take(a->base);
	port_irq_t irq;

	if (!page)
		return;
	__atomic_fetch_add(&a->supply->hash_pages, 1, __ATOMIC_RELAXED);
	irq = spin_lock(&a->lock);
	linear_hash_give_page(&a->store.hash, (void *)page);
	spin_unlock(&a->lock, irq);
}

/* While the base is short, requests come first, and chains get longer, within bounds. */
static void hash_care(struct arena *a, bool is_short)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct linear_hash *h = &a->store.hash;
	bool wants = h->wants_page, may = !is_short || linear_hash_is_overfull(h);
	void *surplus = wants ? NULL : linear_hash_take_page(h, LINEAR_HASH_SPARE_MAX);

	spin_unlock(&a->lock, irq);
	if (wants && may)
		hash_page_fetch(a);
	if (surplus)
		arena_hash_page_return(a, surplus);
}

static void store_care(struct arena *a, bool is_short)
{
	if (linear_hash_needs_care(&a->store.hash))
		hash_care(a, is_short);
	if (!is_short && __atomic_load_n(&a->store.index.needs_care, __ATOMIC_RELAXED))
		index_care(a);
}

/* What the base needs comes last: the pages for the rest are segments of it. */
void arena_care(struct arena *a)
{
	bool is_short = shortage_any() && shortage_is_short(a->base);

	store_care(a, is_short);
	if (!arena_is_base(a))
		store_care(a->base, is_short);
}
