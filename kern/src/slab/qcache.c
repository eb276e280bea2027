/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Quantum caches: an arena's small sizes, a cache for each multiple of the quantum up to
 * qcache_max.  Blocks of a power of two start at multiples of their size, but for those that the arena
 * served itself.
 *
 * The arena pops and pushes what a core has loaded of them itself, and calls a front's functions
 * when that has no round or no room.
 *
 * Their slabs are segments of the same arena, taken past its front, so the arena's own lock is
 * taken once for a slab's worth.  They are asked atomically: when no slab can be had, the arena
 * serves the request itself, and a free whose address lies in no slab goes to the arena, which
 * knows it or panics (slab.c).  Objects are never touched, so the arena may hand out anything.
 *
 * Where every free is to be looked up at once there are none (kmem_debug.h): the arena does it itself.
 */
#include "kmem_debug.h"
#include "lib/panic.h"
#include "owner.h"
#include "slab_impl.h"

struct qcaches {
	struct arena_front front;
	struct arena *arena;
	size_t bytes; /* of this, whole pages of the base arena */
	size_t count;
	struct arena_rounds **rounds; /* the caches', behind them */
	struct kmem_cache cache[]; /* the i-th: i + 1 quanta */
};

#define BYTES_EACH (sizeof(struct kmem_cache) + sizeof(struct arena_rounds *))

static struct arena_owner fronts = ARENA_OWNER("quantum caches", base_arena);

static struct qcaches *qcaches_of(struct arena_front *f)
{
	return container_of(f, struct qcaches, front);
}

static void *front_alloc(struct arena_front *f, size_t class)
{
	return kmem_alloc_slow(&qcaches_of(f)->cache[class], MEM_ATOMIC, __builtin_return_address(0));
}

static void front_free(struct arena_front *f, void *addr, size_t class, void *caller)
{
	kmem_free_slow(&qcaches_of(f)->cache[class], addr, caller);
}

static size_t front_drain(struct arena_front *f, unsigned level)
{
	struct qcaches *q = qcaches_of(f);
	size_t units = 0;

	for (size_t i = 0; i < q->count; i++)
		units += kmem_cache_reap(&q->cache[i], KMEM_REAP_IDLE + level - 1);
	return units;
}

static void front_set_slow(struct arena_front *f, bool slow)
{
	struct qcaches *q = qcaches_of(f);

	for (size_t i = 0; i < q->count; i++)
		magazine_set_slow(&q->cache[i], slow);
	if (slow)
		front_drain(f, ARENA_DRAIN_ALL);
}

static void front_usage(struct arena_front *f, size_t *held, size_t *live)
{
	struct qcaches *q = qcaches_of(f);

	*held = *live = 0;
	for (size_t i = 0; i < q->count; i++) {
		size_t out = slab_objects_out(&q->cache[i], held);

		*live += out * q->cache[i].stride;
	}
}

/* Takes the caches out of the tree, all or none of them. */
static bool leave_tree(struct qcaches *q)
{
	size_t left = 0;

	while (left < q->count && slab_tree_leave(&q->cache[left]))
		left++;
	if (left == q->count)
		return true;
	while (left-- > 0)
		add_importing_slab(q->arena, &q->cache[left]);
	return false;
}

static int front_destroy(struct arena_front *f)
{
	struct qcaches *q = qcaches_of(f);
	size_t held = 0, live;

	front_usage(f, &held, &live);
	if (live > 0 || !leave_tree(q))
		return -EBUSY;
	for (size_t i = 0; i < q->count; i++)
		if (slab_end(&q->cache[i]))
			panic("arena %s: used while it is being destroyed", arena_name(q->arena));
	arena_owner_sub(&fronts, arena_base(q->arena), q->bytes);
	base_free(q->arena, q, q->bytes);
	return 0;
}

/* Stops where memory ends. */
static void make_caches(struct qcaches *q, size_t count)
{
	char name[KMEM_NAME_MAX];

	for (; q->count < count; q->count++) {
		ksnprintf(name, sizeof(name), "%s-%zu", arena_name(q->arena), q->count + 1);
		if (!slab_create_own(&q->cache[q->count], name, (q->count + 1) * arena_quantum(q->arena),
			    KMC_NOTOUCH | KMC_QCACHE, q->arena))
			break;
		q->rounds[q->count] = &q->cache[q->count].cores->rounds;
	}
}

static struct arena_front *front_create(struct arena *a)
{
	size_t count = arena_qcache_max(a) / arena_quantum(a);
	size_t bytes = sizeof(struct qcaches);
	struct arena_rounds **rounds;
	size_t product;
	struct qcaches *q;

	if (kmem_debug_checks() || __builtin_mul_overflow(arena_qcache_max(a), arena_quantum(a), &product) ||
		count > SIZE_MAX / 2 / BYTES_EACH)
		return NULL;
	bytes += count * BYTES_EACH;
	bytes = (bytes + PORT_PAGE_SIZE - 1) & ~(PORT_PAGE_SIZE - 1);
	q = base_alloc(a, bytes, MEM_ATOMIC);
	if (!q)
		return NULL;
	arena_owner_add(&fronts, arena_base(a), bytes);
	rounds = (struct arena_rounds **)&q->cache[count];
	*q = (struct qcaches){
		.front = {rounds, front_alloc, front_free, front_drain, front_set_slow,
			front_usage, front_destroy, count},
		.arena = a,
		.bytes = bytes,
		.rounds = rounds,
	};
	make_caches(q, count);
	if (q->count == count)
		return &q->front;
	front_destroy(&q->front);
	return NULL;
}

void qcache_init(void)
{
	arena_front_install(front_create);
}
