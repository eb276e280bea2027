/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an arena with spans of its own does.
 */
#include "alarm.h"
#include "arena.h"
#include "arenas.h"
#include "errors.h"
#include "kmem_fail.h"
#include "lib/array.h"
#include "lib/catch.h"
#include "lib/string.h"
#include "lib/test.h"
#include "port.h"
#include "slab.h"

static uintptr_t take(struct arena *a, size_t size, unsigned fit)
{
	return (uintptr_t)arena_alloc(a, size, MEM_ATOMIC | fit);
}

static void give(struct arena *a, uintptr_t addr, size_t size)
{
	arena_free(a, (void *)addr, size);
}

TEST("arena: hands out each integer of a span once, then NULL")
{
	struct arena *a = arenas_ids(5, 100);
	bool seen[100] = {false};

	for (int i = 0; i < 100; i++) {
		uintptr_t id = take(a, 1, ARENA_INSTANTFIT);

		CHECK(id >= 5 && id < 105 && !seen[id - 5]);
		seen[id - 5] = true;
	}
	CHECK_EQ(take(a, 1, ARENA_INSTANTFIT), 0);
	CHECK_EQ(take(a, 1, ARENA_BESTFIT), 0);
	CHECK_EQ(take(a, 1, ARENA_NEXTFIT), 0);
	CHECK_EQ(arenas_stats(a).failures, 3);
	CHECK_EQ(arenas_stats(a).allocs, 100);
	for (uintptr_t id = 5; id < 105; id++)
		give(a, id, 1);
	CHECK_EQ(arenas_stats(a).largest_free, 100);
	arenas_end(a);
}

TEST("arena: a freed segment coalesces with both neighbours")
{
	struct arena *a = arenas_ids(1, 3);

	for (int i = 0; i < 3; i++)
		CHECK_NE(take(a, 1, ARENA_BESTFIT), 0);
	give(a, 1, 1);
	give(a, 3, 1);
	CHECK_EQ(arenas_stats(a).segments_free, 2);
	CHECK_EQ(arenas_stats(a).largest_free, 1);
	give(a, 2, 1);
	CHECK_EQ(arenas_stats(a).segments_free, 1);
	CHECK_EQ(arenas_stats(a).largest_free, 3);
	arenas_end(a);
}

/* In a bin of several sizes instant fit must not miss the one segment that serves. */
TEST("arena: a request that some segment can serve is served, whatever its size")
{
	for (size_t held = 1; held <= 600; held++) {
		struct arena *a = arenas_ids(1, held);

		for (size_t want = held > 70 ? held - 70 : 1; want <= held; want++) {
			uintptr_t r = take(a, want, ARENA_INSTANTFIT);

			CHECK_NE(r, 0);
			give(a, r, want);
		}
		CHECK_EQ(take(a, held + 1, ARENA_INSTANTFIT), 0);
		arenas_end(a);
	}
}

/* Free segments of sizes 30, 20, 10, 20 at 100, 200, 300, 400. */
static struct arena *four_holes(void)
{
	static const size_t sizes[] = {30, 20, 10, 20};
	struct arena *a = arenas_ids(100, sizes[0]);

	for (int i = 1; i < 4; i++)
		CHECK_EQ(arena_add(a, (void *)(uintptr_t)(100 + 100 * i), sizes[i], MEM_WAIT), 0);
	return a;
}

TEST("arena: best fit takes the smallest segment that serves, the lowest among equals")
{
	struct arena *a = four_holes();

	CHECK_EQ(take(a, 15, ARENA_BESTFIT), 200);
	CHECK_EQ(take(a, 15, ARENA_BESTFIT), 400);
	CHECK_EQ(take(a, 8, ARENA_BESTFIT), 300);
	CHECK_EQ(take(a, 6, ARENA_BESTFIT), 100);
	give(a, 200, 15);
	give(a, 400, 15);
	give(a, 300, 8);
	give(a, 100, 6);
	arenas_end(a);
}

