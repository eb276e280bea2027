/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * I/O APICs: where devices' interrupt lines end.
 */
#ifndef SPANDREL_X86_IO_APIC_H
#define SPANDREL_X86_IO_APIC_H

#include <stdbool.h>
#include <stdint.h>

/* Maps those the firmware lists and masks every input.  Call once. */
void io_apic_init(void);

/* Has ISA interrupt `irq`, 0 to 15, raise `vector` on the core with local APIC `apic`, and says in
 * the monitor's list of vectors where it comes from.  Returns false if no I/O APIC has such an
 * input. */
bool io_apic_route_isa(unsigned irq, unsigned vector, unsigned apic);

#endif
