/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine's memory as the loader describes it, and what of it the kernel may use.
 *
 * The map is normalized three times: with nothing reserved, since the extent of RAM decides the
 * size of the page tables; with all but the page tables reserved, to find room for them; and with
 * the page tables reserved too, for what is left to the kernel.
 */
#include "memory.h"

#include <stdbool.h>

#include "handover.h"
#include "layout.h"
#include "lib/array.h"
#include "memmap.h"
#include "paging.h"
#include "port.h"
#include "refuse.h"

#define REAL_MODE_MAX 0xa0000

/* What the handover holds, page 0, the image, memory beyond the direct map, the page in which cores
 * start, page tables. */
#define RESERVED_MAX (HANDOVER_HELD_MAX + 5)
#define RANGES_MAX (HANDOVER_MAP_MAX + RESERVED_MAX + 1)

_Static_assert(PAGING_EXTENTS_MAX >= HANDOVER_MAP_MAX + 1, "each range of RAM is an extent");

static struct handover given;

static struct memmap_range reserved[RESERVED_MAX];
static size_t reserved_count;
static struct memmap_edge work[2 * (HANDOVER_MAP_MAX + RESERVED_MAX)];
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
	const char *why = memmap_normalize(given.map, given.map_count, reserved, reservations,
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
	const struct memmap_range *initrd = &given.initrd;

	if (initrd->size == 0)
		return;
	if (initrd->size > DIRECT_MAX || initrd->start > DIRECT_MAX ||
		!is_in_ranges(initrd->start, initrd->size, count))
		refuse("the initrd is at %#llx, which the memory map doesn't list as RAM",
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
	refuse("no room for %llu KiB of page tables below 4 GiB", (unsigned long long)size / 1024);
}

/* Bytes below `top` that the map lists, but not as RAM.  Turns those entries into RAM and
 * normalizes them with pages of 1 byte, so that nothing is rounded away.  Overwrites the map and
 * ranges[]. */
static uint64_t count_holes(uint64_t top)
{
	struct memmap_result result;
	size_t n = 0;

	for (size_t i = 0; i < given.map_count; i++) {
		struct memmap_entry e = given.map[i];

		if (e.type == MEMMAP_RAM || e.start >= top)
			continue;
		if (e.size > top - e.start)
			e.size = top - e.start;
		e.type = MEMMAP_RAM;
		given.map[n++] = e;
	}
	return memmap_normalize(given.map, n, NULL, 0, 1, work, ranges, ARRAY_SIZE(ranges), &result)
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
	if (given.initrd.size == 0)
		return;
	info->initrd = direct_at(given.initrd.start);
	info->initrd_size = given.initrd.size;
}

struct memory_found memory_init(uint32_t protocol, uint32_t handed, struct boot_info *info)
{
	uint64_t image = image_phys(image_start), image_size = (uint64_t)(image_end - image_start);
	struct memory_found found = {0};
	struct memmap_result result;
	uint64_t beyond, block, block_size, top;

	handover_read(protocol, handed, &given);
	found.rsdp = given.rsdp;
	found.rsdp_size = given.rsdp_size;
	for (size_t i = 0; i < given.held_count; i++)
		reserve(given.held[i].start, given.held[i].size);

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

	info->cmdline = given.cmdline;
	info->ram_total = result.ram;
	info->account = accounts;
	add_account(info, "kernel image", image_size, true);
	add_account(info, "page tables", block_size, true);
	add_account(info, "initrd", given.initrd.size, true);
	add_account(info, "boot data and partial pages",
		result.reserved + result.ragged - image_size - block_size - given.initrd.size - beyond, true);
	add_account(info, "beyond the direct map", beyond, true);
	add_account(info, "firmware holes", count_holes(top), false);
	return found;
}
