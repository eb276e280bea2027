/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Debug mode full, and tracing: what is known of an object, and that good use is no misuse.
 */
#include "kmem_debug.h"

#include "arenas.h"
#include "kmalloc.h"
#include "kthread.h"
#include "lib/string.h"
#include "lib/test.h"
#include "modes.h"
#include "reclaim.h"
#include "slab.h"
#include "threads.h"

#define OBJECTS 300

static void *objects[OBJECTS];

static struct kmem_cache *create(size_t size, unsigned flags)
{
	struct kmem_cache *c = kmem_cache_create("full", size, 0, flags, NULL, NULL, NULL, NULL);

	CHECK(c);
	return c;
}

TEST("debug: objects of any size keep what is written in them, and go back")
{
	for (size_t size = 1; size < 9000; size += 1 + size / 3) {
		struct kmem_cache *c = create(size, KMC_FULL);

		CHECK_EQ(kmem_cache_alloc_bulk(c, objects, 20, MEM_WAIT), 20);
		for (size_t i = 0; i < 20; i++)
			memset(objects[i], (int)i, size);
		for (size_t i = 0; i < 20; i++) {
			CHECK_EQ(*(uint8_t *)objects[i], i);
			CHECK_EQ(((uint8_t *)objects[i])[size - 1], i);
			kmem_cache_free(c, objects[i]);
		}
		CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
		CHECK_EQ(kmem_cache_destroy(c), 0);
	}
}

static __attribute__((noinline)) void *alloc_here(struct kmem_cache *c)
{
	void *object = kmem_cache_alloc(c, MEM_WAIT);

	return object;
}

TEST("debug: of an object who allocated and who freed it are known, in mode full")
{
	struct kmem_cache *c = create(40, KMC_FULL);
	struct kmem_history h;
	uintptr_t pc;
	void *object = alloc_here(c);

	CHECK(kmem_cache_history(c, (uintptr_t)object + 39, &h));
	CHECK_EQ(h.object, (uintptr_t)object);
	CHECK_EQ(h.size, 40);
	CHECK(!h.is_free && h.alloc.ns > 0 && h.free.ns == 0);
	CHECK_EQ(h.alloc.ktask, ktask_id(ktask_self()));
	CHECK_EQ(stacks_get(h.alloc.stack, &pc, 1), 1);
	CHECK(pc - (uintptr_t)alloc_here < 200);
	kmem_cache_free(c, object);
	CHECK(kmem_cache_history(c, (uintptr_t)object, &h));
	CHECK(h.is_free && h.free.ns >= h.alloc.ns);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("debug: a freed object rests before it is handed out again, and counts as free")
{
	struct kmem_cache *c = create(64, KMC_FULL);
	struct kmem_cache_stats s;
	void *first = kmem_cache_alloc(c, MEM_WAIT);

	kmem_cache_free(c, first);
	for (int i = 0; i < 100; i++) {
		void *other = kmem_cache_alloc(c, MEM_WAIT);

		CHECK(other != first);
		kmem_cache_free(c, other);
	}
	kmem_cache_get_stats(c, &s);
	CHECK_EQ(s.live, 0);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	kmem_cache_get_stats(c, &s);
	CHECK_EQ(s.slabs, 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* In mode full everything is known anyway. */
static void wait_for_page(unsigned i, void *pages)
{
	arena_free(pages, arena_alloc(pages, PORT_PAGE_SIZE, MEM_WAIT), PORT_PAGE_SIZE);
}

/* Each object that leaves it finds its cache pressed. */
TEST("debug: where memory is short a whole quarantine ends, on one stack")
{
	struct arena *base = arenas_base(100), *pages = arenas_importer("short", base, PORT_PAGE_SIZE);
	struct kmem_cache *c = kmem_cache_create("full", 64, 0, KMC_FULL, pages, NULL, NULL, NULL);
	struct kmem_cache_stats s;
	struct piece *rest;

	CHECK_EQ(kmem_cache_alloc_bulk(c, objects, OBJECTS, MEM_ATOMIC), OBJECTS);
	rest = pieces_take_all(pages, PORT_PAGE_SIZE, PORT_PAGE_SIZE, MEM_ATOMIC);
	kmem_cache_free_bulk(c, objects, OBJECTS - 20);
	kmem_cache_get_stats(c, &s);
	CHECK_LT(200, s.quarantined);
	threads_run(THREADS_FREE, 1, wait_for_page, pages);
	kmem_cache_get_stats(c, &s);
	CHECK_EQ(s.quarantined, 0);
	kmem_cache_free_bulk(c, objects + OBJECTS - 20, 20);
	CHECK_EQ((uintptr_t)pieces_give(pages, rest, SIZE_MAX), 0);
	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(pages);
	arenas_base_end(base, 100);
}

TEST("trace: live objects are added up by backtrace while a cache is traced")
{
	struct kmem_cache *c;
	struct stacks_tally row;

	if (!modes_leave_layout())
		return;
	c = create(64, 0);
	objects[0] = kmem_cache_alloc(c, MEM_WAIT);
	CHECK_EQ(kmem_trace_start(c), 0);
	for (size_t i = 1; i < OBJECTS; i++)
		objects[i] = alloc_here(c);
	stacks_tally_begin();
	CHECK_EQ(kmem_trace_tally(c), 1); /* what was there before */
	CHECK(stacks_tally_next(&row));
	CHECK_EQ(row.count, OBJECTS - 1);
	CHECK_EQ(row.units, 64 * (OBJECTS - 1));
	CHECK(!stacks_tally_next(&row));
	stacks_tally_end();
	for (size_t i = 0; i < OBJECTS; i++)
		kmem_cache_free(c, objects[i]);
	stacks_tally_begin();
	CHECK_EQ(kmem_trace_tally(c), 0);
	CHECK(!stacks_tally_next(&row));
	stacks_tally_end();
	kmem_trace_stop(c);
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* Sizes */

static bool seems_broken;

static void use_sizes(unsigned i, void *arg)
{
	for (size_t n = test_ops(20000); n > 0 && !test_has_failed(); n--) {
		char *p = kmalloc(18 + n % 3, MEM_WAIT), *more = krealloc(p, 24, MEM_WAIT);

		memset(more, 'x', 24);
		kfree(more);
		if (n % 64 == 0)
			kthread_yield();
	}
	__atomic_fetch_add((unsigned *)arg, 1, __ATOMIC_RELEASE);
}

static void check_sizes(unsigned i, void *arg)
{
	const unsigned *ended = arg;

	while (__atomic_load_n(ended, __ATOMIC_ACQUIRE) < 3 && !test_has_failed()) {
		for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
			struct kmem_cache_stats s;

			kmem_cache_get_stats(c, &s);
			if (strcmp(s.name, "kmalloc-24") == 0)
				seems_broken |= kmem_cache_check(c, &console_sink) != 0;
		}
		kthread_yield();
	}
}

static void use_or_check(unsigned i, void *arg)
{
	if (i < 3)
		use_sizes(i, arg);
	else
		check_sizes(i, arg);
}

TEST("debug: the checker takes nothing for broken that is freed or resized meanwhile")
{
	unsigned ended = 0;

	seems_broken = false;
	threads_run(THREADS_PINNED, 4, use_or_check, &ended);
	CHECK(!seems_broken);
}
