/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas for those who care where memory lies.
 *
 *	void *ring = arena_alloc(dma32_arena, 4096, MEM_WAIT);        a device with 32 address lines reads it
 *	uint64_t table = (uint64_t)arena_alloc(phys_arena, 4096, MEM_ATOMIC);        a physical address
 *	void *array = arena_alloc(large_arena, bytes, MEM_ERROR);     2 MiB pages of the direct map
 *
 * All import from base_arena, the constrained ones by arena_xalloc(), and are used like any arena.
 */
#ifndef SPANDREL_PHYSICAL_H
#define SPANDREL_PHYSICAL_H

#include <stdint.h>

#include "arena.h"

/* Memory below 4 GiB and below 16 MiB, direct-map addresses, in cache lines: for devices that can't
 * reach more, and no line is shared with what a device doesn't write. */
extern struct arena *dma32_arena, *dma24_arena;

/* Pages by their physical addresses. */
extern struct arena *phys_arena;

/* Memory in pieces of 2 MiB that start on a multiple of it in physical memory too, so that the
 * direct map's largest common pages cover it. */
extern struct arena *large_arena;
#define LARGE_PAGE_SIZE ((size_t)2 << 20)

/* Makes them.  Once, when base_arena stands. */
void physical_init(void);

/* Between the two kinds of address of RAM.  Any context; constant. */
uint64_t physical_of(const void *direct);
void *physical_at(uint64_t phys);

#endif
