/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Alarms: call a function at a moment.
 *
 *	static void ring(struct alarm *a) { rendez_wakeup(&door); }
 *	struct alarm bell;
 *	alarm_init(&bell, ring);
 *	alarm_set(&bell, port_ns() + 1000000);
 *	...
 *	alarm_cancel(&bell);
 *
 * The handler is called once, at the moment or soon after it, in an interrupt of the core that set
 * the alarm, with no lock held.  It may set and cancel its own alarm and others, and call whatever is
 * legal in an interrupt.  It may not sleep; nor cancel another alarm whose handler is running on
 * another core, since two that wait for each other would never end: so it cancels alarms of its own
 * core alone, or such as can't be due.  Both are panics that name it.  Alarms of one core go off in
 * the order of their deadlines, those of equal deadlines in the order in which they were set.
 *
 * An alarm lies in the caller's memory and belongs to one user at a time: two calls for the same
 * alarm at once are a bug.  Any core may use any alarm.
 */
#ifndef SPANDREL_ALARM_H
#define SPANDREL_ALARM_H

#include <stdbool.h>
#include <stdint.h>

struct alarm {
	void *links[3]; /* its place among its core's alarms */
	uint64_t deadline; /* of port_ns() */
	void (*handler)(struct alarm *a);
	struct alarm_core *core; /* the core that set it last; NULL: none has */
	bool is_set;
};

/* Makes the list of alarms of every core there can be.  Context: boot, once, when base_arena
 * stands.  Cost: linear in cores.  Panics if there is no memory for them. */
void alarms_init(void);

/* Readies an alarm that isn't set.  Context: any.  Cost: constant.  Panics if the handler is NULL,
 * and if the alarm is set. */
void alarm_init(struct alarm *a, void (*handler)(struct alarm *a));

/* Has the handler called at `deadline`, a moment of port_ns() in nanoseconds, on this core; one
 * that has passed is due at once.  Context: any but an NMI; spinlocks of a class before SPIN_ALARM
 * may be held.  Cost: logarithmic in this core's alarms.  Panics if the alarm is set, or
 * was never readied and has no handler. */
void alarm_set(struct alarm *a, uint64_t deadline);

/*
 * Takes an alarm back, so that the handler isn't called; if the handler runs on another core, waits
 * until it has returned.  Then the alarm is the caller's alone.  In the alarm's own handler it
 * doesn't wait.  An alarm that isn't set, or never was, stays as it is.
 *
 * Context: any but an NMI; the caller holds no lock that the handler takes.  Cost: logarithmic in the
 * core's alarms, and the rest of a handler that runs.  Returns whether the alarm was set.  Panics in
 * an alarm's handler that would wait for another one, and names both.
 */
bool alarm_cancel(struct alarm *a);

/* Calls the handlers that are due on this core, ALARMS_STEP of them at most, and sets the timer for
 * the next alarm, at once if that is due, too.  Context: the timer's interrupt, once alarms_init()
 * has run.  Cost: logarithmic for each handler, and the handlers'. */
#define ALARMS_STEP 8
void alarms_run(void);

#endif
