/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Spinlocks, and what debug builds find wrong about their use.
 */
#include "spinlock.h"

#include "alarm.h"
#include "lib/spinlock_impl.h"
#include "lib/test.h"
#include "machine.h"
#include "port.h"
#include "threads.h"

struct counted {
	struct spinlock lock;
	size_t value;
};

static void count(unsigned i, void *arg)
{
	struct counted *c = arg;

	for (size_t n = 0; n < test_ops(20000); n++) {
		port_irq_t irq = spin_lock(&c->lock);

		CHECK(!machine_irq_enabled());
		c->value++;
		spin_unlock(&c->lock, irq);
	}
	CHECK(machine_irq_enabled());
}

TEST("spinlock: one holder at a time")
{
	struct counted c = {SPINLOCK_INIT(SPIN_LEAF), 0};

	threads_run(THREADS_PINNED, port_core_count(), count, &c);
	CHECK_EQ(c.value, port_core_count() * test_ops(20000));
	CHECK(!spin_is_locked(&c.lock));
}

/* A test plays all cores that wait for a lock: it decides which of them polls when. */

static void hold(struct spinlock *l)
{
	l->word.held = 1;
}

static void release(struct spinlock *l)
{
	__atomic_store_n(&l->word.held, 0, __ATOMIC_RELEASE);
}

static void poll_for_nothing(struct spinlock *l, struct spin_waiter *w, unsigned polls)
{
	while (polls-- > 0)
		CHECK(!spin_poll(l, w));
}

static void join(struct spinlock *l, struct spin_waiter *w)
{
	poll_for_nothing(l, w, SPIN_ALONE);
	CHECK(!w->is_ordered);
	poll_for_nothing(l, w, 1);
	CHECK(w->is_ordered);
}

TEST("spinlock: waiters join an order after many polls, none that is later goes ahead")
{
	struct spinlock l = SPINLOCK_INIT(SPIN_LEAF);
	struct spin_waiter first = {0}, second = {0}, late = {0};

	hold(&l);
	join(&l, &first);
	join(&l, &second);
	release(&l);
	poll_for_nothing(&l, &late, 1);
	poll_for_nothing(&l, &second, 1);
	CHECK(spin_poll(&l, &first));
	release(&l);
	poll_for_nothing(&l, &late, 1);
	CHECK(spin_poll(&l, &second));
	CHECK_EQ(l.word.waiting, 0);
	release(&l);
	CHECK(spin_poll(&l, &late));
}

TEST("spinlock: a running core may take a free lock, whatever others have polled")
{
	struct spinlock l = SPINLOCK_INIT(SPIN_LEAF);
	struct spin_waiter w = {0};

	hold(&l);
	poll_for_nothing(&l, &w, SPIN_ALONE);
	release(&l);
	spin_unlock(&l, spin_lock(&l));
	CHECK(spin_poll(&l, &w));
}

#define STOPPED 3

TEST("spinlock: a waiter that doesn't run holds others up for bounded many polls")
{
	struct spinlock l = SPINLOCK_INIT(SPIN_LEAF);
	struct spin_waiter stopped[STOPPED] = {0}, running = {0};
	unsigned polls = 1;

	hold(&l);
	for (size_t i = 0; i < STOPPED; i++)
		join(&l, &stopped[i]);
	release(&l);
	for (; !spin_poll(&l, &running); polls++)
		CHECK_LE(polls, STOPPED * (SPIN_TURN + 1));
	CHECK_EQ(l.word.waiting, 0);
	/* It draws a new ticket at once when it runs again. */
	poll_for_nothing(&l, &stopped[0], 1);
	CHECK(stopped[0].is_ordered);
	CHECK_EQ(l.word.waiting, 1);
	release(&l);
	CHECK(spin_poll(&l, &stopped[0]));
	release(&l);
	CHECK(spin_poll(&l, &stopped[1]));
}

