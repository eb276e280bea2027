/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim: callbacks of owners, good ones and bad ones.
 */
#include "arenas.h"
#include "kept.h"
#include "kthread.h"
#include "port.h"
#include "reclaim.h"
#include "shortage.h"
#include "slab.h"
#include "sleepers.h"
#include "sync.h"
#include "lib/catch.h"
#include "lib/string.h"
#include "lib/test.h"
#include "threads.h"

static struct kmem_cache *cache_over(struct arena *a)
{
	return kmem_cache_create("owned", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
}

static bool node_of(const char *name, struct reclaim_node *node)
{
	static struct reclaim_node rows[300];
	size_t n = reclaim_nodes(rows, 300);

	for (size_t i = 0; i < n && i < 300; i++)
		if (strcmp(rows[i].name, name) == 0) {
			*node = rows[i];
			return true;
		}
	return false;
}

/* Ill-behaved */

static struct kmem_cache *own;
static struct arena *ids;
static struct qlock lock = QLOCK_INIT(lock);

static size_t sleeps(void *priv, size_t units)
{
	kthread_usleep(1);
	return 0;
}

static size_t locks(void *priv, size_t units)
{
	qlock_lock(&lock);
	qlock_unlock(&lock);
	return 0;
}

static size_t reaps_itself(void *priv, size_t units)
{
	return kmem_cache_reap(own, KMEM_REAP_ALL);
}

static size_t reaps_arena(void *priv, size_t units)
{
	return arena_reap(ids, SIZE_MAX);
}

static size_t runs_reclaim(void *priv, size_t units)
{
	return reclaim_run(1);
}

static size_t waits(void *priv, size_t units)
{
	arena_free(ids, arena_alloc(ids, 1, MEM_WAIT), 1);
	return 0;
}

static size_t waits_for_object(void *priv, size_t units)
{
	kmem_cache_free(own, kmem_cache_alloc(own, MEM_WAIT));
	return 0;
}

static const struct {
	size_t (*fn)(void *priv, size_t units);
	const char *report;
} bad[] = {
	{reaps_itself, "kmem_cache_reap in a callback of owned"},
	{reaps_arena, "arena_reap in a callback of owned"},
	{runs_reclaim, "reclaim_run in a callback of owned"},
	{waits, "owned"},
	{waits_for_object, "owned"},
	{sleeps, "owned"},
	{locks, "owned"},
};

/* The words of the thread are put right, since the panic is caught outside the callback. */
static void reap_badly(size_t (*fn)(void *priv, size_t units), const char *report)
{
	kmem_cache_set_reclaim(own, fn, NULL);
	CHECK_PANICS(kmem_cache_reap(own, KMEM_REAP_IDLE), report);
	port_thread_words()[PORT_THREAD_CALLBACK] = 0;
	port_thread_words()[PORT_THREAD_IN_RECLAIM] = 0;
}

static struct panic_catch caught;

/* In a pass, a callback runs in the ktask of reclaim. */
static size_t waits_in_pass(void *priv, size_t units)
{
	panic_catch_push(&caught);
	if (machine_setjmp(&caught.jump) == 0)
		arena_alloc(priv, 1, MEM_WAIT);
	panic_catch_pop(&caught);
	return 0;
}

TEST("reclaim: MEM_WAIT in its own ktask is reported")
{
	struct arena *other = arenas_full(1);
	struct kmem_cache *c;

	ids = arenas_full(4);
	c = cache_over(ids);
	caught.message[0] = 0;
	kmem_cache_set_reclaim(c, waits_in_pass, other);
	CHECK(!arena_alloc(ids, 1, MEM_ERROR));
	CHECK(strstr(caught.message, "MEM_WAIT in a ktask of reclaim"));
	for (uintptr_t i = 1; i <= 4; i++)
		arena_free(ids, (void *)i, 1);
	arena_free(other, (void *)1, 1);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(ids);
	arenas_end(other);
}

static bool has_looked, has_begun; /* atomic */

static size_t waits_for_look(void *priv, size_t units)
{
	uint64_t begun = port_ns();

	__atomic_store_n(&has_begun, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&has_looked, __ATOMIC_ACQUIRE) && port_ns() - begun < THREADS_PATIENCE)
		port_pause();
	return 0;
}

static void ask_without_end(struct sleeper *s)
{
	s->got = arena_alloc_timeout(s->arena, s->size, MEM_ERROR, PORT_FOREVER);
}

