/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Deadlines by the local APIC's timer.  It counts 32 bits: for a far deadline it interrupts early
 * and is set again.  kernel_timer() is called once the deadline has passed on port_ns().
 *
 * Each core's timer is set for the watch as well, if that comes earlier.  A core that has set it for
 * an earlier watch finds nothing due and sets it again; so a watch that moves to later needs no core.
 */
#include "timer.h"

#include <stddef.h>
#include <stdbool.h>

#include "apic.h"
#include "core.h"
#include "firmware.h"
#include "irq.h"
#include "machine.h"

static unsigned vector;
static uint64_t watch = PORT_FOREVER; /* atomic */

/* Relaxed: the deadline publishes nothing else. */
static uint64_t watch_deadline(void)
{
	return __atomic_load_n(&watch, __ATOMIC_RELAXED);
}

/* Sets this core's timer for its deadline or the watch.  If that has passed, the timer interrupts at
 * once: after 1 ns.  Context: interrupts off. */
static void arm(struct core *core)
{
	uint64_t now = port_ns(), late = watch_deadline();
	uint64_t deadline = core->deadline < late ? core->deadline : late;

	if (deadline != PORT_FOREVER)
		apic_timer_set(deadline > now ? deadline - now : 1);
	else if (core->is_armed)
		apic_timer_set(0);
	core->is_armed = deadline != PORT_FOREVER;
}

void machine_timer_set(uint64_t deadline)
{
	struct core *core = core_self();

	core->deadline = deadline;
	if (vector)
		arm(core);
}

static void arm_here(void *arg)
{
	arm(core_self());
}

void machine_watch_set(uint64_t deadline)
{
	uint64_t before = __atomic_exchange_n(&watch, deadline, __ATOMIC_RELAXED);

	for (unsigned core = 0; vector && deadline < before && core < port_core_count(); core++)
		port_core_run(core, arm_here, NULL);
}

/* An interrupt can still arrive after its deadline was moved or removed. */
static void interrupt(void *arg)
{
	struct core *core = core_self();
	uint64_t now = port_ns();

	if (now >= watch_deadline())
		kernel_late(0, 0);
	if (now < core->deadline) {
		arm(core);
		return;
	}
	core->deadline = PORT_FOREVER;
	kernel_timer();
}

unsigned timer_init(void)
{
	port_irq_t irq;

	vector = irq_alloc("timer", interrupt, NULL);
	if (!vector)
		return 0;
	irq_set_route(vector, "each core's own");
	irq = port_irq_save();
	apic_enter(vector, firmware.nmi_lints[core_self()->apic]);
	machine_timer_set(core_self()->deadline);
	port_irq_restore(irq);
	return vector;
}
