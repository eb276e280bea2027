/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings in the kernel's own virtual addresses: pages from anywhere, one behind the other.
 *
 *	char *ring = vmap(pages, 16, MEM_WAIT);
 *	...
 *	vunmap(ring, 16);
 *
 *	struct row *rows = vmalloc(bytes, MEM_ERROR);
 *	...
 *	vfree(rows, bytes);
 *
 * Addresses come from vaddr_arena.  An address that was unmapped rests for a while before it is
 * used again; the first mapping that could then meet a stale translation has all cores forget all
 * stale ones at once (machine_map).  Any core may call these functions at any time.
 *
 * Context: a thread or boot, interrupts on, since they may wait for other cores, which is checked at
 * entry; vunmap() and vfree(): any but an NMI.  Cost: linear in the pages.  Flags are exactly one of
 * MEM_ATOMIC, MEM_WAIT and MEM_ERROR (arena.h), which is checked at entry.
 */
#ifndef SPANDREL_VMAP_H
#define SPANDREL_VMAP_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"

extern struct arena *vaddr_arena; /* the range of machine_va_range(), by the page */

/* Makes vaddr_arena.  Context: boot, once, when base_arena stands.  Cost: linear in cores.  Panics
 * if there is no memory for it. */
void vmap_init(void);

/*
 * Maps pages[0 .. n), pages of RAM by their direct-map addresses, n > 0, one behind the other,
 * readable and writable.  The pages stay the caller's.  Returns the address of the first; or NULL,
 * by flag, with nothing mapped, if there are no addresses or no memory for page tables; at once,
 * without a look at the list, if n is more than the whole range holds.  Panics, with nothing changed,
 * on n = 0, on what is no page of the direct map, on flags that aren't exactly one of the three, and
 * on MEM_WAIT where sleeping is illegal or n is more than the range holds.
 */
void *vmap(void *const *pages, size_t n, unsigned flags);

/* Ends the mapping of n pages at `at`, which vmap() returned for n pages.  It may not be used any
 * more; cores may still reach the pages by it for a while.  Panics, with nothing changed, unless `at`
 * and n are those of a mapping of vmap()'s that stands: on NULL, an address inside one, another
 * number of pages, one that was unmapped already, or vmalloc()'s. */
void vunmap(void *at, size_t n);

/* Maps single pages of kpages_arena as memory of `size` bytes in one piece; size > 0 is rounded up
 * to the page.  Returns and panics as vmap() does, also if there are no pages;
 * and on MEM_WAIT for more than all memory. */
void *vmalloc(size_t size, unsigned flags);

/* Takes back memory of vmalloc(size, ...).  Panics as vunmap() does, on all but a mapping of
 * vmalloc()'s; sizes that round up to the same number of pages are the same. */
void vfree(void *at, size_t size);

/* Which of the two has mapped the page at `at`: "vmap" or "vmalloc"; NULL if neither has.  Context: any but an
 * NMI.  Cost: constant. */
const char *vmap_kind(uintptr_t at);

/* Gives the addresses that rest back to vaddr_arena.  Cost: linear in cores, each of which is
 * stopped at a safe point. */
void vmap_drain(void);

#endif
