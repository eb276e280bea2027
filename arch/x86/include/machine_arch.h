/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What machine.h leaves to x86-64.
 */
#ifndef SPANDREL_MACHINE_ARCH_H
#define SPANDREL_MACHINE_ARCH_H

#include "port.h"

#define MACHINE_STACK_SIZE (32 * 1024)

#define MACHINE_MEMORY_MIN (768 * 1024)
#define MACHINE_CORE_MEMORY (112 * 1024)

/* Below lie the exceptions and the 8259s' vectors, above the local APIC's spurious vector. */
#define MACHINE_VECTOR_FIRST 48
#define MACHINE_VECTOR_COUNT 207

/* The registers that a call preserves lie on the stack. */
struct machine_fiber {
	void *sp;
};

static inline struct ktask *machine_current(void)
{
	struct ktask *t;

	__asm__ volatile("movq %%gs:%c1, %0"
			 : "=r"(t)
			 : "i"(offsetof(struct port_core, current)));
	return t;
}

static inline void machine_set_current(struct ktask *t)
{
	__asm__ volatile("movq %0, %%gs:%c1"
			 :
			 : "r"(t), "i"(offsetof(struct port_core, current))
			 : "memory");
}

#endif
