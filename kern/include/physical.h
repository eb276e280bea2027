/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas of memory at certain physical addresses.
 *
 *	a device with 32 address lines reads it:
 *		void *ring = arena_alloc(dma32_arena, 4096, MEM_WAIT);
 *	a physical address:
 *		uint64_t table = (uint64_t)arena_alloc(phys_arena, 4096, MEM_ATOMIC);
 *	in 2 MiB pages of the direct map:
 *		void *array = arena_alloc(large_arena, bytes, MEM_ERROR);
 *
 * All import from base_arena and are used like any arena.
 */
#ifndef SPANDREL_PHYSICAL_H
#define SPANDREL_PHYSICAL_H

#include <stdint.h>

#include "arena.h"

/* Memory below 4 GiB and below 16 MiB, by direct-map addresses, for devices that can't reach more.
 * The quantum is a cache line, so a device's memory shares no line with other memory. */
extern struct arena *dma32_arena, *dma24_arena;

/* Pages, by their physical addresses. */
extern struct arena *phys_arena;

/* Memory in units of 2 MiB, aligned to 2 MiB in the direct map and in physical memory, so that the
 * direct map can map it by large pages. */
extern struct arena *large_arena;
#define LARGE_PAGE_SIZE ((size_t)2 << 20)

/* Creates these arenas.  Context: boot, once, after base_arena. */
void physical_init(void);

/* Translate between direct-map and physical addresses of RAM.  Any context; constant. */
uint64_t physical_of(const void *direct);
void *physical_at(uint64_t phys);

#endif
