/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entry of exceptions and interrupts, on the stack of what was interrupted: trap_handle() gets all registers
 * as a struct trap_frame (trap.h).
 *
 * If an exception's address lies within a page above the stack pointer, the stack has met its guard page, maybe by
 * this very code.  Then the core's emergency stack is used, from its end on: nothing returns to what it held.
 */
#include "layout.h"

	.macro each_register op
	\op ra, 0*8(sp)
	\op gp, 2*8(sp)
	\op t1, 5*8(sp)
	\op t2, 6*8(sp)
	\op s1, 7*8(sp)
	\op a0, 8*8(sp)
	\op a1, 9*8(sp)
	\op a2, 10*8(sp)
	\op a3, 11*8(sp)
	\op a4, 12*8(sp)
	\op a5, 13*8(sp)
	\op a6, 14*8(sp)
	\op a7, 15*8(sp)
	\op s2, 16*8(sp)
	\op s3, 17*8(sp)
	\op s4, 18*8(sp)
	\op s5, 19*8(sp)
	\op s6, 20*8(sp)
	\op s7, 21*8(sp)
	\op s8, 22*8(sp)
	\op s9, 23*8(sp)
	\op s10, 24*8(sp)
	\op s11, 25*8(sp)
	\op t3, 26*8(sp)
	\op t4, 27*8(sp)
	\op t5, 28*8(sp)
	\op t6, 29*8(sp)
	\op s0, 34*8(sp)
	.endm

	.text
	.balign 4
	.globl trap_entry
	.type trap_entry, @function
trap_entry:
	csrw sscratch, t0
	csrr t0, scause
	bltz t0, 1f
	csrr t0, stval
	sub t0, t0, sp
	addi t0, t0, 16
	srli t0, t0, 12
	beqz t0, 2f
1:	addi sp, sp, -FRAME_SIZE
	sd t1, 5*8(sp)
	addi t1, sp, FRAME_SIZE
3:	sd t1, 1*8(sp)
	ld t1, 5*8(sp)
	csrr t0, sscratch
	sd t0, 4*8(sp)
	sd tp, 3*8(sp)
	each_register sd
	csrr t0, sstatus
	sd t0, 30*8(sp)
	csrr t0, scause
	sd t0, 31*8(sp)
	csrr t0, stval
	sd t0, 32*8(sp)
	csrr t0, sepc
	sd t0, 35*8(sp)
	li t0, FRAME_MARK
	sd t0, 33*8(sp)
	/* The frame's last two words are, for backtraces, what a call at the interrupted instruction would
	 * have stored. */
	addi s0, sp, FRAME_SIZE
	mv a0, sp
	call trap_handle
	ld t0, 30*8(sp)
	csrw sstatus, t0
	ld t0, 35*8(sp)
	csrw sepc, t0
	each_register ld
	/* tp is this core's, whatever it was; sp comes last. */
	ld t0, 4*8(sp)
	ld sp, 1*8(sp)
	sret

2:	ld t0, CORE_EMERGENCY_OFFSET(tp)
	addi t0, t0, -FRAME_SIZE
	sd t1, 5*8(t0)
	mv t1, sp
	mv sp, t0
	j 3b
	.size trap_entry, . - trap_entry

	.section .note.GNU-stack, "", @progbits
