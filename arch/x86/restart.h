/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Restartable sequences: the steps on per-core stacks in port_arch.h.
 */
#ifndef SPANDREL_X86_RESTART_H
#define SPANDREL_X86_RESTART_H

#include <stddef.h>
#include <stdint.h>

#include "trap.h"

/* [start, end): the last instruction in it commits. */
struct port_sequence {
	uintptr_t start, end;
	uint64_t instructions; /* as many: for tests, which see to it that they meet each */
};

/* Sorts the table.  Call once, before the first interrupt. */
void restart_init(void);

/* Every sequence of the image, in ascending order; inlined ones count wherever they are. */
const struct port_sequence *restart_sequences(size_t *count);

/* If `frame` stands within a sequence, has it go on at its start.  For the way back from what may
 * have used a stack.  Interrupts off.  Cost: logarithmic in sequences. */
void restart_rewind(struct trap_frame *frame);

#endif
