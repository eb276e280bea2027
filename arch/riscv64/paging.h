/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The final page tables: the kernel image in 4 KiB pages, none both writable and executable, the direct map
 * of all RAM in the largest pages, and the registers of devices.
 *
 *	size = paging_prepare(ram, n);       the size of the block that holds the tables
 *	paging_init(block);                  builds them there, and switches to them
 */
#ifndef SPANDREL_RISCV64_PAGING_H
#define SPANDREL_RISCV64_PAGING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "memmap.h"
#include "port.h"

#define PAGING_EXTENTS_MAX 129 /* the ranges of RAM that the largest memory map can have */

/* Takes note of the ranges of RAM: ascending, apart, below DIRECT_MAX, at most PAGING_EXTENTS_MAX.
 * Returns the size of the block of page tables in bytes.  Cost: linear in the ranges and in GiBs. */
size_t paging_prepare(const struct memmap_range *ram, size_t n);

/* Builds the tables in the block at physical address `block`, RAM below EARLY_MAX that need not be zeroed,
 * and switches to them. */
void paging_init(uint64_t block);

/* What a core writes to satp to use them. */
uint64_t paging_satp(void);

/* Maps [phys, phys + size) as device registers, for good.  Returns where, or NULL if no room is left or the
 * processor has no such address.  Context: boot, or machine_map_device(). */
void *paging_map_device(uint64_t phys, size_t size);

/* Tables: three levels, each of which decodes LEVEL_BITS bits of an address. */
#define LEVEL_BITS 9
#define TABLE_ENTRIES (1u << LEVEL_BITS)
#define TOP_SHIFT 30
#define LINK_SHIFT (PORT_PAGE_SHIFT + LEVEL_BITS) /* of the entries that lead to the lowest tables */

/* The top table, one for all cores; NULL before paging_init(). */
extern uint64_t *paging_top;

/* The entry of `address` in the table whose entries map 1 << shift bytes each. */
static inline uint64_t *paging_entry_in(uint64_t *table, uintptr_t address, unsigned shift)
{
	return &table[address >> shift & (TABLE_ENTRIES - 1)];
}

/* Entries keep a page's number from bit 10 on. */
static inline uint64_t paging_entry(uint64_t phys, uint64_t flags)
{
	return phys >> 2 | flags;
}

static inline uint64_t paging_phys_of(uint64_t value)
{
	return value << 2 & ~(uint64_t)(PORT_PAGE_SIZE - 1);
}

static inline bool paging_is_link(uint64_t value)
{
	return (value & (PTE_VALID | PTE_LEAF)) == PTE_VALID;
}

/* The table that a link leads to, given the link's value. */
static inline uint64_t *paging_table_of(uint64_t value)
{
	return direct_at(paging_phys_of(value));
}

/* The entry that leads, or can lead, to the table of 4 KiB pages around `address`; NULL if the table it is in
 * is missing.  Context: interrupts off until the caller is done with the entry, since tables of the window
 * are given back (window.c). */
uint64_t *paging_find_link(uintptr_t address);

/* Whether 8 bytes can be loaded from `address`, a multiple of 8, without an exception. */
bool paging_is_readable(uintptr_t address);

/* Whether an access that needs `flags` (PTE_READ, PTE_WRITE, PTE_EXEC) of `address` is allowed by now: a core
 * may have kept that the address isn't mapped. */
bool paging_allows(uintptr_t address, uint64_t flags);

/* Whether the page at physical address `phys` is RAM. */
bool paging_is_ram(uint64_t phys);

/* Whether it is one of the tables made at boot. */
bool paging_is_boot_table(uint64_t phys);

/* Whether tables of 4 KiB pages map `address`; *phys is then where. */
bool paging_find_page(uintptr_t address, uint64_t *phys);

/* Whether `address` lies in a stack's guard page. */
bool paging_is_guard(uintptr_t address);

#endif
