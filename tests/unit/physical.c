/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas for callers to whom it matters where memory lies.
 */
#include "physical.h"

#include "boot.h"
#include "lib/string.h"
#include "machine.h"
#include "port.h"
#include "lib/test.h"

/* A machine whose memory begins higher has none. */
static bool has_low_memory(void)
{
	return physical_of((void *)boot_info->ram[0].start) + (1 << 20) <= 1 << 24;
}

TEST("physical: what devices with few address lines get lies where they reach")
{
	void *low, *high = arena_alloc(dma32_arena, 5000, MEM_WAIT);

	CHECK_LE(physical_of(high) + 5056, (uint64_t)1 << 32);
	memset(high, 2, 5000);
	arena_free(dma32_arena, high, 5000);
	if (!has_low_memory())
		return;
	low = arena_alloc(dma24_arena, 100, MEM_WAIT);
	CHECK_LE(physical_of(low) + 128, (uint64_t)1 << 24);
	memset(low, 1, 100);
	arena_free(dma24_arena, low, 100);
}

TEST("physical: a buffer for legacy DMA crosses no 64 KiB")
{
	struct arena *arena = has_low_memory() ? dma24_arena : dma32_arena;
	void *p[8];

	for (size_t i = 0; i < 8; i++) {
		p[i] = arena_xalloc(arena, 40000, 0, 0, 65536, 0, 0, MEM_WAIT);
		CHECK_EQ(physical_of(p[i]) / 65536, (physical_of(p[i]) + 39999) / 65536);
	}
	for (size_t i = 0; i < 8; i++)
		arena_xfree(arena, p[i], 40000);
}

TEST("physical: a page by its physical address is the page of the direct map")
{
	uint64_t phys = (uint64_t)(uintptr_t)arena_alloc(phys_arena, PORT_PAGE_SIZE, MEM_WAIT);
	unsigned char *page = physical_at(phys);

	CHECK_EQ(phys % PORT_PAGE_SIZE, 0);
	CHECK_EQ(physical_of(page), phys);
	memset(page, 3, PORT_PAGE_SIZE);
	arena_free(phys_arena, (void *)(uintptr_t)phys, PORT_PAGE_SIZE);
}

TEST("physical: large pages start on multiples of 2 MiB, and take no more")
{
	size_t before = arena_amt_free(base_arena);
	void *p = arena_alloc(large_arena, 3 * LARGE_PAGE_SIZE, MEM_ERROR);
	size_t taken = before - arena_amt_free(base_arena);

	if (!p)
		return; /* a machine with little memory */
	CHECK_EQ(physical_of(p) % LARGE_PAGE_SIZE, 0);
	CHECK_LE(taken, 3 * LARGE_PAGE_SIZE + 64 * PORT_PAGE_SIZE);
	arena_free(large_arena, p, 3 * LARGE_PAGE_SIZE);
}

TEST("physical: a device shares no line with memory that it doesn't write")
{
	int arenas = has_low_memory() ? 2 : 1;
	char *p[2];

	for (int i = 0; i < arenas; i++)
		p[i] = arena_alloc(i ? dma24_arena : dma32_arena, 1, MEM_WAIT);
	for (int i = 0; i < arenas; i++) {
		CHECK_EQ((uintptr_t)p[i] % PORT_LINE_SIZE, 0);
		CHECK((char *)physical_at(physical_of(p[i])) == p[i]);
		arena_free(i ? dma24_arena : dma32_arena, p[i], PORT_LINE_SIZE);
	}
}
