/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exceptions and interrupts.
 */
#ifndef SPANDREL_X86_TRAP_H
#define SPANDREL_X86_TRAP_H

#include <stdbool.h>
#include <stdint.h>

/* The interrupted registers as vectors.S and the processor push them. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

/* Loads the final GDT, TSS and IDT.  From here on a fault reports itself. */
void trap_init(void);

/* What vectors.S calls, with interrupts off.  Returns whether to go back without iretq. */
bool trap_handle(struct trap_frame *frame);

#endif
