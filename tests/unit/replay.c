/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Replays of recorded streams: small ones made here, a compilation's ranges, and those that the
 * machine's initrd has.  Where there is no initrd, the last test does nothing.
 */
#include "work/replay.h"

#include "arena.h"
#include "arenas.h"
#include "boot.h"
#include "kthread.h"
#include "lib/string.h"
#include "lib/test.h"
#include "port.h"

#include "../data/ranges.h"
#include "unit/streams.h"
#include "unit/threads.h"

#define CAPACITY ((size_t)256 << 10)
#define PAGE STREAM_PAGE
#define HELD 32
#define KINDS 4
#define THREADS 4

static const uint32_t cache_sizes[] = {24, 3, 700};

/* Adds a random allocation, and fills in the class of its free. */
static unsigned add_alloc(struct streams *s, uint32_t id, unsigned *class)
{
	unsigned op = STREAM_KMALLOC + 2 * (unsigned)test_random_below(KINDS);
	uint32_t bytes = 1 + (uint32_t)test_random_below(3 * PAGE);

	*class = 0;
	if (op == STREAM_CACHE_ALLOC) {
		*class = (unsigned)test_random_below(3);
		bytes = cache_sizes[*class];
	} else if (op == STREAM_PAGE_ALLOC) {
		*class = 0x100 | (unsigned)test_random_below(4);
		bytes = PAGE << (*class & 0xff);
	} else if (op == STREAM_RANGE_ALLOC) {
		bytes = PAGE * (1 + (uint32_t)test_random_below(100));
	}
	streams_record(s, op, id, bytes, *class);
	return op;
}

/* A stream of all kinds with `objects` objects, of which HELD are live at a time, and at its end. */
static void add_mixed(struct streams *s, uint32_t objects)
{
	struct { unsigned op, class; uint32_t id; } held[HELD];

	streams_begin(s);
	streams_cache(s, "small", cache_sizes[0], 0);
	streams_cache(s, "tiny", cache_sizes[1], 1);
	streams_cache(s, "large", cache_sizes[2], 64);
	for (uint32_t id = 0; id < objects; id++) {
		size_t i = id < HELD ? id : test_random_below(HELD);

		if (id >= HELD)
			streams_record(s, held[i].op + 1, held[i].id, 0, held[i].class);
		held[i].op = add_alloc(s, id, &held[i].class);
		held[i].id = id;
	}
}

/* Opens it, runs it by those flags, closes it. */
static struct replay_progress replayed(
	const void *bytes, size_t size, unsigned number, unsigned rounds, unsigned flags)
{
	struct replay_progress p;
	struct replay r;

	CHECK(!replay_open(&r, bytes, size, number));
	replay_run(&r, rounds, flags);
	p = replay_progress(&r);
	replay_close(&r);
	return p;
}

TEST("replay: a stream of all kinds leaves nothing, what it never frees included")
{
	struct streams s = streams_new(CAPACITY);
	struct replay_progress p;

	add_mixed(&s, 3000);
	p = replayed(s.bytes, s.size, 0, 3, MEM_WAIT);
	CHECK_EQ(p.rounds, 3);
	CHECK_EQ(p.operations, 3 * 2 * 3000);
	CHECK_EQ(p.refused, 0);
	CHECK_EQ(p.errors, 0);
	streams_free(&s);
}

TEST("replay: one that is closed in the middle of a round frees what is live")
{
	struct streams s = streams_new(CAPACITY);
	struct replay r;

	add_mixed(&s, 200);
	for (size_t steps = 0; steps < 500; steps += 23) {
		CHECK(!replay_open(&r, s.bytes, s.size, 0));
		for (size_t i = 0; i < steps; i++)
			replay_step(&r, MEM_WAIT);
		replay_close(&r);
		CHECK_EQ(replay_progress(&r).errors, 0);
		CHECK_EQ(replay_progress(&r).rounds, steps > 400);
		CHECK_EQ(replay_progress(&r).operations % 2, 0);
	}
	streams_free(&s);
}

