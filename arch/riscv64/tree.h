/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the firmware's device tree says of the machine.
 */
#ifndef SPANDREL_RISCV64_TREE_H
#define SPANDREL_RISCV64_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "core.h"
#include "memmap.h"

#define TREE_ENTRIES_MAX 128 /* ranges of memory, and of it what the firmware keeps */
#define TREE_CMDLINE_MAX 4096 /* including its final zero */
#define TREE_RESERVED 2u      /* an entry's type: RAM that nobody else may touch (MEMMAP_RAM is the other) */

/* Fixed after tree_read().  Addresses are physical, 0: there is none. */
struct machine_tree {
	uint64_t timebase; /* ticks of the time counter in a second */
	struct memmap_entry entries[TREE_ENTRIES_MAX];
	size_t entry_count;
	struct memmap_range kept[TREE_ENTRIES_MAX]; /* RAM that the firmware still uses */
	size_t kept_count;
	struct memmap_range initrd; /* size 0: none */
	uint64_t harts[CORES_MAX];  /* that may run, the boot core's first */
	unsigned hart_count;
	unsigned hart_excess; /* those beyond CORES_MAX */
	uint64_t uart;
	unsigned uart_shift; /* its registers are 1 << that bytes apart */
	uint64_t finisher;   /* ends the machine with a code (stop.h) */
	char cmdline[TREE_CMDLINE_MAX];
};
extern struct machine_tree machine_tree;

/* Reads the tree at physical address `phys`, by the early page tables; its bytes aren't needed afterward.
 * Refuses one that isn't well formed or lacks the time counter's frequency (refuse.h). */
void tree_read(uint64_t phys);

#endif
