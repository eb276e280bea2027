/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Allocations that sleep.
 */
#include "arena.h"
#include "kthread.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"
#include "threads.h"

#define MS 1000000ull /* nanoseconds */

static struct arena *ids(uintptr_t first, size_t count)
{
	return arena_create("ids", (void *)first, count, 1, NULL, NULL, NULL, 0, MEM_WAIT);
}

static struct arena *importer(const char *name, struct arena *source, size_t quantum)
{
	return arena_create(name, NULL, 0, quantum, arena_alloc, arena_free, source, 0, MEM_WAIT);
}

static struct arena_stats stats(struct arena *a)
{
	struct arena_stats s;

	arena_get_stats(a, &s);
	return s;
}

static void destroy(struct arena *a)
{
	CHECK_EQ(arena_check(a, &console_sink), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

/* A ktask that wants `size` and says when it got it. */
struct sleeper {
	struct arena *arena;
	size_t size;
	struct ktask *task;
	void *got;
	size_t turn; /* which it was to be served, from 1 */
};

static size_t turns;

static void sleeper_run(void *arg)
{
	struct sleeper *s = arg;

	s->got = arena_alloc(s->arena, s->size, MEM_WAIT);
	__atomic_store_n(&s->turn, __atomic_add_fetch(&turns, 1, __ATOMIC_RELAXED), __ATOMIC_RELEASE);
}

static size_t turn_of(struct sleeper *s)
{
	return __atomic_load_n(&s->turn, __ATOMIC_ACQUIRE);
}

/* Starts it and waits until it sleeps, `waiting` of them then. */
static void sleeper_start(struct sleeper *s, struct arena *a, size_t size, size_t waiting)
{
	if (waiting == 1)
		turns = 0;
	*s = (struct sleeper){.arena = a, .size = size};
	s->task = ktask("sleeper", sleeper_run, s);
	CHECK(s->task != NULL);
	threads_await_waiting(a, waiting);
}

static void sleeper_end(struct sleeper *s)
{
	ktask_join(s->task);
	CHECK_NE((uintptr_t)s->got, 0);
	arena_free(s->arena, s->got, s->size);
}

TEST("wait: a free serves who sleeps")
{
	struct arena *a = ids(1, 3);
	void *p = arena_alloc(a, 3, MEM_ATOMIC);
	struct sleeper s;

	sleeper_start(&s, a, 2, 1);
	CHECK_EQ(turn_of(&s), 0);
	arena_free(a, p, 3);
	sleeper_end(&s);
	CHECK_EQ(stats(a).waits_served, 1);
	CHECK_EQ(stats(a).wakeups, 1);
	CHECK_EQ(stats(a).waiting, 0);
	destroy(a);
}

/* Integers 1 .. n, each taken by itself. */
static struct arena *full(size_t n)
{
	struct arena *a = ids(1, n);

	for (size_t i = 1; i <= n; i++)
		CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ATOMIC | ARENA_BESTFIT), i);
	return a;
}

TEST("wait: the smallest is served first, whoever came first")
{
	struct arena *a = full(6);
	struct sleeper s[3];

	for (size_t i = 0; i < 3; i++)
		sleeper_start(&s[i], a, 3 - i, i + 1);
	for (uintptr_t id = 1; id <= 6; id++)
		arena_free(a, (void *)id, 1);
	for (size_t i = 0; i < 3; i++)
		ktask_join(s[i].task);
	/* Each takes what is lowest, so this says who came before whom. */
	for (size_t i = 0; i < 3; i++) {
		static const uintptr_t at[] = {4, 2, 1};

		CHECK_EQ((uintptr_t)s[i].got, at[i]);
		arena_free(a, s[i].got, s[i].size);
	}
	destroy(a);
}

TEST("wait: equals are served in the order they came, and nobody overtakes")
{
	struct arena *a = full(1);
	struct sleeper s[8];

	for (size_t i = 0; i < 8; i++)
		sleeper_start(&s[i], a, 1, i + 1);
	arena_free(a, (void *)1, 1);
	for (size_t i = 0; i < 8; i++) {
		ktask_join(s[i].task);
		CHECK_EQ(turn_of(&s[i]), i + 1);
		arena_free(a, s[i].got, 1);
	}
	CHECK_EQ(stats(a).wakeups, 8);
	destroy(a);
}

#define CROWD 70

