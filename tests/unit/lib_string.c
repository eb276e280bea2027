/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory and strings against byte-by-byte models, and number parsing.
 */
#include "lib/string.h"

#include "lib/test.h"

#define BLOCK_MAX 256 /* bytes in the buffers that blocks lie in */

static unsigned char ours[BLOCK_MAX], model[BLOCK_MAX], source[BLOCK_MAX];

static void randomize(unsigned char *bytes)
{
	for (size_t i = 0; i < BLOCK_MAX; i++)
		bytes[i] = (unsigned char)test_random();
}

static void randomize_both(void)
{
	randomize(ours);
	for (size_t i = 0; i < BLOCK_MAX; i++)
		model[i] = ours[i];
}

static void check_same(void)
{
	for (size_t i = 0; i < BLOCK_MAX; i++)
		CHECK_EQ(ours[i], model[i]);
}

TEST("string: memcpy copies the bytes asked for and nothing beside them")
{
	for (size_t ops = test_ops(20000); ops > 0; ops--) {
		size_t n = test_random_below(BLOCK_MAX / 2);
		size_t to = test_random_below(BLOCK_MAX - n + 1);
		size_t from = test_random_below(BLOCK_MAX - n + 1);

		randomize_both();
		randomize(source);
		for (size_t i = 0; i < n; i++)
			model[to + i] = source[from + i];
		CHECK(memcpy(ours + to, source + from, n) == ours + to);
		check_same();
	}
}

TEST("string: memmove is right however the blocks overlap")
{
	for (size_t ops = test_ops(20000); ops > 0; ops--) {
		size_t n = test_random_below(BLOCK_MAX / 2);
		size_t to = test_random_below(BLOCK_MAX - n + 1);
		size_t from = test_random_below(BLOCK_MAX - n + 1);

		if (test_random_below(2) && from + n + 9 < BLOCK_MAX)
			to = from + test_random_below(9);
		randomize_both();
		for (size_t i = 0; i < n; i++)
			model[to + i] = ours[from + i];
		CHECK(memmove(ours + to, ours + from, n) == ours + to);
		check_same();
	}
}

TEST("string: memset fills the bytes asked for and nothing beside them")
{
	for (size_t ops = test_ops(20000); ops > 0; ops--) {
		size_t n = test_random_below(BLOCK_MAX / 2);
		size_t to = test_random_below(BLOCK_MAX - n + 1);
		int byte = (int)test_random_below(1024);

		randomize_both();
		for (size_t i = 0; i < n; i++)
			model[to + i] = (unsigned char)byte;
		CHECK(memset(ours + to, byte, n) == ours + to);
		check_same();
	}
}

static int sign(int x)
{
	return (x > 0) - (x < 0);
}

static int model_compare(const unsigned char *a, const unsigned char *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (a[i] != b[i])
			return a[i] < b[i] ? -1 : 1;
	}
	return 0;
}

TEST("string: memcmp orders by the first byte that differs, unsigned")
{
	for (size_t ops = test_ops(20000); ops > 0; ops--) {
		size_t n = test_random_below(BLOCK_MAX / 2);
		size_t at = test_random_below(BLOCK_MAX - n + 1);

		randomize_both();
		for (size_t changes = test_random_below(3); changes > 0; changes--)
			ours[test_random_below(BLOCK_MAX)] = (unsigned char)test_random();
		CHECK_EQ(sign(memcmp(ours + at, model + at, n)),
			model_compare(ours + at, model + at, n));
	}
}

TEST("string: memchr finds the first such byte, and none beyond n")
{
	static const unsigned char bytes[] = {1, 200, 3, 200, 0};

	CHECK(memchr(bytes, 200, sizeof(bytes)) == bytes + 1);
	CHECK(memchr(bytes, 200 + 256, sizeof(bytes)) == bytes + 1);
	CHECK(memchr(bytes, 0, sizeof(bytes)) == bytes + 4);
	CHECK(memchr(bytes, 0, 4) == NULL);
	CHECK(memchr(bytes, 1, 0) == NULL);
}

