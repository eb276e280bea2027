/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel may use of the machine's memory.
 *
 * The map is normalized three times: with nothing reserved, since the extent of RAM decides the size of the
 * page tables; with all but the page tables reserved, to find room for them; and with the page tables
 * reserved too, for what is left to the kernel.
 */
#include "memory.h"

#include <stdbool.h>

#include "layout.h"
#include "lib/array.h"
#include "memmap.h"
#include "paging.h"
#include "port.h"
#include "refuse.h"
#include "tree.h"

/* The image, the initrd, page tables, memory beyond the direct map; and what the firmware keeps. */
#define RESERVED_MAX (4 + TREE_ENTRIES_MAX)
#define RANGES_MAX (TREE_ENTRIES_MAX + RESERVED_MAX + 1)

_Static_assert(PAGING_EXTENTS_MAX >= TREE_ENTRIES_MAX + 1, "each range of RAM is an extent");

static struct memmap_range reserved[RESERVED_MAX];
static size_t reserved_count;
static struct memmap_edge work[2 * (TREE_ENTRIES_MAX + RESERVED_MAX)];
static struct memmap_range ranges[RANGES_MAX];
static struct boot_ram ram[RANGES_MAX];
static struct boot_account accounts[6];

static void reserve(uint64_t start, uint64_t size)
{
	reserved[reserved_count++] = (struct memmap_range){start, size};
}

/* Fills in ranges[]. */
static struct memmap_result normalize(size_t reservations)
{
	struct memmap_result result;
	const char *why = memmap_normalize(machine_tree.entries, machine_tree.entry_count, reserved, reservations,
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

/* Refuses an initrd that the direct map won't have, whose RAM is ranges[0 .. count), and one that shares
 * memory with the image. */
static void check_initrd(uint64_t image, uint64_t image_size, size_t count)
{
	const struct memmap_range *initrd = &machine_tree.initrd;

	if (initrd->size == 0)
		return;
	if (initrd->size > DIRECT_MAX || initrd->start > DIRECT_MAX ||
		!is_in_ranges(initrd->start, initrd->size, count))
		refuse("the initrd is at %#llx, which the device tree doesn't list as RAM",
			(unsigned long long)initrd->start);
	if (initrd->start < image + image_size && image < range_end(initrd))
		refuse("the initrd lies in the kernel's image");
}

/* Finds room for the page tables: the lowest that is above the image and below EARLY_MAX. */
static uint64_t find_block(uint64_t size, size_t count)
{
	for (size_t i = 0; i < count && ranges[i].start + size <= EARLY_MAX; i++) {
		if (ranges[i].start >= image_phys(image_end) && ranges[i].size >= size)
			return ranges[i].start;
	}
	refuse("no room for %llu KiB of page tables", (unsigned long long)size / 1024);
}

/* Bytes that may not be mapped. */
static uint64_t count_unmappable(void)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < machine_tree.entry_count; i++)
		if (machine_tree.entries[i].type != MEMMAP_RAM)
			sum += machine_tree.entries[i].size;
	return sum;
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
	if (machine_tree.initrd.size == 0)
		return;
	info->initrd = direct_at(machine_tree.initrd.start);
	info->initrd_size = machine_tree.initrd.size;
}

void memory_init(struct boot_info *info)
{
	uint64_t image = image_phys(image_start), image_size = (uint64_t)(image_end - image_start);
	uint64_t beyond, block, block_size, initrd_size = machine_tree.initrd.size;
	struct memmap_result result = normalize(0);

	beyond = cut_ranges(&result.count);
	if (!is_in_ranges(image, image_size, result.count))
		refuse("the device tree doesn't list the kernel's image as RAM");
	check_initrd(image, image_size, result.count);
	block_size = paging_prepare(ranges, result.count);

	reserve(image, image_size);
	reserve(machine_tree.initrd.start, initrd_size);
	reserve(DIRECT_MAX, 0 - DIRECT_MAX);
	for (size_t i = 0; i < machine_tree.kept_count; i++)
		reserve(machine_tree.kept[i].start, machine_tree.kept[i].size);
	result = normalize(reserved_count);
	block = find_block(block_size, result.count);
	reserve(block, block_size);
	result = normalize(reserved_count);
	fill_ram(info, result.count);
	fill_initrd(info);
	paging_init(block);

	info->cmdline = machine_tree.cmdline;
	info->ram_total = result.ram;
	info->account = accounts;
	add_account(info, "kernel image", image_size, true);
	add_account(info, "page tables", block_size, true);
	add_account(info, "initrd", initrd_size, true);
	add_account(info, "firmware's and partial pages",
		result.reserved + result.ragged - image_size - block_size - initrd_size - beyond, true);
	add_account(info, "beyond the direct map", beyond, true);
	add_account(info, "firmware holes", count_unmappable(), false);
}
