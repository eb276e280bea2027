/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The window of kernel addresses that is mapped page by page.
 *
 * Representation.  Tables come from the base arena when an address first needs them, and stay.  An
 * entry that isn't present is 0 if no TLB can hold its last mapping.  Else it is the number of the
 * first flush of all TLBs that begins after its page was unmapped (ipi.h), shifted past the present
 * bit.
 *
 * Invariants.
 *  1. Once the flush with an entry's number has ended, no TLB holds what was mapped there.
 *  2. Nothing here is global, so a flush is one write to CR3.
 *
 * Locking.  None: an address belongs to the caller that allocated it from the arena of addresses,
 * and tables are put in place by compare and exchange.
 *
 * Cost.  Unmapping writes an entry and flushes its page from the own core's TLB.  Mapping writes an
 * entry; it flushes all TLBs first, but only if the address was unmapped after the last such flush
 * began.  One flush serves all addresses unmapped before it, so flushes are rare if addresses rest
 * before they are used again.
 */
#include "window.h"

#include "arena.h"
#include "ipi.h"
#include "layout.h"
#include "errors.h"
#include "lib/string.h"
#include "physical.h"
#include "lib/panic.h"
#include "machine.h"
#include "paging.h"
#include "x86.h"

#define PAGE_FLAGS (PTE_PRESENT | PTE_WRITE | PTE_NX)

#define STAMP_SHIFT 1

static size_t table_pages;

static uint64_t direct_phys(const void *p)
{
	return (uintptr_t)p - DIRECT_BASE;
}

/* The table that *entry leads to, allocated if there is none; NULL: no memory. */
static uint64_t *next_table(uint64_t *entry)
{
	uint64_t value = __atomic_load_n(entry, __ATOMIC_ACQUIRE), table;

	if (value & PTE_PRESENT)
		return direct_at(value & PTE_ADDRESS);
	table = (uintptr_t)arena_alloc(phys_arena, PORT_PAGE_SIZE, MEM_ATOMIC);
	if (!table)
		return NULL;
	memset(direct_at(table), 0, PORT_PAGE_SIZE);
	/* Release: the table is zero before it can be walked. */
	if (__atomic_compare_exchange_n(entry, &value, table | TABLE_FLAGS, false,
		    __ATOMIC_RELEASE, __ATOMIC_ACQUIRE)) {
		__atomic_fetch_add(&table_pages, 1, __ATOMIC_RELAXED);
		return direct_at(table);
	}
	arena_free(phys_arena, (void *)table, PORT_PAGE_SIZE);
	return direct_at(value & PTE_ADDRESS);
}

static __attribute__((noinline)) uint64_t *make_entry(uintptr_t address)
{
	uint64_t *table = paging_top;

	for (unsigned shift = TOP_SHIFT; table && shift > PORT_PAGE_SHIFT; shift -= LEVEL_BITS)
		table = next_table(paging_entry_in(table, address, shift));
	return table ? paging_entry_in(table, address, PORT_PAGE_SHIFT) : NULL;
}

static bool is_in_window(uintptr_t address)
{
	return address - WINDOW_BASE < WINDOW_SIZE && address % PORT_PAGE_SIZE == 0;
}

uintptr_t machine_direct_base(void)
{
	return DIRECT_BASE;
}

void machine_va_range(uintptr_t *start, size_t *size)
{
	*start = WINDOW_BASE;
	*size = WINDOW_SIZE;
}

int machine_map(uintptr_t va, void *page)
{
	uint64_t *entry, was;

	ASSERT(is_in_window(va));
	entry = paging_find_entry(va);
	if (__builtin_expect(!entry, 0) && !(entry = make_entry(va)))
		return -ENOMEM;
	was = __atomic_load_n(entry, __ATOMIC_RELAXED);
	if (was) {
		ASSERT(!(was & PTE_PRESENT));
		ipi_flush_until(was >> STAMP_SHIFT);
	}
	__atomic_store_n(entry, direct_phys(page) | PAGE_FLAGS, __ATOMIC_RELEASE);
	return 0;
}

/* The flush's number is read after the entry is cleared: a flush that began earlier won't do. */
void *machine_unmap(uintptr_t va)
{
	uint64_t *entry, was;

	ASSERT(is_in_window(va));
	entry = paging_find_entry(va);
	if (!entry || !(__atomic_load_n(entry, __ATOMIC_RELAXED) & PTE_PRESENT))
		return NULL;
	was = __atomic_exchange_n(entry, 0, __ATOMIC_SEQ_CST);
	flush_page(va);
	/* With one core, flush_page() has flushed the only TLB. */
	if (port_core_count() > 1)
		__atomic_store_n(entry, ipi_next_flush() << STAMP_SHIFT, __ATOMIC_RELAXED);
	return direct_at(was & PTE_ADDRESS);
}

size_t machine_table_pages(void)
{
	return __atomic_load_n(&table_pages, __ATOMIC_RELAXED);
}

bool window_map_fresh(uintptr_t address, size_t size)
{
	for (uintptr_t at = address; at < address + size; at += PORT_PAGE_SIZE) {
		uint64_t *entry = make_entry(at);
		void *page;

		if (!entry)
			return false;
		if (*entry & PTE_PRESENT)
			continue;
		page = base_zalloc(NULL, PORT_PAGE_SIZE, MEM_ATOMIC);
		if (!page)
			return false;
		*entry = direct_phys(page) | PAGE_FLAGS;
	}
	return true;
}
