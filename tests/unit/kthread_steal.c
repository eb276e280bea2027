/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ktasks that are ready while others keep their core, or always come first: each runs within the
 * number of switches that kthread.h says.
 */
#include "kthread.h"
#include "lib/test.h"
#include "port.h"
#include "sync.h"
#include "threads.h"

#define HOG 1	    /* the core that never yields, and the number of its thread */
#define CORES_MAX 8 /* on more the test does nothing */
#define STARVED 3
#define BOUND (STARVED * KTHREAD_FAIR_PERIOD)
#define LIMIT (20 * BOUND * CORES_MAX) /* switches of a core until they count as starved */

struct starving {
	unsigned yielding; /* threads that have begun to yield */
	bool queued;
	unsigned have_run;
	unsigned switches[CORES_MAX]; /* of each core since they were queued */
};

static void note_run(void *count)
{
	__atomic_fetch_add((unsigned *)count, 1, __ATOMIC_RELEASE);
}

static bool is_queued(struct starving *s)
{
	return __atomic_load_n(&s->queued, __ATOMIC_ACQUIRE);
}

static bool all_have_run(struct starving *s)
{
	return __atomic_load_n(&s->have_run, __ATOMIC_ACQUIRE) == STARVED;
}

static bool is_late(struct starving *s, unsigned core)
{
	return __atomic_load_n(&s->switches[core], __ATOMIC_RELAXED) >= LIMIT;
}

/* Two of these on a core keep its run queue from getting empty. */
static void yield_until_run(struct starving *s, unsigned core)
{
	__atomic_fetch_add(&s->yielding, 1, __ATOMIC_RELAXED);
	while (!all_have_run(s) && !is_late(s, core) && !test_has_failed()) {
		if (is_queued(s))
			__atomic_fetch_add(&s->switches[core], 1, __ATOMIC_RELAXED);
		kthread_yield();
	}
}

static bool is_anyone_late(struct starving *s)
{
	for (unsigned core = 0; core < port_core_count(); core++)
		if (is_late(s, core))
			return true;
	return false;
}

/* Queues ktasks on its own core and keeps the core until they have run elsewhere. */
static void hog(struct starving *s)
{
	struct ktask *starved[STARVED];
	bool ran;

	while (__atomic_load_n(&s->yielding, __ATOMIC_RELAXED) < 2 * (port_core_count() - 1))
		kthread_yield();
	for (unsigned i = 0; i < STARVED; i++)
		starved[i] = ktask("starved", note_run, &s->have_run);
	__atomic_store_n(&s->queued, true, __ATOMIC_RELEASE);
	while (!all_have_run(s) && !is_anyone_late(s) && !test_has_failed())
		port_pause();
	ran = all_have_run(s);
	for (unsigned i = 0; i < STARVED; i++)
		ktask_join(starved[i]);
	CHECK(ran);
}

static void starve(unsigned i, void *arg)
{
	if (i % port_core_count() != HOG)
		yield_until_run(arg, i % port_core_count());
	else if (i == HOG)
		hog(arg);
}

/* A core that runs one of them doesn't count meanwhile; others may go on for long. */
TEST("kthread: ready ktasks on a busy core run within a bounded number of switches")
{
	struct starving s = {0};
	unsigned n = port_core_count(), least = LIMIT;

	if (n <= HOG || n > CORES_MAX)
		return;
	threads_run(THREADS_PINNED, 2 * n, starve, &s);
	for (unsigned core = 0; core < n; core++)
		if (core != HOG && s.switches[core] < least)
			least = s.switches[core];
	CHECK_LE(least, n * BOUND);
}

/* Urgent ones that leave no choice */

struct urgent {
	void (*give_way)(struct urgent *u, unsigned i);
	struct semaphore turn[2];
	unsigned switches, have_run;
};

static void by_yield(struct urgent *u, unsigned i)
{
	kthread_yield();
}

static void by_waking(struct urgent *u, unsigned i)
{
	sem_up(&u->turn[!i], 1);
	sem_down(&u->turn[i], 1);
}

static void give_way(struct urgent *u, unsigned i)
{
	while (!__atomic_load_n(&u->have_run, __ATOMIC_ACQUIRE) && u->switches < LIMIT) {
		u->switches++;
		u->give_way(u, i);
	}
	sem_up(&u->turn[!i], 1);
}

static void first_urgent(void *arg)
{
	give_way(arg, 0);
}

static void second_urgent(void *arg)
{
	give_way(arg, 1);
}

/* On core 0, where all are queued before the first of them runs. */
static void starve_by_urgent(unsigned i, void *arg)
{
	struct urgent *u = arg;
	struct ktask_plan plan = {
		.name = "urgent", .fn = first_urgent, .arg = u, .core = 0, .is_urgent = true};
	struct ktask *first, *second, *ordinary;

	first = ktask_create(&plan);
	plan.fn = second_urgent;
	second = ktask_create(&plan);
	ordinary = ktask_pinned("ordinary", note_run, &u->have_run, 0);
	ktask_join(first);
	ktask_join(second);
	ktask_join(ordinary);
}

static void check_urgent(void (*how)(struct urgent *u, unsigned i))
{
	struct urgent u = {.give_way = how};

	sem_init(&u.turn[0], 0);
	sem_init(&u.turn[1], 0);
	threads_run(THREADS_PINNED, 1, starve_by_urgent, &u);
	/* Others of the kernel's may be ready before it. */
	CHECK_LE(u.switches, BOUND);
}

TEST("kthread: one that isn't urgent runs though two urgent ones yield to each other")
{
	check_urgent(by_yield);
}

TEST("kthread: one that isn't urgent runs though two urgent ones wake each other")
{
	check_urgent(by_waking);
}