static void replay_mixed(unsigned i, void *arg)
{
	const struct streams *s = arg;
	struct replay_progress p = replayed(s->bytes, s->size, 0, 4, i % 2 ? MEM_WAIT : MEM_ERROR);

	CHECK_EQ(p.rounds, 4);
	CHECK_EQ(p.errors, 0);
}

TEST("replay: several at once, of one stream, don't see each other's objects")
{
	struct streams s = streams_new(CAPACITY);

	add_mixed(&s, 3000);
	threads_run(THREADS_FREE, THREADS, replay_mixed, &s);
	streams_free(&s);
}

static void run_for_ever(void *arg)
{
	replay_run(arg, 0, MEM_WAIT);
}

TEST("replay: one that would run for ever ends when stopped, and leaves nothing")
{
	struct streams s = streams_new(CAPACITY);
	struct replay r;
	struct ktask *task;

	add_mixed(&s, 500);
	CHECK(!replay_open(&r, s.bytes, s.size, 0));
	CHECK((task = ktask("replay", run_for_ever, &r)));
	while (replay_progress(&r).rounds < 3)
		kthread_yield();
	replay_stop(&r);
	ktask_join(task);
	CHECK_LE(3, replay_progress(&r).rounds);
	CHECK_EQ(replay_progress(&r).errors, 0);
	replay_close(&r);
	streams_free(&s);
}

/* Stamps.  Two ktasks of one core take turns: the replay yields while its first object is live, and
 * the other one then changes a byte of it. */

struct spoiler {
	struct replay r;
	size_t offset; /* of the byte */
};

static void run_once(void *arg)
{
	struct spoiler *s = arg;

	replay_run(&s->r, 1, MEM_WAIT);
}

static void spoil(void *arg)
{
	struct spoiler *s = arg;

	while (!s->r.at[0])
		kthread_yield();
	((volatile char *)s->r.at[0])[s->offset] ^= 1;
}

/* An object that lives as long as many others. */
static void add_long_lived(struct streams *s, unsigned op, uint32_t bytes, unsigned class)
{
	streams_begin(s);
	streams_record(s, op, 0, bytes, class);
	for (uint32_t id = 1; id < 500; id++) {
		streams_record(s, STREAM_KMALLOC, id, 16, 0);
		streams_record(s, STREAM_KFREE, id, 0, 0);
	}
	streams_record(s, op + 1, 0, 0, class);
}

static void check_spoiled(unsigned op, uint32_t bytes, unsigned class, size_t offset)
{
	struct streams s = streams_new(CAPACITY);
	struct spoiler spoiler = {.offset = offset};
	struct ktask *spoils, *runs;

	add_long_lived(&s, op, bytes, class);
	CHECK(!replay_open(&spoiler.r, s.bytes, s.size, 0));
	CHECK((spoils = ktask_pinned("spoiler", spoil, &spoiler, 0)));
	CHECK((runs = ktask_pinned("replay", run_once, &spoiler, 0)));
	ktask_join(runs);
	ktask_join(spoils);
	CHECK_EQ(replay_progress(&spoiler.r).errors, 1);
	replay_close(&spoiler.r);
	streams_free(&s);
}

TEST("replay: an object whose first or last byte has changed is an error, in any page")
{
	check_spoiled(STREAM_KMALLOC, 1, 0, 0);
	check_spoiled(STREAM_KMALLOC, 7, 0, 6);
	check_spoiled(STREAM_KMALLOC, 13, 0, 0);
	check_spoiled(STREAM_KMALLOC, 13, 0, 12);
	check_spoiled(STREAM_KMALLOC, 2 * PAGE + 5, 0, 2 * PAGE + 4);
	check_spoiled(STREAM_PAGE_ALLOC, 8 * PAGE, 3, 0);
	check_spoiled(STREAM_PAGE_ALLOC, 8 * PAGE, 3, 5 * PAGE);
	check_spoiled(STREAM_PAGE_ALLOC, 8 * PAGE, 3, 8 * PAGE - 1);
}

