/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the port keeps for each core.
 *
 * Found through the GS base, which no code but core_enter() changes: there is no other mode to come
 * from, so the way into an interrupt has nothing to swap and an NMI may land anywhere.
 */
#ifndef SPANDREL_X86_CORE_H
#define SPANDREL_X86_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "port.h"

/* Local APICs have 8-bit numbers, of which 255 means all of them. */
#define CORES_MAX 255

/* Stacks of its own that the processor switches to, by number in the TSS; 0: the interrupted one. */
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

#define GDT_ENTRIES 5 /* none, code, data, and a TSS, which takes two */

struct request; /* ipi.c */

struct core {
	struct port_core port; /* first: what GS points to */

	/* Fixed once it runs. */
	uintptr_t stack; /* the end of its first stack, which grows down; CORE_STACK_OFFSET */
	uint8_t apic;	 /* the number of its local APIC */
	uint64_t gdt[GDT_ENTRIES];
	struct tss tss;

	/* Written by this core alone. */
	uint64_t deadline; /* of its timer, port_ns(); PORT_FOREVER: none */
	uint64_t nmis;	   /* NMIs nobody asked for */
	uint64_t spurious; /* interrupts nobody asked for */
	uint64_t restarts; /* sequences gone back to their start */

	/* Written by others too. */
	struct request *requests __attribute__((aligned(PORT_LINE_SIZE)));
	uint64_t flushed; /* the number of the last flush of TLBs it has done */
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

/* Makes the boot core core 0.  The very first thing: port_core_id() works from here on. */
void core_init(void);

/* Has `core` use these stacks, each given by its end. */
void core_set_stacks(struct core *core, const uintptr_t ends[IST_COUNT]);

/* Makes the running processor `core`: GS base, segments, TSS. */
void core_enter(struct core *core);

#endif
