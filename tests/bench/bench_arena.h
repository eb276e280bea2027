/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The arena rows of the benchmark.
 */
#ifndef SPANDREL_TESTS_BENCH_ARENA_H
#define SPANDREL_TESTS_BENCH_ARENA_H

#include <stddef.h>
#include <stdint.h>

/* Takes one row: ticks of a pair. */
typedef void (*bench_row_fn)(const char *name, size_t n, uint64_t value);

/* All rows at n segments.  Needs about 300 bytes a segment. */
void bench_arena(size_t n, bench_row_fn row);

#endif
