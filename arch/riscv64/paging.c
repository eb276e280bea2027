/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables.
 *
 * RAM is a list of extents.  A GiB that lies in one extent is one page of the direct map; of any other GiB
 * that has RAM a table maps the 2 MiB that touch RAM.
 *
 * All tables but the window's (window.c) lie in one block of RAM, in this order: the top one; the image's two
 * levels; the devices' two levels; those of the direct map.  They are built at boot and don't change but for
 * the devices', whose entries go from not valid to valid, so no TLB needs a flush.
 */
#include "paging.h"

#include "core.h"
#include "lib/array.h"
#include "riscv.h"

#define GIB (1ull << TOP_SHIFT)
#define SIZE_2M (1ull << LINK_SHIFT)
#define PHYS_MAX (1ull << 56) /* physical addresses are below it */

#define DATA_FLAGS (PTE_VALID | PTE_READ | PTE_WRITE | PTE_GLOBAL | PTE_USED)

struct extent {
	uint64_t start, end;
};

/* Fixed after paging_init(). */
uint64_t *paging_top;
static struct extent extents[PAGING_EXTENTS_MAX];
static size_t extent_count;
static uint64_t block_start;
static size_t block_size;

static uint64_t next_table; /* in the block, while it is filled */
static uint64_t *device_table;
static size_t device_pages; /* mapped, from the bottom */

/* The first extent that touches [phys, phys + size), or NULL. */
static const struct extent *extent_in(uint64_t phys, uint64_t size)
{
	for (const struct extent *e = extents; e < extents + extent_count; e++)
		if (e->start < phys + size && phys < e->end)
			return e;
	return NULL;
}

static bool is_whole(uint64_t gib)
{
	const struct extent *e = extent_in(gib, GIB);

	return e->start <= gib && e->end >= gib + GIB;
}

/* The first GiB from `gib` on that touches RAM; DIRECT_MAX: there is none. */
static uint64_t gib_from(uint64_t gib)
{
	while (gib < DIRECT_MAX && !extent_in(gib, GIB))
		gib += GIB;
	return gib;
}

static size_t image_tables(void)
{
	return (size_t)(image_phys(image_end) - image_phys((void *)IMAGE_BASE) + SIZE_2M - 1) >> LINK_SHIFT;
}

size_t paging_prepare(const struct memmap_range *ram, size_t n)
{
	size_t tables = 1 + 1 + image_tables() + 2;

	for (size_t i = 0; i < n; i++)
		extents[i] = (struct extent){ram[i].start, ram[i].start + ram[i].size};
	extent_count = n;
	for (uint64_t gib = gib_from(0); gib < DIRECT_MAX; gib = gib_from(gib + GIB))
		tables += !is_whole(gib);
	block_size = tables * PORT_PAGE_SIZE;
	return block_size;
}

/* Building */

/* The block's next table, empty, and the link to it. */
static uint64_t *table_new(uint64_t *link)
{
	uint64_t phys = next_table, *table = direct_at(phys);

	next_table += PORT_PAGE_SIZE;
	for (size_t i = 0; i < TABLE_ENTRIES; i++)
		table[i] = 0;
	if (link)
		*link = paging_entry(phys, PTE_VALID);
	return table;
}

static void map_gib(uint64_t gib)
{
	uint64_t *entry = paging_entry_in(paging_top, DIRECT_BASE + gib, TOP_SHIFT), *table;

	if (is_whole(gib)) {
		*entry = paging_entry(gib, DATA_FLAGS);
		return;
	}
	table = table_new(entry);
	for (size_t i = 0; i < TABLE_ENTRIES; i++)
		if (extent_in(gib + i * SIZE_2M, SIZE_2M))
			table[i] = paging_entry(gib + i * SIZE_2M, DATA_FLAGS);
}

bool paging_is_guard(uintptr_t address)
{
	static char *const guards[] = {boot_stack_guard, emergency_stack_guard};

	for (size_t i = 0; i < ARRAY_SIZE(guards); i++) {
		if (address - (uintptr_t)guards[i] < PORT_PAGE_SIZE)
			return true;
	}
	return false;
}

static uint64_t image_flags(uintptr_t address)
{
	const uint64_t flags = PTE_VALID | PTE_READ | PTE_GLOBAL | PTE_USED;

	if (paging_is_guard(address))
		return 0;
	if (address < (uintptr_t)etext)
		return flags | PTE_EXEC;
	if (address >= (uintptr_t)data_start && address < (uintptr_t)data_end)
		return flags | PTE_WRITE;
	return flags;
}

