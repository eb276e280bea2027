/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The start of the other cores, one after the other.  The firmware has them begin in boot.S.
 */
#include "smp.h"

#include <stddef.h>

#include "arena.h"
#include "core.h"
#include "ipi.h"
#include "layout.h"
#include "lib/check.h"
#include "lib/panic.h"
#include "machine.h"
#include "owner.h"
#include "paging.h"
#include "refuse.h"
#include "riscv.h"
#include "sbi.h"
#include "sink.h"
#include "timer.h"
#include "trap.h"
#include "tree.h"

#define COME_NS 1000000000ull /* after that a core is given up; an emulator's may be slow */

/* Read by boot.S. */
extern uint64_t smp_page_tables;
void smp_enter(struct core *core) __attribute__((noreturn));
void start_entry(void);

uint64_t smp_page_tables;

static struct arena_owner core_areas = ARENA_OWNER("cores' areas", base_arena);

void smp_init(const struct boot_info *info)
{
	unsigned count = machine_tree.hart_count, enough = boot_cores_for(info, count);

	if (enough == 0)
		refuse("too little memory: beside its image the kernel takes %u KiB", MACHINE_MEMORY_MIN / 1024);
	if (machine_tree.hart_excess)
		kprintf("cores: %u beyond the first %u are left out\n", machine_tree.hart_excess, CORES_MAX);
	if (enough < count)
		kprintf("cores: memory is enough for %u of %u: the others are left out\n", enough, count);
	port_cores_max = enough;
}

/* Called by boot.S, on the core's own stack. */
void smp_enter(struct core *core)
{
	core_enter(core);
	trap_init();
	/* Release: a core that counts this one sees all of it (port_core_count). */
	__atomic_store_n(&port_cores, core->port.id + 1, __ATOMIC_RELEASE);
	ipi_flush_own();
	enable_interrupts();
	kernel_core_main();
}

/* Waits until core `id` is counted; false if it isn't in time. */
static bool wait_for_core(unsigned id)
{
	uint64_t end = port_ns() + COME_NS;

	while (port_core_count() <= id) {
		if (port_ns() >= end)
			return false;
		port_pause();
	}
	return true;
}

static bool start_core(struct core *core)
{
	return sbi_hart_start(core->hart, image_phys((void *)(uintptr_t)start_entry), (uintptr_t)core) &&
	       wait_for_core(core->port.id);
}

/* Allocates core `id`; NULL if there is no memory. */
static struct core *make_core(unsigned id)
{
	size_t size = (sizeof(struct core) + PORT_PAGE_SIZE - 1) & ~(PORT_PAGE_SIZE - 1);
	struct core *core = base_zalloc(NULL, size, MEM_ATOMIC);

	if (!core)
		return NULL;
	arena_owner_add(&core_areas, base_arena, size);
	core->port.id = id;
	return core;
}

/* The end of a new stack; 0: no memory. */
static uintptr_t make_stack(void *(*stack_alloc)(void))
{
	void *stack = stack_alloc();

	return stack ? (uintptr_t)stack + MACHINE_STACK_SIZE : 0;
}

/* Prepares the next core; what was prepared when memory didn't suffice is used again. */
static bool prepare_core(void *(*stack_alloc)(void))
{
	unsigned id = port_core_count();
	struct core *core = cores[id] ? cores[id] : make_core(id);

	cores[id] = core;
	if (core && !core->stack)
		core->stack = make_stack(stack_alloc);
	if (core && !core->emergency)
		core->emergency = make_stack(stack_alloc);
	return core && core->stack && core->emergency;
}

/* A core that doesn't come in time may come later, with the number that it was given: so no other is started. */
static void start_others(void *(*stack_alloc)(void))
{
	smp_page_tables = paging_satp();
	for (unsigned i = 1; i < port_core_max(); i++) {
		struct core *core;

		if (!prepare_core(stack_alloc)) {
			kprintf("cores: no memory for hart %llu: left out\n",
				(unsigned long long)machine_tree.harts[i]);
			continue;
		}
		core = cores[port_core_count()];
		core->hart = machine_tree.harts[i];
		if (!start_core(core)) {
			kprintf("cores: hart %llu doesn't start: left out, with those behind it\n",
				(unsigned long long)core->hart);
			return;
		}
	}
}

unsigned machine_cores_start(void *(*stack_alloc)(void))
{
	if (!timer_init() || !ipi_init())
		kprintf("cores: no interrupt vectors for others: one core runs\n");
	else if (port_core_max() > 1)
		start_others(stack_alloc);
	return port_core_count();
}

/* Cores and nodes, for machine.h */

void machine_core_info(unsigned core, struct machine_core_info *info)
{
	check_core("machine_core_info", core, __builtin_return_address(0));
	*info = (struct machine_core_info){.hardware_id = (unsigned)cores[core]->hart,
		.spurious = __atomic_load_n(&cores[core]->spurious, __ATOMIC_RELAXED)};
}

size_t machine_node_count(void)
{
	return 0;
}

unsigned machine_node_distance(size_t from, size_t to)
{
	panic("machine_node_distance from node %zu to %zu of 0 (called from %pS)", from, to,
		__builtin_return_address(0));
}

bool machine_node_memory(size_t i, struct machine_node_memory *memory)
{
	return false;
}
