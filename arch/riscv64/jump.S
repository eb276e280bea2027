/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Non-local return: a machine_jump_t (port_arch.h) keeps the registers that a call preserves.
 */
	.macro each_register op
	\op ra, 0(a0)
	\op sp, 8(a0)
	\op s0, 16(a0)
	\op s1, 24(a0)
	\op s2, 32(a0)
	\op s3, 40(a0)
	\op s4, 48(a0)
	\op s5, 56(a0)
	\op s6, 64(a0)
	\op s7, 72(a0)
	\op s8, 80(a0)
	\op s9, 88(a0)
	\op s10, 96(a0)
	\op s11, 104(a0)
	.endm

	.text
	.globl machine_jump_save
	.type machine_jump_save, @function
machine_jump_save:
	each_register sd
	csrr t0, sstatus
	sd t0, 112(a0)
	li a0, 0
	ret
	.size machine_jump_save, . - machine_jump_save

	/* Interrupts come last: sp must be right before they are on. */
	.globl machine_jump_restore
	.type machine_jump_restore, @function
machine_jump_restore:
	csrci sstatus, 2
	each_register ld
	ld t0, 112(a0)
	andi t0, t0, 2
	mv a0, a1
	csrs sstatus, t0
	ret
	.size machine_jump_restore, . - machine_jump_restore

	.section .note.GNU-stack, "", @progbits
