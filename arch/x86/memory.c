/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine's memory as PVH describes it (Xen, public/arch-x86/hvm/start_info.h), and what of it
 * the kernel may use.
 *
 * The map is normalized three times: with nothing reserved, since the extent of RAM decides the
 * size of the page tables; with all but the page tables reserved, to find room for them; and with
 * the page tables reserved too, for what is left to the kernel.  Everything is read through the
 * early page tables, which map physical memory below EARLY_MAX.
 */
#include "memory.h"

#include <stdbool.h>

#include "layout.h"
#include "lib/array.h"
#include "memmap.h"
#include "lib/string.h"
#include "table.h"
#include "paging.h"
#include "port.h"
#include "refuse.h"

#define START_MAGIC 0x336ec578
#define ENTRIES_MAX 512 /* UEFI firmware gives a few dozen */
#define MODULES_MAX 8
#define REAL_MODE_MAX 0xa0000
#define CMDLINE_MAX 4096 /* including its final zero */

/* Page 0, the image, start info, command line, memory map, module list, page tables, memory beyond
 * the direct map, the page in which cores start; and the modules. */
#define RESERVED_MAX (9 + MODULES_MAX)
#define RANGES_MAX (ENTRIES_MAX + RESERVED_MAX + 1)

_Static_assert(PAGING_EXTENTS_MAX >= ENTRIES_MAX + 1, "each range of RAM is an extent");

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

static char cmdline[CMDLINE_MAX];

static struct memmap_entry entries[ENTRIES_MAX];
static size_t entry_count;
static struct memmap_range reserved[RESERVED_MAX];
static size_t reserved_count;
static struct memmap_edge work[2 * (ENTRIES_MAX + RESERVED_MAX)];
static struct memmap_range ranges[RANGES_MAX];
static struct boot_ram ram[RANGES_MAX];
static struct boot_account accounts[6];
static struct memmap_range initrd; /* the first module; size 0: none */

static void reserve(uint64_t start, uint64_t size)
{
	reserved[reserved_count++] = (struct memmap_range){start, size};
}

/* What the loader left at [phys, phys + size). */
static const void *loaded(uint64_t phys, uint64_t size, const char *what)
{
	if (phys == 0 || phys > EARLY_MAX || size > EARLY_MAX - phys)
		refuse("the %s is at %#llx, out of reach", what,
			(unsigned long long)phys);
	return direct_at(phys);
}

static const struct start_info *read_start_info(uint32_t phys)
{
	const struct start_info *start = loaded(phys, sizeof(*start), "start info");

	if (start->magic != START_MAGIC)
		refuse("no PVH start info at %#x", phys);
	if (start->version < 1)
		refuse("the loader's PVH start info has no memory map");
	reserve(phys, sizeof(*start));
	return start;
}

static void read_map(const struct start_info *start)
{
	uint64_t size = start->map_count * sizeof(struct start_map_entry);
	const struct start_map_entry *map = loaded(start->map, size, "memory map");

	if (start->map_count > ENTRIES_MAX)
		refuse("the memory map has %u entries, more than %u", start->map_count,
			ENTRIES_MAX);
	entry_count = start->map_count;
	for (size_t i = 0; i < entry_count; i++)
		entries[i] = (struct memmap_entry){map[i].start, map[i].size, map[i].type};
	reserve(start->map, size);
}

static void read_cmdline(const struct start_info *start)
{
	const char *from;
	size_t length;

	if (start->cmdline == 0)
		return;
	from = loaded(start->cmdline, CMDLINE_MAX, "command line");
	length = strnlen(from, CMDLINE_MAX);
	if (length == CMDLINE_MAX)
		refuse("the command line has more than %u bytes", CMDLINE_MAX - 1);
	memcpy(cmdline, from, length);
	reserve(start->cmdline, length + 1);
}

static void read_modules(const struct start_info *start)
{
	uint64_t size = start->module_count * sizeof(struct start_module);
	const struct start_module *modules;

	if (start->module_count == 0)
		return;
	if (start->module_count > MODULES_MAX)
		refuse("the loader passes %u modules, more than %u", start->module_count,
			MODULES_MAX);
	modules = loaded(start->modules, size, "module list");
	reserve(start->modules, size);
	for (size_t i = 0; i < start->module_count; i++)
		reserve(modules[i].start, modules[i].size);
	initrd = (struct memmap_range){modules[0].start, modules[0].size};
}

/* Fills in ranges[]. */
static struct memmap_result normalize(size_t reservations)
{
	struct memmap_result result;
	const char *why = memmap_normalize(entries, entry_count, reserved, reservations,
		PORT_PAGE_SIZE, work, ranges, ARRAY_SIZE(ranges), &result);

	if (why)
		refuse("%s", why);
	return result;
}

static uint64_t range_end(const struct memmap_range *r)
{
	return r->start + r->size;
}

/* Cuts ranges[0 .. *count) at the end of the direct map; returns the bytes beyond it. */
static uint64_t cut_ranges(size_t *count)
{
	uint64_t beyond = 0;

	while (*count > 0 && range_end(&ranges[*count - 1]) > DIRECT_MAX) {
		struct memmap_range *r = &ranges[*count - 1];
		uint64_t keep = r->start < DIRECT_MAX ? DIRECT_MAX - r->start : 0;

		beyond += r->size - keep;
		r->size = keep;
		*count -= keep == 0;
	}
	return beyond;
}

