/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI tables as bytes: which processors, interrupt controllers and memory nodes a machine has
 * (ACPI specification 6.4, chapters 5.2 and 17).
 *
 *	const char *wrong = acpi_check(table, size);
 *	acpi_madt_begin(&cursor, table);
 *	while (acpi_madt_next(&cursor, &entry))
 *		...
 *	if (cursor.wrong)
 *		the rest of the table can't be read
 *
 * The bytes come from firmware, and nothing in them is trusted: no byte is read outside of what the
 * caller says is there, nor beyond a table's own length, and none makes a function panic.  Nothing is
 * allocated, kept or locked.  Tables may have any alignment.
 *
 * Context, of all functions: any.  Cost: linear in the bytes for acpi_rsdp() and acpi_check(),
 * linear in the entries that are left out for the next() functions, else constant.
 */
#ifndef SPANDREL_ACPI_H
#define SPANDREL_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The root pointer */

#define ACPI_RSDP_SIGNATURE "RSD PTR "
#define ACPI_RSDP_SIZE 36     /* bytes of it that are read at most */
#define ACPI_RSDP_SIZE_MIN 20 /* bytes of its oldest kind */

/* Where the table of tables lies. */
struct acpi_root {
	uint64_t address; /* physical */
	unsigned entry_size; /* bytes of each address in it: 4 in an RSDT, 8 in an XSDT */
};

/* Reads the root pointer in bytes[0 .. size).  Returns NULL with *root filled in, or one plain line
 * that says why it is refused. */
const char *acpi_rsdp(const void *bytes, size_t size, struct acpi_root *root);

/* Tables */

#define ACPI_HEADER_SIZE 36

/* The length that a table claims, in bytes; and whether its name is `signature`, 4 characters.
 * ACPI_HEADER_SIZE bytes of it must be there. */
uint32_t acpi_length(const void *header);
bool acpi_is(const void *header, const char *signature);

/* Checks that the table in table[0 .. size) has a length that is possible and that its bytes add up
 * to 0.  Returns NULL, or one plain line that says why it is refused.  The functions below want a
 * table that passed. */
const char *acpi_check(const void *table, size_t size);

/* How many addresses an RSDT or XSDT has, each of `entry_size` bytes (acpi_root); and the i-th, a
 * physical address, i being below that.  Both panic on another size, the second on another i. */
size_t acpi_root_count(const void *table, unsigned entry_size);
uint64_t acpi_root_entry(const void *table, unsigned entry_size, size_t i);

/* A walk along the entries of a table. */
struct acpi_cursor {
	const uint8_t *at, *end;
	const char *wrong; /* why the walk ended early, in one plain line; NULL: it didn't */
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

/* Interrupt inputs: bits 0 and 1 polarity, 2 and 3 trigger; each 0: as the bus has it. */
#define ACPI_POLARITY 0x3
#define ACPI_ACTIVE_LOW 0x3
#define ACPI_TRIGGER 0xc
#define ACPI_LEVEL 0xc

struct acpi_madt_entry {
	enum acpi_madt_kind kind;
	uint32_t processor; /* LOCAL_APIC, LOCAL_NMI: the processor's number in ACPI */
	uint32_t apic;	    /* LOCAL_APIC, IO_APIC: the APIC's number */
	bool enabled;	    /* LOCAL_APIC: it is there and may be started */
	bool can_come;	    /* LOCAL_APIC: it isn't enabled, but may be plugged in later */
	uint64_t address;   /* IO_APIC, LOCAL_APIC_ADDRESS */
	uint32_t gsi;	    /* IO_APIC: its first input's number; OVERRIDE: the input */
	uint8_t source;	    /* OVERRIDE: the ISA interrupt */
	uint8_t lint;	    /* LOCAL_NMI: the input, 0 or 1 */
	uint16_t flags;	    /* OVERRIDE, LOCAL_NMI: as above */
};

/* Begins a walk along a MADT.  Returns the physical address of the local APICs; 0, and no entry
 * will come, if the table ends before its entries. */
uint32_t acpi_madt_begin(struct acpi_cursor *c, const void *table);
/* Fills *entry with the next one of a kind listed above.  Returns false at the end, or where an
 * entry can't be read: then c->wrong says why. */
bool acpi_madt_next(struct acpi_cursor *c, struct acpi_madt_entry *entry);

/* SRAT: which node each processor and each range of memory belongs to */

struct acpi_srat_entry {
	bool is_memory;
	uint32_t node;
	uint32_t apic;	      /* of a processor */
	uint64_t start, size; /* of memory */
	bool can_come;	      /* memory that may be plugged in: only AML knows what of it is there */
};

/* Begins a walk along a SRAT. */
void acpi_srat_begin(struct acpi_cursor *c, const void *table);
/* Fills *entry with the next one that is in use.  Returns false as acpi_madt_next() does. */
bool acpi_srat_next(struct acpi_cursor *c, struct acpi_srat_entry *entry);

/* SLIT: how far nodes are apart, 10 being the distance of each to itself */

/* How many nodes the table is about; 0 if it is too short for that many. */
size_t acpi_slit_nodes(const void *table);
/* The distance from one node to another, both less than acpi_slit_nodes(): else it panics. */
unsigned acpi_slit_distance(const void *table, size_t from, size_t to);

#endif
