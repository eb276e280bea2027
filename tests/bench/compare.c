/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tests/peers/peers.c does with other allocators, done with this one: pairs and batches on one
 * core or two, objects that another core frees, recorded streams.
 */
#include "arena_layout.h"
#include "kmalloc.h"
#include "kthread.h"
#include "lib/bench.h"
#include "replays.h"
#include "slab.h"

static struct kmem_cache **caches; /* of objects, by their class; of loops, by the core */
static struct arena *numbers;
static uint64_t (*now)(void);

static void *take(const struct stream_object *o);
static void give(const struct stream_object *o, void *at);
static uint64_t loop_now(void);
static void loop_pause(void);
static void loop_threads(unsigned n, void (*fn)(unsigned i, void *arg), void *arg);

#include "loops.h"

/* Inline: the loops know which. */
static inline __attribute__((always_inline)) void *take(const struct stream_object *o)
{
	switch (o->op) {
	case STREAM_KMALLOC:
		return kmalloc(o->bytes, MEM_WAIT);
	case STREAM_CACHE_ALLOC:
		return kmem_cache_alloc(caches[o->class], MEM_WAIT);
	case LOOP_OWN:
		return kmem_cache_alloc(caches[port_core_id()], MEM_WAIT);
	case STREAM_PAGE_ALLOC:
		return arena_alloc(kpages_arena, o->bytes, MEM_WAIT);
	case LOOP_BLOCK:
		return arena_xalloc(kpages_arena, o->bytes, o->bytes, 0, 0, 0, 0, MEM_WAIT);
	default:
		return arena_alloc(numbers, o->bytes, MEM_WAIT);
	}
}

static inline __attribute__((always_inline)) void give(const struct stream_object *o, void *at)
{
	switch (o->op) {
	case STREAM_KMALLOC:
		kfree(at);
		break;
	case STREAM_CACHE_ALLOC:
		kmem_cache_free(caches[o->class], at);
		break;
	case LOOP_OWN:
		kmem_cache_free(caches[port_core_id()], at);
		break;
	case STREAM_PAGE_ALLOC:
		arena_free(kpages_arena, at, o->bytes);
		break;
	case LOOP_BLOCK:
		arena_xfree(kpages_arena, at, o->bytes);
		break;
	default:
		arena_free(numbers, at, o->bytes);
	}
}

static uint64_t loop_now(void)
{
	return now();
}

static void loop_pause(void)
{
	port_pause();
}

struct loop_task {
	void (*fn)(unsigned i, void *arg);
	void *arg;
	unsigned i;
};

static void task(void *arg)
{
	struct loop_task *t = arg;

	t->fn(t->i, t->arg);
}

static void loop_threads(unsigned n, void (*fn)(unsigned i, void *arg), void *arg)
{
	struct loop_task tasks[LOOP_THREADS_MAX];
	struct ktask *ktasks[LOOP_THREADS_MAX];

	for (unsigned i = 0; i < n; i++) {
		tasks[i] = (struct loop_task){fn, arg, i};
		ktasks[i] = bench_must(ktask_pinned("loop", task, &tasks[i], i));
	}
	for (unsigned i = 0; i < n; i++)
		ktask_join(ktasks[i]);
}

static void batches_rows(unsigned threads)
{
	struct loop_batches *l = bench_must(kmalloc(sizeof(*l), MEM_WAIT));

	for (size_t i = 0; i < LOOP_ROWS; i++)
		for (int sample = 0; sample < LOOP_SAMPLES; sample++)
			bench_row(loop_rows[i].name, loop_rows[i].batch,
				loop_batches(l, &loop_rows[i], threads), "ps");
	kfree(l);
}

static void remote_rows(void)
{
	struct loop_remote *l = bench_must(kmalloc(sizeof(*l), MEM_WAIT));

	for (int sample = 0; sample < LOOP_SAMPLES; sample++)
		bench_row("kmem_remote_64", LOOP_REMOTE_BATCH, loop_remote(l), "ps");
	kfree(l);
}

/* On as many cores as the machine has, two at most. */
BENCH_CLOCK("compare_loops")
{
	unsigned threads = port_core_count() < LOOP_THREADS_MAX ? port_core_count() : LOOP_THREADS_MAX;
	struct kmem_cache *of_cores[LOOP_THREADS_MAX];

	for (unsigned i = 0; i < threads; i++)
		of_cores[i] = bench_must(kmem_cache_create("compare", 64, 0, 0, NULL, NULL, NULL, NULL));
	caches = of_cores;
	now = port_ns;
	numbers = bench_must(
		arena_create("compare", (void *)1, 1 << 20, 1, NULL, NULL, NULL, 0, MEM_WAIT));
	batches_rows(threads);
	if (threads > 1)
		remote_rows();
	arena_destroy(numbers);
	for (unsigned i = 0; i < threads; i++)
		kmem_cache_destroy(of_cores[i]);
}

/* What a record of the stream takes, the writing to its memory included. */
static uint64_t stream_once(struct replay *r, uint64_t (*unit)(void))
{
	uint64_t took;

	caches = r->caches;
	now = unit;
	took = loop_stream(&r->stream, r->objects, r->object_count, r->at);
	memset(r->at, 0, r->object_count * sizeof(*r->at));
	return took;
}

static void stream_ps(struct replay *r, unsigned n)
{
	uint64_t start;

	stream_once(r, port_ns); /* touches memory for the first time */
	start = port_ns();
	for (int i = 0; i < LOOP_SAMPLES && port_ns() - start < LOOP_ENOUGH; i++)
		bench_row("stream", n, stream_once(r, port_ns), "ps");
}

BENCH_CLOCK("compare_stream")
{
	bench_replays(stream_ps);
}

static void stream_instr(struct replay *r, unsigned n)
{
	stream_once(r, port_ticks);
	bench_row("stream", n, bench_per(stream_once(r, port_ticks), 1000), "instr");
}

BENCH("stream")
{
	bench_replays(stream_instr);
}
