/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings in the kernel's own virtual addresses: they show pages from anywhere as one range.
 *
 *	char *ring = vmap(pages, 16, MEM_WAIT);
 *	...
 *	vunmap(ring, 16);
 *
 *	struct row *rows = vmalloc(bytes, MEM_ERROR);
 *	...
 *	vfree(rows, bytes);
 *
 * Addresses come from vaddr_arena.  After an unmapping they rest for a while before they are used
 * again; the first mapping that could meet a stale translation then flushes the TLBs of all cores,
 * for all unmappings so far (machine_map).  All cores may call these functions at the same time.
 *
 * Context, of all: a thread or boot, interrupts on.  Cost: linear in the pages.  `flags` is one
 * memory flag, as for arena_alloc(), without a fit.  Panics if it isn't, and if it is MEM_WAIT
 * where sleeping is illegal, even when there is no need to sleep.
 */
#ifndef SPANDREL_VMAP_H
#define SPANDREL_VMAP_H

#include <stddef.h>

#include "arena.h"

extern struct arena *vaddr_arena; /* the range of machine_va_range() */

/* Creates vaddr_arena.  Context: boot, once, after base_arena. */
void vmap_init(void);

/* Maps pages[0 .. n), n > 0, one behind the other, readable and writable, and returns where.  Pages
 * are pages of RAM, by their direct-map addresses, and stay the caller's.  Returns NULL, nothing
 * mapped, if there are no addresses or no memory for page tables, by flag. */
void *vmap(void *const *pages, size_t n, unsigned flags);

/* Ends a mapping of n pages, which may not be used any more; cores may still see the pages for a
 * while.  Panics if a page of it isn't mapped, or, perhaps later, if these n pages aren't a whole
 * mapping. */
void vunmap(void *at, size_t n);

/* Allocates `size` bytes, size > 0, rounded up to pages, as a mapping of single pages of
 * kpages_arena.  Returns NULL by flag. */
void *vmalloc(size_t size, unsigned flags);

/* Frees it; `size` as given to vmalloc(). */
void vfree(void *at, size_t size);

/* Gives addresses that rest back to vaddr_arena.  Linear in cores. */
void vmap_drain(void);

#endif
