/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ktasks and alarms under simulated schedules.
 */
#include "alarm.h"
#include "kthread.h"
#include "port.h"
#include "sim/sim.h"
#include "sync.h"
#include "unit/threads.h"
#include "lib/test.h"

#define THREADS 4
#define ROUNDS 6
#define US 1000ull /* nanoseconds */
#define IDLE_MAX (1000 * US) /* that nothing but a wake-up that was lost takes */

static unsigned ran, rang;

static void run_once(void *arg)
{
	if (arg)
		kthread_yield();
	__atomic_fetch_add(&ran, 1, __ATOMIC_RELAXED);
}

static void bursts(unsigned i, void *arg)
{
	for (int n = 0; n < ROUNDS; n++) {
		struct ktask *first = ktask("first", run_once, NULL), *second = ktask("second", run_once, &ran);

		CHECK(first && second);
		CHECK(ktask_detached("third", run_once, NULL));
		if (test_random_below(2))
			kthread_usleep(test_random_below(20));
		ktask_join(second);
		ktask_join(first);
	}
}

TEST("sim: kthread: each ktask runs once, and is joined")
{
	size_t before = ktask_count();

	ran = 0;
	sim_begin();
	threads_run(THREADS_FREE, THREADS, bursts, NULL);
	sim_end();
	while (ktask_count() != before)
		kthread_yield();
	CHECK_EQ(ran, THREADS * ROUNDS * 3);
}

static struct ktask *blocked;
static bool told;
static unsigned woken;

static void block(unsigned i, void *arg)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
		if (i > 0) {
			while (__atomic_load_n(&told, __ATOMIC_ACQUIRE))
				kthread_yield();
			__atomic_store_n(&told, true, __ATOMIC_RELEASE);
			port_thread_unblock(blocked);
			return;
		}
		while (!__atomic_load_n(&told, __ATOMIC_ACQUIRE))
			port_thread_block(test_random_below(2) ? PORT_FOREVER : port_ns() + test_random_below(30) * US);
		__atomic_store_n(&told, false, __ATOMIC_RELEASE);
		if (++woken == THREADS - 1)
			return;
	}
}

static void block_main(unsigned i, void *arg)
{
	if (i == 0)
		__atomic_store_n(&blocked, ktask_self(), __ATOMIC_RELEASE);
	while (!__atomic_load_n(&blocked, __ATOMIC_ACQUIRE))
		kthread_yield();
	block(i, arg);
}

TEST("sim: kthread: an unblock is never lost, whenever it comes")
{
	blocked = NULL;
	told = false;
	woken = 0;
	sim_begin();
	threads_run(THREADS_FREE, THREADS, block_main, NULL);
	sim_end();
	CHECK_EQ(woken, THREADS - 1);
}

#define PINNED 6
#define TURNS 30

static struct semaphore turn_of[PINNED];

/* Each is pinned to a core, and readies the next, on another: which nothing but that readies. */
static void pass_on(void *arg)
{
	size_t i = (size_t)arg;

	for (int n = 0; n < TURNS; n++) {
		sem_down(&turn_of[i], 1);
		sem_up(&turn_of[(i + 1) % PINNED], 1);
	}
}

/* Two go round, so that some meet in a queue. */
TEST("sim: kthread: one that is readied runs, though all cores were idle")
{
	struct ktask *all[PINNED];

	for (size_t i = 0; i < PINNED; i++)
		sem_init(&turn_of[i], i % (PINNED / 2) == 0);
	sim_begin();
	for (size_t i = 0; i < PINNED; i++)
		CHECK((all[i] = ktask_pinned("passer", pass_on, (void *)i, (unsigned)i % port_core_count())));
	for (size_t i = 0; i < PINNED; i++)
		ktask_join(all[i]);
	/* No core slept until something else came. */
	CHECK_LT(sim_longest_idle(), IDLE_MAX);
	sim_end();
}

static void sleeps(unsigned i, void *arg)
{
	for (int n = 0; n < ROUNDS; n++) {
		uint64_t us = test_random_below(30), until = port_ns() + us * US;

		kthread_usleep(us);
		CHECK_LE(until, port_ns());
	}
}

TEST("sim: kthread: sleepers of many cores wake in time")
{
	sim_begin();
	threads_run(THREADS_FREE, THREADS, sleeps, NULL);
	sim_end();
}

static struct alarm bells[3];
static bool is_cancelled[3]; /* atomic */

/* Never once its cancelling has returned. */
static void ring(struct alarm *a)
{
	CHECK(!__atomic_load_n(&is_cancelled[a - bells], __ATOMIC_ACQUIRE));
	__atomic_fetch_add(&rang, 1, __ATOMIC_RELAXED);
}

/* Each alarm has one user, who sets it on one core and may cancel it on another. */
static void alarms(unsigned i, void *arg)
{
	unsigned set = 0, cancelled = 0;

	for (int n = 0; n < 4 * ROUNDS; n++) {
		__atomic_store_n(&is_cancelled[i], false, __ATOMIC_RELEASE);
		alarm_set(&bells[i], port_ns() + test_random_below(20) * US);
		set++;
		if (test_random_below(2))
			kthread_usleep(test_random_below(20));
		else
			kthread_yield();
		cancelled += alarm_cancel(&bells[i]);
		__atomic_store_n(&is_cancelled[i], true, __ATOMIC_RELEASE);
	}
	__atomic_fetch_add((unsigned *)arg, set - cancelled, __ATOMIC_RELAXED);
}

TEST("sim: kthread: an alarm rings once, or is cancelled")
{
	unsigned must_ring = 0;

	rang = 0;
	for (int i = 0; i < 3; i++)
		alarm_init(&bells[i], ring);
	sim_begin();
	threads_run(THREADS_FREE, 3, alarms, &must_ring);
	sim_end();
	CHECK_EQ(rang, must_ring);
}
