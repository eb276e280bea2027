/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests with several threads.
 */
#include "threads.h"

#include "arena.h"
#include "port.h"
#include "lib/test.h"

struct thread {
	struct ktask *ktask;
	struct threads *all;
	unsigned number;
};

struct threads {
	void (*fn)(unsigned i, void *arg);
	void *arg;
	unsigned count;
	size_t bytes;
	struct thread each[];
};

static void call(void *arg)
{
	struct thread *t = arg;

	t->all->fn(t->number, t->all->arg);
}

static void thread_main(void *arg)
{
	struct thread *t = arg;

	test_run_part(t->number + 1, call, t);
}

struct threads *threads_start(
	enum threads_where where, unsigned n, void (*fn)(unsigned i, void *arg), void *arg)
{
	size_t bytes = sizeof(struct threads) + n * sizeof(struct thread);
	struct threads *threads = base_alloc(NULL, bytes, MEM_WAIT);

	*threads = (struct threads){fn, arg, n, bytes};
	for (unsigned i = 0; i < n; i++) {
		struct thread *t = &threads->each[i];
		struct ktask_plan plan = {
			.name = "test", .fn = thread_main, .arg = t, .core = KTASK_ANY_CORE};

		if (where == THREADS_PINNED)
			plan.core = i % port_core_count();
		t->all = threads;
		t->number = i;
		t->ktask = ktask_create(&plan);
	}
	return threads;
}

/* A ktask for which there was no memory fails the test, once the others have ended. */
void threads_join(struct threads *threads)
{
	unsigned missing = 0;

	for (unsigned i = 0; i < threads->count; i++) {
		if (threads->each[i].ktask)
			ktask_join(threads->each[i].ktask);
		else
			missing++;
	}
	base_free(NULL, threads, threads->bytes);
	test_end_if_failed();
	CHECK_EQ(missing, 0);
}

void threads_run(enum threads_where where, unsigned n, void (*fn)(unsigned i, void *arg), void *arg)
{
	threads_join(threads_start(where, n, fn, arg));
}

void threads_await(const bool *flag)
{
	while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE) && !test_has_failed())
		kthread_yield();
}

bool threads_sleep_for(const bool *flag)
{
	uint64_t end = port_ns() + THREADS_PATIENCE;

	while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE) && port_ns() < end)
		kthread_usleep(100);
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

void threads_await_waiting(struct arena *a, size_t n)
{
	uint64_t end = port_ns() + THREADS_PATIENCE;
	struct arena_stats stats;

	do {
		kthread_usleep(100);
		arena_get_stats(a, &stats);
	} while (stats.waiting != n && port_ns() < end);
	CHECK_EQ(stats.waiting, n);
}

struct look {
	uintptr_t va;
	uint64_t seen;
};

static void look(void *arg)
{
	struct look *l = arg;

	l->seen = *(volatile uint64_t *)l->va;
}

uint64_t threads_read_on(unsigned core, uintptr_t va)
{
	struct look l = {va, 0};

	port_core_run(core, look, &l);
	return l.seen;
}
