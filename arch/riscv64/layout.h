/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The layout of the address space, for C and assembly: 39 bits (Sv39), as every processor with a larger one
 * has too.
 *
 *	0xffffffc000000000  the direct map: all RAM, physical address 0 first, up to 128 GiB
 *	0xffffffe000000000  the window: mapped a page at a time for the kernel (machine_map), 16 GiB
 *	0xfffffff000000000  registers of devices: 2 MiB
 *	0xffffffff80000000  the image's window: physical address 0x80000000 first; only the image is mapped
 *
 * Everything else is unmapped, including address 0 and the whole lower half.
 */
#ifndef SPANDREL_RISCV64_LAYOUT_H
#define SPANDREL_RISCV64_LAYOUT_H

#define IMAGE_OFFSET 0xffffffff00000000 /* from a physical address to the image's; kernel.lds repeats it */
#define IMAGE_BASE 0xffffffff80000000
#define DIRECT_BASE 0xffffffc000000000
#define DIRECT_MAX 0x2000000000 /* 128 GiB */

#define WINDOW_BASE 0xffffffe000000000
#define WINDOW_SIZE 0x400000000
#define DEVICE_BASE 0xfffffff000000000
#define DEVICE_SIZE 0x200000

#define EARLY_MAX 0x400000000		 /* bytes that boot.S maps, from physical address 0: 16 GiB */
#define BOOT_STACK_SIZE (64 * 1024)	 /* core 0 boots on it, and idles on it later */
#define EMERGENCY_STACK_SIZE (32 * 1024) /* reports an overflow: a panic with its tables and its monitor */

/* Of struct core */
#define CORE_EMERGENCY_OFFSET 24
#define CORE_STACK_OFFSET 32

/* Page-table entries.  There is no user mode, so U and G are the kernel's own to use; those two bits and
 * PTE_SOFT are all that the processor leaves alone. */
#define PTE_VALID 0x001
#define PTE_READ 0x002
#define PTE_WRITE 0x004
#define PTE_EXEC 0x008
#define PTE_USER 0x010
#define PTE_GLOBAL 0x020
#define PTE_USED 0x0c0 /* read, and written: else a processor may fault to note it */
#define PTE_SOFT 0x300
#define PTE_LEAF (PTE_READ | PTE_EXEC) /* either: not a link to a table */

#define SATP_SV39 0x8000000000000000

/* struct trap_frame */
#define FRAME_SIZE 288
#define FRAME_MARK 0x7472617066726d65

#ifndef __ASSEMBLER__
#include <stdint.h>

/* Defined by kernel.lds. */
extern char image_start[], etext[], rodata_start[], data_start[], bss_start[], data_end[], symbols_start[], image_end[];

/* Each stack grows down towards its guard page, which is never mapped (boot.S). */
extern char boot_stack_guard[], boot_stack_end[], emergency_stack_guard[], emergency_stack_end[];

static inline void *direct_at(uint64_t phys)
{
	return (void *)(DIRECT_BASE + phys);
}

static inline uint64_t image_phys(const void *p)
{
	return (uintptr_t)p - IMAGE_OFFSET;
}
#endif

#endif