/* While a pass is held up. */
static void look_at_endless(void)
{
	static struct shortage_row rows[16];
	struct arena *a = arenas_full(4);
	struct kmem_cache *c = cache_over(a);
	struct sleeper s = {.arena = a, .size = 1, .ask = ask_without_end};
	size_t n, seen = 0;

	has_looked = has_begun = false;
	kmem_cache_set_reclaim(c, waits_for_look, NULL);
	sleeper_begin(&s);
	CHECK(threads_sleep_for(&has_begun));
	n = shortage_rows(rows, 16);
	for (size_t i = 0; i < n && i < 16; i++)
		seen += strcmp(rows[i].arena, "ids") == 0 && rows[i].deadline == 0;
	__atomic_store_n(&has_looked, true, __ATOMIC_RELEASE);
	CHECK_EQ(seen, 1);
	CHECK(sleeper_is_served(&s));
	CHECK(!s.got);
	sleeper_end(&s);
	for (uintptr_t i = 1; i <= 4; i++)
		arena_free(a, (void *)i, 1);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(a);
}

TEST("reclaim: a request until PORT_FOREVER sleeps without a deadline, for a pass")
{
	if (port_core_count() > 1)
		look_at_endless();
}

TEST("reclaim: a callback that sleeps, waits for memory, reaps or runs reclaim panics")
{
	void *all;

	ids = arenas_ids(1, 256);
	own = cache_over(ids);
	/* A request that something free could serve is only checked in a debug build. */
	all = arena_alloc(ids, 256, MEM_ATOMIC);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		reap_badly(bad[i].fn, bad[i].report);
	kmem_cache_set_reclaim(own, NULL, NULL);
	arena_free(ids, all, 256);
	CHECK_EQ(kmem_cache_destroy(own), 0);
	arenas_end(ids);
}

/* Useless */

static size_t asked;

static size_t gives_nothing(void *priv, size_t units)
{
	__atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED);
	return 0;
}

static size_t boasts(void *priv, size_t units)
{
	__atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED);
	return units;
}

/* The sleeper is served by what another cache holds idle, whatever the first one's owner does. */
static void serve_beside(size_t (*fn)(void *priv, size_t units))
{
	struct arena *a = arenas_ids(1, 64);
	struct kmem_cache *first = cache_over(a), *second = cache_over(a);
	void *p;

	asked = 0;
	kmem_cache_set_reclaim(first, fn, NULL);
	kmem_cache_free(second, kmem_cache_alloc(second, MEM_ATOMIC));
	CHECK_EQ(arena_amt_free(a), 0);
	p = arena_alloc(a, 1, MEM_WAIT);
	CHECK_LT(0, asked);
	arena_free(a, p, 1);
	CHECK_EQ(kmem_cache_destroy(first), 0);
	CHECK_EQ(kmem_cache_destroy(second), 0);
	arenas_end(a);
}

TEST("reclaim: a callback that frees nothing leaves the request to others, in any case")
{
	serve_beside(gives_nothing);
	serve_beside(boasts);
}

static size_t frees_there(void *priv, size_t units)
{
	struct sleeper *s = priv;

	if (!s->arg)
		return 0;
	arena_free(ids, s->arg, 1);
	s->arg = NULL;
	return 1;
}

TEST("reclaim: a callback may free into another arena, whose requests that serves")
{
	struct arena *a = arenas_ids(1, 1);
	struct kmem_cache *c = cache_over(a);
	struct sleeper s = {.size = 1};
	void *all = arena_alloc(a, 1, MEM_ATOMIC);

	ids = arenas_ids(1, 1);
	s.arena = ids;
	s.arg = arena_alloc(ids, 1, MEM_ATOMIC);
	kmem_cache_set_reclaim(c, frees_there, &s);
	sleeper_start(&s, 1);
	CHECK(!arena_alloc(a, 1, MEM_ERROR));
	CHECK(sleeper_is_served(&s));
	sleeper_end(&s);
	arena_free(a, all, 1);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(ids);
	arenas_end(a);
}

/* Slow */

#define SLOW_NS 1000000000ull

static bool is_spinning, may_end;

