/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What machine.h leaves to x86-64.
 */
#ifndef SPANDREL_MACHINE_ARCH_H
#define SPANDREL_MACHINE_ARCH_H

#define MACHINE_STACK_SIZE (32 * 1024)

/* All that a call preserves lies on the stack. */
struct machine_fiber {
	void *sp;
};

#endif
