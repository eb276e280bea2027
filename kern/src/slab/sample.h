/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the slab layer asks of samples (sample.c).
 */
#ifndef SPANDREL_SLAB_SAMPLE_H
#define SPANDREL_SLAB_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kmem_debug.h"

struct kmem_cache;

/* The first address that a sample can have, UINTPTR_MAX if there can be none.  Fixed at boot. */
extern uintptr_t sample_low;
extern uint64_t sample_every; /* kmem_sample(); atomic */

/* Whether it can be one: the hot path's question, two instructions (kmem_pair_64). */
static inline bool sample_may_be(const void *object)
{
	return __builtin_expect((uintptr_t)object >= sample_low, 0);
}

static inline bool sample_is_on(void)
{
	return __builtin_expect(__atomic_load_n(&sample_every, __ATOMIC_RELAXED) > 0, 0);
}

/* Whether the address is among those of samples, the pages between them included.  Before there is a pool it
 * may be, too, and isn't a sample's. */
bool sample_has(const void *at);
/* Whether there ever was one. */
bool sample_any(void);

/* A sample for an allocation of this cache, constructed; NULL: it is to be an ordinary one. */
void *sample_take(struct kmem_cache *c, unsigned flags, void *caller);
/* Takes one back; false, and nothing was done, if its address isn't among samples'.  Panics on a wrong free. */
bool sample_free(struct kmem_cache *c, void *object, void *caller);

/* For kmalloc's calls, named `what`, with an address among samples': its cache, one of kmalloc's.  Panics
 * unless it is a live object of such. */
struct kmem_cache *sample_cache(const void *p, const char *what, void *caller);
/* How many bytes were asked for; and that it is so many from now on, no more than it had.
 * Of a live one. */
size_t sample_size(const void *p);
void sample_resize(void *p, size_t size);

/* kmem_cache_history() of a sample of the cache, the last one at its place. */
bool sample_history(const struct kmem_cache *c, uintptr_t addr, struct kmem_history *h);
/* The first byte beside a live sample of the cache that was written, or 0.  No lock held. */
uintptr_t sample_verify(const struct kmem_cache *c);
/* Adds the cache's live samples to the tally of backtraces; returns how many. */
size_t sample_tally(const struct kmem_cache *c);

/* For the leak finder.  The range of addresses, and the memory that all of it takes; false: there is no pool. */
bool sample_range(uintptr_t *start, size_t *size);
bool sample_memory(uintptr_t *start, size_t *size);
size_t sample_slots(void);
/* Whether slot i < sample_slots() has a live sample of the cache, and then which. */
bool sample_in_slot(size_t i, const struct kmem_cache *c, uintptr_t *object, size_t *size);
/* Whether a live one begins at the address. */
bool sample_is_live(uintptr_t object);

#endif
