/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches interrupted inside their hot path at each of its instructions.
 *
 * The functions are the public ones.  In between two instructions an interrupt's worth of
 * allocations and frees on the same cache runs; afterward each object must be in one hand: none
 * was given to two callers, and when all have been freed the cache has as many out as before.
 */
#include "kmalloc.h"
#include "kthread.h"
#include "lib/string.h"
#include "port.h"
#include "slab.h"
#include "slab/slab_impl.h"
#include "lib/test.h"

#include "../layout.h"
#include "unit/modes.h"
#include "step.h"

#define SIZE 64
#define HELD_MAX 512
#define BULK 6
#define TRIES 20

static struct kmem_cache *cache;

/* What is held, by the interrupted code and by what interrupts it. */
static void *held[HELD_MAX];
static size_t held_count;

static void hold(void *p)
{
	CHECK_NE((uintptr_t)p, 0);
	for (size_t i = 0; i < held_count; i++)
		CHECK_NE((uintptr_t)held[i], (uintptr_t)p);
	CHECK_LT(held_count, HELD_MAX);
	held[held_count++] = p;
}

static void *let_go(void)
{
	CHECK_LT(0, held_count);
	return held[--held_count];
}

/* Steps */

static void step_alloc(void)
{
	hold(kmem_cache_alloc(cache, MEM_ATOMIC));
}

static void step_alloc_wait(void)
{
	hold(kmem_cache_alloc(cache, MEM_WAIT));
}

static void step_free(void)
{
	kmem_cache_free(cache, let_go());
}

static void step_alloc_bulk(void)
{
	void *objects[BULK];

	CHECK_EQ(kmem_cache_alloc_bulk(cache, objects, BULK, MEM_ATOMIC), BULK);
	for (size_t i = 0; i < BULK; i++)
		hold(objects[i]);
}

static void step_free_bulk(void)
{
	void *objects[BULK];

	for (size_t i = 0; i < BULK; i++)
		objects[i] = let_go();
	kmem_cache_free_bulk(cache, objects, BULK);
}

static void step_kmalloc(void)
{
	kfree(kmalloc(SIZE, MEM_ATOMIC));
}

static void step_page_alloc(void)
{
	hold(arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT));
}

static void step_page_free(void)
{
	arena_free(kpages_arena, let_go(), PORT_PAGE_SIZE);
}

/* Interference.  What it takes it keeps apart, and gives back when the step has ended. */

static void *taken[2 * BULK];
static size_t taken_count;

static void take(void)
{
	taken[taken_count++] = kmem_cache_alloc(cache, MEM_ATOMIC);
	taken[taken_count++] = kmem_cache_alloc(cache, MEM_ATOMIC);
}

static void give(void)
{
	kmem_cache_free(cache, let_go());
	kmem_cache_free(cache, let_go());
}

static void pairs(void)
{
	void *a = kmem_cache_alloc(cache, MEM_ATOMIC), *b = kmem_cache_alloc(cache, MEM_ATOMIC);

	kmem_cache_free(cache, a);
	kmem_cache_free(cache, b);
	kfree(kmalloc(SIZE, MEM_ATOMIC));
}

static void many(void)
{
	taken_count += kmem_cache_alloc_bulk(cache, taken + taken_count, BULK, MEM_ATOMIC);
}

/* The other way round, so that what was on top isn't. */
static void pages(void)
{
	void *a = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_ATOMIC);
	void *b = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_ATOMIC);

	arena_free(kpages_arena, a, PORT_PAGE_SIZE);
	arena_free(kpages_arena, b, PORT_PAGE_SIZE);
}

static void settle(void)
{
	while (taken_count > 0)
		hold(taken[--taken_count]);
}

static void prepare(void)
{
	for (int i = 0; i < 64; i++)
		step_alloc();
	for (int i = 0; i < 24; i++)
		step_free();
}

static void put_all_back(void)
{
	while (held_count > 0)
		step_free();
}

static uint64_t live(void)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(cache, &s);
	return s.live;
}

/* Memory of the image may have become late RAM in another test, and a free of what lies there isn't hot. */
struct late {
	struct late *next;
};

static bool is_late(const void *p)
{
	return (uintptr_t)p >= (uintptr_t)image_start;
}

