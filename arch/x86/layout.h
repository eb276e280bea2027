/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where things lie in the address space; for C and assembly.
 *
 *	0xffff800000000000  the direct map: all RAM, physical address 0 first, up to 64 TiB
 *	0xffffffff80000000  the image's window: physical address 0 first; only the image is mapped
 *
 * Everything else is unmapped, address 0 and all of the lower half included.
 */
#ifndef SPANDREL_X86_LAYOUT_H
#define SPANDREL_X86_LAYOUT_H

#define KERNEL_BASE 0xffffffff80000000 /* kernel.lds repeats it */
#define DIRECT_BASE 0xffff800000000000
#define DIRECT_MAX 0x400000000000 /* 64 TiB, half of the upper half: 128 entries of the PML4 */

#define EARLY_GIBS 4                /* what boot.S maps, from physical address 0 */
#define EARLY_MAX 0x100000000       /* the same in bytes */
#define BOOT_STACK_SIZE (64 * 1024) /* the monitor and the unit tests run on it */
#define IST_STACK_SIZE (16 * 1024)  /* a panic's report with its tables, and the panic monitor */

/* Page-table entries */
#define PTE_PRESENT 0x001
#define PTE_WRITE 0x002
#define PTE_LARGE 0x080
#define PTE_GLOBAL 0x100
#define PTE_NX 0x8000000000000000
#define PTE_ADDRESS 0x000ffffffffff000

/* Selectors */
#define CODE_SELECTOR 0x08
#define DATA_SELECTOR 0x10
#define TSS_SELECTOR 0x18

#ifndef __ASSEMBLER__
#include <stdint.h>

/* Made by kernel.lds. */
extern char image_start[], etext[], rodata_start[], data_start[], data_end[], symbols_start[],
	image_end[];

/* Each stack grows down towards its guard page, which is never mapped (boot.S). */
extern char boot_stack_guard[], boot_stack_end[], nmi_stack_guard[], nmi_stack_end[],
	fault_stack_guard[], fault_stack_end[], check_stack_guard[], check_stack_end[];

static inline void *direct_at(uint64_t phys)
{
	return (void *)(DIRECT_BASE + phys);
}

static inline uint64_t image_phys(const void *p)
{
	return (uintptr_t)p - KERNEL_BASE;
}
#endif

#endif
