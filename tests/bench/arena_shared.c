/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a pair takes, by the clock, where cores share an arena: without a front each call takes the
 * arena's lock.  Time is divided by all pairs of all cores.
 */
#include "arena_layout.h"
#include "kthread.h"
#include "lib/bench.h"

#define PAIRS 200000 /* of each core, in a round */
#define ROUNDS 5
#define CORES_MAX 64

static struct arena *shared;

static void pairs(void *arg)
{
	for (size_t i = 0; i < PAIRS; i++)
		arena_free(shared, arena_alloc(shared, 1, MEM_WAIT), 1);
}

static void round_of(unsigned cores)
{
	struct ktask *tasks[CORES_MAX];
	uint64_t start = port_ticks();

	for (unsigned i = 0; i < cores; i++)
		tasks[i] = bench_must(ktask_pinned("pairs", pairs, NULL, i));
	for (unsigned i = 0; i < cores; i++)
		ktask_join(tasks[i]);
	bench_row("arena_shared_pair", cores, bench_per(port_ticks() - start, cores * (uint64_t)PAIRS),
		"ticks");
}

BENCH_CLOCK("arena_shared_pair")
{
	unsigned cores = port_core_count() < CORES_MAX ? port_core_count() : CORES_MAX;

	shared = bench_must(
		arena_create("shared", (void *)1, 1 << 20, 1, NULL, NULL, NULL, 0, MEM_WAIT));
	for (int i = 0; i < ROUNDS; i++) {
		round_of(1);
		if (cores > 1)
			round_of(cores);
	}
	arena_destroy(shared);
}
