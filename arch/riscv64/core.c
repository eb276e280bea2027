/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each core's data.
 */
#include "core.h"

#include "layout.h"
#include "riscv.h"

_Static_assert(offsetof(struct core, emergency) == CORE_EMERGENCY_OFFSET, "vectors.S uses the offset");
_Static_assert(offsetof(struct core, stack) == CORE_STACK_OFFSET, "boot.S uses the offset");

static struct core boot_core;

struct core *cores[CORES_MAX] = {&boot_core};
unsigned port_cores = 1;
unsigned port_cores_max = 1;

void core_enter(struct core *core)
{
	core->deadline = PORT_FOREVER;
	core->poll = PORT_FOREVER;
	__asm__ volatile("mv tp, %0" : : "r"(core) : "memory");
	csr_set(sstatus, STATUS_SUM);
}

void core_init(uint64_t hart)
{
	boot_core.hart = hart;
	boot_core.emergency = (uintptr_t)emergency_stack_end;
	boot_core.stack = (uintptr_t)boot_stack_end;
	core_enter(&boot_core);
}
