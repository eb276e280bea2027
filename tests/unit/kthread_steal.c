/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ktasks that are ready on a core that doesn't give up what it runs.
 */
#include "kthread.h"
#include "lib/test.h"
#include "port.h"
#include "threads.h"

#define HOG 1 /* the core that never yields, and the number of its thread */
#define LIMIT 3000000000ull /* nanoseconds until the ktask counts as starved */

struct starving {
	unsigned yielding; /* threads that have begun to yield */
	bool has_run;
};

static void set(void *flag)
{
	__atomic_store_n((bool *)flag, true, __ATOMIC_RELEASE);
}

static bool has_run_or_late(struct starving *s, uint64_t deadline)
{
	return __atomic_load_n(&s->has_run, __ATOMIC_ACQUIRE) || port_ns() >= deadline;
}

/* Two of these on a core keep its run queue from getting empty. */
static void yield_until_run(struct starving *s)
{
	uint64_t deadline = port_ns() + 2 * LIMIT;

	__atomic_fetch_add(&s->yielding, 1, __ATOMIC_RELAXED);
	while (!has_run_or_late(s, deadline))
		kthread_yield();
}

/* Queues a ktask on its own core and keeps the core until the ktask has run elsewhere. */
static void hog(struct starving *s)
{
	struct ktask *starved;
	uint64_t deadline;
	bool has_run;

	while (__atomic_load_n(&s->yielding, __ATOMIC_RELAXED) < 2 * (port_core_count() - 1))
		kthread_yield();
	starved = ktask("starved", set, &s->has_run);
	deadline = port_ns() + LIMIT;
	while (!has_run_or_late(s, deadline))
		port_pause();
	has_run = __atomic_load_n(&s->has_run, __ATOMIC_ACQUIRE);
	ktask_join(starved);
	CHECK(has_run);
}

static void starve(unsigned i, void *arg)
{
	if (i % port_core_count() != HOG)
		yield_until_run(arg);
	else if (i == HOG)
		hog(arg);
}

TEST("kthread: a ktask that is ready on a busy core runs though others always have their own")
{
	struct starving s = {0};

	if (port_core_count() > HOG)
		threads_run(THREADS_PINNED, 2 * port_core_count(), starve, &s);
}
