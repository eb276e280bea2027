/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls that cores make at once, and the work between two of them.
 */
#ifndef SPANDREL_BENCH_ARENA_SHARED_H
#define SPANDREL_BENCH_ARENA_SHARED_H

#include <stddef.h>

/* The work after a call; in some rows there is none.  *seed is any number, the core's own. */
void shared_work(unsigned *seed);

/* The peer: so many times takes a mutex, counts, releases it and does the work.  NULL where there are
 * no mutexes but ours. */
void shared_mutex_calls(size_t calls) __attribute__((weak));

#endif
