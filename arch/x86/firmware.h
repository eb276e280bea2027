/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the firmware's ACPI tables say about processors, interrupt controllers and nodes.
 */
#ifndef SPANDREL_X86_FIRMWARE_H
#define SPANDREL_X86_FIRMWARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core.h"

#define APICS 256	/* numbers a local APIC can have */
#define IO_APICS_MAX 16 /* their numbers have 4 bits */
#define ISA_IRQS 16

#define NO_NODE UINT32_MAX

struct firmware_io_apic {
	uint64_t address;
	uint32_t gsi; /* of its first input */
};

struct firmware_isa {
	uint32_t gsi;
	uint16_t flags; /* acpi.h; 0: edge, active high */
};

/* Fixed after firmware_init(). */
struct firmware {
	unsigned core_count;	   /* cores that may run, the boot core first; at most CORES_MAX */
	unsigned core_excess;	   /* cores beyond what local APICs can number */
	uint8_t apics[CORES_MAX];  /* their local APICs, in the order of the table */
	uint8_t nmi_lints[APICS];  /* by local APIC: bit n: input n raises NMIs */
	uint32_t nodes[APICS];	   /* by local APIC: NO_NODE if the tables have none */
	uint64_t local_apics;	   /* physical address of each core's own; 0: not given */
	struct firmware_io_apic io_apics[IO_APICS_MAX];
	unsigned io_apic_count;
	struct firmware_isa isa[ISA_IRQS];
	const void *srat, *slit; /* NULL: none */
};
extern struct firmware firmware;

/* Reads the tables, starting at the root pointer at `rsdp`, of which `rsdp_size` bytes are there; if
 * `rsdp` is 0, searches for it where PC firmware puts it.  Prints one line for each table it refuses.
 * Call once, after paging_init(). */
void firmware_init(uint64_t rsdp, size_t rsdp_size);

#endif
