/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory that the loader describes.
 */
#ifndef SPANDREL_X86_MEMORY_H
#define SPANDREL_X86_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "boot.h"

/* Physical addresses of other things in memory; 0: there is none. */
struct memory_found {
	uint64_t rsdp;	     /* ACPI's root pointer, if the loader gives it */
	size_t rsdp_size;    /* bytes of it that are there */
	uint64_t start_page; /* a page below 1 MiB for cores to start in */
};

/* Reads what the loader hands over, given as handover_read() takes it, reserves memory for the page
 * tables, switches to them, and fills in the command line, the initrd and the members of `info` that
 * describe memory.
 * Refuses what it can't use (refuse.h).  Call once, on the early page tables. */
struct memory_found memory_init(uint32_t protocol, uint32_t handed, struct boot_info *info);

#endif
