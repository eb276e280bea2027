/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What headers promise as the cost of a call, counted at three sizes.
 *
 *	static const struct cost arena_costs[] = {
 *		{"linear.arena_find", arenas_make, find_last, arenas_end, 1024},
 *	};
 *
 *	BENCH("cost.arena")
 *	{
 *		costs_count(arena_costs, ARRAY_SIZE(arena_costs));
 *	}
 *
 * prints a row cost.linear.arena_find at each size.  The first word of the name is what the header says:
 * constant, logarithmic, linear or nlogn.  scripts/costs holds the rows against it.
 *
 * Concurrency: none; one thread at a time.
 */
#ifndef SPANDREL_TESTS_BENCH_COSTS_H
#define SPANDREL_TESTS_BENCH_COSTS_H

#include <stddef.h>

/* Calls of run() at each size.  The least is counted: in some of the others is a timer's interrupt. */
#define COST_TIMES 9

struct cost {
	const char *name; /* the promise, a dot, and the function */
	void (*make)(size_t n); /* what the call is about: n of what its cost depends on */
	void (*run)(size_t n);	/* the call, with what undoes it */
	void (*end)(size_t n);
	size_t most; /* the largest n, a multiple of 256 */
};

void costs_count(const struct cost *costs, size_t count);

#endif
