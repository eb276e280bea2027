/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC: each core's own interrupt controller and timer; it also sends interrupts to other
 * cores.
 */
#ifndef SPANDREL_X86_APIC_H
#define SPANDREL_X86_APIC_H

#include <stdint.h>

#define APIC_SPURIOUS_VECTOR 255

/* Maps the registers and measures the timer's rate; refuses a processor without a local APIC.  Call
 * once, after clock_init(). */
void apic_init(void);

/* Enables the running core's: its timer raises `timer_vector` (0: nothing), its inputs in
 * `nmi_lints`, a bit each, raise NMIs. */
void apic_enter(unsigned timer_vector, unsigned nmi_lints);

/* Ends the handling of an interrupt. */
void apic_end(void);

/* Has the timer interrupt once, after `ns` nanoseconds or after the longest time it can count; 0
 * stops it.  Interrupts off. */
void apic_timer_set(uint64_t ns);

/* Interrupts the core with local APIC `apic`, or all cores but this one.  Interrupts off. */
void apic_send(unsigned apic, unsigned vector);
void apic_send_others(unsigned vector);
/* Interrupts this core; legal in an NMI. */
void apic_send_self(unsigned vector);
void apic_send_nmi(unsigned apic);

/* The two steps that start a core: INIT stops it; START has it begin in real mode at physical
 * address `page`, a multiple of the page size below 1 MiB. */
void apic_send_init(unsigned apic);
void apic_send_start(unsigned apic, uint64_t page);

#endif
