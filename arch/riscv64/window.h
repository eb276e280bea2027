/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings page by page: the kernel's window (machine_map).
 */
#ifndef SPANDREL_RISCV64_WINDOW_H
#define SPANDREL_RISCV64_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the page at physical address `phys` is a table of the window; *first is then the first address that
 * it serves.  Cost: a look at each table of the lowest level that there can be. */
bool window_find_table(uint64_t phys, uintptr_t *first);

/* The first address of the window at which the page at physical address `phys` is mapped; 0: none.  Cost: the
 * same, and a look at each of their entries. */
uintptr_t window_find_page(uint64_t phys);

#endif
