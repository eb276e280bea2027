/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port's data of one core.  Register tp points to it, set by core_enter() alone.
 */
#ifndef SPANDREL_RISCV64_CORE_H
#define SPANDREL_RISCV64_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "machine.h"
#include "port.h"

#define CORES_MAX 255
#define RAISED_WORDS 4 /* of 64 vectors each */

struct request; /* ipi.c */

struct core {
	struct port_core port; /* first: tp points to it */

	/* Fixed once the core runs. */
	uintptr_t emergency; /* the end of the stack for reports of overflows; CORE_EMERGENCY_OFFSET */
	uintptr_t stack;     /* the end of its first stack, which grows down; CORE_STACK_OFFSET */
	uint64_t hart;	     /* the firmware's number for it */

	/* Written by this core alone. */
	uint64_t deadline; /* for kernel_timer(), port_ns(); PORT_FOREVER: none */
	uint64_t poll;	   /* when it looks for input, port_ns(); PORT_FOREVER: never */
	uint64_t spurious; /* interrupts without a handler */
	uintptr_t frozen;  /* the frame of the interrupt that stopped it for good; 0: it runs */

	/* Written by other cores too. */
	uint64_t raised[RAISED_WORDS] __attribute__((aligned(PORT_LINE_SIZE))); /* a bit for each vector */
	struct request *requests;
	uint64_t flushed; /* the number of the last TLB flush it has done (ipi.h) */
	bool poked;
} __attribute__((aligned(PORT_LINE_SIZE)));

/* The core of each id below port_core_count(). */
extern struct core *cores[CORES_MAX];

static inline struct core *core_self(void)
{
	struct core *self;

	__asm__ volatile("mv %0, tp" : "=r"(self));
	return self;
}

/* Makes the running hart core 0.  Call before everything else: port_core_id() needs it. */
void core_init(uint64_t hart);

/* Makes the running hart `core`. */
void core_enter(struct core *core);

#endif