TEST("arena: next fit does not reuse what was just freed")
{
	struct arena *a = arenas_ids(1, 10);

	for (uintptr_t id = 1; id <= 25; id++) {
		uintptr_t r = take(a, 1, ARENA_NEXTFIT);

		CHECK_EQ(r, (id - 1) % 10 + 1);
		give(a, r, 1);
	}
	arenas_end(a);
}

TEST("arena: next fit of the only integer there is finds it again")
{
	struct arena *a = arenas_ids(7, 1);

	for (int i = 0; i < 3; i++) {
		CHECK_EQ(take(a, 1, ARENA_NEXTFIT), 7);
		give(a, 7, 1);
	}
	arenas_end(a);
}

TEST("arena: next fit goes around to a segment that begins below its cursor")
{
	struct arena *a = arenas_ids(1, 10);

	CHECK_EQ(take(a, 6, ARENA_NEXTFIT), 1);
	give(a, 1, 6);
	CHECK_EQ(take(a, 5, ARENA_NEXTFIT), 1);
	CHECK_EQ(take(a, 5, ARENA_NEXTFIT), 6);
	give(a, 1, 5);
	give(a, 6, 5);
	arenas_end(a);
}

TEST("arena: adjacent added ranges become one, in any order")
{
	static const uintptr_t starts[] = {50, 10, 30, 40, 20};
	struct arena *a = arenas_ids(60, 10);

	for (int i = 0; i < 5; i++)
		CHECK_EQ(arena_add(a, (void *)starts[i], 10, MEM_WAIT), 0);
	CHECK_EQ(arenas_stats(a).spans, 1);
	CHECK_EQ(take(a, 60, ARENA_INSTANTFIT), 10);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	CHECK_EQ(arena_add(a, (void *)70, 5, MEM_WAIT), 0);
	CHECK_EQ(arena_add(a, (void *)5, 5, MEM_WAIT), 0);
	CHECK_EQ(arenas_stats(a).segments_free, 2);
	CHECK_EQ(arenas_stats(a).spans, 1);
	give(a, 10, 60);
	CHECK_EQ(take(a, 70, ARENA_INSTANTFIT), 5);
	give(a, 5, 70);
	arenas_end(a);
}

TEST("arena: what cannot be added is refused with a reason and changes nothing")
{
	struct arena *a = arena_create("refuse", NULL, 0, 16, NULL, NULL, NULL, 0, MEM_WAIT);
	struct arena *b = arena_create("importer", NULL, 0, 16, arena_alloc, arena_free, a, 0, MEM_WAIT);

	CHECK_EQ(arena_add(a, (void *)3200, 1600, MEM_WAIT), 0);
	CHECK_EQ(arena_add(a, (void *)100, 0, MEM_WAIT), -EINVAL);
	CHECK_EQ(arena_add(a, (void *)100, 20, MEM_WAIT), -EINVAL);
	CHECK_EQ(arena_add(a, (void *)-(uintptr_t)15, 15, MEM_WAIT), -EINVAL);
	CHECK_EQ(arena_add(a, (void *)-(uintptr_t)32, 33, MEM_WAIT), -ERANGE);
	CHECK_EQ(arena_add(a, NULL, 64, MEM_WAIT), -EDOM);
	CHECK_EQ(arena_add(a, (void *)3184, 32, MEM_WAIT), -EEXIST);
	CHECK_EQ(arena_add(a, (void *)4784, 32, MEM_WAIT), -EEXIST);
	CHECK_EQ(arena_add(a, (void *)16, 1000000, MEM_WAIT), -EEXIST);
	CHECK_EQ(arena_add(a, (void *)3216, 16, MEM_WAIT), -EEXIST);
	/* [4790, 4816) holds a whole quantum that is free, but begins in the span. */
	CHECK_EQ(arena_add(a, (void *)4790, 26, MEM_WAIT), -EEXIST);
	CHECK_EQ(arena_add(b, (void *)16, 16, MEM_WAIT), -EBUSY);
	CHECK_STR(arena_add_strerror(-EEXIST), "the range overlaps a span");
	CHECK_STR(arena_add_strerror(-EDOM), "the range contains 0");
	CHECK_EQ(arena_amt_total(a), 1600);
	CHECK_EQ(arenas_stats(a).spans, 1);
	arenas_end(b);
	arenas_end(a);
}

