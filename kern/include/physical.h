/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas for callers that care where memory lies.
 *
 *	void *ring = arena_alloc(dma32_arena, 4096, MEM_WAIT);        a device with 32 address lines reads it
 *	uint64_t table = (uint64_t)arena_alloc(phys_arena, 4096, MEM_ATOMIC);        a physical address
 *	void *array = arena_alloc(large_arena, bytes, MEM_ERROR);     2 MiB pages of the direct map
 *
 * All of them import from base_arena, those with a bound by arena_xalloc(), and are used like any
 * arena, by any core at any time.  Sizes are in bytes.
 */
#ifndef SPANDREL_PHYSICAL_H
#define SPANDREL_PHYSICAL_H

#include <stdint.h>

#include "arena.h"

/* Memory below 4 GiB, and below 16 MiB, of physical memory, for devices that can't reach more:
 * direct-map addresses.  The quantum is a cache line, so that a device shares no line with memory
 * that it doesn't write. */
extern struct arena *dma32_arena, *dma24_arena;

/* Pages by their physical addresses. */
extern struct arena *phys_arena;

/* Memory in pieces of 2 MiB, each on a multiple of 2 MiB of physical memory too, so that the direct
 * map's largest common pages cover it: direct-map addresses. */
extern struct arena *large_arena;
#define LARGE_PAGE_SIZE ((size_t)2 << 20)

/* Makes these arenas.  Context: boot, once, when base_arena stands.  Cost: constant.  Panics if
 * there is no memory for them. */
void physical_init(void);

/* The physical address of a byte of RAM, from an address that the base arena, or an allocation that is a sample
 * (kmem_sample.h), may have for it, and back to its address in the direct map.  Context: any.  Cost: constant. */
uint64_t physical_of(const void *ram);
void *physical_at(uint64_t phys);

#endif
