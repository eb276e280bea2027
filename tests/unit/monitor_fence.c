/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fence around tests, set up once more within a test.
 */
#include "fence/fence.h"

#include "arena.h"
#include "kmalloc.h"
#include "port.h"
#include "lib/test.h"
#include "modes.h"

#define UNCACHED (64 * PORT_PAGE_SIZE) /* what no quantum cache serves */

TEST("fence: what leaked is named by the cache or the arena it came from")
{
	if (!modes_leave_layout())
		return;
	void *pages, *object;

	test_fence.begin();
	object = kmalloc(64, MEM_WAIT);
	test_check_contains(__FILE__, __LINE__, "end", test_fence.end(), "cache kmalloc-64: ");
	kfree(object);
	pages = arena_alloc(kpages_arena, UNCACHED, MEM_WAIT);
	test_check_contains(__FILE__, __LINE__, "end", test_fence.end(), "arena kpages: ");
	arena_free(kpages_arena, pages, UNCACHED);
	CHECK(test_fence.end() == NULL);
}

TEST("fence: an arena too many is named, and so is one in another's place")
{
	struct arena *first = arena_create("test-first", NULL, 0, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct arena *second;

	test_fence.begin();
	second = arena_create("test-second", NULL, 0, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	test_check_contains(__FILE__, __LINE__, "end", test_fence.end(), "(test-second)");
	CHECK_EQ(arena_destroy(first), 0);
	test_check_contains(
		__FILE__, __LINE__, "end", test_fence.end(), "arena test-second was not there before");
	CHECK_EQ(arena_destroy(second), 0);
	test_fence.begin();
}
