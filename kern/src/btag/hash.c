/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hash of used segments by address: linear hashing over a radix tree of pages.
 *
 * With 2^(k-1) < buckets <= 2^k, a segment belongs in the bucket its hash's low k bits name, or,
 * while that bucket doesn't exist yet, the low k - 1.  Growing by one bucket splits the one that
 * shares its low k - 1 bits; shrinking joins them again.  An operation grows or shrinks it by at
 * most two buckets, so none handles more than five chains.
 *
 * Load, in segments per bucket: it grows above 2 and shrinks below 1/2, so that a bucket just made
 * isn't unmade at once.  Where memory is wanted back it is trimmed to 4, and grows again as it is
 * used.  Where it wants to grow and has no page for it, it says so and stays as it is: chains get
 * longer, nothing fails.
 */
#include "btag_quick.h"

static void buckets_set(struct btag_hash *h, size_t buckets)
{
	size_t used_min = buckets > BTAG_SMALL_BUCKETS ? (buckets + 1) / 2 : 0;

	h->room += (ptrdiff_t)(2 * buckets - h->used_max);
	h->buckets = buckets;
	h->used_max = 2 * buckets;
	h->room_max = (ptrdiff_t)(h->used_max - used_min);
}

void btag_hash_init(struct btag_hash *h)
{
	buckets_set(h, BTAG_SMALL_BUCKETS);
	h->mask = BTAG_SMALL_BUCKETS - 1;
	h->root = (void **)h->small;
}

size_t btag_hash_index(const struct btag_hash *h, uintptr_t addr)
{
	size_t i = hash_u64(addr) & h->mask;

	return i < h->buckets ? i : i & h->mask >> 1;
}

struct btag *btag_hash_bucket(const struct btag_hash *h, size_t i)
{
	return *btag_hash_slot(h, i);
}

struct btag *btag_hash_find(const struct btag_hash *h, uintptr_t addr)
{
	struct btag **link;

	return btag_hash_seek(h, addr, &link);
}

/* Pages */

static void page_push(struct btag_hash *h, void **page)
{
	page[0] = h->pages;
	h->pages = page;
	h->pages_spare++;
}

static void **page_pop(struct btag_hash *h)
{
	void **page = h->pages;

	h->pages = page[0];
	h->pages_spare--;
	return page;
}

static void care_update(struct btag_hash *h)
{
	__atomic_store_n(&h->needs_care, h->wants_page || h->pages_spare > BTAG_HASH_SPARE_MAX,
		__ATOMIC_RELAXED);
}

void btag_hash_give_page(struct btag_hash *h, void *page)
{
	h->wants_page = false;
	h->pages_held++;
	page_push(h, page);
	care_update(h);
}

void *btag_hash_take_page(struct btag_hash *h, size_t keep)
{
	void *page = NULL;

	if (h->pages_spare > keep) {
		page = page_pop(h);
		h->pages_held--;
	}
	care_update(h);
	return page;
}

/* The pages a tree of height `height` adds below a node at `level` to reach index i: one for each
 * level at which i is the first index of its subtree. */
static unsigned pages_for(size_t i, unsigned height)
{
	unsigned pages = 0;

	for (unsigned level = 0; level < height && (i & (((size_t)1 << (level + 1) * BTAG_SLOT_BITS) - 1)) == 0;
		level++)
		pages++;
	return pages;
}

/* How many levels a tree needs to hold bucket i beside those before it. */
static unsigned height_for(size_t i)
{
	unsigned height = 1;

	if (i < BTAG_SMALL_BUCKETS)
		return 0;
	while (i >> height * BTAG_SLOT_BITS)
		height++;
	return height;
}

/* Moves the first buckets from the store into their page, the tree's first. */
static void small_leave(struct btag_hash *h)
{
	h->root = page_pop(h);
	for (size_t i = 0; i < BTAG_SMALL_BUCKETS; i++)
		h->root[i] = h->small[i];
	h->height = 1;
}

/* And back. */
static void small_enter(struct btag_hash *h)
{
	for (size_t i = 0; i < BTAG_SMALL_BUCKETS; i++)
		h->small[i] = h->root[i];
	page_push(h, h->root);
	h->root = (void **)h->small;
	h->height = 0;
}

