/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The streams of the machine's initrd, for benchmarks.
 */
#ifndef SPANDREL_BENCH_REPLAYS_H
#define SPANDREL_BENCH_REPLAYS_H

#include "work/replay.h"

/* Opens one after the other those without address ranges, calls fn with each and its number in the
 * initrd, and closes it.  Panics if one is refused. */
void bench_replays(void (*fn)(struct replay *r, unsigned n));

#endif
