/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a pair takes, by the clock, where cores share an arena: without a front each call takes the
 * arena's lock.  Time is divided by all pairs of all cores.  In rows `_apart` a core has work of its
 * own after each call, longer than the call: the lock passes from core to core, and what it guards
 * moves with it.  In the others the core that has the lock mostly takes it again before another core
 * sees it free.  In a process the same is done with a mutex of pthreads around a count (mutex_pair).
 */
#include "arena_shared.h"

#include "arena_layout.h"
#include "kthread.h"
#include "lib/bench.h"

#define PAIRS 50000 /* of each core, in a round */
#define ROUNDS 15
#define CORES_MAX 64
#define APART 1000 /* turns of work after a call, in the mean */

static struct arena *shared;
static unsigned work_max;

void shared_work(unsigned *seed)
{
	unsigned turns;

	*seed = *seed * 1664525 + 1013904223;
	turns = work_max > 0 ? (*seed >> 16) % work_max : 0;
	while (turns-- > 0)
		__asm__ volatile("");
}

static void arena_pairs(void *arg)
{
	unsigned seed = port_core_id();

	for (size_t i = 0; i < PAIRS; i++) {
		void *unit = arena_alloc(shared, 1, MEM_WAIT);

		shared_work(&seed);
		arena_free(shared, unit, 1);
		shared_work(&seed);
	}
}

static void mutex_pairs(void *arg)
{
	shared_mutex_calls(2 * PAIRS);
}

static void round_of(const char *name, void (*pairs)(void *), unsigned cores)
{
	struct ktask *tasks[CORES_MAX];
	uint64_t start = port_ticks();

	for (unsigned i = 0; i < cores; i++)
		tasks[i] = bench_must(ktask_pinned("pairs", pairs, NULL, i));
	for (unsigned i = 0; i < cores; i++)
		ktask_join(tasks[i]);
	bench_row(name, cores, bench_per(port_ticks() - start, cores * (uint64_t)PAIRS), "ticks");
}

static void rows_of(unsigned cores)
{
	work_max = 0;
	round_of("arena_shared_pair", arena_pairs, cores);
	if (shared_mutex_calls)
		round_of("mutex_pair", mutex_pairs, cores);
	work_max = 2 * APART;
	round_of("arena_shared_apart", arena_pairs, cores);
	if (shared_mutex_calls)
		round_of("mutex_apart", mutex_pairs, cores);
}

BENCH_CLOCK("arena_shared_pair")
{
	unsigned cores = port_core_count() < CORES_MAX ? port_core_count() : CORES_MAX;

	shared = bench_must(
		arena_create("shared", (void *)1, 1 << 20, 1, NULL, NULL, NULL, 0, MEM_WAIT));
	for (int i = 0; i < ROUNDS; i++) {
		rows_of(1);
		if (cores > 1)
			rows_of(cores);
	}
	arena_destroy(shared);
}