TEST("spinlock: waiters that don't run don't keep a core from locking")
{
	struct spinlock l = SPINLOCK_INIT(SPIN_LEAF);
	struct spin_waiter stopped[STOPPED] = {0};

	hold(&l);
	for (size_t i = 0; i < STOPPED; i++)
		join(&l, &stopped[i]);
	release(&l);
	spin_unlock(&l, spin_lock(&l));
	CHECK_EQ(l.word.entry, 0);
}

#define CORES 16
#define HOLD_MAX 50 /* steps */

/* A core that takes the lock again and again. */
struct player {
	struct spin_waiter waiter;
	size_t ahead;	/* how many may take the lock before it, once it is in the order */
	size_t joined;	/* how often the lock had been taken then */
};

/* Returns whether it took the lock. */
static bool play(struct spinlock *l, struct player *p, size_t taken)
{
	bool was_ordered = p->waiter.is_ordered;

	if (spin_poll(l, &p->waiter)) {
		if (was_ordered)
			CHECK_LE(taken - p->joined, p->ahead);
		p->waiter = (struct spin_waiter){0};
		return true;
	}
	if (was_ordered)
		CHECK(p->waiter.is_ordered);
	if (!was_ordered && p->waiter.is_ordered) {
		p->joined = taken;
		p->ahead = p->waiter.ticket - l->word.turn;
		CHECK_LT(p->ahead, CORES);
	}
	return false;
}

TEST("spinlock: a waiter in the order sees one hold of each ahead, and no other")
{
	static struct player players[CORES];
	struct spinlock l = SPINLOCK_INIT(SPIN_LEAF);
	size_t taken = 0, hold_left = 0;

	for (size_t i = 0; i < CORES; i++)
		players[i] = (struct player){0};
	for (size_t n = test_ops(1000000); n > 0; n--) {
		if (hold_left > 0 && --hold_left == 0)
			release(&l);
		if (play(&l, &players[test_random_below(CORES)], taken)) {
			taken++;
			hold_left = 1 + test_random_below(HOLD_MAX);
		}
	}
	CHECK_LT(0, taken);
}

/* What an interrupt meets while a lock is waited for. */
static struct spinlock waited;
static bool rang;

/* Releases the lock once what it interrupts waits in the order. */
static void release_for_waiter(struct alarm *a)
{
	if (__atomic_load_n(&waited.word.waiting, __ATOMIC_RELAXED) == 0)
		alarm_set(a, port_ns() + 10000);
	else
		release(&waited);
}

TEST("spinlock: interrupts are on while a lock is waited for, if they were before")
{
	struct alarm bell;
	port_irq_t irq;
	bool enabled;

	spin_init(&waited, SPIN_LEAF);
	hold(&waited);
	alarm_init(&bell, release_for_waiter);
	alarm_set(&bell, port_ns());
	irq = spin_lock(&waited);
	enabled = machine_irq_enabled();
	spin_unlock(&waited, irq);
	CHECK(!enabled);
	CHECK(machine_irq_enabled());
}

static void ring(struct alarm *a)
{
	__atomic_store_n(&rang, true, __ATOMIC_RELAXED);
}

static void wait_with_interrupts_off(void)
{
	struct alarm bell;
	port_irq_t irq = port_irq_save();
	bool rang_while_off;

	alarm_init(&bell, ring);
	alarm_set(&bell, port_ns());
	spin_unlock(&waited, spin_lock(&waited));
	rang_while_off = __atomic_load_n(&rang, __ATOMIC_RELAXED);
	port_irq_restore(irq);
	threads_await(&rang);
	CHECK(!rang_while_off);
}

static void wait_or_release(unsigned i, void *arg)
{
	if (i == 0)
		wait_with_interrupts_off();
	else {
		while (__atomic_load_n(&waited.word.waiting, __ATOMIC_RELAXED) == 0)
			port_pause();
		release(&waited);
	}
}

