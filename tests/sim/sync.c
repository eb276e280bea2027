/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sleeping locks and signals under simulated schedules.
 */
#include "kthread.h"
#include "port.h"
#include "sim/sim.h"
#include "spinlock.h"
#include "sync.h"
#include "unit/threads.h"
#include "lib/test.h"

#define THREADS 4
#define ROUNDS ((unsigned)test_ops(8))
#define US 1000ull /* nanoseconds */

static struct qlock lock;
static struct semaphore sem;
static struct condvar changed;
static struct rendez door;
static struct rwlock rw;
static unsigned inside, readers, turns, items;

static uint64_t soon(void)
{
	return port_ns() + test_random_below(30) * US;
}

/* Nothing else is inside meanwhile. */
static void alone(void)
{
	CHECK_EQ(inside++, 0);
	if (test_random_below(2))
		kthread_yield();
	turns++;
	CHECK_EQ(--inside, 0);
}

static void with_qlock(unsigned i, void *arg)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
		if (test_random_below(3) == 0 && !qlock_trylock(&lock))
			continue;
		else if (!qlock_is_held_by_me(&lock))
			qlock_lock(&lock);
		alone();
		qlock_unlock(&lock);
	}
}

TEST("sim: sync: a qlock has one holder")
{
	qlock_init(&lock);
	inside = turns = 0;
	sim_begin();
	threads_run(THREADS_FREE, THREADS, with_qlock, NULL);
	sim_end();
	CHECK(!lock.held);
}

static void with_semaphore(unsigned i, void *arg)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
		size_t want = 1 + test_random_below(3);

		if (i % 2)
			sem_down(&sem, want);
		else if (!sem_down_timeout(&sem, want, soon()))
			continue;
		if (test_random_below(2))
			kthread_yield();
		sem_up(&sem, want);
	}
}

TEST("sim: sync: a semaphore's count is whole again after deadlines and answers")
{
	sem_init(&sem, 4);
	sim_begin();
	threads_run(THREADS_FREE, THREADS, with_semaphore, NULL);
	sim_end();
	CHECK_EQ(sem_count(&sem), 4);
}

static void with_condvar(unsigned i, void *arg)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
		qlock_lock(&lock);
		if (i % 2) {
			items++;
			cv_signal(&changed);
		} else {
			while (items == 0) {
				if (test_random_below(2))
					cv_wait(&changed, &lock);
				else
					cv_wait_timeout(&changed, &lock, soon());
			}
			items--;
		}
		qlock_unlock(&lock);
	}
}

TEST("sim: sync: what is signalled is taken")
{
	qlock_init(&lock);
	cv_init(&changed);
	items = 0;
	sim_begin();
	threads_run(THREADS_FREE, THREADS, with_condvar, NULL);
	sim_end();
	CHECK_EQ(items, 0);
}

#define HANDS ((unsigned)test_ops(40))

/* Each waits for the other's signal, and each signal is the only one of its kind. */
static void in_turn(unsigned i, void *arg)
{
	for (unsigned n = 0; n < HANDS; n++) {
		qlock_lock(&lock);
		while (turns % 2 != i)
			cv_wait(&changed, &lock);
		turns++;
		cv_signal(&changed);
		qlock_unlock(&lock);
	}
}

TEST("sim: sync: two that wait for each other's signal go on")
{
	qlock_init(&lock);
	cv_init(&changed);
	turns = 0;
	sim_begin();
	threads_run(THREADS_FREE, 2, in_turn, NULL);
	sim_end();
	CHECK_EQ(turns, 2 * HANDS);
}

/* Half of them give up, at once or at about the time at which they are served; the others can't. */
static void few_units(unsigned i, void *arg)
{
	for (unsigned n = 0; n < 5 * ROUNDS; n++) {
		if (i % 2)
			sem_down(&sem, 1);
		else if (!sem_down_timeout(&sem, 1, test_random_below(2) ? 0 : sim_soon()))
			continue;
		if (test_random_below(4) == 0)
			kthread_yield();
		sem_up(&sem, 1);
	}
}

TEST("sim: sync: those that give up cut no other sleeper off")
{
	sem_init(&sem, 1);
	sim_begin();
	threads_run(THREADS_FREE, 2 * THREADS, few_units, NULL);
	sim_end();
	CHECK_EQ(sem_count(&sem), 1);
}

#define SPINS ((unsigned)test_ops(60))

static struct spinlock spin;

static void with_spinlock(unsigned i, void *arg)
{
	for (unsigned n = 0; n < SPINS; n++) {
		port_irq_t irq = spin_lock(&spin);

		CHECK_EQ(inside, 0);
		inside = i + 1;
		turns++;
		CHECK_EQ(inside, i + 1);
		inside = 0;
		spin_unlock(&spin, irq);
	}
}

TEST("sim: sync: a spinlock has one holder")
{
	spin_init(&spin, SPIN_LEAF);
	inside = turns = 0;
	sim_begin();
	threads_run(THREADS_FREE, THREADS, with_spinlock, NULL);
	sim_end();
	CHECK_EQ(turns, THREADS * SPINS);
}

/* A holder keeps the lock until the others are in its order. */
#define WAITERS 3
#define HOLDS ((unsigned)test_ops(6))
#define JOINED_AFTER 6000 /* pauses, of which each waiter has some */
#define DAWDLE 300	 /* pauses */