/* One that wants two stands behind small ones that came later, but not behind all of them. */
TEST("wait: who was passed over 64 times is the next")
{
	static struct sleeper small[CROWD];
	struct arena *a = full(2 * CROWD + 2);
	struct sleeper big;
	size_t served = 0;

	sleeper_start(&big, a, 2, 1);
	for (size_t i = 0; i < CROWD; i++)
		sleeper_start(&small[i], a, 1, i + 2);
	for (; served < 64; served++) {
		arena_free(a, (void *)(uintptr_t)(2 * served + 1), 1);
		threads_await_waiting(a, CROWD - served);
	}
	CHECK_EQ(turn_of(&big), 0);
	arena_free(a, (void *)129, 1);
	kthread_usleep(2000);
	CHECK_EQ(stats(a).waiting, CROWD - 64 + 1);
	arena_free(a, (void *)130, 1);
	threads_await_waiting(a, CROWD - 64);
	CHECK_EQ(turn_of(&big), 65);
	for (; served < CROWD; served++)
		arena_free(a, (void *)(uintptr_t)(2 * served + 3), 1);
	sleeper_end(&big);
	for (size_t i = 0; i < CROWD; i++)
		sleeper_end(&small[i]);
	for (size_t i = 0; i < CROWD; i++)
		arena_free(a, (void *)(uintptr_t)(2 * i + (i < 64 ? 2 : 4)), 1);
	destroy(a);
}

TEST("wait: an atomic request takes what is free while others wait for more")
{
	struct arena *a = full(3);
	struct sleeper s;
	void *p;

	sleeper_start(&s, a, 2, 1);
	arena_free(a, (void *)1, 1);
	p = arena_alloc(a, 1, MEM_ATOMIC);
	CHECK_EQ((uintptr_t)p, 1);
	arena_free(a, (void *)2, 1);
	arena_free(a, (void *)3, 1);
	sleeper_end(&s);
	arena_free(a, p, 1);
	destroy(a);
}

TEST("wait: a free in the source, however far down, serves who waits in an importer")
{
	struct arena *a = ids(16, 64), *b = importer("b", a, 4), *c = importer("c", b, 1);
	void *p = arena_alloc(a, 64, MEM_ATOMIC);
	struct sleeper s;

	sleeper_start(&s, c, 3, 1);
	arena_free(a, p, 64);
	sleeper_end(&s);
	destroy(c);
	destroy(b);
	destroy(a);
}

TEST("wait: a span that another importer would have retained goes to who waits")
{
	struct arena *a = ids(16, 16), *b = importer("b", a, 1), *c = importer("c", a, 1);
	void *p = arena_alloc(b, 16, MEM_ATOMIC);
	struct sleeper s;

	sleeper_start(&s, c, 5, 1);
	arena_free(b, p, 16);
	sleeper_end(&s);
	destroy(c);
	destroy(b);
	destroy(a);
}

#define ABOVE 6 /* arenas, half of them over each of two */

/* `k` wants what is freed first; the others want more. */
static void one_of_many(struct arena *source, struct arena *const above[ABOVE], size_t k)
{
	struct sleeper s[ABOVE];
	void *little = arena_alloc(source, 10, MEM_ATOMIC), *wall = arena_alloc(source, 1, MEM_ATOMIC);
	void *rest = arena_alloc(source, 600, MEM_ATOMIC);

	for (size_t i = 0; i < ABOVE; i++)
		sleeper_start(&s[i], above[i], i == k ? 10 : 50, 1);
	arena_free(source, little, 10);
	for (size_t n = 0; n < 20000 && stats(above[k]).waiting; n++)
		kthread_usleep(100);
	for (size_t i = 0; i < ABOVE; i++)
		CHECK_EQ(stats(above[i]).waiting, i != k);
	arena_free(source, rest, 600);
	for (size_t i = 0; i < ABOVE; i++)
		sleeper_end(&s[i]);
	arena_free(source, wall, 1);
	for (size_t i = 0; i < ABOVE; i++)
		arena_reap(above[i], SIZE_MAX);
}

