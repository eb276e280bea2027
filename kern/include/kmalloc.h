/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kmalloc: memory of any size, without a header.
 *
 *	char *text = kmalloc(length + 1, MEM_WAIT);
 *	kfree(text);
 *
 * Up to KMALLOC_CACHED_MAX bytes come from slab caches, four sizes to a doubling; larger ones
 * straight from kpages_arena.  What kfree() needs to know is in the page frame table.  Any core,
 * any context by flag (arena.h); in an NMI only what this core's magazine holds, else NULL, and
 * nothing is freed there (kmem_cache_free()).  Shortage is NULL by flag, never a panic.  A size or an
 * alignment for which the memory that there is at the call has no place, be it free or not, is NULL at once,
 * too, but by MEM_WAIT: there it is a caller's bug, and a panic.
 */
#ifndef SPANDREL_KMALLOC_H
#define SPANDREL_KMALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "port.h"

#define KMALLOC_CACHED_MAX (16 * PORT_PAGE_SIZE) /* bytes */

/* Memory of `size` bytes, aligned to 8, and to its size where that is a power of two.  0 bytes are
 * as good as 1: an address of the caller's own.  Cost: kmem_cache_alloc() and a table lookup; a
 * larger one, and one of more than a page for which no slab can be had, takes its pages and no more, by
 * arena_alloc(), a power of two by arena_xalloc(), and an entry for the first of them.  Only where that takes an index that can't be had (an atomic
 * call's, which may not build one), it takes up to its size more, as arena_alloc(), rather than
 * fail. */
void *kmalloc(size_t size, unsigned flags) __attribute__((malloc));

/* The same with every byte 0; for n things of `size` bytes, where too many to count are a size that has no
 * place. */
void *kzalloc(size_t size, unsigned flags) __attribute__((malloc));
void *kmalloc_array(size_t n, size_t size, unsigned flags) __attribute__((malloc));

/* The same, aligned to `align`, a power of two; above a page, unless a slab's objects are, by
 * arena_xalloc(), too, and then it may take up to `align` more.  Panics if it is none. */
void *kmalloc_align(size_t size, size_t align, unsigned flags) __attribute__((malloc));

/* Memory of `size` bytes that begins with what p held, as much of it as fits; p (NULL: nothing) is
 * no longer the caller's, unless the answer is NULL.  Stays in place where the size it has is good
 * for the new one, and between sizes beyond KMALLOC_CACHED_MAX, where it gives back the pages it doesn't
 * need, and gets more if those behind are free; then its alignment stays, too.  For less than it has it
 * never sleeps and never fails: it stays in place if there is no memory to move it to.  Size 0 is kfree(), and NULL.  Panics as kmalloc() and kfree() do. */
void *krealloc(void *p, size_t size, unsigned flags);

/* How many bytes the caller may use of what p is: at least what was asked for, in debug mode full no more.
 * Panics as kfree() does, on NULL, and inside an object; with a debug mode also on what is free, as krealloc()
 * does. */
size_t ksize(const void *p);

/* Whether addr lies in a kmalloc that no cache serves and that begins at a page of [from, addr]: true, and
 * where it begins and its size.  Context: any.  Cost: linear in the pages between. */
bool kmalloc_find_large(uintptr_t from, uintptr_t addr, uintptr_t *start, size_t *size);

/* Takes it back; NULL is nothing.  Panics on what didn't come from here, at once; on what did and is free, or
 * is inside an object, as kmem_cache_free() does; beyond KMALLOC_CACHED_MAX at once. */
void kfree(void *p);

/* Readies slab caches, quantum caches and kmalloc, and fronts the arenas made before that want it.
 * Context: boot, once, when kpages_arena stands.  Cost: a store, and 10 bytes of base_arena, for each 2 MiB (where a
 * page has 4 KiB) from that arena's first address to its last.  Panics if it has less memory, before base_arena or
 * kpages_arena stands, and when called again. */
void kmem_cache_init(void);

#endif
