/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Deadlines by the local APIC's timer.  It counts 32 bits: for a far deadline it interrupts early
 * and is set again.  kernel_timer() is called once the deadline has passed on port_ns().
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

/* For a deadline that has passed, the timer interrupts at once: after 1 ns. */
static void arm(uint64_t deadline)
{
	uint64_t now = port_ns();

	apic_timer_set(deadline > now ? deadline - now : 1);
}

void machine_timer_set(uint64_t deadline)
{
	struct core *core = core_self();
	bool armed = core->deadline != PORT_FOREVER;

	core->deadline = deadline;
	if (!vector)
		return;
	if (deadline != PORT_FOREVER)
		arm(deadline);
	else if (armed)
		apic_timer_set(0);
}

/* An interrupt can still arrive after its deadline was moved or removed. */
static void interrupt(void *arg)
{
	struct core *core = core_self();

	if (core->deadline == PORT_FOREVER)
		return;
	if (port_ns() < core->deadline) {
		arm(core->deadline);
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
