/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What arenas tell the slab layer.
 */
#include "front.h"

#include "arena_impl.h"

void arena_front_install(struct arena_front *(*create)(struct arena *a))
{
	arena_front_create = create;
	for (struct arena *a = all_arenas; a; a = a->all_next)
		if (a->qcache_max > 0)
			arena_set_front(a, create(a));
}

const char *arena_name(const struct arena *a)
{
	return a->name;
}

size_t arena_quantum(const struct arena *a)
{
	return a->store.quantum;
}

size_t arena_qcache_max(const struct arena *a)
{
	return a->qcache_max;
}

bool arena_is_memory(const struct arena *a)
{
	return a->is_memory;
}

bool arena_in_bytes(const struct arena *a)
{
	return a->is_memory || a->store.quantum % PORT_PAGE_SIZE == 0;
}

struct arena *arena_base(const struct arena *a)
{
	return a->base;
}

struct arena *arena_direct_base(const struct arena *a)
{
	for (; !arena_is_base(a); a = a->source)
		if (a->store.quantum % PORT_PAGE_SIZE || !a->source || a->source == a ||
			a->afunc != arena_alloc)
			return NULL;
	return a->base;
}

struct list *arena_slabs(const struct arena *a)
{
	return (struct list *)&a->slabs;
}
