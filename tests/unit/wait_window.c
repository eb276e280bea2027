/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests that sleep for a place that stays allocated, and those that sleep beside them.
 */
#include "arena.h"
#include "arenas.h"
#include "port.h"
#include "sleepers.h"
#include "lib/test.h"

static void end(struct sleeper *s, uintptr_t expected)
{
	CHECK(sleeper_is_served(s));
	CHECK_EQ((uintptr_t)s->got, expected);
	sleeper_end(s);
}

static void free_ids(struct arena *a, uintptr_t from, uintptr_t to)
{
	for (; from <= to; from++)
		arena_free(a, (void *)from, 1);
}

TEST("wait: requests whose place stays allocated keep none asleep that a free serves")
{
	struct arena *a = arenas_full(8);
	struct sleeper window[3] = {
		{.arena = a, .size = 1, .min = 6, .max = 7},
		{.arena = a, .size = 1, .min = 7, .max = 8},
		{.arena = a, .size = 2, .min = 3, .max = 5},
	};
	struct sleeper plain = {.arena = a, .size = 2};

	for (size_t i = 0; i < 3; i++)
		sleeper_start(&window[i], i + 1);
	sleeper_start(&plain, 4);
	free_ids(a, 1, 2);
	end(&plain, 1);
	free_ids(a, 6, 6);
	end(&window[0], 6);
	free_ids(a, 7, 7);
	end(&window[1], 7);
	free_ids(a, 3, 4);
	end(&window[2], 3);
	free_ids(a, 5, 5);
	free_ids(a, 8, 8);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("wait: they keep none asleep in another importer of the same source")
{
	struct arena *a = arenas_full(8), *b, *c;
	struct sleeper window = {.size = 1, .min = 7, .max = 8}, plain = {.size = 2};

	b = arenas_importer("one", a, 1);
	c = arenas_importer("other", a, 1);
	window.arena = b;
	plain.arena = c;
	sleeper_start(&window, 1);
	sleeper_start(&plain, 1);
	/* The importer whose turn it is in the source changes with each round. */
	for (int round = 0; round < 4; round++) {
		free_ids(a, 1, 2);
		end(&plain, 1);
		arena_reap(c, SIZE_MAX);
		CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ATOMIC | ARENA_BESTFIT), 1);
		CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ATOMIC | ARENA_BESTFIT), 2);
		sleeper_start(&plain, 1);
	}
	free_ids(a, 7, 7);
	end(&window, 7);
	free_ids(a, 1, 2);
	end(&plain, 1);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(c), 0);
	free_ids(a, 3, 6);
	free_ids(a, 8, 8);
	CHECK_EQ(arena_destroy(a), 0);
}

/* A request for `size` in an importer of that quantum is served by as much in the source. */
static void check_aligned(size_t size, uintptr_t from, struct sleeper s)
{
	struct arena *a = arenas_full(8);

	s.arena = arenas_importer("importer", a, size);
	s.size = size;
	sleeper_start(&s, 1);
	free_ids(a, from, from + size - 1);
	end(&s, from);
	CHECK_EQ(arena_destroy(s.arena), 0);
	free_ids(a, 1, from - 1);
	free_ids(a, from + size, 8);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("wait: a quantum's worth freed in the source, and no more, serves in an importer")
{
	check_aligned(4, 4, (struct sleeper){0});
}
