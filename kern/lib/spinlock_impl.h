/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One poll of a waiter, for spin_wait() and for tests that decide which waiter polls when.
 */
#ifndef SPANDREL_SPINLOCK_IMPL_H
#define SPANDREL_SPINLOCK_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "spinlock.h"

#define SPIN_ALONE 256 /* polls before a waiter joins the order */
#define SPIN_TURN 64   /* polls that one waiter gives another's turn */

/* All 0 at first. */
struct spin_waiter {
	unsigned alone;	 /* polls out of the order */
	bool is_ordered; /* has `ticket` */
	uint32_t ticket;
	uint32_t late_turn; /* found the lock free in `late` polls */
	unsigned late;
};

/* Takes `l` if the waiter may now, and returns whether it did; else moves the waiter on.  Context:
 * interrupts off.  Cost: constant. */
bool spin_poll(struct spinlock *l, struct spin_waiter *w);

#endif
