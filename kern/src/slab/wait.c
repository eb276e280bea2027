/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: allocations and reserves that sleep.
 *
 * They stand in the queue of the cache's source, as for a slab's worth of it, so a free in the
 * source may serve them.  They are the cache's clients there (arena/front.h): a freed object may
 * serve an allocation, and a slab that another request makes may serve a reserve.  While an
 * allocation waits, the cache is slow, so that what any core frees comes to the slab layer, where
 * it is seen.
 */
#include "slab_impl.h"

static struct kmem_cache *cache_of(struct arena_clients *clients)
{
	return container_of(clients, struct kmem_cache, clients);
}

static void set_waited(struct arena_clients *clients, bool waited)
{
	struct kmem_cache *c = cache_of(clients);

	__atomic_store_n(&c->is_waited, waited, __ATOMIC_RELAXED);
	magazine_set_slow(c, waited);
}

/* Destructors run. */
static void drain(struct arena_clients *clients)
{
	struct kmem_cache *c = cache_of(clients);

	magazine_drain_cores(c);
	magazine_drain_depot(c, true);
}

/* Relaxed: a free that comes just now wakes a waiter itself. */
static size_t objects(const struct arena_clients *clients)
{
	return __atomic_load_n(&cache_of((struct arena_clients *)clients)->objects_free, __ATOMIC_RELAXED);
}

/* No object serves a reserve, wherever it is. */
static void set_reserve_waited(struct arena_clients *reservers, bool waited)
{
}

static void drain_nothing(struct arena_clients *reservers)
{
}

static size_t no_objects(const struct arena_clients *reservers)
{
	return 0;
}

void slab_wait_init(struct kmem_cache *c)
{
	list_init(&c->clients.asleep);
	c->clients.set_slow = set_waited;
	c->clients.drain = drain;
	c->clients.objects = objects;
	list_init(&c->reservers.asleep);
	c->reservers.set_slow = set_reserve_waited;
	c->reservers.drain = drain_nothing;
	c->reservers.objects = no_objects;
	c->reservers.is_shared = true;
}

void slab_wait(struct kmem_cache *c, struct arena_clients *clients, bool (*try)(void *arg), void *arg,
	void *caller)
{
	if (!port_thread_self())
		kmem_bug(c, caller, "an object wanted with MEM_WAIT, and nothing runs that could free %s",
			"any");
	arena_wait(c->source, c->slab_size, try, arg, PORT_FOREVER, clients);
}

void slab_waiters_wake(struct kmem_cache *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		arena_clients_wake(c->source, &c->clients);
}

void slab_grown(struct kmem_cache *c)
{
	size_t n = __atomic_load_n(&c->reservers.count, __ATOMIC_RELAXED);

	if (slab_is_waited(c))
		slab_waiters_wake(c, 1);
	while (n-- > 0)
		arena_clients_wake(c->source, &c->reservers);
}
