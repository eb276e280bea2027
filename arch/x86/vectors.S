/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entry of exceptions and interrupts: a stub of 16 bytes for each vector, and the common path to
 * trap_handle(), which gets all registers as a struct trap_frame (trap.h).
 */
#include "layout.h"

#define FRAME_RIP (17 * 8)
#define FRAME_CS (18 * 8)
#define FRAME_FLAGS (19 * 8)
#define FRAME_RSP (20 * 8)

	.text
	.globl vector_stubs
	.type vector_stubs, @function
	.balign 16
vector_stubs:
	vector = 0
	.rept 256
	.balign 16
	/* For these vectors the processor pushes an error code. */
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || \
		vector == 29 || vector == 30)
	pushq $0
	.endif
	pushq $vector
	jmp trap_common
	vector = vector + 1
	.endr
	.size vector_stubs, . - vector_stubs

	.macro restore_registers
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rbp
	popq %rbx
	popq %rdx
	popq %rcx
	popq %rax
	addq $16, %rsp
	.endm

	.type trap_common, @function
trap_common:
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %rbx
	pushq %rbp
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	cld
	movq %rsp, %rdi
	movq %rsp, %rbx
	/* For backtraces, the frame that a call at the interrupted instruction would have made. */
	pushq FRAME_RIP(%rbx)
	pushq %rbp
	movq %rsp, %rbp
	call trap_handle
	movq %rbx, %rsp
	testb %al, %al
	jnz 1f
	restore_registers
	iretq

	/*
	 * Returns into an NMI handler.  iretq would let the next NMI in while the handler still
	 * uses the NMI stack, so this returns by popfq and ret, from two words stored below the
	 * interrupted stack pointer (there is no red zone).  The words may overwrite this frame's
	 * ss and rsp, but not its cs, which keeps the stack pointer until the registers are
	 * restored.
	 */
1:	movq FRAME_RSP(%rsp), %rax
	movq FRAME_RIP(%rsp), %rcx
	movq FRAME_FLAGS(%rsp), %rdx
	subq $16, %rax
	movq %rax, FRAME_CS(%rsp)
	movq %rcx, 8(%rax)
	movq %rdx, (%rax)
	restore_registers
	movq 8(%rsp), %rsp
	popfq
	ret
	.size trap_common, . - trap_common

	.section .note.GNU-stack, "", @progbits
