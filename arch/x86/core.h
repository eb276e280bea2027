/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port's data of one core.
 *
 * The GS base points to it.  Only core_enter() sets the GS base: the kernel has no user mode, so
 * the entry of an interrupt needs no swapgs, and an NMI may come at any instruction.
 */
#ifndef SPANDREL_X86_CORE_H
#define SPANDREL_X86_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "port.h"

/* Local APICs have 8-bit numbers; 255 addresses all of them. */
#define CORES_MAX 255

/* Stacks that the processor switches to, by their number in the TSS; 0: it stays on its stack. */
#define IST_NMI 1
#define IST_DOUBLE_FAULT 2
#define IST_MACHINE_CHECK 3
#define IST_COUNT 3

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3;
	uint16_t io_map; /* at or beyond the limit: none */
} __attribute__((packed));

#define GDT_ENTRIES 5 /* null, code, data, and a TSS, which takes two */

struct request; /* ipi.c */

struct core {
	struct port_core port; /* first: the GS base points to it */

	/* Fixed once the core runs. */
	uintptr_t stack; /* the end of its first stack, which grows down; CORE_STACK_OFFSET */
	uint8_t apic;	 /* the number of its local APIC */
	uint64_t gdt[GDT_ENTRIES];
	struct tss tss;

	/* Written by this core alone. */
	uint64_t deadline; /* for kernel_timer(), port_ns(); PORT_FOREVER: none */
	bool is_armed;	   /* its timer is set */
	uint64_t nmis;	   /* unexpected NMIs */
	uint64_t spurious; /* interrupts without a handler */
	uint64_t restarts; /* restarted sequences (restart.h) */
	struct {
		uintptr_t pc, frame; /* where a freeze stopped it; 0: it hasn't */
	} frozen;

	/* Written by other cores too. */
	struct request *requests __attribute__((aligned(PORT_LINE_SIZE)));
	uint64_t flushed; /* the number of the last TLB flush it has done (ipi.h) */
	bool poked;
} __attribute__((aligned(PORT_LINE_SIZE)));

/* The core of each id below port_core_count(). */
extern struct core *cores[CORES_MAX];

static inline struct core *core_self(void)
{
	struct port_core *self;

	__asm__ volatile("movq %%gs:%c1, %0" : "=r"(self) : "i"(offsetof(struct port_core, self)));
	return (struct core *)self;
}

/* Makes the running processor core 0.  Call before everything else: port_core_id() needs it. */
void core_init(void);

/* Sets the interrupt stacks of `core`, each given by its end. */
void core_set_stacks(struct core *core, const uintptr_t ends[IST_COUNT]);

/* Makes the running processor `core`: loads GS base, segments and TSS. */
void core_enter(struct core *core);

#endif