TEST("arena: one that a cache draws from, or another imports from, isn't destroyed")
{
	struct arena *a = arenas_ids(1, 100), *above = arenas_importer("above", a, 1);
	struct kmem_cache *c = kmem_cache_create("of-ids", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);

	CHECK_EQ(arena_destroy(a), -EBUSY);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_destroy(a), -EBUSY);
	arenas_end(above);
	arenas_end(a);
}

static struct panic_catch caught;
static struct arena *rung;
static bool is_over; /* atomic */

static void ring(struct alarm *alarm)
{
	panic_catch_push(&caught);
	if (machine_setjmp(&caught.jump) == 0)
		arena_alloc(rung, 1, MEM_WAIT);
	panic_catch_pop(&caught);
	__atomic_store_n(&is_over, true, __ATOMIC_RELEASE);
}

TEST("arena: MEM_WAIT in an interrupt is reported as such")
{
	struct alarm alarm = {.handler = NULL};

	rung = arenas_ids(1, 100);
	is_over = false;
	caught.message[0] = 0;
	alarm_init(&alarm, ring);
	alarm_set(&alarm, 0);
	while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE))
		port_pause();
	alarm_cancel(&alarm);
	CHECK(strstr(caught.message, "MEM_WAIT in an interrupt, which can't sleep"));
	arenas_end(rung);
}

static void ring_atomic(struct alarm *alarm)
{
	void *got = arena_alloc(rung, 1, MEM_ATOMIC);

	if (got)
		arena_free(rung, got, 1);
	str_copy(caught.message, got ? "served" : "failed", sizeof(caught.message));
	__atomic_store_n(&is_over, true, __ATOMIC_RELEASE);
}

TEST("arena: failure injection fails what interrupts ask for, too")
{
	struct kmem_fail_rule all = {.name = "ids"};
	struct alarm alarm = {.handler = NULL};
	int rule;

	rung = arenas_ids(1, 100);
	is_over = false;
	rule = kmem_fail_start(&all);
	alarm_init(&alarm, ring_atomic);
	alarm_set(&alarm, 0);
	while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE))
		port_pause();
	alarm_cancel(&alarm);
	kmem_fail_stop(rule);
	CHECK_STR(caught.message, "failed");
	arenas_end(rung);
}

TEST("arena: an extent without a whole quantum is refused, the last one too")
{
	struct arena *a = arenas_root(10, 100);

	CHECK_EQ(arena_add(a, (void *)-(uintptr_t)4, 3, MEM_WAIT), -EINVAL);
	CHECK_EQ(arena_add(a, (void *)2001, 9, MEM_WAIT), -EINVAL);
	arenas_end(a);
}

static bool stop_at(const struct arena_segment *s, void *arg)
{
	return --*(size_t *)arg > 0;
}

TEST("arena: a walk ends with the segment at which its function says so")
{
	struct arena *a = arenas_full(4 * ARENA_WALK_STEP);

	for (size_t n = 1; n < 3 * ARENA_WALK_STEP; n++) {
		size_t left = n;

		arena_walk(a, stop_at, &left);
		CHECK_EQ(left, 0);
	}
	for (uintptr_t i = 1; i <= 4 * ARENA_WALK_STEP; i++)
		arena_free(a, (void *)i, 1);
	arenas_end(a);
}

static size_t freed; /* units */

static void free_counted(struct arena *source, void *addr, size_t size)
{
	freed += size;
	arena_free(source, addr, size);
}

