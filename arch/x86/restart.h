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
	uint64_t instructions; /* how many it has, for tests that interrupt each one */
};

/* Sorts the table.  Call once, before the first interrupt. */
void restart_init(void);

/* All sequences of the image, in ascending order, one for each place where one is inlined. */
const struct port_sequence *restart_sequences(size_t *count);

/* If `frame` was interrupted within a sequence, sets its rip to the sequence's start.  Call on
 * return from whatever interrupted it.  Context: interrupts off.  Cost: logarithmic in
 * sequences. */
void restart_rewind(struct trap_frame *frame);

#endif
