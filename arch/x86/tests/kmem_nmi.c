/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches in NMIs: what one frees beyond the hot path waits, and the core's next operation on the
 * cache, one object's or many objects', takes it home and goes on.
 */
#include "../core.h"
#include "kmalloc.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"

#include "../../../tests/unit/threads.h"
#include "../apic.h"
#include "../trap.h"

#define OBJECTS 192
#define IN_NMI 60 /* more than a new magazine's rounds, no more than may wait */
#define BEFORE 70
#define REST (OBJECTS - IN_NMI - BEFORE)
#define BULK 8

static struct kmem_cache *cache;
static void *objects[OBJECTS];
static bool has_come; /* the NMI */

static void free_some(void)
{
	for (size_t i = 0; i < IN_NMI; i++)
		kmem_cache_free(cache, objects[REST + i]);
	__atomic_store_n(&has_come, true, __ATOMIC_RELEASE);
}

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

static uint64_t live(void)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(cache, &s);
	return s.live;
}

/* REST objects are held; the others were freed, so that there are magazines and they are full, and
 * last in an NMI. */
static void begin(void)
{
	cache = kmem_cache_create("in NMIs", 64, 0, 0, NULL, NULL, NULL, NULL);
	CHECK_EQ(kmem_cache_alloc_bulk(cache, objects, OBJECTS, MEM_WAIT), OBJECTS);
	for (size_t i = 0; i < BEFORE; i++)
		kmem_cache_free(cache, objects[REST + IN_NMI + i]);
	nmi_to_myself(free_some);
}

static void end(void)
{
	CHECK_EQ(live(), 0);
	CHECK_EQ(kmem_cache_check(cache, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}

static void free_rest(void)
{
	for (size_t i = 0; i < REST; i++)
		kmem_cache_free(cache, objects[i]);
}

TEST("slab: what an NMI freed goes home with the next free")
{
	begin();
	free_rest();
	end();
}

TEST("slab: what an NMI freed goes home with the next allocation")
{
	begin();
	kmem_cache_free(cache, kmem_cache_alloc(cache, MEM_ATOMIC));
	CHECK_EQ(live(), REST);
	free_rest();
	end();
}

TEST("slab: what an NMI freed goes home with the next free of many")
{
	begin();
	kmem_cache_free_bulk(cache, objects, REST);
	end();
}

TEST("slab: what an NMI freed goes home with the next allocation of many")
{
	void *more[BULK];

	begin();
	CHECK_EQ(kmem_cache_alloc_bulk(cache, more, BULK, MEM_ATOMIC), BULK);
	CHECK_EQ(live(), REST + BULK);
	kmem_cache_free_bulk(cache, more, BULK);
	free_rest();
	end();
}

/* One core frees its last objects in an NMI and uses no cache any more; what another one then does
 * with the cache finds all of them at home. */
static bool is_free, is_over;

static void free_last(void)
{
	cache = kmem_cache_create("in NMIs", 64, 0, 0, NULL, NULL, NULL, NULL);
	CHECK_EQ(kmem_cache_alloc_bulk(cache, objects + REST, IN_NMI + BEFORE, MEM_WAIT), IN_NMI + BEFORE);
	for (size_t i = 0; i < BEFORE; i++)
		kmem_cache_free(cache, objects[REST + IN_NMI + i]);
	nmi_to_myself(free_some);
	CHECK_EQ(live(), 0);
	__atomic_store_n(&is_free, true, __ATOMIC_RELEASE);
	threads_await(&is_over);
}

static void end_destroyed(void)
{
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}

static void end_reaped(void)
{
	struct kmem_cache_stats s;

	kmem_cache_reap(cache, KMEM_REAP_ALL);
	kmem_cache_get_stats(cache, &s);
	CHECK_EQ(s.out, 0);
	end();
}

static void free_or_end(unsigned i, void *how)
{
	if (i == 1) {
		free_last();
		return;
	}
	threads_await(&is_free);
	((void (*)(void))how)();
	__atomic_store_n(&is_over, true, __ATOMIC_RELEASE);
}

static void end_elsewhere(void (*how)(void))
{
	is_free = is_over = false;
	threads_run(THREADS_PINNED, 2, free_or_end, (void *)how);
}

TEST("slab: what an NMI freed on one core keeps no cache from its end on another")
{
	end_elsewhere(end_destroyed);
}

TEST("slab: what an NMI freed on one core goes home with a hard reap on another")
{
	end_elsewhere(end_reaped);
}

static void *small, *large;

static void take_both(void)
{
	small = kmalloc(PORT_PAGE_SIZE, MEM_ATOMIC);
	large = kmalloc(PORT_PAGE_SIZE + 1, MEM_ATOMIC);
	__atomic_store_n(&has_come, true, __ATOMIC_RELEASE);
}

/* Where the interrupted code may be changing the page frame table. */
TEST("kmalloc: in an NMI what takes pages of its own is NULL, though this core has some laid up")
{
	kfree(kmalloc(PORT_PAGE_SIZE, MEM_WAIT));
	kfree(kmalloc(PORT_PAGE_SIZE + 1, MEM_WAIT));
	nmi_to_myself(take_both);
	CHECK(small);
	CHECK_EQ((uintptr_t)large, 0);
	kfree(small);
}