static void map_image(void)
{
	uint64_t *links = table_new(paging_entry_in(paging_top, IMAGE_BASE, TOP_SHIFT));

	for (size_t i = 0; i < image_tables(); i++)
		table_new(&links[i]);
	for (uintptr_t at = (uintptr_t)image_start; at < (uintptr_t)image_end; at += PORT_PAGE_SIZE) {
		uint64_t flags = image_flags(at);
		uint64_t *table = paging_table_of(*paging_entry_in(links, at, LINK_SHIFT));

		if (flags)
			*paging_entry_in(table, at, PORT_PAGE_SHIFT) = paging_entry(image_phys((void *)at), flags);
	}
}

uint64_t paging_satp(void)
{
	return SATP_SV39 | block_start >> PORT_PAGE_SHIFT;
}

void paging_init(uint64_t block)
{
	uint64_t *links;

	block_start = next_table = block;
	paging_top = table_new(NULL);
	map_image();
	links = table_new(paging_entry_in(paging_top, DEVICE_BASE, TOP_SHIFT));
	device_table = table_new(paging_entry_in(links, DEVICE_BASE, LINK_SHIFT));
	for (uint64_t gib = gib_from(0); gib < DIRECT_MAX; gib = gib_from(gib + GIB))
		map_gib(gib);
	flush_all();
	csr_write(satp, paging_satp());
	flush_all();
}

/* Devices */

void *paging_map_device(uint64_t phys, size_t size)
{
	uint64_t start = phys & ~(uint64_t)(PORT_PAGE_SIZE - 1);
	size_t first = device_pages, count;

	if (size == 0 || phys >= PHYS_MAX || size > PHYS_MAX - phys)
		return NULL;
	count = (size_t)((phys + size - start + PORT_PAGE_SIZE - 1) >> PORT_PAGE_SHIFT);
	if (count > TABLE_ENTRIES - first)
		return NULL;
	for (size_t i = 0; i < count; i++)
		device_table[first + i] = paging_entry(start + (i << PORT_PAGE_SHIFT), DATA_FLAGS);
	flush_all();
	device_pages += count;
	return (void *)(DEVICE_BASE + (first << PORT_PAGE_SHIFT) + (phys - start));
}

/* Looking */

/* Whether bits 39 and up repeat bit 38. */
static bool is_canonical(uintptr_t address)
{
	return (uint64_t)((int64_t)(address << 25) >> 25) == address;
}

/* Acquire: pairs with the release of the code that put the table in place. */
static uint64_t read_entry(const uint64_t *entry)
{
	return __atomic_load_n(entry, __ATOMIC_ACQUIRE);
}

uint64_t *paging_find_link(uintptr_t address)
{
	uint64_t value = read_entry(paging_entry_in(paging_top, address, TOP_SHIFT));

	return paging_is_link(value) ? paging_entry_in(paging_table_of(value), address, LINK_SHIFT) : NULL;
}

/* The entry of the 4 KiB page around `address`; 0: there is none.  Interrupts are off, so that no table is
 * given back meanwhile. */
static uint64_t page_entry(uintptr_t address)
{
	port_irq_t irq = port_irq_save();
	const uint64_t *link = is_canonical(address) ? paging_find_link(address) : NULL;
	uint64_t value = link ? read_entry(link) : 0;

	value = paging_is_link(value) ? read_entry(paging_entry_in(paging_table_of(value), address, PORT_PAGE_SHIFT))
				      : 0;
	port_irq_restore(irq);
	return value & PTE_VALID ? value : 0;
}

bool paging_find_page(uintptr_t address, uint64_t *phys)
{
	uint64_t value = page_entry(address);

	*phys = paging_phys_of(value) | address % PORT_PAGE_SIZE;
	return value;
}

bool paging_allows(uintptr_t address, uint64_t flags)
{
	return paging_top && (page_entry(address) & flags) == flags;
}

bool paging_is_ram(uint64_t phys)
{
	return extent_in(phys & ~(uint64_t)(PORT_PAGE_SIZE - 1), PORT_PAGE_SIZE);
}

bool paging_is_boot_table(uint64_t phys)
{
	return phys - block_start < block_size;
}

bool paging_is_readable(uintptr_t address)
{
	if (address - DIRECT_BASE < DIRECT_MAX)
		return paging_is_ram(address - DIRECT_BASE);
	if (!paging_top)
		return address >= (uintptr_t)image_start && address < (uintptr_t)image_end;
	/* Reading a device's registers could have an effect. */
	return address - DEVICE_BASE >= DEVICE_SIZE && paging_allows(address, PTE_VALID | PTE_READ);
}