/* So a waiter misses its turn: between two polls an interrupt comes. */
static void dawdle(void)
{
	if (spin.word.held)
		return;
	for (uint64_t n = port_ticks() % DAWDLE; n > 0; n--)
		port_pause();
}

static void in_order(unsigned i, void *arg)
{
	unsigned others = port_core_count() < WAITERS ? port_core_count() - 1 : WAITERS - 1;

	for (unsigned n = 0; n < HOLDS; n++) {
		port_irq_t irq = spin_lock(&spin);

		CHECK_EQ(inside, 0);
		inside = i + 1;
		for (int pauses = 0; pauses < JOINED_AFTER && spin.word.waiting < others; pauses++)
			port_pause();
		CHECK_EQ(inside, i + 1);
		inside = 0;
		turns++;
		spin_unlock(&spin, irq);
	}
}

TEST("sim: sync: a spinlock has one holder, also when a turn is ended")
{
	spin_init(&spin, SPIN_LEAF);
	inside = turns = 0;
	sim_begin();
	sim_set_interrupt(dawdle);
	threads_run(THREADS_FREE, WAITERS, in_order, NULL);
	sim_end();
	CHECK_EQ(turns, WAITERS * HOLDS);
}

static bool has_item(void *arg)
{
	return __atomic_load_n(&items, __ATOMIC_ACQUIRE) > *(unsigned *)arg;
}

static void with_rendez(unsigned i, void *arg)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
		if (i == 0) {
			__atomic_store_n(&items, n + 1, __ATOMIC_RELEASE);
			rendez_wakeup(&door);
			if (test_random_below(2))
				kthread_yield();
		} else if (i == 1) {
			rendez_sleep_timeout(&door, has_item, &n, soon());
		} else {
			rendez_sleep(&door, has_item, &n);
			CHECK(has_item(&n));
		}
	}
}

TEST("sim: sync: a rendez misses no wake-up")
{
	rendez_init(&door);
	items = 0;
	sim_begin();
	threads_run(THREADS_FREE, THREADS, with_rendez, NULL);
	sim_end();
}

/* Each waits for the other, now in one queue and now in two; often the condition holds when one enters. */
static bool is_mine(void *turn)
{
	return __atomic_load_n(&turns, __ATOMIC_ACQUIRE) >= *(unsigned *)turn;
}

static void ping_pong(unsigned i, void *arg)
{
	for (unsigned n = i; n < 2 * HANDS; n += 2) {
		rendez_sleep(&door, is_mine, &n);
		sim_scribble();
		__atomic_fetch_add(&turns, 1, __ATOMIC_RELEASE);
		rendez_wakeup(&door);
	}
}

static void look_in(unsigned i, void *arg)
{
	unsigned seen = 0;

	if (i < 2) {
		ping_pong(i, arg);
		return;
	}
	while (seen < 2 * HANDS) {
		rendez_sleep_timeout(&door, is_mine, &seen, sim_soon());
		sim_scribble();
		seen = __atomic_load_n(&turns, __ATOMIC_ACQUIRE);
	}
}

TEST("sim: sync: sleepers of a rendez whose condition holds cut no other off")
{
	rendez_init(&door);
	turns = 0;
	sim_begin();
	threads_run(THREADS_FREE, 3, look_in, NULL);
	sim_end();
	CHECK_EQ(turns, 2 * HANDS);
}

static void wake_in_interrupt(void)
{
	__atomic_fetch_add(&items, 1, __ATOMIC_RELEASE);
	rendez_wakeup(&door);
	sem_up(&sem, 1);
}

static void woken_by_interrupts(unsigned i, void *arg)
{
	unsigned n = __atomic_load_n(&items, __ATOMIC_ACQUIRE);

	for (unsigned round = 0; round < ROUNDS; round++) {
		if (i == 0) {
			wake_in_interrupt();
			kthread_yield();
		} else if (i == 1) {
			sem_down_timeout(&sem, 1, soon());
			(void)sem_count(&sem);
		} else {
			rendez_sleep_timeout(&door, has_item, &n, soon());
			n = __atomic_load_n(&items, __ATOMIC_ACQUIRE);
		}
	}
}

TEST("sim: sync: interrupts wake sleepers, and time does")
{
	rendez_init(&door);
	sem_init(&sem, 0);
	items = 0;
	sim_begin();
	sim_set_interrupt(wake_in_interrupt);
	threads_run(THREADS_FREE, THREADS, woken_by_interrupts, NULL);
	sim_end();
}

static void with_rwlock(unsigned i, void *arg)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
		if (test_random_below(3) == 0) {
			rwlock_write(&rw);
			CHECK_EQ(__atomic_load_n(&readers, __ATOMIC_RELAXED), 0);
			alone();
			rwlock_write_done(&rw);
		} else {
			rwlock_read(&rw);
			CHECK_EQ(inside, 0);
			__atomic_fetch_add(&readers, 1, __ATOMIC_RELAXED);
			if (test_random_below(2))
				kthread_yield();
			__atomic_fetch_sub(&readers, 1, __ATOMIC_RELAXED);
			rwlock_read_done(&rw);
		}
	}
}

TEST("sim: sync: a writer of an rwlock is alone, readers are together")
{
	rwlock_init(&rw);
	inside = readers = turns = 0;
	sim_begin();
	threads_run(THREADS_FREE, THREADS, with_rwlock, NULL);
	sim_end();
}
