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
 * All of them queue their sleepers in the order of arrival and hand over to the first, so no
 * sleeper is overtaken.  A sleeper's record lies on its own stack: sleeping and waking allocate
 * nothing.  If a wake-up and a deadline come together, exactly one of them counts, and nothing that
 * was handed over is lost.  Any core may use any of them at once.
 *
 * Contexts.  "May sleep": a thread, with interrupts on, no spinlock held, and in no callback of an
 * arena's or a cache's owner (arena_set_reclaim, kmem_cache_set_reclaim).  This is checked at
 * entry, whether or not the call comes to sleep, and panics with the caller's name.  Boot, before
 * there are threads, may make such a call if it doesn't come to sleep; else it panics.  "Any": also
 * interrupts, callbacks, and under spinlocks of a class before SPIN_SYNC, but no NMIs.
 *
 * In a build with SPANDREL_DEBUG a qlock knows where it was taken.  A request by MEM_WAIT while one is held that
 * a callback of reclaim takes, and a callback that returns with one held, are panics that name both places.
 *
 * Deadlines are moments of port_ns(), in nanoseconds.  PORT_FOREVER is none; with one that has
 * passed the call takes what it can have at once.  In a port without a clock one that is to come passes with
 * the first port_thread_block() that returns.  Cost, where nothing else is said: constant, and
 * the sleep.
 */
#ifndef SPANDREL_SYNC_H
#define SPANDREL_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "annotate.h"
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

/* Whether a deadline has passed for a caller that has let other threads run.  Where time stands every one but
 * PORT_FOREVER has: else what is to come once it has passed would never come.  Context: any. */
static inline bool deadline_has_passed(uint64_t deadline)
{
	return deadline <= port_ns() || (!PORT_HAS_CLOCK && deadline != PORT_FOREVER);
}

/* Notes for people what the running thread is about to sleep for, a static string, and its address; NULL,
 * NULL: it goes on.  What is made of sync.h's own sleeps notes it by itself.  Context: any but an NMI. */
static inline void sync_note_wait(const char *what, const void *of)
{
	port_set_word(PORT_THREAD_WAIT_OF, (uintptr_t)of);
	port_set_word(PORT_THREAD_WAIT, (uintptr_t)what);
}

/* qlock: one holder at a time */

struct SPANDREL_CAPABILITY("qlock") qlock {
	struct sync_queue queue;
	bool held;
	port_thread_t *holder; /* NULL: boot, or no thread */
#if SPIN_CHECKS
	struct qlock_note {
		struct qlock *below; /* what the holder took before it */
		void *site;	     /* where the holder took it */
		void *tried_at;	     /* where a callback of reclaim tried to take it last; NULL: nowhere */
		void *slept_at;	     /* where the holder began to sleep for memory; NULL: it doesn't */
	} note;
#endif
};
#if SPIN_CHECKS
#define QLOCK_INIT(name) {SYNC_QUEUE_INIT, false, NULL, {NULL, NULL, NULL, NULL}}
#else
#define QLOCK_INIT(name) {SYNC_QUEUE_INIT, false, NULL}
#endif

/* Does at run time what QLOCK_INIT() does.  Context: any; no other caller uses the lock yet. */
void qlock_init(struct qlock *q);

/* Takes the lock, sleeping until it is free; on the core that reports a panic, for which nothing is locked
 * any more, does nothing.  Context: may sleep.  Panics if the caller holds
 * it. */
void qlock_lock(struct qlock *q) SPANDREL_ACQUIRES(q);

/* Takes the lock if it is free; never sleeps.  Context: a thread or boot, checked: no interrupt;
 * interrupts may be off, spinlocks held, and in callbacks.  Returns whether it was taken. */
bool qlock_trylock(struct qlock *q) SPANDREL_TRIES(q);

/* Releases the lock, to the first sleeper if there is one: it holds the lock from then on.
 * Context: the thread that holds it; interrupts may be off.  Panics if the caller doesn't hold
 * it, and in an interrupt. */
void qlock_unlock(struct qlock *q) SPANDREL_RELEASES(q);

/* Whether the caller holds the lock: for assertions.  Context: a thread or boot. */
bool qlock_is_held_by_me(struct qlock *q);

/* Semaphores: a count that callers take from and add to */

struct semaphore {
	struct sync_queue queue;
	size_t count;
};
#define SEMAPHORE_INIT(name, count) {SYNC_QUEUE_INIT, count}

/* Does at run time what SEMAPHORE_INIT() does.  Context: any; no other caller uses it yet. */
void sem_init(struct semaphore *s, size_t count);

/* Takes n from the count at once, sleeping until every sleeper before this one is served and the
 * count is n or more: large requests aren't starved by small ones.  Context: may sleep. */
void sem_down(struct semaphore *s, size_t n);

/* The same until `deadline`.  Returns whether it took n; else it took nothing. */
bool sem_down_timeout(struct semaphore *s, size_t n, uint64_t deadline);

/* Takes n if no thread sleeps on it and the count is n or more; never sleeps.  Context: any.
 * Returns whether it took n. */
bool sem_trydown(struct semaphore *s, size_t n);

/* Adds n to the count and serves sleepers in their order.  Context: any.  Cost: linear in sleepers
 * that are served, at most SYNC_STEP of them under one hold of the spinlock.  Panics, with nothing
 * changed, if the count would be 2^64 or more. */
void sem_up(struct semaphore *s, size_t n);
#define SYNC_STEP 16

