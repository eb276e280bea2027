/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From what a PVH loader hands over to the kernel's account of memory.
 */
#ifndef SPANDREL_X86_MEMORY_H
#define SPANDREL_X86_MEMORY_H

#include <stdint.h>

#include "boot.h"

/* What else lies in memory; 0: nowhere. */
struct memory_found {
	uint64_t rsdp;	     /* ACPI's root pointer, if the loader says */
	uint64_t start_page; /* a page below 1 MiB for cores to start in */
};

/* Reads the start info at physical address `start_info`, sets memory aside for the page tables,
 * switches to them, and fills in all of `info` that has to do with memory, and the command line.
 * What it can't make sense of it refuses.  Call once, on the early page tables. */
struct memory_found memory_init(uint32_t start_info, struct boot_info *info);

#endif
