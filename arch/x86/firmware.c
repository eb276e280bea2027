/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds the ACPI tables and keeps what they say.
 *
 * Tables may lie anywhere, in RAM or outside it, so each is mapped to be read: first its header,
 * which has the length, then that many bytes.  The next mapping replaces it.  kern/boot/acpi.c
 * decodes the bytes and checks them.  A table that is refused gets one line, and the machine runs
 * without it.
 */
#include "firmware.h"

#include "acpi.h"
#include "lib/panic.h"
#include "lib/printf.h"
#include "sink.h"
#include "lib/string.h"
#include "machine.h"
#include "paging.h"
#include "x86.h"

#define EBDA_SEGMENT 0x40e /* where the firmware keeps the segment of its data area */
#define EBDA_SCAN 1024
#define BIOS_AREA 0xe0000
#define BIOS_AREA_SIZE 0x20000
#define RSDP_ALIGN 16

#define APIC_ALL 255 /* addresses all local APICs */

struct firmware firmware;

static void print_ignored(const char *what, const char *wrong)
{
	kprintf("acpi: %s: %s: ignored\n", what, wrong);
}

/* The root pointer */

static uint64_t scan(uint64_t start, uint64_t size)
{
	const uint8_t *bytes = paging_map_firmware(start, size);
	struct acpi_root root;

	for (uint64_t i = 0; bytes && i + ACPI_RSDP_SIZE_MIN <= size; i += RSDP_ALIGN) {
		if (!acpi_rsdp(bytes + i, size - i, &root))
			return start + i;
	}
	return 0;
}

static uint64_t find_rsdp(void)
{
	const uint8_t *segment = paging_map_firmware(EBDA_SEGMENT, 2);
	uint64_t ebda = segment ? (uint64_t)(segment[0] | segment[1] << 8) << 4 : 0;
	uint64_t found = ebda ? scan(ebda, EBDA_SCAN) : 0;

	return found ? found : scan(BIOS_AREA, BIOS_AREA_SIZE);
}

/* Tables */

/* The table at `phys`, mapped and checked; NULL if it is refused, which prints a line. */
static const void *read_table(uint64_t phys, const char *what)
{
	const void *header = paging_map_firmware(phys, ACPI_HEADER_SIZE), *table;
	uint32_t length = header ? acpi_length(header) : 0;
	const char *wrong;

	table = length >= ACPI_HEADER_SIZE ? paging_map_firmware(phys, length) : NULL;
	wrong = table ? acpi_check(table, length) : "bad address or length";
	if (!wrong)
		return table;
	print_ignored(what, wrong);
	return NULL;
}

/* Whether the table at `phys` has this name. */
static bool is_named(uint64_t phys, const char *signature)
{
	const void *header = paging_map_firmware(phys, ACPI_HEADER_SIZE);

	return header && acpi_is(header, signature);
}

/* The first table of that name, mapped and checked; NULL if there is none or it is refused. */
static const void *find_table(const struct acpi_root *root, const char *signature)
{
	const char *what = root->entry_size == 8 ? "XSDT" : "RSDT";
	const void *list = read_table(root->address, what);
	size_t count = list ? acpi_root_count(list, root->entry_size) : 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t phys;

		/* is_named() has replaced the list's mapping. */
		list = paging_map_firmware(root->address, ACPI_HEADER_SIZE);
		list = list ? paging_map_firmware(root->address, acpi_length(list)) : NULL;
		if (!list)
			return NULL;
		phys = acpi_root_entry(list, root->entry_size, i);
		if (is_named(phys, signature))
			return read_table(phys, signature);
	}
	return NULL;
}

/* MADT */

static bool is_listed(uint32_t apic)
{
	for (unsigned i = 0; i < firmware.core_count; i++) {
		if (firmware.apics[i] == apic)
			return true;
	}
	return false;
}

/* The boot core is in apics[0] already. */
static void add_core(const struct acpi_madt_entry *e, bool *has_boot_core)
{
	if (!e->enabled)
		return;
	if (e->apic == firmware.apics[0])
		*has_boot_core = true;
	else if (e->apic >= APIC_ALL)
		firmware.core_excess++;
	else if (!is_listed(e->apic))
		firmware.apics[firmware.core_count++] = (uint8_t)e->apic;
}

static void add_io_apic(const struct acpi_madt_entry *e)
{
	if (firmware.io_apic_count == IO_APICS_MAX)
		print_ignored("MADT", "too many I/O APICs");
	else
		firmware.io_apics[firmware.io_apic_count++] =
			(struct firmware_io_apic){e->address, e->gsi};
}

/* A first walk: everything but the NMI entries, which read_nmis() looks up for each processor. */
static const char *read_madt(const void *madt)
{
	struct acpi_cursor c;
	struct acpi_madt_entry e;
	bool has_boot_core = false;

	firmware.local_apics = acpi_madt_begin(&c, madt);
	while (acpi_madt_next(&c, &e)) {
		if (e.kind == ACPI_LOCAL_APIC)
			add_core(&e, &has_boot_core);
		else if (e.kind == ACPI_IO_APIC)
			add_io_apic(&e);
		else if (e.kind == ACPI_OVERRIDE && e.source < ISA_IRQS)
			firmware.isa[e.source] = (struct firmware_isa){e.gsi, e.flags};
		else if (e.kind == ACPI_LOCAL_APIC_ADDRESS)
			firmware.local_apics = e.address;
	}
	if (c.wrong)
		return c.wrong;
	return has_boot_core ? NULL : "the boot processor isn't listed";
}

