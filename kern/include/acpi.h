/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads ACPI tables, which say what processors, interrupt controllers and memory nodes a machine
 * has (ACPI specification 6.4, chapters 5.2 and 17).
 *
 *	const char *wrong = acpi_check(table, size);
 *	acpi_madt_begin(&cursor, table);
 *	while (acpi_madt_next(&cursor, &entry))
 *		...
 *	if (cursor.wrong)
 *		the rest of the table can't be read
 *
 * The bytes come from firmware and may be wrong in any way: no byte is read outside of the memory
 * that the caller gives, nor beyond a table's own length.  Nothing is allocated, and only the
 * caller's cursor keeps pointers into a table.  Any context, any alignment.  Cost: linear in the
 * bytes.
 */
#ifndef SPANDREL_LIB_ACPI_H
#define SPANDREL_LIB_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The root pointer */

#define ACPI_RSDP_SIGNATURE "RSD PTR "
#define ACPI_RSDP_SIZE 36     /* bytes that are read, at most */
#define ACPI_RSDP_SIZE_MIN 20 /* bytes of the oldest kind */

/* Where the RSDT or XSDT lies: the table that lists all others. */
struct acpi_root {
	uint64_t address;
	unsigned entry_size; /* bytes of an address in it: 4 in an RSDT, 8 in an XSDT */
};

/* Reads the root pointer in bytes[0 .. size) into *root.  Returns NULL, or why it is refused. */
const char *acpi_rsdp(const void *bytes, size_t size, struct acpi_root *root);

/* Tables */

#define ACPI_HEADER_SIZE 36

/* The length that a table says it has.  ACPI_HEADER_SIZE bytes must be there. */
uint32_t acpi_length(const void *header);

/* Whether a table's name is `signature`, 4 characters.  ACPI_HEADER_SIZE bytes must be there. */
bool acpi_is(const void *header, const char *signature);

/* Checks the length and the checksum of the table in table[0 .. size).  Returns NULL, or why it is
 * refused.  The functions below may only be called for a table that passed. */
const char *acpi_check(const void *table, size_t size);

/* How many addresses an RSDT or XSDT has, and the i-th of them. */
size_t acpi_root_count(const void *table, unsigned entry_size);
uint64_t acpi_root_entry(const void *table, unsigned entry_size, size_t i);

/* A walk over the entries of a table. */
struct acpi_cursor {
	const uint8_t *at, *end;
	const char *wrong; /* why the walk ended early, or NULL */
};

/* MADT: processors and interrupt controllers */

enum acpi_madt_kind {
	ACPI_LOCAL_APIC,
	ACPI_IO_APIC,
	ACPI_OVERRIDE,	/* an ISA interrupt that isn't wired to the input of its own number */
	ACPI_LOCAL_NMI, /* an input of local APICs that raises an NMI */
	ACPI_LOCAL_APIC_ADDRESS,
};

#define ACPI_ALL_PROCESSORS UINT32_MAX

/* Flags of an interrupt input.  Polarity or trigger 0: the usual one of the bus. */
#define ACPI_POLARITY 0x3 /* mask */
#define ACPI_ACTIVE_LOW 0x3
#define ACPI_TRIGGER 0xc /* mask */
#define ACPI_LEVEL 0xc

struct acpi_madt_entry {
	enum acpi_madt_kind kind;
	uint32_t processor; /* LOCAL_APIC, LOCAL_NMI: the processor's number in ACPI */
	uint32_t apic;	    /* LOCAL_APIC, IO_APIC: the APIC's number */
	bool enabled;	    /* LOCAL_APIC: the processor is there and may be started */
	bool can_come;	    /* LOCAL_APIC: it isn't enabled, but may be plugged in later */
	uint64_t address;   /* IO_APIC, LOCAL_APIC_ADDRESS */
	uint32_t gsi;	    /* IO_APIC: number of its first input; OVERRIDE: of the input */
	uint8_t source;	    /* OVERRIDE: the ISA interrupt */
	uint8_t lint;	    /* LOCAL_NMI: the input, 0 or 1 */
	uint16_t flags;	    /* OVERRIDE, LOCAL_NMI: as above */
};

/* Puts the cursor before the first entry.  Returns the address of the local APICs. */
uint32_t acpi_madt_begin(struct acpi_cursor *c, const void *table);

/* Fills in the next entry of a kind listed above; false at the end. */
bool acpi_madt_next(struct acpi_cursor *c, struct acpi_madt_entry *entry);

/* SRAT: which node each processor and each range of memory belongs to */

struct acpi_srat_entry {
	bool is_memory;
	uint32_t node;
	uint32_t apic;	      /* of a processor */
	uint64_t start, size; /* of memory */
};

void acpi_srat_begin(struct acpi_cursor *c, const void *table);

/* Fills in the next entry that is in use; false at the end. */
bool acpi_srat_next(struct acpi_cursor *c, struct acpi_srat_entry *entry);

/* SLIT: the distances between nodes; 10 is that from a node to itself */

/* How many nodes the table has distances for; 0 if it is too short for them. */
size_t acpi_slit_nodes(const void *table);

/* The distance between two nodes; from, to < acpi_slit_nodes(). */
unsigned acpi_slit_distance(const void *table, size_t from, size_t to);

#endif
