/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings of single pages: the kernel's window (machine_map), and the stacks of cores.
 */
#ifndef SPANDREL_X86_WINDOW_H
#define SPANDREL_X86_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Maps fresh pages of the base arena at [address, address + size), where nothing was ever mapped;
 * false if there is no memory, what could be mapped staying.  Context: boot. */
bool window_map_fresh(uintptr_t address, size_t size);

#endif
