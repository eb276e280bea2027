/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Searching and counting in bitmaps.
 */
#include "lib/bitmap.h"

/* Word `i` of a map of `bits` bits; bits past the end of the map read as 0. */
static inline uint64_t word_of(const uint64_t *map, size_t bits, size_t i)
{
	size_t inside = bits - i * 64;

	return inside >= 64 ? map[i] : map[i] & (((uint64_t)1 << inside) - 1);
}

size_t bitmap_find_from(const uint64_t *map, size_t bits, size_t from)
{
	uint64_t mask = ~(uint64_t)0 << (from % 64), word;

	if (from >= bits)
		return BITMAP_NONE;
	for (size_t i = from / 64; i < BITMAP_WORDS(bits); i++) {
		word = word_of(map, bits, i) & mask;
		if (word)
			return i * 64 + (size_t)__builtin_ctzll(word);
		mask = ~(uint64_t)0;
	}
	return BITMAP_NONE;
}

size_t bitmap_find_last(const uint64_t *map, size_t bits)
{
	uint64_t word;

	for (size_t i = BITMAP_WORDS(bits); i-- > 0;) {
		word = word_of(map, bits, i);
		if (word)
			return i * 64 + 63 - (size_t)__builtin_clzll(word);
	}
	return BITMAP_NONE;
}

/* Adds up bits in pairs, then in nibbles, then in bytes.  __builtin_popcountll() would be a call
 * into the compiler's library, since the image also runs on processors without the instruction. */
static size_t count_word(uint64_t x)
{
	x -= x >> 1 & 0x5555555555555555u;
	x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
	return x * 0x0101010101010101u >> 56;
}

size_t bitmap_count(const uint64_t *map, size_t bits)
{
	size_t count = 0;

	for (size_t i = 0; i < BITMAP_WORDS(bits); i++)
		count += count_word(word_of(map, bits, i));
	return count;
}
