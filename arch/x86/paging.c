/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables.
 *
 * Concepts.  RAM is a list of extents.  The direct map puts all of it at DIRECT_BASE, in GiBs: a
 * GiB that is all RAM is one page, if the processor has such pages; any other GiB has a page
 * directory with the 2 MiB pages that touch RAM.
 *
 * Representation.  All tables but the window's (window.c) lie in one block of RAM chosen at boot:
 * PML4, PDPT and PD of the image, the image's PTs; PDPT, PD and PT for devices; then a PDPT for
 * each 512 GiB that have RAM, then a PD for each GiB that has.  They are found by rank: the n-th
 * GiB with RAM has the n-th PD, whatever its address, so holes in memory cost nothing.  Boot writes
 * only what the image needs.
 *
 * Invariants.
 *  1. A page of the block is reachable from the PML4 only after its entries were written.
 *  2. An entry of a PD or PML4 only ever holds one value other than 0; so does one of a PDPT.  The
 *     links to tables that window.c allocates, and the counts in them, are that file's.
 *  3. The GiBs the block lies in are mapped before paging_init() ends: filling never faults itself.
 *  4. What is mapped once stays mapped: a core's segments and stacks may lie in the direct map.
 *
 * Locking.  None.  Cores that fill the same GiB at once write the same values (2); the slower core
 * writes them over what the faster one has already published.  Entries go from not present to
 * present, so no TLB needs a flush.
 *
 * Cost.  Boot writes the image's tables, the PDPTs (one for each 512 GiB that have RAM), and the PD
 * of the one or two GiBs that hold the block.  A first touch of a GiB costs its 512 entries.
 */
#include "paging.h"

#include "lib/array.h"
#include "table.h"
#include "x86.h"

#define SHIFT_2M 21
#define SHIFT_GIB 30
#define SHIFT_512G TOP_SHIFT
#define GIB (1ull << SHIFT_GIB)
#define SIZE_2M (1ull << SHIFT_2M)

#define DIRECT_FLAGS (PTE_PRESENT | PTE_WRITE | PTE_LARGE | PTE_GLOBAL | PTE_NX)

#define CPUID_WIDTHS 0x80000008 /* eax, bits 0 to 7: of physical addresses */
#define CPUID_FEATURES 0x80000001
#define CPUID_GIB_PAGES (1u << 26) /* edx */

struct extent {
	uint64_t start, end;
	uint32_t pd;   /* rank of its first GiB among all that have RAM */
	uint32_t pdpt; /* the same of its first 512 GiB */
};

/* Fixed after paging_init(). */
uint64_t *paging_top;
static struct extent extents[PAGING_EXTENTS_MAX];
static size_t extent_count;
static size_t pdpt_count;
static bool gib_pages;
static uint64_t block_start;
static size_t block_size;

/* The first extent that ends above phys, or NULL. */
static const struct extent *extent_above(uint64_t phys)
{
	size_t low = 0, high = extent_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (extents[middle].end > phys)
			high = middle;
		else
			low = middle + 1;
	}
	return low < extent_count ? &extents[low] : NULL;
}

/* The first extent that touches [phys, phys + size), or NULL. */
static const struct extent *extent_in(uint64_t phys, uint64_t size)
{
	const struct extent *e = extent_above(phys);

	return e && e->start < phys + size ? e : NULL;
}

/* The rank of e's first unit of 1 << shift bytes, given the rank after the last unit of the extent
 * before it, which may be the same unit. */
static uint32_t first_rank(const struct extent *e, uint32_t next, unsigned shift)
{
	bool shares = e > extents && (e[-1].end - 1) >> shift == e->start >> shift;

	return next - shares;
}

static uint32_t rank_after(const struct extent *e, uint32_t first, unsigned shift)
{
	return first + (uint32_t)(((e->end - 1) >> shift) - (e->start >> shift)) + 1;
}

static size_t image_pts(void)
{
	return (image_phys(image_end) + SIZE_2M - 1) >> SHIFT_2M;
}

/* How many tables the block has before the direct map's; the last three are the devices'. */
static size_t fixed_tables(void)
{
	return 3 + image_pts() + 3;
}

size_t paging_prepare(const struct memmap_range *ram, size_t n)
{
	uint32_t pds = 0, pdpts = 0;

	for (size_t i = 0; i < n; i++) {
		struct extent *e = &extents[i];

		e->start = ram[i].start;
		e->end = ram[i].start + ram[i].size;
		e->pd = first_rank(e, pds, SHIFT_GIB);
		pds = rank_after(e, e->pd, SHIFT_GIB);
		e->pdpt = first_rank(e, pdpts, SHIFT_512G);
		pdpts = rank_after(e, e->pdpt, SHIFT_512G);
	}
	extent_count = n;
	pdpt_count = pdpts;
	block_size = (fixed_tables() + pdpts + pds) * PORT_PAGE_SIZE;
	return block_size;
}

/* The block */

