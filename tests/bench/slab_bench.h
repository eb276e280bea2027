/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What benchmarks of caches share.  Concurrency: none; one thread at a time.
 */
#ifndef SPANDREL_TESTS_BENCH_SLAB_BENCH_H
#define SPANDREL_TESTS_BENCH_SLAB_BENCH_H

#include "slab.h"

/* A cache of the system's own, by its name; panics if there is none.  Context: may sleep. */
struct kmem_cache *bench_find_cache(const char *name);

/* A new cache; the ticks of n pairs of an allocation and its free, and of BENCH_BATCH allocations that are freed in
 * the order that bench_shuffle() has chosen, and whose depot is emptied.  Context: may sleep. */
#define BENCH_BATCH 4096
struct kmem_cache *bench_cache(size_t size);
uint64_t bench_pairs(struct kmem_cache *c, unsigned flags, unsigned n);
void bench_shuffle(unsigned n);
uint64_t bench_batch(struct kmem_cache *c);

#endif
