/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Idle cores and what wakes them.
 */
#include "kthread.h"
#include "port.h"
#include "sync.h"
#include "lib/test.h"
#include "threads.h"

#define WAKER 1 /* the core that wakes */
#define ROUNDS 4000

static struct semaphore go;
static uint64_t deadline; /* of the round; 0: no round is on */
static bool has_run;

static void run(void *arg)
{
	__atomic_store_n(&has_run, true, __ATOMIC_RELEASE);
}

/* Keeps its core from looking for other work. */
static void stay_until_run(void)
{
	while (!__atomic_load_n(&has_run, __ATOMIC_ACQUIRE) && port_ns() < __atomic_load_n(&deadline, __ATOMIC_RELAXED))
		port_pause();
}

/* Core 0's, the first that is asked to look for work. */
static void be_woken(unsigned i, void *arg)
{
	for (size_t n = *(size_t *)arg; n > 0; n--) {
		sem_down(&go, 1);
		stay_until_run();
	}
}

static void wake(size_t round)
{
	struct ktask *t;
	bool ran;

	__atomic_store_n(&deadline, port_ns() + THREADS_PATIENCE, __ATOMIC_RELAXED);
	__atomic_store_n(&has_run, false, __ATOMIC_RELAXED);
	sem_up(&go, 1);
	/* Sooner or later in what core 0 does when it is woken. */
	for (size_t n = round * 7 % 512; n > 0; n--)
		__asm__ volatile("");
	t = ktask("anybody's", run, NULL);
	stay_until_run();
	ran = __atomic_load_n(&has_run, __ATOMIC_ACQUIRE);
	if (!ran)
		sem_up(&go, ROUNDS);
	ktask_join(t);
	CHECK(ran);
}

static void wake_often(unsigned i, void *arg)
{
	for (size_t n = *(size_t *)arg; n > 0; n--) {
		kthread_usleep(50);
		wake(n);
	}
}

static void part(unsigned i, void *arg)
{
	if (i == WAKER)
		wake_often(i, arg);
	else
		be_woken(i, arg);
}

/* Core 0 is woken for a ktask of its own.  While it looks for that, another ktask becomes ready,
 * which only a third core can run. */
TEST("ktask: a core woken for work that finds other work wakes another core")
{
	size_t rounds = test_ops(ROUNDS);

	if (port_core_count() < 3)
		return;
	sem_init(&go, 0);
	threads_run(THREADS_PINNED, 2, part, &rounds);
}
