/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests that sleep for more than there is, and those behind them.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "port.h"
#include "shortage.h"
#include "sleepers.h"
#include "lib/test.h"
#include "threads.h"
#include "vmap.h"

#define OTHERS 100 /* that come and go behind it */

/* One after the other sleeps for what is all handed out, and is served by a free. */
static void others_pass(struct arena *a, size_t size, void *taken, size_t waiting)
{
	for (int i = 0; i < OTHERS; i++) {
		struct sleeper s = {.arena = a, .size = size};

		sleeper_start(&s, waiting + 1);
		arena_free(a, taken, size);
		CHECK(sleeper_is_served(&s));
		ktask_join(s.task);
		taken = s.got;
	}
	arena_free(a, taken, size);
}

TEST("wait: a request for more IDs than there are keeps none asleep that come later")
{
	struct arena *a = arenas_ids(1, 100);
	struct sleeper big = {.arena = a, .size = 200};
	void *taken = arena_alloc(a, 60, MEM_ATOMIC);

	sleeper_start(&big, 1);
	others_pass(a, 60, taken, 1);
	CHECK(!sleeper_is_done(&big));
	CHECK_EQ(arena_add(a, (void *)1000, 200, MEM_WAIT), 0);
	CHECK(sleeper_is_served(&big));
	sleeper_end(&big);
	arenas_end(a);
}

/* A request for a GiB, until it is told to give up. */
struct gib {
	struct shortage record; /* first */
	struct arena *arena;
	bool ends; /* atomic */
	size_t tries;
};

#define GIB ((size_t)1 << 30)
#define BASE_SIZE ((size_t)64 << 20)

static bool gib_try(struct shortage *record)
{
	struct gib *g = (struct gib *)record;

	__atomic_fetch_add(&g->tries, 1, __ATOMIC_RELAXED);
	CHECK(!arena_alloc(g->arena, GIB, MEM_ATOMIC));
	return __atomic_load_n(&g->ends, __ATOMIC_ACQUIRE);
}

static void gib_ask(struct sleeper *s)
{
	struct gib *g = s->arg;
	struct shortage_part part = {g->arena, GIB, GIB, NULL};

	g->record = (struct shortage){
		.try = gib_try, .parts = &part, .part_count = 1, .flags = MEM_WAIT};
	CHECK(shortage_wait(&g->record));
}

TEST("wait: a request for 1 GiB of 64 MiB keeps none asleep that come later")
{
	/* Memory in one piece: there may be none of base_arena. */
	void *memory = vmalloc(BASE_SIZE, MEM_WAIT), *taken;
	struct arena *base = arena_create_base("little", memory, BASE_SIZE);
	struct gib g = {.arena = base};
	struct sleeper big = {.arena = base, .ask = gib_ask, .arg = &g};
	size_t size = (arena_amt_free(base) / 3 * 2) / PORT_PAGE_SIZE * PORT_PAGE_SIZE;

	sleeper_start(&big, 1);
	taken = arena_alloc(base, size, MEM_ATOMIC);
	CHECK_NE((uintptr_t)taken, 0);
	others_pass(base, size, taken, 1);
	CHECK(!sleeper_is_done(&big));
	__atomic_store_n(&g.ends, true, __ATOMIC_RELEASE);
	shortage_poke();
	CHECK(sleeper_is_served(&big));
	sleeper_end(&big);
	arenas_end(base);
	vfree(memory, BASE_SIZE);
}

static bool is_parked(const char *arena)
{
	static struct shortage_row rows[8];
	size_t n = shortage_rows(rows, 8);

	for (size_t i = 0; i < n && i < 8; i++)
		if (rows[i].arena[0] == arena[0] && rows[i].is_parked)
			return true;
	return false;
}

TEST("wait: a large request that a pass couldn't serve is parked, and served by a free")
{
	struct arena *a = arena_create("parking", (void *)1, 256, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct sleeper big = {.arena = a, .size = 200};
	void *taken = arena_alloc(a, 256, MEM_ATOMIC);
	uint64_t end = port_ns() + THREADS_PATIENCE;

	sleeper_start(&big, 1);
	while (!is_parked("parking") && port_ns() < end)
		kthread_usleep(100);
	CHECK(is_parked("parking"));
	arena_free(a, taken, 256);
	CHECK(sleeper_is_served(&big));
	sleeper_end(&big);
	arenas_end(a);
}

/* Two that want more than half */

#define ROUNDS 3
#define LEFT ((size_t)32 << 20) /* of memory: mapping takes long under sanitizers */

static void map_much(unsigned i, void *arg)
{
	size_t size = *(size_t *)arg;

	for (int round = 0; round < ROUNDS; round++) {
		void *p = vmalloc(size, MEM_WAIT);

		CHECK_NE((uintptr_t)p, 0);
		kthread_yield();
		vfree(p, size);
	}
}

TEST("wait: two callers of vmalloc() for three fifths of memory each get it in turn")
{
	struct piece *taken = pieces_take_memory(LEFT);
	size_t size = arena_amt_free(base_arena) / PORT_PAGE_SIZE / 5 * 3 * PORT_PAGE_SIZE;
	threads_run(THREADS_FREE, 2, map_much, &size);
	pieces_give(base_arena, taken, SIZE_MAX);
}
