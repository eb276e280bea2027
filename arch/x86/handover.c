/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads what the loader hands over: PVH's start info (Xen, public/arch-x86/hvm/start_info.h), or the
 * boot information of multiboot 2, which kern/boot/multiboot.c decodes.
 *
 * Everything is read through the early page tables, which map physical memory below EARLY_MAX.
 */
#include "handover.h"

#include "acpi.h"
#include "layout.h"
#include "lib/string.h"
#include "multiboot.h"
#include "refuse.h"

_Static_assert(HANDOVER_MODULES_MAX >= MULTIBOOT_MODULES_MAX, "each module is held");

struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp;
	uint64_t map; /* this and the rest: from version 1 on */
	uint32_t map_count, reserved;
};

struct start_map_entry {
	uint64_t start, size;
	uint32_t type, reserved;
};

struct start_module {
	uint64_t start, size, cmdline, reserved;
};

/* What the loader left at [phys, phys + size). */
static const void *loaded(uint64_t phys, uint64_t size, const char *what)
{
	if (phys == 0 || phys > EARLY_MAX || size > EARLY_MAX - phys)
		refuse("the %s is at %#llx, out of reach", what,
			(unsigned long long)phys);
	return direct_at(phys);
}

static void hold(struct handover *h, uint64_t start, uint64_t size)
{
	h->held[h->held_count++] = (struct memmap_range){start, size};
}

static void hold_module(struct handover *h, size_t i, uint64_t start, uint64_t size)
{
	hold(h, start, size);
	if (i == 0)
		h->initrd = (struct memmap_range){start, size};
}

static void set_map_count(struct handover *h, size_t count)
{
	if (count > HANDOVER_MAP_MAX)
		refuse("the memory map has %zu entries, more than %u", count, HANDOVER_MAP_MAX);
	h->map_count = count;
}

/* Returns the length of the command line, of which at most `size` bytes may be read. */
static size_t copy_cmdline(struct handover *h, const char *from, size_t size)
{
	size_t length = strnlen(from, size);

	if (length >= HANDOVER_CMDLINE_MAX)
		refuse("the command line has more than %u bytes", HANDOVER_CMDLINE_MAX - 1);
	memcpy(h->cmdline, from, length);
	return length;
}

/* PVH */

static const struct start_info *read_start_info(struct handover *h, uint32_t phys)
{
	const struct start_info *start = loaded(phys, sizeof(*start), "start info");

	if (start->magic != HANDOVER_PVH)
		refuse("no PVH start info at %#x", phys);
	if (start->version < 1)
		refuse("the loader's PVH start info has no memory map");
	hold(h, phys, sizeof(*start));
	return start;
}

static void read_map(struct handover *h, const struct start_info *start)
{
	uint64_t size = start->map_count * sizeof(struct start_map_entry);
	const struct start_map_entry *map = loaded(start->map, size, "memory map");

	set_map_count(h, start->map_count);
	for (size_t i = 0; i < h->map_count; i++)
		h->map[i] = (struct memmap_entry){map[i].start, map[i].size, map[i].type};
	hold(h, start->map, size);
}

static void read_cmdline(struct handover *h, const struct start_info *start)
{
	const char *from;

	if (start->cmdline == 0)
		return;
	from = loaded(start->cmdline, HANDOVER_CMDLINE_MAX, "command line");
	hold(h, start->cmdline, copy_cmdline(h, from, HANDOVER_CMDLINE_MAX) + 1);
}

static void read_modules(struct handover *h, const struct start_info *start)
{
	uint64_t size = start->module_count * sizeof(struct start_module);
	const struct start_module *modules;

	if (start->module_count == 0)
		return;
	if (start->module_count > HANDOVER_MODULES_MAX)
		refuse("the loader passes %u modules, more than %u", start->module_count,
			HANDOVER_MODULES_MAX);
	modules = loaded(start->modules, size, "module list");
	hold(h, start->modules, size);
	for (size_t i = 0; i < start->module_count; i++)
		hold_module(h, i, modules[i].start, modules[i].size);
}

static void read_pvh(struct handover *h, uint32_t phys)
{
	const struct start_info *start = read_start_info(h, phys);

	read_map(h, start);
	read_cmdline(h, start);
	read_modules(h, start);
	h->rsdp = start->rsdp;
	h->rsdp_size = ACPI_RSDP_SIZE;
}

/* Multiboot 2 */

static void read_multiboot(struct handover *h, uint32_t phys)
{
	const void *bytes = loaded(phys, MULTIBOOT_HEAD_SIZE, "boot information");
	uint32_t size = multiboot_size(bytes);
	struct multiboot m;
	const char *wrong;

	loaded(phys, size, "boot information");
	wrong = multiboot_read(bytes, size, &m);
	if (wrong)
		refuse("the loader's boot information: %s", wrong);
	hold(h, phys, size);
	set_map_count(h, m.map_count);
	for (size_t i = 0; i < m.map_count; i++)
		h->map[i] = multiboot_map_entry(&m, i);
	copy_cmdline(h, m.cmdline, m.cmdline_size);
	for (size_t i = 0; i < m.module_count; i++)
		hold_module(h, i, m.modules[i].start, m.modules[i].size);
	if (m.rsdp) {
		h->rsdp = phys + m.rsdp;
		h->rsdp_size = m.rsdp_size;
	}
}

void handover_read(uint32_t protocol, uint32_t handed, struct handover *h)
{
	if (protocol == HANDOVER_PVH)
		read_pvh(h, handed);
	else if (protocol == MULTIBOOT_MAGIC)
		read_multiboot(h, handed);
	else
		refuse("the loader called by no protocol known here: eax is %#x", protocol);
}
