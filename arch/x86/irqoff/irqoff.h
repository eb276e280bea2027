/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long interrupts are off: the flavour `irqoff` reads the time-stamp counter, which counts
 * instructions under scripts/qemu --icount, wherever interrupts go off and before they come on
 * again.
 *
 * A stretch begins where somebody turns interrupts off that were on (its site), or where an
 * interrupt enters the kernel, and ends where they come on: what nests in it belongs to it, and so
 * does a switch to another ktask.  Spinlocks turn interrupts off, so no lock is held for longer.
 * What the flavour itself adds to a stretch, at its ends alone, is measured once and taken off.
 *
 * Which public functions run is noted by stubs that the linker puts in front of them
 * (scripts/publics).  A stretch is booked on its site and on the function the drive (tests/irqoff)
 * called last.
 */
#ifndef SPANDREL_X86_IRQOFF_H
#define SPANDREL_X86_IRQOFF_H

#include <stddef.h>
#include <stdint.h>

/* The public functions, in the order of scripts/publics; and how often each was entered from another file. */
extern const char *const irqoff_names[];
extern uint64_t irqoff_calls[];
extern const uint64_t irqoff_count;

/* 1 + the number of the function that the drive called last; 0: none yet. */
extern uint64_t irqoff_function;

/* Of the stretches with one site under one function. */
struct irqoff_stretch {
	uintptr_t site; /* behind the call that noted it; 0: an unused slot */
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
