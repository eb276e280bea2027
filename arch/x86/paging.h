/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The final page tables: the kernel image in 4 KiB pages, none both writable and executable, and
 * the direct map of all RAM in the largest pages, filled as it is touched.
 *
 *	size = paging_prepare(ram, n);       what the tables take, in one block
 *	paging_init(block);                  builds what boot needs in it, switches to it
 *
 * After that a page fault asks paging_fill().
 */
#ifndef SPANDREL_X86_PAGING_H
#define SPANDREL_X86_PAGING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memmap.h"

#define PAGING_EXTENTS_MAX 513 /* what the largest memory map accepted can come to */

/* Learns where RAM is: ranges ascending, apart, below DIRECT_MAX, at most PAGING_EXTENTS_MAX.
 * Returns the bytes of the block of page tables.  Cost: linear in the ranges. */
size_t paging_prepare(const struct memmap_range *ram, size_t n);

/* Builds the tables in the block at physical address `block`, RAM below EARLY_MAX that need not be
 * zeroed, and switches to them.  Most of the block isn't touched. */
void paging_init(uint64_t block);

/* Maps what lies around `address` if it is RAM in the direct map; returns whether to try again.
 * Context: any, NMIs included; takes no lock.  Cost: at most 1024 entries written. */
bool paging_fill(uintptr_t address);

/* Maps [phys, phys + size) as registers, uncached, for good.  Returns where, or NULL if there is no
 * room left for it or no such address.  Context: boot. */
void *paging_map_device(uint64_t phys, size_t size);

/* Maps [phys, phys + size) to read what firmware left there, RAM or not, until the next call;
 * paging_keep_firmware() makes the last one last.  Else as paging_map_device(). */
const void *paging_map_firmware(uint64_t phys, size_t size);
void paging_keep_firmware(void);

/* The table at the top, one for all cores. */
uint64_t *paging_root(void);

/* The entry of the 4 KiB page at `address`, or NULL if no table has one. */
uint64_t *paging_find_entry(uintptr_t address);

/* Whether a load of 8 bytes from `address`, a multiple of 8, is served. */
bool paging_is_readable(uintptr_t address);

/* Whether `address` lies in a stack's guard page. */
bool paging_is_guard(uintptr_t address);

#endif
