/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The layout of the address space, for C and assembly.
 *
 *	0xffff800000000000  the direct map: all RAM, physical address 0 first, up to 64 TiB
 *	0xffffc00000000000  the window: mapped a page at a time for the kernel (machine_map), 64 GiB
 *	0xffffe00000000000  registers of devices, firmware tables: 2 MiB
 *	0xffffe00040000000  stacks for NMI, double fault and machine check, but for core 0's
 *	0xffffffff80000000  the image's window: physical address 0 first; only the image is mapped
 *
 * Everything else is unmapped, including address 0 and the whole lower half.
 */
#ifndef SPANDREL_X86_LAYOUT_H
#define SPANDREL_X86_LAYOUT_H

#define KERNEL_BASE 0xffffffff80000000 /* kernel.lds repeats it */
#define DIRECT_BASE 0xffff800000000000
#define DIRECT_MAX 0x400000000000 /* 64 TiB: 128 entries of the PML4 */

#define WINDOW_BASE 0xffffc00000000000
#define WINDOW_SIZE 0x1000000000
#define DEVICE_BASE 0xffffe00000000000
#define DEVICE_SIZE 0x200000
#define CORE_STACKS_BASE 0xffffe00040000000
#define CORE_STACKS_SIZE 0x2000000
#define CORE_STACK_STRIDE 0x8000 /* an unmapped hole, and above it a stack of IST_STACK_SIZE */

#define EARLY_GIBS 4                /* what boot.S maps, from physical address 0 */
#define EARLY_MAX 0x100000000       /* the same in bytes */
#define BOOT_STACK_SIZE (64 * 1024) /* core 0 boots on it, and idles on it later */
#define IST_STACK_SIZE (16 * 1024)  /* a panic's report with its tables, and the panic monitor */

#define CORE_STACK_OFFSET 32 /* of `stack` in struct core */

/* Page-table entries */
#define PTE_PRESENT 0x001
#define PTE_WRITE 0x002
#define PTE_UNCACHED 0x018 /* neither cached nor buffered */
#define PTE_LARGE 0x080
#define PTE_GLOBAL 0x100
#define PTE_NX 0x8000000000000000
#define PTE_ADDRESS 0x000ffffffffff000

/* Selectors */
#define CODE_SELECTOR 0x08
#define DATA_SELECTOR 0x10
#define TSS_SELECTOR 0x18

/* Control bits of 64-bit mode: physical address extension and global pages in CR4; long mode and
 * no-execute pages in EFER. */
#define CR4_PAE_PGE 0xa0
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900

#ifdef __ASSEMBLER__
#define PHYS(symbol) ((symbol) - KERNEL_BASE)
#else
#include <stdint.h>

/* Defined by kernel.lds. */
extern char image_start[], etext[], rodata_start[], data_start[], bss_start[], data_end[],
	symbols_start[], image_end[];

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
