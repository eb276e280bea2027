/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas under simulated schedules.
 */
#include "arena.h"
#include "port.h"
#include "sim/sim.h"
#include "unit/arenas.h"
#include "unit/threads.h"
#include "lib/test.h"

#define NUMBERS 64
#define ROUNDS ((unsigned)test_ops(12))

static struct arena *ids, *importer;
static bool taken[NUMBERS + 1]; /* by number; atomic */

/* No other caller may have any of them. */
static void mark(uintptr_t first, size_t size)
{
	CHECK(first >= 1 && first + size <= NUMBERS + 1);
	for (uintptr_t i = first; i < first + size; i++)
		CHECK(!__atomic_exchange_n(&taken[i], true, __ATOMIC_RELAXED));
}

static void unmark(uintptr_t first, size_t size)
{
	for (uintptr_t i = first; i < first + size; i++)
		CHECK(__atomic_exchange_n(&taken[i], false, __ATOMIC_RELAXED));
}

static void pairs(unsigned i, void *arg)
{
	static const unsigned fits[] = {ARENA_INSTANTFIT, ARENA_BESTFIT, ARENA_NEXTFIT, ARENA_HIGHFIT};
	struct arena *a = arg;

	for (unsigned n = 0; n < ROUNDS; n++) {
		size_t size = 1 + test_random_below(4);
		void *p = arena_alloc(a, size, MEM_ATOMIC | fits[test_random_below(4)]);

		if (!p)
			continue;
		mark((uintptr_t)p, size);
		unmark((uintptr_t)p, size);
		arena_free(a, p, size);
	}
}

static void constrained(unsigned i, void *arg)
{
	struct arena *a = arg;

	for (unsigned n = 0; n < ROUNDS; n++) {
		size_t size = 1 + test_random_below(4);
		void *p = arena_xalloc(a, size, 4, 1, 8, 0, 0, MEM_ATOMIC);

		if (!p)
			continue;
		CHECK_EQ((uintptr_t)p % 4, 1);
		mark((uintptr_t)p, size);
		unmark((uintptr_t)p, size);
		arena_xfree(a, p, size);
	}
}

TEST("sim: arena: pairs on several cores leave one free segment")
{
	ids = arenas_ids(1, NUMBERS);
	sim_begin();
	threads_run(THREADS_FREE, 3, pairs, ids);
	sim_end();
	CHECK_EQ(arenas_stats(ids).segments_free, 1);
	arenas_end(ids);
}

static void mixed(unsigned i, void *arg)
{
	static void (*const all[])(unsigned i, void *arg) = {pairs, constrained};

	all[i % 2](i, i < 2 ? ids : importer);
}

/* Checks and reaps, beside the others. */
static void look(unsigned i, void *arg)
{
	if (i > 0) {
		mixed(i - 1, arg);
		return;
	}
	for (int n = 0; n < 4; n++) {
		CHECK_EQ(arena_check(ids, NULL), 0);
		CHECK_EQ(arena_check(importer, NULL), 0);
		arena_reap(importer, SIZE_MAX);
	}
}

TEST("sim: arena: an importer and its source hand each number out once")
{
	ids = arenas_ids(1, NUMBERS);
	importer = arenas_importer("importer", ids, 1);
	sim_begin();
	threads_run(THREADS_FREE, 5, look, NULL);
	sim_end();
	arenas_end(importer);
	CHECK_EQ(arena_amt_free(ids), NUMBERS);
	arenas_end(ids);
}

#define MANY 20 /* segments, for which a hash takes a page */
#define BOTH 2

/* Takes all of an arena of its own, and gives it back: tags and pages of its hash come and go. */
static void all_of_one(unsigned i, void *arg)
{
	struct arena *a = ((struct arena **)arg)[i];
	void *p;

	for (unsigned n = 0; n < 3 * ROUNDS; n++) {
		size_t got = 0;

		while ((p = arena_alloc(a, 1, MEM_ATOMIC)))
			got++;
		CHECK_EQ(got, MANY);
		for (uintptr_t id = 1; id <= MANY; id++)
			arena_free(a, (void *)id, 1);
		arena_reap(a, SIZE_MAX);
	}
}

TEST("sim: arena: tags and pages of hashes of one base are as many as it counts")
{
	struct arena *both[BOTH] = {arenas_ids(1, MANY), arenas_ids(1, MANY)};

	sim_begin();
	threads_run(THREADS_FREE, BOTH, all_of_one, both);
	sim_end();
	CHECK(arena_base_balances(base_arena));
	arenas_end(both[1]);
	arenas_end(both[0]);
	CHECK(arena_base_balances(base_arena));
}

#define LOTS 64 /* segments, whose tags an arena doesn't keep when they are free */

static void lots_of_one(unsigned i, void *arg)
{
	struct arena *a = ((struct arena **)arg)[i];

	for (unsigned n = 0; n < ROUNDS; n++) {
		for (int left = LOTS; left > 0; left--)
			CHECK(arena_alloc(a, 1, MEM_ATOMIC));
		for (uintptr_t id = 1; id <= LOTS; id++)
			arena_free(a, (void *)id, 1);
		arena_reap(a, SIZE_MAX);
	}
}

TEST("sim: arena: idle tags go back to the supply that another arena draws on")
{
	struct arena *both[BOTH] = {arenas_ids(1, LOTS), arenas_ids(1, LOTS)};

	sim_begin();
	threads_run(THREADS_FREE, BOTH, lots_of_one, both);
	sim_end();
	arenas_end(both[1]);
	arenas_end(both[0]);
	CHECK(arena_base_balances(base_arena));
}

static void indexed(unsigned i, void *arg)
{
	if (i == 0)
		arena_index(ids);
	else if (i == 1)
		arena_reap(ids, SIZE_MAX);
	else
		pairs(i, ids);
}

TEST("sim: arena: an index comes while others allocate and free")
{
	ids = arenas_ids(1, NUMBERS);
	sim_begin();
	threads_run(THREADS_FREE, 5, indexed, NULL);
	sim_end();
	arenas_end(ids);
}
