/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor's commands for failure injection.
 */
#include "kmem_fail.h"
#include "slab.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "lib/test.h"
#include "monitor/monitor_impl.h"
#include "monitor_said.h"

static struct kmem_cache *cache;

static __attribute__((noinline)) bool alloc_beneath(void)
{
	void *object = kmem_cache_alloc(cache, MEM_ATOMIC);

	if (object)
		kmem_cache_free(cache, object);
	return object;
}

static void begin(void)
{
	cache = kmem_cache_create("test-fail", 64, 0, 0, NULL, NULL, NULL, NULL);
	CHECK(cache && alloc_beneath());
}

static void end(void)
{
	CHECK_EQ(kmem_fail_next(0), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}

TEST("fail: a rule from the monitor fails what it says, is listed, and stopped")
{
	char line[40];

	begin();
	check_says("fail", "no allocation is made to fail\n");
	check_says("fail start test-fail after=1 times=1 seed=0x7", ": `fail` shows what it does\n");
	CHECK(alloc_beneath() && !alloc_beneath() && alloc_beneath());
	check_says("fail -k", " of=test-fail site=all after=1 one_in=0 times=1 matched=3 failed=1 seed=7\n");
	check_says("fail", " test-fail ");
	CHECK(fits_in(80));
	check_says("debug", "test-fail ");
	CHECK(strstr(said, "fail "));
	ksnprintf(line, sizeof(line), "fail stop %d", kmem_fail_next(0));
	check_says(line, "it was about 3 allocations, and 1 failed\n");
	end();
}

TEST("fail: a rule from the monitor may be about a function, and about all")
{
	begin();
	CHECK(run("fail start all site=alloc_beneath one_in=1"));
	CHECK(!alloc_beneath());
	check_says("fail -k", " of=all site=alloc_beneath after=0 one_in=1 times=0 matched=1 failed=1 seed=0\n");
	check_says("fail", " alloc_beneath ");
	CHECK(fits_in(80));
	CHECK(run("fail start test-fail after=9; fail stop all"));
	CHECK(alloc_beneath());
	end();
}

TEST("fail: words that say nothing are refused, and no rule begins")
{
	begin();
	check_refused("fail start nothing", "fail start: no arena and no cache nothing\n");
	check_refused("fail start base site=no_such", "fail start: no function no_such\n");
	check_refused("fail start base after=few", "fail start: after=few: not a number\n");
	check_refused("fail start base often",
		"fail start: often: neither site=, after=, one_in=, times= nor seed=\n");
	check_refused("fail stop 0", "fail stop: no rule 0\n");
	check_refused("fail stop x", "fail stop: no rule x\n");
	end();
}
