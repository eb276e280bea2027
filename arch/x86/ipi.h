/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts between cores: pokes, functions to run on another core, TLB flushes, and the freeze of
 * a panic.
 */
#ifndef SPANDREL_X86_IPI_H
#define SPANDREL_X86_IPI_H

#include <stdbool.h>
#include <stdint.h>

/* Takes the vectors; returns false if none are left.  Call before the first other core starts. */
bool ipi_init(void);

/* Flushes clear every core's TLB of what isn't global, and are numbered from 1. */

/* The number of the first flush that will begin after this call. */
uint64_t ipi_next_flush(void);

/* Returns when flush `number`, at most the next one, has ended; flushes if it hasn't begun.
 * Context: interrupts on. */
void ipi_flush_until(uint64_t number);

/* Flushes the running core's TLB, and notes all flushes begun as done by this core.  A core calls
 * it once it is counted (port_core_count); flushes that began earlier don't wait for it. */
void ipi_flush_own(void);

/* Whether another core freezes this one: then an NMI must call ipi_freeze_own(). */
bool ipi_is_frozen(void);

/* Stops the running core for good, at the instruction `pc` of the function with frame pointer
 * `frame`. */
void ipi_freeze_own(uintptr_t pc, uintptr_t frame) __attribute__((noreturn));

#endif
