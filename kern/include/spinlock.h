/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Spinlocks that bear a core that isn't running, because a hypervisor took its processor.
 *
 *	struct spinlock lock = SPINLOCK_INIT(SPIN_LEAF);
 *	port_irq_t irq = spin_lock(&lock);
 *	...
 *	spin_unlock(&lock, irq);
 *
 * A running core may take a lock that is free: lock and unlock are a compare-and-swap and a store
 * (test-and-test-and-set; Anderson, "The Performance of Spin Lock Alternatives for Shared-Memory
 * Multiprocessors", TPDS 1(1), 1990).  A waiter polls.  After SPIN_ALONE polls it joins an order:
 * it draws a ticket, and while the order isn't empty only the ticket whose turn it is takes the
 * lock (Mellor-Crummey and Scott, "Algorithms for Scalable Synchronization", TOCS 9(1), 1991,
 * section 2.2).  A waiter that finds the lock free at SPIN_TURN polls of its own while the turn
 * stays the same ends that turn: the next ticket follows, and the late waiter draws a new one.
 * (Tickets with a time limit are Ouyang and Lange's, "Preemptable Ticket Spinlocks", VEE 2013;
 * there a later ticket takes the lock out of turn, here the turn moves on.)
 *
 * The wait of a core that keeps polling is bounded: SPIN_ALONE polls, the hold in progress, and for
 * each waiter ahead in the order either one hold or SPIN_TURN polls.  A context waits for one lock
 * at a time, so the waiters ahead are at most the other cores, and one more for each interrupt
 * handler that waits where it interrupted a waiter.  So a waiter that doesn't run holds up one that
 * does by SPIN_TURN polls.  A holder that doesn't run holds up all, as with any lock.
 *
 * Interrupts are off while one is held, so that an interrupt handler may take the same lock; a
 * waiter polls with interrupts as the caller had them.  The holder may not sleep, call back into
 * code of others, or return to a caller with it held.  Context: any but an NMI.  Cost: constant,
 * uncontended; else as above, where each hold is one bounded step.
 *
 * In a build with SPANDREL_DEBUG a lock knows its holder and where it was taken, and its class;
 * taking one out of the order of classes, taking one twice and releasing what isn't held are panics
 * that name both places.
 */
#ifndef SPANDREL_SPINLOCK_H
#define SPANDREL_SPINLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "annotate.h"
#include "port.h"

#ifndef SPANDREL_DEBUG
#define SPANDREL_DEBUG 0
#endif
/* A lock's holder is known by its thread's words. */
#define SPIN_CHECKS (SPANDREL_DEBUG && PORT_HAS_WORDS)

/* Classes, in the order in which they may be taken: never one while another of its own class or of
 * one below it here is held. */
enum spin_class {
	SPIN_CALLER,	/* of code above the allocators: it may allocate by MEM_ATOMIC, free and wake under it */
	SPIN_DEPOT,	/* a cache's depot */
	SPIN_SLAB,	/* a cache's slab layer */
	SPIN_SUPPLY,	/* a tag supply */
	SPIN_ARENA,	/* an arena */
	SPIN_SHORTAGE,	/* the queue of requests that sleep */
	SPIN_SYNC,	/* the queue of a sleeping lock */
	SPIN_KTASK,	/* a ktask's state */
	SPIN_RUN_QUEUE, /* a core's ready ktasks */
	SPIN_ALARM,	/* a core's alarms */
	SPIN_LEAF,	/* beneath it no lock is taken */
};

/* What a lock is made of.  Its parts are read and written as `whole`, but for the common case:
 * `entry` is 0 if the lock is free and the order empty, and 1 once it is taken then. */
union spin_word {
	uint64_t whole;
	uint32_t entry;
	struct {
		uint8_t held;
		uint8_t zero;
		uint16_t waiting; /* tickets in the order: turn, turn + 1, ... turn + waiting - 1 */
		uint32_t turn;	  /* the ticket that is next to take the lock */
	};
};

struct SPANDREL_CAPABILITY("spinlock") spinlock {
	union spin_word word;
#if SPIN_CHECKS
	enum spin_class class;
	void *site;		/* where the holder took it */
	struct spinlock *below; /* what the holder took before it */
	uintptr_t *holder;	/* the holder's words (port_thread_words); NULL: it is free */
#endif
};

#if SPIN_CHECKS
#define SPINLOCK_INIT(class) {{0}, class, NULL, NULL, NULL}
#else
#define SPINLOCK_INIT(class) {{0}}
#endif

#if SPIN_CHECKS
/* Panics unless `l` may be taken here now; notes that it was taken, and released. */
void spin_debug_check(struct spinlock *l);
void spin_debug_taken(struct spinlock *l);
void spin_debug_released(struct spinlock *l);
/* Panics if this core holds a spinlock, those of SPIN_CALLER left out: stands before a call into code
 * of others (afunc, ffunc, ctor, dtor, a front, a callback). */
void spin_assert_none_held(void);
/* For reports. */
const char *spin_class_name(enum spin_class class);
#else
static inline void spin_debug_check(struct spinlock *l)
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

/* Takes `l` where it can't be taken at once; on the core that reports a panic, though it is held.  Interrupts are off before and after; between polls
 * they are as port_irq_restore(irq) makes them. */
void spin_wait(struct spinlock *l, port_irq_t irq) __attribute__((cold));

static inline __attribute__((always_inline)) void spin_enter(struct spinlock *l, port_irq_t irq)
	SPANDREL_ACQUIRES(l) SPANDREL_UNANALYSED
{
	uint32_t entry = 0;

	/* Acquire: pairs with the release in spin_unlock() of the holder before. */
	if (!__atomic_compare_exchange_n(
		    &l->word.entry, &entry, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		spin_wait(l, irq);
	spin_debug_taken(l);
}

/* Inlined, so that debug builds name who takes it. */
static inline __attribute__((always_inline)) port_irq_t spin_lock(struct spinlock *l) SPANDREL_ACQUIRES(l)
{
	port_irq_t irq = port_irq_save();

	spin_debug_check(l);
	spin_enter(l, irq);
	return irq;
}

static inline __attribute__((always_inline)) void spin_unlock(struct spinlock *l, port_irq_t irq)
	SPANDREL_RELEASES(l) SPANDREL_UNANALYSED
{
	spin_debug_released(l);
	/* Release: pairs with the acquire in spin_enter() or spin_poll() of the next holder.  It leaves
	 * the order as it is. */
	__atomic_store_n(&l->word.held, 0, __ATOMIC_RELEASE);
	port_irq_restore(irq);
}

/* Whether it is held: for assertions. */
static inline bool spin_is_locked(struct spinlock *l)
{
	return __atomic_load_n(&l->word.held, __ATOMIC_RELAXED);
}

#endif
