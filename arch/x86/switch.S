/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Switches between threads of execution: pushes the registers that a call preserves onto the old
 * stack, and pops them off the new one.
 */
	.text
	.globl machine_switch
	.type machine_switch, @function
	/* machine_switch(from, to, last); a struct machine_fiber is its stack pointer */
machine_switch:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq (%rsi), %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
	.size machine_switch, . - machine_switch

	/* A new thread of execution begins here: function in rbx, argument in r12. */
	.globl fiber_start
	.type fiber_start, @function
fiber_start:
	movq %r12, %rdi
	xorl %ebp, %ebp
	call *%rbx
	ud2
	.size fiber_start, . - fiber_start

	.section .note.GNU-stack, "", @progbits
