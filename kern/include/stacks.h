/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Backtraces that are kept: of who allocated what, and who freed it.
 *
 *	const struct stack *s = stacks_keep(__builtin_return_address(0));
 *	stacks_print(sink, s);
 *
 * Each is kept once, however often it is met, and for good: what names one is a pointer, which stays
 * valid.  They lie in pages of base_arena that never go back, so only debug modes and tracing keep any;
 * there are as many as the kernel has ways to call an allocator.
 */
#ifndef SPANDREL_STACKS_H
#define SPANDREL_STACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sink.h"

#define STACKS_DEPTH 12 /* return addresses that are kept, innermost first */

struct stack; /* a backtrace */

/* The backtrace of the caller, from the frame on that returns to `caller`; or NULL if there is no memory
 * for a new one.  Context: any but an NMI.  Cost: linear in frames, and, of a new one, a page of
 * base_arena at times. */
const struct stack *stacks_keep(void *caller);

/* Fills pcs[0 .. max) with return addresses, innermost first; returns how many there are: 0 of NULL.
 * Context: any. */
size_t stacks_get(const struct stack *stack, uintptr_t *pcs, size_t max);

/* A line for each frame, as a panic's report has them; of NULL, one that says that it isn't known.
 * Context: any. */
void stacks_print(struct sink *sink, const struct stack *stack);

/* What is known of a backtrace, added up. */
struct stacks_tally {
	const struct stack *stack;
	size_t count, units;
	uint64_t oldest; /* the smallest of the times, in port_ns() */
};

/* Adding up by backtrace: begins with nothing; adds one; takes the backtrace with the most units of those
 * not taken yet, or the one with the smallest time, false: there is none; ends.  One caller at a time: another's
 * begin sleeps until then.  Context: begin, next and oldest, may sleep; add and end, any but an NMI.  Cost: begin,
 * next and oldest, linear in backtraces. */
void stacks_tally_begin(void);
void stacks_tally_add(const struct stack *stack, size_t units, uint64_t ns);
bool stacks_tally_next(struct stacks_tally *row);
bool stacks_tally_oldest(struct stacks_tally *row);
void stacks_tally_end(void);

/* Whether a backtrace is kept in the page of that address.  Context: any but an NMI.  Cost: linear in
 * backtraces. */
bool stacks_find(uintptr_t addr);

/* How many are kept, and the pages of base_arena they take.  Context: any. */
size_t stacks_count(void);
size_t stacks_pages(void);

#endif