/* The count now, for people to read.  Context: any. */
size_t sem_count(struct semaphore *s);

/* Condition variables, as Mesa has them: a thread that was woken looks at its condition again
 * (Lampson and Redell, "Experience with Processes and Monitors in Mesa", CACM 23(2), 1980) */

struct condvar {
	struct sync_queue queue;
};
#define CONDVAR_INIT(name) {SYNC_QUEUE_INIT}

/* Does at run time what CONDVAR_INIT() does.  Context: any; no other caller uses it yet. */
void cv_init(struct condvar *cv);

/* Releases the qlock, sleeps until woken, and takes the qlock again.  A wake-up that comes after
 * the release isn't missed.  Context: may sleep, the qlock held.  Panics if it isn't. */
void cv_wait(struct condvar *cv, struct qlock *q) SPANDREL_REQUIRES(q);

/* The same until `deadline`; the qlock is held on return in any case.  Returns whether it was
 * woken. */
bool cv_wait_timeout(struct condvar *cv, struct qlock *q, uint64_t deadline) SPANDREL_REQUIRES(q);

/* Wakes the first sleeper.  The qlock need not be held, but what the sleepers wait for must have
 * been changed under it before: else a thread that has looked and doesn't sleep yet misses both.
 * Context: any. */
void cv_signal(struct condvar *cv);

/* The same for every thread that sleeps now.  Cost: linear in sleepers, at most SYNC_STEP of them
 * under one hold of the spinlock. */
void cv_broadcast(struct condvar *cv);

/* Rendez: sleep until a condition holds, without a lock around it (after Plan 9) */

struct rendez {
	struct sync_queue queue;
};
#define RENDEZ_INIT(name) {SYNC_QUEUE_INIT}

/* Does at run time what RENDEZ_INIT() does.  Context: any; no other caller uses it yet. */
void rendez_init(struct rendez *r);

/* Sleeps until condition(arg) is true.  It is called with no lock held, before sleeping and after
 * each wake-up, on the sleeper's stack; it may call whatever never sleeps, and panics if it calls what
 * may.  The code that makes it true calls rendez_wakeup()
 * afterward; a wake-up that comes between a call of condition() and the sleep isn't missed.
 * Context: may sleep.  Cost: the condition's for each wake-up. */
void rendez_sleep(struct rendez *r, bool (*condition)(void *arg), void *arg);

/* The same until `deadline`.  Returns what condition(arg) was when it was called last. */
bool rendez_sleep_timeout(
	struct rendez *r, bool (*condition)(void *arg), void *arg, uint64_t deadline);

/* Wakes every thread that sleeps now, to look at its condition again.  Context: any.  Cost: as
 * cv_broadcast(); constant if no thread sleeps.  Returns whether one did. */
bool rendez_wakeup(struct rendez *r);

/* rwlock: many readers or one writer, in the order they came, so neither starves */

struct SPANDREL_CAPABILITY("rwlock") rwlock {
	struct sync_queue queue;
	size_t readers;	       /* that hold it */
	bool written;	       /* a writer holds it */
	port_thread_t *writer; /* which thread that is; NULL: boot, or none */
};
#define RWLOCK_INIT(name) {SYNC_QUEUE_INIT, 0, false, NULL}

/* Does at run time what RWLOCK_INIT() does.  Context: any; no other caller uses it yet. */
void rwlock_init(struct rwlock *l);

/* Takes the lock for reading, or for writing, sleeping until its turn has come.  A thread that
 * holds it may not take it again, not even for reading: a writer may have come in between, and both
 * would sleep for ever.  Context: may sleep.  Panics if the caller holds it, for writing or as the one
 * rwlock that it holds for reading: which they are isn't known of a thread that reads several. */
void rwlock_read(struct rwlock *l) SPANDREL_ACQUIRES_SHARED(l);
void rwlock_write(struct rwlock *l) SPANDREL_ACQUIRES(l);

/* Takes the lock if no thread sleeps on it and it is free for that; never sleeps.  Context: as
 * qlock_trylock().  Returns whether it was taken.  It isn't from a caller that holds it, for
 * reading as far as that is known. */
bool rwlock_tryread(struct rwlock *l) SPANDREL_TRIES_SHARED(l);
bool rwlock_trywrite(struct rwlock *l) SPANDREL_TRIES(l);

/* Releases the lock that was taken for reading, or for writing, and lets in what comes next: a
 * writer, or the readers before the next writer.  Context: the thread that took it; interrupts may
 * be off.  Cost: linear in readers that are let in, at most SYNC_STEP of them under one hold of the
 * spinlock.  Panics, with nothing changed, if no thread holds it so, and if the caller isn't one that
 * does; of callers that hold several rwlocks for reading that isn't known; and in an interrupt. */
void rwlock_read_done(struct rwlock *l) SPANDREL_RELEASES_SHARED(l);
void rwlock_write_done(struct rwlock *l) SPANDREL_RELEASES(l);

/* For other calls that may sleep, or wait for cores */

/* Checks that the caller may sleep: a thread or boot, interrupts on, no spinlock held, in no
 * callback.  Context: any.  Panics if it may not, with `what`, the name of the call, and `caller`, its
 * return address. */
void sync_check_may_sleep(const char *what, void *caller);

/* Checks that the caller may wait for other cores to take an interrupt: as the above, but in callbacks,
 * too. */
void sync_check_irq_on(const char *what, void *caller);

#endif
