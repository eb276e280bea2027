/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Deadlines by the firmware's timer: kernel_timer() is called once the deadline has passed on port_ns().
 *
 * Each core's timer is set for the watch and for its next look for input as well, if that comes earlier.  A
 * core that has set it for an earlier watch finds nothing due and sets it again; so a watch that moves to
 * later needs no core.
 */
#include "timer.h"

#include <stddef.h>

#include "clock.h"
#include "core.h"
#include "irq.h"
#include "machine.h"
#include "riscv.h"
#include "sbi.h"
#include "serial.h"

static unsigned vector;
static uint64_t watch = PORT_FOREVER; /* atomic */

/* Relaxed: the deadline publishes nothing else. */
static uint64_t watch_deadline(void)
{
	return __atomic_load_n(&watch, __ATOMIC_RELAXED);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Sets this core's timer, which ends an interrupt that is pending.  Context: interrupts off. */
static void arm(const struct core *core)
{
	uint64_t next = earlier(earlier(core->deadline, core->poll), watch_deadline());

	sbi_timer_set(next == PORT_FOREVER ? UINT64_MAX : clock_ticks_at(next));
}

void machine_timer_set(uint64_t deadline)
{
	struct core *core = core_self();

	core->deadline = deadline;
	if (vector)
		arm(core);
}

void timer_poll_at(uint64_t at)
{
	struct core *core = core_self();

	core->poll = at;
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
	if (now >= core->poll) {
		core->poll = PORT_FOREVER;
		serial_look();
	}
	if (now < core->deadline) {
		arm(core);
		return;
	}
	machine_timer_set(PORT_FOREVER);
	kernel_timer();
}

bool timer_handle(void)
{
	return vector && irq_handle(vector);
}

bool timer_init(void)
{
	port_irq_t irq;

	vector = irq_alloc("timer", interrupt, NULL);
	if (!vector)
		return false;
	irq_set_route(vector, "each core's own");
	irq = port_irq_save();
	arm(core_self());
	port_irq_restore(irq);
	return true;
}
