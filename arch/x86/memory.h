/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From what a PVH loader hands over to the kernel's account of memory.
 */
#ifndef SPANDREL_X86_MEMORY_H
#define SPANDREL_X86_MEMORY_H

#include <stdint.h>

#include "boot.h"

/* Reads the start info at physical address `start_info`, sets memory aside for the page tables,
 * switches to them, and fills in all of `info` that has to do with memory, and the command line.
 * What it can't make sense of it refuses.  Call once, on the early page tables. */
void memory_init(uint32_t start_info, struct boot_info *info);

#endif
