/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests with several threads.
 *
 *	static void add(unsigned i, void *arg) { ... CHECK(...) ... }
 *	threads_run(THREADS_FREE, 8, add, &sum);
 */
#ifndef SPANDREL_TESTS_THREADS_H
#define SPANDREL_TESTS_THREADS_H

#include "kthread.h"

enum threads_where {
	THREADS_FREE,	/* on any core */
	THREADS_PINNED, /* thread i on core i modulo the number of cores */
};

/* Runs fn(i, arg) for 0 <= i < n, each in a ktask of its own and as a part of the running test, and
 * waits for all.  If a check failed in one, the test ends here. */
void threads_run(enum threads_where where, unsigned n, void (*fn)(unsigned i, void *arg), void *arg);

/* The same in two halves, for a test that does something meanwhile. */
struct threads;
struct threads *threads_start(
	enum threads_where where, unsigned n, void (*fn)(unsigned i, void *arg), void *arg);
void threads_join(struct threads *threads);

/* Yields until *flag is true, or the test has failed. */
void threads_await(const bool *flag);

/* Nanoseconds until a wake-up counts as lost.  Only a test that fails waits so long.  It is that
 * many because a busy machine may let one core run and another one stand still for seconds. */
#define THREADS_PATIENCE 30000000000ull

/* Sleeps until *flag is true, for THREADS_PATIENCE at most.  Returns *flag. */
bool threads_sleep_for(const bool *flag);

/* Sleeps until n requests wait in the arena's queue.  If that takes longer than THREADS_PATIENCE,
 * the test has failed. */
struct arena;
void threads_await_waiting(struct arena *a, size_t n);

/* What core `core` reads at va, through its own TLB. */
uint64_t threads_read_on(unsigned core, uintptr_t va);

#endif
