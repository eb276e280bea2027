/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC: each core's own interrupt controller and timer, and how cores interrupt each
 * other.
 */
#ifndef SPANDREL_X86_APIC_H
#define SPANDREL_X86_APIC_H

#include <stdint.h>

#define APIC_SPURIOUS_VECTOR 255

/* Maps the registers and learns how fast the timer counts; refuses a processor without.  Call once,
 * when the clock runs. */
void apic_init(void);

/* Readies the running core's own: enabled, its timer raising `timer_vector` (0: nothing), the
 * inputs in nmi_lints raising NMIs. */
void apic_enter(unsigned timer_vector, unsigned nmi_lints);

/* Ends the handling of an interrupt. */
void apic_end(void);

/* Has the timer raise its interrupt once, in `ns` nanoseconds or when it can count no further; 0
 * stops it.  Interrupts off. */
void apic_timer_set(uint64_t ns);

/* Raises an interrupt on the core with local APIC `apic`, or on all but this one.  Interrupts off. */
void apic_send(unsigned apic, unsigned vector);
void apic_send_others(unsigned vector);
void apic_send_nmi(unsigned apic);

/* The two steps that start a core: stop it, and have it begin at physical address `page`, whole
 * pages below 1 MiB, in real mode. */
void apic_send_init(unsigned apic);
void apic_send_start(unsigned apic, uint64_t page);

#endif
