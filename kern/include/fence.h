/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fence around every test: two counts of all arenas, and the checkers.
 */
#ifndef SPANDREL_FENCE_H
#define SPANDREL_FENCE_H

#include "test.h"

/* Counts what is in use in each arena (less what base arenas keep for tags) and how many arenas
 * there are; at the end both must be the same and arena_check() must find nothing in any. Allocates
 * nothing. */
extern const struct test_fence arena_fence;

#endif
