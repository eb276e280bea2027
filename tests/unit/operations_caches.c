/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations on caches.  The model is a list of each cache's objects, filled with bytes of their own where they
 * are memory.
 */
#include "operations.h"

#include "lib/string.h"
#include "lib/test.h"
#include "slab.h"

#define LIVE_MAX 150
#define BULK_MAX 24
#define OBJECT_MAX 20000
#define CONSTRUCTED 0xc5 /* the stamp of an object as its constructor leaves it */

static struct slot {
	struct kmem_cache *cache; /* NULL: there is none */
	size_t size, align;
	uint64_t source;
	bool is_memory, has_ctor;
	long constructed; /* objects that were, and weren't undone */
	struct {
		uintptr_t at;
		uint64_t stamp;
	} live[LIVE_MAX];
	size_t count, reserve;
} slots[OPERATION_CACHES];
static uint64_t next_stamp;

static int construct(void *object, void *priv, unsigned flags)
{
	struct slot *s = priv;

	if (s->is_memory)
		operations_fill(object, s->size, CONSTRUCTED);
	s->constructed++;
	return 0;
}

static void destruct(void *object, void *priv)
{
	struct slot *s = priv;

	if (s->is_memory)
		operations_verify(object, s->size, s->size, CONSTRUCTED);
	s->constructed--;
}

/* Objects */

static void keep(struct slot *s, void *object)
{
	uintptr_t at = (uintptr_t)object;
	struct kmem_object where;

	CHECK_EQ(at % s->align, 0);
	CHECK(kmem_cache_find(s->cache, at, &where));
	CHECK_EQ(where.object, at);
	CHECK(!where.is_free);
	for (size_t i = 0; i < s->count; i++)
		CHECK(at + s->size <= s->live[i].at || s->live[i].at + s->size <= at);
	if (s->is_memory && s->has_ctor)
		operations_verify(object, s->size, s->size, CONSTRUCTED);
	s->live[s->count].at = at;
	s->live[s->count].stamp = next_stamp;
	s->count++;
	if (s->is_memory)
		operations_fill(object, s->size, next_stamp);
	next_stamp++;
}

/* Takes the i-th out of the list, as it must be to be freed. */
static void *drop(struct slot *s, size_t i)
{
	void *object = (void *)s->live[i].at;

	if (s->is_memory)
		operations_verify(object, s->size, s->size, s->live[i].stamp);
	if (s->is_memory && s->has_ctor)
		operations_fill(object, s->size, CONSTRUCTED);
	s->live[i] = s->live[--s->count];
	return object;
}

/* An arena that isn't memory may have no more, for good. */
static bool may_refuse(const struct slot *s, unsigned flags)
{
	return !(flags & MEM_WAIT) && (operations_injected() || s->source >= OPERATION_FROM);
}

static void alloc(const struct operation *op, struct slot *s)
{
	unsigned flags = operations_flags(op, s->source < OPERATION_FROM) & MEM_FLAGS;
	void *objects[BULK_MAX];
	size_t n = op->size > BULK_MAX ? BULK_MAX : op->size, got = n;

	if (s->count + n > LIVE_MAX)
		return;
	if (n == 1)
		got = (objects[0] = kmem_cache_alloc(s->cache, flags)) != NULL;
	else
		got = kmem_cache_alloc_bulk(s->cache, objects, n, flags);
	CHECK(got == n || (got < n && may_refuse(s, flags)));
	for (size_t i = 0; i < got; i++)
		keep(s, objects[i]);
}

static void give(const struct operation *op, struct slot *s)
{
	void *objects[BULK_MAX];
	size_t n = op->size > BULK_MAX ? BULK_MAX : op->size;

	if (n > s->count)
		n = s->count;
	for (size_t i = 0; i < n; i++)
		objects[i] = drop(s, op->nth % s->count);
	if (n == 1)
		kmem_cache_free(s->cache, objects[0]);
	else
		kmem_cache_free_bulk(s->cache, objects, n);
}

