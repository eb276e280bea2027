/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each core's GS base, segments and TSS.
 */
#include "core.h"

#include "layout.h"
#include "x86.h"

#define MSR_GS_BASE 0xc0000101

#define TSS_AVAILABLE (0x89ull << 40)

static struct core boot_core;

struct core *cores[CORES_MAX] = {&boot_core};
unsigned port_cores = 1;
unsigned port_cores_max = 1;

/* Null, 64-bit code, data; present, accessed, ring 0.  boot.S and start.S load this table, which
 * has no TSS; core_enter() loads the core's own. */
extern const uint64_t early_gdt[3];
const uint64_t early_gdt[3] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff};

void core_set_stacks(struct core *core, const uintptr_t ends[IST_COUNT])
{
	for (unsigned i = 0; i < IST_COUNT; i++)
		core->tss.ist[i] = ends[i];
}

static void load_segments(struct core *core)
{
	struct table_pointer pointer = {sizeof(core->gdt) - 1, (uintptr_t)core->gdt};
	uint64_t base = (uintptr_t)&core->tss;

	for (unsigned i = 0; i < 3; i++)
		core->gdt[i] = early_gdt[i];
	core->gdt[3] = (sizeof(core->tss) - 1) | (base & 0xffffff) << 16 | TSS_AVAILABLE |
		       (base >> 24 & 0xff) << 56;
	core->gdt[4] = base >> 32;
	core->tss.io_map = sizeof(core->tss);
	load_gdt(&pointer);
	load_task(TSS_SELECTOR);
}

void core_enter(struct core *core)
{
	core->port.self = &core->port;
	core->deadline = PORT_FOREVER;
	write_msr(MSR_GS_BASE, (uintptr_t)core);
	load_segments(core);
}

void core_init(void)
{
	const uintptr_t ends[IST_COUNT] = {
		(uintptr_t)nmi_stack_end, (uintptr_t)fault_stack_end, (uintptr_t)check_stack_end};

	core_set_stacks(&boot_core, ends);
	core_enter(&boot_core);
}
