/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What callbacks may not do: each kind tries it, and the panic names the owner, or the caller, which is
 * the callback itself.
 */
#include "alarm.h"
#include "arena.h"
#include "irq.h"
#include "port.h"
#include "slab.h"
#include "sync.h"
#include "lib/test.h"
#include "threads.h"

#define FAR 3600000000000ull /* nanoseconds */

static struct semaphore empty = SEMAPHORE_INIT(empty, 0);
static struct semaphore rang = SEMAPHORE_INIT(rang, 0);

static void sleep_briefly(void)
{
	sem_down_timeout(&empty, 1, port_ns());
}

static void ring(void (*handler)(struct alarm *a))
{
	struct alarm a;

	alarm_init(&a, handler);
	alarm_set(&a, port_ns());
	sem_down(&rang, 1);
	alarm_cancel(&a);
}

/* Alarms */

static struct alarm other;

static void never(struct alarm *a)
{
}

static void cancel_other(struct alarm *a)
{
	alarm_set(&other, port_ns() + FAR);
	CHECK(alarm_cancel(&other));
	CHECK(!alarm_cancel(&other));
	sem_up(&rang, 1);
}

TEST("callbacks: an alarm's handler may set another alarm, and cancel one not running")
{
	alarm_init(&other, never);
	ring(cancel_other);
}

static struct alarm pair[2];
static bool inside[2], has_tried[2];

static void await(const bool *flag)
{
	uint64_t end = port_ns() + THREADS_PATIENCE;

	while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE) && port_ns() < end)
		port_pause();
}

/* Both run from before the first one cancels until both have. */
static void cancel_each_other(struct alarm *a)
{
	int i = a == &pair[1];

	__atomic_store_n(&inside[i], true, __ATOMIC_RELEASE);
	await(&inside[!i]);
	CHECK_PANICS(alarm_cancel(&pair[!i]), "in the handler cancel_each_other");
	__atomic_store_n(&has_tried[i], true, __ATOMIC_RELEASE);
	await(&has_tried[!i]);
	sem_up(&rang, 1);
}

static void set_pair(unsigned i, void *arg)
{
	alarm_set(&pair[i], port_ns());
	sem_down(&rang, 1);
	alarm_cancel(&pair[i]);
}

TEST("callbacks: two alarm handlers that cancel each other are named, and none waits")
{
	if (port_core_count() == 1)
		return;
	for (int i = 0; i < 2; i++) {
		alarm_init(&pair[i], cancel_each_other);
		inside[i] = has_tried[i] = false;
	}
	threads_run(THREADS_PINNED, 2, set_pair, NULL);
}

static unsigned vector;

static void do_nothing(void *arg)
{
}

static void wait_for_cores(struct alarm *a)
{
	CHECK_PANICS(irq_free(vector), "irq_free in an interrupt");
	CHECK_PANICS(port_core_run(0, do_nothing, NULL), "port_core_run of do_nothing");
	CHECK_PANICS(sleep_briefly(), "sleep_briefly");
	sem_up(&rang, 1);
}

TEST("callbacks: what waits for other cores, or sleeps, is refused in an interrupt")
{
	vector = irq_alloc("kept", do_nothing, NULL);
	ring(wait_for_cores);
	irq_free(vector);
}

static void sleep_on_core(void *arg)
{
	CHECK_PANICS(sleep_briefly(), "called from sleep_briefly");
}

TEST("callbacks: what a core is made to run may not sleep")
{
	for (unsigned core = 0; core < port_core_count(); core++)
		port_core_run(core, sleep_on_core, NULL);
}

/* Signals */

static bool sleeping_condition(void *arg)
{
	CHECK_PANICS(sleep_briefly(), "a rendez's condition");
	CHECK_PANICS(sleep_briefly(), "called from sleep_briefly");
	return true;
}

TEST("callbacks: a rendez's condition that sleeps is named")
{
	struct rendez r = RENDEZ_INIT(r);

	rendez_sleep(&r, sleeping_condition, NULL);
	CHECK(rendez_sleep_timeout(&r, sleeping_condition, NULL, port_ns()));
	sleep_briefly();
}

/* Caches */

static struct kmem_cache *sleepers;

static int sleeping_ctor(void *object, void *priv, unsigned flags)
{
	if (flags & MEM_ATOMIC)
		CHECK_PANICS(sleep_briefly(), "a callback of sleepers");
	else
		sleep_briefly();
	return 0;
}

static void sleeping_dtor(void *object, void *priv)
{
	CHECK_PANICS(sleep_briefly(), "a callback of sleepers");
	CHECK_PANICS(kmem_cache_create("within", 8, 0, 0, NULL, NULL, NULL, NULL), "kmem_cache_create in a callback");
	CHECK_PANICS(kmem_cache_reap(sleepers, KMEM_REAP_IDLE), "kmem_cache_reap in");
}

TEST("callbacks: a constructor by MEM_ATOMIC, a destructor, that sleep: each is named")
{
	struct kmem_cache *c = sleepers = kmem_cache_create(
		"sleepers", 512, 0, 0, NULL, sleeping_ctor, sleeping_dtor, NULL);
	void *atomic = kmem_cache_alloc(c, MEM_ATOMIC), *wait = kmem_cache_alloc(c, MEM_WAIT);

	CHECK(atomic && wait);
	kmem_cache_free(c, atomic);
	kmem_cache_free(c, wait);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	sleep_briefly();
}

static int greedy_ctor(void *object, void *priv, unsigned flags)
{
	CHECK_PANICS(kmem_cache_alloc(sleepers, flags), "cache greedy: its constructor greedy_ctor");
	kmem_cache_free(priv, kmem_cache_alloc(priv, flags));
	return 0;
}

TEST("callbacks: a constructor may allocate from another cache, from its own is named")
{
	struct kmem_cache *inner = kmem_cache_create("inner", 64, 0, 0, NULL, NULL, NULL, NULL);
	void *p;

	sleepers = kmem_cache_create("greedy", 512, 0, 0, NULL, greedy_ctor, NULL, inner);
	p = kmem_cache_alloc(sleepers, MEM_WAIT);
	kmem_cache_free(sleepers, p);
	CHECK_EQ(kmem_cache_destroy(sleepers), 0);
	CHECK_EQ(kmem_cache_destroy(inner), 0);
}

/* Arenas */

static struct arena *importer;

static void *sleeping_afunc(struct arena *source, size_t size, unsigned flags)
{
	CHECK_PANICS(sleep_briefly(), "a callback of importer");
	CHECK_PANICS(arena_create("within", (void *)1, 1, 1, NULL, NULL, NULL, 0, MEM_ATOMIC),
		"arena_create in a callback of importer");
	return arena_alloc(source, size, flags);
}

static void sleeping_ffunc(struct arena *source, void *addr, size_t size)
{
	CHECK_PANICS(sleep_briefly(), "a callback of importer");
	CHECK_PANICS(arena_destroy(importer), "arena_destroy in a callback of importer");
	arena_free(source, addr, size);
}

TEST("callbacks: afunc and ffunc that sleep are named by their arena")
{
	void *p;

	importer = arena_create(
		"importer", NULL, 0, 4096, sleeping_afunc, sleeping_ffunc, base_arena, 0, MEM_WAIT);
	p = arena_alloc(importer, 4096, MEM_WAIT);
	arena_free(importer, p, 4096);
	CHECK_EQ(arena_destroy(importer), 0);
	sleep_briefly();
}
