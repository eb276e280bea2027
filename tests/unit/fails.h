/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests that make allocations fail.
 *
 *	CHECK_LT(0, fails_each(make, unmake, NULL));
 */
#ifndef SPANDREL_TESTS_FAILS_H
#define SPANDREL_TESTS_FAILS_H

#include <stdbool.h>
#include <stddef.h>

#include "kmem_fail.h"

/* A rule about allocations beneath `fn`, which isn't inlined. */
struct kmem_fail_rule fails_beneath(void *fn);

/* What a rule has done so far. */
struct kmem_fail_stats fails_stats(int rule);

/*
 * Calls make(), with the k-th of all allocations beneath it failing, for k = 0, 1, 2, ... until none fails; then
 * the same with all from the k-th on.  A run with test_divisor= leaves some k out.  make() returns whether it could make something, which undo() then
 * ends; where not, nothing may be left of it: check(), which may be NULL, finds whether something is.  What
 * stays for the next call, such as slabs, is there before.  Returns how many calls were refused.
 */
size_t fails_each(bool (*make)(void), void (*undo)(void), void (*check)(void));

#endif
