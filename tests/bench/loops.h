/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loops that are run on this project's allocators (tests/bench/compare.c) and on others
 * (tests/peers/peers.c), so that both do the same.
 *
 * The file that includes this one has defined, before:
 *
 *	static void *take(const struct stream_object *o);		allocates one
 *	static void give(const struct stream_object *o, void *at);	frees it
 *	static uint64_t loop_now(void);					the time, in its own unit
 *	static void loop_pause(void);					while it waits for another thread
 *	static void loop_threads(unsigned n, void (*fn)(unsigned i, void *arg), void *arg);
 *
 * Memory that is taken is written to: in its first byte, and in streams in that of each page.
 */
#ifndef SPANDREL_BENCH_LOOPS_H
#define SPANDREL_BENCH_LOOPS_H

#include "lib/string.h"
#include "work/stream.h"

#define LOOP_THREADS_MAX 2
#define LOOP_BATCH_MAX 4096
#define LOOP_SAMPLES 5		  /* of each row; but */
#define LOOP_ENOUGH 1000000000ull /* nanoseconds after which no further sample of a stream is begun */
/* Operations beside those of streams. */
#define LOOP_BLOCK STREAM_OPS	      /* pages, a power of two, aligned to their size */
#define LOOP_OWN (STREAM_OPS + 1)     /* an object of a cache that no other thread uses */
#define LOOP_NUMBER (STREAM_OPS + 2)  /* the smallest thing under a lock that threads share */

/* What rows there are: scripts/bench-compare has those that are compared. */
struct loop_row {
	const char *name;
	uint8_t op;
	uint32_t bytes;
	unsigned batch; /* as many are taken, then freed */
	unsigned pairs; /* in a sample, of each thread */
};
static const struct loop_row loop_rows[] = {
	{"kmem_pair_64", STREAM_CACHE_ALLOC, 64, 1, 400000},
	{"kmem_pair_64", STREAM_CACHE_ALLOC, 64, 256, 400000},
	{"kmem_pair_64", STREAM_CACHE_ALLOC, 64, 4096, 400000},
	{"kmem_own_64", LOOP_OWN, 64, 4096, 400000},
	{"kmalloc_pair_64", STREAM_KMALLOC, 64, 1, 400000},
	{"kmalloc_pair_4096", STREAM_KMALLOC, 4096, 1, 200000},
	{"kmalloc_pair_8192", STREAM_KMALLOC, 8192, 1, 50000},
	{"kmalloc_pair_16384", STREAM_KMALLOC, 16384, 1, 50000},
	{"kmalloc_pair_65536", STREAM_KMALLOC, 65536, 1, 50000},
	{"page_pair", STREAM_PAGE_ALLOC, STREAM_PAGE, 1, 200000},
	{"page_pair", STREAM_PAGE_ALLOC, STREAM_PAGE, 256, 5120},
	{"page_block_2", LOOP_BLOCK, 2 * STREAM_PAGE, 1, 50000},
	{"page_block_4", LOOP_BLOCK, 4 * STREAM_PAGE, 1, 50000},
	{"page_block_8", LOOP_BLOCK, 8 * STREAM_PAGE, 1, 50000},
	{"page_block_16", LOOP_BLOCK, 16 * STREAM_PAGE, 1, 50000},
	{"arena_pair", LOOP_NUMBER, 1, 1, 100000},
};
#define LOOP_ROWS (sizeof(loop_rows) / sizeof(loop_rows[0]))

static inline void loop_touch(void *at, uint32_t bytes)
{
	for (uint32_t offset = 0; offset < bytes; offset += STREAM_PAGE)
		*(volatile char *)((char *)at + offset) = 1;
}

/* Waits until all threads have come here so often. */
static inline void loop_meet(unsigned *arrived, unsigned all)
{
	__atomic_add_fetch(arrived, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(arrived, __ATOMIC_ACQUIRE) < all)
		loop_pause();
}

/* Batches */

struct loop_batches {
	const struct loop_row *row;
	unsigned threads, arrived;
	uint64_t took[LOOP_THREADS_MAX];
	void *at[LOOP_THREADS_MAX][LOOP_BATCH_MAX];
};

/* Inline, with a constant `op`: a choice in the loop would count in every row. */
static inline __attribute__((always_inline)) void loop_pairs(
	const struct loop_row *row, uint8_t op, void **at)
{
	const struct stream_object o = {.op = op, .bytes = row->bytes};
	unsigned batch = row->batch;

	for (unsigned done = 0; done < row->pairs; done += batch) {
		for (unsigned i = 0; i < batch; i++) {
			at[i] = take(&o);
			if (op != LOOP_NUMBER)
				*(volatile char *)at[i] = 1;
		}
		for (unsigned i = 0; i < batch; i++)
			give(&o, at[i]);
	}
}

