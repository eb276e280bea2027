/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the firmware's ACPI tables say of processors, interrupt controllers and nodes.
 */
#ifndef SPANDREL_X86_FIRMWARE_H
#define SPANDREL_X86_FIRMWARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core.h"

#define APICS 256	/* numbers a local APIC can have */
#define IO_APICS_MAX 16 /* theirs have 4 bits */
#define ISA_IRQS 16

#define NO_NODE UINT32_MAX

struct firmware_io_apic {
	uint64_t address;
	uint32_t gsi; /* of its first input */
};

struct firmware_isa {
	uint32_t gsi;
	uint16_t flags; /* lib/acpi.h; 0: edge, active high */
};

/* Fixed after firmware_init(). */
struct firmware {
	unsigned core_count;	   /* cores that may run, at most CORES_MAX; the boot core is the first */
	unsigned core_excess;	   /* cores beyond what local APICs can number */
	uint8_t apics[CORES_MAX];  /* their local APICs, in the order of the table */
	uint8_t nmi_lints[APICS];  /* by local APIC: bit n: input n raises NMIs */
	uint32_t nodes[APICS];	   /* by local APIC: NO_NODE if none is told */
	uint64_t local_apics;	   /* where a core sees its own; 0: not told */
	struct firmware_io_apic io_apics[IO_APICS_MAX];
	unsigned io_apic_count;
	struct firmware_isa isa[ISA_IRQS];
	const void *slit; /* NULL: none */
};
extern struct firmware firmware;

/* Reads the tables, from the root pointer at `rsdp` or, if that is 0, from where the PC's firmware
 * puts it.  What is refused gets one line.  Call once, when paging stands. */
void firmware_init(uint64_t rsdp);

#endif
