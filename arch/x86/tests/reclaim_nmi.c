/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim's pokes from NMIs, one of which may land in the locks of a wake-up.
 */
#include "../core.h"
#include "kthread.h"
#include "port.h"
#include "reclaim.h"
#include "lib/string.h"
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

/* Whether the ktask sleeps: then it has taken all pokes but one that is just being made. */
static bool is_asleep(void)
{
	struct ktask_stats row = {.id = 0};

	while (ktask_stats(row.id + 1, &row, 1) > 0)
		if (strcmp(row.name, "reclaim") == 0)
			return strcmp(row.state, "asleep") == 0;
	return false;
}

#define ROUNDS 100
#define PATIENCE_NS 30000000000ull /* only a test that fails waits so long */

TEST("reclaim: a poke from an NMI wakes the ktask, which takes it and then the next")
{
	uint64_t before = pokes(), end = port_ns() + PATIENCE_NS;
	unsigned sent = 0;

	trap_nmi_hook = poke;
	for (int i = 0; i < ROUNDS && port_ns() < end; i++) {
		before = pokes();

		/* One that comes while another is pending counts with that. */
		do {
			while (!is_asleep() && port_ns() < end)
				kthread_yield();
			nmi_to_myself();
			sent++;
		} while (pokes() == before && port_ns() < end);
	}
	trap_nmi_hook = NULL;
	CHECK_LT(before, pokes());
	CHECK_LT(sent, ROUNDS + ROUNDS / 2);
}
