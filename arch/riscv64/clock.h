/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Time from the time counter, which all harts share.
 */
#ifndef SPANDREL_RISCV64_CLOCK_H
#define SPANDREL_RISCV64_CLOCK_H

#include <stdint.h>

/* Starts the clock, which is 0 ns at `entry_ticks`, by a counter of `hz` ticks in a second. */
void clock_init(uint64_t entry_ticks, uint64_t hz);

/* The counter when port_ns() is `ns` or a little more; UINT64_MAX: it won't be. */
uint64_t clock_ticks_at(uint64_t ns);

#endif
