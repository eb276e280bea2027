/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long interrupts are off: the flavour `irqoff` reads the time-stamp counter, which counts
 * instructions under scripts/qemu --icount, wherever interrupts go off, and again before they come
 * on.
 *
 * A stretch begins where code turns interrupts off that were on (its site), or where an interrupt
 * enters the kernel, and ends where they come on again: nested pairs belong to it, and so does a
 * switch to another ktask.  Spinlocks turn interrupts off, so no lock is held for longer.  The
 * instructions that the flavour itself adds at both ends of a stretch are measured once and
 * subtracted.
 *
 * Stubs that the linker puts in front of the public functions (scripts/publics) note which of them
 * run.  A stretch is counted for its site and for the function that the drive (tests/irqoff) called
 * last.
 */
#ifndef SPANDREL_X86_IRQOFF_H
#define SPANDREL_X86_IRQOFF_H

#include <stddef.h>
#include <stdint.h>

/* The public functions, in the order of scripts/publics, and how often other files called each. */
extern const char *const irqoff_names[];
extern uint64_t irqoff_calls[];
extern const uint64_t irqoff_count;

/* 1 + the number of the function that the drive called last; 0: none yet. */
extern uint64_t irqoff_function;

/* The stretches with one site, under one function. */
struct irqoff_stretch {
	uintptr_t site; /* the return address of irqoff_begin(); 0: an unused slot */
	uint64_t function;
	uint64_t max; /* instructions */
	uint64_t count;
};

/* The table of them, irqoff_slots long.  It changes whenever interrupts come on. */
extern struct irqoff_stretch irqoff_table[];
extern const size_t irqoff_slots;

/* Instructions that the flavour adds to each stretch. */
uint64_t irqoff_overhead(void);

#endif
