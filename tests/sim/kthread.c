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
#define ROUNDS ((unsigned)test_ops(6))
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
	for (unsigned n = 0; n < ROUNDS; n++) {
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

/* One that ends, and one that sleeps in the memory of what ended before. */
static struct semaphore gate;

static void through_gate(void *arg)
{
	sem_down(&gate, 1);
}

static void end_and_sleep(unsigned i, void *arg)
{
	for (unsigned n = 0; n < 3 * ROUNDS; n++) {
		struct ktask *t = ktask("ends", run_once, NULL);

		ktask_join(t);
		t = ktask("sleeps", through_gate, NULL);
		kthread_usleep(1);
		sem_up(&gate, 1);
		ktask_join(t);
	}
}

TEST("sim: kthread: one that ended touches none that came after it")
{
	sem_init(&gate, 0);
	sim_begin();
	threads_run(THREADS_FREE, 1, end_and_sleep, NULL);
	sim_end();
}

static struct ktask *blocked;
static bool told;
static unsigned woken;

static void unblock_one(void)
{
	while (__atomic_exchange_n(&told, true, __ATOMIC_ACQ_REL))
		kthread_yield();
	port_thread_unblock(blocked);
}

static void block(void)
{
	for (woken = 0; woken < THREADS - 1; woken++) {
		while (!__atomic_load_n(&told, __ATOMIC_ACQUIRE))
			port_thread_block(test_random_below(2) ? PORT_FOREVER : port_ns() + test_random_below(30) * US);
		__atomic_store_n(&told, false, __ATOMIC_RELEASE);
	}
}

static void block_main(unsigned i, void *arg)
{
	if (i == 0)
		__atomic_store_n(&blocked, ktask_self(), __ATOMIC_RELEASE);
	while (!__atomic_load_n(&blocked, __ATOMIC_ACQUIRE))
		kthread_yield();
	if (i == 0)
		block();
	else
		unblock_one();
}

TEST("sim: kthread: an unblock is never lost, whenever it comes")
{
	blocked = NULL;
	told = false;
	sim_begin();
	threads_run(THREADS_FREE, THREADS, block_main, NULL);
	sim_end();
	CHECK_EQ(woken, THREADS - 1);
}

#define PINNED 6
#define TURNS ((unsigned)test_ops(30))

static struct semaphore turn_of[PINNED];

/* Each is pinned to a core, and readies the next, on another: which nothing but that readies. */
static void pass_on(void *arg)
{
	size_t i = (size_t)arg;

	for (unsigned n = 0; n < TURNS; n++) {
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

/* Half of them share a core, and are readied from others at once: each by its partner, which it readies in turn. */
#define PAIRS 4
#define SHARED_CORE 0

static struct semaphore ping[PAIRS], pong[PAIRS];

static void answers(void *arg)
{
	size_t i = (size_t)arg;

	for (unsigned n = 0; n < TURNS; n++) {
		sem_down(&ping[i], 1);
		sem_up(&pong[i], 1);
	}
}

static void asks(void *arg)
{
	size_t i = (size_t)arg;

	for (unsigned n = 0; n < TURNS; n++) {
		sem_up(&ping[i], 1);
		sem_down(&pong[i], 1);
	}
}

TEST("sim: kthread: those that are readied on one core from many all run")
{
	struct ktask *all[2 * PAIRS];

	for (size_t i = 0; i < PAIRS; i++) {
		sem_init(&ping[i], 0);
		sem_init(&pong[i], 0);
	}
	sim_begin();
	for (size_t i = 0; i < PAIRS; i++) {
		unsigned core = 1 + (unsigned)i % (port_core_count() - 1);

		all[2 * i] = ktask_pinned("answers", answers, (void *)i, SHARED_CORE);
		all[2 * i + 1] = ktask_pinned("asks", asks, (void *)i, core);
		CHECK(all[2 * i] && all[2 * i + 1]);
	}
	for (size_t i = 0; i < 2 * PAIRS; i++)
		ktask_join(all[i]);
	CHECK_LT(sim_longest_idle(), IDLE_MAX);
	sim_end();
}

static void sleeps(unsigned i, void *arg)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
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

/* An alarm is set on one core, and cancelled on another when it comes. */
static struct alarm bell;
static bool is_set, is_gone; /* atomic */

/* Not once its cancelling has returned. */
static void toll(struct alarm *a)
{
	CHECK(!__atomic_load_n(&is_gone, __ATOMIC_ACQUIRE));
}

static void await(const bool *flag, bool value)
{
	while (__atomic_load_n(flag, __ATOMIC_ACQUIRE) != value)
		port_pause();
}

static void set_or_cancel(unsigned i, void *arg)
{
	for (unsigned n = 0; n < 8 * ROUNDS; n++) {
		if (i == 0) {
			await(&is_set, false);
			__atomic_store_n(&is_gone, false, __ATOMIC_RELEASE);
			alarm_set(&bell, sim_soon());
			__atomic_store_n(&is_set, true, __ATOMIC_RELEASE);
		} else {
			await(&is_set, true);
			for (size_t pauses = test_random_below(8); pauses > 0; pauses--)
				port_pause();
			alarm_cancel(&bell);
			__atomic_store_n(&is_gone, true, __ATOMIC_RELEASE);
			__atomic_store_n(&is_set, false, __ATOMIC_RELEASE);
		}
	}
}

TEST("sim: kthread: no alarm rings once it was cancelled on another core")
{
	alarm_init(&bell, toll);
	is_set = false;
	sim_begin();
	threads_run(THREADS_PINNED, 2, set_or_cancel, NULL);
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

	for (unsigned n = 0; n < 4 * ROUNDS; n++) {
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
