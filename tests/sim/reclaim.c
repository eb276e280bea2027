/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim, and the ends of arenas and caches, under simulated schedules.
 */
#include "arena.h"
#include "kthread.h"
#include "port.h"
#include "reclaim.h"
#include "shortage.h"
#include "sim/sim.h"
#include "sink.h"
#include "slab.h"
#include "sync.h"
#include "unit/arenas.h"
#include "unit/threads.h"
#include "lib/string.h"
#include "lib/test.h"

#define THREADS 4
#define ROUNDS ((unsigned)test_ops(6))
#define OBJECTS 16
#define IDLE_MAX 200000000 /* nanoseconds: reclaim may pause after a pass that gave little */
#define SLAB 64 /* numbers in a slab of them */
#define UNITS (SLAB + 16)

static struct arena *ids, *importer;
static struct kmem_cache *cache;

static void objects(unsigned i, void *arg)
{
	void *p[OBJECTS];

	for (unsigned n = 0; n < ROUNDS; n++) {
		size_t wanted = 1 + test_random_below(OBJECTS / 2);

		for (size_t at = 0; at < wanted; at++)
			p[at] = kmem_cache_alloc(cache, MEM_WAIT);
		if (test_random_below(2))
			kthread_yield();
		for (size_t at = 0; at < wanted; at++)
			kmem_cache_free(cache, p[at]);
	}
}

/* Half of the threads draw on the source of the other's cache: what that keeps idle must come back. */
static void compete(unsigned i, void *arg)
{
	if (i % 2) {
		objects(i, arg);
		return;
	}
	for (unsigned n = 0; n < ROUNDS; n++) {
		size_t size = 1 + test_random_below(UNITS / 2);
		void *p = arena_alloc(ids, size, MEM_WAIT);

		if (test_random_below(2))
			kthread_yield();
		arena_free(ids, p, size);
	}
}

static void poke(void)
{
	reclaim_poke();
}

