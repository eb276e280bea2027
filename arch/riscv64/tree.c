/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads the device tree.
 *
 * Addresses of devices are taken as they stand: the buses that are looked at (simple-bus) map all of theirs
 * one to one.
 */
#include "tree.h"

#include "fdt.h"
#include "layout.h"
#include "lib/string.h"
#include "refuse.h"

struct machine_tree machine_tree;

static struct fdt tree;

static void open(uint64_t phys)
{
	const void *bytes = direct_at(phys);
	const char *wrong;

	if (phys == 0 || phys > EARLY_MAX - FDT_HEADER_SIZE || fdt_size(bytes) > EARLY_MAX - phys)
		refuse("the device tree is at %#llx, out of reach", (unsigned long long)phys);
	wrong = fdt_open(&tree, bytes, fdt_size(bytes));
	if (wrong)
		refuse("%s", wrong);
}

/* Memory */

static void add_entry(struct fdt_range r, uint32_t type)
{
	if (machine_tree.entry_count == TREE_ENTRIES_MAX)
		refuse("the device tree has more than %u ranges of memory", TREE_ENTRIES_MAX);
	machine_tree.entries[machine_tree.entry_count++] = (struct memmap_entry){r.start, r.size, type};
}

static void add_kept(struct fdt_range r)
{
	if (machine_tree.kept_count == TREE_ENTRIES_MAX)
		refuse("the device tree has more than %u reservations", TREE_ENTRIES_MAX);
	machine_tree.kept[machine_tree.kept_count++] = (struct memmap_range){r.start, r.size};
}

static void read_memory(void)
{
	for (uint32_t node = fdt_child(&tree, FDT_ROOT); node != FDT_NONE; node = fdt_next(&tree, node)) {
		const char *type = fdt_string(&tree, node, "device_type");
		struct fdt_range r;

		if (!type || strcmp(type, "memory") != 0 || !fdt_is_enabled(&tree, node))
			continue;
		for (size_t i = 0; fdt_reg(&tree, FDT_ROOT, node, i, &r); i++)
			add_entry(r, MEMMAP_RAM);
	}
}

/* What may not even be mapped counts as no RAM. */
static void read_reservations(void)
{
	uint32_t parent = fdt_find(&tree, FDT_ROOT, "reserved-memory"), size;
	struct fdt_range r;

	for (uint32_t node = fdt_child(&tree, parent); node != FDT_NONE; node = fdt_next(&tree, node)) {
		for (size_t i = 0; fdt_reg(&tree, parent, node, i, &r); i++) {
			if (fdt_property(&tree, node, "no-map", &size))
				add_entry(r, TREE_RESERVED);
			else
				add_kept(r);
		}
	}
	for (size_t i = 0; fdt_reservation(&tree, i, &r); i++)
		add_kept(r);
}

/* Processors */

static bool is_hart(uint32_t node)
{
	const char *type = fdt_string(&tree, node, "device_type");

	return type && strcmp(type, "cpu") == 0 && fdt_is_enabled(&tree, node);
}

static void read_harts(uint32_t cpus)
{
	struct machine_tree *m = &machine_tree;
	struct fdt_range r;

	m->harts[m->hart_count++] = core_self()->hart;
	for (uint32_t node = fdt_child(&tree, cpus); node != FDT_NONE; node = fdt_next(&tree, node)) {
		if (!is_hart(node) || !fdt_reg(&tree, cpus, node, 0, &r) || r.start == m->harts[0])
			continue;
		if (m->hart_count < CORES_MAX)
			m->harts[m->hart_count++] = r.start;
		else
			m->hart_excess++;
	}
}

static void read_processors(void)
{
	uint32_t cpus = fdt_find(&tree, FDT_ROOT, "cpus");

	if (!fdt_number(&tree, cpus, "timebase-frequency", &machine_tree.timebase) || machine_tree.timebase == 0)
		refuse("the device tree lacks the time counter's frequency");
	read_harts(cpus);
}

/* What the loader was given */

static void read_initrd(uint32_t chosen)
{
	uint64_t start, end;

	if (fdt_number(&tree, chosen, "linux,initrd-start", &start) &&
		fdt_number(&tree, chosen, "linux,initrd-end", &end) && start < end)
		machine_tree.initrd = (struct memmap_range){start, end - start};
}

static void read_chosen(void)
{
	uint32_t chosen = fdt_find(&tree, FDT_ROOT, "chosen");
	const char *words = fdt_string(&tree, chosen, "bootargs");

	if (words && strlen(words) >= TREE_CMDLINE_MAX)
		refuse("the command line has more than %u bytes", TREE_CMDLINE_MAX - 1);
	if (words)
		str_copy(machine_tree.cmdline, words, TREE_CMDLINE_MAX);
	read_initrd(chosen);
}

/* Devices */

/* Takes the first of its kind that is in use. */
static void note_device(uint32_t bus, uint32_t node)
{
	struct machine_tree *m = &machine_tree;
	struct fdt_range r;
	uint64_t shift = 0;

	if (!fdt_is_enabled(&tree, node) || !fdt_reg(&tree, bus, node, 0, &r))
		return;
	if (!m->uart && (fdt_is_compatible(&tree, node, "ns16550a") || fdt_is_compatible(&tree, node, "ns16550"))) {
		fdt_number(&tree, node, "reg-shift", &shift);
		m->uart = r.start;
		m->uart_shift = shift & 7;
	}
	if (!m->finisher && fdt_is_compatible(&tree, node, "sifive,test0"))
		m->finisher = r.start;
}

static void read_bus(uint32_t bus)
{
	for (uint32_t node = fdt_child(&tree, bus); node != FDT_NONE; node = fdt_next(&tree, node))
		note_device(bus, node);
}

static void read_devices(void)
{
	read_bus(FDT_ROOT);
	for (uint32_t node = fdt_child(&tree, FDT_ROOT); node != FDT_NONE; node = fdt_next(&tree, node))
		if (fdt_is_compatible(&tree, node, "simple-bus"))
			read_bus(node);
}

void tree_read(uint64_t phys)
{
	open(phys);
	read_memory();
	read_reservations();
	read_processors();
	read_chosen();
	read_devices();
}
