/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fair spinlocks: cores enter in the order they came (ticket locks; Mellor-Crummey and Scott, "Algorithms
 * for Scalable Synchronization", TOCS 9(1), 1991, section 2.2).
 *
 *	port_irq_t irq = spin_lock(&lock);
 *	...
 *	spin_unlock(&lock, irq);
 *
 * Interrupts are off while one is held, so that an interrupt handler may take the same lock.  The
 * holder may not sleep, call back into code of others, or return to a caller with it held.
 * Context: any but an NMI.  Cost: constant, uncontended; each core ahead holds it for one bounded
 * step.
 */
#ifndef SPANDREL_SPINLOCK_H
#define SPANDREL_SPINLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "port.h"

struct spinlock {
	uint32_t next;	/* the ticket the next core to come takes */
	uint32_t owner; /* the ticket that holds the lock */
};

#define SPINLOCK_INIT {0, 0}

static inline void spin_init(struct spinlock *l)
{
	l->next = l->owner = 0;
}

static inline port_irq_t spin_lock(struct spinlock *l)
{
	port_irq_t irq = port_irq_save();
	uint32_t ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);

	/* Acquire: pairs with the release in spin_unlock() of the core before. */
	while (__builtin_expect(__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != ticket, 0))
		port_pause();
	return irq;
}

static inline void spin_unlock(struct spinlock *l, port_irq_t irq)
{
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
