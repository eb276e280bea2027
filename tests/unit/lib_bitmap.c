/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bitmaps against arrays of bools, and hashing.
 */
#include "lib/bitmap.h"

#include "lib/hash.h"
#include "lib/string.h"
#include "lib/test.h"

#define BITS_MAX 300

static uint64_t map[BITMAP_WORDS(BITS_MAX)];
static bool model[BITS_MAX];

/* Bits beyond `bits` are set, too: no function may see them. */
static void randomize(size_t bits, uint64_t one_in)
{
	memset(map, 0xff, sizeof(map));
	for (size_t i = 0; i < bits; i++) {
		model[i] = test_random_below(one_in) == 0;
		if (model[i])
			bitmap_set(map, i);
		else
			bitmap_clear(map, i);
	}
}

static size_t model_find_from(size_t bits, size_t from)
{
	for (size_t i = from; i < bits; i++) {
		if (model[i])
			return i;
	}
	return BITMAP_NONE;
}

static void check_against_model(size_t bits)
{
	size_t count = 0, last = BITMAP_NONE;

	for (size_t i = 0; i < bits; i++) {
		CHECK_EQ(bitmap_test(map, i), model[i]);
		count += model[i];
		last = model[i] ? i : last;
	}
	CHECK_EQ(bitmap_count(map, bits), count);
	CHECK_EQ(bitmap_find_last(map, bits), last);
	for (size_t from = 0; from <= bits; from++)
		CHECK_EQ(bitmap_find_from(map, bits, from), model_find_from(bits, from));
}

TEST("bitmap: finding and counting match an array, whatever lies beyond the end")
{
	for (size_t ops = test_ops(3000); ops > 0; ops--) {
		size_t bits = test_random_below(BITS_MAX + 1);

		randomize(bits, 1 + test_random_below(bits + 1));
		check_against_model(bits);
	}
}

TEST("bitmap: an empty map has nothing to find")
{
	CHECK_EQ(bitmap_find_from(map, 0, 0), BITMAP_NONE);
	CHECK_EQ(bitmap_find_last(map, 0), BITMAP_NONE);
	CHECK_EQ(bitmap_count(map, 0), 0);
}

TEST("bitmap: setting and clearing touch one bit")
{
	uint64_t two[2] = {0, 0};

	bitmap_set(two, 63);
	bitmap_set(two, 64);
	CHECK_EQ(two[0], (uint64_t)1 << 63);
	CHECK_EQ(two[1], 1);
	bitmap_clear(two, 63);
	bitmap_clear(two, 63);
	CHECK_EQ(two[0], 0);
	CHECK_EQ(two[1], 1);
}

TEST("hash: byte strings hash to the published FNV-1a values")
{
	CHECK_EQ(hash_bytes("", 0), 0xcbf29ce484222325u);
	CHECK_EQ(hash_bytes("a", 1), 0xaf63dc4c8601ec8cu);
	CHECK_EQ(hash_bytes("foobar", 6), 0x85944171f73967e8u);
}

#define BUCKETS 1024

/* The most of BUCKETS keys, `stride` apart, that one bucket gets. */
static size_t worst_bucket(uint64_t start, uint64_t stride)
{
	static uint8_t load[BUCKETS];
	size_t worst = 0;

	memset(load, 0, sizeof(load));
	for (size_t i = 0; i < BUCKETS; i++) {
		size_t n = ++load[hash_u64(start + i * stride) % BUCKETS];

		worst = n > worst ? n : worst;
	}
	return worst;
}

TEST("hash: integers at every power of two apart spread over the buckets")
{
	for (unsigned shift = 0; shift < 40; shift++)
		CHECK_LE(worst_bucket(0xffff800000000000u, (uint64_t)1 << shift), 12);
}
