/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory held while a recorded stream is replayed, over what it asks for.
 *
 * For each stream of the machine's initrd, n being its number there: pages out of base above those
 * before the first record, over live bytes asked for.  Rows held_permille are for three moments: where
 * live bytes are at their peak; behind the last record after the hardest reclaim; and the mean of
 * a few times on the way (held_course.RECORD), sum over sum.  One thread; every page is touched.  A
 * stream that follows another finds pages that the other left scattered: only the first one's
 * figures count.  Rows held_by say for the peak, the end and the start which part of which holder has
 * the memory: scripts/held makes a table of them.  Rows are printed without allocating.
 */
#include "replays.h"

#include "kthread.h"
#include "lib/bench.h"
#include "lib/printf.h"
#include "owner.h"
#include "reclaim.h"
#include "slab.h"

#define YIELD_EVERY 64	 /* steps, as replay_run() does */
#define TIMES 16	 /* in a stream, for its course */
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
	struct replay *replay;
	unsigned n;	     /* the stream's number */
	uint64_t live;	     /* bytes asked for */
	uint64_t start;	     /* out of base before the first record */
	uint64_t held_sum, live_sum; /* at all times of its course so far */
};

/* The next record's change of live bytes. */
static int64_t change(const struct replay *r, const struct stream_record *record)
{
	return stream_is_alloc(record->op) ? (int64_t)record->bytes :
					     -(int64_t)r->objects[record->id].bytes;
}

static uint64_t held_now(const struct held *h)
{
	return out_of_base() - h->start;
}

/* Prints what is held after so many records. */
static void course_row(struct held *h)
{
	char name[ROW_NAME_MAX];

	if (h->live == 0)
		return;
	h->held_sum += held_now(h);
	h->live_sum += h->live;
	ksnprintf(name, sizeof(name), "held_course.%u", h->replay->cursor.at);
	bench_row(name, h->n, bench_per(held_now(h) * 1000, h->live), "permille");
}

/* Goes on to where `at` records are replayed. */
static void replay_to(struct held *h, uint32_t at)
{
	struct replay *r = h->replay;
	uint32_t every = r->stream.record_count / TIMES + 1;

	while (r->cursor.at < at) {
		struct stream_cursor c = r->cursor;
		struct stream_record record;

		stream_next(&c, &record);
		h->live += (uint64_t)change(r, &record);
		replay_step(r, MEM_WAIT);
		if (r->cursor.at % every == 0)
			course_row(h);
		if (r->cursor.at % YIELD_EVERY == 0)
			kthread_yield();
	}
}

static void moment_rows(const struct held *h, const char *moment)
{
	uint64_t held = held_now(h);
	char name[ROW_NAME_MAX];

	ksnprintf(name, sizeof(name), "held_permille.%s", moment);
	bench_row(name, h->n, bench_per(held * 1000, h->live), "permille");
	ksnprintf(name, sizeof(name), "held_bytes.%s", moment);
	bench_row(name, h->n, held, "bytes");
	ksnprintf(name, sizeof(name), "held_live.%s", moment);
	bench_row(name, h->n, h->live, "bytes");
	holder_rows(moment, h->n);
}

static void held_rows(struct replay *r, unsigned n)
{
	struct held h = {.replay = r, .n = n};

	reclaim_run(RECLAIM_LEVELS);
	h.start = out_of_base();
	holder_rows("start", n);
	replay_to(&h, r->peak.memory_at);
	moment_rows(&h, "peak");
	replay_to(&h, r->stream.record_count);
	if (h.live_sum > 0)
		bench_row("held_permille.mean", n, bench_per(h.held_sum * 1000, h.live_sum), "permille");
	reclaim_run(RECLAIM_LEVELS);
	moment_rows(&h, "end");
}

BENCH("held_permille")
{
	bench_replays(held_rows);
}