/* A second at least, and until the test has seen what it wants. */
static size_t spins(void *priv, size_t units)
{
	uint64_t begun = port_ns();

	__atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&is_spinning, true, __ATOMIC_RELEASE);
	while (port_ns() - begun < SLOW_NS ||
		(!__atomic_load_n(&may_end, __ATOMIC_ACQUIRE) && port_ns() - begun < THREADS_PATIENCE))
		port_pause();
	return 0;
}

static bool is_skipped(void)
{
	struct reclaim_node n;

	return node_of("owned", &n) && n.is_skipped;
}

static void await_skipped(void)
{
	uint64_t end = port_ns() + THREADS_PATIENCE;

	while (!is_skipped() && port_ns() < end)
		kthread_usleep(1000);
	CHECK(is_skipped());
}

static void slow_owner(void)
{
	struct arena *a = arenas_ids(1, 64), *b = arenas_full(1);
	struct kmem_cache *c = cache_over(a);
	void *all = arena_alloc(a, 64, MEM_ATOMIC);
	struct sleeper s = {.arena = a, .size = 1}, other = {.arena = b, .size = 1};
	struct reclaim_node n;
	const char *said;

	asked = 0;
	is_spinning = may_end = false;
	kmem_cache_set_reclaim(c, spins, NULL);
	kept_begin();
	sleeper_start(&s, 1);
	CHECK(threads_sleep_for(&is_spinning));
	sleeper_start(&other, 1);
	arena_free(b, (void *)1, 1);
	CHECK(sleeper_is_served(&other));
	__atomic_store_n(&may_end, true, __ATOMIC_RELEASE);
	await_skipped();
	CHECK(node_of("owned", &n));
	CHECK(n.has_owner);
	CHECK_EQ(n.slow, 1);
	/* Passes go on without it. */
	CHECK(!arena_alloc(a, 1, MEM_ERROR));
	CHECK_EQ(asked, 1);
	said = kept_end();
	test_check_contains(__FILE__, __LINE__, "what it said", said, "reclaim: the callback of owned took ");
	test_check_contains(__FILE__, __LINE__, "what it said", said, " ms; it is left out for 10 s\n");
	arena_free(a, all, 64);
	sleeper_end(&s);
	sleeper_end(&other);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(b);
	arenas_end(a);
}

TEST("reclaim: a slow callback is left out for a while, others are still served")
{
	if (port_core_count() > 1)
		slow_owner();
}

/* Destroyed while a pass stands on it */

static size_t holds_up(void *priv, size_t units)
{
	__atomic_store_n(&is_spinning, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&may_end, __ATOMIC_ACQUIRE))
		port_pause();
	/* Here nothing shows that destroy waits but that it hasn't returned. */
	*(bool *)priv = true;
	return 0;
}

struct ending {
	struct kmem_cache *cache;
	struct arena *arena;
	bool has_left, began, ended; /* the callback; destroy */
};

static void destroy_under_pass(unsigned i, void *arg)
{
	struct ending *e = arg;

	if (i == 0) {
		reclaim_run(RECLAIM_LEVELS);
	} else if (i == 1) {
		threads_await(&is_spinning);
		__atomic_store_n(&e->began, true, __ATOMIC_RELEASE);
		CHECK_EQ(e->cache ? kmem_cache_destroy(e->cache) : arena_destroy(e->arena), 0);
		CHECK(e->has_left);
		__atomic_store_n(&e->ended, true, __ATOMIC_RELEASE);
	} else {
		threads_await(&e->began);
		kthread_usleep(5000);
		CHECK(!__atomic_load_n(&e->ended, __ATOMIC_ACQUIRE));
		__atomic_store_n(&may_end, true, __ATOMIC_RELEASE);
	}
}

TEST("reclaim: what a pass stands on is destroyed when the pass has left it")
{
	struct arena *a = arenas_ids(1, 64), *b = arenas_importer("b", a, 1);
	struct ending first = {.cache = cache_over(a)}, second = {.arena = b};

	if (port_core_count() < 3) {
		CHECK_EQ(kmem_cache_destroy(first.cache), 0);
		arenas_end(b);
	} else {
		is_spinning = may_end = false;
		kmem_cache_set_reclaim(first.cache, holds_up, &first.has_left);
		threads_run(THREADS_PINNED, 3, destroy_under_pass, &first);
		is_spinning = may_end = false;
		arena_set_reclaim(b, holds_up, &second.has_left);
		threads_run(THREADS_PINNED, 3, destroy_under_pass, &second);
	}
	arenas_end(a);
}