static inline void loop_pairs_of(const struct loop_row *row, void **at)
{
	switch (row->op) {
	case STREAM_CACHE_ALLOC:
		loop_pairs(row, STREAM_CACHE_ALLOC, at);
		break;
	case LOOP_OWN:
		loop_pairs(row, LOOP_OWN, at);
		break;
	case STREAM_KMALLOC:
		loop_pairs(row, STREAM_KMALLOC, at);
		break;
	case STREAM_PAGE_ALLOC:
		loop_pairs(row, STREAM_PAGE_ALLOC, at);
		break;
	case LOOP_BLOCK:
		loop_pairs(row, LOOP_BLOCK, at);
		break;
	default:
		loop_pairs(row, LOOP_NUMBER, at);
	}
}

static inline void loop_batches_thread(unsigned i, void *arg)
{
	struct loop_batches *l = arg;
	uint64_t start;

	loop_meet(&l->arrived, l->threads);
	start = loop_now();
	loop_pairs_of(l->row, l->at[i]);
	l->took[i] = loop_now() - start;
}

/* What a pair takes, in thousandths of loop_now()'s unit; the mean of the threads. */
static inline uint64_t loop_batches(
	struct loop_batches *l, const struct loop_row *row, unsigned threads)
{
	uint64_t took = 0;

	l->row = row;
	l->threads = threads;
	l->arrived = 0;
	loop_threads(threads, loop_batches_thread, l);
	for (unsigned i = 0; i < threads; i++)
		took += l->took[i];
	return took * 1000 / threads / row->pairs;
}

/* Objects that one thread allocates and the other one frees */

#define LOOP_REMOTE_BATCH 256
#define LOOP_REMOTE_ROUNDS 500

struct loop_remote {
	bool full[2]; /* atomic: that half is thread 1's, else thread 0's */
	void *at[2][LOOP_REMOTE_BATCH];
	uint64_t took[2]; /* by each thread, its waits left out */
};

static inline void loop_await(const bool *flag, bool value)
{
	while (__atomic_load_n(flag, __ATOMIC_ACQUIRE) != value)
		loop_pause();
}

static inline void loop_remote_half(void **at, bool frees)
{
	const struct stream_object o = {.op = STREAM_CACHE_ALLOC, .bytes = 64};

	for (unsigned i = 0; i < LOOP_REMOTE_BATCH; i++) {
		if (frees) {
			give(&o, at[i]);
			continue;
		}
		at[i] = take(&o);
		loop_touch(at[i], o.bytes);
	}
}

/* Thread 0 allocates, thread 1 frees. */
static inline void loop_remote_thread(unsigned thread, void *arg)
{
	struct loop_remote *l = arg;
	bool frees = thread == 1;

	for (unsigned round = 0; round < LOOP_REMOTE_ROUNDS; round++) {
		bool *full = &l->full[round % 2];
		uint64_t start;

		loop_await(full, frees);
		start = loop_now();
		loop_remote_half(l->at[round % 2], frees);
		l->took[thread] += loop_now() - start;
		__atomic_store_n(full, !frees, __ATOMIC_RELEASE);
	}
}

/* What an object takes on both threads, in thousandths. */
static inline uint64_t loop_remote(struct loop_remote *l)
{
	*l = (struct loop_remote){.full = {false, false}};
	loop_threads(2, loop_remote_thread, l);
	return (l->took[0] + l->took[1]) * 1000 / (LOOP_REMOTE_ROUNDS * LOOP_REMOTE_BATCH);
}

/* Streams */

/* Replays a stream that stream_check() has found right, and frees what it leaves live.  Returns what
 * a record took, that last part left out, in thousandths. */
static inline uint64_t loop_stream(
	const struct stream *s, const struct stream_object *objects, uint32_t count, void **at)
{
	const uint8_t *record = s->records;
	struct stream_record r;
	uint64_t start = loop_now(), took;

	for (uint32_t i = 0; i < s->record_count; i++, record += sizeof(r)) {
		memcpy(&r, record, sizeof(r));
		if (stream_is_alloc(r.op)) {
			at[r.id] = take(&objects[r.id]);
			loop_touch(at[r.id], r.bytes);
		} else {
			give(&objects[r.id], at[r.id]);
		}
	}
	took = loop_now() - start;
	for (uint32_t id = 0; id < count; id++)
		if (!objects[id].is_freed)
			give(&objects[id], at[id]);
	return took * 1000 / s->record_count;
}

#endif
