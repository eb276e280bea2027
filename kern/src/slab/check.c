/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: every invariant of slab.c, checked.
 */
#include "lib/bitmap.h"
#include "lib/check.h"
#include "lib/panic.h"
#include "slab_impl.h"

#define CHECK_TRIES 8
#define CHECK_STEP 4	   /* slabs for each lock hold: they have up to a page of objects each */
#define CHECK_PAGES 8
#define DEPOT_STEP 64	   /* magazines */

struct check {
	struct kmem_cache *cache;
	uint64_t changes; /* of the slab layer when it began */
	bool is_whole;	  /* nothing had changed when it ended, so that sums were compared */
	size_t slabs, free, empty;
	int failed; /* number of the invariant; 0: none yet */
	const char *what;
	uintptr_t where;
};

static void fail(struct check *c, int invariant, const char *what, uintptr_t where)
{
	if (c->failed)
		return;
	c->failed = invariant;
	c->what = what;
	c->where = where;
}

static void check_map(struct check *c, const struct slab *s)
{
	size_t words = BITMAP_WORDS(c->cache->slab_objects);

	if (bitmap_count(s->map, words * 64) != s->free ||
		bitmap_count(s->map, c->cache->slab_objects) != s->free)
		fail(c, 1, "a slab's map has not as many bits as objects are free", s->base);
}

static void check_place(struct check *c, const struct slab *s)
{
	const uint32_t *last = c->cache->place_last;

	if (s->free > last[s->place] || (s->place > SLAB_FULL && s->free <= last[s->place - 1]))
		fail(c, 2, "a slab is in the list of another fullness", s->base);
	if ((s->place == SLAB_FULL) != list_empty(&s->link))
		fail(c, 2, "a full slab is in a list, or another in none", s->base);
}

/* Of a slab of many pages CHECK_PAGES are looked up, evenly far apart. */
static size_t pages_between(size_t slab_size)
{
	return (slab_size / CHECK_PAGES / PORT_PAGE_SIZE + 1) * PORT_PAGE_SIZE;
}

static void check_found(struct check *c, const struct slab *s)
{
	struct kmem_cache *k = c->cache;
	size_t step = k->is_frames ? pages_between(k->slab_size) : k->slab_size > 1 ? k->slab_size - 1 : 1;

	if (s->cache != k)
		fail(c, 3, "a slab names another cache", s->base);
	for (size_t offset = 0; offset < k->slab_size; offset += step)
		if (slab_find(k, slab_start(k, s) + offset) != s)
			fail(c, 3, "a slab isn't found under an address of its own", slab_start(k, s) + offset);
}

static void check_slab(struct check *c, const struct slab *s)
{
	check_map(c, s);
	check_place(c, s);
	check_found(c, s);
	c->slabs++;
	c->free += s->free;
	c->empty += s->free == c->cache->slab_objects;
}

/* Moves `at`, a place in the list of all slabs, past CHECK_STEP of them; false at the end. */
static bool check_step(struct check *c, struct slab *at)
{
	struct kmem_cache *k = c->cache;
	port_irq_t irq = spin_lock(&k->lock);
	struct list *l = at->all_link.next;

	for (int i = 0; i < CHECK_STEP && l != &k->all; i++, l = l->next) {
		const struct slab *s = list_entry(l, struct slab, all_link);

		if (s->cache)
			check_slab(c, s);
	}
	list_del(&at->all_link);
	list_insert_before(l, &at->all_link);
	spin_unlock(&k->lock, irq);
	return l != &k->all && !c->failed;
}

static void check_sums(struct check *c)
{
	struct kmem_cache *k = c->cache;
	port_irq_t irq = spin_lock(&k->lock);

	c->is_whole = k->changes == c->changes;
	if (c->is_whole) {
		if (c->slabs != k->slabs || c->empty != k->slabs_empty)
			fail(c, 4, "the number of slabs isn't the one on record", c->slabs);
		if (c->free != k->objects_free)
			fail(c, 4, "the sum of free objects isn't the one on record", c->free);
	}
	if (k->slabs * k->slab_objects < k->reserve)
		fail(c, 5, "slabs for the reserve are missing", k->reserve);
	spin_unlock(&k->lock, irq);
}

