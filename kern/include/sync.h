/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locks and signals that sleep: qlocks, semaphores, condition variables, rendez, reader-writer
 * locks.
 *
 *	static struct qlock lock = QLOCK_INIT(lock);
 *	static struct condvar not_empty = CONDVAR_INIT(not_empty);
 *
 *	qlock_lock(&lock);
 *	while (list_empty(&jobs))
 *		cv_wait(&not_empty, &lock);
 *	...
 *	qlock_unlock(&lock);
 *
 * All of them queue sleepers in the order they came and hand over to the first one, so nobody is
 * overtaken.  A sleeper's record lies on its own stack: sleeping and waking allocate nothing.  Of a
 * wake-up and a deadline that meet, exactly one wins, and nothing that was handed over is lost.
 *
 * Contexts.  What may sleep is for threads, with interrupts on and no spinlock held; that is
 * checked at entry, whether or not it comes to sleeping, and its violation is a panic that names
 * the caller.  While there are no threads yet (boot), it may be called so long as it need not
 * sleep.  What wakes (up, signal, broadcast, wakeup) and what only tries is legal in interrupts and
 * under spinlocks of a class before SPIN_SYNC.  Nothing here is for NMIs.
 *
 * Deadlines are moments of port_ns(); PORT_FOREVER is none; one that has passed makes a try of it.
 * Cost: constant but where said.
 */
#ifndef SPANDREL_SYNC_H
#define SPANDREL_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port.h"
#include "spinlock.h"

/* The sleepers on one lock or signal, in the order of their arrival: a part of each struct below,
 * of no use by itself. */
struct sync_queue {
	struct spinlock lock; /* guards the queue and the struct that the queue is part of */
	struct sync_sleeper *first, *last; /* NULL, both: no thread sleeps; sync.c knows their bodies */
	uint64_t tickets; /* sleepers that ever entered */
};
#define SYNC_QUEUE_INIT {SPINLOCK_INIT(SPIN_SYNC), NULL, NULL, 0}

/* qlock: one holder at a time */

struct qlock {
	struct sync_queue queue;
	bool held;
	port_thread_t *holder; /* NULL: held by boot, or by nobody */
};
#define QLOCK_INIT(name) {SYNC_QUEUE_INIT, false, NULL}

void qlock_init(struct qlock *q);

/* Context: may sleep.  Panics if the caller holds it already. */
void qlock_lock(struct qlock *q);

/* Whether it could be taken at once.  Context: a thread; never sleeps. */
bool qlock_trylock(struct qlock *q);

/* Hands the lock to the first sleeper, who holds it from then on.  Context: the thread that took
 * it.  Panics if that isn't the caller. */
void qlock_unlock(struct qlock *q);

/* For assertions. */
bool qlock_is_held_by_me(struct qlock *q);

/* Semaphores: a count that many take from, n at a time */

struct semaphore {
	struct sync_queue queue;
	size_t count;
};
#define SEMAPHORE_INIT(name, count) {SYNC_QUEUE_INIT, count}

void sem_init(struct semaphore *s, size_t count);

/* Takes n from the count, together: sleeps until its turn has come and the count has n.  Who wants
 * much isn't starved by those behind who want little.  Context: may sleep. */
void sem_down(struct semaphore *s, size_t n);

/* The same until the deadline; returns whether it took n. */
bool sem_down_timeout(struct semaphore *s, size_t n, uint64_t deadline);

/* Takes n if nobody waits and the count has n now; returns whether it did.  Context: any. */
bool sem_trydown(struct semaphore *s, size_t n);

/* Adds n to the count and serves sleepers in order.  Context: any.  Cost: linear in those served,
 * in steps of at most SYNC_STEP under the lock. */
void sem_up(struct semaphore *s, size_t n);
#define SYNC_STEP 16

/* What the count is now, for people to see. */
size_t sem_count(struct semaphore *s);

/* Condition variables, as Mesa has them: a wake-up is a hint, look again (Lampson and Redell,
 * "Experience with Processes and Monitors in Mesa", CACM 23(2), 1980) */

struct condvar {
	struct sync_queue queue;
};
#define CONDVAR_INIT(name) {SYNC_QUEUE_INIT}

void cv_init(struct condvar *cv);

/* Lets go of the qlock, sleeps until woken, takes the qlock again.  A wake-up that comes after the
 * qlock was let go isn't missed.  Context: may sleep; holds q. */
void cv_wait(struct condvar *cv, struct qlock *q);

/* The same until the deadline; returns whether it was woken.  The qlock is held either way. */
bool cv_wait_timeout(struct condvar *cv, struct qlock *q, uint64_t deadline);

/* Wakes the first sleeper; every one that sleeps now.  The qlock need not be held, but then what
 * they wait for must have been changed under something the sleepers look at under the qlock.
 * Context: any.  Cost: broadcast is linear in sleepers, in steps of SYNC_STEP. */
void cv_signal(struct condvar *cv);
void cv_broadcast(struct condvar *cv);

/* Rendez: sleep until a condition holds, without a lock around it (after Plan 9) */

struct rendez {
	struct sync_queue queue;
};
#define RENDEZ_INIT(name) {SYNC_QUEUE_INIT}

void rendez_init(struct rendez *r);

/* Sleeps until condition(arg) is true.  It is called with no lock held, before sleeping and after
 * each wake-up, and may not sleep.  Who makes it true calls rendez_wakeup() afterward; a wake-up
 * that comes between the look and the sleep isn't missed.  Context: may sleep. */
void rendez_sleep(struct rendez *r, bool (*condition)(void *arg), void *arg);

/* The same until the deadline; returns whether the condition held when last looked at. */
bool rendez_sleep_timeout(
	struct rendez *r, bool (*condition)(void *arg), void *arg, uint64_t deadline);

/* Has every sleeper look again.  Returns whether there was one.  Context: any.  Cost: as broadcast;
 * constant with nobody asleep. */
bool rendez_wakeup(struct rendez *r);

/* rwlock: many readers or one writer, in the order they came, so neither starves */

struct rwlock {
	struct sync_queue queue;
	size_t readers;	       /* that hold it */
	bool written;	       /* a writer holds it */
	port_thread_t *writer; /* who that is */
};
#define RWLOCK_INIT(name) {SYNC_QUEUE_INIT, 0, false, NULL}

void rwlock_init(struct rwlock *l);

/* A reader may not take it again while it holds it: a writer may have come in between.  Context:
 * may sleep. */
void rwlock_read(struct rwlock *l);
void rwlock_write(struct rwlock *l);

/* Whether it could be taken at once, with nobody waiting.  Context: a thread; never sleep. */
bool rwlock_tryread(struct rwlock *l);
bool rwlock_trywrite(struct rwlock *l);

/* Context: a thread that holds it so.  Panics if nobody does, or (write) another.  Cost: linear in
 * readers let in, in steps of SYNC_STEP. */
void rwlock_read_done(struct rwlock *l);
void rwlock_write_done(struct rwlock *l);

/* For others who make such things */

/* Panics unless the caller may sleep: a thread or boot, interrupts on, not in an interrupt.  `what`
 * is named, and `caller`. */
void sync_check_may_sleep(const char *what, void *caller);

#endif