TEST("arena: spans go back by the arena's own function, whatever brought them")
{
	struct arena *source = arenas_ids(1, 100), *a;

	freed = 0;
	a = arena_create("counted", NULL, 0, 1, arena_alloc, free_counted, source, 0, MEM_WAIT);
	arena_free(a, arena_alloc(a, 10, MEM_WAIT), 10);
	arenas_end(a);
	CHECK_LE(10, freed);
	CHECK_EQ(arena_amt_free(source), 100);
	arenas_end(source);
}

TEST("arena: a window that is empty serves nothing")
{
	struct arena *a = arenas_ids(1, 100);

	CHECK_PANICS(arena_xalloc(a, 1, 0, 0, 0, 50, 40, MEM_ATOMIC), "ends before it begins");
	CHECK(!arena_xalloc(a, 1, 0, 0, 0, 50, 50, MEM_ATOMIC));
	arenas_end(a);
}

TEST("arena: what its front can't align, or has no size for, is aligned all the same")
{
	struct arena *a = arena_create("fronted", (void *)1, 1000, 1, NULL, NULL, NULL, 4, MEM_WAIT);
	static const size_t sizes[][2] = {{3, 2}, {2, 4}, {4, 4}, {1, 8}};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *at[5];

		for (size_t n = 0; n < ARRAY_SIZE(at); n++) {
			at[n] = arena_xalloc(a, sizes[i][0], sizes[i][1], 0, 0, 0, 0, MEM_ATOMIC);
			CHECK(at[n] && (uintptr_t)at[n] % sizes[i][1] == 0);
		}
		for (size_t n = 0; n < ARRAY_SIZE(at); n++)
			arena_xfree(a, at[n], sizes[i][0]);
	}
	arenas_end(a);
}

TEST("arena: what arena_add() returns has words of its own")
{
	static const int errors[] = {0, -ENOMEM, -EINVAL, -ERANGE, -EDOM, -EEXIST, -EBUSY, 1};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		for (size_t j = 0; j < i; j++)
			CHECK(strcmp(arena_add_strerror(errors[i]), arena_add_strerror(errors[j])) != 0);
	CHECK_STR(arena_add_strerror(-EBUSY), "the arena imports its spans");
	CHECK_STR(arena_add_strerror(1), "unknown error");
}

TEST("arena: added ranges are rounded inward to the quantum, odd ones included")
{
	struct arena *a = arena_create("odd", (void *)1, 20, 7, NULL, NULL, NULL, 0, MEM_WAIT);

	CHECK_EQ(arena_amt_total(a), 14);
	CHECK_EQ(take(a, 8, ARENA_INSTANTFIT), 7);
	CHECK_EQ(take(a, 1, ARENA_INSTANTFIT), 0);
	give(a, 7, 14);
	arenas_end(a);
}

TEST("arena: serves the last integers there are")
{
	uintptr_t start = -(uintptr_t)64;
	struct arena *a = arena_create("top", (void *)start, 64, 16, NULL, NULL, NULL, 0, MEM_WAIT);

	for (int i = 0; i < 4; i++)
		CHECK_EQ(take(a, 16, ARENA_NEXTFIT), start + 16 * (size_t)i);
	for (int i = 3; i >= 0; i--)
		give(a, start + 16 * (size_t)i, 16);
	CHECK_EQ(take(a, 64, ARENA_NEXTFIT), start);
	give(a, start, 64);
	arenas_end(a);
}

