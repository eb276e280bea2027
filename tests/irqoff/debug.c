/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Backtraces that are kept; scans for leaks with many suspects; samples.
 */
#include "leaks.h"

#include "drive.h"
#include "kmalloc.h"
#include "kmem_sample.h"
#include "slab.h"
#include "stacks.h"
#include "lib/panic.h"
#include "lib/test.h"
#include "port.h"

#define OBJECTS 20000
#define LARGES 100
#define LARGE (KMALLOC_CACHED_MAX + 1)

static void *objects[OBJECTS];

static void fill(struct kmem_cache *c)
{
	CHECK(c);
	for (size_t i = 0; i < OBJECTS; i++)
		CHECK(objects[i] = kmem_cache_alloc(c, MEM_WAIT));
}

static void empty(struct kmem_cache *c)
{
	for (size_t i = 0; i < OBJECTS; i++)
		kmem_cache_free(c, objects[i]);
}

static void backtraces(void)
{
	const struct stack *s = stacks_keep(__builtin_return_address(0));
	struct stacks_tally row;
	uintptr_t pc;

	CHECK(s);
	stacks_print(&null_sink, s);
	CHECK_EQ(stacks_get(s, &pc, 1), 1);
	stacks_tally_begin();
	for (size_t i = 0; i < OBJECTS; i++)
		stacks_tally_add(s, 1, port_ns());
	CHECK(stacks_tally_next(&row));
	stacks_tally_add(row.stack, 1, port_ns());
	CHECK(stacks_tally_oldest(&row));
	stacks_tally_end();
	CHECK_LE(1, stacks_count());
	CHECK_LE(1, stacks_pages());
}

/* What nothing points to: the array has ~addresses. */
static void hide(void **p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (void *)~(uintptr_t)p[i];
}

static bool ignore_leak(const struct leak *leak, void *arg)
{
	return true;
}

static void scan(void)
{
	struct leaks_stats stats;

	CHECK_EQ(leaks_scan(), 0);
	CHECK_EQ(leaks_scan(), 0);
	leaks_get_stats(&stats);
	CHECK_EQ(leaks_report(ignore_leak, NULL), stats.leaks);
}

static void lose(size_t size)
{
	struct kmem_cache *c = kmem_cache_create("driven", size, 0, 0, NULL, NULL, NULL, NULL);

	fill(c);
	scan();
	hide(objects, OBJECTS);
	scan();
	hide(objects, OBJECTS);
	empty(c);
	leaks_clear();
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

static void lose_large(void)
{
	for (size_t i = 0; i < LARGES; i++)
		objects[i] = kmalloc(LARGE, MEM_WAIT);
	hide(objects, LARGES);
	scan();
	hide(objects, LARGES);
	for (size_t i = 0; i < LARGES; i++)
		kfree(objects[i]);
	leaks_clear();
}

/* Until there is no place for one more, and again. */
static void samples(void)
{
	struct kmem_cache *c = kmem_cache_create("driven", 200, 0, KMC_CHECK, NULL, NULL, NULL, NULL);
	struct kmem_sample_stats stats;
	struct kmem_sample s;
	uint64_t before = kmem_sample();

	CHECK_EQ(kmem_sample_set(1), 0);
	for (int turn = 0; turn < 2; turn++) {
		fill(c);
		CHECK_EQ(kmem_cache_check(c, NULL), 0);
		kmem_sample_get_stats(&stats);
		CHECK_LE(1, stats.live);
		for (size_t i = 0; i < OBJECTS; i++)
			if (kmem_sample_find((uintptr_t)objects[i], &s))
				CHECK(kmem_sample_direct(objects[i]) != objects[i]);
		scan();
		empty(c);
	}
	CHECK_EQ(kmem_sample_set(before), 0);
	kmem_sample_fault(0, "read", &(struct panic_site){.pc = 0});
	leaks_clear();
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

void drive_debug(void)
{
	samples();
	backtraces();
	lose(8);
	lose(200);
	lose_large();
}