/* Counts a list of the depot and how many rounds are in it; at most DEPOT_STEP magazines. */
static void check_magazines(struct check *c, const struct magazine_list *l, bool full)
{
	size_t n = 0;
	const struct magazine *m;

	for (m = l->head; m && n < DEPOT_STEP; m = m->next, n++)
		if (m->count != (full ? m->size : 0))
			fail(c, 6, "a magazine of the depot is neither full nor empty as its list says",
				(uintptr_t)m);
	if (m ? l->count <= n : l->count != n)
		fail(c, 6, "the number of magazines isn't the one on record", l->count);
	if (l->least > l->count)
		fail(c, 6, "a list never held as few magazines as it has", l->least);
}

static void check_depot(struct check *c)
{
	port_irq_t irq = spin_lock(&c->cache->depot.lock);

	check_magazines(c, &c->cache->depot.full, true);
	check_magazines(c, &c->cache->depot.empty, false);
	spin_unlock(&c->cache->depot.lock, irq);
}

/* Verifies some objects of the slab behind `at`, which moves past that when it was all of them; false at the end. */
static bool verify_step(struct check *c, struct slab *at, const struct slab **slab, size_t *next)
{
	struct kmem_cache *k = c->cache;
	port_irq_t irq = spin_lock(&k->lock);
	struct list *l = at->all_link.next;
	const struct slab *s = l != &k->all ? list_entry(l, struct slab, all_link) : NULL;
	uintptr_t wrong = 0;

	if (s != *slab)
		*next = 0;
	*slab = s;
	if (s && s->cache)
		wrong = slab_debug_verify(k, s, next);
	if (s && *next == 0) {
		list_del(&at->all_link);
		list_add(l, &at->all_link);
	}
	spin_unlock(&k->lock, irq);
	if (wrong)
		fail(c, 7, "memory beside an object, or in a free one, was written", wrong);
	return s && !c->failed;
}

static void check_patterns(struct check *c)
{
	struct kmem_cache *k = c->cache;
	struct slab at = {.cache = NULL};
	const struct slab *slab = NULL;
	size_t next = 0;
	port_irq_t irq = spin_lock(&k->lock);

	list_add(&k->all, &at.all_link);
	spin_unlock(&k->lock, irq);
	while (verify_step(c, &at, &slab, &next))
		;
	irq = spin_lock(&k->lock);
	list_del(&at.all_link);
	spin_unlock(&k->lock, irq);
}

static void check_once(struct check *c)
{
	struct kmem_cache *k = c->cache;
	struct slab at = {.cache = NULL};
	port_irq_t irq = spin_lock(&k->lock);

	c->changes = k->changes;
	list_add(&k->all, &at.all_link);
	spin_unlock(&k->lock, irq);

	while (check_step(c, &at))
		;
	if (!c->failed)
		check_sums(c);
	check_depot(c);

	irq = spin_lock(&k->lock);
	list_del(&at.all_link);
	spin_unlock(&k->lock, irq);
}

static void check_samples(struct check *c)
{
	uintptr_t wrong = sample_verify(c->cache);

	if (wrong)
		fail(c, 8, "memory beside a sample was written", wrong);
}

int kmem_cache_check(struct kmem_cache *cache, struct sink *sink)
{
	struct check c;

	check_given("kmem_cache_check", "cache", cache, __builtin_return_address(0));
	for (int tries = 0; tries < CHECK_TRIES; tries++) {
		c = (struct check){.cache = cache};
		check_once(&c);
		if (c.failed || c.is_whole)
			break;
	}
	if (!c.failed && (cache->flags & KMC_ZONES))
		check_patterns(&c);
	check_samples(&c);
	if (c.failed && sink)
		sink_printf(sink, "cache %s: invariant %d: %s (%#lx)\n", cache->name, c.failed, c.what,
			(unsigned long)c.where);
	return c.failed;
}
