/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings page by page: the kernel's window (machine_map), and the interrupt stacks of cores.
 */
#ifndef SPANDREL_X86_WINDOW_H
#define SPANDREL_X86_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Maps new, zeroed pages of the base arena at [address, address + size), but for pages that an
 * earlier call mapped.  Returns false if there is no memory; the pages mapped by then stay.
 * Context: boot. */
bool window_map_fresh(uintptr_t address, size_t size);

/* Whether the page at physical address `phys` is a table of what is mapped page by page; *first is then
 * the first address that it serves.  Cost: a look at each table of the lowest level that there can be. */
bool window_find_table(uint64_t phys, uintptr_t *first);

/* The first address at which the page at physical address `phys` is mapped page by page; 0: none.  Cost: the
 * same, and a look at each of their entries. */
uintptr_t window_find_page(uint64_t phys);

#endif
