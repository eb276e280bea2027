/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The start of the other cores, one after the other.
 *
 * INIT is sent to all of them first, so that its delay is waited for only once.  Then, for each
 * core in turn, core 0 prepares a struct core, stores it in smp_awaited[] at the local APIC's
 * number, sends START, and waits until the core is counted.  The new core takes its struct core out
 * by an exchange (start.S).  When core 0 gives a core up, it takes the struct core out by an
 * exchange too and sends INIT again; a core that comes after that finds NULL, and halts.
 */
#include "smp.h"

#include <stddef.h>

#include "apic.h"
#include "arena.h"
#include "core.h"
#include "firmware.h"
#include "ipi.h"
#include "irq.h"
#include "layout.h"
#include "lib/check.h"
#include "sink.h"
#include "lib/string.h"
#include "machine.h"
#include "owner.h"
#include "paging.h"
#include "refuse.h"
#include "serial.h"
#include "timer.h"
#include "trap.h"
#include "window.h"
#include "x86.h"

#define INIT_NS 10000000ull   /* between INIT and START, as the Intel MP specification has it */
#define AGAIN_NS 1000000ull   /* after that START is sent a second time */
#define COME_NS 1000000000ull /* after that a core is given up; an emulator's may be slow */

extern const char start_code[], start_code_end[];

/* Read by start.S. */
extern struct core *smp_awaited[APICS];
extern uint64_t smp_page_tables;
void smp_enter(struct core *core) __attribute__((noreturn));

struct core *smp_awaited[APICS];
uint64_t smp_page_tables;

_Static_assert(offsetof(struct core, stack) == CORE_STACK_OFFSET, "start.S uses the offset");

static uint64_t start_page;
static unsigned timer_vector;
static struct arena_owner core_areas = ARENA_OWNER("cores' areas", base_arena);

void smp_init(uint64_t page, const struct boot_info *info)
{
	unsigned enough = boot_cores_for(info, firmware.core_count);

	if (enough == 0)
		refuse("too little memory: beside its image the kernel takes %u KiB",
			MACHINE_MEMORY_MIN / 1024);
	start_page = page;
	cores[0]->apic = firmware.apics[0];
	if (firmware.core_count == 1)
		return;
	if (!start_page) {
		kprintf("cores: no page below 1 MiB to start them in: one core runs\n");
		return;
	}
	if (enough < firmware.core_count)
		kprintf("cores: memory is enough for %u of %u: the others are left out\n", enough,
			firmware.core_count);
	port_cores_max = enough;
}

/* Called by start.S, on the core's own stack. */
void smp_enter(struct core *core)
{
	core_enter(core);
	trap_enter();
	apic_enter(timer_vector, firmware.nmi_lints[core->apic]);
	/* Release: a core that counts this one sees all of it (port_core_count). */
	__atomic_store_n(&port_cores, core->port.id + 1, __ATOMIC_RELEASE);
	ipi_flush_own();
	enable_interrupts();
	kernel_core_main();
}

static void wait_ns(uint64_t ns)
{
	uint64_t end = port_ns() + ns;

	while (port_ns() < end)
		port_pause();
}

/* Waits until core `id` is counted; false if it isn't after `ns`. */
static bool wait_for_core(unsigned id, uint64_t ns)
{
	uint64_t end = port_ns() + ns;

	while (port_core_count() <= id) {
		if (port_ns() >= end)
			return false;
		port_pause();
	}
	return true;
}

static void send_init(unsigned apic)
{
	port_irq_t irq = port_irq_save();

	apic_send_init(apic);
	port_irq_restore(irq);
}

static void send_start(unsigned apic)
{
	port_irq_t irq = port_irq_save();

	apic_send_start(apic, start_page);
	port_irq_restore(irq);
}

