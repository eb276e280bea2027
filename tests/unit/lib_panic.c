/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Catching panics.  What a panic that isn't caught prints is seen from outside, by the boot tests.
 */
#include "lib/catch.h"
#include "lib/panic.h"

#include "lib/string.h"
#include "lib/test.h"

static int no_errors;

static void assert_errors(int wanted)
{
	ASSERT(no_errors == wanted);
}

TEST("panic: the first line is formatted and caught")
{
	CHECK_PANICS(panic("arena %s: free of %#x", "base", 0x1000), "arena base: free of 0x1000");
	CHECK(!panic_happened());
}

TEST("panic: a trap's panic is caught like others")
{
	struct panic_site site = {.pc = 0x1234};

	CHECK_PANICS(panic_at(&site, "page fault at %p", (void *)0x10), "page fault at 0x10");
}

TEST("panic: an assertion that fails names file and expression, one that holds doesn't")
{
	assert_errors(0);
	CHECK_PANICS(assert_errors(1), "lib_panic.c:");
	CHECK_PANICS(assert_errors(1), "assertion failed: no_errors == wanted");
}

TEST("panic: a message longer than its room is cut")
{
	struct panic_catch c;

	panic_catch_push(&c);
	if (machine_setjmp(&c.jump) == 0)
		panic("%1000d", 7);
	panic_catch_pop(&c);
	CHECK_EQ(strlen(c.message), sizeof(c.message) - 1);
}

static void catch_and_panic_again(void)
{
	CHECK_PANICS(panic("inner"), "inner");
	panic("outer");
}

TEST("panic: catches nest")
{
	CHECK_PANICS(catch_and_panic_again(), "outer");
}

TEST("panic: a catch that a jump left behind goes with the one around it")
{
	static struct panic_catch outer, inner, lost;

	panic_catch_push(&outer);
	if (machine_setjmp(&outer.jump) == 0 && machine_setjmp(&lost.jump) == 0) {
		panic_catch_push(&inner);
		panic_catch_push(&lost);
		panic_catch_pop(&inner);
		panic("after");
	}
	panic_catch_pop(&outer);
	CHECK_STR(outer.message, "after");
	CHECK_STR(lost.message, "");
}
