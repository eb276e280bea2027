/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a ktask's row says: what it sleeps for, and how much of its stack it ever used.
 */
#include "kthread.h"

#include "arena.h"
#include "machine.h"
#include "port.h"
#include "sync.h"
#include "threads.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"

static struct qlock qlock;
static struct semaphore semaphore;
static struct rendez rendez;
static struct rwlock rwlock;
static bool has_come; /* atomic */

static bool is_here(void *arg)
{
	return __atomic_load_n(&has_come, __ATOMIC_ACQUIRE);
}

static void lock_qlock(void *arg)
{
	qlock_lock(&qlock);
	qlock_unlock(&qlock);
}

static void down(void *arg)
{
	sem_down(&semaphore, 1);
}

static void sleep_on_rendez(void *arg)
{
	rendez_sleep(&rendez, is_here, NULL);
}

static void lock_rwlock(void *arg)
{
	rwlock_read(&rwlock);
	rwlock_read_done(&rwlock);
}

static void sleep_for_time(void *arg)
{
	while (!is_here(NULL))
		kthread_usleep(10000);
}

static bool sleeps_for(const struct ktask_stats *row, const char *what)
{
	return row->wait && strcmp(row->wait, what) == 0 && strcmp(row->state, "asleep") == 0;
}

/* Waits until the ktask sleeps, and its row says what for. */
static struct ktask_stats await_wait(const struct ktask *t, const char *what)
{
	uint64_t deadline = port_ns() + THREADS_PATIENCE;
	struct ktask_stats row;

	do {
		kthread_yield();
		CHECK_EQ(ktask_stats(ktask_id(t), &row, 1), 1);
	} while (!sleeps_for(&row, what) && port_ns() < deadline);
	CHECK_STR(row.wait ? row.wait : "-", what);
	CHECK_STR(row.state, "asleep");
	return row;
}

TEST("ktask: its row says what it sleeps for")
{
	static const struct {
		const char *what;
		void (*fn)(void *arg);
		const void *of;
	} sleeps[] = {
		{"qlock", lock_qlock, &qlock},
		{"semaphore", down, &semaphore},
		{"rendez", sleep_on_rendez, (const void *)is_here},
		{"rwlock", lock_rwlock, &rwlock},
		{"time", sleep_for_time, NULL},
	};
	struct ktask *t[ARRAY_SIZE(sleeps)];
	struct ktask_stats self;

	qlock_init(&qlock);
	sem_init(&semaphore, 0);
	rendez_init(&rendez);
	rwlock_init(&rwlock);
	has_come = false;
	qlock_lock(&qlock);
	rwlock_write(&rwlock);
	for (size_t i = 0; i < ARRAY_SIZE(sleeps); i++)
		t[i] = ktask("sleeper", sleeps[i].fn, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(sleeps); i++)
		CHECK_EQ(await_wait(t[i], sleeps[i].what).wait_of, (uintptr_t)sleeps[i].of);
	qlock_unlock(&qlock);
	rwlock_write_done(&rwlock);
	sem_up(&semaphore, 1);
	__atomic_store_n(&has_come, true, __ATOMIC_RELEASE);
	rendez_wakeup(&rendez);
	for (size_t i = 0; i < ARRAY_SIZE(sleeps); i++)
		ktask_join(t[i]);
	CHECK_EQ(ktask_stats(ktask_id(ktask_self()), &self, 1), 1);
	CHECK(self.wait == NULL);
}

static void take_all(void *arena)
{
	void *unit = arena_alloc(arena, 1, MEM_WAIT);

	arena_free(arena, unit, 1);
}

TEST("ktask: one that waits for memory is known by the arena, which has a name")
{
	struct arena *a = arena_create("test-short", (void *)1, 1, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	void *unit = arena_alloc(a, 1, MEM_WAIT);
	struct ktask *t = ktask("waiter", take_all, a);
	char name[ARENA_NAME_MAX];

	CHECK(arena_name_at((const struct arena *)await_wait(t, "memory").wait_of, name));
	CHECK_STR(name, "test-short");
	arena_free(a, unit, 1);
	ktask_join(t);
	CHECK_EQ(arena_destroy(a), 0);
	CHECK(!arena_name_at(a, name));
	CHECK(!arena_name_at(NULL, name));
}

#define MANY 150

static struct ktask_stats rows[2 * MANY];

TEST("ktask: rows are of all that there are, or of as many as there is room for")
{
	struct ktask *t[MANY];
	size_t n;

	has_come = false;
	rendez_init(&rendez);
	for (size_t i = 0; i < MANY; i++)
		t[i] = ktask("many", sleep_on_rendez, NULL);
	n = ktask_stats(0, rows, 2 * MANY);
	CHECK_LT(MANY, n);
	for (size_t i = 1; i < n; i++)
		CHECK_LT(rows[i - 1].id, rows[i].id);
	for (size_t max = 0; max <= n; max++)
		CHECK_EQ(ktask_stats(0, rows, max), max);
	__atomic_store_n(&has_come, true, __ATOMIC_RELEASE);
	for (size_t i = 0; i < MANY; i++) {
		rendez_wakeup(&rendez);
		ktask_join(t[i]);
	}
}

#define PART (MACHINE_STACK_SIZE / 2)

static __attribute__((noinline)) void use(size_t bytes)
{
	volatile char part[PART];

	for (size_t i = 0; i < bytes; i += 64)
		part[sizeof(part) - 1 - i] = 1;
}

static void use_half(void *arg)
{
	use(PART);
	sem_down(&semaphore, 1);
}

TEST("ktask: the most of its stack that was used is known")
{
	struct ktask *t;
	uint64_t id;

	sem_init(&semaphore, 0);
	t = ktask("deep", use_half, NULL);
	id = ktask_id(t);
	await_wait(t, "semaphore");
	CHECK_LE(PART - 64, ktask_stack_peak(id));
	CHECK_LT(ktask_stack_peak(id), MACHINE_STACK_SIZE);
	sem_up(&semaphore, 1);
	ktask_join(t);
	CHECK_EQ(ktask_stack_peak(id), 0);
	CHECK_EQ(ktask_stack_peak(0), 0);
	/* The first core's own, on the stack that it started on. */
	CHECK_EQ(ktask_stack_peak(1), 0);
	CHECK_LT(0, ktask_stack_peak(ktask_id(ktask_self())));
}
