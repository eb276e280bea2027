/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The order in which requests that sleep are served, and for how long others may go before.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "port.h"
#include "shortage.h"
#include "sleepers.h"
#include "lib/test.h"
#include "threads.h"

#define PASSED_MAX 64 /* then a record holds up others, */
#define HOLD_NS 30000000ull /* for so long at most */
#define ATTEMPTS 20 /* of tests that must do something within such a time */

TEST("wait: equals are served in the order they came")
{
	struct arena *a = arenas_full(1);
	struct sleeper s[8];
	unsigned turns = 0;

	for (size_t i = 0; i < 8; i++) {
		s[i] = (struct sleeper){.arena = a, .size = 1, .turns = &turns};
		sleeper_start(&s[i], i + 1);
	}
	arena_free(a, (void *)1, 1);
	for (size_t i = 0; i < 8; i++) {
		ktask_join(s[i].task);
		CHECK_EQ(s[i].turn, i + 1);
		arena_free(a, s[i].got, 1);
	}
	CHECK_EQ(arenas_stats(a).wakeups, 8);
	arenas_end(a);
}

/* What one step frees serves the oldest that it can serve, and those that are older sleep on. */
TEST("wait: of requests that differ the oldest that can be served is served first")
{
	struct arena *a = arenas_full(6);
	struct sleeper s[3];

	for (size_t i = 0; i < 3; i++) {
		s[i] = (struct sleeper){.arena = a, .size = 3 - i};
		sleeper_start(&s[i], i + 1);
	}
	arena_free(a, (void *)6, 1);
	CHECK(sleeper_is_served(&s[2]));
	arena_free(a, (void *)1, 1);
	arena_free(a, (void *)2, 1);
	CHECK(sleeper_is_served(&s[1]));
	CHECK(!sleeper_is_done(&s[0]));
	for (uintptr_t id = 3; id < 6; id++)
		arena_free(a, (void *)id, 1);
	for (size_t i = 0; i < 3; i++)
		sleeper_end(&s[i]);
	arenas_end(a);
}

/* Three want what is freed at once: the first all of it, the others in what it gives back.  A round that has
 * passed the first when that is freed serves the others before it: returns false then. */
static bool check_largest_first(void)
{
	struct arena *a = arenas_ids(1, 3);
	void *p = arena_alloc(a, 3, MEM_ATOMIC);
	struct sleeper s[3];
	bool in_order;
	uint64_t end;

	for (size_t i = 0; i < 3; i++) {
		s[i] = (struct sleeper){.arena = a, .size = 3 - i};
		sleeper_start(&s[i], i + 1);
	}
	arena_free(a, p, 3);
	end = port_ns() + THREADS_PATIENCE;
	while (!sleeper_is_done(&s[0]) && !(sleeper_is_done(&s[1]) && sleeper_is_done(&s[2])) && port_ns() < end)
		kthread_usleep(100);
	in_order = sleeper_is_done(&s[0]);
	if (in_order)
		CHECK(!sleeper_is_done(&s[1]) && !sleeper_is_done(&s[2]));
	for (size_t i = 0; i < 3; i++) {
		struct sleeper *next = &s[in_order ? i : (i + 1) % 3];

		CHECK(sleeper_is_served(next));
		sleeper_end(next);
	}
	arenas_end(a);
	return in_order;
}

TEST("wait: the oldest goes first though it wants the most")
{
	int attempts = 0;

	while (attempts < ATTEMPTS && !check_largest_first())
		attempts++;
	CHECK_LT(attempts, ATTEMPTS);
}

/* Passing */

/* A request for 2 that sleeps while both units are handed out. */
struct passing {
	struct arena *arena;
	struct sleeper big;
	void *one, *other;
	uint64_t due; /* when the hold had not begun yet */
};

/* The count in the record of the arena, which is called "passed"; it is the oldest of it. */
static size_t times_passed(void)
{
	static struct shortage_row rows[8];
	size_t n = shortage_rows(rows, 8);

	for (size_t i = 0; i < n && i < 8; i++)
		if (rows[i].arena[0] == 'p' && rows[i].amount == 2)
			return rows[i].passed;
	return 0;
}

