/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Time from the time-stamp counter.
 */
#ifndef SPANDREL_X86_CLOCK_H
#define SPANDREL_X86_CLOCK_H

#include <stdint.h>

/* Starts the clock, which is 0 ns at `entry_ticks`, and determines the counter's frequency. */
void clock_init(uint64_t entry_ticks);

/* The time-stamp counter and another counter at the same moment. */
struct clock_sample {
	uint64_t ticks;
	uint32_t count;
};

/* Reads both four times, and returns the reading that took the fewest ticks: during another one, a
 * hypervisor may have run something else. */
struct clock_sample clock_sample(uint32_t (*read_count)(void));

#endif
