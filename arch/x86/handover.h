/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the loader hands over, by PVH or by multiboot 2.
 */
#ifndef SPANDREL_X86_HANDOVER_H
#define SPANDREL_X86_HANDOVER_H

#define HANDOVER_PVH 0x336ec578 /* the protocol; also the first word of PVH's start info */

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

#include "memmap.h"

#define HANDOVER_MAP_MAX 512 /* UEFI firmware gives a few dozen */
#define HANDOVER_MODULES_MAX 8
#define HANDOVER_HELD_MAX (4 + HANDOVER_MODULES_MAX)
#define HANDOVER_CMDLINE_MAX 4096 /* including its final zero */

struct handover {
	struct memmap_entry map[HANDOVER_MAP_MAX];
	size_t map_count;
	/* Physical memory that must stay as it is: what was handed over, and the modules. */
	struct memmap_range held[HANDOVER_HELD_MAX];
	size_t held_count;
	struct memmap_range initrd; /* the first module; size 0: none */
	uint64_t rsdp;	  /* physical address of ACPI's root pointer or of a copy; 0: not given */
	size_t rsdp_size; /* bytes of it that are there */
	char cmdline[HANDOVER_CMDLINE_MAX];
};

/* Fills in *h, all zero before, with what lies at physical address `handed`.  `protocol` is HANDOVER_PVH
 * or MULTIBOOT_MAGIC (multiboot.h).  Refuses what it can't use (refuse.h).  Call once, on the early page
 * tables. */
void handover_read(uint32_t protocol, uint32_t handed, struct handover *h);
#endif

#endif
