/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What benchmarks of caches share.  Concurrency: none; one thread at a time.
 */
#ifndef SPANDREL_TESTS_BENCH_SLAB_BENCH_H
#define SPANDREL_TESTS_BENCH_SLAB_BENCH_H

#include "slab.h"

/* A cache of the system's own, by its name; panics if there is none.  Context: may sleep. */
struct kmem_cache *bench_find_cache(const char *name);

#endif
