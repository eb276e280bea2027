/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fence around every test: two counts of all arenas and caches, and the checkers.
 */
#ifndef SPANDREL_FENCE_H
#define SPANDREL_FENCE_H

#include "lib/test.h"

/* Has caches give back what they have laid up, then counts what is in use in each arena (less what
 * base arenas keep for tags), how many arenas and caches there are and how many objects are out of
 * them; at the end all of it must be the same, and neither arena_check() nor kmem_cache_check()
 * must find anything.  Allocates nothing. */
extern const struct test_fence test_fence;

#endif
