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
 * The handler runs in an interrupt of the core that set the alarm, at or soon after the moment,
 * once; it may not sleep, and may set the alarm anew.  An alarm is the caller's storage and one
 * user's at a time: setting and cancelling the same one at once is a bug.  Alarms of one core go
 * off in the order of their deadlines, of equal ones in the order they were set.
 */
#ifndef SPANDREL_ALARM_H
#define SPANDREL_ALARM_H

#include <stdbool.h>
#include <stdint.h>

struct alarm {
	void *links[3]; /* its place among its core's alarms */
	uint64_t deadline; /* of port_ns() */
	void (*handler)(struct alarm *a);
	struct alarm_core *core; /* whose alarms it is among, or was last; NULL: never set */
	bool is_set;
};

/* Once, at boot, when base_arena stands. */
void alarms_init(void);

void alarm_init(struct alarm *a, void (*handler)(struct alarm *a));

/* Has the handler called at `deadline` on this core.  Context: any but an NMI; the alarm is not
 * set.  Cost: logarithmic in this core's alarms. */
void alarm_set(struct alarm *a, uint64_t deadline);

/* Sees to it that the handler isn't called, or waits until it has ended: afterward the alarm is the
 * caller's alone.  Returns whether it was still to come.  Harmless on one that isn't set.  In its
 * own handler it doesn't wait.  Context: any but an NMI; holds no lock the handler takes.  Cost:
 * logarithmic. */
bool alarm_cancel(struct alarm *a);

/* Runs what is due on this core, ALARMS_STEP handlers at most, and sets the timer for what comes
 * next, or for now if more is due: what the timer's interrupt does. */
#define ALARMS_STEP 8
void alarms_run(void);

#endif
