/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each core's timer, which the kernel sets with machine_timer_set().
 */
#ifndef SPANDREL_X86_TIMER_H
#define SPANDREL_X86_TIMER_H

/* Takes a vector, and arms this core's timer if it was set before.  Returns the vector, 0 if none
 * is left.  Call once, interrupts on. */
unsigned timer_init(void);

#endif
