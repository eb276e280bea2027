/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cost of calls on threads, locks, signals and alarms, in what each header says it depends on.
 */
#include "costs.h"

#include "alarm.h"
#include "arena_layout.h"
#include "kmalloc.h"
#include "kthread.h"
#include "sync.h"
#include "lib/array.h"
#include "lib/bench.h"

#define THREADS 1024
#define ALARMS 4096

/* Alarms of this core, all far away */

#define FAR (1ull << 62)

static struct alarm *alarms, last_alarm;

static void ring(struct alarm *a)
{
}

static void alarms_make(size_t n)
{
	alarms = bench_must(kzalloc(n * sizeof(*alarms), MEM_WAIT));
	for (size_t i = 0; i < n; i++) {
		alarm_init(&alarms[i], ring);
		alarm_set(&alarms[i], FAR + i);
	}
	alarm_init(&last_alarm, ring);
}

static void alarms_end(size_t n)
{
	for (size_t i = 0; i < n; i++)
		alarm_cancel(&alarms[i]);
	kfree(alarms);
}

static void set_and_cancel(size_t n)
{
	alarm_set(&last_alarm, FAR + n);
	alarm_cancel(&last_alarm);
}

/* Threads that sleep on one signal or lock */

static struct semaphore sem;
static struct condvar cv;
static struct qlock lock;
static struct rendez rendez;
static struct rwlock rw;
static bool ends;
static size_t woken, asleep; /* of those that sleep */
static struct ktask **tasks;

static void tasks_make(size_t n, void (*fn)(void *arg))
{
	ends = false;
	woken = asleep = 0;
	tasks = bench_must(kmalloc(n * sizeof(struct ktask *), MEM_WAIT));
	for (size_t i = 0; i < n; i++)
		tasks[i] = bench_must(ktask("sleeper", fn, NULL));
	while (asleep < n)
		kthread_yield();
}

static void tasks_end(size_t n)
{
	for (size_t i = 0; i < n; i++)
		ktask_join(tasks[i]);
	kfree(tasks);
}

static void await_asleep(size_t n)
{
	while (asleep < n)
		kthread_yield();
}

static void sem_sleeper(void *arg)
{
	while (!ends) {
		asleep++;
		sem_down(&sem, 1);
	}
}

static void sem_make(size_t n)
{
	sem_init(&sem, 0);
	tasks_make(n, sem_sleeper);
}

/* What is counted has the sleepers run and sleep again, too. */
static void sem_wake_one(size_t n)
{
	sem_up(&sem, 1);
	await_asleep(n + ++woken);
}

static void sem_wake_all(size_t n)
{
	sem_up(&sem, n);
	await_asleep((woken += n) + n);
}

static void sem_try(size_t n)
{
	(void)sem_trydown(&sem, 1);
}

static void sem_end(size_t n)
{
	ends = true;
	sem_up(&sem, n);
	tasks_end(n);
}

static void cv_sleeper(void *arg)
{
	qlock_lock(&lock);
	while (!ends) {
		asleep++;
		cv_wait(&cv, &lock);
	}
	qlock_unlock(&lock);
}

static void cv_make(size_t n)
{
	qlock_init(&lock);
	cv_init(&cv);
	tasks_make(n, cv_sleeper);
}

static void cv_wake_one(size_t n)
{
	cv_signal(&cv);
	await_asleep(n + ++woken);
}

static void cv_wake_all(size_t n)
{
	cv_broadcast(&cv);
	await_asleep((woken += n) + n);
}

static void cv_end(size_t n)
{
	ends = true;
	cv_broadcast(&cv);
	tasks_end(n);
}

static bool has_ended(void *arg)
{
	asleep++;
	return ends;
}

static void rendez_sleeper(void *arg)
{
	rendez_sleep(&rendez, has_ended, NULL);
}

static void rendez_make(size_t n)
{
	rendez_init(&rendez);
	tasks_make(n, rendez_sleeper);
}

static void rendez_wake(size_t n)
{
	size_t before = asleep;

	rendez_wakeup(&rendez);
	await_asleep(before + n);
}

static void rendez_end(size_t n)
{
	ends = true;
	rendez_wakeup(&rendez);
	tasks_end(n);
}

static void reader(void *arg)
{
	while (!ends) {
		asleep++;
		rwlock_read(&rw);
		rwlock_read_done(&rw);
		sem_down(&sem, 1);
	}
}

static void rw_make(size_t n)
{
	rwlock_init(&rw);
	sem_init(&sem, 0);
	rwlock_write(&rw);
	tasks_make(n, reader);
}

/* Lets all in, and has them come again. */
static void rw_turn(size_t n)
{
	rwlock_write_done(&rw);
	rwlock_write(&rw);
	sem_up(&sem, n);
	await_asleep((woken += n) + n);
}

static void rw_end(size_t n)
{
	ends = true;
	rwlock_write_done(&rw);
	sem_up(&sem, n);
	tasks_end(n);
}

/* Beside threads that sleep */

static struct ktask_stats *rows;

static void rows_make(size_t n)
{
	sem_make(n);
	rows = bench_must(kmalloc(n * sizeof(*rows), MEM_WAIT));
}

static void rows_end(size_t n)
{
	kfree(rows);
	sem_end(n);
}

static void fill_rows(size_t n)
{
	ktask_stats(0, rows, n);
}

static void count_tasks(size_t n)
{
	(void)ktask_count();
}

static void yield(size_t n)
{
	kthread_yield();
}

static void at_once(void *arg)
{
}

static void begin_and_join(size_t n)
{
	ktask_join(ktask("short", at_once, NULL));
}

static const struct cost costs[] = {
	{"logarithmic.alarm_set", alarms_make, set_and_cancel, alarms_end, ALARMS},
	{"constant.sem_up", sem_make, sem_wake_one, sem_end, THREADS},
	{"linear.sem_up.served", sem_make, sem_wake_all, sem_end, THREADS},
	{"constant.sem_trydown", sem_make, sem_try, sem_end, THREADS},
	{"constant.cv_signal", cv_make, cv_wake_one, cv_end, THREADS},
	{"linear.cv_broadcast", cv_make, cv_wake_all, cv_end, THREADS},
	{"linear.rendez_wakeup", rendez_make, rendez_wake, rendez_end, THREADS},
	{"linear.rwlock_write_done", rw_make, rw_turn, rw_end, THREADS},
	{"linear.ktask_stats", rows_make, fill_rows, rows_end, THREADS},
	{"constant.ktask_count", sem_make, count_tasks, sem_end, THREADS},
	{"constant.kthread_yield", sem_make, yield, sem_end, THREADS},
	{"constant.ktask", sem_make, begin_and_join, sem_end, THREADS},
};

BENCH("cost.threads")
{
	costs_count(costs, ARRAY_SIZE(costs));
}
