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

/* Makes the IDT and loads it.  Once; from here on a fault reports itself. */
void trap_init(void);

/* Loads it on another core. */
void trap_enter(void);

/* For tests.  The first is called for each single step (rflags.TF) and says whether it did
 * something a sequence must begin again for; without it a step is a panic.  The second takes an NMI
 * instead of the line that tells of it. */
extern bool (*trap_step_hook)(struct trap_frame *frame);
extern void (*trap_nmi_hook)(void);

/* What vectors.S calls, with interrupts off.  Returns whether to go back without iretq. */
bool trap_handle(struct trap_frame *frame);

#endif
