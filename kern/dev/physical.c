/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas of memory at certain physical addresses, and how they import spans from the base arena.
 */
#include "physical.h"

#include "kmem_sample.h"
#include "machine.h"

#define DMA32_END ((uint64_t)1 << 32)
#define DMA24_END ((uint64_t)1 << 24)

struct arena *dma32_arena, *dma24_arena, *phys_arena, *large_arena;

uint64_t physical_of(const void *ram)
{
	return machine_physical(kmem_sample_direct(ram));
}

void *physical_at(uint64_t phys)
{
	return (void *)(machine_direct_base() + phys);
}

/* Memory below an address */

static void *import_below(struct arena *source, size_t size, uint64_t end, unsigned flags)
{
	uintptr_t start = machine_direct_base();

	return arena_xalloc(source, size, 0, 0, 0, start, start + end, flags);
}

static void *dma32_import(struct arena *source, size_t size, unsigned flags)
{
	return import_below(source, size, DMA32_END, flags);
}

static void *dma24_import(struct arena *source, size_t size, unsigned flags)
{
	return import_below(source, size, DMA24_END, flags);
}

/* Physical addresses: those of spans of the source */

static void *phys_import(struct arena *source, size_t size, unsigned flags)
{
	void *span = arena_alloc(source, size, flags);

	return span ? (void *)(uintptr_t)physical_of(span) : NULL;
}

/* The source knows RAM by one of its addresses alone. */
static void phys_return(struct arena *source, void *addr, size_t size)
{
	void *span = physical_at((uintptr_t)addr), *other = machine_other_address(span);
	struct arena_segment s;

	if (other && !arena_find_segment(source, (uintptr_t)span, &s))
		span = other;
	arena_free(source, span, size);
}

/* Page tables that stand empty: their pages are of phys_arena. */
static size_t give_tables(void *priv, size_t bytes)
{
	return machine_tables_trim(bytes);
}

static struct arena *create_over_base(
	const char *name, size_t quantum, arena_alloc_fn afunc, arena_free_fn ffunc)
{
	return arena_create(name, NULL, 0, quantum, afunc, ffunc, base_arena, 0, MEM_WAIT);
}

void physical_init(void)
{
	dma32_arena = create_over_base("dma32", PORT_LINE_SIZE, dma32_import, arena_xfree);
	dma24_arena = create_over_base("dma24", PORT_LINE_SIZE, dma24_import, arena_xfree);
	phys_arena = create_over_base("phys", PORT_PAGE_SIZE, phys_import, phys_return);
	/* The direct map starts on a multiple of LARGE_PAGE_SIZE, so an address in it is aligned
	 * iff the physical address is. */
	arena_set_reclaim(phys_arena, give_tables, NULL);
	large_arena = create_over_base("large", LARGE_PAGE_SIZE, arena_alloc, arena_free);
}