static void reserve(const struct operation *op, struct slot *s)
{
	unsigned flags = operations_flags(op, s->source < OPERATION_FROM) & MEM_FLAGS;
	int error = kmem_cache_reserve(s->cache, op->size % LIVE_MAX, flags);

	CHECK(error == 0 || (error == -ENOMEM && may_refuse(s, flags)));
	if (error == 0)
		s->reserve = op->size % LIVE_MAX;
}

/* Create and destroy */

static void cache_begin(const struct operation *op, struct slot *s)
{
	struct arena *from = op->source >= OPERATION_FROM ? operations_arena(op->source - OPERATION_FROM) : NULL;
	unsigned flags = op->flags & (KMC_CHECK | KMC_FULL | KMC_NOTOUCH);
	bool ctor = op->flags & OPERATION_CTOR;

	if (s->cache || op->size == 0 || op->size > OBJECT_MAX || op->align > PORT_PAGE_SIZE ||
		(op->align & (op->align - 1)) || op->source >= OPERATION_FROM + OPERATION_ARENAS ||
		(op->source >= OPERATION_FROM && !from) ||
		(from && op->align && operations_quantum(op->source - OPERATION_FROM) % op->align))
		return;
	*s = (struct slot){.size = op->size, .source = op->source, .has_ctor = ctor,
		.is_memory = !from && !(flags & KMC_NOTOUCH), .align = op->align ? op->align : from ? 1 : 8};
	s->cache = kmem_cache_create("operations", op->size, op->align, from ? flags | KMC_NOTOUCH : flags, from,
		ctor ? construct : NULL, ctor ? destruct : NULL, s);
	CHECK(s->cache || operations_injected());
	if (s->cache && from)
		operations_draw(op->source - OPERATION_FROM, 1);
}

static void cache_end(struct slot *s)
{
	bool busy = s->count > 0;

	CHECK_EQ(kmem_cache_destroy(s->cache), busy ? -EBUSY : 0);
	if (busy)
		return;
	CHECK_EQ(s->constructed, 0);
	s->cache = NULL;
	if (s->source >= OPERATION_FROM)
		operations_draw(s->source - OPERATION_FROM, -1);
}

static void operate(const struct operation *op)
{
	struct slot *s = &slots[op->on % OPERATION_CACHES];

	if (op->kind == OP_CACHE_CREATE)
		cache_begin(op, s);
	else if (!s->cache)
		return;
	else if (op->kind == OP_CACHE_DESTROY)
		cache_end(s);
	else if (op->kind == OP_CACHE_ALLOC)
		alloc(op, s);
	else if (op->kind == OP_CACHE_FREE)
		give(op, s);
	else if (op->kind == OP_CACHE_REAP)
		kmem_cache_reap(s->cache, (enum kmem_pressure)(op->nth % (KMEM_REAP_ALL + 1)));
	else
		reserve(op, s);
}

static void settle(void)
{
	struct kmem_cache_stats stats;

	for (size_t i = 0; i < OPERATION_CACHES; i++) {
		struct slot *s = &slots[i];

		if (!s->cache)
			continue;
		kmem_cache_get_stats(s->cache, &stats);
		CHECK_EQ(stats.live, s->count);
		CHECK_EQ(stats.reserve, s->reserve);
		if (s->has_ctor)
			CHECK_EQ(s->constructed, stats.out);
	}
}

static void check(void)
{
	for (size_t i = 0; i < OPERATION_CACHES; i++) {
		struct slot *s = &slots[i];

		if (s->cache)
			CHECK_EQ(kmem_cache_check(s->cache, &console_sink), 0);
		for (size_t j = 0; s->cache && s->is_memory && j < s->count; j++)
			operations_verify((void *)s->live[j].at, s->size, s->size, s->live[j].stamp);
	}
}

static void begin(void)
{
	memset(slots, 0, sizeof(slots));
	next_stamp = 1;
}

static void end(void)
{
	for (size_t i = 0; i < OPERATION_CACHES; i++) {
		struct slot *s = &slots[i];

		while (s->cache && s->count > 0)
			kmem_cache_free(s->cache, drop(s, s->count - 1));
		if (s->cache)
			cache_end(s);
	}
}

const struct operation_family operations_on_caches = {begin, operate, settle, check, end};