/* Shortage */

TEST("replay: an allocation that is refused is counted, and its free left out")
{
	struct streams s = streams_new(CAPACITY);
	struct piece *taken;
	struct replay r;

	streams_begin(&s);
	for (uint32_t id = 0; id < 100; id++)
		streams_record(&s, STREAM_PAGE_ALLOC, id, 8 * PAGE, 3);
	for (uint32_t id = 0; id < 50; id++)
		streams_record(&s, STREAM_PAGE_FREE, id, 0, 3);
	CHECK(!replay_open(&r, s.bytes, s.size, 0));
	taken = pieces_take_all(
		kpages_arena, (size_t)64 << 20, PORT_PAGE_SIZE, MEM_ERROR | ARENA_BESTFIT);
	replay_run(&r, 1, MEM_ATOMIC);
	pieces_give(kpages_arena, taken, SIZE_MAX);
	CHECK_EQ(replay_progress(&r).refused, 100);
	CHECK_EQ(replay_progress(&r).operations, 100);
	replay_close(&r);
	streams_free(&s);
}

TEST("replay: a stream that needs more memory or addresses than there are is refused")
{
	size_t blocks = arena_amt_total(base_arena) / STREAM_MEMORY_MAX + 1;
	struct streams s = streams_new(blocks * sizeof(struct stream_record) + CAPACITY);
	struct replay r;

	streams_begin(&s);
	for (uint32_t id = 0; id < blocks; id++)
		streams_record(&s, STREAM_PAGE_ALLOC, id, STREAM_MEMORY_MAX, STREAM_ORDER_MAX);
	streams_begin(&s);
	for (uint32_t id = 0; id < 1000; id++)
		streams_record(&s, STREAM_RANGE_ALLOC, id, -PAGE, 0);
	CHECK_STR(replay_open(&r, s.bytes, s.size, 0), "it needs more memory than there is");
	CHECK_STR(replay_open(&r, s.bytes, s.size, 1), "it needs more addresses than there are");
	streams_free(&s);
}

TEST("replay: a stream that is wrong is refused with nothing left behind")
{
	struct streams s = streams_new(CAPACITY);
	struct replay r;

	add_mixed(&s, 100);
	streams_record(&s, STREAM_KFREE, 0, 0, 9);
	CHECK_STR(replay_open(&r, s.bytes, s.size - 1, 0), "it is shorter than its header says");
	CHECK(str_starts(replay_open(&r, s.bytes, s.size, 0), "record 168: a free "));
	CHECK_STR(replay_open(&r, s.bytes, s.size, 1), "there is no such stream");
	streams_free(&s);
}

/* Real ones */

TEST("replay: a compilation's address ranges")
{
	size_t records = test_ops(gcc_ranges_count);
	struct streams s = streams_new(records * sizeof(struct stream_record) + CAPACITY);
	struct replay_progress p;

	streams_begin(&s);
	streams_add_gcc(&s, records);
	p = replayed(s.bytes, s.size, 0, 2, MEM_WAIT);
	CHECK_EQ(p.rounds, 2);
	CHECK_LE(2 * records, p.operations);
	CHECK_EQ(p.refused, 0);
	streams_free(&s);
}

/* By MEM_ERROR, since a stream may need nearly all memory at once. */
TEST("replay: every stream of the machine's initrd")
{
	const uint8_t *at = boot_info->initrd, *end = at + boot_info->initrd_size;
	struct stream stream;

	for (; at < end; at += stream.size) {
		CHECK(!stream_open(&stream, at, (size_t)(end - at)));
		CHECK_EQ(replayed(at, stream.size, 0, 1, MEM_ERROR).errors, 0);
	}
}
