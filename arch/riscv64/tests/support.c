/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the compiler calls for bits and bytes (support.c), bit by bit.  Values are volatile, so that it can't work
 * them out itself.
 */
#include <stdbool.h>
#include <stdint.h>

#include "lib/test.h"

static int count_slowly(uint64_t value)
{
	int n = 0;

	for (unsigned i = 0; i < 64; i++)
		n += value >> i & 1;
	return n;
}

static uint64_t reverse_slowly(uint64_t value)
{
	uint64_t reversed = 0;

	for (unsigned i = 0; i < 8; i++)
		reversed |= (value >> 8 * i & 0xff) << (56 - 8 * i);
	return reversed;
}

static void check_bits(uint64_t given, unsigned low, unsigned high)
{
	volatile uint64_t value = given;

	CHECK_EQ(__builtin_ctzll(value), (int)low);
	CHECK_EQ(__builtin_clzll(value), (int)(63 - high));
	CHECK_EQ(__builtin_popcountll(value), count_slowly(given));
	CHECK_EQ(__builtin_bswap64(value), reverse_slowly(given));
}

TEST("support: bits are counted and bytes reversed as one by one")
{
	for (unsigned low = 0; low < 64; low++) {
		for (unsigned high = low; high < 64; high++) {
			uint64_t inner = high > low + 1 ? test_random() << (low + 1) & ((1ull << high) - 1) : 0;

			check_bits(1ull << low | 1ull << high | inner, low, high);
		}
	}
}

TEST("support: a byte is exchanged beside others, which stay as they are")
{
	static uint8_t bytes[8];

	for (unsigned at = 0; at < 8; at++) {
		uint8_t *byte = &bytes[at], expected = 1;

		for (unsigned i = 0; i < 8; i++)
			bytes[i] = (uint8_t)(0xf0 + i);
		CHECK_EQ(__atomic_exchange_n(byte, 7, __ATOMIC_SEQ_CST), 0xf0 + at);
		CHECK(!__atomic_compare_exchange_n(byte, &expected, 9, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
		CHECK_EQ(expected, 7);
		CHECK(__atomic_compare_exchange_n(byte, &expected, 9, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
		for (unsigned i = 0; i < 8; i++)
			CHECK_EQ(bytes[i], i == at ? 9 : 0xf0 + i);
	}
}
