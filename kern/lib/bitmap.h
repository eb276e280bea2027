/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bitmaps over an array of 64-bit words: bit i is bit i % 64 of word i / 64.  No locks.
 */
#ifndef SPANDREL_LIB_BITMAP_H
#define SPANDREL_LIB_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITMAP_WORDS(bits) (((bits) + 63) / 64)
#define BITMAP_NONE ((size_t)-1)

static inline bool bitmap_test(const uint64_t *map, size_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}

static inline void bitmap_set(uint64_t *map, size_t i)
{
	map[i / 64] |= (uint64_t)1 << (i % 64);
}

static inline void bitmap_clear(uint64_t *map, size_t i)
{
	map[i / 64] &= ~((uint64_t)1 << (i % 64));
}

/* The first set bit at or after `from` in a map of `bits` bits; BITMAP_NONE if there is none.
 * Linear in the words. */
size_t bitmap_find_from(const uint64_t *map, size_t bits, size_t from);

/* The last set bit, or BITMAP_NONE.  Linear in the words. */
size_t bitmap_find_last(const uint64_t *map, size_t bits);

/* How many bits are set.  Linear in the words. */
size_t bitmap_count(const uint64_t *map, size_t bits);

#endif
