/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads ACPI tables.
 */
#include "acpi.h"

#include "bytes.h"
#include "lib/panic.h"
#include "lib/string.h"

/* The root pointer */
#define RSDP_REVISION 15
#define RSDP_RSDT 16
#define RSDP_LENGTH 20
#define RSDP_XSDT 24
#define RSDP_REVISION_XSDT 2 /* the first revision with an XSDT */

/* Every table */
#define TABLE_LENGTH 4

/* MADT */
#define MADT_LOCAL_APICS 36
#define MADT_ENTRIES 44
#define MADT_ENABLED 0x1u
#define MADT_ONLINE_CAPABLE 0x2u

#define MADT_TYPE_LOCAL_APIC 0
#define MADT_TYPE_IO_APIC 1
#define MADT_TYPE_OVERRIDE 2
#define MADT_TYPE_LOCAL_NMI 4
#define MADT_TYPE_ADDRESS 5
#define MADT_TYPE_X2APIC 9
#define MADT_TYPE_X2APIC_NMI 10

/* SRAT */
#define SRAT_ENTRIES 48
#define SRAT_IN_USE 0x1u
#define SRAT_CAN_COME 0x2u /* of memory: hot-pluggable */

#define SRAT_TYPE_PROCESSOR 0
#define SRAT_TYPE_MEMORY 1
#define SRAT_TYPE_X2APIC 2

/* SLIT */
#define SLIT_COUNT 36
#define SLIT_ENTRIES 44

/* Whether bytes[0 .. size) add up to 0 modulo 256: every table has a byte that makes it so. */
static bool checksum_is_right(const uint8_t *bytes, size_t size)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return sum == 0;
}

const char *acpi_rsdp(const void *bytes, size_t size, struct acpi_root *root)
{
	const uint8_t *rsdp = bytes;

	if (size < ACPI_RSDP_SIZE_MIN)
		return "the root pointer is cut off";
	if (memcmp(rsdp, ACPI_RSDP_SIGNATURE, 8) != 0)
		return "no root pointer there";
	if (!checksum_is_right(rsdp, ACPI_RSDP_SIZE_MIN))
		return "the root pointer's checksum is wrong";
	*root = (struct acpi_root){get32(rsdp, RSDP_RSDT), 4};
	if (rsdp[RSDP_REVISION] < RSDP_REVISION_XSDT)
		return NULL;
	if (size < ACPI_RSDP_SIZE || get32(rsdp, RSDP_LENGTH) < ACPI_RSDP_SIZE)
		return "the root pointer is cut off";
	if (!checksum_is_right(rsdp, ACPI_RSDP_SIZE))
		return "the root pointer's extended checksum is wrong";
	if (get64(rsdp, RSDP_XSDT) != 0)
		*root = (struct acpi_root){get64(rsdp, RSDP_XSDT), 8};
	return NULL;
}

uint32_t acpi_length(const void *header)
{
	return get32(header, TABLE_LENGTH);
}

bool acpi_is(const void *header, const char *signature)
{
	return memcmp(header, signature, 4) == 0;
}

const char *acpi_check(const void *table, size_t size)
{
	if (size < ACPI_HEADER_SIZE || acpi_length(table) < ACPI_HEADER_SIZE)
		return "it is shorter than its header";
	if (acpi_length(table) > size)
		return "it is longer than what can be read";
	return checksum_is_right(table, acpi_length(table)) ? NULL : "its checksum is wrong";
}

size_t acpi_root_count(const void *table, unsigned entry_size)
{
	if (entry_size != 4 && entry_size != 8)
		panic("acpi: addresses of %u bytes are counted (called from %pS)", entry_size,
			__builtin_return_address(0));
	return (acpi_length(table) - ACPI_HEADER_SIZE) / entry_size;
}

