/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages of boundary tags.
 */
#include "supply.h"

void tag_supply_init(struct tag_supply *s, size_t unit)
{
	s->unit = unit;
	spin_init(&s->lock, SPIN_SUPPLY);
	for (size_t i = 0; i < TAG_SUPPLY_LISTS; i++)
		list_init(&s->lists[i]);
	list_init(&s->all);
	s->pages = s->idle = s->users = s->hash_pages = 0;
}

static inline struct btag *tag_at(struct tag_page *page, size_t i)
{
	return (struct btag *)((char *)page + BTAG_SIZE + i * page->unit);
}

static inline struct tag_page *page_of(const struct btag *t)
{
	return (struct tag_page *)tag_page_of(t);
}

/* Its tags, but for its own. */
static inline size_t page_tags(const struct tag_page *page)
{
	return tag_page_tags(page->unit) - page->has_own;
}

/* The list the page belongs in with so many idle tags, not none. */
static inline size_t list_for(const struct tag_page *page, size_t idle)
{
	return idle == page_tags(page) ? TAG_SUPPLY_LISTS - 1 : (idle - 1) / 8;
}

/* It has `idle` idle tags now, and goes where it belongs. */
static inline void page_count(struct tag_supply *s, struct tag_page *page, size_t idle)
{
	size_t before = page->idle_count;

	__atomic_store_n(&page->idle_count, (uint16_t)idle, __ATOMIC_RELAXED);
	if (before > 0 && idle > 0 && list_for(page, before) == list_for(page, idle))
		return;
	if (before > 0)
		list_del(&page->link);
	if (idle > 0)
		list_add(&s->lists[list_for(page, idle)], &page->link);
}

void tag_supply_add_page(struct tag_supply *s, void *memory, struct btag **own)
{
	struct tag_page *page = memory;

	page->back = (struct btag_chain){NULL, 0};
	page->idle_count = 0;
	page->unit = (uint16_t)s->unit;
	page->has_own = own != NULL;
	page->fresh = page->has_own;
	if (own)
		*own = tag_at(page, 0);
	page_count(s, page, page_tags(page));
	list_add_tail(&s->all, &page->all_link);
	__atomic_store_n(&s->pages, s->pages + 1, __ATOMIC_RELAXED);
	s->idle += page_tags(page);
}

static struct btag *page_take(struct tag_page *page)
{
	return page->back.count ? btag_chain_pop(&page->back) : tag_at(page, page->fresh++);
}

static struct tag_page *fullest(const struct tag_supply *s)
{
	for (size_t i = 0; i < TAG_SUPPLY_LISTS; i++)
		if (!list_empty(&s->lists[i]))
			return list_first_entry(&s->lists[i], struct tag_page, link);
	return NULL;
}

void tag_supply_take(struct tag_supply *s, struct btag_chain *chain, size_t count)
{
	struct tag_page *page;

	while (count > 0 && (page = fullest(s))) {
		size_t idle = page->idle_count;

		for (; count > 0 && idle > 0; count--, idle--, s->idle--)
			btag_chain_push(chain, page_take(page));
		page_count(s, page, idle);
	}
}

void tag_supply_give(struct tag_supply *s, struct btag_chain *chain)
{
	while (chain->count > 0) {
		struct btag *t = btag_chain_pop(chain);
		struct tag_page *page = page_of(t);

		btag_chain_push(&page->back, t);
		page_count(s, page, page->idle_count + 1u);
		s->idle++;
	}
}

struct tag_page *tag_supply_take_page(struct tag_supply *s)
{
	struct list *whole = &s->lists[TAG_SUPPLY_LISTS - 1];
	struct tag_page *page;

	if (list_empty(whole))
		return NULL;
	page = list_first_entry(whole, struct tag_page, link);
	list_del(&page->link);
	list_del(&page->all_link);
	__atomic_store_n(&s->pages, s->pages - 1, __ATOMIC_RELAXED);
	s->idle -= page_tags(page);
	return page;
}

/* Moves the walk's place behind TAG_SUPPLY_STEP pages, whose addresses it keeps; false at the end. */
static bool walk_step(struct tag_supply *s, struct tag_page *at, uintptr_t *pages, size_t *n)
{
	port_irq_t irq = spin_lock(&s->lock);
	struct list *l = at->all_link.next;

	*n = 0;
	for (int i = 0; i < TAG_SUPPLY_STEP && l != &s->all; i++, l = l->next)
		if (list_entry(l, struct tag_page, all_link)->unit)
			pages[(*n)++] = (uintptr_t)list_entry(l, struct tag_page, all_link);
	list_del(&at->all_link);
	list_insert_before(l, &at->all_link);
	spin_unlock(&s->lock, irq);
	return l != &s->all;
}

void tag_supply_walk(struct tag_supply *s, void (*fn)(uintptr_t page, void *arg), void *arg)
{
	struct tag_page at = {.unit = 0};
	uintptr_t pages[TAG_SUPPLY_STEP];
	port_irq_t irq = spin_lock(&s->lock);
	bool more = true;
	size_t n;

	list_add(&s->all, &at.all_link);
	spin_unlock(&s->lock, irq);
	while (more) {
		more = walk_step(s, &at, pages, &n);
		for (size_t i = 0; i < n; i++)
			fn(pages[i], arg);
	}
	irq = spin_lock(&s->lock);
	list_del(&at.all_link);
	spin_unlock(&s->lock, irq);
}

static bool page_sound(const struct tag_page *page)
{
	size_t n = 0, tags = tag_page_tags(page->unit);

	for (const struct btag *t = page->back.head; t; t = t->idle_next, n++)
		if (page_of(t) != page || t->kind != BTAG_IDLE || n == tags)
			return false;
	return n == page->back.count && page->fresh <= tags &&
		page->idle_count == n + tags - page->fresh && page->idle_count > 0;
}

bool tag_supply_sound(const struct tag_supply *s, size_t most)
{
	const struct tag_page *page;
	size_t idle = 0, seen = 0;

	for (size_t i = 0; i < TAG_SUPPLY_LISTS; i++) {
		list_for_each_entry (page, &s->lists[i], link) {
			if (seen++ == most)
				return s->idle >= idle;
			if (!page_sound(page) || list_for(page, page->idle_count) != i)
				return false;
			idle += page->idle_count;
		}
	}
	return s->idle == idle && seen <= s->pages;
}
