/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Time from the time-stamp counter.
 */
#ifndef SPANDREL_X86_CLOCK_H
#define SPANDREL_X86_CLOCK_H

#include <stdint.h>

/* Starts the clock, which is 0 ns at `entry_ticks`, and determines the counter's frequency. */
void clock_init(uint64_t entry_ticks);

#endif
