/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Allocations that sleep.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "port.h"
#include "shortage.h"
#include "slab.h"
#include "sleepers.h"
#include "lib/test.h"
#include "threads.h"

#define MS 1000000ull /* nanoseconds */

/* Starts one that wants `size`, and waits until `waiting` sleep. */
static void start(struct sleeper *s, struct arena *a, size_t size, size_t waiting)
{
	*s = (struct sleeper){.arena = a, .size = size};
	sleeper_start(s, waiting);
}

TEST("wait: a free serves a request that sleeps")
{
	struct arena *a = arenas_ids(1, 3);
	void *p = arena_alloc(a, 3, MEM_ATOMIC);
	struct sleeper s;

	start(&s, a, 2, 1);
	CHECK(!sleeper_is_done(&s));
	arena_free(a, p, 3);
	sleeper_end(&s);
	CHECK_EQ(arenas_stats(a).waits_served, 1);
	CHECK_EQ(arenas_stats(a).wakeups, 1);
	CHECK_EQ(arenas_stats(a).waiting, 0);
	arenas_end(a);
}

TEST("wait: an atomic request takes what is free while others wait for more")
{
	struct arena *a = arenas_full(3);
	struct sleeper s;
	void *p;

	start(&s, a, 2, 1);
	arena_free(a, (void *)1, 1);
	p = arena_alloc(a, 1, MEM_ATOMIC);
	CHECK_EQ((uintptr_t)p, 1);
	arena_free(a, (void *)2, 1);
	arena_free(a, (void *)3, 1);
	sleeper_end(&s);
	arena_free(a, p, 1);
	arenas_end(a);
}

TEST("wait: a free in the source, however far down, serves a request in an importer")
{
	struct arena *a = arenas_ids(16, 64), *b = arenas_importer("b", a, 4);
	struct arena *c = arenas_importer("c", b, 1);
	void *p = arena_alloc(a, 64, MEM_ATOMIC);
	struct sleeper s;

	start(&s, c, 3, 1);
	arena_free(a, p, 64);
	sleeper_end(&s);
	arenas_end(c);
	arenas_end(b);
	arenas_end(a);
}

TEST("wait: a span that another importer would have retained serves a sleeper")
{
	struct arena *a = arenas_ids(16, 16), *b = arenas_importer("b", a, 1);
	struct arena *c = arenas_importer("c", a, 1);
	void *p = arena_alloc(b, 16, MEM_ATOMIC);
	struct sleeper s;

	start(&s, c, 5, 1);
	arena_free(b, p, 16);
	sleeper_end(&s);
	arenas_end(c);
	arenas_end(b);
	arenas_end(a);
}

#define ABOVE 6 /* arenas, half of them over each of two */

/* `k` wants what is freed first; the others want more. */
static void one_of_many(struct arena *source, struct arena *const above[ABOVE], size_t k)
{
	struct sleeper s[ABOVE];
	void *little = arena_alloc(source, 10, MEM_ATOMIC), *wall = arena_alloc(source, 1, MEM_ATOMIC);
	void *rest = arena_alloc(source, 600, MEM_ATOMIC);

	for (size_t i = 0; i < ABOVE; i++)
		start(&s[i], above[i], i == k ? 10 : 50, 1);
	arena_free(source, little, 10);
	threads_await_waiting(above[k], 0);
	for (size_t i = 0; i < ABOVE; i++)
		CHECK_EQ(arenas_stats(above[i]).waiting, i != k);
	arena_free(source, rest, 600);
	for (size_t i = 0; i < ABOVE; i++)
		sleeper_end(&s[i]);
	arena_free(source, wall, 1);
	for (size_t i = 0; i < ABOVE; i++)
		arena_reap(above[i], SIZE_MAX);
}

TEST("wait: a free finds the one it can serve among many asleep at all levels above")
{
	struct arena *source = arenas_ids(1, 611), *above[ABOVE], *between[2];

	for (size_t i = 0; i < 2; i++)
		between[i] = arenas_importer("between", source, 1);
	for (size_t i = 0; i < ABOVE; i++)
		above[i] = arenas_importer("above", between[i % 2], 1);
	for (size_t n = 0; n < 4 * ABOVE; n++) {
		one_of_many(source, above, n * 5 % ABOVE);
		for (size_t i = 0; i < 2; i++)
			arena_reap(between[i], SIZE_MAX);
	}
	for (size_t i = 0; i < ABOVE; i++)
		arenas_end(above[i]);
	arenas_end(between[0]);
	arenas_end(between[1]);
	arenas_end(source);
}

/* A self-sourced arena that can make itself one span at a time. */
static bool span_out;

static void *span_make(struct arena *self, size_t size, unsigned flags)
{
	return __atomic_exchange_n(&span_out, true, __ATOMIC_ACQ_REL) ? NULL : (void *)4096;
}

static void span_unmake(struct arena *self, void *addr, size_t size)
{
	__atomic_store_n(&span_out, false, __ATOMIC_RELEASE);
}

TEST("wait: a span that a self-sourced arena unmakes serves a request for a new one")
{
	struct arena *a = arena_create(
		"self", NULL, 0, 16, span_make, span_unmake, ARENA_SELF_SOURCE, 0, MEM_WAIT);
	void *p = arena_alloc(a, 16, MEM_ATOMIC);
	struct sleeper s;

	CHECK_NE((uintptr_t)p, 0);
	start(&s, a, 32, 1);
	arena_free(a, p, 16);
	CHECK(sleeper_is_served(&s));
	sleeper_end(&s);
	arenas_end(a);
}

