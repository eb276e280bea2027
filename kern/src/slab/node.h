/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches as nodes of a reclaim walk.  kern/src/reclaim* alone includes it beside slab/.
 */
#ifndef SPANDREL_SLAB_NODE_H
#define SPANDREL_SLAB_NODE_H

#include "arena/queue.h"
#include "slab.h"

/* The next cache behind c that draws on `a`, the first for NULL; NULL at the end.  First those of
 * callers, then those that front the arena, which keep what the others give back.
 * arenas_and_slabs_lock is held. */
struct kmem_cache *slab_walk_next(struct arena *a, struct kmem_cache *c)
	SPANDREL_REQUIRES(&arenas_and_slabs_lock);
struct reclaim_account *slab_reclaim_account(struct kmem_cache *c);

/* Gives back what the cache holds idle, by level (reclaim.h), up to about `amount` units.  Returns the
 * units that went to the source.  No lock held. */
size_t slab_reclaim(struct kmem_cache *c, unsigned level, size_t amount);
/* Its owner's callback, or NULL. */
size_t (*slab_owner(struct kmem_cache *c, void **priv))(void *priv, size_t bytes);

const char *slab_name(const struct kmem_cache *c);
bool slab_in_bytes(const struct kmem_cache *c);

/* Gives leaves of the page frame table that stand empty back to base_arena; returns the bytes. */
size_t slab_table_trim(void);

#endif
