/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory held while recorded streams are replayed, over what they ask for.
 *
 * For each stream of the machine's initrd, n being its number there: pages out of base above those
 * before the first record, over live bytes asked for, where live bytes are at their peak, and behind
 * the last record after the hardest reclaim.  One thread; every page is touched.  The rows held_by
 * say at these moments, and before the first record, which part of which holder has the memory:
 * scripts/held makes a table of them.  Rows are printed without allocating.
 */
#include "boot.h"
#include "kmalloc.h"
#include "kthread.h"
#include "lib/bench.h"
#include "lib/panic.h"
#include "lib/printf.h"
#include "owner.h"
#include "port.h"
#include "reclaim.h"
#include "slab.h"
#include "work/replay.h"

#define YIELD_EVERY 64	 /* steps, as replay_run() does */
#define ROW_NAME_MAX 96

static uint64_t out_of_base(void)
{
	return arena_amt_total(base_arena) - arena_amt_free(base_arena);
}

/* Who has it */

static void part_row(
	const char *moment, unsigned n, const char *holder, const char *part, uint64_t bytes)
{
	char name[ROW_NAME_MAX];

	if (bytes == 0)
		return;
	ksnprintf(name, sizeof(name), "held_by.%s.%s.%s", moment, holder, part);
	bench_row(name, n, bytes, "bytes");
}

/* The parts of a cache add up to its slabs. */
static void cache_rows(const char *moment, unsigned n)
{
	struct kmem_cache_stats s;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &s);
		if (!s.is_memory)
			continue;
		part_row(moment, n, s.name, s.is_front ? "front.live" : "live", s.live * s.stride);
		part_row(moment, n, s.name, s.is_front ? "front.magazines" : "magazines",
			(s.out - s.live) * s.stride);
		part_row(moment, n, s.name, s.is_front ? "front.free" : "free",
			(s.objects - s.out) * s.stride);
		part_row(moment, n, s.name, s.is_front ? "front.slack" : "slack",
			s.total - s.objects * s.stride);
	}
}

static void holder_rows(const char *moment, unsigned n)
{
	struct arena_stats base, kpages;

	arena_get_stats(base_arena, &base);
	arena_get_stats(kpages_arena, &kpages);
	part_row(moment, n, "base", "tags", base.tag_pages * PORT_PAGE_SIZE);
	part_row(moment, n, "kpages", "idle", kpages.free);
	for (const struct arena_owner *o = arena_owner_next(NULL); o; o = arena_owner_next(o))
		if (*o->arena == base_arena || *o->arena == kpages_arena)
			part_row(moment, n, o->name, "owned",
				__atomic_load_n(&o->held, __ATOMIC_RELAXED));
	cache_rows(moment, n);
}

/* Replay */

struct held {
	struct replay replay;
	unsigned n;	     /* the stream's number */
	uint64_t live;	     /* bytes asked for */
	uint64_t start;	     /* out of base before the first record */
	uint64_t peak;	     /* the most that is live */
	uint32_t peak_at;    /* records up to where it is first */
};

/* The next record's change of live bytes. */
static int64_t change(const struct replay *r, const struct stream_record *record)
{
	return stream_is_alloc(record->op) ? (int64_t)record->bytes :
					     -(int64_t)r->objects[record->id].bytes;
}

static void find_peak(struct held *h)
{
	struct stream_cursor c;
	struct stream_record record;
	uint64_t live = 0;

	for (stream_begin(&c, &h->replay.stream); stream_next(&c, &record);) {
		live += (uint64_t)change(&h->replay, &record);
		if (live > h->peak) {
			h->peak = live;
			h->peak_at = c.at;
		}
	}
}

/* Goes on to where `at` records are replayed. */
static void replay_to(struct held *h, uint32_t at)
{
	struct replay *r = &h->replay;

	while (r->cursor.at < at) {
		struct stream_cursor c = r->cursor;
		struct stream_record record;

		stream_next(&c, &record);
		h->live += (uint64_t)change(r, &record);
		replay_step(r, MEM_WAIT);
		if (r->cursor.at % YIELD_EVERY == 0)
			kthread_yield();
	}
}

static void moment_rows(const struct held *h, const char *moment)
{
	uint64_t held = out_of_base() - h->start;
	char name[ROW_NAME_MAX];

	ksnprintf(name, sizeof(name), "held_permille.%s", moment);
	bench_row(name, h->n, bench_per(held * 1000, h->live), "permille");
	ksnprintf(name, sizeof(name), "held_bytes.%s", moment);
	bench_row(name, h->n, held, "bytes");
	ksnprintf(name, sizeof(name), "held_live.%s", moment);
	bench_row(name, h->n, h->live, "bytes");
	holder_rows(moment, h->n);
}

static void held_rows(struct held *h)
{
	find_peak(h);
	reclaim_run(RECLAIM_LEVELS);
	h->start = out_of_base();
	holder_rows("start", h->n);
	replay_to(h, h->peak_at);
	moment_rows(h, "peak");
	replay_to(h, h->replay.stream.record_count);
	reclaim_run(RECLAIM_LEVELS);
	moment_rows(h, "end");
}

static void stream_rows(const uint8_t *at, size_t size, unsigned n)
{
	struct held *h = kzalloc(sizeof(*h), MEM_WAIT);
	const char *wrong = replay_open(&h->replay, at, size, 0);

	if (wrong)
		panic("bench: stream %u: %s", n, wrong);
	h->n = n;
	held_rows(h);
	replay_close(&h->replay);
	kfree(h);
}

BENCH("held_permille")
{
	const uint8_t *at = boot_info->initrd, *end = at + boot_info->initrd_size;
	struct stream stream;

	for (unsigned n = 0; at < end; n++, at += stream.size) {
		if (stream_open(&stream, at, (size_t)(end - at)))
			panic("bench: what the initrd has isn't a stream");
		stream_rows(at, stream.size, n);
	}
}