TEST("sim: reclaim: what a cache keeps idle serves requests of its source")
{
	ids = arenas_ids(1, UNITS);
	cache = kmem_cache_create("sim", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	sim_begin();
	sim_set_interrupt(poke);
	sim_set_nmi(poke);
	threads_run(THREADS_FREE, THREADS, compete, NULL);
	CHECK_LT(sim_longest_idle(), IDLE_MAX);
	sim_end();
	CHECK_EQ(shortage_check(&console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	CHECK_EQ(arena_amt_free(ids), UNITS);
	arenas_end(ids);
}

/* After a rest no poke is left over, and the reclaim ktask sleeps without a deadline. */
#define REST_US 50000

static void pokes(unsigned i, void *arg)
{
	for (int n = 0; n < 4; n++)
		reclaim_poke();
}

static void after_rest(unsigned i, void *arg)
{
	void *p;

	kthread_usleep(REST_US);
	if (i > 0) {
		pokes(i, arg);
		return;
	}
	p = kmem_cache_alloc(cache, MEM_WAIT);
	kmem_cache_free(cache, p);
	/* It is the cache that has to give back. */
	p = arena_alloc(ids, UNITS, MEM_WAIT);
	sim_scribble();
	arena_free(ids, p, UNITS);
}

TEST("sim: reclaim: a request after a rest has a pass, and rounds end")
{
	ids = arenas_ids(1, UNITS);
	cache = kmem_cache_create("sim", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	sim_begin();
	for (int n = 0; n < 3; n++) {
		threads_run(THREADS_FREE, 3, after_rest, NULL);
		/* It waits for the ktask's own pass, and that for the server. */
		reclaim_run(1);
	}
	sim_end();
	CHECK_EQ(shortage_check(&console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	CHECK_EQ(arena_amt_free(ids), UNITS);
	arenas_end(ids);
}

/* Passes over another root are no passes for a request of this one, whose cache has all idle. */
static struct arena *other;
static struct semaphore go;

static void want_other(void)
{
	sem_down(&go, 1);
	for (int k = 0; k < 3; k++)
		CHECK(!arena_alloc(other, UNITS, MEM_ERROR));
}

static void want_one_each(unsigned i, void *arg)
{
	for (unsigned n = 0; n < 2 * ROUNDS; n++) {
		void *p;

		if (i > 0) {
			want_other();
			continue;
		}
		/* Until it isn't short any more: then a cache keeps an empty slab. */
		kthread_usleep(REST_US);
		kmem_cache_free(cache, kmem_cache_alloc(cache, MEM_WAIT));
		sem_up(&go, 1);
		p = arena_alloc(ids, UNITS, MEM_ERROR);
		CHECK(p);
		arena_free(ids, p, UNITS);
	}
}

TEST("sim: reclaim: a request is refused only after a pass that was for it")
{
	struct kmem_cache *hope;
	void *p;

	ids = arenas_ids(1, UNITS);
	cache = kmem_cache_create("sim", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	other = arenas_ids(1, UNITS);
	hope = kmem_cache_create("hope", 1, 0, KMC_NOTOUCH, other, NULL, NULL, NULL);
	p = kmem_cache_alloc(hope, MEM_ATOMIC);
	sem_init(&go, 0);
	sim_begin();
	threads_run(THREADS_FREE, 2, want_one_each, NULL);
	sim_end();
	kmem_cache_free(hope, p);
	CHECK_EQ(kmem_cache_destroy(hope), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	arenas_end(other);
	arenas_end(ids);
}

/* Passes over the tree of `ids` while others end what is above it: each request that can't be served has one. */
#define TOTAL (2 * SLAB + 1)

static bool busy; /* atomic */

/* Not for ever: what waits for passes to leave looks at times, which all might be wrong ones. */
static void ask_for_passes(void)
{
	for (unsigned n = 0; n < 30 * ROUNDS && __atomic_load_n(&busy, __ATOMIC_ACQUIRE); n++) {
		CHECK(!arena_alloc(ids, TOTAL, MEM_ERROR));
		sim_scribble();
	}
}

static void ask_or_call(unsigned i, void *arg)
{
	void (**fn)(void) = arg;

	if (i == 0) {
		ask_for_passes();
		return;
	}
	(*fn)();
	__atomic_store_n(&busy, false, __ATOMIC_RELEASE);
}

static void under_passes(void (*fn)(void))
{
	void *p;

	ids = arenas_ids(1, TOTAL);
	/* With it a request may hope. */
	cache = kmem_cache_create("sim", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	p = arena_alloc(ids, 1, MEM_ATOMIC);
	busy = true;
	sim_begin();
	threads_run(THREADS_FREE, 2, ask_or_call, &fn);
	sim_end();
	arena_free(ids, p, 1);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	arenas_end(ids);
}

static void caches_come_and_go(void)
{
	for (unsigned n = 0; n < 4 * ROUNDS; n++) {
		struct kmem_cache *c = kmem_cache_create("c", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);

		kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
		CHECK_EQ(kmem_cache_destroy(c), 0);
	}
}

TEST("sim: reclaim: caches end while passes come to them")
{
	under_passes(caches_come_and_go);
}

/* What an owner takes for a while is in a pass's hands: nothing that keeps the arena. */
static bool is_asked; /* atomic */

static size_t take_for_a_while(void *priv, size_t units)
{
	void *p = arena_alloc(importer, 1, MEM_ATOMIC);

	__atomic_store_n(&is_asked, true, __ATOMIC_RELEASE);
	for (uint64_t pauses = 1 + port_ticks() % 16; pauses > 0; pauses--)
		port_pause();
	if (p)
		arena_free(importer, p, 1);
	return 0;
}

static void free_and_end(unsigned i, void *arg)
{
	if (i == 0) {
		void *p = arena_alloc(ids, TOTAL, MEM_ERROR);

		if (p)
			arena_free(ids, p, TOTAL);
		__atomic_store_n(&busy, false, __ATOMIC_RELEASE);
		return;
	}
	while (!__atomic_load_n(&is_asked, __ATOMIC_ACQUIRE) && __atomic_load_n(&busy, __ATOMIC_ACQUIRE))
		kthread_yield();
	arena_free(importer, arg, 1);
	CHECK_EQ(arena_destroy(importer), 0);
}

static void importer_ends_in_pass(void)
{
	importer = arenas_importer("importer", ids, 1);
	arena_set_reclaim(importer, take_for_a_while, NULL);
	busy = true;
	is_asked = false;
	threads_run(THREADS_FREE, 2, free_and_end, arena_alloc(importer, 1, MEM_ATOMIC));
}

TEST("sim: reclaim: arenas end, whatever a pass has in its hands")
{
	ids = arenas_ids(1, TOTAL);
	sim_begin();
	for (unsigned n = 0; n < 2 * ROUNDS; n++)
		importer_ends_in_pass();
	sim_end();
	arenas_end(ids);
}

/* Nothing may use the memory of a base that has ended. */
#define BASE_PAGES 16
#define SCRIBBLE 0xa5

static char storage[ARENA_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));
static struct arena *base;

static void end_both(unsigned i, void *arg)
{
	char *memory = arg;

	if (i == 0) {
		CHECK_EQ(__arena_destroy((struct arena *)storage), 0);
		return;
	}
	while (arena_destroy(base) != 0)
		kthread_yield();
	memset(memory, SCRIBBLE, BASE_PAGES * PORT_PAGE_SIZE);
}

TEST("sim: reclaim: a base ends after what is above it")
{
	size_t size = BASE_PAGES * PORT_PAGE_SIZE;
	char *memory = base_alloc(NULL, size, MEM_WAIT);

	sim_begin();
	for (int n = 0; n < 4; n++) {
		struct arena *a;
		void *p;

		base = arena_create_base("base", memory, size);
		a = __arena_create((struct arena *)storage, "above", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free, base, 0,
			MEM_WAIT);
		p = arena_alloc(a, PORT_PAGE_SIZE, MEM_WAIT);
		arena_free(a, p, PORT_PAGE_SIZE);
		threads_run(THREADS_FREE, 2, end_both, memory);
	}
	sim_end();
	base_free(NULL, memory, size);
}

/* So long an arena is short after the last request for it. */
#define LINGER_NS 10000000

static struct rendez quiet;

static bool never(void *arg)
{
	return false;
}

static void sleep_until(uint64_t deadline)
{
	rendez_sleep_timeout(&quiet, never, NULL, deadline);
}

/* The marks of all arenas beneath a request end at once. */
#define DEPTH 6

static struct arena *chain[DEPTH];

static void want_or_free(unsigned i, void *arg)
{
	struct arena *a = chain[DEPTH - 1];

	arena_free(a, i == 0 ? arena_alloc(a, 1, MEM_WAIT) : arg, 1);
}

static void chain_ends(void)
{
	struct arena *a = chain[0] = arenas_ids(1, 1);

	for (int i = 1; i < DEPTH; i++)
		a = chain[i] = arenas_importer("above", a, 1);
	threads_run(THREADS_FREE, 2, want_or_free, arena_alloc(a, 1, MEM_ATOMIC));
	/* The lingering has begun a while before. */
	sleep_until(port_ns() + LINGER_NS - (sim_soon() - port_ns()));
	for (int i = DEPTH; i > 0; i--)
		CHECK_EQ(arena_destroy(chain[i - 1]), 0);
	CHECK_EQ(shortage_check(&console_sink), 0);
}

TEST("sim: reclaim: arenas end just when they are short no longer")
{
	rendez_init(&quiet);
	sim_begin();
	for (unsigned n = 0; n < ROUNDS; n++)
		chain_ends();
	sim_end();
}

static void run_and_walk(unsigned i, void *arg)
{
	if (i == 0)
		for (int n = 0; n < 2; n++)
			reclaim_run(1 + (unsigned)test_random_below(3));
	else if (i == 1)
		for (struct arena *a = arena_next(NULL); a; a = arena_next(a))
			(void)arena_amt_free(a);
	else if (i == 2)
		for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
			kthread_yield();
}

/* Makes a tree, uses it and ends it, again and again. */
static void trees(unsigned i, void *arg)
{
	if (i < 3) {
		run_and_walk(i, arg);
		return;
	}
	for (int n = 0; n < 3; n++) {
		struct arena *a = arenas_ids(1, SLAB), *b = arenas_importer("b", a, 1);
		struct kmem_cache *c = kmem_cache_create("c", 1, 0, KMC_NOTOUCH, b, NULL, NULL, NULL);
		void *p = kmem_cache_alloc(c, MEM_WAIT);

		CHECK_EQ(arena_destroy(b), -EBUSY);
		kmem_cache_free(c, p);
		while (kmem_cache_destroy(c) != 0)
			kthread_yield();
		while (arena_destroy(b) != 0)
			kthread_yield();
		while (arena_destroy(a) != 0)
			kthread_yield();
	}
}

TEST("sim: reclaim: passes and walks don't stand on what has ended")
{
	sim_begin();
	threads_run(THREADS_FREE, THREADS, trees, NULL);
	sim_end();
}
