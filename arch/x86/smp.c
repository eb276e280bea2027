/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starting the other cores, one after the other.
 *
 * All are stopped first by INIT, at once, which then takes one delay in all; each is then told
 * where to begin, and waited for.  What a core needs is laid out before it is told and found by it
 * under its local APIC's number, from where it takes it by an exchange.  So does the starter when
 * it gives the core up, and stops it again: a core that comes late all the same finds nothing, and
 * halts.
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
#include "lib/panic.h"
#include "sink.h"
#include "lib/string.h"
#include "machine.h"
#include "paging.h"
#include "serial.h"
#include "timer.h"
#include "trap.h"
#include "window.h"
#include "x86.h"

#define INIT_NS 10000000ull   /* between INIT and START, as the Intel MP specification has it */
#define AGAIN_NS 1000000ull   /* a core that hasn't come by then is told a second time */
#define COME_NS 1000000000ull /* one that hasn't by then won't: an emulator's may be slow */

extern const char start_code[], start_code_end[];

/* What start.S reads. */
extern struct core *smp_awaited[APICS];
extern uint64_t smp_page_tables;
void smp_enter(struct core *core) __attribute__((noreturn));

struct core *smp_awaited[APICS];
uint64_t smp_page_tables;

_Static_assert(offsetof(struct core, stack) == CORE_STACK_OFFSET, "start.S knows the place");

static uint64_t start_page;
static unsigned timer_vector;

void smp_init(uint64_t page)
{
	start_page = page;
	cores[0]->apic = firmware.apics[0];
	if (firmware.core_count == 1)
		return;
	if (!start_page) {
		kprintf("cores: no page below 1 MiB to start them in: one core runs\n");
		return;
	}
	port_cores_max = firmware.core_count;
}

/* Where start.S ends up, on the core's own stack. */
void smp_enter(struct core *core)
{
	core_enter(core);
	trap_enter();
	apic_enter(timer_vector, firmware.nmi_lints[core->apic]);
	/* Release: whoever counts this core sees it whole. */
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

/* Whether the core came within so many nanoseconds. */
static bool has_come(unsigned id, uint64_t ns)
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

/* Tells `core`, which lies ready, to begin; whether it came. */
static bool start(struct core *core)
{
	__atomic_store_n(&smp_awaited[core->apic], core, __ATOMIC_SEQ_CST);
	send_start(core->apic);
	if (has_come(core->port.id, AGAIN_NS))
		return true;
	send_start(core->apic);
	if (has_come(core->port.id, COME_NS))
		return true;
	/* If the place is empty, it is on its way. */
	if (!__atomic_exchange_n(&smp_awaited[core->apic], NULL, __ATOMIC_SEQ_CST))
		return has_come(core->port.id, COME_NS);
	send_init(core->apic);
	return false;
}

/* Memory for core `id`, its own stacks in their place; NULL: there is none. */
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
	core->port.id = id;
	core_set_stacks(core, ends);
	return core;
}

_Static_assert(CORES_MAX * IST_COUNT * CORE_STACK_STRIDE <= CORE_STACKS_SIZE, "they fit");

/* Readies the next core: what was readied for one that didn't come serves. */
static bool ready_core(void *(*stack_alloc)(void))
{
	unsigned id = port_core_count();
	void *stack;

	if (cores[id])
		return true;
	stack = stack_alloc();
	cores[id] = stack ? make_core(id) : NULL;
	if (!cores[id])
		return false;
	cores[id]->stack = (uintptr_t)stack + MACHINE_STACK_SIZE;
	return true;
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

		if (!ready_core(stack_alloc)) {
			kprintf("cores: no memory for that of APIC %u: left out\n",
				firmware.apics[i]);
			continue;
		}
		core = cores[port_core_count()];
		core->apic = firmware.apics[i];
		if (!start(core))
			kprintf("cores: that of APIC %u doesn't come: left out\n", core->apic);
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

/* What machine.h tells of cores and nodes */

void machine_core_info(unsigned core, struct machine_core_info *info)
{
	const struct core *c = cores[core];
	uint32_t node = firmware.nodes[c->apic];

	*info = (struct machine_core_info){.hardware_id = c->apic,
		.has_node = node != NO_NODE,
		.node = node,
		.nmis = __atomic_load_n(&c->nmis, __ATOMIC_RELAXED),
		.spurious = __atomic_load_n(&c->spurious, __ATOMIC_RELAXED)};
}