static void *alloc_one(void)
{
	return kmem_cache_alloc(cache, MEM_WAIT);
}

static void free_one(void *p)
{
	kmem_cache_free(cache, p);
}

static void *kmalloc_one(void)
{
	return kmalloc(SIZE, MEM_WAIT);
}

/* Takes objects that lie there until one doesn't. */
static struct late *late_take(void *(*alloc)(void), void (*free)(void *p))
{
	struct late *first = NULL, *l;

	for (l = alloc(); is_late(l); l = alloc()) {
		l->next = first;
		first = l;
	}
	free(l);
	return first;
}

static void late_give(struct late *l, void (*free)(void *p))
{
	for (struct late *next; l; l = next) {
		next = l->next;
		free(l);
	}
}

static void interfere_everywhere(void (*step)(void), void (*what)(void))
{
	uint64_t before = live();
	bool more = true;

	for (size_t at = 0; more; at++) {
		prepare();
		more = step_interfere(step, at, what);
		settle();
		put_all_back();
		CHECK_EQ(live(), before);
	}
}

static void await_open(void)
{
	struct kmem_cache_stats s;

	for (kmem_cache_get_stats(cache, &s); s.is_closed && !test_has_failed(); kmem_cache_get_stats(cache, &s))
		kthread_usleep(1000);
}

/* `function` is the one whose instructions must all have been met.  While something is short, as other tests
 * leave it for a moment, the cache is closed, and there is nothing to be met: so it is tried again. */
static void try_step(void (*step)(void), uintptr_t function)
{
	static void (*const interferences[])(void) = {take, give, pairs, many};
	struct late *late;

	cache = kmem_cache_create("stepped", SIZE, 0, 0, NULL, NULL, NULL, NULL);
	late = late_take(alloc_one, free_one);
	step_forget();
	for (int tries = 0; tries < TRIES && (tries == 0 || step_missed(function) > 0); tries++) {
		await_open();
		for (size_t i = 0; i < sizeof(interferences) / sizeof(interferences[0]); i++)
			interfere_everywhere(step, interferences[i]);
	}
	CHECK_EQ(step_missed(function), 0);
	late_give(late, free_one);
	CHECK_EQ(live(), 0);
	CHECK_EQ(kmem_cache_check(cache, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}

TEST("slab: an allocation interrupted at any instruction loses and doubles nothing")
{
	if (!modes_leave_fronts())
		return;
	try_step(step_alloc, (uintptr_t)kmem_cache_alloc);
	try_step(step_alloc_wait, (uintptr_t)kmem_cache_alloc);
}

TEST("slab: a free interrupted at any instruction loses and doubles nothing")
{
	if (!modes_leave_fronts())
		return;
	try_step(step_free, (uintptr_t)kmem_cache_free);
}

TEST("slab: many at a time interrupted at any instruction lose and double nothing")
{
	if (!modes_leave_fronts())
		return;
	try_step(step_alloc_bulk, (uintptr_t)kmem_cache_alloc_bulk);
	try_step(step_free_bulk, (uintptr_t)slab_free_many);
}

TEST("kmalloc: interrupted at any instruction it loses and doubles nothing")
{
	struct late *late;

	if (!modes_leave_fronts())
		return;
	late = late_take(kmalloc_one, kfree);
	try_step(step_kmalloc, (uintptr_t)kmalloc);
	try_step(step_kmalloc, (uintptr_t)kfree);
	late_give(late, kfree);
}

/* Some are in hand and some laid up, so that what is popped twice shows. */
TEST("arena: pages of a front, interrupted at any instruction, aren't lost or doubled")
{
	bool more = true;
	size_t at;

	if (!modes_leave_fronts())
		return;
	step_forget();
	for (int i = 0; i < 8; i++)
		step_page_alloc();
	for (int i = 0; i < 4; i++)
		step_page_free();
	for (at = 0; more; at++) {
		more = step_interfere(step_page_alloc, at, pages);
		more |= step_interfere(step_page_free, at, pages);
	}
	CHECK_LT(1, at);
	CHECK_EQ(held_count, 4);
	while (held_count > 0)
		step_page_free();
	CHECK_EQ(step_missed((uintptr_t)arena_alloc), 0);
	CHECK_EQ(step_missed((uintptr_t)arena_free), 0);
}