TEST("wait: a free finds the one it can serve among many who wait at all levels above")
{
	struct arena *source = ids(1, 611), *above[ABOVE], *between[2];

	for (size_t i = 0; i < 2; i++)
		between[i] = importer("between", source, 1);
	for (size_t i = 0; i < ABOVE; i++)
		above[i] = importer("above", between[i % 2], 1);
	for (size_t n = 0; n < 4 * ABOVE; n++) {
		one_of_many(source, above, n * 5 % ABOVE);
		for (size_t i = 0; i < 2; i++)
			arena_reap(between[i], SIZE_MAX);
	}
	for (size_t i = 0; i < ABOVE; i++)
		destroy(above[i]);
	destroy(between[0]);
	destroy(between[1]);
	destroy(source);
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

TEST("wait: a span that a self-sourced arena unmakes serves who waits for one it may make")
{
	struct arena *a = arena_create(
		"self", NULL, 0, 16, span_make, span_unmake, ARENA_SELF_SOURCE, 0, MEM_WAIT);
	void *p = arena_alloc(a, 16, MEM_ATOMIC);
	struct sleeper s;

	CHECK_NE((uintptr_t)p, 0);
	sleeper_start(&s, a, 32, 1);
	arena_free(a, p, 16);
	for (int ms = 0; ms < 1000 && turn_of(&s) == 0; ms++)
		kthread_usleep(1000);
	CHECK_EQ(turn_of(&s), 1);
	sleeper_end(&s);
	destroy(a);
}

TEST("wait: what is added serves who sleeps")
{
	struct arena *a = full(1);
	struct sleeper s;

	sleeper_start(&s, a, 10, 1);
	CHECK_EQ(arena_add(a, (void *)100, 10, MEM_WAIT), 0);
	sleeper_end(&s);
	arena_free(a, (void *)1, 1);
	destroy(a);
}

TEST("wait: at the deadline it is NULL and leaves nothing behind")
{
	struct arena *a = full(2);
	uint64_t before = port_ns();

	CHECK_EQ((uintptr_t)arena_alloc_timeout(a, 1, MEM_ERROR, before + 3 * MS), 0);
	CHECK_LE(before + 3 * MS, port_ns());
	CHECK_EQ(stats(a).waiting, 0);
	CHECK_EQ(stats(a).sleeps, 1);
	arena_free(a, (void *)1, 1);
	CHECK_EQ((uintptr_t)arena_alloc_timeout(a, 1, MEM_ERROR, before), 1);
	CHECK_PANICS(arena_alloc_timeout(a, 1, MEM_WAIT, before), "deadline is for MEM_ERROR");
	arena_free(a, (void *)1, 1);
	arena_free(a, (void *)2, 1);
	destroy(a);
}

/* Crowds: more who want than there is, all the time. */

struct crowd {
	struct arena *arena;
	size_t rounds, most;
	uint64_t timeouts;
	bool impatient;
	bool all_here; /* nobody begins before */
};

static void *crowd_take(struct crowd *c, size_t size)
{
	if (!c->impatient)
		return arena_alloc(c->arena, size, MEM_WAIT);
	return arena_alloc_timeout(c->arena, size, MEM_ERROR, port_ns() + 50000);
}

static void crowd_run(void *arg)
{
	struct crowd *c = arg;
	uint64_t chance = (uintptr_t)ktask_self();

	while (!__atomic_load_n(&c->all_here, __ATOMIC_RELAXED))
		kthread_yield();
	for (size_t i = 0; i < c->rounds; i++) {
		size_t size = 1 + (chance = chance * 6364136223846793005u + 1) / 65537 % c->most;
		void *p = crowd_take(c, size);

		kthread_yield();
		if (p)
			arena_free(c->arena, p, size);
		else
			__atomic_fetch_add(&c->timeouts, 1, __ATOMIC_RELAXED);
	}
}

#define CROWD_TASKS 16

static void run_crowd(struct crowd *c)
{
	struct ktask *tasks[CROWD_TASKS];

	for (size_t i = 0; i < CROWD_TASKS; i++)
		tasks[i] = ktask("crowd", crowd_run, c);
	__atomic_store_n(&c->all_here, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < CROWD_TASKS; i++)
		ktask_join(tasks[i]);
	CHECK_EQ(stats(c->arena).waiting, 0);
}

TEST("wait: a hundred thousand sleeps, none forgotten, hardly one woken in vain")
{
	struct crowd c = {.arena = ids(1, 3), .rounds = test_ops(200000) / CROWD_TASKS, .most = 1};
	struct arena_stats s;

	run_crowd(&c);
	s = stats(c.arena);
	CHECK_LE(c.rounds * CROWD_TASKS / 2, s.sleeps);
	CHECK_EQ(s.sleeps, s.waits_served);
	CHECK_LE(s.wakeups * 4, s.waits_served * 5);
	destroy(c.arena);
}

TEST("wait: sizes that differ, through an importer, none forgotten")
{
	struct arena *a = ids(16, 128), *b = importer("b", a, 2);
	struct crowd c = {.arena = b, .rounds = test_ops(20000) / CROWD_TASKS, .most = 40};

	run_crowd(&c);
	CHECK_LE(stats(b).wakeups * 4, stats(b).waits_served * 5);
	destroy(b);
	destroy(a);
}

TEST("wait: deadlines that meet wake-ups lose nothing")
{
	struct crowd c = {.arena = ids(1, 4), .rounds = test_ops(20000) / CROWD_TASKS, .most = 4,
		.impatient = true};

	run_crowd(&c);
	CHECK_EQ(arena_amt_free(c.arena), 4);
	destroy(c.arena);
}

/* Caches and fronts */

static struct arena *fronted(struct arena *source, size_t quantum, size_t quanta)
{
	return arena_create("fronted", NULL, 0, quantum, arena_alloc, arena_free, source, quanta * quantum,
		MEM_WAIT);
}

TEST("wait: a free into a front's magazine reaches who waits in the arena")
{
	struct arena *a = ids(16, 64), *b = fronted(a, 1, 4);
	struct sleeper s;
	void *p[16];
	size_t n = 0;

	while (n < 16 && (p[n] = arena_alloc(b, 4, MEM_ATOMIC)))
		n++;
	CHECK_EQ(n, 16);
	sleeper_start(&s, b, 3, 1);
	arena_free(b, p[--n], 4);
	sleeper_end(&s);
	while (n > 0)
		arena_free(b, p[--n], 4);
	destroy(b);
	destroy(a);
}

/* A source that has room for one slab of the cache. */
static struct arena *one_slab(struct kmem_cache **c, const char *name, size_t size, void **rest)
{
	struct arena *a = ids(64, 65536);
	struct kmem_cache_stats s;

	*c = kmem_cache_create(name, size, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
	kmem_cache_get_stats(*c, &s);
	*rest = arena_alloc(a, 65536 - s.slab_size, MEM_ATOMIC);
	CHECK_NE((uintptr_t)*rest, 0);
	return a;
}

struct object_sleeper {
	struct kmem_cache *cache;
	struct ktask *task;
	void *got;
	bool all_here;
};

static void object_sleeper_run(void *arg)
{
	struct object_sleeper *s = arg;

	s->got = kmem_cache_alloc(s->cache, MEM_WAIT);
}

TEST("wait: an object that is freed serves who waits for one, and so does a free in the source")
{
	struct kmem_cache *c;
	void *objects[512], *rest;
	struct arena *a = one_slab(&c, "waited", 8, &rest);
	struct object_sleeper s = {.cache = c};
	size_t slab = arena_amt_free(a), n = 0;

	while (n < 512 && (objects[n] = kmem_cache_alloc(c, MEM_ATOMIC)))
		n++;
	CHECK_LT(0, n);
	s.task = ktask("sleeper", object_sleeper_run, &s);
	threads_await_waiting(a, 1);
	kmem_cache_free(c, objects[--n]);
	ktask_join(s.task);
	CHECK_NE((uintptr_t)s.got, 0);
	kmem_cache_free(c, s.got);
	while (n > 0)
		kmem_cache_free(c, objects[--n]);
	CHECK_EQ(kmem_cache_reap(c, KMEM_REAP_ALL), slab);
	objects[0] = arena_alloc(a, slab, MEM_ATOMIC);
	s.got = NULL;
	s.task = ktask("sleeper", object_sleeper_run, &s);
	threads_await_waiting(a, 1);
	arena_free(a, objects[0], slab);
	ktask_join(s.task);
	CHECK_NE((uintptr_t)s.got, 0);
	kmem_cache_free(c, s.got);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arena_free(a, rest, 65536 - slab);
	destroy(a);
}

/* More ktasks than objects. */
static void object_crowd_run(void *arg)
{
	struct object_sleeper *s = arg;

	while (!__atomic_load_n(&s->all_here, __ATOMIC_RELAXED))
		kthread_yield();
	for (size_t i = 0; i < test_ops(20000) / CROWD_TASKS; i++) {
		void *p = kmem_cache_alloc(s->cache, MEM_WAIT);

		kthread_yield();
		kmem_cache_free(s->cache, p);
	}
}

TEST("wait: a crowd around a cache with too few objects, none forgotten")
{
	struct kmem_cache *c;
	void *rest, *hogged[512];
	struct arena *a = one_slab(&c, "crowded", 16, &rest);
	size_t slab = arena_amt_free(a), n = 0;
	struct object_sleeper s = {.cache = c};
	struct ktask *tasks[CROWD_TASKS];

	while (n < 512 && (hogged[n] = kmem_cache_alloc(c, MEM_ATOMIC)))
		n++;
	for (size_t i = 0; i < 4; i++)
		kmem_cache_free(c, hogged[--n]);
	for (size_t i = 0; i < CROWD_TASKS; i++)
		tasks[i] = ktask("crowd", object_crowd_run, &s);
	__atomic_store_n(&s.all_here, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < CROWD_TASKS; i++)
		ktask_join(tasks[i]);
	CHECK_LT(0, stats(a).sleeps);
	CHECK_LE(stats(a).wakeups * 4, stats(a).waits_served * 5);
	CHECK_EQ(stats(a).waiting, 0);
	while (n > 0)
		kmem_cache_free(c, hogged[--n]);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arena_free(a, rest, 65536 - slab);
	destroy(a);
}
