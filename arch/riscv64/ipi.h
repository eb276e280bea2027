/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts that cores raise: pokes, functions to run on another core, TLB flushes, and the freeze of a
 * panic.
 */
#ifndef SPANDREL_RISCV64_IPI_H
#define SPANDREL_RISCV64_IPI_H

#include <stdbool.h>
#include <stdint.h>

/* Takes the vectors; returns false if none are left.  Call before the first other core starts. */
bool ipi_init(void);

/* In the interrupt by software: handles what was raised.  `frame`: the interrupt's own, for backtraces. */
void ipi_handle(uintptr_t frame);

/* Flushes clear every core's TLB, and are numbered from 1. */

/* The number of the first flush that will begin after this call. */
uint64_t ipi_next_flush(void);

/* Returns when flush `number`, at most the next one, has ended; flushes if it hasn't begun.
 * Context: interrupts on. */
void ipi_flush_until(uint64_t number);

/* Flushes the running core's TLB, and notes all flushes begun as done by this core.  A core calls it once it
 * is counted (port_core_count); flushes that began earlier don't wait for it. */
void ipi_flush_own(void);

#endif