static void await_passed(size_t n)
{
	uint64_t end = port_ns() + THREADS_PATIENCE;

	shortage_poke();
	while (times_passed() < n && port_ns() < end)
		kthread_usleep(100);
	CHECK_LE(n, times_passed());
}

/* Goes before it once: it sleeps, too, behind the big one, which can't be served. */
static void pass_once(struct passing *p)
{
	arena_free(p->arena, p->one, 1);
	p->one = arena_alloc(p->arena, 1, MEM_WAIT);
}

static void passing_begin(struct passing *p)
{
	struct arena *a = arena_create("passed", (void *)1, 2, 1, NULL, NULL, NULL, 0, MEM_WAIT);

	*p = (struct passing){.arena = a, .big = {.arena = a, .size = 2}};
	p->one = arena_alloc(a, 1, MEM_ATOMIC);
	p->other = arena_alloc(a, 1, MEM_ATOMIC);
	sleeper_start(&p->big, 1);
	for (size_t n = 1; n <= PASSED_MAX; n++) {
		p->due = port_ns();
		pass_once(p);
		await_passed(n);
	}
}

/* While it holds up others, `small` comes, for which one is free.  Returns whether it was quick
 * enough to tell. */
static bool check_hold(void)
{
	unsigned turns = 0;
	struct sleeper small = {.size = 1, .turns = &turns, .gives_back = true};
	struct passing p;
	bool in_time;

	passing_begin(&p);
	CHECK_EQ(arenas_stats(p.arena).sleeps, 1 + PASSED_MAX);
	p.big.turns = &turns;
	small.arena = p.arena;
	arena_free(p.arena, p.one, 1);
	sleeper_begin(&small);
	while (!sleeper_is_done(&small) && arenas_stats(p.arena).sleeps < 2 + PASSED_MAX)
		kthread_yield();
	arena_free(p.arena, p.other, 1);
	CHECK(sleeper_is_served(&p.big));
	in_time = port_ns() < p.due + HOLD_NS;
	sleeper_end(&p.big);
	sleeper_end(&small);
	arenas_end(p.arena);
	if (in_time)
		CHECK_EQ(p.big.turn, 1);
	return in_time;
}

TEST("wait: a request that was passed 64 times is the next")
{
	int attempts = 0;

	while (attempts < ATTEMPTS && !check_hold())
		attempts++;
	CHECK_LT(attempts, ATTEMPTS);
}

/* What is free while it holds up others is for an atomic request, and for one in another tree. */
static void check_others(void)
{
	struct arena *elsewhere = arenas_ids(1, 1);
	struct passing p;
	void *q;

	passing_begin(&p);
	arena_free(p.arena, p.one, 1);
	p.one = arena_alloc(p.arena, 1, MEM_ATOMIC);
	CHECK_NE((uintptr_t)p.one, 0);
	q = arena_alloc(elsewhere, 1, MEM_WAIT);
	CHECK_EQ(arenas_stats(elsewhere).sleeps, 0);
	arena_free(elsewhere, q, 1);
	arena_free(p.arena, p.one, 1);
	arena_free(p.arena, p.other, 1);
	sleeper_end(&p.big);
	arenas_end(p.arena);
	arenas_end(elsewhere);
}

TEST("wait: it holds up no atomic request, and none in another tree")
{
	check_others();
}

/* One is held up for a while, and then served, though the older one still sleeps; and so are others. */
static void check_pause(void)
{
	struct passing p;

	passing_begin(&p);
	for (int i = 0; i < 4 * PASSED_MAX; i++)
		pass_once(&p);
	CHECK(!sleeper_is_done(&p.big));
	arena_free(p.arena, p.one, 1);
	arena_free(p.arena, p.other, 1);
	sleeper_end(&p.big);
	arenas_end(p.arena);
}

TEST("wait: a request that can't be served holds up others only for a while")
{
	check_pause();
}
