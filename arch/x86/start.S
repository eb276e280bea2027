/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first code of a core that smp.c starts: in real mode, at the page start_code was copied to.
 *
 * The core turns 64-bit mode on with boot.S's early page tables, which map that page at its
 * physical address, and the image.  It takes its struct core out of smp_awaited[], at its local
 * APIC's number, switches to the final page tables and to its own stack, and calls smp_enter().  If
 * smp_awaited[] has no struct core for it, it halts.
 */
#include "layout.h"

#define HERE(symbol) ((symbol) - start_code)

#define CR0_START 0x80010011 /* paging, write protection, protected mode; caches on */

	.section .rodata
	.globl start_code, start_code_end
	.balign 8
	.code16
start_code:
	cli
	cld
	/* ebx: the page's address from here on; ds: its segment. */
	movw %cs, %ax
	movw %ax, %ds
	movzwl %ax, %ebx
	shll $4, %ebx
	leal HERE(start_gdt)(%ebx), %eax
	movl %eax, HERE(start_gdt_pointer) + 2
	leal HERE(start32)(%ebx), %eax
	movl %eax, HERE(start_jump)
	lgdtl HERE(start_gdt_pointer)
	movl $1, %eax
	movl %eax, %cr0
	ljmpl *HERE(start_jump)

	.code32
start32:
	movl $DATA_SELECTOR, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $CR4_PAE_PGE, %eax
	movl %eax, %cr4
	movl $PHYS(early_pml4), %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME_NXE, %eax
	wrmsr
	movl $CR0_START, %eax
	movl %eax, %cr0
	/* Still 32-bit code: the early tables map the image at its physical address. */
	lgdtl PHYS(start_final_gdt_pointer)
	ljmp $CODE_SELECTOR, $PHYS(start64)

	.balign 8
start_gdt:
	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
start_gdt_pointer:
	.word 3 * 8 - 1
	.long 0
start_jump:
	.long 0
	.word CODE_SELECTOR
start_code_end:

	.balign 8
start_final_gdt_pointer:
	.word 3 * 8 - 1
	.long PHYS(early_gdt)

	.text
	.code64
	.type start64, @function
start64:
	movabsq $1f, %rax
	jmp *%rax
1:	movl $DATA_SELECTOR, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs

	movl $1, %eax
	cpuid
	shrl $24, %ebx
	xorl %edi, %edi
	xchgq %rdi, smp_awaited(, %rbx, 8)
	testq %rdi, %rdi
	jz 2f

	movq smp_page_tables, %rax
	movq %rax, %cr3
	movq CORE_STACK_OFFSET(%rdi), %rsp
	xorl %ebp, %ebp
	pushq $0
	pushq $0
	call smp_enter
	ud2

2:	cli
	hlt
	jmp 2b
	.size start64, . - start64

	.section .note.GNU-stack, "", @progbits
