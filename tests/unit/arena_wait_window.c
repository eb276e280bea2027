/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Allocations that sleep for a place that stays taken, and those who sleep beside them.
 */
#include "arena.h"
#include "kthread.h"
#include "port.h"
#include "lib/test.h"
#include "threads.h"

#define MS 1000000ull /* nanoseconds */
#define PATIENCE (5000 * MS)

/* A ktask that wants `size`, within [min, max) if that is given. */
struct sleeper {
	struct arena *arena;
	size_t size;
	uintptr_t min, max;
	struct ktask *task;
	void *got;
};

static void sleeper_run(void *arg)
{
	struct sleeper *s = arg;
	void *got = s->max ? arena_xalloc(s->arena, s->size, 0, 0, 0, s->min, s->max, MEM_WAIT) :
			     arena_alloc(s->arena, s->size, MEM_WAIT);

	__atomic_store_n(&s->got, got, __ATOMIC_RELEASE);
}

static void *got(struct sleeper *s)
{
	return __atomic_load_n(&s->got, __ATOMIC_ACQUIRE);
}

/* Starts it and waits until it sleeps, as one of `waiting` of its arena. */
static void start(struct sleeper *s, size_t waiting)
{
	s->task = ktask("sleeper", sleeper_run, s);
	CHECK(s->task != NULL);
	threads_await_waiting(s->arena, waiting);
}

static void end(struct sleeper *s, uintptr_t expected)
{
	uint64_t patience = port_ns() + PATIENCE;

	while (!got(s) && port_ns() < patience)
		kthread_usleep(100);
	CHECK_EQ((uintptr_t)got(s), expected);
	ktask_join(s->task);
	if (s->max)
		arena_xfree(s->arena, s->got, s->size);
	else
		arena_free(s->arena, s->got, s->size);
}

/* Integers 1 .. n, each taken by itself. */
static struct arena *full(size_t n)
{
	struct arena *a = arena_create("ids", (void *)1, n, 1, NULL, NULL, NULL, 0, MEM_WAIT);

	for (size_t i = 1; i <= n; i++)
		CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ATOMIC | ARENA_BESTFIT), i);
	return a;
}

static void free_ids(struct arena *a, uintptr_t from, uintptr_t to)
{
	for (; from <= to; from++)
		arena_free(a, (void *)from, 1);
}

TEST("wait: those whose place stays taken keep nobody asleep whom a free serves")
{
	struct arena *a = full(8);
	struct sleeper window[3] = {
		{.arena = a, .size = 1, .min = 6, .max = 7},
		{.arena = a, .size = 1, .min = 7, .max = 8},
		{.arena = a, .size = 2, .min = 3, .max = 5},
	};
	struct sleeper plain = {.arena = a, .size = 2};

	for (size_t i = 0; i < 3; i++)
		start(&window[i], i + 1);
	start(&plain, 4);
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

TEST("wait: nor in another importer of the same source")
{
	struct arena *a = full(8), *b, *c;
	struct sleeper window = {.size = 1, .min = 7, .max = 8}, plain = {.size = 2};

	b = arena_create("one", NULL, 0, 1, arena_alloc, arena_free, a, 0, MEM_WAIT);
	c = arena_create("other", NULL, 0, 1, arena_alloc, arena_free, a, 0, MEM_WAIT);
	window.arena = b;
	plain.arena = c;
	start(&window, 1);
	start(&plain, 1);
	/* Whose turn it is in the source changes with each. */
	for (int round = 0; round < 4; round++) {
		free_ids(a, 1, 2);
		end(&plain, 1);
		arena_reap(c, SIZE_MAX);
		CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ATOMIC | ARENA_BESTFIT), 1);
		CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ATOMIC | ARENA_BESTFIT), 2);
		plain.got = NULL;
		start(&plain, 1);
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

/* Who waits for `size` in an importer of that quantum is served by as much in the source. */
static void check_aligned(size_t size, uintptr_t from, struct sleeper s)
{
	struct arena *a = full(8);

	s.arena = arena_create("importer", NULL, 0, size, arena_alloc, arena_free, a, 0, MEM_WAIT);
	s.size = size;
	start(&s, 1);
	free_ids(a, from, from + size - 1);
	end(&s, from);
	CHECK_EQ(arena_destroy(s.arena), 0);
	free_ids(a, 1, from - 1);
	free_ids(a, from + size, 8);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("wait: a quantum's worth that comes free in the source, and no more, serves in an importer")
{
	check_aligned(4, 4, (struct sleeper){0});
	check_aligned(3, 6, (struct sleeper){.min = 6, .max = 9});
}
