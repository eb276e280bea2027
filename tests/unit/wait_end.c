/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of arenas and caches in which requests sleep.
 */
#include "arena.h"
#include "arenas.h"
#include "kept.h"
#include "lib/string.h"
#include "slab.h"
#include "sleepers.h"
#include "lib/test.h"
#include "threads.h"

/* Checks that the arena, or else the cache, isn't destroyed, and that the console says so. */
static void check_refused(struct arena *a, struct kmem_cache *c, const char *said)
{
	int error;

	kept_begin();
	error = a ? arena_destroy(a) : kmem_cache_destroy(c);
	test_check_contains(__FILE__, __LINE__, "what it said", kept_end(), said);
	CHECK_EQ(error, -EBUSY);
}

static void check_arena(size_t qcache_max)
{
	struct arena *a = arena_create("ending", (void *)1, 8, 1, NULL, NULL, NULL, qcache_max, MEM_WAIT);
	void *p = arena_alloc(a, 8, MEM_ATOMIC);
	struct sleeper s[2];

	for (size_t i = 0; i < 2; i++) {
		s[i] = (struct sleeper){.arena = a, .size = 3};
		sleeper_start(&s[i], i + 1);
	}
	check_refused(a, NULL, "2 requests wait");
	arena_free(a, p, 8);
	for (size_t i = 0; i < 2; i++)
		CHECK(sleeper_is_served(&s[i]));
	for (size_t i = 0; i < 2; i++)
		sleeper_end(&s[i]);
	arenas_end(a);
}

TEST("wait: an arena in which requests sleep isn't destroyed, and serves them")
{
	check_arena(0);
	check_arena(4);
}

/* With nothing allocated: only the requests keep it. */
TEST("wait: requests for more than there is keep an arena without allocations")
{
	struct arena *a = arena_create("ending", (void *)1, 8, 1, NULL, NULL, NULL, 4, MEM_WAIT);
	struct sleeper s = {.arena = a, .size = 9};

	sleeper_start(&s, 1);
	check_refused(a, NULL, "1 requests wait");
	CHECK_EQ(arena_add(a, (void *)100, 9, MEM_WAIT), 0);
	CHECK(sleeper_is_served(&s));
	sleeper_end(&s);
	arenas_end(a);
}

TEST("wait: requests that sleep in an importer keep its source")
{
	struct arena *a = arenas_full(4), *b = arenas_importer("above", a, 1);
	struct sleeper s = {.arena = b, .size = 2};

	sleeper_start(&s, 1);
	check_refused(b, NULL, "1 requests wait");
	check_refused(a, NULL, "1 requests wait");
	for (uintptr_t id = 1; id <= 4; id++)
		arena_free(a, (void *)id, 1);
	CHECK(sleeper_is_served(&s));
	sleeper_end(&s);
	arenas_end(b);
	arenas_end(a);
}

TEST("wait: a cache in which requests sleep isn't destroyed, and serves them")
{
	struct arena *a = arenas_full(256);
	struct kmem_cache *c = kmem_cache_create("ending", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
	struct sleeper s = {.arena = a, .cache = c};

	sleeper_start(&s, 1);
	check_refused(NULL, c, "cache ending: not destroyed: 1 requests wait");
	for (uintptr_t id = 1; id <= 256; id++)
		arena_free(a, (void *)id, 1);
	CHECK(sleeper_is_served(&s));
	sleeper_end(&s);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(a);
}
