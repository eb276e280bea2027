/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: callers that count under a name what they hold.
 */
#include "owner.h"

#include "arena_impl.h"

static struct arena_owner *owners; /* the one that was listed last */

/* Once for each owner.  It is in the list before it counts anything. */
static void enter(struct arena_owner *o)
{
	if (__atomic_exchange_n(&o->is_listed, true, __ATOMIC_RELAXED))
		return;
	o->next = __atomic_load_n(&owners, __ATOMIC_RELAXED);
	/* Release: pairs with the acquire in arena_owner_next(). */
	while (!__atomic_compare_exchange_n(
		&owners, &o->next, o, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

void arena_owner_add(struct arena_owner *o, const struct arena *from, size_t size)
{
	if (from != *o->arena)
		return;
	if (!__atomic_load_n(&o->is_listed, __ATOMIC_RELAXED))
		enter(o);
	__atomic_fetch_add(&o->held, btag_round_up(&from->store, size), __ATOMIC_RELAXED);
}

void arena_owner_add_block(struct arena_owner *o, const struct arena *from, void *block, size_t size)
{
	o->block = (uintptr_t)block;
	o->block_size = btag_round_up(&from->store, size);
	arena_owner_add(o, from, size);
}

void arena_owner_sub(struct arena_owner *o, const struct arena *from, size_t size)
{
	if (from == *o->arena)
		__atomic_fetch_sub(&o->held, btag_round_up(&from->store, size), __ATOMIC_RELAXED);
}

const struct arena_owner *arena_owner_next(const struct arena_owner *o)
{
	return o ? o->next : __atomic_load_n(&owners, __ATOMIC_ACQUIRE);
}
