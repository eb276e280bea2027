/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cores that interrupt one another: pokes, functions run elsewhere, TLB flushes, and the freeze of
 * a panic.
 */
#ifndef SPANDREL_X86_IPI_H
#define SPANDREL_X86_IPI_H

#include <stdbool.h>
#include <stdint.h>

/* Takes the vectors.  Before the first other core starts; returns false if there are none left. */
bool ipi_init(void);

/* Flushes clear every core's TLB of what isn't global, and are numbered from 1. */

/* The number of the first flush that will begin after this call. */
uint64_t ipi_next_flush(void);

/* Returns when flush `number` has ended, which is at most the next one; flushes if it must.
 * Context: interrupts on. */
void ipi_flush_until(uint64_t number);

/* What a core does that has just come to count. */
void ipi_flush_own(void);

/* Whether the NMI this core is in is a panic's, which stops it. */
bool ipi_is_frozen(void);

/* Stops here for good. */
void ipi_freeze_own(void) __attribute__((noreturn));

#endif
