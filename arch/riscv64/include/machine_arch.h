/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What machine.h leaves to 64-bit RISC-V.
 */
#ifndef SPANDREL_RISCV64_MACHINE_ARCH_H
#define SPANDREL_RISCV64_MACHINE_ARCH_H

#include "port.h"

#define MACHINE_STACK_SIZE (32 * 1024)

#define MACHINE_MEMORY_MIN (768 * 1024)
#define MACHINE_CORE_MEMORY (112 * 1024)

/* All are raised by cores (ipi.c). */
#define MACHINE_VECTOR_FIRST 32
#define MACHINE_VECTOR_COUNT 224

/* The registers that a call preserves lie on the stack. */
struct machine_fiber {
	void *sp;
};

static inline struct ktask *machine_current(void)
{
	struct ktask *t;

	__asm__ volatile("ld %0, %1(tp)" : "=r"(t) : "i"(offsetof(struct port_core, current)));
	return t;
}

static inline void machine_set_current(struct ktask *t)
{
	__asm__ volatile("sd %0, %1(tp)" : : "r"(t), "i"(offsetof(struct port_core, current)) : "memory");
}

#endif
