/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What lies at an address, for people: the parts of the address space, and what the machine itself
 * keeps in RAM.
 */
#include <stddef.h>

#include "core.h"
#include "layout.h"
#include "lib/array.h"
#include "lib/printf.h"
#include "machine.h"
#include "paging.h"
#include "port.h"
#include "window.h"

#define NO_CORE UINT32_MAX

static void say(struct machine_place *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct machine_place *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	kvsnprintf(p->what, sizeof(p->what), fmt, ap);
	va_end(ap);
}

/* A page of RAM, wherever it is mapped. */
static void note_phys(struct machine_place *p, uint64_t phys)
{
	p->has_phys = true;
	p->phys = phys;
	if (!paging_is_ram(phys))
		return;
	p->direct = (uintptr_t)direct_at(phys);
	if (phys >= image_phys(image_start) && phys < image_phys(image_end))
		p->image = IMAGE_OFFSET + phys;
}

/* The kernel's image */

static const struct {
	const char *name;
	const char *guard, *end;
} stacks[] = {
	{"boot stack", boot_stack_guard, boot_stack_end},
	{"emergency stack of core 0", emergency_stack_guard, emergency_stack_end},
};

static const struct {
	const char *name;
	const char *start, *end;
} sections[] = {
	{"text", image_start, rodata_start},
	{"read-only data", rodata_start, data_start},
	{"data", data_start, bss_start},
	{"bss", bss_start, symbols_start},
	{"symbols", symbols_start, image_end},
};

bool machine_section(size_t i, struct machine_section *section)
{
	if (i >= ARRAY_SIZE(sections))
		return false;
	*section = (struct machine_section){sections[i].name, (uintptr_t)sections[i].start,
		(size_t)(sections[i].end - sections[i].start)};
	return true;
}

static void name_image(struct machine_place *p, uintptr_t address)
{
	size_t part = 0;

	while (address >= (uintptr_t)sections[part].end)
		part++;
	say(p, "kernel %s", sections[part].name);
	for (size_t i = 0; i < ARRAY_SIZE(stacks); i++)
		if (address >= (uintptr_t)stacks[i].guard && address < (uintptr_t)stacks[i].end)
			say(p, "%s%s", paging_is_guard(address) ? "guard page of the " : "", stacks[i].name);
}

static void place_image(struct machine_place *p, uintptr_t address)
{
	if (address < (uintptr_t)image_start || address >= (uintptr_t)image_end) {
		say(p, "unmapped, around the kernel image");
		return;
	}
	name_image(p, address);
	p->is_mapped = !paging_is_guard(address);
	note_phys(p, address - IMAGE_OFFSET);
}

/* The direct map */

/* The core whose area contains the address. */
static unsigned core_of_area(uintptr_t address)
{
	for (unsigned i = 0; i < port_core_count(); i++)
		if (cores[i] && address - (uintptr_t)cores[i] < sizeof(struct core))
			return i;
	return NO_CORE;
}

static void place_plain(struct machine_place *p, uint64_t phys)
{
	say(p, "RAM in the direct map");
	p->is_plain = true;
	p->window = window_find_page(phys);
}

static void place_direct(struct machine_place *p, uintptr_t address)
{
	uint64_t phys = address - DIRECT_BASE;
	unsigned core = core_of_area(address);
	uintptr_t first;

	note_phys(p, phys);
	p->is_mapped = p->direct;
	if (!p->direct)
		say(p, "hole in the direct map: no RAM");
	else if (p->image)
		name_image(p, p->image);
	else if (paging_is_boot_table(phys))
		say(p, "page table, made at boot");
	else if (window_find_table(phys, &first))
		say(p, "page table, for addresses from %#zx on", (size_t)first);
	else if (core != NO_CORE)
		say(p, "area of core %u", core);
	else
		place_plain(p, phys);
}

/* What is mapped page by page */

static bool place_mapped(struct machine_place *p, uintptr_t address)
{
	uint64_t phys;

	p->is_mapped = paging_find_page(address, &phys);
	if (p->is_mapped)
		note_phys(p, phys);
	return p->is_mapped;
}

/* A stack of a core but core 0, given by its end, or its guard page. */
static bool is_stack(struct machine_place *p, uintptr_t address, uintptr_t end, const char *what, unsigned core)
{
	uintptr_t low = end - MACHINE_STACK_SIZE;

	if (address < low - PORT_PAGE_SIZE || address >= end)
		return false;
	say(p, "%s%s of core %u", address < low ? "guard page of the " : "", what, core);
	return true;
}

static bool place_stack(struct machine_place *p, uintptr_t address)
{
	for (unsigned i = 1; i < port_core_count(); i++)
		if (is_stack(p, address, cores[i]->stack, "first stack", i) ||
			is_stack(p, address, cores[i]->emergency, "emergency stack", i))
			return true;
	return false;
}

static void place_window(struct machine_place *p, uintptr_t address)
{
	bool is_mapped = place_mapped(p, address);

	if (place_stack(p, address))
		return;
	say(p, "%s of the kernel's window", is_mapped ? "page" : "unmapped part");
	p->is_plain = is_mapped;
}

static void place_device(struct machine_place *p, uintptr_t address)
{
	say(p, place_mapped(p, address) ? "device memory" :
					  "unmapped part of the devices' window");
}

void machine_place(uintptr_t address, struct machine_place *p)
{
	*p = (struct machine_place){.phys = 0};
	if ((uint64_t)((int64_t)(address << 25) >> 25) != address)
		say(p, "not a canonical address");
	else if (address < DIRECT_BASE)
		say(p, "unmapped: the lower half of the addresses is not used");
	else if (address - DIRECT_BASE < DIRECT_MAX)
		place_direct(p, address);
	else if (address - WINDOW_BASE < WINDOW_SIZE)
		place_window(p, address);
	else if (address - DEVICE_BASE < DEVICE_SIZE)
		place_device(p, address);
	else if (address >= IMAGE_BASE)
		place_image(p, address);
	else
		say(p, "unmapped: between the parts of the address space");
}

/* The stacks lie one behind the other (boot.S). */
bool machine_data(size_t i, uintptr_t *start, size_t *size)
{
	const char *from = i == 0 ? data_start : emergency_stack_end;

	*start = (uintptr_t)from;
	*size = (size_t)((i == 0 ? boot_stack_guard : data_end) - from);
	return i < 2;
}