TEST("arena: a caller's bug panics with arena, address and size, and harms nothing")
{
	struct arena *a = arena_create("bugs", (void *)160, 1600, 16, NULL, NULL, NULL, 0, MEM_WAIT);
	uintptr_t r = take(a, 48, ARENA_INSTANTFIT);

	CHECK_EQ(r, 160);
	CHECK_PANICS(arena_alloc(a, 0, MEM_ATOMIC), "arena bugs: allocation of size 0");
	CHECK_PANICS(arena_alloc(a, SIZE_MAX - 3, MEM_ATOMIC), "too large to round up");
	CHECK_PANICS(arena_alloc(a, 1, 0), "memory flag");
	CHECK_PANICS(arena_alloc(a, 1, MEM_ATOMIC | MEM_WAIT), "memory flag");
	CHECK_PANICS(arena_alloc(a, 1, MEM_ATOMIC | ARENA_BESTFIT | ARENA_NEXTFIT), "one fit");
	CHECK_PANICS(arena_alloc(a, 1, MEM_ATOMIC | 1u << 31), "memory flag");
	CHECK_PANICS(give(a, r, 0), "size 0");
	CHECK_PANICS(give(a, r, 16), "wrong size");
	CHECK_PANICS(give(a, r, 64), "arena bugs: free of 0xa0 with the wrong size: 0x40");
	CHECK_PANICS(give(a, r + 16, 16), "lies inside [0xa0, +0x30)");
	CHECK_PANICS(give(a, r + 48, 16), "not allocated");
	CHECK_PANICS(give(a, 16, 16), "lies in no span");
	CHECK_EQ(arena_amt_free(a), 1600 - 48);
	give(a, r, 33);
	CHECK_PANICS(give(a, r, 48), "freed twice");
	arenas_end(a);
}

TEST("arena: a bug's report names the caller")
{
	struct arena *a = arenas_ids(1, 1);

	CHECK_PANICS(arena_alloc(a, 0, MEM_ATOMIC), "called from ");
	arenas_end(a);
}

TEST("arena: what can't be created panics with what is wrong")
{
	CHECK_PANICS(arena_create("q", NULL, 0, 0, NULL, NULL, NULL, 0, MEM_WAIT), "quantum of 0");
	CHECK_PANICS(arena_create("q", NULL, 0, 16, NULL, NULL, NULL, 24, MEM_WAIT), "qcache_max");
	CHECK_PANICS(arena_create("q", NULL, 0, 16, arena_alloc, NULL, base_arena, 0, MEM_WAIT),
		"not all three or none");
	CHECK_PANICS(arena_create("q", NULL, 0, 16, NULL, arena_free, base_arena, 0, MEM_WAIT),
		"not all three or none");
	CHECK_PANICS(arena_create("q", NULL, 0, 16, arena_alloc, arena_free, NULL, 0, MEM_WAIT), "source that is NULL");
	CHECK_PANICS(
		arena_create("q", (void *)16, 16, 16, arena_alloc, arena_free, base_arena, 0, MEM_WAIT),
		"both a first span and a source");
	CHECK_PANICS(arena_create("q", (void *)16, 16, 16, NULL, NULL, NULL, 0, 0),
		"arena q: can't be created with flags 0: not exactly one memory flag");
	CHECK_PANICS(arena_create("q", (void *)16, 16, 16, NULL, NULL, NULL, 0, MEM_WAIT | MEM_ERROR),
		"arena q: can't be created with flags");
}

TEST("arena: shortage is NULL for a request that may not sleep, and counted")
{
	struct arena *a = arenas_ids(1, 4);

	CHECK_EQ((uintptr_t)arena_alloc(a, 5, MEM_ATOMIC), 0);
	CHECK_EQ((uintptr_t)arena_alloc(a, 5, MEM_ERROR), 0);
	CHECK_EQ(arenas_stats(a).failures, 2);
	arenas_end(a);
}

TEST("arena: one with live allocations is not destroyed, and works on")
{
	struct arena *a = arenas_ids(1, 4);
	uintptr_t r = take(a, 2, ARENA_INSTANTFIT);

	CHECK_EQ(arena_destroy(a), -EBUSY);
	CHECK_EQ(arena_find("ids") == a, true);
	CHECK_EQ(arena_amt_free(a), 2);
	give(a, r, 2);
	arenas_end(a);
	CHECK_EQ((uintptr_t)arena_find("ids"), 0);
}

/* Walks */

struct seen {
	struct arena *arena;
	uintptr_t last;
	size_t free, used, spans, calls;
};