TEST("string: lengths and comparisons stop at the end and at the limit")
{
	const char *volatile abc = "abc", *volatile abd = "abd", *volatile high = "ab\xff";

	CHECK_EQ(strlen(abc), 3);
	CHECK_EQ(strnlen(abc, 2), 2);
	CHECK_EQ(strnlen(abc, 9), 3);
	CHECK_EQ(sign(strcmp(abc, abd)), -1);
	CHECK_EQ(sign(strcmp(abc, abc)), 0);
	CHECK_EQ(sign(strcmp(high, abc)), 1);
	CHECK_EQ(sign(strcmp(abc, "ab")), 1);
	CHECK_EQ(sign(strcmp("ab", abc)), -1);
	CHECK_EQ(sign(strncmp(abc, abd, 2)), 0);
	CHECK_EQ(sign(strncmp(abc, abd, 3)), -1);
	CHECK_EQ(sign(strncmp(high, abc, 3)), 1);
	CHECK_EQ(sign(strncmp(abc, abc, 99)), 0);
}

TEST("string: searches find the first match, and the terminator")
{
	const char *volatile s = "banana";

	CHECK(strchr(s, 'n') == s + 2);
	CHECK(strchr(s, 'x') == NULL);
	CHECK(strchr(s, '\0') == s + 6);
	CHECK(strstr(s, "nan") == s + 2);
	CHECK(strstr(s, "nab") == NULL);
	CHECK(strstr(s, "") == s);
	CHECK(strstr(s, "bananas") == NULL);
	CHECK(strstr(s, "na") == s + 2);
}

TEST("string: str_copy cuts, terminates and tells the whole length")
{
	char buf[8] = "xxxxxxx";

	CHECK_EQ(str_copy(buf, "abc", sizeof(buf)), 3);
	CHECK_STR(buf, "abc");
	CHECK_EQ(buf[4], 'x');
	CHECK_EQ(str_copy(buf, "0123456", sizeof(buf)), 7);
	CHECK_STR(buf, "0123456");
	CHECK_EQ(str_copy(buf, "0123456789", 5), 10);
	CHECK_STR(buf, "0123");
	CHECK_EQ(buf[5], '5');
	CHECK_EQ(str_copy(buf, "abc", 1), 3);
	CHECK_STR(buf, "");
}

TEST("string: str_starts compares the prefix alone")
{
	CHECK(str_starts("arena tree", "arena"));
	CHECK(str_starts("arena", "arena"));
	CHECK(str_starts("arena", ""));
	CHECK(!str_starts("aren", "arena"));
	CHECK(!str_starts("xarena", "arena"));
}

static uint64_t parsed(const char *s)
{
	uint64_t value = 0;

	if (!str_to_u64(s, &value))
		test_fail(__FILE__, __LINE__, "\"%s\" was refused", s);
	return value;
}

TEST("string: numbers are decimal or 0x, with a binary unit")
{
	CHECK_EQ(parsed("0"), 0);
	CHECK_EQ(parsed("007"), 7);
	CHECK_EQ(parsed("18446744073709551615"), UINT64_MAX);
	CHECK_EQ(parsed("0xffffFFFFffffFFFF"), UINT64_MAX);
	CHECK_EQ(parsed("0x1aK"), 0x1a << 10);
	CHECK_EQ(parsed("4k"), 4096);
	CHECK_EQ(parsed("3M"), 3 << 20);
	CHECK_EQ(parsed("2g"), (uint64_t)2 << 30);
	CHECK_EQ(parsed("16777215T"), (uint64_t)16777215 << 40);
	CHECK_EQ(parsed("0T"), 0);
}

TEST("string: what isn't wholly a number that fits is refused and changes nothing")
{
	static const char *const refused[] = {"", "K", "0x", "0xK", "x1", "-1", "+1", " 1", "1 ",
		"1a", "12KB", "1KK", "1.5", "0xg", "18446744073709551616", "99999999999999999999",
		"0x10000000000000000", "16777216T", "18014398509481984k", "0x1P"};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		uint64_t value = 42;

		if (str_to_u64(refused[i], &value))
			test_fail(__FILE__, __LINE__, "\"%s\" was taken", refused[i]);
		CHECK_EQ(value, 42);
	}
}
