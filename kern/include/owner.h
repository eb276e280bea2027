/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Owners: what holds memory of an arena, by name, for people to read.
 *
 * Caches and importing arenas are known to the arena they draw on.  Other callers that hold much, or hold
 * it for long, count what they hold under a name of their own, so that the monitor's `top` can show it:
 *
 *	static struct arena_owner tables = ARENA_OWNER("page tables", phys_arena);
 *
 *	page = arena_alloc(phys_arena, PORT_PAGE_SIZE, MEM_ATOMIC);
 *	if (page)
 *		arena_owner_add(&tables, phys_arena, PORT_PAGE_SIZE);
 *	...
 *	arena_owner_sub(&tables, phys_arena, PORT_PAGE_SIZE);
 *	arena_free(phys_arena, page, PORT_PAGE_SIZE);
 *
 * An owner that adds after it has allocated, and subtracts before it frees, never counts more than it
 * holds.  Any core may call any of these functions at once.
 */
#ifndef SPANDREL_OWNER_H
#define SPANDREL_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

struct arena_owner {
	const char *name;
	struct arena *const *arena; /* points to a global that names it, which may be set later */
	uint64_t held; /* units, in whole quanta; atomic */
	bool is_listed; /* atomic */
	struct arena_owner *next;
	uintptr_t block; /* one that it has for good; 0: none is noted */
	size_t block_size;
};
/* Static: an owner stays as long as the kernel runs. */
#define ARENA_OWNER(name, arena) {name, &(arena), 0, false, NULL, 0, 0}

/* Counts that the owner has got an allocation of `size` units of `from`; nothing if that isn't the
 * owner's arena.  Context: any.  Cost: constant. */
void arena_owner_add(struct arena_owner *owner, const struct arena *from, size_t size);

/* Counts that it is about to free such an allocation.  Context: any.  Cost: constant. */
void arena_owner_sub(struct arena_owner *owner, const struct arena *from, size_t size);

/* The same of one block, `size` bytes at `block`, that it never frees, and notes where that is, so that the
 * monitor's `whatis` can name it.  Context: boot, once for an owner. */
void arena_owner_add_block(struct arena_owner *owner, const struct arena *from, void *block, size_t size);

/* Every owner that ever held anything, one after the other: NULL begins, NULL ends.  Context: any. */
const struct arena_owner *arena_owner_next(const struct arena_owner *owner);

#endif