/* The inputs that raise NMIs on the processor that ACPI numbers `processor`. */
static uint8_t nmi_lints_of(const void *madt, uint32_t processor)
{
	struct acpi_cursor c;
	struct acpi_madt_entry e;
	uint8_t lints = 0;

	acpi_madt_begin(&c, madt);
	while (acpi_madt_next(&c, &e)) {
		if (e.kind == ACPI_LOCAL_NMI && e.lint < 2 &&
			(e.processor == processor || e.processor == ACPI_ALL_PROCESSORS))
			lints |= (uint8_t)(1u << e.lint);
	}
	return lints;
}

static void read_nmis(const void *madt)
{
	struct acpi_cursor c;
	struct acpi_madt_entry e;

	acpi_madt_begin(&c, madt);
	while (acpi_madt_next(&c, &e)) {
		if (e.kind == ACPI_LOCAL_APIC && e.apic < APICS)
			firmware.nmi_lints[e.apic] = nmi_lints_of(madt, e.processor);
	}
}

/* Without a valid MADT the kernel uses the boot core alone, and no I/O APIC. */
static void forget_madt(void)
{
	firmware.core_count = 1;
	firmware.core_excess = 0;
	firmware.io_apic_count = 0;
	firmware.local_apics = 0;
}

static void use_madt(const struct acpi_root *root)
{
	const void *madt = find_table(root, "APIC");
	const char *wrong = madt ? read_madt(madt) : "missing or refused";

	if (wrong) {
		forget_madt();
		print_ignored("MADT", wrong);
		return;
	}
	read_nmis(madt);
	if (firmware.core_excess)
		kprintf("acpi: %u processors have no 8-bit APIC number: left out\n",
			firmware.core_excess);
}

/* SRAT, SLIT */

static void use_srat(const struct acpi_root *root)
{
	const void *srat = find_table(root, "SRAT");
	struct acpi_cursor c;
	struct acpi_srat_entry e;

	if (!srat)
		return;
	firmware.srat = srat;
	paging_keep_firmware();
	acpi_srat_begin(&c, srat);
	while (acpi_srat_next(&c, &e)) {
		if (!e.is_memory && e.apic < APICS)
			firmware.nodes[e.apic] = e.node;
		if (e.is_memory && e.can_come)
			kprintf("acpi: %#llx, %pB: can be plugged in, left out beyond the memory map\n",
				(unsigned long long)e.start, (const void *)&e.size);
	}
	if (c.wrong)
		print_ignored("SRAT", c.wrong);
}

static void use_slit(const struct acpi_root *root)
{
	const void *slit = find_table(root, "SLIT");

	if (!slit)
		return;
	if (acpi_slit_nodes(slit) == 0) {
		print_ignored("SLIT", "fewer distances than nodes");
		return;
	}
	firmware.slit = slit;
	paging_keep_firmware();
}

void firmware_init(uint64_t rsdp, size_t rsdp_size)
{
	const void *bytes;
	struct acpi_root root;
	const char *wrong;

	firmware.core_count = 1;
	firmware.apics[0] = (uint8_t)(cpuid(1).ebx >> 24);
	for (unsigned i = 0; i < ISA_IRQS; i++)
		firmware.isa[i].gsi = i;
	for (unsigned i = 0; i < APICS; i++)
		firmware.nodes[i] = NO_NODE;
	if (rsdp == 0) {
		rsdp = find_rsdp();
		rsdp_size = ACPI_RSDP_SIZE;
	}
	bytes = rsdp ? paging_map_firmware(rsdp, rsdp_size) : NULL;
	wrong = bytes ? acpi_rsdp(bytes, rsdp_size, &root) : "none found";
	if (wrong) {
		print_ignored("tables", wrong);
		return;
	}
	use_madt(&root);
	use_srat(&root);
	use_slit(&root);
}

/* Nodes, for machine.h */

size_t machine_node_count(void)
{
	return firmware.slit ? acpi_slit_nodes(firmware.slit) : 0;
}

bool machine_node_memory(size_t i, struct machine_node_memory *memory)
{
	struct acpi_cursor c;
	struct acpi_srat_entry e;

	if (!firmware.srat)
		return false;
	acpi_srat_begin(&c, firmware.srat);
	while (acpi_srat_next(&c, &e)) {
		if (!e.is_memory || e.size == 0 || e.start + e.size < e.start || i-- > 0)
			continue;
		*memory = (struct machine_node_memory){e.node, e.start, e.size};
		return true;
	}
	return false;
}

unsigned machine_node_distance(size_t from, size_t to)
{
	size_t nodes = machine_node_count();

	if (from >= nodes || to >= nodes)
		panic("machine_node_distance from node %zu to %zu of %zu (called from %pS)", from, to, nodes,
			__builtin_return_address(0));
	return acpi_slit_distance(firmware.slit, from, to);
}
