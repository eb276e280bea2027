/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walks over slabs under simulated schedules.  Each stands in the cache's list itself, between two holds of the lock.
 */
#include "arena.h"
#include "sim/sim.h"
#include "slab.h"
#include "unit/arenas.h"
#include "unit/threads.h"
#include "lib/test.h"

#define SLAB 64 /* numbers in a slab of them */
#define SLABS 16
#define NUMBERS (SLAB * SLABS)

static struct kmem_cache *numbers, *full; /* of numbers; of memory, in mode full */
static void *all[NUMBERS];

static void walks(unsigned i, void *arg)
{
	uint64_t slabs[KMEM_FULLNESS], sum;

	for (int n = 0; n < 2; n++) {
		CHECK_EQ(kmem_cache_check(numbers, NULL), 0);
		CHECK_EQ(kmem_cache_check(full, NULL), 0);
		kmem_cache_get_fullness(numbers, slabs);
		sum = 0;
		for (size_t at = 0; at < KMEM_FULLNESS; at++)
			sum += slabs[at];
		CHECK_EQ(sum, SLABS);
	}
}

TEST("sim: walks: those over the same slabs pass one another, and miss none")
{
	struct arena *ids = arenas_ids(1, NUMBERS);
	void *object;

	numbers = kmem_cache_create("numbers", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	full = kmem_cache_create("full", 64, 0, KMC_FULL, NULL, NULL, NULL, NULL);
	CHECK_EQ(kmem_cache_alloc_bulk(numbers, all, NUMBERS, MEM_WAIT), NUMBERS);
	object = kmem_cache_alloc(full, MEM_WAIT);
	sim_begin();
	threads_run(THREADS_FREE, 3, walks, NULL);
	sim_end();
	kmem_cache_free(full, object);
	kmem_cache_free_bulk(numbers, all, NUMBERS);
	CHECK_EQ(kmem_cache_destroy(full), 0);
	CHECK_EQ(kmem_cache_destroy(numbers), 0);
	arenas_end(ids);
}
