/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the memory map a firmware gives to the memory a kernel may use.
 *
 * Firmware maps overlap, come unordered, unaligned, with empty and wrapping entries.  Rules: a byte
 * is usable if some entry calls it RAM, no entry calls it anything else and no reservation covers
 * it.  Usable ranges are rounded inward to the page, so every usable page is wholly so.
 *
 * Pure computation on the caller's arrays; nothing is allocated.  Cost: n log n in the entries.
 */
#ifndef SPANDREL_LIB_MEMMAP_H
#define SPANDREL_LIB_MEMMAP_H

#include <stddef.h>
#include <stdint.h>

#define MEMMAP_RAM 1u /* every other type is not RAM, whatever it says */

struct memmap_entry {
	uint64_t start, size; /* bytes */
	uint32_t type;
};

struct memmap_range {
	uint64_t start, size; /* bytes, multiples of the page */
};

struct memmap_result {
	size_t count;		 /* ranges filled in: ascending, disjoint, not adjacent, not empty */
	uint64_t usable;	 /* their sum */
	uint64_t ram;		 /* bytes that some entry calls RAM and none calls anything else */
	uint64_t reserved;	 /* of those, covered by a reservation */
	uint64_t ragged;	 /* of those, lost to rounding: ram == usable + reserved + ragged */
	uint64_t conflicting;	 /* bytes called both RAM and something else (not in ram) */
	size_t dropped_empty;	 /* entries of size 0 */
	size_t dropped_wrapping; /* entries whose end passes 2^64 */
};

/*
 * Sorts out entries[0 .. n) less reserved[0 .. r) into ranges[0 .. capacity).  `page` is a power of
 * two.  work[] is scratch for at least 2 * (n + r) elements.  A capacity of n + r + 1 is always
 * enough.  Returns NULL, or one plain line that says why the map is refused: no usable page, or
 * more ranges than capacity.  The entries and reservations are not changed.
 */
struct memmap_edge {
	uint64_t at;
	int32_t ram, other, reserved; /* what begins (+1) or ends (-1) here */
};
const char *memmap_normalize(const struct memmap_entry *entries, size_t n,
	const struct memmap_range *reserved, size_t r, uint64_t page, struct memmap_edge *work,
	struct memmap_range *ranges, size_t capacity, struct memmap_result *result);

#endif
