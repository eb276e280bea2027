/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contexts: what may be called in an NMI is called in many of them, wherever they land.
 */
#include "../core.h"
#include "arena.h"
#include "disk.h"
#include "errors.h"
#include "irq.h"
#include "kthread.h"
#include "lib/string.h"
#include "lib/test.h"
#include "machine.h"
#include "physical.h"
#include "port.h"
#include "reclaim.h"
#include "shortage.h"

#include "../apic.h"
#include "../trap.h"

#define NMIS 500
#define PATIENCE_NS 30000000000ull /* only a test that fails waits so long for the next */

static struct arena *arena;
static unsigned vector, target;
static uint64_t last_ns;
static size_t come, wrong; /* NMIs, and what they found wrong; atomic */
static bool ends;	   /* atomic */

static void expect(bool holds)
{
	__atomic_fetch_add(&wrong, !holds, __ATOMIC_RELAXED);
}

static void look_at_port(void)
{
	uintptr_t pcs[8];

	expect(port_in_nmi() && port_in_irq() && !machine_irq_enabled());
	expect(port_core_id() == target && target < port_core_count() && target < port_core_max());
	expect(port_ns() >= last_ns && port_ticks() > 0);
	last_ns = port_ns();
	expect(port_backtrace(0, pcs, 8) > 0);
	expect(port_thread_words() != NULL);
	expect(port_thread_self() == (port_thread_t *)ktask_self());
}

static void look_at_disks(void)
{
	struct disk_stats stats;

	for (struct disk *d = disk_next(NULL); d; d = disk_next(d)) {
		disk_get_stats(d, &stats);
		expect(stats.blocks == disk_blocks(d));
	}
}

static void look(void)
{
	struct irq_info info;
	char text[64];

	look_at_port();
	look_at_disks();
	expect(ktask_id(ktask_self()) > 0 && strcmp(ktask_name(ktask_self()), "") != 0);
	expect(ktask_count() > 0 && kthread_steals() + 1 > 0);
	expect(reclaim_is_running() && !shortage_is_short(arena));
	reclaim_poke();
	reclaim_progress();
	expect(irq_next(vector, &info) && info.vector == vector && info.count == 0);
	expect(irq_core_count(target) + 1 > 0);
	irq_set_route(vector, "from NMI %zu", come);
	expect(physical_of(physical_at(PORT_PAGE_SIZE)) == PORT_PAGE_SIZE);
	expect(strcmp(arena_add_strerror(-EEXIST), "the range overlaps a span") == 0);
	expect(ksnprintf(text, sizeof(text), "%pS of %u", (void *)look, 7) > 4);
	__atomic_fetch_add(&come, 1, __ATOMIC_RELEASE);
}

/* Each when the one before has come. */
static void send(void *arg)
{
	size_t sent = 0;

	while (!__atomic_load_n(&ends, __ATOMIC_ACQUIRE)) {
		apic_send_nmi(cores[target]->apic);
		sent++;
		while (__atomic_load_n(&come, __ATOMIC_ACQUIRE) < sent)
			port_pause();
		kthread_yield();
	}
}

static void nothing(void *arg)
{
}

/* Takes the locks which those calls must not take, on the core where the NMIs land. */
static void work(void *arg)
{
	uint64_t end = port_ns() + PATIENCE_NS;
	size_t now, before = 0;

	while ((now = __atomic_load_n(&come, __ATOMIC_ACQUIRE)) < test_ops(NMIS) && port_ns() < end) {
		if (now != before)
			end = port_ns() + PATIENCE_NS;
		before = now;
		arena_free(arena, arena_alloc(arena, 1, MEM_WAIT), 1);
		irq_free(irq_alloc("other", nothing, NULL));
		ktask_join(ktask("other", nothing, NULL));
	}
	__atomic_store_n(&ends, true, __ATOMIC_RELEASE);
}

TEST("contexts: what may be called in an NMI works there, wherever it lands")
{
	struct ktask *sender, *worker;
	struct irq_info info;

	arena = arena_create("in NMIs", (void *)1, 100, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	vector = irq_alloc("in NMIs", nothing, NULL);
	come = wrong = 0;
	last_ns = 0;
	ends = false;
	target = 0;
	trap_nmi_hook = look;
	worker = ktask_pinned("worker", work, NULL, target);
	sender = ktask_pinned("sender", send, NULL, port_core_count() - 1);
	ktask_join(sender);
	ktask_join(worker);
	trap_nmi_hook = NULL;
	CHECK_EQ(wrong, 0);
	CHECK_LE(test_ops(NMIS), come);
	CHECK(irq_next(vector, &info));
	CHECK(strstr(info.route, "from NMI ") != NULL);
	irq_free(vector);
	CHECK_EQ(arena_destroy(arena), 0);
}
