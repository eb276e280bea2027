/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is wrong while a lock is held: debug builds report it, and name the lock, where it was taken, and where
 * the wrong call was made.
 */
#include "arenas.h"
#include "kmalloc.h"
#include "kthread.h"
#include "port.h"
#include "shortage.h"
#include "slab.h"
#include "sleepers.h"
#include "spinlock.h"
#include "sync.h"
#include "threads.h"
#include "lib/catch.h"
#include "lib/string.h"
#include "lib/test.h"

#if SPIN_CHECKS

static struct qlock lock = QLOCK_INIT(lock);
static struct spinlock spin = SPINLOCK_INIT(SPIN_LEAF);
static port_irq_t spin_irq;

/* The report of `expression` has each of both parts. */
#define CHECK_NAMES(expression, first, second)                                                     \
	do {                                                                                       \
		CHECK_PANICS(expression, first);                                                   \
		CHECK_PANICS(expression, second);                                                  \
	} while (0)

static bool is_true(void *arg)
{
	return true;
}

TEST("held: what may sleep names the spinlock, where it was taken, and its caller")
{
	struct semaphore sem = SEMAPHORE_INIT(sem, 1);
	struct rendez rendez = RENDEZ_INIT(rendez);
	struct rwlock rw = RWLOCK_INIT(rw);
	port_irq_t irq = spin_lock(&spin);

	CHECK_NAMES(sem_down(&sem, 1), "class leaf, taken at test_", "(called from test_");
	CHECK_NAMES(qlock_lock(&lock), "class leaf, taken at test_", "(called from test_");
	CHECK_NAMES(rwlock_read(&rw), "class leaf, taken at test_", "(called from test_");
	CHECK_NAMES(rendez_sleep(&rendez, is_true, NULL), "class leaf, taken at test_", "(called from test_");
	CHECK_NAMES(kthread_usleep(1), "class leaf, taken at test_", "(called from test_");
	CHECK_NAMES(kthread_yield(), "class leaf, taken at test_", "(called from test_");
	spin_unlock(&spin, irq);
}

/* The holder has turned interrupts on again, so they don't tell. */
TEST("held: a spinlock is seen with interrupts on, too")
{
	struct semaphore sem = SEMAPHORE_INIT(sem, 1);
	struct arena *a = arenas_ids(1, 10);
	port_irq_t irq = spin_lock(&spin);

	port_irq_restore(irq);
	CHECK_PANICS(sem_down(&sem, 1), "class leaf, taken at test_");
	CHECK_PANICS(arena_alloc(a, 1, MEM_WAIT), "class leaf, taken at test_");
	irq = port_irq_save();
	spin_unlock(&spin, irq);
	arenas_end(a);
}

TEST("held: MEM_WAIT names the spinlock, however little it takes")
{
	struct arena *a = arenas_ids(1, 10);
	struct kmem_cache *c = kmem_cache_create("held", 64, 0, 0, NULL, NULL, NULL, NULL);
	port_irq_t irq;

	kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
	irq = spin_lock(&spin);
	CHECK_NAMES(arena_alloc(a, 1, MEM_WAIT), "class leaf, taken at test_", "called from test_");
	CHECK_NAMES(kmem_cache_alloc(c, MEM_WAIT), "class leaf, taken at test_", "called from test_");
	CHECK_NAMES(kmalloc(64, MEM_WAIT), "class leaf, taken at test_", "called from test_");
	CHECK_NAMES(kmalloc(1 << 20, MEM_WAIT), "class leaf, taken at test_", "called from test_");
	spin_unlock(&spin, irq);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(a);
}