TEST("spinlock: interrupts stay off while a lock is waited for, if they were before")
{
	if (port_core_count() < 2)
		return;
	spin_init(&waited, SPIN_LEAF);
	hold(&waited);
	rang = false;
	threads_run(THREADS_PINNED, 2, wait_or_release, NULL);
}

#define RINGS 20

/* Counts in a handler, too. */
struct ringing {
	struct alarm bell;
	struct counted *counted;
	size_t rings; /* atomic */
};

static void count_one(struct counted *c)
{
	port_irq_t irq = spin_lock(&c->lock);

	c->value++;
	spin_unlock(&c->lock, irq);
}

static void count_ring(struct alarm *a)
{
	struct ringing *r = (struct ringing *)a;

	count_one(r->counted);
	if (__atomic_add_fetch(&r->rings, 1, __ATOMIC_RELAXED) < RINGS)
		alarm_set(a, port_ns() + 20000);
}

static size_t counted_by_threads; /* atomic */

static void count_while_it_rings(unsigned i, void *arg)
{
	struct ringing r = {.counted = arg};
	size_t n = 0;

	alarm_init(&r.bell, count_ring);
	alarm_set(&r.bell, port_ns());
	for (; __atomic_load_n(&r.rings, __ATOMIC_RELAXED) < RINGS; n++)
		count_one(r.counted);
	alarm_cancel(&r.bell);
	__atomic_fetch_add(&counted_by_threads, n, __ATOMIC_RELAXED);
}

TEST("spinlock: handlers take the lock that what they interrupt takes or waits for")
{
	struct counted c = {SPINLOCK_INIT(SPIN_LEAF), 0};

	counted_by_threads = 0;
	threads_run(THREADS_PINNED, port_core_count(), count_while_it_rings, &c);
	CHECK_EQ(c.value, counted_by_threads + port_core_count() * RINGS);
}

#if SPANDREL_DEBUG
TEST("spinlock: classes are taken in order, and both places are named")
{
	struct spinlock arena = SPINLOCK_INIT(SPIN_ARENA), other = SPINLOCK_INIT(SPIN_ARENA),
			supply = SPINLOCK_INIT(SPIN_SUPPLY), leaf = SPINLOCK_INIT(SPIN_LEAF);
	port_irq_t irq = spin_lock(&arena), inner;

	CHECK_PANICS(spin_lock(&supply),
		"spinlock of class tag supply taken at test_");
	CHECK_PANICS(spin_lock(&supply), "while one of class arena, taken at test_");
	CHECK_PANICS(spin_lock(&other), "wrong order");
	inner = spin_lock(&leaf);
	spin_unlock(&leaf, inner);
	spin_unlock(&arena, irq);
	irq = spin_lock(&supply);
	inner = spin_lock(&arena);
	spin_unlock(&arena, inner);
	spin_unlock(&supply, irq);
}

TEST("spinlock: taking one twice and releasing what isn't held are found")
{
	struct spinlock a = SPINLOCK_INIT(SPIN_ARENA), b = SPINLOCK_INIT(SPIN_LEAF);
	port_irq_t irq = spin_lock(&a), inner;

	CHECK_PANICS(spin_lock(&a), "is taken again at ");
	CHECK_PANICS(spin_unlock(&b, irq), "by one who doesn't hold it");
	inner = spin_lock(&b);
	CHECK_PANICS(spin_unlock(&a, irq), "before one of class leaf");
	spin_unlock(&b, inner);
	spin_unlock(&a, irq);
	CHECK_PANICS(spin_unlock(&a, irq), "by one who doesn't hold it");
}

TEST("spinlock: code of others isn't called with one held")
{
	struct spinlock a = SPINLOCK_INIT(SPIN_LEAF), callers = SPINLOCK_INIT(SPIN_CALLER);
	port_irq_t irq = spin_lock(&a);

	CHECK_PANICS(spin_assert_none_held(), "while a spinlock of class leaf, taken at ");
	spin_unlock(&a, irq);
	irq = spin_lock(&callers);
	spin_assert_none_held();
	spin_unlock(&callers, irq);
}
#endif
