/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Batches on one core, and on all at once: how often locks of the slab module are taken, which is
 * counted, and what an object takes, by the clock.
 */
#include "arena_layout.h"
#include "kthread.h"
#include "lib/bench.h"
#include "slab_bench.h"

#define OBJECTS 4096
#define PAGES 256
#define WARM 24	   /* batches, until magazines have grown */
#define COUNTED 16 /* batches */
#define CLOCKED 200
#define CLOCKED_ROUNDS 5
#define CORES_MAX 64

/* What each core does: `batches` times, n allocations and as many frees. */
static struct {
	struct kmem_cache *cache; /* NULL: pages */
	size_t n;
	unsigned batches;
	void *objects[CORES_MAX][OBJECTS];
} work;

static void *take(void)
{
	return work.cache ? kmem_cache_alloc(work.cache, MEM_WAIT) :
			    arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
}

static void give(void *object)
{
	if (work.cache)
		kmem_cache_free(work.cache, object);
	else
		arena_free(kpages_arena, object, PORT_PAGE_SIZE);
}

static void batches(void *arg)
{
	void **objects = arg;

	for (unsigned b = 0; b < work.batches; b++) {
		for (size_t i = 0; i < work.n; i++)
			objects[i] = take();
		for (size_t i = 0; i < work.n; i++)
			give(objects[i]);
	}
}

/* Returns the ticks it took. */
static uint64_t run(unsigned cores, unsigned times)
{
	struct ktask *tasks[CORES_MAX];
	uint64_t start = port_ticks();

	work.batches = times;
	for (unsigned i = 0; i < cores; i++)
		tasks[i] = bench_must(ktask_pinned("batches", batches, work.objects[i], i));
	for (unsigned i = 0; i < cores; i++)
		ktask_join(tasks[i]);
	return port_ticks() - start;
}

static unsigned core_count(void)
{
	return port_core_count() < CORES_MAX ? port_core_count() : CORES_MAX;
}

static struct kmem_cache *make(void)
{
	return bench_must(kmem_cache_create("bench", 64, 0, 0, NULL, NULL, NULL, NULL));
}

/* Of a cache, or of the one that pages come from; a slab that comes or goes takes one at least. */
static uint64_t locks(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	return s.depot_trips + s.slab_trips + s.grows + s.shrinks;
}

static void count_locks(const char *name, struct kmem_cache *c)
{
	unsigned cores = core_count();
	uint64_t before, calls = 2 * (uint64_t)work.n * COUNTED * cores;

	run(cores, WARM);
	before = locks(c);
	run(cores, COUNTED);
	bench_row(name, cores, bench_per((locks(c) - before) * 1000, calls), "count");
}

BENCH("locks_per_kop")
{
	work.cache = make();
	work.n = OBJECTS;
	count_locks("locks_per_kop", work.cache);
	kmem_cache_destroy(work.cache);
}

BENCH("locks_per_kop.pages")
{
	work.cache = NULL;
	work.n = PAGES;
	count_locks("locks_per_kop.pages", bench_find_cache("kpages-1"));
}

BENCH_CLOCK("kmem_shared_batch")
{
	unsigned cores = core_count();

	work.cache = make();
	work.n = OBJECTS;
	run(cores, WARM);
	for (int i = 0; i < CLOCKED_ROUNDS; i++) {
		uint64_t each = (uint64_t)OBJECTS * CLOCKED;

		bench_row("kmem_shared_batch", 1, bench_per(run(1, CLOCKED) * 1000, each), "ticks");
		if (cores > 1)
			bench_row("kmem_shared_batch", cores, bench_per(run(cores, CLOCKED) * 1000, each), "ticks");
	}
	kmem_cache_destroy(work.cache);
}
