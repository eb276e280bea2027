/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ktasks, many of them asleep on each kind of lock, and alarms.
 */
#include "alarm.h"
#include "drive.h"
#include "kthread.h"
#include "sync.h"
#include "lib/test.h"

#define SLEEPERS 1000
#define ALARMS 5000
#define ROWS 64
#define MS 1000000u /* ns */

static struct qlock lock;
static struct condvar condition;
static struct semaphore semaphore;
static struct rendez door;
static struct rwlock rw;
static size_t come, gone; /* under lock, or by threads that don't run at once */
static bool is_open;

static bool is_door_open(void *arg)
{
	return is_open;
}

static void in_lock(void *arg)
{
	come++;
	qlock_lock(&lock);
	gone++;
	qlock_unlock(&lock);
}

static void in_condition(void *arg)
{
	qlock_lock(&lock);
	come++;
	cv_wait(&condition, &lock);
	gone++;
	qlock_unlock(&lock);
}

static void in_semaphore(void *arg)
{
	come++;
	sem_down(&semaphore, 1);
	gone++;
}

static void in_rendez(void *arg)
{
	come++;
	rendez_sleep(&door, is_door_open, NULL);
	gone++;
}

static void in_read(void *arg)
{
	come++;
	rwlock_read(&rw);
	gone++;
	rwlock_read_done(&rw);
}

static void in_write(void *arg)
{
	come++;
	rwlock_write(&rw);
	gone++;
	rwlock_write_done(&rw);
}

/* Has SLEEPERS ktasks come to sleep in fn, wakes them, and sees them end. */
static void crowd(void (*fn)(void *arg), void (*wake)(void))
{
	static struct ktask *tasks[SLEEPERS];

	come = gone = 0;
	for (size_t i = 0; i < SLEEPERS; i++)
		CHECK(tasks[i] = ktask("sleeper", fn, NULL));
	while (come < SLEEPERS)
		kthread_yield();
	kthread_yield();
	wake();
	for (size_t i = 0; i < SLEEPERS; i++)
		ktask_join(tasks[i]);
	CHECK_EQ(gone, SLEEPERS);
}

static void wake_condition(void)
{
	cv_signal(&condition);
	cv_broadcast(&condition);
}

static void wake_semaphore(void)
{
	sem_up(&semaphore, SLEEPERS);
}

static void wake_rendez(void)
{
	is_open = true;
	rendez_wakeup(&door);
}

static void wake_lock(void)
{
	CHECK(qlock_is_held_by_me(&lock));
	qlock_unlock(&lock);
}

static void wake_readers(void)
{
	rwlock_write_done(&rw);
}

static void wake_writers(void)
{
	rwlock_read_done(&rw);
}

static void crowds(void)
{
	qlock_init(&lock);
	cv_init(&condition);
	sem_init(&semaphore, 0);
	rendez_init(&door);
	rwlock_init(&rw);
	crowd(in_condition, wake_condition);
	crowd(in_semaphore, wake_semaphore);
	crowd(in_rendez, wake_rendez);
	qlock_lock(&lock);
	crowd(in_lock, wake_lock);
	rwlock_write(&rw);
	crowd(in_read, wake_readers);
	rwlock_read(&rw);
	crowd(in_write, wake_writers);
}

static bool is_never(void *arg)
{
	return false;
}

static void tries(void)
{
	CHECK(qlock_trylock(&lock));
	CHECK(!cv_wait_timeout(&condition, &lock, port_ns() + MS));
	qlock_unlock(&lock);
	CHECK(!sem_trydown(&semaphore, 1));
	CHECK(!sem_down_timeout(&semaphore, 1, port_ns() + MS));
	CHECK_EQ(sem_count(&semaphore), 0);
	CHECK(!rendez_sleep_timeout(&door, is_never, NULL, port_ns() + MS));
	CHECK(rwlock_tryread(&rw));
	rwlock_read_done(&rw);
	CHECK(rwlock_trywrite(&rw));
	rwlock_write_done(&rw);
	sync_check_may_sleep("the drive", __builtin_return_address(0));
}

static void nothing(void *arg)
{
}

static void leave(void *arg)
{
	ktask_exit();
}

#define FRAMES 8

static void ktasks(void)
{
	static struct ktask_stats rows[ROWS];
	uintptr_t pcs[FRAMES];
	struct ktask_plan plan = {.name = "planned", .fn = leave, .core = KTASK_ANY_CORE};

	ktask_join(ktask_pinned("pinned", nothing, NULL, 0));
	ktask_join(ktask_create(&plan));
	CHECK(ktask_detached("detached", nothing, NULL));
	kthread_yield();
	kthread_usleep(1000);
	ktask_id(ktask_self());
	ktask_name(ktask_self());
	ktask_stats(0, rows, ROWS);
	ktask_count();
	ktask_stacks_idle();
	CHECK_LT(0, ktask_backtrace(ktask_id(ktask_self()), pcs, FRAMES));
	ktask_stack_peak(ktask_id(ktask_self()));
	kthread_steals();
}

static void ring(struct alarm *a)
{
	gone++;
}

/* All due at one moment, then none of them. */
static void alarms(void)
{
	static struct alarm all[ALARMS];
	uint64_t moment;

	gone = 0;
	for (size_t i = 0; i < ALARMS; i++)
		alarm_init(&all[i], ring);
	moment = port_ns() + 100 * MS;
	for (size_t i = 0; i < ALARMS; i++)
		alarm_set(&all[i], moment);
	while (gone < ALARMS)
		kthread_usleep(1000);
	for (size_t i = 0; i < ALARMS; i++)
		alarm_set(&all[i], port_ns() + 1000000ull * MS + i * 7919 % ALARMS);
	alarms_run();
	for (size_t i = 0; i < ALARMS; i++)
		CHECK(alarm_cancel(&all[i]));
}

void drive_threads(void)
{
	crowds();
	tries();
	ktasks();
	alarms();
}
