/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches in the arena tree: which draw slabs from which arena, one after the other, and
 * statistics.
 */
#include "lib/check.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "node.h"
#include "slab_impl.h"

static bool is_linked(const struct kmem_cache *c)
{
	return !list_empty(&c->source_link);
}

void add_importing_slab(struct arena *source, struct kmem_cache *c)
{
	bool linked;

	check_given("add_importing_slab", "source", source, __builtin_return_address(0));
	check_given("add_importing_slab", "cache", c, __builtin_return_address(0));
	sync_check_may_sleep("add_importing_slab", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	linked = is_linked(c);
	if (!linked)
		list_add_tail(arena_slabs(source), &c->source_link);
	qlock_unlock(&arenas_and_slabs_lock);
	if (linked)
		kmem_bug(c, __builtin_return_address(0), "already draws slabs from %s", arena_name(c->source));
}

void del_importing_slab(struct arena *source, struct kmem_cache *c)
{
	bool linked;

	check_given("del_importing_slab", "source", source, __builtin_return_address(0));
	check_given("del_importing_slab", "cache", c, __builtin_return_address(0));
	sync_check_may_sleep("del_importing_slab", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	linked = is_linked(c) && c->source == source;
	if (linked)
		list_del(&c->source_link);
	qlock_unlock(&arenas_and_slabs_lock);
	if (!linked)
		kmem_bug(c, __builtin_return_address(0), "draws no slabs from %s", arena_name(source));
}

void slab_await_passes(struct kmem_cache *c)
{
	qlock_lock(&arenas_and_slabs_lock);
	reclaim_await_refs(&c->asked);
	qlock_unlock(&arenas_and_slabs_lock);
}

bool slab_tree_leave(struct kmem_cache *c)
{
	bool leaves;

	qlock_lock(&arenas_and_slabs_lock);
	reclaim_await_refs(&c->asked);
	leaves = c->pins == 0;
	if (leaves)
		list_del(&c->source_link);
	qlock_unlock(&arenas_and_slabs_lock);
	return leaves;
}

/* Walks */

/* The cache behind c in the order of the tree; the first one for NULL.  Lock held. */
static struct kmem_cache *cache_after(const struct kmem_cache *c) SPANDREL_REQUIRES(&arenas_and_slabs_lock)
{
	struct arena *a = c ? c->source : arena_tree_next(NULL);
	struct list *l = c ? c->source_link.next : arena_slabs(a)->next;

	while (l == arena_slabs(a)) {
		a = arena_tree_next(a);
		if (!a)
			return NULL;
		l = arena_slabs(a)->next;
	}
	return list_entry(l, struct kmem_cache, source_link);
}

bool slab_is_cache(const struct kmem_cache *c)
{
	struct kmem_cache *other;

	qlock_lock(&arenas_and_slabs_lock);
	for (other = cache_after(NULL); other && other != c; other = cache_after(other))
		;
	qlock_unlock(&arenas_and_slabs_lock);
	return other;
}

/* The first at or behind l that fronts the arena, or doesn't; NULL: none. */
static struct kmem_cache *first_from(struct arena *a, struct list *l, bool quantum)
{
	for (; l != arena_slabs(a); l = l->next) {
		struct kmem_cache *c = list_entry(l, struct kmem_cache, source_link);

		if (!(c->flags & KMC_QCACHE) == !quantum)
			return c;
	}
	return NULL;
}

struct kmem_cache *slab_walk_next(struct arena *a, struct kmem_cache *c)
{
	bool quantum = c && (c->flags & KMC_QCACHE);
	struct kmem_cache *next = first_from(a, c ? c->source_link.next : arena_slabs(a)->next, quantum);

	return next || quantum ? next : first_from(a, arena_slabs(a)->next, true);
}

struct kmem_cache *slab_walk_all(struct kmem_cache *c)
{
	struct kmem_cache *next;

	qlock_lock(&arenas_and_slabs_lock);
	next = cache_after(c);
	if (next)
		next->asked.refs++;
	if (c)
		c->asked.refs--;
	qlock_unlock(&arenas_and_slabs_lock);
	return next;
}

/* Panics, the lock released, unless a walk stood on the cache. */
static void check_was_pinned(const struct kmem_cache *c, bool was_pinned, void *caller)
{
	if (!was_pinned)
		kmem_bug(c, caller, "a walk goes on from it that doesn't stand on it, %u do", c->pins);
}

struct kmem_cache *kmem_cache_next(struct kmem_cache *c)
{
	struct kmem_cache *next = NULL;
	bool is_pinned;

	sync_check_may_sleep("kmem_cache_next", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	is_pinned = !c || c->pins > 0;
	if (is_pinned)
		next = cache_after(c);
	if (next)
		next->pins++;
	if (c && is_pinned)
		c->pins--;
	qlock_unlock(&arenas_and_slabs_lock);
	check_was_pinned(c, is_pinned, __builtin_return_address(0));
	return next;
}

void kmem_cache_unpin(struct kmem_cache *c)
{
	bool was_pinned;

	check_given("kmem_cache_unpin", "cache", c, __builtin_return_address(0));
	sync_check_may_sleep("kmem_cache_unpin", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	was_pinned = c->pins > 0;
	c->pins -= was_pinned;
	qlock_unlock(&arenas_and_slabs_lock);
	check_was_pinned(c, was_pinned, __builtin_return_address(0));
}

/* Statistics */

/* Rounds of the magazine that is loaded.  One that is being exchanged may be read half. */
static __attribute__((no_sanitize("thread"))) size_t rounds_loaded(const struct kmem_core *core)
{
	const struct port_stack *s = &core->rounds.stack;
	size_t n = (size_t)(s->top - s->bottom);

	return n <= MAGAZINE_ROUNDS(MAGAZINE_CLASSES - 1) ? n : 0;
}

/* Cores go on counting: a sum is a moment's, not exact, and no race that matters. */
static __attribute__((noinline, no_sanitize("thread"))) void add_cores(
	const struct kmem_cache *c, struct kmem_cache_stats *s)
{
	s->depot_rounds = c->depot.full.rounds;
	for (unsigned i = 0; c->cores && i < port_core_count(); i++) {
		const struct kmem_core *core = &c->cores[i];

		s->core_rounds += rounds_loaded(core) + core->previous_rounds;
		s->allocs += core->rounds.allocs;
		s->frees += core->rounds.frees;
		s->alloc_misses += core->alloc_misses;
		s->free_misses += core->free_misses;
		s->failures += core->failures;
		s->depot_trips += core->depot_trips;
	}
	s->live = s->out > s->depot_rounds + s->core_rounds ? s->out - s->depot_rounds - s->core_rounds : 0;
	s->samples = __atomic_load_n(&c->samples, __ATOMIC_RELAXED);
	s->live += s->samples;
}

static void read_debug(struct kmem_cache *c, struct kmem_cache_stats *s)
{
	const struct kmem_debug *d = c->debug;

	s->is_checked = c->flags & KMC_CHECK;
	s->is_full = c->flags & KMC_FULL;
	s->is_failing = c->is_failing;
	if (c->flags & KMC_ZONES)
		s->zones = c->slabs * (c->lead + c->slab_objects * (c->stride - c->obj_size));
	if (!d)
		return;
	s->is_traced = __atomic_load_n(&d->is_tracing, __ATOMIC_RELAXED);
	s->tracked = slab_debug_tracked(c);
	s->untracked = __atomic_load_n(&d->untracked, __ATOMIC_RELAXED);
	s->quarantined = __atomic_load_n(&d->quarantined, __ATOMIC_RELAXED);
}

static void read_stats(struct kmem_cache *c, struct kmem_cache_stats *s)
{
	memset(s, 0, sizeof(*s));
	s->cache = c;
	s->source = c->source;
	str_copy(s->name, c->name, sizeof(s->name));
	str_copy(s->source_name, arena_name(c->source), sizeof(s->source_name));
	s->is_memory = c->is_memory;
	s->in_bytes = arena_in_bytes(c->source);
	s->is_front = c->flags & KMC_QCACHE;
	s->is_own = c->flags & KMC_META;
	s->is_frames = c->is_frames;
	s->is_inside = c->is_inside;
	s->is_notouch = c->flags & KMC_NOTOUCH;
	s->has_ctor = c->ctor || c->dtor;
	s->is_closed = c->cores && kmem_is_slow(c);
	s->obj_size = c->obj_size;
	s->stride = c->stride;
	s->align = c->align;
	s->lead = c->lead;
	s->slab_size = c->slab_size;
	s->slab_objects = c->slab_objects;
	s->slabs = c->slabs;
	s->slabs_empty = c->slabs_empty;
	s->objects = c->slabs * c->slab_objects;
	s->reserve = c->reserve;
	s->out = s->objects - c->objects_free - slab_debug_quarantined(c);
	s->slab_trips = c->trips;
	s->grows = c->grows;
	s->shrinks = c->shrinks;
	s->ctor_failures = __atomic_load_n(&c->ctor_failures, __ATOMIC_RELAXED);
	s->hash_buckets = c->is_frames ? 0 : c->hash.buckets;
	s->magazine_size = c->cores ? kmem_magazine_size(c) : 0;
	add_cores(c, s);
	s->total = c->slabs * c->slab_size;
	s->used = s->live * c->stride;
	read_debug(c, s);
}

void kmem_cache_get_stats(struct kmem_cache *c, struct kmem_cache_stats *s)
{
	port_irq_t irq;

	check_given("kmem_cache_get_stats", "cache", c, __builtin_return_address(0));
	check_given("kmem_cache_get_stats", "place for statistics", s, __builtin_return_address(0));
	irq = spin_lock(&c->lock);
	read_stats(c, s);
	spin_unlock(&c->lock, irq);
	irq = spin_lock(&c->depot.lock);
	s->depot_full = c->depot.full.count;
	s->depot_empty = c->depot.empty.count;
	spin_unlock(&c->depot.lock, irq);
}

#define FULLNESS_STEP 32 /* slabs for each lock hold */
_Static_assert(KMEM_FULLNESS == SLAB_PLACES, "one for each list of slabs");

/* Counts slabs from `at` on, a place in the list of all slabs that moves behind them; false at the end. */
static bool fullness_step(struct kmem_cache *c, struct slab *at, uint64_t *slabs)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct list *l = at->all_link.next;

	for (int i = 0; i < FULLNESS_STEP && l != &c->all; i++, l = l->next) {
		const struct slab *s = list_entry(l, struct slab, all_link);

		if (s->cache)
			slabs[s->place]++;
	}
	list_del(&at->all_link);
	if (l != &c->all)
		list_insert_before(l, &at->all_link);
	spin_unlock(&c->lock, irq);
	return l != &c->all;
}

void kmem_cache_get_fullness(struct kmem_cache *c, uint64_t slabs[KMEM_FULLNESS])
{
	struct slab at = {.cache = NULL};
	port_irq_t irq;

	check_given("kmem_cache_get_fullness", "cache", c, __builtin_return_address(0));
	check_given("kmem_cache_get_fullness", "list of counts", slabs, __builtin_return_address(0));
	memset(slabs, 0, KMEM_FULLNESS * sizeof(slabs[0]));
	irq = spin_lock(&c->lock);
	list_add(&c->all, &at.all_link);
	spin_unlock(&c->lock, irq);
	while (fullness_step(c, &at, slabs))
		;
}

size_t kmem_cache_rows(struct kmem_cache_stats *rows, size_t max)
{
	size_t n = 0;

	if (max > 0)
		check_given("kmem_cache_rows", "list of rows", rows, __builtin_return_address(0));
	sync_check_may_sleep("kmem_cache_rows", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	for (struct kmem_cache *c = cache_after(NULL); c; c = cache_after(c), n++)
		if (n < max)
			kmem_cache_get_stats(c, &rows[n]);
	qlock_unlock(&arenas_and_slabs_lock);
	return n;
}

void kmem_cache_peek(const struct arena *source,
	void (*fn)(const struct kmem_cache_stats *row, void *arg), void *arg)
{
	struct kmem_cache *c;

	list_for_each_entry (c, arena_slabs(source), source_link) {
		struct kmem_cache_stats row;

		if (panic_happened())
			read_stats(c, &row);
		else
			kmem_cache_get_stats(c, &row);
		fn(&row, arg);
	}
}

/* Where an address lies */

bool kmem_cache_find(struct kmem_cache *c, uintptr_t addr, struct kmem_object *where)
{
	port_irq_t irq;
	struct slab *s;
	bool found;

	check_given("kmem_cache_find", "cache", c, __builtin_return_address(0));
	check_given("kmem_cache_find", "place for an object", where, __builtin_return_address(0));
	irq = spin_lock(&c->lock);
	s = slab_find(c, addr);
	found = s && s->cache == c;
	if (found) {
		size_t index = (addr - s->base) / c->stride;

		*where = (struct kmem_object){.slab = slab_start(c, s), .index = index};
		if (addr >= s->base && index < c->slab_objects) {
			where->object = s->base + index * c->stride;
			where->is_free = bitmap_test(s->map, index) ||
					 slab_debug_is_quarantined(c, where->object);
		}
	}
	spin_unlock(&c->lock, irq);
	return found;
}
