/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linear hashing over a radix tree of pages.
 *
 * With 2^(k-1) < buckets <= 2^k, adding bucket i splits the bucket whose number has the same low
 * k - 1 bits; removing it joins the two again.  An operation adds two buckets at most, so it handles
 * at most five chains.
 */
#include "lib/linear_hash.h"

void linear_hash_init(struct linear_hash *h)
{
	*h = (struct linear_hash){
		.buckets = LINEAR_HASH_SMALL, .mask = LINEAR_HASH_SMALL - 1, .root = (void **)h->small};
}

struct hash_link *linear_hash_bucket(const struct linear_hash *h, size_t i)
{
	return *linear_hash_slot(h, i);
}

/* Spare pages */

static void page_push(struct linear_hash *h, void **page)
{
	page[0] = h->pages;
	h->pages = page;
	h->pages_spare++;
}

static void **page_pop(struct linear_hash *h)
{
	void **page = h->pages;

	h->pages = page[0];
	h->pages_spare--;
	return page;
}

static void care_update(struct linear_hash *h)
{
	bool needs = h->wants_page || h->pages_spare > LINEAR_HASH_SPARE_MAX;

	__atomic_store_n(&h->needs_care, needs, __ATOMIC_RELAXED);
}

void linear_hash_give_page(struct linear_hash *h, void *page)
{
	h->wants_page = false;
	h->pages_held++;
	page_push(h, page);
	care_update(h);
}

void *linear_hash_take_page(struct linear_hash *h, size_t keep)
{
	void *page = NULL;

	if (h->pages_spare > keep) {
		page = page_pop(h);
		h->pages_held--;
	}
	care_update(h);
	return page;
}

/* The tree of pages */

static size_t slot_at(size_t i, unsigned level)
{
	return i >> level * LINEAR_HASH_SLOT_BITS & (LINEAR_HASH_SLOTS - 1);
}

/* Whether bucket i is the first one below its node at `level`. */
static bool is_first(size_t i, unsigned level)
{
	return (i & (((size_t)1 << level * LINEAR_HASH_SLOT_BITS) - 1)) == 0;
}

/* The node at level 2 that bucket i is below, of a tree with more than three levels. */
void **linear_hash_descend(const struct linear_hash *h, size_t i)
{
	void **node = h->root;

	for (unsigned level = h->height - 1; level > 2; level--)
		node = node[slot_at(i, level)];
	return node;
}

/* How many levels a tree with buckets 0 to i has. */
static unsigned height_for(size_t i)
{
	unsigned height = 1;

	if (i < LINEAR_HASH_SMALL)
		return 0;
	while (i >> height * LINEAR_HASH_SLOT_BITS)
		height++;
	return height;
}

/* How many pages bucket i, the next one, adds: one for each level below the root at which it is
 * the first bucket, and one more if the tree gets a new root. */
static unsigned pages_for(const struct linear_hash *h, size_t i)
{
	unsigned height = height_for(i), pages = height > h->height;

	for (unsigned level = 1; level < height && is_first(i, level); level++)
		pages++;
	return pages;
}

/* Moves the first buckets into the first page of a tree, and back. */
static void small_leave(struct linear_hash *h)
{
	h->root = page_pop(h);
	for (size_t i = 0; i < LINEAR_HASH_SMALL; i++)
		h->root[i] = h->small[i];
	h->height = 1;
}

static void small_enter(struct linear_hash *h)
{
	for (size_t i = 0; i < LINEAR_HASH_SMALL; i++)
		h->small[i] = h->root[i];
	page_push(h, h->root);
	h->root = (void **)h->small;
	h->height = 0;
}

static void root_push(struct linear_hash *h)
{
	void **root = page_pop(h);

	root[0] = h->root;
	h->root = root;
	h->height++;
}

static void root_pop(struct linear_hash *h)
{
	void **root = h->root;

	h->root = root[0];
	h->height--;
	page_push(h, root);
}

/* Links spare pages into the tree for bucket i, the next one; false if there are too few. */
static bool pages_grow(struct linear_hash *h, size_t i)
{
	void **node;

	if (h->pages_spare < pages_for(h, i)) {
		h->wants_page = true;
		care_update(h);
		return false;
	}
	if (height_for(i) > h->height) {
		if (h->height == 0)
			small_leave(h);
		else
			root_push(h);
	}
	node = h->root;
	for (unsigned level = h->height; level-- > 1;) {
		void **down = &node[slot_at(i, level)];

		if (is_first(i, level))
			*down = page_pop(h);
		node = *down;
	}
	return true;
}

/* Unlinks the pages that only bucket i, the last one, needed.  A page becomes spare after its child
 * has been read from it. */
static void pages_shrink(struct linear_hash *h, size_t i)
{
	void **node = h->root;
	bool is_unneeded = false;

	for (unsigned level = h->height; level-- > 1;) {
		void **down = node[slot_at(i, level)];

		if (is_unneeded)
			page_push(h, node);
		is_unneeded = is_first(i, level);
		node = down;
	}
	if (is_unneeded)
		page_push(h, node);
	if (i == LINEAR_HASH_SMALL)
		small_enter(h);
	else if (height_for(i - 1) < h->height)
		root_pop(h);
	h->wants_page = false;
	care_update(h);
}

/* Buckets */

static bool grow(struct linear_hash *h)
{
	size_t i = h->buckets;
	struct hash_link **low, **high, *l;

	if (!pages_grow(h, i))
		return false;
	if (i > h->mask)
		h->mask = h->mask * 2 + 1;
	h->buckets = i + 1;

	low = linear_hash_slot(h, i & h->mask >> 1);
	high = linear_hash_slot(h, i);
	l = *low;
	*low = *high = NULL;
	while (l) {
		struct hash_link *next = l->next;
		struct hash_link **to = linear_hash_index(h, l->key) == i ? high : low;

		l->next = *to;
		*to = l;
		l = next;
	}
	return true;
}

static void shrink(struct linear_hash *h)
{
	size_t i = h->buckets - 1;
	struct hash_link **low = linear_hash_slot(h, i & h->mask >> 1);

	while (*low)
		low = &(*low)->next;
	*low = *linear_hash_slot(h, i);
	h->buckets = i;
	if (i <= h->mask / 2 + 1)
		h->mask >>= 1;
	pages_shrink(h, i);
}

/* One bucket would do for one entry.  The second makes up for entries that came while no page was
 * there. */
void linear_hash_grow(struct linear_hash *h)
{
	if (grow(h) && h->entries > h->buckets)
		grow(h);
}

bool linear_hash_trim(struct linear_hash *h)
{
	if (h->buckets == LINEAR_HASH_SMALL || h->entries >= h->buckets)
		return false;
	shrink(h);
	return true;
}

size_t linear_hash_pages(const struct linear_hash *h, size_t *bucket, uintptr_t *pages, size_t max)
{
	size_t n = 0;

	for (void **page = *bucket == 0 ? h->pages : NULL; page && n < max - 1; page = *page)
		pages[n++] = (uintptr_t)page;
	for (; h->height > 0 && n < max && *bucket < h->buckets; *bucket += LINEAR_HASH_SLOTS)
		pages[n++] = (uintptr_t)linear_hash_slot(h, *bucket);
	return n;
}
