/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the memory map that a firmware gives to the memory that a kernel may use.
 *
 *	const char *wrong = memmap_normalize(entries, n, reserved, r, PORT_PAGE_SIZE, work, ranges,
 *		n + r + 1, &result);
 *
 * A firmware's entries overlap, are in no order, aligned to nothing, empty, or wrap around.  A byte
 * is usable if an entry calls it RAM, no entry calls it anything else and no reservation covers it.  An
 * entry that is empty or whose end passes 2^64 calls nothing anything; a reservation whose end passes 2^64
 * covers all up to there.
 * Usable ranges are rounded inward to the page, so all bytes of a usable page are usable.
 *
 * All of it is computed in the caller's arrays: nothing is allocated, kept or locked.
 */
#ifndef SPANDREL_MEMMAP_H
#define SPANDREL_MEMMAP_H

#include <stddef.h>
#include <stdint.h>

#define MEMMAP_RAM 1u /* a type; any other is not RAM */

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
	uint64_t ragged;	 /* of those, lost by rounding: ram == usable + reserved + ragged */
	uint64_t conflicting;	 /* bytes called both RAM and something else (not in ram) */
	size_t dropped_empty;	 /* entries of size 0 */
	size_t dropped_wrapping; /* entries whose end passes 2^64 */
};

/* Where entries or reservations begin or end: of use inside memmap_normalize() alone. */
struct memmap_edge {
	uint64_t at;
	int32_t ram, other, reserved; /* what begins (+1) or ends (-1) here */
};

/*
 * Turns entries[0 .. n), less reserved[0 .. r), into the usable ranges[0 .. capacity).  `page` is a
 * power of two, in bytes.  work[] has 2 * (n + r) elements at least.  A capacity of n + r + 1 is
 * always enough.  entries[] and reserved[] don't change.
 *
 * Context: any.  Cost: n log n in entries and reservations.  Returns NULL with *result filled in,
 * or one plain line that says why the map is refused: no usable page, more ranges than `capacity`, all
 * 2^64 bytes called RAM, or a page that is no power of two.
 */
const char *memmap_normalize(const struct memmap_entry *entries, size_t n,
	const struct memmap_range *reserved, size_t r, uint64_t page, struct memmap_edge *work,
	struct memmap_range *ranges, size_t capacity, struct memmap_result *result);

#endif
