/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entered by PVH in 32-bit mode.  Maps the first GiB where it is, in pages of 2 MiB, and calls kernel_main() with
 * interrupts off.
 */
	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 8, 18
	.asciz "Xen"
	.quad entry

	.text
	.code32
	.globl entry
entry:
	cli
	movl $stack_end, %esp
	movl $tables, %edi
	xorl %eax, %eax
	movl $(3 * 4096 / 4), %ecx
	rep stosl
	movl $(tables + 0x1000 + 3), tables
	movl $(tables + 0x2000 + 3), tables + 0x1000
	movl $(tables + 0x2000), %edi
	movl $0x83, %eax		/* present, writable, 2 MiB */
	movl $512, %ecx
1:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 1b
	movl $tables, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $0x20, %eax			/* PAE */
	movl %eax, %cr4
	movl $0xc0000080, %ecx		/* EFER.LME */
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl %cr0, %eax
	orl $0x80000001, %eax		/* paging, protection */
	movl %eax, %cr0
	lgdt gdt_pointer
	ljmp $8, $2f
	.code64
2:	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	call kernel_main
3:	hlt
	jmp 3b

	.globl timer_entry
timer_entry:
	.irp r, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
	pushq %\r
	.endr
	cld
	call on_timer
	.irp r, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax
	popq %\r
	.endr
	iretq

	.balign 8
gdt:	.quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
	.word gdt_pointer - gdt - 1
	.quad gdt

	.bss
	.balign 4096
tables:	.skip 3 * 4096
	.skip 65536
stack_end:
	.section .note.GNU-stack, "", @progbits
