/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long interrupts are off: the flavour `irqoff` reads the time-stamp counter, which counts
 * instructions under scripts/qemu --icount, wherever interrupts go off, and again before they come
 * on.
 *
 * A stretch begins where somebody turns interrupts off that were on (its site), or where an
 * interrupt enters the kernel, and ends where they come on: what nests in it belongs to it, and so
 * does a switch to another ktask.  Spinlocks turn interrupts off, so no lock is held for longer.
 * What the flavour itself adds to a stretch, at its ends alone, is measured once and taken off, and
 * so is the wait for a spinlock.
 *
 * The counter has the instructions of all cores.  QEMU runs one core at a time and goes on to the
 * next at a pause, a halt or a timer's deadline, so a stretch that no other core ran in is counted
 * exactly.  Each core leaves its number in one word wherever a stretch begins or ends, or a wait
 * does: a stretch that finds another's number at its end was cut, and is counted apart.  A core
 * that ran in a stretch without reaching one of these places makes it longer, never shorter.
 *
 * Stubs that the linker puts in front of the public functions (scripts/publics) note which of them
 * run.  A stretch is counted for its site and for the function that the drive (tests/irqoff) called
 * last.
 */
#ifndef SPANDREL_X86_IRQOFF_H
#define SPANDREL_X86_IRQOFF_H

#include <stdbool.h>
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
	uint64_t max;	/* instructions */
	uint64_t count; /* that were measured */
	uint64_t cut;	/* that weren't, as another core ran in them */
};

/* The table of them, irqoff_slots long.  It changes whenever interrupts come on. */
extern struct irqoff_stretch irqoff_table[];
extern const size_t irqoff_slots;

/* While it is set, stretches are booked on function IRQOFF_CONTENDED, whichever the drive calls:
 * several cores call at once. */
#define IRQOFF_CONTENDED (irqoff_count + 1)
extern bool irqoff_contended;

/* Waits for a spinlock. */
extern uint64_t irqoff_waits;

/* Instructions that the flavour adds to each stretch. */
uint64_t irqoff_overhead(void);

#endif