uint64_t acpi_root_entry(const void *table, unsigned entry_size, size_t i)
{
	if (i >= acpi_root_count(table, entry_size))
		panic("acpi: entry %zu of %zu is asked for (called from %pS)", i,
			acpi_root_count(table, entry_size), __builtin_return_address(0));
	return get(table, ACPI_HEADER_SIZE + i * entry_size, entry_size);
}

/* Entries: a byte of type, a byte of length (both counted in it), the rest. */

static void cursor_begin(struct acpi_cursor *c, const void *table, size_t first)
{
	uint32_t length = acpi_length(table);

	c->end = (const uint8_t *)table + length;
	c->at = length < first ? c->end : (const uint8_t *)table + first;
	c->wrong = length < first ? "it ends before its entries" : NULL;
}

/* The next entry, whole, or NULL at the end. */
static const uint8_t *cursor_take(struct acpi_cursor *c)
{
	const uint8_t *entry = c->at;
	size_t left = (size_t)(c->end - entry);

	if (left == 0)
		return NULL;
	if (left < 2 || entry[1] < 2 || entry[1] > left) {
		c->wrong = "an entry's length is wrong";
		c->at = c->end;
		return NULL;
	}
	c->at += entry[1];
	return entry;
}

/* The next entry of a type for which size_of() isn't 0: the least size of such an entry.  Returns
 * NULL at the end, and ends the walk at an entry that is shorter. */
static const uint8_t *cursor_take_known(struct acpi_cursor *c, size_t (*size_of)(uint8_t type))
{
	const uint8_t *entry;

	do {
		entry = cursor_take(c);
	} while (entry && size_of(entry[0]) == 0);
	if (!entry || entry[1] >= size_of(entry[0]))
		return entry;
	c->wrong = "an entry is too short for its type";
	c->at = c->end;
	return NULL;
}

/* MADT */

/* An 8-bit processor number, of which 0xff stands for all processors. */
static uint32_t processor_of(uint8_t number)
{
	return number == 0xff ? ACPI_ALL_PROCESSORS : number;
}

/* The least size of an entry of this type, in bytes; 0 for a type that isn't decoded. */
static size_t madt_entry_size(uint8_t type)
{
	switch (type) {
	case MADT_TYPE_LOCAL_APIC:
		return 8;
	case MADT_TYPE_IO_APIC:
		return 12;
	case MADT_TYPE_OVERRIDE:
		return 10;
	case MADT_TYPE_LOCAL_NMI:
		return 6;
	case MADT_TYPE_ADDRESS:
		return 12;
	case MADT_TYPE_X2APIC:
		return 16;
	case MADT_TYPE_X2APIC_NMI:
		return 12;
	default:
		return 0;
	}
}

static struct acpi_madt_entry madt_decode(const uint8_t *e)
{
	switch (e[0]) {
	case MADT_TYPE_LOCAL_APIC:
		return (struct acpi_madt_entry){.kind = ACPI_LOCAL_APIC,
			.processor = e[2],
			.apic = e[3],
			.enabled = get32(e, 4) & MADT_ENABLED,
			.can_come = get32(e, 4) & MADT_ONLINE_CAPABLE};
	case MADT_TYPE_X2APIC:
		return (struct acpi_madt_entry){.kind = ACPI_LOCAL_APIC,
			.processor = get32(e, 12),
			.apic = get32(e, 4),
			.enabled = get32(e, 8) & MADT_ENABLED,
			.can_come = get32(e, 8) & MADT_ONLINE_CAPABLE};
	case MADT_TYPE_IO_APIC:
		return (struct acpi_madt_entry){.kind = ACPI_IO_APIC,
			.apic = e[2],
			.address = get32(e, 4),
			.gsi = get32(e, 8)};
	case MADT_TYPE_OVERRIDE:
		return (struct acpi_madt_entry){.kind = ACPI_OVERRIDE,
			.source = e[3],
			.gsi = get32(e, 4),
			.flags = get16(e, 8)};
	case MADT_TYPE_LOCAL_NMI:
		return (struct acpi_madt_entry){.kind = ACPI_LOCAL_NMI,
			.processor = processor_of(e[2]),
			.flags = get16(e, 3),
			.lint = e[5]};
	case MADT_TYPE_X2APIC_NMI:
		return (struct acpi_madt_entry){.kind = ACPI_LOCAL_NMI,
			.flags = get16(e, 2),
			.processor = get32(e, 4),
			.lint = e[8]};
	default:
		return (struct acpi_madt_entry){
			.kind = ACPI_LOCAL_APIC_ADDRESS, .address = get64(e, 4)};
	}
}

