/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random requests of many threads in random trees of arenas and caches.  Whenever all is quiet, no
 * request that sleeps would succeed if it were tried.
 *
 * Threads work for a while and then come to a stop, or sleep in a request.  All is quiet when each does
 * either, and the server and the reclaim ktask sleep too.  Then the requests that sleep are tried with
 * MEM_ATOMIC.  After that, what threads hold is freed for them until each has stopped.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "lib/array.h"
#include "lib/string.h"
#include "modes.h"
#include "port.h"
#include "reclaim.h"
#include "shortage.h"
#include "slab.h"
#include "lib/test.h"
#include "threads.h"

#define WORKERS 14
#define SLOTS 24
#define ROOT_FIRST 8
#define ROOT_IDS 1024
#define STEPS 120  /* of a worker, between two stops */
#define NODES 5
#define CACHES 2
#define SIZE_MOST 24	  /* so that none is large enough to be parked */
#define PASSED_MAX 64	  /* then a record holds up others for a while */
#define DEADLINE_NS 2000000

struct tree {
	struct arena *node[NODES]; /* each after its source */
	struct kmem_cache *cache[CACHES];
	size_t object[CACHES];
};

/* A request of a node, or of a cache if `which` is NODES at least. */
struct wanted {
	unsigned which, fit;
	size_t size;
	uintptr_t min, max; /* arena_xalloc(), if max isn't 0 */
	bool has_deadline;
};

#define FREEING ((void *)1) /* no ID of a tree */

struct slot {
	struct wanted wanted;
	void *p; /* atomic: NULL, FREEING, or what is held */
};

static struct worker {
	struct slot slot[SLOTS];
	struct wanted asking; /* valid while is_asking is set */
	bool is_asking;	      /* atomic */
	unsigned stops;	      /* rounds that it has ended; atomic */
	uint64_t id;	      /* of its ktask; atomic */
} workers[WORKERS];

static struct tree tree;
static unsigned rounds, rounds_begun; /* of workers; the second one atomic */

/* Requests */

/* Every other one wants an object: a slab has many, and more are to be wanted than it has. */
static struct wanted wanted_random(void)
{
	static const unsigned fits[] = {ARENA_INSTANTFIT, ARENA_BESTFIT, ARENA_NEXTFIT, ARENA_HIGHFIT};
	struct wanted w = {.which = test_random_below(NODES)};

	if (test_random_below(2)) {
		w.which = NODES + test_random_below(CACHES);
		return w;
	}
	w.size = 1 + test_random_below(test_random_below(4) ? 4 : SIZE_MOST);
	w.fit = fits[test_random_below(4)];
	if (w.which == 0 && test_random_below(4) == 0) {
		w.min = ROOT_FIRST + test_random_below(ROOT_IDS / 2);
		w.max = w.min + w.size + test_random_below(ROOT_IDS / 4);
	}
	w.has_deadline = w.max == 0 && test_random_below(4) == 0;
	return w;
}

static void *ask(const struct wanted *w, unsigned flags)
{
	struct arena *a = w->which < NODES ? tree.node[w->which] : NULL;

	if (!a)
		return kmem_cache_alloc(tree.cache[w->which - NODES], flags);
	if (w->max)
		return arena_xalloc(a, w->size, 0, 0, 0, w->min, w->max, flags | w->fit);
	if (w->has_deadline && flags != MEM_ATOMIC)
		return arena_alloc_timeout(a, w->size, MEM_ERROR | w->fit, port_ns() + DEADLINE_NS);
	return arena_alloc(a, w->size, flags | w->fit);
}

static void give(const struct wanted *w, void *p)
{
	if (w->which >= NODES)
		kmem_cache_free(tree.cache[w->which - NODES], p);
	else if (w->max)
		arena_xfree(tree.node[w->which], p, w->size);
	else
		arena_free(tree.node[w->which], p, w->size);
}