static bool note_segment(const struct arena_segment *s, void *arg)
{
	struct seen *seen = arg;

	seen->calls++;
	if (s->kind == ARENA_SEGMENT_SPAN) {
		seen->spans++;
		return true;
	}
	CHECK_LT(seen->last, s->start);
	seen->last = s->start + (s->size - 1);
	if (s->kind == ARENA_SEGMENT_FREE)
		seen->free += s->size;
	else
		seen->used += s->size;
	return true;
}

TEST("arena: a walk shows every segment once, in address order")
{
	struct arena *a = arenas_ids(1, 1000);
	struct seen seen = {.arena = a};

	for (int i = 0; i < 500; i++)
		CHECK_NE(take(a, 1, ARENA_BESTFIT), 0);
	for (uintptr_t id = 1; id <= 500; id += 2)
		give(a, id, 1);
	arena_walk(a, note_segment, &seen);
	CHECK_EQ(seen.spans, 1);
	CHECK_EQ(seen.calls, 1 + 500 + 1);
	CHECK_EQ(seen.used, 250);
	CHECK_EQ(seen.free, 750);
	for (uintptr_t id = 2; id <= 500; id += 2)
		give(a, id, 1);
	arenas_end(a);
}

/* Frees every segment behind the one it is shown, up to 100 integers on, the first time it is shown
 * a used one: tags that the walk's next steps would have come to vanish. */
static bool free_ahead(const struct arena_segment *s, void *arg)
{
	struct seen *seen = arg;
	struct arena_segment next;

	note_segment(s, arg);
	for (uintptr_t id = s->start + 1; id < s->start + 100; id++)
		if (test_random_below(3) == 0 && arena_find_segment(seen->arena, id, &next) &&
			next.kind == ARENA_SEGMENT_USED)
			give(seen->arena, next.start, next.size);
	return true;
}

TEST("arena: a walk shows every integer once while segments vanish under it")
{
	struct arena *a = arenas_ids(1, 2000);
	struct seen seen = {.arena = a};

	for (int i = 0; i < 2000; i++)
		CHECK_NE(take(a, 1, ARENA_BESTFIT), 0);
	arena_walk(a, free_ahead, &seen);
	CHECK_EQ(seen.used + seen.free, 2000);
	CHECK_LT(0, seen.free);
	for (uintptr_t id = 1; id <= 2000; id++) {
		struct arena_segment s;

		if (arena_find_segment(a, id, &s) && s.kind == ARENA_SEGMENT_USED)
			give(a, s.start, s.size);
	}
	arenas_end(a);
}

/* Takes an integer out of the middle of a free segment that it is shown. */
static bool cut_shown(const struct arena_segment *s, void *arg)
{
	struct seen *seen = arg;

	note_segment(s, arg);
	if (s->kind == ARENA_SEGMENT_FREE)
		CHECK(arena_xalloc(seen->arena, 1, 0, 0, 0, s->start + 1, s->start + 2, MEM_ATOMIC));
	return true;
}

/* The free segment ends a step of the walk: its parts stand where the next step begins. */
TEST("arena: a walk shows every integer once while a segment that was shown is cut")
{
	struct arena *a = arenas_ids(1, 100);
	struct seen seen = {.arena = a};
	const uintptr_t before = ARENA_WALK_STEP - 2;

	for (uintptr_t id = 1; id <= before; id++)
		CHECK_EQ(take(a, 1, ARENA_BESTFIT), id);
	CHECK_EQ(take(a, 3, ARENA_BESTFIT), before + 1);
	CHECK_EQ(take(a, 97 - before, ARENA_BESTFIT), before + 4);
	give(a, before + 1, 3);
	arena_walk(a, cut_shown, &seen);
	CHECK_EQ(seen.calls, 1 + before + 2);
	CHECK_EQ(seen.used, 97);
	CHECK_EQ(seen.free, 3);
	arena_xfree(a, (void *)(before + 2), 1);
	give(a, before + 4, 97 - before);
	for (uintptr_t id = 1; id <= before; id++)
		give(a, id, 1);
	arenas_end(a);
}
