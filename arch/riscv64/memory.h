/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory that the device tree describes.
 */
#ifndef SPANDREL_RISCV64_MEMORY_H
#define SPANDREL_RISCV64_MEMORY_H

#include "boot.h"

/* Reserves memory for the page tables, switches to them, and fills in the command line, the initrd and the
 * members of `info` that describe memory.  Refuses memory that it can't use (refuse.h).  Call once, after
 * tree_read(), on the early page tables. */
void memory_init(struct boot_info *info);

#endif
