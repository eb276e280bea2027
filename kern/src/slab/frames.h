/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page frame table: for each page of RAM, its holder nearest to the caller.
 *
 *	frames_set(start, pages, (uintptr_t)slab, MEM_ATOMIC);
 *	frames_get(address within)  ->  (uintptr_t)slab
 *	frames_clear(start, pages);
 *
 * Two levels: a root with a pointer for each leaf's worth of addresses (2 MiB with pages of 4 KiB),
 * between the lowest and the highest address of the base arena at boot; and leaves, one page of entries
 * each, taken from the base arena as they are needed.  Where there is none, the root points to one
 * leaf of zeros that all share, so that looking up needs no check.
 *
 * RAM that is added later may lie anywhere.  Outside of boot's range, roots of one size (for 1 GiB) are
 * taken from the base arena as they are needed, too, and found through two more levels.
 *
 * An entry is 0 (none), the address of a slab's header, or (FRAMES_LARGE) a large kmalloc's size;
 * those of kmalloc's slabs are marked, so that kfree() makes one check.  Entries of different
 * owners never share a page, so they are stored without a lock; a lock guards which leaves there
 * are.  Looking up takes none.
 */
#ifndef SPANDREL_FRAMES_H
#define SPANDREL_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port.h"

#define FRAMES_LARGE 1	 /* bit of an entry: no slab's, kmalloc.c knows what it says */
#define FRAMES_KMALLOC 2 /* the slab is one of kmalloc's */

#define FRAMES_LEAF_SLOTS (PORT_PAGE_SIZE / sizeof(uintptr_t))
#define FRAMES_LEAF_BYTES (FRAMES_LEAF_SLOTS * PORT_PAGE_SIZE) /* addresses a leaf stands for */

/* For the inline functions alone. */
struct frames {
	uintptr_t first;  /* the first address the root stands for, a multiple of FRAMES_LEAF_BYTES */
	size_t count;	  /* leaves there can be */
	uintptr_t **root; /* count of them; never NULL */
	uint16_t *live;	  /* of each leaf that is there: its entries set or claimed */
	uint64_t *idle;	  /* bit: the leaf is there and may have no entry */
};
extern struct frames frames; /* of the RAM there was at boot */

/* Readies the table for the addresses [first, last] of boot's RAM.  Context: boot, once, when base_arena
 * stands.  Cost: a store for each FRAMES_LEAF_BYTES.  Panics if there is no memory for the root. */
void frames_init(uintptr_t first, uintptr_t last);

/* Sets the entries of `pages` pages from `start` on, which are 0, to `entry` (not 0).
 * Context: by flag.  Cost: linear in pages.  Returns false, with no entry changed, if there is no
 * memory for a leaf or a root. */
bool frames_set(uintptr_t start, size_t pages, uintptr_t entry, unsigned flags);

/* Changes the entry of the page that addr lies in, which isn't 0. */
void frames_change(uintptr_t addr, uintptr_t entry);

/* Makes them 0 again.  Never needs memory; leaves without an entry stay until frames_trim(). */
void frames_clear(uintptr_t start, size_t pages);

static inline uintptr_t frames_get_in(const struct frames *f, uintptr_t addr)
{
	size_t i = (addr - f->first) / FRAMES_LEAF_BYTES;
	uintptr_t *leaf;

	if (__builtin_expect(i >= f->count, 0))
		return 0;
	/* Acquire, both: pair with the releases in frames.c, so that what an entry points to is seen. */
	leaf = __atomic_load_n(&f->root[i], __ATOMIC_ACQUIRE);
	return __atomic_load_n(&leaf[addr / PORT_PAGE_SIZE % FRAMES_LEAF_SLOTS], __ATOMIC_ACQUIRE);
}

/* The entry of the page that addr lies in, if that is RAM of boot's; else 0.  Any context. */
static inline uintptr_t frames_get_early(uintptr_t addr)
{
	return frames_get_in(&frames, addr);
}

/* The same of RAM that came later.  Cost: constant, four loads. */
uintptr_t frames_get_late(uintptr_t addr) __attribute__((cold));

/* Of any page; 0 if none is set, or it isn't RAM.  Any context. */
static inline uintptr_t frames_get(uintptr_t addr)
{
	if (__builtin_expect((addr - frames.first) / FRAMES_LEAF_BYTES >= frames.count, 0))
		return frames_get_late(addr);
	return frames_get_early(addr);
}

/* Gives leaves without an entry back to the base arena; returns how many.  Cost: a bit for each
 * leaf there can be. */
size_t frames_trim(void);

#endif