/* Starts `core`, which is prepared; false if it doesn't come. */
static bool start_core(struct core *core)
{
	__atomic_store_n(&smp_awaited[core->apic], core, __ATOMIC_SEQ_CST);
	send_start(core->apic);
	if (wait_for_core(core->port.id, AGAIN_NS))
		return true;
	send_start(core->apic);
	if (wait_for_core(core->port.id, COME_NS))
		return true;
	/* If the core has taken its struct core, it is on its way. */
	if (!__atomic_exchange_n(&smp_awaited[core->apic], NULL, __ATOMIC_SEQ_CST))
		return wait_for_core(core->port.id, COME_NS);
	send_init(core->apic);
	return false;
}

/* Allocates core `id` and maps its interrupt stacks; NULL if there is no memory. */
static struct core *make_core(unsigned id)
{
	size_t size = (sizeof(struct core) + PORT_PAGE_SIZE - 1) & ~(PORT_PAGE_SIZE - 1);
	uintptr_t ends[IST_COUNT];
	struct core *core;

	for (unsigned i = 0; i < IST_COUNT; i++) {
		ends[i] = CORE_STACKS_BASE + (id * IST_COUNT + i + 1ull) * CORE_STACK_STRIDE;
		if (!window_map_fresh(ends[i] - IST_STACK_SIZE, IST_STACK_SIZE))
			return NULL;
	}
	core = base_zalloc(NULL, size, MEM_ATOMIC);
	if (!core)
		return NULL;
	arena_owner_add(&core_areas, base_arena, size);
	core->port.id = id;
	core_set_stacks(core, ends);
	return core;
}

_Static_assert(CORES_MAX * IST_COUNT * CORE_STACK_STRIDE <= CORE_STACKS_SIZE, "all stacks fit");

/* Prepares the next core; what was prepared for one that didn't come, or for which memory didn't suffice,
 * is used again. */
static bool prepare_core(void *(*stack_alloc)(void))
{
	unsigned id = port_core_count();
	struct core *core = cores[id] ? cores[id] : make_core(id);
	void *stack;

	cores[id] = core;
	if (!core || core->stack)
		return core != NULL;
	stack = stack_alloc();
	core->stack = stack ? (uintptr_t)stack + MACHINE_STACK_SIZE : 0;
	return stack != NULL;
}

static void start_others(void *(*stack_alloc)(void))
{
	memcpy(direct_at(start_page), start_code, (size_t)(start_code_end - start_code));
	smp_page_tables = read_cr3();
	for (unsigned i = 1; i < port_core_max(); i++)
		send_init(firmware.apics[i]);
	wait_ns(INIT_NS);
	for (unsigned i = 1; i < port_core_max(); i++) {
		struct core *core;

		if (!prepare_core(stack_alloc)) {
			kprintf("cores: no memory for the core of APIC %u: left out\n",
				firmware.apics[i]);
			continue;
		}
		core = cores[port_core_count()];
		core->apic = firmware.apics[i];
		if (!start_core(core))
			kprintf("cores: the core of APIC %u doesn't start: left out\n", core->apic);
	}
}

unsigned machine_cores_start(void *(*stack_alloc)(void))
{
	timer_vector = timer_init();
	serial_use_interrupts();
	if (!timer_vector || !ipi_init())
		kprintf("cores: no interrupt vectors for others: one core runs\n");
	else if (port_core_max() > 1)
		start_others(stack_alloc);
	return port_core_count();
}

/* Cores and nodes, for machine.h */

void machine_core_info(unsigned core, struct machine_core_info *info)
{
	const struct core *c;
	uint32_t node;

	check_core("machine_core_info", core, __builtin_return_address(0));
	c = cores[core];
	node = firmware.nodes[c->apic];
	*info = (struct machine_core_info){.hardware_id = c->apic,
		.has_node = node != NO_NODE,
		.node = node,
		.nmis = __atomic_load_n(&c->nmis, __ATOMIC_RELAXED),
		.spurious = __atomic_load_n(&c->spurious, __ATOMIC_RELAXED)};
}
