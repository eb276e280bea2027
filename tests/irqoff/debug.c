/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Backtraces that are kept; debug modes, samples, tracing, failure injection; scans for leaks with many suspects.
 */
#include "kmem_debug.h"
#include "kmem_fail.h"
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
#define WALKS 20
#define RULES 10
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
	CHECK(stacks_find((uintptr_t)s));
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

/* Of a traced cache, and of one in mode full: large objects are verified for longer, many small ones add up. */
static void debug_cache(size_t size, unsigned flags)
{
	struct kmem_cache *c = kmem_cache_create("driven", size, 0, flags, NULL, NULL, NULL, NULL);
	struct kmem_history history;
	struct kmem_debug_stats stats;

	CHECK_EQ(kmem_trace_start(c), 0);
	fill(c);
	CHECK(kmem_cache_history(c, (uintptr_t)objects[1], &history));
	kmem_history_print(&null_sink, &history);
	kmem_trace_print(c, 2, &null_sink);
	stacks_tally_begin();
	CHECK_EQ(kmem_trace_tally(c), 0);
	stacks_tally_end();
	for (int i = 0; i < WALKS; i++)
		CHECK(kmem_debug_walk());
	CHECK_EQ(kmem_cache_check(c, NULL), 0);
	kmem_debug_get_stats(&stats);
	CHECK_LE(OBJECTS, stats.tracked);
	kmem_trace_reset(c);
	kmem_trace_stop(c);
	empty(c);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

static void modes(void)
{
	CHECK(!kmem_debug_checks());
	CHECK(kmem_debug_mode()[0] == 'o');
	debug_cache(8, 0);
	debug_cache(8, KMC_FULL);
	debug_cache(200, KMC_FULL);
	debug_cache(4000, KMC_FULL);
}

/* Some rules, one of them with a site, none of which fails anything. */
static void failures(void)
{
	int rules[RULES];
	struct kmem_fail_stats stats;

	for (size_t i = 0; i < RULES; i++) {
		struct kmem_fail_rule rule = {.name = i ? "driven" : NULL, .after = UINT64_MAX, .to = i ? 0 : 1};

		CHECK((rules[i] = kmem_fail_start(&rule)) > 0);
	}
	debug_cache(100, 0);
	CHECK_EQ(kmem_fail_next(0), rules[0]);
	for (size_t i = 0; i < RULES; i++) {
		CHECK(kmem_fail_get_stats(rules[i], &stats));
		kmem_fail_stop(rules[i]);
	}
}

void drive_debug(void)
{
	samples();
	backtraces();
	modes();
	failures();
	lose(8);
	lose(200);
	lose_large();
}
