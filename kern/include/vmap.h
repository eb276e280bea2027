/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings in the kernel's own virtual addresses: pages that lie anywhere, in one piece.
 *
 *	char *ring = vmap(pages, 16, MEM_WAIT);
 *	...
 *	vunmap(ring, 16);
 *
 *	struct row *rows = vmalloc(bytes, MEM_ERROR);
 *	...
 *	vfree(rows, bytes);
 *
 * Addresses come from vaddr_arena.  One that was unmapped rests a while before it is used again;
 * then the first mapping that would meet a stale translation has all cores forget all stale ones at
 * once (machine_map).  Any core may call these at any time.
 *
 * Context, of all: a thread or boot, interrupts on.  Cost: linear in the pages.  Flags, those of
 * arena_alloc() without a fit, are checked at entry: they panic if they aren't sound.
 */
#ifndef SPANDREL_VMAP_H
#define SPANDREL_VMAP_H

#include <stddef.h>

#include "arena.h"

extern struct arena *vaddr_arena; /* the range of machine_va_range() */

/* Makes vaddr_arena.  Once, when base_arena stands. */
void vmap_init(void);

/* Maps pages[0 .. n), pages of RAM by their direct-map addresses, n > 0, one behind the other,
 * readable and writable, and returns where; the pages stay the caller's.  Returns NULL, nothing
 * mapped, if addresses or page tables can't be had, by flag. */
void *vmap(void *const *pages, size_t n, unsigned flags);

/* Ends such a mapping.  Nobody may use it any more; cores may still see the pages for a while.
 * Panics if a page of it isn't mapped, or it was mapped as something else. */
void vunmap(void *at, size_t n);

/* Memory in one piece made of single pages of kpages_arena: size > 0, in bytes, rounded up to the
 * page.  Returns NULL by flag.  vfree() takes the same size. */
void *vmalloc(size_t size, unsigned flags);
void vfree(void *at, size_t size);

/* Gives the addresses that rest back to vaddr_arena.  Linear in cores. */
void vmap_drain(void);

#endif