/* Links in the pages that bucket i, the next one, needs; false if they aren't in hand. */
static bool pages_grow(struct btag_hash *h, size_t i)
{
	unsigned height = height_for(i);
	bool taller = height != h->height;
	unsigned needs = h->height == 0 ? taller : pages_for(i, height - taller) + taller;

	if (h->pages_spare < needs) {
		h->wants_page = true;
		care_update(h);
		return false;
	}
	if (!taller && needs == 0)
		return true;
	if (h->height == 0) {
		small_leave(h);
		return true;
	}
	if (taller) {
		void **root = page_pop(h);

		root[0] = h->root;
		h->root = root;
		h->height = height;
	}
	void **node = h->root;

	for (unsigned level = height - 1; level > 0; level--) {
		void **down = &node[i >> level * BTAG_SLOT_BITS & (BTAG_PAGE_SLOTS - 1)];

		if ((i & (((size_t)1 << level * BTAG_SLOT_BITS) - 1)) == 0)
			*down = page_pop(h);
		node = *down;
	}
	return true;
}

/* Unlinks the pages that only bucket i, the last one, needed.  A page is let go once its child has
 * been read from it. */
static void pages_shrink(struct btag_hash *h, size_t i)
{
	void **node = h->root;
	bool unneeded = false;

	if (h->height == 0)
		return;
	for (unsigned level = h->height - 1; level > 0; level--) {
		void **down = node[i >> level * BTAG_SLOT_BITS & (BTAG_PAGE_SLOTS - 1)];

		if (unneeded)
			page_push(h, node);
		unneeded = (i & (((size_t)1 << level * BTAG_SLOT_BITS) - 1)) == 0;
		node = down;
	}
	if (unneeded)
		page_push(h, node);

	if (i == BTAG_SMALL_BUCKETS) {
		small_enter(h);
	} else if (height_for(i - 1) < h->height) {
		void **root = h->root;

		h->root = root[0];
		h->height--;
		page_push(h, root);
	}
	care_update(h);
}

/* Buckets */

static void grow(struct btag_hash *h)
{
	size_t i = h->buckets;

	if (!pages_grow(h, i))
		return;
	if (i > h->mask)
		h->mask = h->mask * 2 + 1;

	struct btag **low = btag_hash_slot(h, i & h->mask >> 1), **high = btag_hash_slot(h, i);
	struct btag *t = *low;

	buckets_set(h, i + 1);
	*low = *high = NULL;
	while (t) {
		struct btag *next = t->hash_next;
		struct btag **to = (hash_u64(t->start) & h->mask) == i ? high : low;

		t->hash_next = *to;
		*to = t;
		t = next;
	}
}

static void shrink(struct btag_hash *h)
{
	size_t i = h->buckets - 1;
	struct btag **low = btag_hash_slot(h, i & h->mask >> 1), *high = *btag_hash_slot(h, i);

	while (*low)
		low = &(*low)->hash_next;
	*low = high;
	buckets_set(h, i);
	if (h->buckets <= h->mask / 2 + 1)
		h->mask >>= 1;
	pages_shrink(h, i);
}

/* It may have fallen behind for want of a page, so a step takes two buckets where one would keep up. */
void btag_hash_grow(struct btag_hash *h)
{
	grow(h);
	if (btag_hash_is_full(h))
		grow(h);
}

void btag_hash_insert(struct btag_hash *h, struct btag *t)
{
	btag_hash_enter(h, t);
	if (btag_hash_is_full(h))
		btag_hash_grow(h);
}

bool btag_hash_trim(struct btag_hash *h)
{
	if (h->buckets == BTAG_SMALL_BUCKETS || btag_hash_used(h) > 4 * (h->buckets - 1))
		return false;
	shrink(h);
	return true;
}

/* Two buckets a removal: at load 1/2 every segment that goes takes two along, down to the last. */
void btag_hash_thin(struct btag_hash *h)
{
	for (int i = 0; i < 2 && btag_hash_is_sparse(h); i++)
		shrink(h);
}

void btag_hash_remove(struct btag_hash *h, struct btag *t)
{
	struct btag **link;

	btag_hash_seek(h, t->start, &link);
	btag_hash_leave(h, link, t);
	btag_hash_thin(h);
}

void btag_hash_replace(struct btag_hash *h, struct btag *from, struct btag *to)
{
	struct btag **link = btag_hash_chain(h, from->start);

	while (*link != from)
		link = &(*link)->hash_next;
	*link = to;
}
