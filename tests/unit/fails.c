/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tests that make allocations fail have in common.
 */
#include "fails.h"

#include "arena.h"
#include "slab.h"
#include "lib/symbol.h"
#include "lib/test.h"

#define CALLS_MAX 2000 /* that end before it: a call has fewer allocations */

struct kmem_fail_rule fails_beneath(void *fn)
{
	struct kmem_fail_rule rule = {.name = NULL};

	CHECK(symbol_range((uintptr_t)fn, &rule.from, &rule.to));
	return rule;
}

struct kmem_fail_stats fails_stats(int number)
{
	struct kmem_fail_stats stats;

	CHECK(kmem_fail_get_stats(number, &stats));
	return stats;
}

/* Kept apart, so that what make() calls is beneath it. */
static __attribute__((noinline)) bool call(bool (*make)(void))
{
	bool made = make();

	__asm__ volatile("");
	return made;
}

/* One call, with the allocations behind the first `after` failing, `times` of them; whether any did. */
static bool fail_one(bool (*make)(void), void (*undo)(void), uint64_t after, uint64_t times, size_t *refused)
{
	struct kmem_fail_rule rule = fails_beneath(call);
	struct kmem_fail_stats stats;
	bool made;
	int number;

	rule.after = after;
	rule.times = times;
	number = kmem_fail_start(&rule);
	CHECK_LT(0, number);
	made = call(make);
	stats = fails_stats(number);
	kmem_fail_stop(number);
	CHECK(made || stats.failed > 0);
	if (made)
		undo();
	*refused += !made;
	return stats.failed > 0;
}

/* Slow runs leave some out. */
static size_t fail_each(bool (*make)(void), void (*undo)(void), void (*check)(void), uint64_t times)
{
	size_t refused = 0, after = 0;

	for (; fail_one(make, undo, after, times, &refused);
		after += 1 + test_random_below(test_config.ops_divisor)) {
		CHECK_LT(after, CALLS_MAX);
		if (check)
			check();
	}
	CHECK_LT(0, after);
	return refused;
}

/* A rule that fails nothing keeps all caches closed between the others, each of which would take a call on each
 * core for each cache. */
size_t fails_each(bool (*make)(void), void (*undo)(void), void (*check)(void))
{
	struct kmem_fail_rule keeper = {.after = UINT64_MAX};
	int number = kmem_fail_start(&keeper);
	size_t refused;

	CHECK_LT(0, number);
	CHECK(make());
	undo();
	refused = fail_each(make, undo, check, 1) + fail_each(make, undo, check, 0);
	kmem_fail_stop(number);
	return refused;
}
