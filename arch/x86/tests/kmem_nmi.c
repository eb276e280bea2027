/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches in NMIs: an allocation there is what the core's magazine holds, and nothing is freed.
 */
#include "../core.h"
#include "kmalloc.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"

#include "../apic.h"
#include "../trap.h"
#include "unit/modes.h"

#define OBJECTS 192 /* more than a core's magazines hold */

static struct kmem_cache *cache;
static void *objects[OBJECTS];
static size_t moved;
static bool has_come; /* the NMI */

static void nmi_to_myself(void (*hook)(void))
{
	port_irq_t irq = port_irq_save();

	__atomic_store_n(&has_come, false, __ATOMIC_RELAXED);
	trap_nmi_hook = hook;
	apic_send_nmi(cores[port_core_id()]->apic);
	port_irq_restore(irq);
	while (!__atomic_load_n(&has_come, __ATOMIC_ACQUIRE))
		port_pause();
	trap_nmi_hook = NULL;
}

static void come(void)
{
	__atomic_store_n(&has_come, true, __ATOMIC_RELEASE);
}

static void begin(void)
{
	cache = kmem_cache_create("in NMIs", 64, 0, 0, NULL, NULL, NULL, NULL);
	CHECK_EQ(kmem_cache_alloc_bulk(cache, objects, OBJECTS, MEM_WAIT), OBJECTS);
	moved = 0;
}

static void end(void)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(cache, &s);
	CHECK_EQ(s.live, 0);
	CHECK_EQ(kmem_cache_check(cache, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}

static void take_all(void)
{
	while (moved < OBJECTS && (objects[moved] = kmem_cache_alloc(cache, MEM_ATOMIC)))
		moved++;
	moved += kmem_cache_alloc_bulk(cache, objects + moved, OBJECTS - moved, MEM_ATOMIC);
	come();
}

TEST("slab: in an NMI an allocation is what the core's magazine holds, else NULL")
{
	if (!modes_leave_fronts())
		return;
	begin();
	kmem_cache_free_bulk(cache, objects, OBJECTS);
	nmi_to_myself(take_all);
	CHECK_LT(0, moved);
	CHECK_LT(moved, OBJECTS);
	kmem_cache_free_bulk(cache, objects, moved);
	end();
}

static void free_until_refused(void)
{
	for (; moved < OBJECTS; moved++)
		kmem_cache_free(cache, objects[moved]);
}

static void free_all(void)
{
	CHECK_PANICS(free_until_refused(), "in an NMI");
	come();
}

/* The one that is refused stays live. */
TEST("slab: a free in an NMI is refused, at the latest where the magazine has no room")
{
	begin();
	nmi_to_myself(free_all);
	CHECK_LT(moved, OBJECTS);
	kmem_cache_free_bulk(cache, objects + moved, OBJECTS - moved);
	end();
}

static void *small, *large;

static void take_both(void)
{
	small = kmalloc(PORT_PAGE_SIZE, MEM_ATOMIC);
	large = kmalloc(KMALLOC_CACHED_MAX + 1, MEM_ATOMIC);
	come();
}

/* The interrupted code may be changing the page frame table. */
TEST("kmalloc: in an NMI what takes pages of its own is NULL, also with some near by")
{
	if (!modes_leave_fronts())
		return;
	kfree(kmalloc(PORT_PAGE_SIZE, MEM_WAIT));
	kfree(kmalloc(KMALLOC_CACHED_MAX + 1, MEM_WAIT));
	nmi_to_myself(take_both);
	CHECK(small);
	CHECK_EQ((uintptr_t)large, 0);
	kfree(small);
}