static bool is_in_ranges(uint64_t start, uint64_t size, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (ranges[i].start <= start && start + size <= range_end(&ranges[i]))
			return true;
	}
	return false;
}

/* Refuses an initrd that the direct map won't have, whose RAM is ranges[0 .. count), and one that
 * shares memory with the image. */
static void check_initrd(uint64_t image, uint64_t image_size, size_t count)
{
	if (initrd.size == 0)
		return;
	if (initrd.size > DIRECT_MAX || initrd.start > DIRECT_MAX ||
		!is_in_ranges(initrd.start, initrd.size, count))
		refuse("the initrd is at %#llx, which the memory map doesn't list as RAM",
			(unsigned long long)initrd.start);
	if (initrd.start < image + image_size && image < range_end(&initrd))
		refuse("the initrd lies in the kernel's image");
}

/* Finds room for the page tables: the lowest that is above the image and below EARLY_MAX. */
static uint64_t find_block(uint64_t size, size_t count)
{
	for (size_t i = 0; i < count && ranges[i].start + size <= EARLY_MAX; i++) {
		if (ranges[i].start >= image_phys(image_end) && ranges[i].size >= size)
			return ranges[i].start;
	}
	refuse("no room for %llu KiB of page tables below 4 GiB", (unsigned long long)size / 1024);
}

/* Bytes below `top` that the map lists, but not as RAM.  Turns those entries into RAM and
 * normalizes them with pages of 1 byte, so that nothing is rounded away.  Overwrites entries[] and
 * ranges[]. */
static uint64_t count_holes(uint64_t top)
{
	struct memmap_result result;
	size_t n = 0;

	for (size_t i = 0; i < entry_count; i++) {
		struct memmap_entry e = entries[i];

		if (e.type == MEMMAP_RAM || e.start >= top)
			continue;
		if (e.size > top - e.start)
			e.size = top - e.start;
		e.type = MEMMAP_RAM;
		entries[n++] = e;
	}
	return memmap_normalize(entries, n, NULL, 0, 1, work, ranges, ARRAY_SIZE(ranges), &result)
		       ? 0
		       : result.usable;
}

/* Reserves a page in which a core in real mode can start; returns its address, 0: there is none. */
static uint64_t reserve_start_page(size_t count)
{
	if (count == 0 || ranges[0].start + PORT_PAGE_SIZE > REAL_MODE_MAX)
		return 0;
	reserve(ranges[0].start, PORT_PAGE_SIZE);
	return ranges[0].start;
}

static void add_account(struct boot_info *info, const char *what, uint64_t bytes, bool is_ram)
{
	if (bytes == 0)
		return;
	accounts[info->account_count++] = (struct boot_account){what, bytes, is_ram};
}

static void fill_ram(struct boot_info *info, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		ram[i].start = (uintptr_t)direct_at(ranges[i].start);
		ram[i].size = ranges[i].size;
	}
	info->ram = ram;
	info->ram_count = count;
}

static void fill_initrd(struct boot_info *info)
{
	if (initrd.size == 0)
		return;
	info->initrd = direct_at(initrd.start);
	info->initrd_size = initrd.size;
}

struct memory_found memory_init(uint32_t start_info, struct boot_info *info)
{
	uint64_t image = image_phys(image_start), image_size = (uint64_t)(image_end - image_start);
	const struct start_info *start = read_start_info(start_info);
	struct memory_found found = {.rsdp = start->rsdp};
	struct memmap_result result;
	uint64_t beyond, block, block_size, top;

	read_map(start);
	read_cmdline(start);
	read_modules(start);

	result = normalize(0);
	beyond = cut_ranges(&result.count);
	if (!is_in_ranges(image, image_size, result.count))
		refuse("the memory map doesn't list the kernel's image as RAM");
	check_initrd(image, image_size, result.count);
	block_size = paging_prepare(ranges, result.count);
	top = range_end(&ranges[result.count - 1]);

	reserve(0, PORT_PAGE_SIZE);
	reserve(image, image_size);
	reserve(DIRECT_MAX, 0 - DIRECT_MAX);
	result = normalize(reserved_count);
	found.start_page = reserve_start_page(result.count);
	block = find_block(block_size, result.count);
	reserve(block, block_size);
	result = normalize(reserved_count);
	fill_ram(info, result.count);
	fill_initrd(info);
	paging_init(block);

	info->cmdline = cmdline;
	info->ram_total = result.ram;
	info->account = accounts;
	add_account(info, "kernel image", image_size, true);
	add_account(info, "page tables", block_size, true);
	add_account(info, "initrd", initrd.size, true);
	add_account(info, "boot data and partial pages",
		result.reserved + result.ragged - image_size - block_size - initrd.size - beyond, true);
	add_account(info, "beyond the direct map", beyond, true);
	add_account(info, "firmware holes", count_holes(top), false);
	return found;
}
