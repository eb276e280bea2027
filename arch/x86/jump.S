/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Non-local return: a machine_jump_t (port_arch.h) keeps the registers that a call preserves.
 */
	.text
	.globl machine_jump_save
	.type machine_jump_save, @function
machine_jump_save:
	movq %rbx, 0x00(%rdi)
	movq %rbp, 0x08(%rdi)
	movq %r12, 0x10(%rdi)
	movq %r13, 0x18(%rdi)
	movq %r14, 0x20(%rdi)
	movq %r15, 0x28(%rdi)
	leaq 8(%rsp), %rax
	movq %rax, 0x30(%rdi)
	movq (%rsp), %rax
	movq %rax, 0x38(%rdi)
	pushfq
	popq 0x40(%rdi)
	xorl %eax, %eax
	ret
	.size machine_jump_save, . - machine_jump_save

	/* Flags come last: they may turn interrupts on, and rsp must be right before that. */
	.globl machine_jump_restore
	.type machine_jump_restore, @function
machine_jump_restore:
	movl %esi, %eax
	movq 0x00(%rdi), %rbx
	movq 0x08(%rdi), %rbp
	movq 0x10(%rdi), %r12
	movq 0x18(%rdi), %r13
	movq 0x20(%rdi), %r14
	movq 0x28(%rdi), %r15
	movq 0x30(%rdi), %rsp
	movq 0x38(%rdi), %rcx
	pushq 0x40(%rdi)
	popfq
	jmp *%rcx
	.size machine_jump_restore, . - machine_jump_restore

	.section .note.GNU-stack, "", @progbits
