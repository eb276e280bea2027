/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fair spinlocks: cores enter in the order they came (ticket locks; Mellor-Crummey and Scott,
 * "Algorithms for Scalable Synchronization", TOCS 9(1), 1991, section 2.2).
 *
 *	struct spinlock lock = SPINLOCK_INIT(SPIN_LEAF);
 *	port_irq_t irq = spin_lock(&lock);
 *	...
 *	spin_unlock(&lock, irq);
 *
 * Interrupts are off while one is held, so that an interrupt handler may take the same lock.  The
 * holder may not sleep, call back into code of others, or return to a caller with it held.
 * Context: any but an NMI.  Cost: constant, uncontended; each core ahead holds it for one bounded
 * step.
 *
 * In a build with SPANDREL_DEBUG a lock knows its holder and where it was taken, and its class;
 * taking one out of the order of classes, taking one twice and releasing what isn't held are panics
 * that name both places.
 */
#ifndef SPANDREL_SPINLOCK_H
#define SPANDREL_SPINLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "port.h"

#ifndef SPANDREL_DEBUG
#define SPANDREL_DEBUG 0
#endif

/* Classes, in the order in which they may be taken: never one while another of its own class or of
 * one below it here is held. */
enum spin_class {
	SPIN_DEPOT,	/* a cache's depot */
	SPIN_SLAB,	/* a cache's slab layer */
	SPIN_SUPPLY,	/* a tag supply */
	SPIN_ARENA,	/* an arena */
	SPIN_SYNC,	/* the queue of a sleeping lock */
	SPIN_KTASK,	/* a ktask's state */
	SPIN_RUN_QUEUE, /* a core's ready ktasks */
	SPIN_ALARM,	/* a core's alarms */
	SPIN_LEAF,	/* beneath it no lock is taken */
};

struct spinlock {
	uint32_t next;	/* the ticket the next core to come takes */
	uint32_t owner; /* the ticket that holds the lock */
#if SPANDREL_DEBUG
	enum spin_class class;
	void *site;		/* where the holder took it */
	struct spinlock *below; /* what the holder took before it */
	uintptr_t *holder;	/* the holder's words (port_thread_words); NULL: nobody */
#endif
};

#if SPANDREL_DEBUG
#define SPINLOCK_INIT(class) {0, 0, class, NULL, NULL, NULL}
#else
#define SPINLOCK_INIT(class) {0, 0}
#endif

#if SPANDREL_DEBUG
/* Panics unless `l` may be taken here now; notes that it was taken, and released. */
void spin_debug_check(struct spinlock *l);
void spin_debug_check_nested(struct spinlock *l);
void spin_debug_taken(struct spinlock *l);
void spin_debug_released(struct spinlock *l);
/* Panics if this core holds a spinlock: stands before a call into code of others (afunc, ffunc,
 * ctor, dtor, a front, a callback). */
void spin_assert_none_held(void);
#else
static inline void spin_debug_check(struct spinlock *l)
{
}

static inline void spin_debug_check_nested(struct spinlock *l)
{
}

static inline void spin_debug_taken(struct spinlock *l)
{
}

static inline void spin_debug_released(struct spinlock *l)
{
}

static inline void spin_assert_none_held(void)
{
}
#endif

static inline void spin_init(struct spinlock *l, enum spin_class class)
{
	*l = (struct spinlock)SPINLOCK_INIT(class);
}

static inline __attribute__((always_inline)) void spin_enter(struct spinlock *l)
{
	uint32_t ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);

	/* Pairs with the release in spin_unlock() of the core before. */
	port_pause_until(&l->owner, ticket);
	spin_debug_taken(l);
}

/* Inlined, so that debug builds name who takes it. */
static inline __attribute__((always_inline)) port_irq_t spin_lock(struct spinlock *l)
{
	port_irq_t irq = port_irq_save();

	spin_debug_check(l);
	spin_enter(l);
	return irq;
}

/* The same while one of its class is held: the caller has an order for those of a class. */
static inline __attribute__((always_inline)) port_irq_t spin_lock_nested(struct spinlock *l)
{
	port_irq_t irq = port_irq_save();

	spin_debug_check_nested(l);
	spin_enter(l);
	return irq;
}

static inline __attribute__((always_inline)) void spin_unlock(struct spinlock *l, port_irq_t irq)
{
	spin_debug_released(l);
	/* Only the holder writes owner, so reading it needs no order. */
	__atomic_store_n(&l->owner, __atomic_load_n(&l->owner, __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE);
	port_irq_restore(irq);
}

/* Whether somebody holds it: for assertions. */
static inline bool spin_is_locked(struct spinlock *l)
{
	return __atomic_load_n(&l->next, __ATOMIC_RELAXED) !=
	       __atomic_load_n(&l->owner, __ATOMIC_RELAXED);
}

#endif
