/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each core's timer, which the kernel sets with machine_timer_set().
 */
#ifndef SPANDREL_RISCV64_TIMER_H
#define SPANDREL_RISCV64_TIMER_H

#include <stdbool.h>
#include <stdint.h>

/* Takes a vector, and arms this core's timer if it was set before; false: none is left.  Call once. */
bool timer_init(void);

/* Has this core look for input (serial_look) at port_ns() == `at` too.  Context: interrupts off. */
void timer_poll_at(uint64_t at);

/* In the timer's interrupt: does what is due.  Returns false before timer_init(). */
bool timer_handle(void);

#endif
