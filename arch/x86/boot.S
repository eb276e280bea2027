/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two entries, for a PVH loader and for a multiboot 2 loader.  Both are called in 32-bit protected
 * mode with paging off, ebx = physical address of what the loader hands over.  The code here turns
 * 64-bit mode on and calls boot_main() in the higher half.
 *
 * The early page tables map physical memory with 2 MiB pages at three addresses: the first 4 GiB at
 * 0, so that the code that turns paging on keeps running; the same at DIRECT_BASE, where the direct
 * map stays; and the first GiB at KERNEL_BASE.  paging.c replaces these tables.
 */
#include "handover.h"
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

/* The multiboot 2 header: a head whose words add up to 0, then tags, each at a multiple of 8. */
#define HEADER_MAGIC 0xe85250d6
#define HEADER_I386 0
#define TAG_END 0
#define TAG_REQUEST 1
#define TAG_ENTRY 3
#define TAG_ALIGN_MODULES 6

	.section .multiboot, "a", @progbits
	.balign 8
header:
	.long HEADER_MAGIC, HEADER_I386, header_end - header
	.long -(HEADER_MAGIC + HEADER_I386 + (header_end - header))
	/* What to hand over: command line, modules, memory map, copies of ACPI's root pointer (old and
	 * new).  These are numbers of tags in the boot information (kern/boot/multiboot.c). */
	.short TAG_REQUEST, 0
	.long 28
	.long 1, 3, 6, 14, 15
	.balign 8
	.short TAG_ENTRY, 0
	.long 12
	.long PHYS(multiboot_entry)
	.balign 8
	.short TAG_ALIGN_MODULES, 0
	.long 8
	.short TAG_END, 0
	.long 8
header_end:

	.text
	.code32
	.globl pvh_entry
	.type pvh_entry, @function
pvh_entry:
	movl $HANDOVER_PVH, %esp
	jmp enter
	.size pvh_entry, . - pvh_entry

	/* A multiboot 2 loader says so in eax, which handover.c checks. */
	.type multiboot_entry, @function
multiboot_entry:
	movl %eax, %esp
	.size multiboot_entry, . - multiboot_entry

	/* No stack is used yet: esp says which protocol it is. */
	.type enter, @function
enter:
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
	.size enter, . - enter

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

	/* boot_main(protocol, what it hands over, ticks at entry), below an empty frame that ends
	 * backtraces */
	shlq $32, %rdi
	movl %esi, %edx
	orq %rdi, %rdx
	movl %ebp, %esi
	movl %esp, %edi
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
