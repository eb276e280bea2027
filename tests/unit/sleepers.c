/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that sleep in an allocation.
 */
#include "sleepers.h"

#include "arena.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"

static void ask(struct sleeper *s)
{
	unsigned flags = s->flags ? s->flags : MEM_WAIT;

	if (s->ask)
		s->ask(s);
	else if (s->cache)
		s->got = kmem_cache_alloc(s->cache, flags);
	else if (s->max)
		s->got = arena_xalloc(s->arena, s->size, 0, 0, 0, s->min, s->max, flags);
	else
		s->got = arena_alloc(s->arena, s->size, flags);
}

static void give_back(struct sleeper *s)
{
	if (s->ask || !s->got)
		return;
	if (s->cache)
		kmem_cache_free(s->cache, s->got);
	else if (s->max)
		arena_xfree(s->arena, s->got, s->size);
	else
		arena_free(s->arena, s->got, s->size);
}

static void run_part(void *arg)
{
	struct sleeper *s = arg;

	ask(s);
	if (s->turns)
		s->turn = __atomic_add_fetch(s->turns, 1, __ATOMIC_RELAXED);
	if (s->gives_back)
		give_back(s);
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
}

/* As a part of the test, so that `ask` may check something. */
static void run(void *arg)
{
	test_run_part(1, run_part, arg);
}

void sleeper_begin(struct sleeper *s)
{
	struct ktask_plan plan = {.name = "sleeper", .fn = run, .arg = s, .core = KTASK_ANY_CORE};

	if (s->is_here)
		plan.core = port_core_id();
	s->got = NULL;
	s->turn = 0;
	s->done = false;
	s->task = ktask_create(&plan);
	CHECK(s->task != NULL);
}

void sleeper_start(struct sleeper *s, size_t waiting)
{
	sleeper_begin(s);
	threads_await_waiting(s->arena, waiting);
}

bool sleeper_is_done(struct sleeper *s)
{
	return __atomic_load_n(&s->done, __ATOMIC_ACQUIRE);
}

bool sleeper_is_served(struct sleeper *s)
{
	return threads_sleep_for(&s->done);
}

void sleeper_end(struct sleeper *s)
{
	ktask_join(s->task);
	test_end_if_failed();
	if (!s->ask && !s->flags)
		CHECK_NE((uintptr_t)s->got, 0);
	if (!s->gives_back)
		give_back(s);
}