TEST("held: what may sleep under arenas_and_slabs_lock names where that was taken")
{
	struct arena *a = arenas_ids(1, 10);
	struct kmem_cache *c = kmem_cache_create("held", 64, 0, 0, NULL, NULL, NULL, NULL);

	kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
	qlock_lock(&arenas_and_slabs_lock);
	CHECK_NAMES(arena_alloc(a, 1, MEM_WAIT), "MEM_WAIT under arenas_and_slabs_lock, taken at test_", "from test_");
	CHECK_NAMES(arena_alloc(a, 1, MEM_ERROR), "MEM_ERROR under arenas_and_slabs_lock, taken at test_", "from test_");
	CHECK_NAMES(kmem_cache_alloc(c, MEM_ERROR), "arenas_and_slabs_lock, taken at test_", "from test_");
	CHECK_NAMES(kmalloc(64, MEM_ERROR), "arenas_and_slabs_lock, taken at test_", "from test_");
	arena_free(a, arena_alloc(a, 1, MEM_ATOMIC), 1);
	kfree(kmalloc(64, MEM_ATOMIC));
	qlock_unlock(&arenas_and_slabs_lock);
	arena_free(a, arena_alloc(a, 1, MEM_ERROR), 1);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(a);
}

/* Callbacks that keep a lock */

static void *left; /* what a callback was given */

static void *afunc_spins(struct arena *source, size_t size, unsigned flags)
{
	spin_irq = spin_lock(&spin);
	return NULL;
}

static void *afunc_locks(struct arena *source, size_t size, unsigned flags)
{
	qlock_trylock(&lock);
	return NULL;
}

static void ffunc_locks(struct arena *source, void *addr, size_t size)
{
	arena_free(source, addr, size);
	qlock_trylock(&lock);
}

static int ctor_locks(void *object, void *priv, unsigned flags)
{
	left = object;
	qlock_trylock(&lock);
	return 0;
}

static void dtor_locks(void *object, void *priv)
{
	qlock_trylock(&lock);
}

static size_t reclaim_locks(void *priv, size_t units)
{
	qlock_trylock(&lock);
	return 0;
}

static bool condition_locks(void *arg)
{
	return qlock_trylock(&lock);
}

/* What the panic left as it was in the callback is put right. */
static void callback_end(void)
{
	port_set_word(PORT_THREAD_CONSTRUCT, 0);
	if (qlock_is_held_by_me(&lock))
		qlock_unlock(&lock);
}

static void import_badly(struct arena *source, void *(*afunc)(struct arena *, size_t, unsigned), const char *report)
{
	struct arena *a = arena_create("bad", NULL, 0, 1, afunc, arena_free, source, 0, MEM_WAIT);

	CHECK_PANICS(arena_alloc(a, 1, MEM_ATOMIC), report);
	if (spin_is_locked(&spin))
		spin_unlock(&spin, spin_irq);
	callback_end();
	arenas_end(a);
}

TEST("held: an afunc that returns with a lock held is reported, with both places")
{
	struct arena *source = arenas_ids(1, 10);

	import_badly(source, afunc_spins, "a callback of bad returned to ");
	import_badly(source, afunc_spins, "with a spinlock of class leaf held, taken at afunc_spins");
	import_badly(source, afunc_locks, " held, taken at afunc_locks");
	arenas_end(source);
}

TEST("held: an ffunc that returns with a lock held is reported, with both places")
{
	struct arena *source = arenas_ids(1, 10);
	struct arena *a = arena_create("bad", NULL, 0, 1, arena_alloc, ffunc_locks, source, 0, MEM_WAIT);

	arena_free(a, arena_alloc(a, 1, MEM_WAIT), 1);
	CHECK_PANICS(arena_reap(a, SIZE_MAX), " held, taken at ffunc_locks");
	callback_end();
	arenas_end(a);
	arenas_end(source);
}

