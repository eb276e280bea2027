/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages of boundary tags.
 */
#include "tag_supply.h"

void tag_supply_init(struct tag_supply *s)
{
	spin_init(&s->lock, SPIN_SUPPLY);
	list_init(&s->partial);
	s->pages = s->idle = s->users = s->hash_pages = 0;
}

static inline struct btag *tag_at(struct tag_page *page, size_t i)
{
	return (struct btag *)((char *)page + (i + 1) * BTAG_SIZE);
}

static inline struct tag_page *page_of(const struct btag *t)
{
	return (struct tag_page *)((uintptr_t)t & -(uintptr_t)PORT_PAGE_SIZE);
}

static inline size_t page_idle(const struct tag_page *page)
{
	return page->idle.count + (TAG_PAGE_TAGS - page->fresh);
}

void tag_supply_add_page(struct tag_supply *s, void *memory)
{
	struct tag_page *page = memory;

	page->idle = (struct btag_chain){NULL, 0};
	page->fresh = 0;
	list_add(&s->partial, &page->link);
	s->pages++;
	s->idle += TAG_PAGE_TAGS;
}

static struct btag *page_take(struct tag_page *page)
{
	return page->idle.count ? btag_chain_pop(&page->idle) : tag_at(page, page->fresh++);
}

/* The page that most lately gained an idle tag has the fewest, as a rule: taking from it first lets
 * the others become idle as a whole. */
void tag_supply_take(struct tag_supply *s, struct btag_chain *chain, size_t count)
{
	while (count > 0 && !list_empty(&s->partial)) {
		struct tag_page *page = list_first_entry(&s->partial, struct tag_page, link);

		for (; count > 0 && page_idle(page) > 0; count--, s->idle--)
			btag_chain_push(chain, page_take(page));
		if (page_idle(page) == 0)
			list_del(&page->link);
	}
}

void tag_supply_give(struct tag_supply *s, struct btag_chain *chain)
{
	while (chain->count > 0) {
		struct btag *t = btag_chain_pop(chain);
		struct tag_page *page = page_of(t);

		if (page_idle(page) == 0)
			list_add(&s->partial, &page->link);
		btag_chain_push(&page->idle, t);
		s->idle++;
	}
}

static bool page_sound(const struct tag_page *page)
{
	size_t n = 0;

	for (const struct btag *t = page->idle.head; t; t = t->idle_next, n++)
		if (page_of(t) != page || t->kind != BTAG_IDLE || n == TAG_PAGE_TAGS)
			return false;
	return n == page->idle.count && page->fresh <= TAG_PAGE_TAGS && page_idle(page) > 0;
}

bool tag_supply_sound(const struct tag_supply *s, size_t most)
{
	const struct tag_page *page;
	size_t idle = 0, seen = 0;

	list_for_each_entry (page, &s->partial, link) {
		if (seen++ == most)
			return s->idle >= idle;
		if (!page_sound(page))
			return false;
		idle += page_idle(page);
	}
	return s->idle == idle && seen <= s->pages;
}
