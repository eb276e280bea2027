/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas in NMIs: one that lands while its core holds an arena's lock gets what the front has laid
 * up there, and no more.
 */
#include "../core.h"
#include "arena.h"
#include "arena/arena_impl.h"
#include "port.h"
#include "lib/test.h"

#include "unit/modes.h"

#include "../apic.h"
#include "../trap.h"

#define QUANTUM 16
#define ASKED 200 /* more than one core has in its magazines */

static struct arena *arena;
static void *got[ASKED];
static size_t taken;
static bool has_come; /* the NMI */

static void take_all(void)
{
	while (taken < ASKED && (got[taken] = arena_alloc(arena, QUANTUM, MEM_ATOMIC)))
		taken++;
	__atomic_store_n(&has_come, true, __ATOMIC_RELEASE);
}

static void nmi_under_lock(void)
{
	port_irq_t irq = spin_lock(&arena->lock);

	__atomic_store_n(&has_come, false, __ATOMIC_RELAXED);
	trap_nmi_hook = take_all;
	apic_send_nmi(cores[port_core_id()]->apic);
	while (!__atomic_load_n(&has_come, __ATOMIC_ACQUIRE))
		port_pause();
	trap_nmi_hook = NULL;
	spin_unlock(&arena->lock, irq);
}

TEST("arena: an NMI has what its core's magazine has, no more, though a lock is held")
{
	void *first[2 * QUANTUM];

	if (!modes_leave_fronts())
		return;
	arena = arena_create("in NMIs", (void *)QUANTUM, 1000 * QUANTUM, QUANTUM, NULL, NULL, NULL, QUANTUM,
		MEM_WAIT);
	taken = 0;
	for (size_t i = 0; i < 2 * QUANTUM; i++)
		first[i] = arena_alloc(arena, QUANTUM, MEM_ATOMIC);
	for (size_t i = 0; i < 2 * QUANTUM; i++)
		arena_free(arena, first[i], QUANTUM);
	nmi_under_lock();
	CHECK_LT(0, taken);
	CHECK_LT(taken, ASKED);
	while (taken > 0)
		arena_free(arena, got[--taken], QUANTUM);
	CHECK_EQ(arena_check(arena, &console_sink), 0);
	CHECK_EQ(arena_destroy(arena), 0);
}
