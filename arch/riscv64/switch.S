/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Switches between threads of execution: stores the registers that a call preserves onto the old stack, and
 * loads them from the new one.  s0 and ra lie where a frame has them, for backtraces.
 */
#define SWITCH_SIZE 112 /* port.c repeats it */

	.macro each_register op
	\op s1, 0(sp)
	\op s2, 8(sp)
	\op s3, 16(sp)
	\op s4, 24(sp)
	\op s5, 32(sp)
	\op s6, 40(sp)
	\op s7, 48(sp)
	\op s8, 56(sp)
	\op s9, 64(sp)
	\op s10, 72(sp)
	\op s11, 80(sp)
	\op s0, 96(sp)
	\op ra, 104(sp)
	.endm

	.text
	.globl machine_switch
	.type machine_switch, @function
	/* machine_switch(from, to, last); a struct machine_fiber is its stack pointer */
machine_switch:
	addi sp, sp, -SWITCH_SIZE
	each_register sd
	sd sp, 0(a0)
	ld sp, 0(a1)
	each_register ld
	addi sp, sp, SWITCH_SIZE
	ret
	.size machine_switch, . - machine_switch

	/* A new thread of execution begins here: function in s1, argument in s2.  Its stack may have been mapped just
	 * now (window.c). */
	.globl fiber_start
	.type fiber_start, @function
fiber_start:
	sfence.vma
	mv a0, s2
	li s0, 0
	jalr s1
	unimp
	.size fiber_start, . - fiber_start

	.section .note.GNU-stack, "", @progbits
