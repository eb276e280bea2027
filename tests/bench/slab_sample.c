/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What samples cost those that are none, and what they cost themselves.
 *
 * Behind tests/bench/slab.c, whose rows are of a kernel that has never had any.
 */
#include "kmem_sample.h"
#include "lib/bench.h"
#include "lib/panic.h"
#include "slab_bench.h"

#define PAIRS 100000
#define ROUNDS 16
#define EVERY 1000
#define SAMPLES 1000

/* A cache that leaves the hot path each time, all of whose allocations are samples. */
static void sample_pairs(void)
{
	struct kmem_cache *c = kmem_cache_create("bench", 64, 0, KMC_CHECK, NULL, NULL, NULL, NULL);

	if (!c || kmem_sample_set(1) != 0)
		panic("bench: no memory for samples");
	bench_pairs(c, MEM_WAIT, SAMPLES);
	bench_row("kmem_sample", 1, bench_per(bench_pairs(c, MEM_WAIT, SAMPLES), SAMPLES), "instr");
	kmem_cache_destroy(c);
}

BENCH("kmem_sample")
{
	struct kmem_cache *c = bench_cache(64);
	uint64_t before = kmem_sample(), ticks = 0;

	sample_pairs();
	kmem_sample_set(EVERY);
	bench_pairs(c, MEM_ATOMIC, 2);
	bench_row("kmem_pair_64.sample", 1, bench_per(bench_pairs(c, MEM_WAIT, PAIRS), PAIRS), "instr");
	bench_shuffle(BENCH_BATCH);
	bench_batch(c);
	for (unsigned i = 0; i < ROUNDS; i++)
		ticks += bench_batch(c);
	bench_row("kmem_batch_4096.sample", BENCH_BATCH, bench_per(ticks, ROUNDS * BENCH_BATCH), "instr");
	kmem_sample_set(before);
	kmem_cache_destroy(c);
}
