/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exceptions and interrupts.
 */
#ifndef SPANDREL_RISCV64_TRAP_H
#define SPANDREL_RISCV64_TRAP_H

#include <stdint.h>

/* The interrupted registers as vectors.S stores them.  The last two words are a frame, as a function has it. */
struct trap_frame {
	uint64_t ra, sp, gp, tp, t0, t1, t2, s1, a0, a1, a2, a3, a4, a5, a6, a7;
	uint64_t s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, t3, t4, t5, t6;
	uint64_t status, cause, value, mark; /* FRAME_MARK: for backtraces */
	uint64_t s0, pc;
};

/* Has this hart come to trap_handle() in exceptions and interrupts, and enables those it takes. */
void trap_init(void);

/* Called by vectors.S, with interrupts off. */
void trap_handle(struct trap_frame *frame);

#endif
