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
	THREADS_FREE,	/* wherever they come to run */
	THREADS_PINNED, /* thread i on core i modulo the number of cores */
};

/* Runs fn(i, arg) for 0 <= i < n, each in a ktask of its own and as a part of the running test, and
 * waits for all.  If a check failed in one, the test ends here. */
void threads_run(enum threads_where where, unsigned n, void (*fn)(unsigned i, void *arg), void *arg);

/* The same in two halves, for a test that goes on meanwhile. */
struct threads;
struct threads *threads_start(
	enum threads_where where, unsigned n, void (*fn)(unsigned i, void *arg), void *arg);
void threads_join(struct threads *threads);

/* Yields until *flag is true, or the test has failed. */
void threads_await(const bool *flag);

/* Sleeps until *flag is true, two seconds at most: then a wake-up counts as lost.  Returns it. */
bool threads_sleep_for(const bool *flag);

/* Sleeps until so many wait in the arena's queue.  If that takes ten seconds, the test has failed. */
struct arena;
void threads_await_waiting(struct arena *a, size_t n);

#endif