static void slot_clear(struct slot *s)
{
	void *p = __atomic_load_n(&s->p, __ATOMIC_ACQUIRE);

	if (!p || p == FREEING ||
		!__atomic_compare_exchange_n(&s->p, &p, FREEING, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	give(&s->wanted, p);
	__atomic_store_n(&s->p, NULL, __ATOMIC_RELEASE);
}

/* Workers */

static void slot_fill(struct worker *w, struct slot *s)
{
	static const unsigned flags[] = {MEM_WAIT, MEM_WAIT, MEM_ERROR, MEM_ATOMIC};
	void *p;

	w->asking = wanted_random();
	__atomic_store_n(&w->is_asking, true, __ATOMIC_RELEASE);
	p = ask(&w->asking, flags[test_random_below(ARRAY_SIZE(flags))]);
	__atomic_store_n(&w->is_asking, false, __ATOMIC_RELEASE);
	s->wanted = w->asking;
	__atomic_store_n(&s->p, p, __ATOMIC_RELEASE);
}

static void step(struct worker *w)
{
	struct slot *s = &w->slot[test_random_below(SLOTS)];

	if (test_random_below(200) == 0)
		arena_reap(tree.node[test_random_below(NODES)], SIZE_MAX);
	else if (__atomic_load_n(&s->p, __ATOMIC_ACQUIRE))
		slot_clear(s);
	else
		slot_fill(w, s);
}

static void work(unsigned i, void *arg)
{
	struct worker *w = &workers[i];

	__atomic_store_n(&w->id, ktask_id(ktask_self()), __ATOMIC_RELEASE);
	for (unsigned round = 1; round <= rounds && !test_has_failed(); round++) {
		while (__atomic_load_n(&rounds_begun, __ATOMIC_ACQUIRE) < round && !test_has_failed())
			kthread_usleep(100);
		for (int n = 0; n < STEPS && !test_has_failed(); n++)
			step(w);
		__atomic_store_n(&w->stops, round, __ATOMIC_RELEASE);
	}
}

/* Quiet */

static bool has_stopped(const struct worker *w)
{
	return __atomic_load_n(&w->stops, __ATOMIC_ACQUIRE) == rounds_begun;
}

static bool all_stopped(void)
{
	for (size_t i = 0; i < WORKERS; i++)
		if (!has_stopped(&workers[i]))
			return false;
	return true;
}

/* The worker with that ktask, unless it has stopped. */
static bool is_busy_worker(uint64_t id)
{
	for (size_t i = 0; i < WORKERS; i++)
		if (__atomic_load_n(&workers[i].id, __ATOMIC_RELAXED) == id)
			return !has_stopped(&workers[i]);
	return false;
}

static bool is_watched(const struct ktask_stats *row)
{
	return strcmp(row->name, "serve") == 0 || strcmp(row->name, "reclaim") == 0 || is_busy_worker(row->id);
}

/* Whether each worker has stopped or has a record, and all of those sleep that have something to do:
 * one that was answered doesn't. */
static bool is_quiet_now(void)
{
	static struct ktask_stats rows[64];
	size_t n = ktask_stats(0, rows, ARRAY_SIZE(rows)), asleep = 0, busy = 0;
	struct reclaim_stats stats;

	for (size_t i = 0; i < n; i++)
		asleep += is_watched(&rows[i]) && strcmp(rows[i].state, "asleep") == 0;
	for (size_t i = 0; i < WORKERS; i++)
		busy += !has_stopped(&workers[i]);
	reclaim_get_stats(&stats);
	return asleep == 2 + busy && stats.waiting == busy;
}

/* What changes with each record that comes or is answered, and with each round of the server. */
static uint64_t moves(void)
{
	struct reclaim_stats s;

	reclaim_get_stats(&s);
	return s.sleeps + s.served + s.refused + s.rounds + s.passes[1];
}

static bool is_quiet(void)
{
	uint64_t before = moves();

	return is_quiet_now() && is_quiet_now() && moves() == before;
}

/* Whether a record holds up later ones, perhaps: those may sleep for what is free. */
static bool may_be_held_up(void)
{
	static struct shortage_row rows[2 * WORKERS];
	size_t n = shortage_rows(rows, ARRAY_SIZE(rows));

	for (size_t i = 0; i < n && i < ARRAY_SIZE(rows); i++)
		if (rows[i].passed >= PASSED_MAX)
			return true;
	return false;
}

static void complain(const struct wanted *w, const void *p)
{
	test_fail(__FILE__, __LINE__, "asleep for size %zu of %s, fit %#x, window %#lx to %#lx: %p is free", w->size,
		w->which < NODES ? arenas_stats(tree.node[w->which]).name : "a cache", w->fit,
		(unsigned long)w->min, (unsigned long)w->max, p);
}

static size_t checks; /* sleepers that were tried */

/* Tries for what the worker sleeps for; what it gets, it had no reason to sleep for, unless it or
 * another one, whose deadline came, has gone on meanwhile, or it came to be held up. */
static void check_worker(struct worker *w)
{
	/* First, so that what is read next is what it still sleeps for. */
	uint64_t before = moves();
	struct wanted wanted = w->asking;
	void *p;

	if (has_stopped(w) || !__atomic_load_n(&w->is_asking, __ATOMIC_ACQUIRE) || !is_quiet())
		return;
	checks++;
	p = ask(&wanted, MEM_ATOMIC);
	if (!p)
		return;
	if (is_quiet() && moves() == before && !may_be_held_up())
		complain(&wanted, p);
	give(&wanted, p);
}

static void check_all(void)
{
	if (may_be_held_up())
		return;
	for (size_t i = 0; i < WORKERS; i++)
		check_worker(&workers[i]);
}

/* Waits until all is quiet, or each worker has stopped. */
static void await_quiet(void)
{
	uint64_t end = port_ns() + THREADS_PATIENCE;

	while (!all_stopped() && !is_quiet() && !test_has_failed() && port_ns() < end)
		kthread_usleep(100);
	test_end_if_failed();
	CHECK(all_stopped() || port_ns() < end);
}

/* Frees a part of what is held: half, or so little that a sleeper isn't served by the next free if it was
 * forgotten by one; and all, if one has waited for so long that it may hold up others. */
static void free_some(void)
{
	size_t part = may_be_held_up() ? 1 : (size_t)2 << test_random_below(7);

	for (size_t i = 0; i < WORKERS; i++)
		for (size_t n = 0; n < SLOTS; n++)
			if (test_random_below(part) == 0)
				slot_clear(&workers[i].slot[n]);
}

static void run_round(void)
{
	__atomic_store_n(&rounds_begun, rounds_begun + 1, __ATOMIC_RELEASE);
	await_quiet();
	while (!all_stopped()) {
		check_all();
		free_some();
		await_quiet();
	}
}

/* Trees */

static struct arena *node_random(unsigned i)
{
	static const char *const names[NODES] = {"tree 0", "tree 1", "tree 2", "tree 3", "tree 4"};
	static const size_t quanta[] = {1, 1, 2, 4}, caches[] = {0, 0, 2, 4};
	size_t quantum = quanta[test_random_below(4)], qcache = caches[test_random_below(4)];

	if (i == 0)
		return arena_create(names[0], (void *)ROOT_FIRST, ROOT_IDS, 1, NULL, NULL, NULL, qcache, MEM_WAIT);
	return arena_create(names[i], NULL, 0, quantum, arena_alloc, arena_free,
		tree.node[test_random_below(i)], qcache * quantum, MEM_WAIT);
}

static void tree_begin(void)
{
	for (unsigned i = 0; i < NODES; i++)
		tree.node[i] = node_random(i);
	for (unsigned i = 0; i < CACHES; i++)
		tree.cache[i] = kmem_cache_create("tree", 1 + test_random_below(3), 0, KMC_NOTOUCH,
			tree.node[test_random_below(2)], NULL, NULL, NULL);
	memset(workers, 0, sizeof(workers));
	rounds_begun = 0;
}

static void tree_end(void)
{
	for (size_t i = 0; i < WORKERS; i++)
		for (size_t n = 0; n < SLOTS; n++)
			slot_clear(&workers[i].slot[n]);
	for (unsigned i = 0; i < CACHES; i++)
		CHECK_EQ(kmem_cache_destroy(tree.cache[i]), 0);
	for (unsigned i = NODES; i-- > 0;)
		arenas_end(tree.node[i]);
}

TEST("wait: in random trees none sleeps for what is free whenever all is quiet")
{
	checks = 0;
	rounds = 10;
	for (size_t n = 0; n < test_ops(12); n++) {
		struct threads *threads;

		tree_begin();
		threads = threads_start(THREADS_FREE, WORKERS, work, NULL);
		for (unsigned i = 0; i < rounds; i++)
			run_round();
		threads_join(threads);
		tree_end();
	}
	/* Where all is slow workers may come to an end before they were met asleep. */
	CHECK(checks > 0 || !modes_leave_fronts());
}
