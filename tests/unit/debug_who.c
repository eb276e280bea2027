/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Debug modes: which call allocated a segment.
 */
#include "arena.h"
#include "kmem_debug.h"
#include "lib/test.h"
#include "sync.h"

#define IDS 64

static struct arena *create(void)
{
	struct arena *a = arena_create("test-who", (void *)1, IDS, 1, NULL, NULL, NULL, 0, MEM_WAIT);

	CHECK(a);
	return a;
}

static __attribute__((noinline)) void *alloc_here(struct arena *a)
{
	void *at = arena_alloc(a, 2, MEM_WAIT);

	return at;
}

static __attribute__((noinline)) void *xalloc_here(struct arena *a)
{
	void *at = arena_xalloc(a, 2, 0, 0, 0, 0, 0, MEM_WAIT);

	return at;
}

static __attribute__((noinline)) void *alloc_in_time(struct arena *a)
{
	void *at = arena_alloc_timeout(a, 2, MEM_ERROR, port_ns() + 1000000000);

	return at;
}

/* The segment at `at` has the backtrace of `fn`; without a mode that notes it, none. */
static void check_user(struct arena *a, void *at, void *fn)
{
	struct arena_segment s;
	uintptr_t pc;

	CHECK(arena_find_segment(a, (uintptr_t)at, &s));
	CHECK_EQ(s.start, (uintptr_t)at);
	CHECK_EQ(s.user != NULL, kmem_debug_checks());
	CHECK_EQ(s.since > 0, kmem_debug_checks());
	if (!s.user)
		return;
	CHECK_EQ(stacks_get(s.user, &pc, 1), 1);
	CHECK(pc - (uintptr_t)fn < 200);
}

TEST("debug: a segment has its allocation's backtrace, where every free is looked up")
{
	struct arena *a = create();
	void *plain = alloc_here(a), *placed = xalloc_here(a), *timed = alloc_in_time(a);

	check_user(a, plain, alloc_here);
	check_user(a, placed, xalloc_here);
	check_user(a, timed, alloc_in_time);
	arena_free(a, timed, 2);
	arena_xfree(a, placed, 2);
	arena_free(a, plain, 2);
	CHECK_EQ(arena_destroy(a), 0);
}

/* Free ones of a size are linked to each other where a used one has its backtrace. */
TEST("debug: what a tag held while free is no backtrace, nor has it one then")
{
	struct arena *a = create();
	struct arena_segment s;
	void *ids[IDS / 2];

	for (int i = 0; i < IDS / 2; i++)
		ids[i] = alloc_here(a);
	for (int i = 0; i < IDS / 2; i += 2)
		arena_free(a, ids[i], 2);
	for (int i = 0; i < IDS / 2; i += 2) {
		CHECK(arena_find_segment(a, (uintptr_t)ids[i], &s));
		CHECK(s.user == NULL && s.since == 0);
	}
	for (int i = 0; i < IDS / 2; i += 2)
		ids[i] = xalloc_here(a);
	for (int i = 0; i < IDS / 2; i++)
		check_user(a, ids[i], i % 2 ? (void *)alloc_here : (void *)xalloc_here);
	for (int i = 0; i < IDS / 2; i++)
		(i % 2 ? arena_free : arena_xfree)(a, ids[i], 2);
	CHECK_EQ(arena_destroy(a), 0);
}
