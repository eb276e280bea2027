/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches whose caller's array isn't mapped yet when the hot path reaches it.
 *
 * The array runs across two pages.  The second one is taken out of the page tables before each step
 * and put back in the page fault, where an NMI's worth of allocations runs, too: afterward each
 * object must be in one hand.  Or it lies in a GiB of the direct map that nothing has touched.
 */
#include "machine.h"
#include "port.h"
#include "slab.h"
#include "vmap.h"
#include "lib/test.h"
#include "unit/modes.h"

#include "../paging.h"
#include "../trap.h"
#include "../x86.h"

#define SIZE 64
#define BULK 8
#define FIRST (BULK / 2) /* objects whose slots lie in the first page */
#define WITHIN (2 * BULK)
#define GIB ((uintptr_t)1 << 30)

static struct kmem_cache *cache;
static char *pages;
static uint64_t *entry; /* of the second page */
static void **array;
static unsigned faults;

static void *taken[WITHIN];
static size_t taken_count;
static void (*interference)(void);

static void set_present(bool present)
{
	*entry = present ? *entry | PTE_PRESENT : *entry & ~(uint64_t)PTE_PRESENT;
	flush_page((uintptr_t)pages + PORT_PAGE_SIZE);
}

static bool on_fault(uintptr_t address)
{
	if (address - (uintptr_t)pages - PORT_PAGE_SIZE >= PORT_PAGE_SIZE)
		return false;
	faults++;
	interference();
	set_present(true);
	return true;
}

static void take_two(void)
{
	taken[taken_count++] = kmem_cache_alloc(cache, MEM_ATOMIC);
	taken[taken_count++] = kmem_cache_alloc(cache, MEM_ATOMIC);
}

static void give_two(void)
{
	kmem_cache_free(cache, taken[--taken_count]);
	kmem_cache_free(cache, taken[--taken_count]);
}

static void begin(void)
{
	uint64_t value;

	cache = kmem_cache_create("faulting", SIZE, 0, 0, NULL, NULL, NULL, NULL);
	pages = vmalloc(2 * PORT_PAGE_SIZE, MEM_WAIT);
	array = (void **)(pages + PORT_PAGE_SIZE) - FIRST;
	value = *paging_find_link((uintptr_t)pages + PORT_PAGE_SIZE);
	entry = paging_entry_in(
		paging_table_of(value), (uintptr_t)pages + PORT_PAGE_SIZE, PORT_PAGE_SHIFT);
	taken_count = 0;
	faults = 0;
}

/* A first touch of the direct map, which is filled then. */
static bool on_first_touch(uintptr_t address)
{
	faults++;
	interference();
	return false;
}

/* Runs one step, in whose fault `what` happens; interrupts are off, so that it stays on its core. */
static void fault_in(void (*step)(void), void (*what)(void))
{
	port_irq_t irq = port_irq_save();

	interference = what;
	set_present(false);
	trap_fault_hook = on_fault;
	step();
	trap_fault_hook = NULL;
	set_present(true);
	port_irq_restore(irq);
}

static void check_apart(void)
{
	for (size_t i = 0; i < BULK; i++) {
		for (size_t j = 0; j < i; j++)
			CHECK_NE((uintptr_t)array[i], (uintptr_t)array[j]);
		for (size_t j = 0; j < taken_count; j++)
			CHECK_NE((uintptr_t)array[i], (uintptr_t)taken[j]);
	}
}

static void end(void)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(cache, &s);
	CHECK_EQ(s.live, 0);
	CHECK_EQ(kmem_cache_check(cache, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	vfree(pages, 2 * PORT_PAGE_SIZE);
	CHECK_LT(0, faults);
}

static void alloc_bulk(void)
{
	CHECK_EQ(kmem_cache_alloc_bulk(cache, array, BULK, MEM_ATOMIC), BULK);
}

static void free_bulk(void)
{
	kmem_cache_free_bulk(cache, array, BULK);
}

/* More than one step pops, and both magazines hold some. */
static void fill_magazines(void)
{
	void *objects[3 * BULK];

	CHECK_EQ(kmem_cache_alloc_bulk(cache, objects, 3 * BULK, MEM_WAIT), 3 * BULK);
	kmem_cache_free_bulk(cache, objects, 3 * BULK);
}

TEST("slab: a fault under an allocation of many: an NMI in it gets no object of theirs")
{
	if (!modes_leave_fronts())
		return;
	begin();
	fill_magazines();
	fault_in(alloc_bulk, take_two);
	check_apart();
	while (taken_count > 0)
		give_two();
	free_bulk();
	end();
}

TEST("slab: a fault under a free of many loses none, though an NMI in it took some")
{
	if (!modes_leave_fronts())
		return;
	begin();
	fill_magazines();
	alloc_bulk();
	fault_in(free_bulk, take_two);
	alloc_bulk();
	check_apart();
	free_bulk();
	while (taken_count > 0)
		give_two();
	end();
}

/* Runs the step with its array in the GiB at `gib`; whether that is RAM. */
static bool alloc_into(uintptr_t gib)
{
	port_irq_t irq;

	array = arena_xalloc(base_arena, PORT_PAGE_SIZE, 0, 0, 0, gib, gib + GIB, MEM_ERROR);
	if (!array)
		return false;
	fill_magazines();
	irq = port_irq_save();
	interference = take_two;
	trap_fault_hook = on_first_touch;
	alloc_bulk();
	trap_fault_hook = NULL;
	port_irq_restore(irq);
	check_apart();
	while (taken_count > 0)
		give_two();
	free_bulk();
	arena_xfree(base_arena, array, PORT_PAGE_SIZE);
	return true;
}

TEST("slab: an array in a GiB never touched: an NMI in the first touch gets none of it")
{
	if (!modes_leave_fronts())
		return;
	begin();
	for (uintptr_t gib = machine_direct_base(); alloc_into(gib); gib += GIB)
		;
	/* Where there is no such GiB, there was nothing to do. */
	faults = 1;
	end();
}
