/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The final page tables: the kernel image in 4 KiB pages, none both writable and executable, and
 * the direct map of all RAM in the largest pages, filled at the first touch.
 *
 *	size = paging_prepare(ram, n);       the size of the block that holds the tables
 *	paging_init(block);                  builds there what boot needs, and switches to it
 *
 * After that a page fault calls paging_fill().
 */
#ifndef SPANDREL_X86_PAGING_H
#define SPANDREL_X86_PAGING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "memmap.h"
#include "port.h"

#define PAGING_EXTENTS_MAX 513 /* the ranges of RAM that the largest memory map can have */

/* Takes note of the ranges of RAM: ascending, apart, below DIRECT_MAX, at most PAGING_EXTENTS_MAX.
 * Returns the size of the block of page tables in bytes.  Cost: linear in the ranges. */
size_t paging_prepare(const struct memmap_range *ram, size_t n);

/* Builds the tables in the block at physical address `block`, RAM below EARLY_MAX that need not be
 * zeroed, and switches to them.  Most of the block isn't touched. */
void paging_init(uint64_t block);

/* If `address` is RAM in the direct map, maps the GiB around it, and returns true: the access can
 * be tried again.  Context: any, NMIs included; takes no lock.  Cost: at most 513 entries. */
bool paging_fill(uintptr_t address);

/* Maps [phys, phys + size) as device registers, uncached, for good.  Returns where, or NULL if no
 * room is left or the processor has no such address.  Context: boot, or machine_map_device(). */
void *paging_map_device(uint64_t phys, size_t size);

/* Maps [phys, phys + size), RAM or not, so that what firmware left there can be read.  The next
 * call replaces the mapping, unless paging_keep_firmware() is called first.  Else as
 * paging_map_device(). */
const void *paging_map_firmware(uint64_t phys, size_t size);
void paging_keep_firmware(void);

/* Tables: four levels, each of which decodes LEVEL_BITS bits of an address. */
#define LEVEL_BITS 9
#define TABLE_ENTRIES (1u << LEVEL_BITS)
#define TOP_SHIFT 39
#define LINK_SHIFT (PORT_PAGE_SHIFT + LEVEL_BITS) /* of the entries that lead to the lowest tables */
#define TABLE_FLAGS (PTE_PRESENT | PTE_WRITE)

/* The top table, one for all cores; NULL before paging_init(). */
extern uint64_t *paging_top;

/* The entry of `address` in the table whose entries map 1 << shift bytes each. */
static inline uint64_t *paging_entry_in(uint64_t *table, uintptr_t address, unsigned shift)
{
	return &table[address >> shift & (TABLE_ENTRIES - 1)];
}

/* The table that an entry leads to, given the entry's value. */
static inline uint64_t *paging_table_of(uint64_t value)
{
	return direct_at(value & PTE_ADDRESS);
}

/* The entry that leads, or can lead, to the table of 4 KiB pages around `address`; NULL if a table
 * above it is missing.  Context: interrupts off until the caller is done with the entry, since
 * tables of the window are given back (window.c). */
static inline uint64_t *paging_find_link(uintptr_t address)
{
	uint64_t *table = paging_top;

	for (unsigned shift = TOP_SHIFT; shift > LINK_SHIFT; shift -= LEVEL_BITS) {
		/* Acquire: pairs with the release of the code that put the table in place. */
		uint64_t entry = __atomic_load_n(
			paging_entry_in(table, address, shift), __ATOMIC_ACQUIRE);

		if ((entry & (PTE_PRESENT | PTE_LARGE)) != PTE_PRESENT)
			return NULL;
		table = paging_table_of(entry);
	}
	return paging_entry_in(table, address, LINK_SHIFT);
}

/* Whether 8 bytes can be loaded from `address`, a multiple of 8, without an exception. */
bool paging_is_readable(uintptr_t address);

/* Whether the page at physical address `phys` is RAM. */
bool paging_is_ram(uint64_t phys);

/* Whether it is one of the tables made at boot. */
bool paging_is_boot_table(uint64_t phys);

/* Whether tables of 4 KiB pages map `address`; *phys is then where. */
bool paging_find_page(uintptr_t address, uint64_t *phys);

/* Whether `address` lies in a stack's guard page. */
bool paging_is_guard(uintptr_t address);

#endif
