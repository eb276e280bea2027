/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests' framework offers to tests.
 */
#include "lib/test.h"

TEST("test: a random number below n is below n and reaches both ends")
{
	bool seen[5] = {false};

	for (size_t i = 0; i < 1000; i++) {
		uint64_t n = test_random_below(5);

		CHECK_LT(n, 5);
		seen[n] = true;
	}
	for (size_t i = 0; i < 5; i++)
		CHECK(seen[i]);
	CHECK_EQ(test_random_below(1), 0);
	CHECK_LT(test_random_below(UINT64_MAX), UINT64_MAX);
}

TEST("test: there is always at least one operation to do")
{
	CHECK_EQ(test_ops(1000), 1000 / test_config.ops_divisor);
	CHECK_EQ(test_ops(0), 1);
}
