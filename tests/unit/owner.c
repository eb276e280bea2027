/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Owners: callers that count by name what they hold of an arena.
 */
#include "owner.h"

#include "arenas.h"
#include "threads.h"
#include "lib/test.h"

#define THREADS 6
#define ROUNDS 2000

/* Owners stay; between tests theirs is no arena's. */
static struct arena *owned;
static struct arena_owner owner = ARENA_OWNER("a test", owned);
static struct arena_owner idle = ARENA_OWNER("an idle test", owned);

static size_t times_listed(const struct arena_owner *wanted)
{
	size_t n = 0;

	for (const struct arena_owner *o = arena_owner_next(NULL); o; o = arena_owner_next(o))
		n += o == wanted;
	return n;
}

TEST("owner: it counts whole quanta of its own arena, and is listed once")
{
	struct arena *other = arenas_root(16, 100);

	owned = arenas_root(16, 100);
	arena_owner_add(&owner, other, 16);
	CHECK_EQ(owner.held, 0);
	arena_owner_add(&owner, owned, 17);
	arena_owner_add(&owner, owned, 16);
	CHECK_EQ(owner.held, 48);
	CHECK_EQ(times_listed(&owner), 1);
	arena_owner_sub(&owner, other, 16);
	arena_owner_sub(&owner, owned, 17);
	CHECK_EQ(owner.held, 16);
	arena_owner_sub(&owner, owned, 16);
	/* It has ever held something. */
	CHECK_EQ(owner.held, 0);
	CHECK_EQ(times_listed(&owner), 1);
	CHECK_EQ(times_listed(&idle), 0);
	arenas_end(owned);
	arenas_end(other);
	owned = NULL;
}

static void hold_and_give(unsigned i, void *arg)
{
	size_t size = 16 * (i + 1);

	for (size_t n = test_ops(ROUNDS); n > 0; n--) {
		arena_owner_add(&owner, owned, size);
		CHECK_LE(size, __atomic_load_n(&owner.held, __ATOMIC_RELAXED));
		arena_owner_sub(&owner, owned, size);
	}
	arena_owner_add(&owner, owned, size);
}

TEST("owner: cores that count at once lose nothing")
{
	owned = arenas_root(16, 100);
	threads_run(THREADS_PINNED, THREADS, hold_and_give, NULL);
	CHECK_EQ(owner.held, 16 * THREADS * (THREADS + 1) / 2);
	arena_owner_sub(&owner, owned, owner.held);
	CHECK_EQ(times_listed(&owner), 1);
	arenas_end(owned);
	owned = NULL;
}