uint32_t acpi_madt_begin(struct acpi_cursor *c, const void *table)
{
	cursor_begin(c, table, MADT_ENTRIES);
	return c->wrong ? 0 : get32(table, MADT_LOCAL_APICS);
}

bool acpi_madt_next(struct acpi_cursor *c, struct acpi_madt_entry *entry)
{
	const uint8_t *e = cursor_take_known(c, madt_entry_size);

	if (e)
		*entry = madt_decode(e);
	return e != NULL;
}

/* SRAT */

static size_t srat_entry_size(uint8_t type)
{
	switch (type) {
	case SRAT_TYPE_PROCESSOR:
		return 16;
	case SRAT_TYPE_MEMORY:
		return 40;
	case SRAT_TYPE_X2APIC:
		return 24;
	default:
		return 0;
	}
}

static uint32_t srat_entry_flags(const uint8_t *e)
{
	switch (e[0]) {
	case SRAT_TYPE_PROCESSOR:
		return get32(e, 4);
	case SRAT_TYPE_MEMORY:
		return get32(e, 28);
	default:
		return get32(e, 12);
	}
}

static struct acpi_srat_entry srat_decode(const uint8_t *e)
{
	switch (e[0]) {
	case SRAT_TYPE_PROCESSOR:
		return (struct acpi_srat_entry){
			.node = e[2] | (uint32_t)get(e, 9, 3) << 8, .apic = e[3]};
	case SRAT_TYPE_MEMORY:
		return (struct acpi_srat_entry){.is_memory = true,
			.node = get32(e, 2),
			.start = get64(e, 8),
			.size = get64(e, 16),
			.can_come = get32(e, 28) & SRAT_CAN_COME};
	default:
		return (struct acpi_srat_entry){.node = get32(e, 4), .apic = get32(e, 8)};
	}
}

void acpi_srat_begin(struct acpi_cursor *c, const void *table)
{
	cursor_begin(c, table, SRAT_ENTRIES);
}

bool acpi_srat_next(struct acpi_cursor *c, struct acpi_srat_entry *entry)
{
	const uint8_t *e;

	do {
		e = cursor_take_known(c, srat_entry_size);
	} while (e && !(srat_entry_flags(e) & SRAT_IN_USE));
	if (e)
		*entry = srat_decode(e);
	return e != NULL;
}

/* SLIT */

size_t acpi_slit_nodes(const void *table)
{
	uint32_t length = acpi_length(table);
	uint64_t nodes;

	if (length < SLIT_ENTRIES)
		return 0;
	nodes = get64(table, SLIT_COUNT);
	/* From 2^16 nodes on there would be 2^32 distances, more than a table can have.  The bound
	 * also keeps the product from overflowing. */
	return nodes < 1u << 16 && nodes * nodes <= length - SLIT_ENTRIES ? (size_t)nodes : 0;
}

unsigned acpi_slit_distance(const void *table, size_t from, size_t to)
{
	size_t nodes = acpi_slit_nodes(table);

	if (from >= nodes || to >= nodes)
		panic("acpi: the distance from node %zu to %zu of %zu is asked for (called from %pS)",
			from, to, nodes, __builtin_return_address(0));
	return ((const uint8_t *)table)[SLIT_ENTRIES + from * nodes + to];
}
