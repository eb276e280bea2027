/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Time from the time-stamp counter.
 */
#ifndef SPANDREL_X86_CLOCK_H
#define SPANDREL_X86_CLOCK_H

#include <stdint.h>

/* Starts the clock, which reads 0 ns at `entry_ticks`, and learns how fast the counter runs. */
void clock_init(uint64_t entry_ticks);

#endif
