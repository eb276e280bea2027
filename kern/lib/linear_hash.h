/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hash that grows and shrinks a bucket at a time (Litwin, "Linear Hashing: A New Tool for File
 * and Table Addressing", VLDB 1980).  No operation rehashes a table, and failing to grow is never
 * an error: chains get longer.
 *
 *	struct thing { struct hash_link link; ... };
 *	thing->link.key = key;
 *	linear_hash_insert(&h, &thing->link);
 *	struct hash_link **at = linear_hash_seek(&h, key);
 *	if (*at)
 *		linear_hash_remove(&h, at);
 *
 * It allocates nothing.  The first LINEAR_HASH_SMALL buckets lie in the hash itself; more of them
 * lie in pages that the owner gives it when linear_hash_needs_care() says so.
 *
 * Load, in entries per bucket: it grows above 1 and shrinks below 1/2, so that a bucket just made
 * isn't unmade at once.  linear_hash_trim() shrinks it to load 1.
 *
 * Links with equal keys may be entered together; seek finds one, and the others are behind it in
 * the same chain.  Keys are hashed by hash_u64(), so not for keys an adversary picks.
 *
 * Concurrency: the caller's lock, for everything but linear_hash_needs_care().
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

/* More spare pages than that should be taken: one bucket needs no more, up to three levels. */
#define LINEAR_HASH_SPARE_MAX 3

struct hash_link {
	struct hash_link *next;
	uintptr_t key;
};

struct linear_hash {
	size_t entries;
	size_t buckets;	    /* at least LINEAR_HASH_SMALL */
	size_t entries_min; /* with fewer it shrinks: half the buckets, or 0 if those are few */
	size_t mask;	    /* 2^k - 1 with 2^(k-1) < buckets <= 2^k */
	unsigned height;    /* levels of the radix tree of pages; 0: the root is small[] */
	bool wants_page;    /* to grow it needs more pages than pages_spare */
	bool needs_care;    /* it wants a page or has too many; also read without the lock */
	void **root;
	void **pages; /* spare ones, linked through their first slot */
	size_t pages_spare;
	size_t pages_held; /* in the tree and spare */
	struct hash_link *small[LINEAR_HASH_SMALL];
};

/* It may not be moved after this. */
void linear_hash_init(struct linear_hash *h);

/* Out of line, for the inlines below: up to two buckets more, or fewer. */
void linear_hash_grow(struct linear_hash *h);
void linear_hash_shrink(struct linear_hash *h);
void **linear_hash_descend(const struct linear_hash *h, size_t i);

/* The slot of bucket i < buckets: a straight line up to three levels, which are 2^27 buckets. */
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

/* The bucket of a key: the one that the low k bits of its hash name or, while that doesn't exist
 * yet, the low k - 1. */
static inline size_t linear_hash_index(const struct linear_hash *h, uintptr_t key)
{
	size_t i = hash_u64(key) & h->mask;

	return i < h->buckets ? i : i & h->mask >> 1;
}

/* The chain that a key belongs in. */
static inline struct hash_link **linear_hash_chain(const struct linear_hash *h, uintptr_t key)
{
	return linear_hash_slot(h, linear_hash_index(h, key));
}

/* Where the pointer to the first link with that key stands; it is NULL if there is none. */
static inline struct hash_link **linear_hash_seek(const struct linear_hash *h, uintptr_t key)
{
	struct hash_link **at = linear_hash_chain(h, key), *l;

	while ((l = *at) && l->key != key)
		at = &l->next;
	return at;
}

/* Enters l under l->key. */
static inline void linear_hash_insert(struct linear_hash *h, struct hash_link *l)
{
	struct hash_link **chain = linear_hash_chain(h, l->key);

	l->next = *chain;
	*chain = l;
	if (__builtin_expect(++h->entries > h->buckets, 0))
		linear_hash_grow(h);
}

/* Takes out the link to which *at points.  Other such places may be stale afterwards. */
static inline void linear_hash_remove(struct linear_hash *h, struct hash_link **at)
{
	*at = (*at)->next;
	if (__builtin_expect(--h->entries < h->entries_min, 0))
		linear_hash_shrink(h);
}

/* One bucket less, while its entries need no more; false if they do. */
bool linear_hash_trim(struct linear_hash *h);

/* Whether a page should be given (wants_page) or taken.  Any context, no lock. */
static inline bool linear_hash_needs_care(const struct linear_hash *h)
{
	return __builtin_expect(__atomic_load_n(&h->needs_care, __ATOMIC_RELAXED), 0);
}

/* Adds a page of PORT_PAGE_SIZE bytes to the spare ones. */
void linear_hash_give_page(struct linear_hash *h, void *page);

/* A spare page beyond `keep` of them, which is the caller's again, or NULL. */
void *linear_hash_take_page(struct linear_hash *h, size_t keep);

/* The chain of bucket i < buckets, for checkers. */
struct hash_link *linear_hash_bucket(const struct linear_hash *h, size_t i);

#endif
