/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PVH entry: 32-bit protected mode, paging off, ebx = physical address of the start info.  The
 * code here turns 64-bit mode on and calls boot_main() in the higher half.
 *
 * The early page tables map physical memory with 2 MiB pages at three addresses: the first 4 GiB at
 * 0, so that the code that turns paging on keeps running; the same at DIRECT_BASE, where the direct
 * map stays; and the first GiB at KERNEL_BASE.  paging.c replaces these tables.
 */
#include "layout.h"

#define CPUID_LONG_MODE (1 << 29)
#define CPUID_NX (1 << 20)
#define CR0_PAGING_WP 0x80010000

	/* XEN_ELFNOTE_PHYS32_ENTRY */
	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 8, 18
	.asciz "Xen"
	.quad PHYS(pvh_entry)

	.text
	.code32
	.globl pvh_entry
	.type pvh_entry, @function
pvh_entry:
	rdtsc
	cli
	cld
	movl %eax, %esi
	movl %edx, %edi
	movl %ebx, %ebp

	movl $0x80000000, %eax
	cpuid
	cmpl $0x80000001, %eax
	jb refuse
	movl $0x80000001, %eax
	cpuid
	andl $(CPUID_LONG_MODE | CPUID_NX), %edx
	cmpl $(CPUID_LONG_MODE | CPUID_NX), %edx
	jne refuse

	/* The tables are in .bss: entries that aren't written are zero. */
	xorl %ecx, %ecx
1:	movl %ecx, %eax
	shll $21, %eax
	orl $(PTE_PRESENT | PTE_WRITE | PTE_LARGE), %eax
	movl %eax, PHYS(early_pds)(, %ecx, 8)
	incl %ecx
	cmpl $(512 * EARLY_GIBS), %ecx
	jb 1b

	movl $(PHYS(early_pds) + PTE_PRESENT + PTE_WRITE), %eax
	movl %eax, PHYS(early_pdpt) + 510 * 8
	xorl %ecx, %ecx
2:	movl %eax, PHYS(early_pdpt)(, %ecx, 8)
	addl $4096, %eax
	incl %ecx
	cmpl $EARLY_GIBS, %ecx
	jb 2b

	movl $(PHYS(early_pdpt) + PTE_PRESENT + PTE_WRITE), %eax
	movl %eax, PHYS(early_pml4)
	movl %eax, PHYS(early_pml4) + 256 * 8
	movl %eax, PHYS(early_pml4) + 511 * 8

	movl %cr4, %eax
	orl $CR4_PAE_PGE, %eax
	movl %eax, %cr4
	movl $PHYS(early_pml4), %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME_NXE, %eax
	wrmsr
	movl %cr0, %eax
	orl $CR0_PAGING_WP, %eax
	movl %eax, %cr0
	lgdt PHYS(early_gdt_pointer)
	ljmp $CODE_SELECTOR, $PHYS(enter_high)

/* Prints the reason on the serial line, if there is one, and stops. */
refuse:
	movl $PHYS(refusal), %esi
	movw $0x3f8, %dx
3:	lodsb
	testb %al, %al
	jz 4f
	outb %al, %dx
	jmp 3b
4:	movb $127, %al
	outb %al, $0xf4
5:	hlt
	jmp 5b
	.size pvh_entry, . - pvh_entry

	.code64
	.type enter_high, @function
enter_high:
	movabsq $1f, %rax
	jmp *%rax
1:	movl $DATA_SELECTOR, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs

	/* boot_main(start info, ticks at entry), below an empty frame that ends backtraces */
	movl %edi, %eax
	shlq $32, %rax
	movl %esi, %esi
	orq %rax, %rsi
	movl %ebp, %edi
	movq $boot_stack_end, %rsp
	xorl %ebp, %ebp
	pushq $0
	pushq $0
	call boot_main
	ud2
	.size enter_high, . - enter_high

	.section .rodata
refusal:
	.asciz "spandrel: refused: this processor lacks 64-bit mode or no-execute pages\r\n"
	.balign 8
early_gdt_pointer:
	.word 3 * 8 - 1
	.long PHYS(early_gdt)

	.bss
	.balign 4096
	.globl early_pml4
early_pml4:
	.skip 4096
early_pdpt:
	.skip 4096
early_pds:
	.skip 4096 * EARLY_GIBS

	.macro stack name, size
	.globl \name\()_guard, \name\()_end
\name\()_guard:
	.skip 4096
	.skip \size
\name\()_end:
	.endm

	stack boot_stack, BOOT_STACK_SIZE
	stack nmi_stack, IST_STACK_SIZE
	stack fault_stack, IST_STACK_SIZE
	stack check_stack, IST_STACK_SIZE

	.section .note.GNU-stack, "", @progbits
