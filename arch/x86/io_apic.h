/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * I/O APICs: they turn devices' interrupt lines into vectors.
 */
#ifndef SPANDREL_X86_IO_APIC_H
#define SPANDREL_X86_IO_APIC_H

#include <stdbool.h>
#include <stdint.h>

/* Maps the I/O APICs that the firmware lists and masks every input.  Call once. */
void io_apic_init(void);

/* Has ISA interrupt `irq`, 0 to 15, raise `vector` on the core with local APIC `apic`, and notes
 * the route for the monitor's list of vectors.  Returns false if no I/O APIC has such an input. */
bool io_apic_route_isa(unsigned irq, unsigned vector, unsigned apic);

#endif
