/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Computes which memory a kernel may use from the memory map that the firmware gives.
 *
 * Entries of firmware maps overlap and are unordered, unaligned, empty, or wrap around.  A byte is
 * usable if an entry calls it RAM, no entry calls it anything else, and no reservation covers it.
 * Usable ranges are rounded inward to pages, so every byte of a usable page is usable.
 *
 * It works on the caller's arrays; nothing is allocated.  Cost: n log n in the entries.
 */
#ifndef SPANDREL_LIB_MEMMAP_H
#define SPANDREL_LIB_MEMMAP_H

#include <stddef.h>
#include <stdint.h>

#define MEMMAP_RAM 1u /* every other type is not RAM */

struct memmap_entry {
	uint64_t start, size; /* bytes */
	uint32_t type;
};

struct memmap_range {
	uint64_t start, size; /* bytes; of a usable range, multiples of the page */
};

struct memmap_result {
	size_t count;		 /* ranges filled in: ascending, not adjacent, not empty */
	uint64_t usable;	 /* bytes in these ranges */
	uint64_t ram;		 /* bytes that an entry calls RAM and none calls anything else */
	uint64_t reserved;	 /* of ram: covered by a reservation */
	uint64_t ragged;	 /* of ram: lost to rounding; ram == usable + reserved + ragged */
	uint64_t conflicting;	 /* bytes called both RAM and something else; not in ram */
	size_t dropped_empty;	 /* entries of size 0 */
	size_t dropped_wrapping; /* entries whose end passes 2^64 */
};

/* Where entries or reservations begin (+1) or end (-1). */
struct memmap_edge {
	uint64_t at;
	int32_t ram, other, reserved;
};

/*
 * Puts what is usable in entries[0 .. n), less reserved[0 .. r), into ranges[0 .. capacity) and
 * fills in *result.  `page` is a power of two.  work[] is scratch memory of at least 2 * (n + r)
 * elements.  A capacity of n + r + 1 is always enough.  Returns NULL, or one plain line that says
 * why the map is refused: no usable page, more ranges than capacity, or 2^64 bytes of RAM.
 */
const char *memmap_normalize(const struct memmap_entry *entries, size_t n,
	const struct memmap_range *reserved, size_t r, uint64_t page, struct memmap_edge *work,
	struct memmap_range *ranges, size_t capacity, struct memmap_result *result);

#endif
