/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The leak check around every test.
 */
#ifndef SPANDREL_FENCE_H
#define SPANDREL_FENCE_H

#include "lib/test.h"

/* `begin` and `end` both have caches and arenas give back what is idle, then count: the units in
 * use in each arena (without what base arenas use for their own tags), the arenas, the ktasks, the
 * caches and the objects out of each.  `end` returns NULL if it counts the same as `begin`, and
 * arena_check() and kmem_cache_check() find nothing wrong.  Neither allocates. */
extern const struct test_fence test_fence;

#endif
