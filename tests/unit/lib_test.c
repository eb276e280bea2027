/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests' framework offers to tests.
 */
#include "lib/string.h"
#include "lib/printf.h"
#include "lib/test.h"
#include "sync.h"

/* Seeds by which tests/boot/run.py has a test fail, sleep for ever, and run for ever. */
#define SEED_FAIL 0xfa11
#define SEED_SLEEP 0x51ee9
#define SEED_SPIN 0x59111

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

TEST("test: what is printed is shown only if the test fails")
{
	kprintf("printed by a test\n");
	CHECK_NE(test_config.seed, SEED_FAIL);
}

TEST("test: a list has the names with the filter in them, a line each")
{
	static char text[512];
	struct buffer_sink b;

	buffer_sink_init(&b, text, sizeof(text));
	CHECK_EQ(test_list("test: a list has", &b.sink), 1);
	CHECK_STR(text, "test: a list has the names with the filter in them, a line each\n");
	CHECK_EQ(test_list("no name has \n", &b.sink), 0);
	buffer_sink_init(&b, NULL, 0);
	CHECK_EQ(test_list("", &b.sink), test_list(NULL, &b.sink));
}

static __attribute__((noinline)) void sleep_for_ever(void)
{
	struct semaphore never;

	sem_init(&never, 0);
	sem_down(&never, 1);
}

static __attribute__((noinline)) void spin_for_ever(void)
{
	for (;;)
		__asm__ volatile("");
}

TEST("test: one that doesn't end is ended at its limit")
{
	if (test_config.seed == SEED_SLEEP)
		sleep_for_ever();
	if (test_config.seed == SEED_SPIN)
		spin_for_ever();
}
