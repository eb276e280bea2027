/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Debug modes: tracing that is begun and ended in any order, and what is printed of objects.
 */
#include "kmem_debug.h"
#include "lib/string.h"
#include "lib/test.h"
#include "modes.h"
#include "slab.h"
#include "stacks.h"

static struct kmem_cache *create(unsigned flags)
{
	struct kmem_cache *c = kmem_cache_create("traced", 64, 0, flags, NULL, NULL, NULL, NULL);

	CHECK(c);
	return c;
}

static bool is_known(struct kmem_cache *c, const void *object)
{
	struct kmem_history h;

	return kmem_cache_history(c, (uintptr_t)object, &h);
}

TEST("trace: begun twice it ends at once, and what wasn't begun can be ended")
{
	struct kmem_cache *c = create(0);
	void *object;

	if (modes_leave_layout()) {
		kmem_trace_stop(c);
		kmem_trace_reset(c);
		CHECK_EQ(kmem_trace_start(c), 0);
		CHECK_EQ(kmem_trace_start(c), 0);
		object = kmem_cache_alloc(c, MEM_WAIT);
		CHECK(is_known(c, object));
		kmem_trace_reset(c);
		CHECK(!is_known(c, object));
		kmem_trace_stop(c);
		kmem_trace_stop(c);
		kmem_trace_reset(c);
		kmem_cache_free(c, object);
		object = kmem_cache_alloc(c, MEM_WAIT);
		CHECK(!is_known(c, object));
		kmem_cache_free(c, object);
	}
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("trace: of a cache in mode full all is known, before and after")
{
	struct kmem_cache *c = create(KMC_FULL);
	void *object = kmem_cache_alloc(c, MEM_WAIT);

	CHECK_EQ(kmem_trace_start(c), 0);
	CHECK(is_known(c, object));
	kmem_trace_reset(c);
	kmem_trace_stop(c);
	CHECK(is_known(c, object));
	kmem_cache_free(c, object);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

#define MANY 16

static char text[4096];

/* From one place: a compiler that knew n would copy the call. */
static __attribute__((noinline)) void alloc_here(struct kmem_cache *c, void **objects, size_t n)
{
	__asm__ volatile("" : "+r"(n));
	for (size_t i = 0; i < n; i++)
		objects[i] = kmem_cache_alloc(c, MEM_WAIT);
}

static __attribute__((noinline)) void *alloc_there(struct kmem_cache *c)
{
	void *object = kmem_cache_alloc(c, MEM_WAIT);

	return object;
}

/* What is printed with so many rows. */
static const char *printed(struct kmem_cache *c, size_t rows)
{
	struct buffer_sink sink;

	buffer_sink_init(&sink, text, sizeof(text));
	kmem_trace_print(c, rows, &sink.sink);
	return text;
}

TEST("trace: no more backtraces are printed than asked for, then what isn't known")
{
	struct kmem_cache *c;
	void *objects[MANY + 2];

	if (!modes_leave_layout())
		return;
	c = create(0);
	objects[0] = kmem_cache_alloc(c, MEM_WAIT);
	CHECK_EQ(kmem_trace_start(c), 0);
	alloc_here(c, objects + 1, MANY);
	objects[MANY + 1] = alloc_there(c);
	CHECK(strstr(printed(c, 1), "16 live, 1.0 KiB, the oldest "));
	CHECK(!strstr(text, "1 live, 64 B"));
	CHECK(strstr(text, "1 live objects of which nothing is known"));
	CHECK(strstr(printed(c, 5), "1 live, 64 B"));
	kmem_cache_free_bulk(c, objects, MANY + 2);
	CHECK_STR(printed(c, 5), "");
	kmem_trace_stop(c);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("trace: in mode full, what was freed and isn't handed out again doesn't count")
{
	struct kmem_cache *c = create(KMC_FULL);
	void *live = kmem_cache_alloc(c, MEM_WAIT), *freed = kmem_cache_alloc(c, MEM_WAIT);
	struct stacks_tally row;

	kmem_cache_free(c, freed);
	stacks_tally_begin();
	CHECK_EQ(kmem_trace_tally(c), 0);
	CHECK(stacks_tally_next(&row));
	CHECK_EQ(row.count, 1);
	CHECK(!stacks_tally_next(&row));
	stacks_tally_end();
	kmem_cache_free(c, live);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("debug: what isn't known of an object is printed as such")
{
	struct kmem_history h = {.object = 0x1000, .size = 8, .alloc = {.ns = 1, .core = 3}, .free = {.ns = 1, .ktask = 7}};
	struct buffer_sink sink;

	buffer_sink_init(&sink, text, sizeof(text));
	kmem_history_print(&sink.sink, &h);
	CHECK(strstr(text, "allocated "));
	CHECK(strstr(text, " ago by core 3:\n"));
	CHECK(strstr(text, "freed before that "));
	CHECK(strstr(text, " ago by ktask 7 on core 0:\n"));
	h = (struct kmem_history){.object = 0x1000, .size = 8, .is_free = true};
	buffer_sink_init(&sink, text, sizeof(text));
	kmem_history_print(&sink.sink, &h);
	CHECK(strstr(text, "allocated: not known\n"));
	CHECK(strstr(text, "freed: not known\n"));
}

TEST("debug: of a backtrace no more is given than there is room for, of none nothing")
{
	struct kmem_cache *c = create(KMC_FULL);
	struct kmem_history h;
	uintptr_t pc = 0;
	void *object = alloc_there(c);

	CHECK(kmem_cache_history(c, (uintptr_t)object, &h));
	CHECK_EQ(stacks_get(h.alloc.stack, NULL, 0), 0);
	CHECK_EQ(stacks_get(h.alloc.stack, &pc, 1), 1);
	CHECK_EQ(stacks_get(NULL, &pc, 1), 0);
	kmem_cache_free(c, object);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("debug: of an address in no slab of a cache no history is known")
{
	struct kmem_cache *c = create(KMC_FULL), *other = create(KMC_FULL);
	void *object = kmem_cache_alloc(c, MEM_WAIT), *foreign = kmem_cache_alloc(other, MEM_WAIT);

	CHECK(is_known(c, object));
	CHECK(!is_known(c, foreign));
	CHECK(!is_known(c, text));
	CHECK(!is_known(c, NULL));
	kmem_cache_free(c, object);
	kmem_cache_free(other, foreign);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(kmem_cache_destroy(other), 0);
}
