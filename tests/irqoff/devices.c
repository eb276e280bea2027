/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Vectors, mappings and their page tables, physical addresses.
 */
#include "drive.h"
#include "irq.h"
#include "machine.h"
#include "physical.h"
#include "lib/test.h"
#include "vmap.h"

#define PAGES 600 /* more than a page table maps */
#define TABLES 200 /* page tables that stand empty at once */
#define TABLE_PAGES 512
#define ROUNDS 4
#define BLOCK 32 /* vectors */

static void ignore(void *arg)
{
}

static void vectors(void)
{
	static unsigned all[MACHINE_VECTOR_COUNT];
	static struct irq_request requests[BLOCK];
	struct irq_info info;
	port_irq_t irq;
	unsigned n = 0, block;

	for (size_t i = 0; i < BLOCK; i++)
		requests[i] = (struct irq_request){"driven", ignore, NULL};
	CHECK(block = irq_alloc_block(requests, BLOCK));
	irq_free_block(block, BLOCK);
	while (n < MACHINE_VECTOR_COUNT && (all[n] = irq_alloc("driven", ignore, NULL)))
		n++;
	irq_set_route(all[0], "%s", "nowhere");
	irq = port_irq_save();
	CHECK(irq_handle(all[0]));
	port_irq_restore(irq);
	for (unsigned from = 0; irq_next(from, &info); from = info.vector + 1)
		;
	irq_core_count(0);
	while (n > 0)
		irq_free(all[--n]);
}

static void mappings(void)
{
	static void *pages[PAGES];

	for (size_t i = 0; i < PAGES; i++)
		pages[i] = base_alloc(NULL, PORT_PAGE_SIZE, MEM_WAIT);
	for (int i = 0; i < ROUNDS; i++)
		vunmap(vmap(pages, PAGES, MEM_WAIT), PAGES);
	for (size_t i = 0; i < PAGES; i++)
		base_free(NULL, pages[i], PORT_PAGE_SIZE);
	CHECK(!vmap_kind(0));
	for (int i = 0; i < ROUNDS; i++)
		vfree(vmalloc(PAGES * PORT_PAGE_SIZE, MEM_WAIT), PAGES * PORT_PAGE_SIZE);
	vmap_drain();
	machine_tables_trim(SIZE_MAX);
}

/* Many page tables stand empty: one goes, then the others. */
static void tables(void)
{
	static void *pages[TABLE_PAGES], *at[TABLES];

	for (size_t i = 0; i < TABLE_PAGES; i++)
		pages[i] = i ? pages[0] : base_alloc(NULL, PORT_PAGE_SIZE, MEM_WAIT);
	for (size_t i = 0; i < TABLES; i++)
		CHECK(at[i] = vmap(pages, TABLE_PAGES, MEM_WAIT));
	for (size_t i = 0; i < TABLES; i++)
		vunmap(at[i], TABLE_PAGES);
	machine_tables_trim(PORT_PAGE_SIZE);
	CHECK_LE((TABLES / 2) * PORT_PAGE_SIZE, machine_tables_trim(SIZE_MAX));
	arena_reap(phys_arena, SIZE_MAX);
	base_free(NULL, pages[0], PORT_PAGE_SIZE);
}

/* Lines, pages and large pages of arenas that import with constraints. */
static void physical(void)
{
	struct arena *const arenas[] = {dma32_arena, dma24_arena, phys_arena, large_arena};
	static const size_t sizes[] = {PORT_PAGE_SIZE, 64, PORT_PAGE_SIZE, LARGE_PAGE_SIZE};

	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < sizeof(arenas) / sizeof(arenas[0]); i++) {
			void *p = arena_alloc(arenas[i], sizes[i], MEM_ERROR);

			if (p && arenas[i] != phys_arena)
				CHECK(physical_at(physical_of(p)) == p);
			if (p)
				arena_free(arenas[i], p, sizes[i]);
			arena_reap(arenas[i], SIZE_MAX);
		}
	}
}

void drive_devices(void)
{
	vectors();
	mappings();
	tables();
	physical();
}
