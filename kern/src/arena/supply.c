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

static inline size_t page_idle(const struct tag_page *page)
{
	return page->idle.count + (tag_page_tags(page->unit) - page->fresh);
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

/* Puts a page that had `before` idle tags where it belongs now. */
static inline void page_sort(struct tag_supply *s, struct tag_page *page, size_t before)
{
	size_t idle = page_idle(page);

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

	page->idle = (struct btag_chain){NULL, 0};
	page->unit = (uint16_t)s->unit;
	page->has_own = own != NULL;
	page->fresh = page->has_own;
	if (own)
		*own = tag_at(page, 0);
	page_sort(s, page, 0);
	__atomic_store_n(&s->pages, s->pages + 1, __ATOMIC_RELAXED);
	s->idle += page_tags(page);
}

static struct btag *page_take(struct tag_page *page)
{
	return page->idle.count ? btag_chain_pop(&page->idle) : tag_at(page, page->fresh++);
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
		size_t before = page_idle(page);

		for (; count > 0 && page_idle(page) > 0; count--, s->idle--)
			btag_chain_push(chain, page_take(page));
		page_sort(s, page, before);
	}
}

void tag_supply_give(struct tag_supply *s, struct btag_chain *chain)
{
	while (chain->count > 0) {
		struct btag *t = btag_chain_pop(chain);
		struct tag_page *page = page_of(t);
		size_t before = page_idle(page);

		btag_chain_push(&page->idle, t);
		page_sort(s, page, before);
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
	__atomic_store_n(&s->pages, s->pages - 1, __ATOMIC_RELAXED);
	s->idle -= page_tags(page);
	return page;
}

static bool page_sound(const struct tag_page *page)
{
	size_t n = 0;

	for (const struct btag *t = page->idle.head; t; t = t->idle_next, n++)
		if (page_of(t) != page || t->kind != BTAG_IDLE || n == tag_page_tags(page->unit))
			return false;
	return n == page->idle.count && page->fresh <= tag_page_tags(page->unit) && page_idle(page) > 0;
}

bool tag_supply_sound(const struct tag_supply *s, size_t most)
{
	const struct tag_page *page;
	size_t idle = 0, seen = 0;

	for (size_t i = 0; i < TAG_SUPPLY_LISTS; i++) {
		list_for_each_entry (page, &s->lists[i], link) {
			if (seen++ == most)
				return s->idle >= idle;
			if (!page_sound(page) || list_for(page, page_idle(page)) != i)
				return false;
			idle += page_idle(page);
		}
	}
	return s->idle == idle && seen <= s->pages;
}
