/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tag supply of a base arena: pages of boundary tags, for the arena itself and all above it.
 * The nodes of indexes (btag/index.c) come from a second one: while idle, a node is a larger tag.
 *
 * It is a pool and nothing more: tags.c puts pages of the base arena in and takes tags out, under
 * the supply's lock.  A tag's page is found by rounding its address down.
 *
 * Lock order: the supply's lock comes before the base arena's (a page is fetched under it), and is
 * never taken under any arena's.
 */
#ifndef SPANDREL_TAG_SUPPLY_H
#define SPANDREL_TAG_SUPPLY_H

#include "btag/btag.h"
#include "lib/list.h"
#include "spinlock.h"

/* The first line of a tag page; tags fill the rest. */
struct tag_page {
	struct list link;	/* in the supply's list for its number of idle tags; in none without any */
	struct btag_chain back; /* tags that came back */
	uint16_t fresh;		/* tags from here to the end were never handed out, nor touched */
	uint16_t idle_count;	/* changed with the lock held, read without */
	uint16_t unit;		/* bytes of one; 0: a walk's place in the list of all pages, no page */
	bool has_own;		/* the first is that of the segment which the page is */
	struct list all_link;	/* in the supply's list of all pages */
};
#define TAG_PAGE_TAGS ((PORT_PAGE_SIZE - BTAG_SIZE) / BTAG_SIZE)
_Static_assert(sizeof(struct tag_page) <= BTAG_SIZE, "the header takes one tag's place");

/*
 * Pages by idle tags: list i < TAG_SUPPLY_LISTS - 1 has those with 8 * i + 1 to 8 * i + 8, the last
 * one those with nothing but idle tags.  Tags are taken from the fullest page, so that others
 * become idle as a whole and can go back.
 */
#define TAG_SUPPLY_LISTS (TAG_PAGE_TAGS / 8 + 2)

struct tag_supply {
	struct spinlock lock;
	size_t unit; /* bytes of a tag: BTAG_SIZE, or BTAG_NODE_SIZE in a supply of index nodes */
	struct list lists[TAG_SUPPLY_LISTS];
	struct list all;
	size_t pages;	     /* of tags; changed with the lock held, read without */
	size_t idle;	     /* tags in the pages, not in any arena's hand */
	size_t users;	     /* arenas that take tags here, the base itself not counted */
	size_t hash_pages;   /* pages of the base in arenas' hashes; atomic, not under the lock */
};

void tag_supply_init(struct tag_supply *s, size_t unit);

/* The page that a tag or node lies in. */
static inline uintptr_t tag_page_of(const struct btag *t)
{
	return (uintptr_t)t & -(uintptr_t)PORT_PAGE_SIZE;
}

/* Tags in one of its pages. */
static inline size_t tag_page_tags(size_t unit)
{
	return (PORT_PAGE_SIZE - BTAG_SIZE) / unit;
}

/* How many tags of t's page are idle just now, in no arena's hand.  Any context; the lock need not be
 * held. */
static inline size_t tag_page_idle(const struct btag *t)
{
	return __atomic_load_n(&((struct tag_page *)tag_page_of(t))->idle_count, __ATOMIC_RELAXED);
}

/* How many pages it has just now.  Any context; the lock need not be held. */
static inline size_t tag_supply_pages(const struct tag_supply *s)
{
	return __atomic_load_n(&s->pages, __ATOMIC_RELAXED);
}

/* Puts in a page: PORT_PAGE_SIZE bytes, aligned.  `own`: NULL, or set to its first tag, which is the
 * caller's, for the segment that the page is.  Touches its first two lines.  Lock held. */
void tag_supply_add_page(struct tag_supply *s, void *page, struct btag **own) SPANDREL_REQUIRES(&s->lock);

/* Moves up to `count` tags to the chain, as many as there are.  Lock held. */
void tag_supply_take(struct tag_supply *s, struct btag_chain *chain, size_t count) SPANDREL_REQUIRES(&s->lock);

/* Takes every tag of the chain back.  Lock held. */
void tag_supply_give(struct tag_supply *s, struct btag_chain *chain) SPANDREL_REQUIRES(&s->lock);

/* Takes out a page of which every tag but its own is idle, or NULL.  Lock held. */
struct tag_page *tag_supply_take_page(struct tag_supply *s) SPANDREL_REQUIRES(&s->lock);
/* Calls fn for every page, with no lock held: a page may go meanwhile.  Cost: linear, TAG_SUPPLY_STEP pages for each
 * lock hold. */
#define TAG_SUPPLY_STEP 16
void tag_supply_walk(struct tag_supply *s, void (*fn)(uintptr_t page, void *arg), void *arg);

/* Whether pages and counts agree; looks at no more than `most` pages.  Lock held. */
bool tag_supply_sound(const struct tag_supply *s, size_t most) SPANDREL_REQUIRES(&s->lock);

#endif