TEST("wait: what is added serves a request that sleeps")
{
	struct arena *a = arenas_full(1);
	struct sleeper s;

	start(&s, a, 10, 1);
	CHECK_EQ(arena_add(a, (void *)100, 10, MEM_WAIT), 0);
	sleeper_end(&s);
	arena_free(a, (void *)1, 1);
	arenas_end(a);
}

static void ask_without_end(struct sleeper *s)
{
	s->got = arena_alloc_timeout(s->arena, s->size, MEM_ERROR, PORT_FOREVER);
}

TEST("wait: a deadline that never comes is none, and the request says so")
{
	struct arena *a = arenas_full(2);
	struct sleeper s = {.arena = a, .size = 1, .ask = ask_without_end};
	static struct shortage_row rows[16];
	size_t n;

	/* So that no pass of reclaim ends it. */
	arena_set_reclaim(a, NULL, NULL);
	sleeper_begin(&s);
	n = shortage_rows(rows, 16);
	for (size_t i = 0; i < n && i < 16; i++)
		CHECK_EQ(rows[i].deadline, 0);
	CHECK(sleeper_is_served(&s));
	CHECK(s.got == NULL);
	CHECK_EQ(arenas_stats(a).failures, 1);
	sleeper_end(&s);
	arena_free(a, (void *)1, 1);
	arena_free(a, (void *)2, 1);
	arenas_end(a);
}

static void *nothing_make(struct arena *self, size_t size, unsigned flags)
{
	return NULL;
}

TEST("wait: no amount is too large for an arena that makes its own spans")
{
	struct arena *self = arena_create("self", NULL, 0, 16, nothing_make, span_unmake, ARENA_SELF_SOURCE, 0, MEM_WAIT);
	struct arena *above = arenas_importer("above", self, 16);

	CHECK(!arena_alloc(above, (size_t)1 << 40, MEM_ERROR));
	CHECK(!arena_xalloc(above, (size_t)1 << 40, 64, 0, 0, 0, 0, MEM_ERROR));
	CHECK(!arena_alloc_timeout(above, (size_t)1 << 40, MEM_ERROR, port_ns() + MS));
	CHECK_EQ(arenas_stats(above).failures, 3);
	arenas_end(above);
	arenas_end(self);
}

TEST("wait: at the deadline it is NULL and leaves nothing behind")
{
	struct arena *a = arenas_full(2);
	uint64_t before = port_ns();

	CHECK_EQ((uintptr_t)arena_alloc_timeout(a, 1, MEM_ERROR, before + 3 * MS), 0);
	CHECK_LE(before + 3 * MS, port_ns());
	CHECK_EQ(arenas_stats(a).waiting, 0);
	CHECK_EQ(arenas_stats(a).sleeps, 1);
	arena_free(a, (void *)1, 1);
	CHECK_EQ((uintptr_t)arena_alloc_timeout(a, 1, MEM_ERROR, before), 1);
	CHECK_PANICS(arena_alloc_timeout(a, 1, MEM_WAIT, before), "deadline is for MEM_ERROR");
	arena_free(a, (void *)1, 1);
	arena_free(a, (void *)2, 1);
	arenas_end(a);
}

/* Caches and fronts */

static struct arena *fronted(struct arena *source, size_t quantum, size_t quanta)
{
	return arena_create("fronted", NULL, 0, quantum, arena_alloc, arena_free, source, quanta * quantum,
		MEM_WAIT);
}

TEST("wait: a free into a front's magazine serves a request that sleeps in the arena")
{
	struct arena *a = arenas_ids(16, 64), *b = fronted(a, 1, 4);
	struct sleeper s;
	void *p[16];
	size_t n = 0;

	while (n < 16 && (p[n] = arena_alloc(b, 4, MEM_ATOMIC)))
		n++;
	CHECK_EQ(n, 16);
	start(&s, b, 3, 1);
	arena_free(b, p[--n], 4);
	sleeper_end(&s);
	while (n > 0)
		arena_free(b, p[--n], 4);
	arenas_end(b);
	arenas_end(a);
}

/* A source that has room for one slab of the cache. */
static struct arena *one_slab(struct kmem_cache **c, const char *name, size_t size, void **rest)
{
	struct arena *a = arenas_ids(64, 65536);
	struct kmem_cache_stats s;

	*c = kmem_cache_create(name, size, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
	kmem_cache_get_stats(*c, &s);
	*rest = arena_alloc(a, 65536 - s.slab_size, MEM_ATOMIC);
	CHECK_NE((uintptr_t)*rest, 0);
	return a;
}

TEST("wait: a request for an object is served by a freed one, or a free in the source")
{
	struct kmem_cache *c;
	void *objects[512], *rest;
	struct arena *a = one_slab(&c, "waited", 8, &rest);
	struct sleeper s = {.arena = a, .cache = c};
	size_t slab = arena_amt_free(a), n = 0;

	while (n < 512 && (objects[n] = kmem_cache_alloc(c, MEM_ATOMIC)))
		n++;
	CHECK_LT(0, n);
	sleeper_start(&s, 1);
	kmem_cache_free(c, objects[--n]);
	sleeper_end(&s);
	while (n > 0)
		kmem_cache_free(c, objects[--n]);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_EQ(arena_amt_free(a), slab);
	objects[0] = arena_alloc(a, slab, MEM_ATOMIC);
	sleeper_start(&s, 1);
	arena_free(a, objects[0], slab);
	sleeper_end(&s);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arena_free(a, rest, 65536 - slab);
	arenas_end(a);
}

