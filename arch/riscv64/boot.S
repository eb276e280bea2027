/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first code of each core, in supervisor mode without paging: a0 the hart's number.
 *
 * Core 0 comes here from the firmware, a1 the physical address of the device tree.  Other cores come to
 * start_entry from the firmware's HSM calls (smp.c), a1 their struct core.  Both turn paging on by early_root, which
 * maps the image where it is and where it is linked, and the first GiBs of physical memory in the direct map.
 */
#include "layout.h"

#define ENTRY_FLAGS (PTE_VALID | PTE_READ | PTE_WRITE | PTE_EXEC | PTE_USED)
#define GIB_ENTRY(gib) (((gib) << 28) | ENTRY_FLAGS)
#define TOP_INDEX(address) (((address) >> 30) & 511)
#define IMAGE_GIB 2 /* of its physical address */

	.macro enter_high
	csrw sie, zero
	csrci sstatus, 2
	lla t0, early_root
	srli t0, t0, 12
	li t1, SATP_SV39
	or t0, t0, t1
	sfence.vma
	csrw satp, t0
	sfence.vma
	/* The addresses that follow are relative to the pc, so they are the image's from here on. */
	li t1, IMAGE_OFFSET
	lla t0, 1f
	add t0, t0, t1
	jr t0
1:	lla t0, park
	csrw stvec, t0
	.endm

	/* The image's lowest address: loaders begin there. */
	.section .text.boot, "ax"
	.globl boot_entry
	.type boot_entry, @function
boot_entry:
	rdtime a2
	enter_high
	/* boot_main(hart, device tree, ticks at entry), below an empty frame that ends backtraces */
	lla sp, boot_stack_end
	addi sp, sp, -16
	sd zero, 0(sp)
	sd zero, 8(sp)
	addi s0, sp, 16
	call boot_main
	.size boot_entry, . - boot_entry

	.globl start_entry
	.type start_entry, @function
start_entry:
	enter_high
	ld t0, smp_page_tables
	csrw satp, t0
	sfence.vma
	ld sp, CORE_STACK_OFFSET(a1)
	addi sp, sp, -16
	sd zero, 0(sp)
	sd zero, 8(sp)
	addi s0, sp, 16
	mv a0, a1
	call smp_enter
	.size start_entry, . - start_entry

	.balign 4
	.type park, @function
park:
	wfi
	j park
	.size park, . - park

	.section .rodata
	.balign 4096
early_root:
	.set gib, 0
	.rept 512
	.if gib == IMAGE_GIB || gib == TOP_INDEX(IMAGE_BASE)
	.quad GIB_ENTRY(IMAGE_GIB)
	.elseif gib >= TOP_INDEX(DIRECT_BASE) && gib < TOP_INDEX(DIRECT_BASE) + (EARLY_MAX >> 30)
	.quad GIB_ENTRY(gib - TOP_INDEX(DIRECT_BASE))
	.else
	.quad 0
	.endif
	.set gib, gib + 1
	.endr

	.bss
	.macro stack name, size
	.balign 4096
	.globl \name\()_guard, \name\()_end
\name\()_guard:
	.skip 4096
	.skip \size
\name\()_end:
	.endm

	stack boot_stack, BOOT_STACK_SIZE
	stack emergency_stack, EMERGENCY_STACK_SIZE

	.section .note.GNU-stack, "", @progbits
