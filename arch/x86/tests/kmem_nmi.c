/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches in NMIs: an allocation gets what the hot path has, and nothing behind it.
 */
#include "../core.h"
#include "kmalloc.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"

#include "../apic.h"
#include "../trap.h"

#define ASKED 400 /* more than one core has in its magazines */

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

static struct kmem_cache *cache;
static void *got[ASKED];
static size_t taken;

static void take_all(void)
{
	while (taken < ASKED && (got[taken] = kmem_cache_alloc(cache, MEM_ATOMIC)))
		taken++;
	__atomic_store_n(&has_come, true, __ATOMIC_RELEASE);
}

TEST("slab: in an NMI the objects of this core's magazine are had, and no more")
{
	cache = kmem_cache_create("in NMIs", 64, 0, 0, NULL, NULL, NULL, NULL);
	CHECK_EQ(kmem_cache_alloc_bulk(cache, got, ASKED, MEM_WAIT), ASKED);
	kmem_cache_free_bulk(cache, got, ASKED);
	taken = 0;
	nmi_to_myself(take_all);
	CHECK_LT(0, taken);
	CHECK_LT(taken, ASKED);
	kmem_cache_free_bulk(cache, got, taken);
	CHECK_EQ(kmem_cache_check(cache, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}

static void *small, *large;

static void take_both(void)
{
	small = kmalloc(PORT_PAGE_SIZE, MEM_ATOMIC);
	large = kmalloc(PORT_PAGE_SIZE + 1, MEM_ATOMIC);
	__atomic_store_n(&has_come, true, __ATOMIC_RELEASE);
}

/* The interrupted code may be changing the page frame table. */
TEST("kmalloc: in an NMI what takes pages of its own is NULL, though this core has some in a magazine")
{
	kfree(kmalloc(PORT_PAGE_SIZE, MEM_WAIT));
	kfree(kmalloc(PORT_PAGE_SIZE + 1, MEM_WAIT));
	nmi_to_myself(take_both);
	CHECK(small);
	CHECK_EQ((uintptr_t)large, 0);
	kfree(small);
}
