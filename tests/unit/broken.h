/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Breaking a word of the subsystem's own, to see that a checker finds it.
 */
#ifndef SPANDREL_TESTS_BROKEN_H
#define SPANDREL_TESTS_BROKEN_H

#include <stddef.h>
#include <stdint.h>

#include "sink.h"

/* While the `n` bytes at `at`, 8 at most, have another value, `check` returns `invariant` and says `what`, with
 * a sink and without; before and after, it returns 0. */
void broken_check(int (*check)(struct sink *sink), void *at, size_t n, uint64_t value, int invariant, const char *what);

#define BROKEN(check, field, value, invariant, what)                                               \
	broken_check(check, &(field), sizeof(field), (uint64_t)(value), invariant, what)

#endif
