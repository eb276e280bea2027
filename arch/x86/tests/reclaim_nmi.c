/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim's pokes from NMIs, one of which may land in the locks of a wake-up.
 */
#include "../core.h"
#include "kthread.h"
#include "port.h"
#include "reclaim.h"
#include "lib/test.h"

#include "../apic.h"
#include "../trap.h"

static bool has_come; /* the NMI */

static void poke(void)
{
	reclaim_poke();
	__atomic_store_n(&has_come, true, __ATOMIC_RELEASE);
}

/* Interrupts are off until the NMI has returned, so the poke that it leads to comes after. */
static void nmi_to_myself(void)
{
	port_irq_t irq = port_irq_save();

	__atomic_store_n(&has_come, false, __ATOMIC_RELAXED);
	apic_send_nmi(cores[port_core_id()]->apic);
	while (!__atomic_load_n(&has_come, __ATOMIC_ACQUIRE))
		port_pause();
	port_irq_restore(irq);
}

static uint64_t pokes(void)
{
	struct reclaim_stats s;

	reclaim_get_stats(&s);
	return s.pokes;
}

#define PATIENCE_NS 30000000000ull /* only a test that fails waits so long */

TEST("reclaim: a poke from an NMI wakes the ktask, which takes it and then the next")
{
	uint64_t before = pokes(), end = port_ns() + PATIENCE_NS;

	trap_nmi_hook = poke;
	for (int i = 0; i < 100 && port_ns() < end; i++) {
		before = pokes();

		/* One that comes while another is pending counts with that. */
		do {
			nmi_to_myself();
			kthread_yield();
		} while (pokes() == before && port_ns() < end);
	}
	trap_nmi_hook = NULL;
	CHECK_LT(before, pokes());
}