static void construct_badly(unsigned flags)
{
	struct kmem_cache *c = kmem_cache_create("bad", 64, 0, 0, NULL, ctor_locks, NULL, NULL);

	CHECK_PANICS(kmem_cache_alloc(c, flags), " held, taken at ctor_locks");
	callback_end();
	kmem_cache_free(c, left);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("held: a constructor that returns with a lock held is reported")
{
	construct_badly(MEM_ATOMIC);
	construct_badly(MEM_WAIT);
}

TEST("held: owners' functions that return with a lock held are reported")
{
	struct kmem_cache *c = kmem_cache_create("bad", 64, 0, 0, NULL, NULL, dtor_locks, NULL);
	struct rendez rendez = RENDEZ_INIT(rendez);

	kmem_cache_set_reclaim(c, reclaim_locks, NULL);
	CHECK_PANICS(kmem_cache_reap(c, KMEM_REAP_IDLE), " held, taken at reclaim_locks");
	callback_end();
	kmem_cache_set_reclaim(c, NULL, NULL);
	CHECK_PANICS(rendez_sleep_timeout(&rendez, condition_locks, NULL, 0), " held, taken at condition_locks");
	callback_end();
	qlock_init(&lock);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

static size_t gives_back(void *priv, size_t units)
{
	if (qlock_trylock(&lock))
		qlock_unlock(&lock);
	return 0;
}

TEST("held: a callback may take and release a lock, and its caller hold others")
{
	struct kmem_cache *c = kmem_cache_create("good", 64, 0, 0, NULL, NULL, NULL, NULL);
	struct qlock other = QLOCK_INIT(other), another = QLOCK_INIT(another);

	qlock_lock(&other);
	qlock_lock(&another);
	kmem_cache_set_reclaim(c, gives_back, NULL);
	kmem_cache_reap(c, KMEM_REAP_IDLE);
	qlock_unlock(&other);
	kmem_cache_reap(c, KMEM_REAP_IDLE);
	qlock_unlock(&another);
	qlock_init(&lock);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* Locks that callbacks of reclaim take */

TEST("held: MEM_WAIT under a lock that reclaim's callbacks try names three places")
{
	struct kmem_cache *c = kmem_cache_create("tries", 64, 0, 0, NULL, NULL, NULL, NULL);
	struct arena *a = arenas_ids(1, 10);
	struct qlock other = QLOCK_INIT(other);

	kmem_cache_set_reclaim(c, gives_back, NULL);
	kmem_cache_reap(c, KMEM_REAP_IDLE);
	qlock_lock(&lock);
	qlock_lock(&other);
	CHECK_NAMES(arena_alloc(a, 1, MEM_WAIT), "MEM_WAIT under qlock ", ", taken at test_");
	CHECK_NAMES(kmem_cache_alloc(c, MEM_WAIT), "which a callback of reclaim takes at gives_back", "from test_");
	arena_free(a, arena_alloc(a, 1, MEM_ATOMIC), 1);
	arena_free(a, arena_alloc(a, 1, MEM_ERROR), 1);
	qlock_unlock(&lock);
	arena_free(a, arena_alloc(a, 1, MEM_WAIT), 1);
	qlock_unlock(&other);
	qlock_init(&lock);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(a);
}

static struct panic_catch caught;
static bool has_tried; /* atomic */

static size_t tries_in_pass(void *priv, size_t units)
{
	panic_catch_push(&caught);
	if (machine_setjmp(&caught.jump) == 0 && qlock_trylock(&lock))
		qlock_unlock(&lock);
	panic_catch_pop(&caught);
	__atomic_store_n(&has_tried, true, __ATOMIC_RELEASE);
	return 0;
}

static void wait_with_lock(struct sleeper *s)
{
	qlock_lock(&lock);
	arena_free(s->arena, arena_alloc(s->arena, 1, MEM_WAIT), 1);
	qlock_unlock(&lock);
}

TEST("held: a callback that tries a lock whose holder sleeps by MEM_WAIT is reported")
{
	struct arena *ids = arenas_full(4);
	struct kmem_cache *c = kmem_cache_create("tries", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	struct sleeper s = {.arena = ids, .size = 1, .ask = wait_with_lock};

	caught.message[0] = 0;
	__atomic_store_n(&has_tried, false, __ATOMIC_RELAXED);
	kmem_cache_set_reclaim(c, tries_in_pass, NULL);
	sleeper_begin(&s);
	threads_await(&has_tried);
	for (uintptr_t i = 1; i <= 4; i++)
		arena_free(ids, (void *)i, 1);
	sleeper_end(&s);
	CHECK(strstr(caught.message, "for which its holder sleeps by MEM_WAIT at wait_with_lock"));
	CHECK(strstr(caught.message, "called from tries_in_pass"));
	kmem_cache_set_reclaim(c, NULL, NULL);
	qlock_init(&lock);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(ids);
}

#endif
