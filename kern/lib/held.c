/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What debug builds check of held locks.
 *
 * CONCEPTS
 *
 * Each thread has two chains of what it holds, the last one taken first: spinlocks (spinlock.c) and qlocks.
 * Each lock knows where it was taken, so a report names that place and the place of the wrong call.
 * Four calls are wrong while a lock is held:
 *
 *	a call that may sleep, MEM_WAIT included, under a spinlock;
 *	a request by MEM_WAIT or MEM_ERROR under arenas_and_slabs_lock;
 *	a request by MEM_WAIT under a qlock that a callback of reclaim takes;
 *	the return of a callback that holds more than when it was called.
 *
 * The third is a deadlock: the request sleeps until reclaim has freed something, and the callback can't free
 * anything until the lock is released.  A callback can't sleep, so all that it can do is try: a lock counts as
 * one that a callback takes from its first try in a callback of reclaim on, whether that got the lock or not
 * (`tried_at`).  A later request by MEM_WAIT of a holder is reported at its entry, also if it would be served
 * at once.  The first time the request may come before the try: then the holder sleeps for memory
 * (`slept_at`), and it is the try that is reported.
 *
 * INVARIANTS
 *
 *  1. A qlock is in a thread's chain iff the thread holds it, but for the moments in which it changes hands.
 *  2. `slept_at` is set if the lock's holder is asleep for memory by MEM_WAIT, and only from just before that until
 *     just after it.
 *
 * LOCKING
 *
 * A chain is its thread's alone: handlers hold no qlocks.  `slept_at` and `tried_at` change under the lock of
 * the qlock's queue; a holder reads `tried_at` without it, since a try that comes meanwhile is seen the next
 * time.
 *
 * QUESTIONS
 *
 * Why each lock by itself, and not all that were initialised in one place?  Locks of one place may be those
 * of objects of which some are reclaimed and others are not.
 *
 * Which locks aren't followed?  rwlocks, whose readers would need a record each; and what writers, the
 * threads that write out memory for a callback, take: nothing tells those from other threads.
 */
#include "lib/held.h"

#include "lib/callback.h"
#include "lib/panic.h"

#if SPIN_CHECKS

static struct qlock *last_taken(void)
{
	return (struct qlock *)port_word(PORT_THREAD_QLOCK);
}

void held_taken(struct qlock *q, void *site)
{
	q->note.site = site;
	q->note.below = last_taken();
	port_set_word(PORT_THREAD_QLOCK, (uintptr_t)q);
}

void held_released(struct qlock *q)
{
	struct qlock *above = last_taken();

	if (above == q) {
		port_set_word(PORT_THREAD_QLOCK, (uintptr_t)q->note.below);
		return;
	}
	while (above && above->note.below != q)
		above = above->note.below;
	if (above)
		above->note.below = q->note.below;
}

void *held_try(struct qlock *q, void *site)
{
	if (!port_word(PORT_THREAD_IN_RECLAIM))
		return NULL;
	__atomic_store_n(&q->note.tried_at, site, __ATOMIC_RELAXED);
	return q->note.slept_at;
}

void *held_site(const struct qlock *q)
{
	const struct qlock *held = last_taken();

	while (held && held != q)
		held = held->note.below;
	return held ? held->note.site : NULL;
}

bool held_describe_spinlock(char *text, size_t size)
{
	struct spinlock *last = (struct spinlock *)port_word(PORT_THREAD_SPIN);

	if (last)
		ksnprintf(text, size, "a spinlock of class %s, taken at %pS", spin_class_name(last->class),
			last->site);
	return last != NULL;
}

bool held_describe_tried(char *text, size_t size)
{
	struct qlock *q = port_in_irq() ? NULL : last_taken();

	while (q && !__atomic_load_n(&q->note.tried_at, __ATOMIC_RELAXED))
		q = q->note.below;
	if (q)
		ksnprintf(text, size, "qlock %p, taken at %pS, which a callback of reclaim takes at %pS", (void *)q,
			q->note.site, q->note.tried_at);
	return q != NULL;
}

void held_sleeps(void *caller)
{
	for (struct qlock *q = last_taken(); q; q = q->note.below) {
		port_irq_t irq = spin_lock(&q->queue.lock);

		q->note.slept_at = caller;
		spin_unlock(&q->queue.lock, irq);
	}
}

/* Callbacks */

void callback_note(struct callback *c, const char *name)
{
	c->name = name;
	c->spinlock = port_word(PORT_THREAD_SPIN);
	c->qlock = port_word(PORT_THREAD_QLOCK);
}

void callback_is_reclaim(bool begins)
{
	port_set_word(PORT_THREAD_IN_RECLAIM, begins);
}

/* Whether the lock that was the last one is still held; else others of the caller's are above. */
static bool is_held_still(const struct callback *c)
{
	struct qlock *q = last_taken();

	while (q && (uintptr_t)q != c->qlock)
		q = q->note.below;
	return (uintptr_t)q == c->qlock;
}

__attribute__((noinline)) void callback_check(const struct callback *c)
{
	struct spinlock *spin = (struct spinlock *)port_word(PORT_THREAD_SPIN);
	struct qlock *q = last_taken();

	if (panic_is_mine())
		return;
	if (spin && (uintptr_t)spin != c->spinlock)
		panic("a callback of %s returned to %pS with a spinlock of class %s held, taken at %pS", c->name,
			__builtin_return_address(0), spin_class_name(spin->class), spin->site);
	if (q && (uintptr_t)q != c->qlock && is_held_still(c))
		panic("a callback of %s returned to %pS with qlock %p held, taken at %pS", c->name,
			__builtin_return_address(0), (void *)q, q->note.site);
}

#endif
