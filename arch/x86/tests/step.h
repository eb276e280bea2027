/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interfering with a function at each boundary between two instructions of restartable sequences,
 * by the processor's trap flag.
 *
 *	step_forget();
 *	for (at = 0; prepare(), step_interfere(fn, at, interference); at++)
 *		check what must hold
 *	CHECK_EQ(step_missed((uintptr_t)kmem_cache_alloc), 0);
 *
 * One core, one at a time.  Interference runs as an interrupt does: it may step stacks, not sleep.
 */
#ifndef SPANDREL_X86_TESTS_STEP_H
#define SPANDREL_X86_TESTS_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Runs fn() and returns how many boundaries within sequences it passed, in whatever function; those
 * in loops count each time. */
size_t step_through(void (*fn)(void));

/* Runs fn(), and interference() when it stands at boundary `at` of those, counted from 0; false if
 * fn() ended before. */
bool step_interfere(void (*fn)(void), size_t at, void (*interference)(void));

/* Forgets where there was interference. */
void step_forget(void);

/* How many boundaries of the sequences in the function at `function` nothing has interfered at since. */
size_t step_missed(uintptr_t function);

#endif
