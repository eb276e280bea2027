/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a scan for leaks knows of memory: leaks.c has the theory, leaks_map.c makes this.
 */
#ifndef SPANDREL_LEAKS_IMPL_H
#define SPANDREL_LEAKS_IMPL_H

#include "lib/bitmap.h"
#include "slab_impl.h"

/* What has a page: 0, nothing that is looked at as a whole; LEAKS_PLAIN, a caller of an arena's; or the number
 * of a block above that. */
#define LEAKS_PLAIN 1u
#define LEAKS_BLOCKS 2u

/* A span of base_arena, or where samples are: a word for each of its pages. */
struct leaks_region {
	uintptr_t start;
	size_t pages;
	uint32_t *page;
};

/* A slab, a large kmalloc or a sample: objects one behind the other, a bit for each from bit 0 of a word on. */
struct leaks_block {
	uintptr_t base;
	uintptr_t memory; /* where what is at `base` is looked at: of a sample, which may go, elsewhere */
	size_t stride;
	uint32_t objects;
	uint32_t word;	/* the first one of its bits */
	uint32_t owner; /* 0: kmalloc itself */
	bool stands;	/* it was still there when the scan ended */
};

struct leaks_owner {
	const struct kmem_cache *cache; /* only to be compared, NULL: kmalloc itself */
	char name[KMEM_NAME_MAX];
};

/* Bits with summaries above them, so that the lowest one that is set is found at once: bit i of a level says
 * whether word i below it has any. */
#define LEAKS_LEVELS 6
struct leaks_set {
	uint64_t *level[LEAKS_LEVELS]; /* the bits themselves first */
	unsigned levels;
};

struct leaks_map {
	struct leaks_region *regions; /* in the order of addresses */
	size_t region_count, region_max;
	size_t regions_bytes; /* of the memory that these and their words are in */

	struct leaks_owner *owners;
	struct leaks_block *blocks;
	uint32_t *block_of;	  /* for each word of bits, the number of its block */
	uint64_t *live, *marked;  /* a bit for each object */
	struct leaks_set grey;	  /* marked, but not yet looked at */
	size_t owner_count, owner_max, block_count, block_max, word_count, word_max;
	void *memory; /* that these are in */
	size_t bytes;
};

static inline size_t leaks_whole_pages(size_t size)
{
	return (size + PORT_PAGE_SIZE - 1) & -(size_t)PORT_PAGE_SIZE;
}

/* Takes memory of the base arena for the finder, zeroed, by MEM_ERROR; NULL: there is none. */
void *leaks_pages_take(size_t size);
void leaks_pages_give(void *pages, size_t size);

/* Lets other threads run after so much work, now and then. */
void leaks_breathe(size_t work);

/* Makes the map of what is there now; 0 or -ENOMEM. */
int leaks_map_make(struct leaks_map *m);
void leaks_map_end(struct leaks_map *m);
void leaks_map_hide(struct leaks_map *m, uintptr_t start, size_t size);

/* Has `live` say what is still live of what was, and `stands` which blocks are still there. */
void leaks_map_refresh(struct leaks_map *m);

/* Whether objects of the cache are looked for. */
bool leaks_is_looked_for(const struct kmem_cache *c);
/* Empties the magazines of all caches of memory. */
void leaks_drain(void);

void leaks_set_add(struct leaks_set *s, size_t bit);
/* Takes the lowest bit out; BITMAP_NONE: there is none. */
size_t leaks_set_take(struct leaks_set *s);

static inline const struct leaks_region *leaks_region_of(const struct leaks_map *m, uintptr_t address)
{
	for (size_t i = 0; i < m->region_count; i++)
		if ((address - m->regions[i].start) / PORT_PAGE_SIZE < m->regions[i].pages)
			return &m->regions[i];
	return NULL;
}

/* The block and the object of it that an address lies in; NULL: none. */
static inline struct leaks_block *leaks_block_of(const struct leaks_map *m, uintptr_t address, size_t *index)
{
	const struct leaks_region *r = leaks_region_of(m, address);
	uint32_t is = r ? r->page[(address - r->start) / PORT_PAGE_SIZE] : 0;
	struct leaks_block *b;

	if (is < LEAKS_BLOCKS)
		return NULL;
	b = &m->blocks[is - LEAKS_BLOCKS];
	*index = (address - b->base) / b->stride;
	return *index < b->objects ? b : NULL;
}

#endif
