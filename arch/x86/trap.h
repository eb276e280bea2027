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

/* Fills the IDT and loads it.  Call once; from then on a fault is reported. */
void trap_init(void);

/* Loads the IDT on another core. */
void trap_enter(void);

/* For tests.  trap_step_hook() is called for each single step (rflags.TF) and returns whether an
 * interrupted sequence must restart (restart.h); if it is NULL, a step is a panic.
 * trap_fault_hook() is called for each page fault where nothing is mapped, first, and returns whether
 * it has mapped the page.  trap_nmi_hook() is called for an unexpected NMI, instead of printing a
 * line; NULL: the line is printed. */
extern bool (*trap_step_hook)(struct trap_frame *frame);
extern bool (*trap_fault_hook)(uintptr_t address);
extern void (*trap_nmi_hook)(void);

/* Called by vectors.S, with interrupts off.  Returns whether it must return without iretq. */
bool trap_handle(struct trap_frame *frame);

#endif