static uint64_t block_page(size_t number)
{
	return block_start + number * PORT_PAGE_SIZE;
}

static uint64_t pdpt_phys(const struct extent *e, uint64_t phys)
{
	size_t rank = e->pdpt + (phys >> SHIFT_512G) - (e->start >> SHIFT_512G);

	return block_page(fixed_tables() + rank);
}

static uint64_t pd_phys(const struct extent *e, uint64_t phys)
{
	size_t rank = e->pd + (phys >> SHIFT_GIB) - (e->start >> SHIFT_GIB);

	return block_page(fixed_tables() + pdpt_count + rank);
}

static uint64_t *clear_table(uint64_t phys)
{
	uint64_t *table = direct_at(phys);

	for (size_t i = 0; i < TABLE_ENTRIES; i++)
		table[i] = 0;
	return table;
}

/* Release: the table an entry points to is written before it can be walked (invariant 1).  The
 * partner is the processor's walk, which doesn't run ahead of the entry it reads. */
static void set_entry(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

static bool is_present(const uint64_t *entry)
{
	return __atomic_load_n(entry, __ATOMIC_RELAXED) & PTE_PRESENT;
}

/* The direct map */

/* Writes each entry of the PD of the GiB at `gib` once; e is the first extent that touches it. */
static void fill_pd(uint64_t *pd, const struct extent *e, uint64_t gib)
{
	const struct extent *end = extents + extent_count;

	for (size_t i = 0; i < TABLE_ENTRIES; i++) {
		uint64_t phys = gib + (i << SHIFT_2M);

		while (e < end && e->end <= phys)
			e++;
		pd[i] = e < end && e->start < phys + SIZE_2M ? phys | DIRECT_FLAGS : 0;
	}
}

/* The PDPT's entry of the GiB at `gib`; e is the first extent that touches it. */
static uint64_t gib_entry(const struct extent *e, uint64_t gib)
{
	uint64_t pd;

	if (gib_pages && e->start <= gib && e->end >= gib + GIB)
		return gib | DIRECT_FLAGS;
	pd = pd_phys(e, gib);
	fill_pd(direct_at(pd), e, gib);
	return pd | TABLE_FLAGS;
}

static void fill_gib(uint64_t gib)
{
	const struct extent *e = extent_in(gib, GIB);
	uint64_t *pdpt = direct_at(pdpt_phys(e, gib));
	uint64_t *entry = paging_entry_in(pdpt, gib, SHIFT_GIB);

	if (!is_present(entry))
		set_entry(entry, gib_entry(e, gib));
}

/* Clears the PDPTs, so that filling a GiB only sets entries. */
static void map_direct(void)
{
	for (const struct extent *e = extents; e < extents + extent_count; e++) {
		for (uint64_t at = e->start >> SHIFT_512G; at <= (e->end - 1) >> SHIFT_512G; at++) {
			uint64_t phys = at << SHIFT_512G, pdpt = pdpt_phys(e, phys);
			uint64_t *top = paging_entry_in(paging_top, DIRECT_BASE + phys, SHIFT_512G);

			if (is_present(top))
				continue;
			clear_table(pdpt);
			set_entry(top, pdpt | TABLE_FLAGS);
		}
	}
}

static bool is_direct_ram(uintptr_t address)
{
	uint64_t phys = address - DIRECT_BASE;

	return phys < DIRECT_MAX && extent_in(phys & ~(SIZE_2M - 1), SIZE_2M);
}

bool paging_fill(uintptr_t address)
{
	if (!paging_top || !is_direct_ram(address))
		return false;
	fill_gib((address - DIRECT_BASE) & ~(GIB - 1));
	return true;
}

/* The image */

bool paging_is_guard(uintptr_t address)
{
	static char *const guards[] = {
		boot_stack_guard, nmi_stack_guard, fault_stack_guard, check_stack_guard};

	for (size_t i = 0; i < ARRAY_SIZE(guards); i++) {
		if (address - (uintptr_t)guards[i] < PORT_PAGE_SIZE)
			return true;
	}
	return address - CORE_STACKS_BASE < CORE_STACKS_SIZE &&
	       address % CORE_STACK_STRIDE < CORE_STACK_STRIDE - IST_STACK_SIZE;
}

static uint64_t image_flags(uintptr_t address)
{
	if (paging_is_guard(address))
		return 0;
	if (address < (uintptr_t)etext)
		return PTE_PRESENT | PTE_GLOBAL;
	if (address >= (uintptr_t)data_start && address < (uintptr_t)data_end)
		return PTE_PRESENT | PTE_GLOBAL | PTE_NX | PTE_WRITE;
	return PTE_PRESENT | PTE_GLOBAL | PTE_NX;
}

static void map_image(void)
{
	uint64_t *pdpt = clear_table(block_page(1)), *pd = clear_table(block_page(2));
	uintptr_t address = (uintptr_t)image_start;

	set_entry(paging_entry_in(paging_top, KERNEL_BASE, SHIFT_512G),
		block_page(1) | TABLE_FLAGS);
	set_entry(paging_entry_in(pdpt, KERNEL_BASE, SHIFT_GIB), block_page(2) | TABLE_FLAGS);
	for (size_t i = 0; i < image_pts(); i++) {
		clear_table(block_page(3 + i));
		set_entry(&pd[i], block_page(3 + i) | TABLE_FLAGS);
	}
	for (; address < (uintptr_t)image_end; address += PORT_PAGE_SIZE) {
		size_t number = image_phys((void *)address) >> PORT_PAGE_SHIFT;
		uint64_t *pt = direct_at(block_page(3 + number / TABLE_ENTRIES));
		uint64_t flags = image_flags(address);

		pt[number % TABLE_ENTRIES] = flags ? image_phys((void *)address) | flags : 0;
	}
}

/* Registers of devices and firmware tables */

static size_t device_pages;	 /* mapped for good, from the bottom */
static size_t firmware_pages; /* mapped until the next call, behind them */

static void map_devices(void)
{
	size_t first = 3 + image_pts();

	for (size_t i = 0; i < 3; i++)
		clear_table(block_page(first + i));
	set_entry(paging_entry_in(paging_top, DEVICE_BASE, SHIFT_512G),
		block_page(first) | TABLE_FLAGS);
	set_entry(direct_at(block_page(first)), block_page(first + 1) | TABLE_FLAGS);
	set_entry(direct_at(block_page(first + 1)), block_page(first + 2) | TABLE_FLAGS);
}

static bool is_physical(uint64_t phys, uint64_t size)
{
	uint64_t end = 1ull << (cpuid(CPUID_WIDTHS).eax & 0xff);

	return size > 0 && phys < end && size <= end - phys;
}

/* Maps [phys, phys + size) from page `first` of the devices' window on. */
static void *map_pages(size_t first, uint64_t phys, uint64_t size, uint64_t flags, size_t *count)
{
	uint64_t *pt = direct_at(block_page(3 + image_pts() + 2));
	uint64_t start = phys & ~(PORT_PAGE_SIZE - 1);

	*count = (size_t)((phys + size - start + PORT_PAGE_SIZE - 1) >> PORT_PAGE_SHIFT);
	if (!is_physical(phys, size) || *count > TABLE_ENTRIES - first)
		return NULL;
	for (size_t i = 0; i < *count; i++) {
		set_entry(&pt[first + i], (start + (i << PORT_PAGE_SHIFT)) | flags);
		flush_page(DEVICE_BASE + ((first + i) << PORT_PAGE_SHIFT));
	}
	return (void *)(DEVICE_BASE + (first << PORT_PAGE_SHIFT) + (phys - start));
}

void *paging_map_device(uint64_t phys, size_t size)
{
	size_t count;
	void *at = map_pages(device_pages, phys, size,
		PTE_PRESENT | PTE_WRITE | PTE_UNCACHED | PTE_NX, &count);

	if (at)
		device_pages += count;
	return at;
}

const void *paging_map_firmware(uint64_t phys, size_t size)
{
	return map_pages(device_pages, phys, size, PTE_PRESENT | PTE_NX, &firmware_pages);
}

void paging_keep_firmware(void)
{
	device_pages += firmware_pages;
}

void paging_init(uint64_t block)
{
	block_start = block;
	gib_pages = cpuid(CPUID_FEATURES).edx & CPUID_GIB_PAGES;
	paging_top = clear_table(block);
	map_image();
	map_devices();
	map_direct();
	for (uint64_t gib = block & ~(GIB - 1); gib < block + block_size; gib += GIB)
		fill_gib(gib);
	write_cr3(block);
}

/* Whether bits 48 and up repeat bit 47. */
static bool is_canonical(uintptr_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

/* Interrupts are off, so that no table is given back meanwhile. */
bool paging_find_page(uintptr_t address, uint64_t *phys)
{
	port_irq_t irq = port_irq_save();
	const uint64_t *link = paging_find_link(address);
	uint64_t value = link ? __atomic_load_n(link, __ATOMIC_ACQUIRE) : 0;

	if ((value & (PTE_PRESENT | PTE_LARGE)) == PTE_PRESENT)
		value = __atomic_load_n(
			paging_entry_in(paging_table_of(value), address, PORT_PAGE_SHIFT), __ATOMIC_ACQUIRE);
	else
		value = 0;
	port_irq_restore(irq);
	*phys = (value & PTE_ADDRESS) | address % PORT_PAGE_SIZE;
	return value & PTE_PRESENT;
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
	uint64_t phys;

	if (is_direct_ram(address))
		return true;
	if (!paging_top)
		return address >= (uintptr_t)image_start && address < (uintptr_t)image_end;
	/* Reading a device's registers could have an effect. */
	return is_canonical(address) && address - DEVICE_BASE >= DEVICE_SIZE &&
	       paging_find_page(address, &phys);
}
