/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hash that grows and shrinks a bucket at a time (Litwin, "Linear Hashing: A New Tool for File
 * and Table Addressing", VLDB 1980).  No operation rehashes a whole table.  If it can't grow, no
 * operation fails: chains get longer.
 *
 *	struct thing { struct hash_link link; ... };
 *	thing->link.key = key;
 *	linear_hash_insert(&h, &thing->link);
 *	struct hash_link **at = linear_hash_seek(&h, key);
 *	if (*at)
 *		linear_hash_remove(&h, at);
 *
 * It allocates nothing.  The first LINEAR_HASH_SMALL buckets lie in the hash itself.  More buckets
 * lie in pages, which the owner gives to the hash when linear_hash_needs_care() says so.
 *
 * The load is the number of entries per bucket.  The hash grows when the load exceeds 1.  It doesn't
 * shrink when entries go, since mostly as many come again: linear_hash_trim() shrinks it to load 1,
 * for reclaim and at its end.
 *
 * Several links may have the same key.  Seek finds the one inserted last; the others are behind it
 * in the same chain.  Keys are hashed by hash_u64_wide(), so not for keys that an attacker can choose.
 *
 * Concurrency: the caller's lock is held for every call but linear_hash_needs_care().
 */
#ifndef SPANDREL_LIB_LINEAR_HASH_H
#define SPANDREL_LIB_LINEAR_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/hash.h"
#include "port.h"

#define LINEAR_HASH_SMALL 16
#define LINEAR_HASH_SLOTS (PORT_PAGE_SIZE / sizeof(void *)) /* of a page */
#define LINEAR_HASH_SLOT_BITS __builtin_ctzl(LINEAR_HASH_SLOTS)

/* Spare pages beyond these should be taken.  Up to three levels, a bucket adds no more pages. */
#define LINEAR_HASH_SPARE_MAX 3

/* A hash with more entries than that per bucket can't wait for its page: a step of growth is linear in
 * them. */
#define LINEAR_HASH_LOAD_MAX 8

struct hash_link {
	uintptr_t key;
	struct hash_link *next;
};

struct linear_hash {
	size_t entries;
	size_t buckets;	    /* at least LINEAR_HASH_SMALL */
	size_t mask;	    /* 2^k - 1 with 2^(k-1) < buckets <= 2^k */
	void **root;
	unsigned height;    /* levels of the radix tree of pages; 0: the root is small[] */
	bool wants_page;    /* it has too few spare pages to grow */
	bool needs_care;    /* it wants a page or has too many; also read without the lock */
	void **pages; /* spare pages, linked through their first slots */
	size_t pages_spare;
	size_t pages_held; /* in the tree and spare */
	struct hash_link *small[LINEAR_HASH_SMALL];
};

/* Makes an empty hash, which may not be moved from then on. */
void linear_hash_init(struct linear_hash *h);

/* For the inlines below: adds at most two buckets. */
void linear_hash_grow(struct linear_hash *h);
void **linear_hash_descend(const struct linear_hash *h, size_t i);

/* The slot of bucket i < buckets.  Up to three levels, for 2^27 buckets, it has no loop. */
static inline struct hash_link **linear_hash_slot(const struct linear_hash *h, size_t i)
{
	void **node = h->root;

	if (h->height > 1) {
		if (h->height > 2) {
			size_t top = i >> 2 * LINEAR_HASH_SLOT_BITS;

			if (__builtin_expect(h->height > 3, 0)) {
				node = linear_hash_descend(h, i);
				top &= LINEAR_HASH_SLOTS - 1;
			}
			node = node[top];
		}
		node = node[i >> LINEAR_HASH_SLOT_BITS & (LINEAR_HASH_SLOTS - 1)];
	}
	return (struct hash_link **)&node[i & (LINEAR_HASH_SLOTS - 1)];
}

/* The bucket of a key: its number is the low k bits of the key's hash or, while there is no such
 * bucket, the low k - 1 bits. */
static inline size_t linear_hash_index(const struct linear_hash *h, uintptr_t key)
{
	size_t i = hash_u64_wide(key) & h->mask;

	return i < h->buckets ? i : i & h->mask >> 1;
}

/* The chain of a key. */
static inline struct hash_link **linear_hash_chain(const struct linear_hash *h, uintptr_t key)
{
	return linear_hash_slot(h, linear_hash_index(h, key));
}

/* Returns the place of the pointer to the first link with that key; the pointer is NULL if there is
 * none. */
static inline struct hash_link **linear_hash_seek(const struct linear_hash *h, uintptr_t key)
{
	struct hash_link **at = linear_hash_chain(h, key), *l;

	while ((l = *at) && l->key != key)
		at = &l->next;
	return at;
}

/* Inserts l under l->key. */
static inline void linear_hash_insert(struct linear_hash *h, struct hash_link *l)
{
	struct hash_link **chain = linear_hash_chain(h, l->key);

	l->next = *chain;
	*chain = l;
	if (__builtin_expect(++h->entries > h->buckets, 0))
		linear_hash_grow(h);
}

/* Removes the link that *at points to.  Other places that seek returned may then be stale. */
static inline void linear_hash_remove(struct linear_hash *h, struct hash_link **at)
{
	*at = (*at)->next;
	h->entries--;
}

/* Removes a bucket if the load is below 1, down to the first ones; returns whether it did. */
bool linear_hash_trim(struct linear_hash *h);

/* Whether a page should be given (if wants_page) or taken.  Any context, no lock. */
static inline bool linear_hash_needs_care(const struct linear_hash *h)
{
	return __builtin_expect(__atomic_load_n(&h->needs_care, __ATOMIC_RELAXED), 0);
}

/* Whether it wants a page, and its chains are too long to go without.  Lock held. */
static inline bool linear_hash_is_overfull(const struct linear_hash *h)
{
	return h->wants_page && h->entries > LINEAR_HASH_LOAD_MAX * h->buckets;
}

/* Adds a page of PORT_PAGE_SIZE bytes to the spare ones. */
void linear_hash_give_page(struct linear_hash *h, void *page);

/* Returns a spare page, which is the caller's again; NULL if there are no more than `keep`. */
void *linear_hash_take_page(struct linear_hash *h, size_t keep);

/* The chain of bucket i < buckets, for checkers. */
struct hash_link *linear_hash_bucket(const struct linear_hash *h, size_t i);

/* Fills pages[0 .. max) with pages that the hash holds for buckets from *bucket on, with 0 spare ones first, and
 * moves *bucket behind them; returns how many, 0 at the end.  Those of higher levels aren't among them. */
size_t linear_hash_pages(const struct linear_hash *h, size_t *bucket, uintptr_t *pages, size_t max);

#endif
