/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: tracing, the sums over what is known of objects, and the walk that verifies.
 *
 * A cache that was traced once keeps its struct kmem_debug until it ends: another core may be reading it
 * when the tracing stops.
 */
#include "kmem_debug.h"

#include "lib/check.h"
#include "lib/string.h"
#include "slab_impl.h"
#include "stacks.h"
#include "sync.h"

#define TALLY_STEP 64 /* buckets for each hold */
#define WALK_SLABS 8 /* of a cache, by kmem_debug_walk() */

static struct qlock trace_lock = QLOCK_INIT(trace_lock); /* starts and stops */
struct qlock slab_debug_walk_lock = QLOCK_INIT(slab_debug_walk_lock);

int kmem_trace_start(struct kmem_cache *c)
{
	int error = 0;

	check_given("kmem_trace_start", "cache", c, __builtin_return_address(0));
	sync_check_may_sleep("kmem_trace_start", __builtin_return_address(0));
	if ((c->flags & KMC_FULL) || !c->cores)
		return 0;
	qlock_lock(&trace_lock);
	if (!c->debug && !slab_debug_begin(c)) {
		error = -ENOMEM;
	} else if (!c->debug->is_tracing) {
		__atomic_store_n(&c->debug->is_tracing, true, __ATOMIC_RELAXED);
		magazine_set_closed(c, true);
	}
	qlock_unlock(&trace_lock);
	return error;
}

void kmem_trace_stop(struct kmem_cache *c)
{
	check_given("kmem_trace_stop", "cache", c, __builtin_return_address(0));
	sync_check_may_sleep("kmem_trace_stop", __builtin_return_address(0));
	qlock_lock(&trace_lock);
	if (c->debug && c->debug->is_tracing) {
		__atomic_store_n(&c->debug->is_tracing, false, __ATOMIC_RELAXED);
		magazine_set_closed(c, false);
		slab_debug_forget(c);
	}
	qlock_unlock(&trace_lock);
}

void kmem_trace_reset(struct kmem_cache *c)
{
	check_given("kmem_trace_reset", "cache", c, __builtin_return_address(0));
	sync_check_may_sleep("kmem_trace_reset", __builtin_return_address(0));
	qlock_lock(&trace_lock);
	if (c->debug && c->debug->is_tracing)
		slab_debug_forget(c);
	qlock_unlock(&trace_lock);
}

/* Sums */

/* Adds the live objects of TALLY_STEP buckets from `from` on; returns how many those are.  *more: there are buckets
 * behind them. */
static size_t tally_step(struct kmem_debug *d, size_t from, bool *more)
{
	port_irq_t irq = spin_lock(&d->lock);
	size_t n = 0;

	for (size_t i = from; i < from + TALLY_STEP && i < d->tracks.buckets; i++) {
		for (struct hash_link *l = linear_hash_bucket(&d->tracks, i); l; l = l->next) {
			struct track *t = container_of(l, struct track, link);

			if (t->is_free || !t->alloc.stack)
				continue;
			stacks_tally_add(t->alloc.stack, t->size, t->alloc.ns);
			n++;
		}
	}
	*more = from + TALLY_STEP < d->tracks.buckets;
	spin_unlock(&d->lock, irq);
	return n;
}

size_t kmem_trace_tally(struct kmem_cache *c)
{
	struct kmem_debug *d;
	struct kmem_cache_stats s;
	size_t known;
	bool more;

	check_given("kmem_trace_tally", "cache", c, __builtin_return_address(0));
	known = sample_tally(c);
	d = c->debug;
	more = d != NULL;
	for (size_t i = 0; more; i += TALLY_STEP)
		known += tally_step(d, i, &more);
	kmem_cache_get_stats(c, &s);
	return s.live > known ? s.live - known : 0;
}

static void print_row(struct sink *sink, const struct stacks_tally *row)
{
	uint64_t bytes = row->units, ms = (port_ns() - row->oldest) / 1000000;

	sink_printf(sink, "%zu live, %pB, the oldest %llu.%03llu s old:\n", row->count, (const void *)&bytes,
		(unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000));
	stacks_print(sink, row->stack);
}

void kmem_trace_print(struct kmem_cache *c, size_t rows, struct sink *sink)
{
	struct stacks_tally row;
	size_t unknown;

	check_given("kmem_trace_print", "cache", c, __builtin_return_address(0));
	check_given("kmem_trace_print", "sink", sink, __builtin_return_address(0));
	sync_check_may_sleep("kmem_trace_print", __builtin_return_address(0));
	stacks_tally_begin();
	unknown = kmem_trace_tally(c);
	while (rows-- > 0 && stacks_tally_next(&row))
		print_row(sink, &row);
	stacks_tally_end();
	if (unknown > 0)
		sink_printf(sink, "%zu live objects of which nothing is known\n", unknown);
}

/* What is on */

static void add_cache(struct kmem_debug_stats *s, struct kmem_cache *c)
{
	const struct kmem_debug *d = c->debug;
	struct kmem_cache_stats row;

	kmem_cache_get_stats(c, &row);
	s->closed += __atomic_load_n(&c->slow_modes, __ATOMIC_RELAXED) > 0;
	s->full += row.is_full;
	s->untracked += row.untracked;
	s->tracked += row.tracked;
	s->quarantined += row.quarantined;
	if (!d)
		return;
	s->looked_up += __atomic_load_n(&d->looked_up, __ATOMIC_RELAXED);
	s->verified += __atomic_load_n(&d->verified, __ATOMIC_RELAXED);
}

void kmem_debug_get_stats(struct kmem_debug_stats *s)
{
	check_given("kmem_debug_get_stats", "place for statistics", s, __builtin_return_address(0));
	sync_check_may_sleep("kmem_debug_get_stats", __builtin_return_address(0));
	memset(s, 0, sizeof(*s));
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		add_cache(s, c);
	s->stacks = stacks_count();
	s->bytes = slab_debug_bytes() + stacks_pages() * PORT_PAGE_SIZE;
}

/* The walk */

/* The slab at the head of the list of all, where another walk may stand, too.  Lock held. */
static struct slab *walk_next(struct kmem_cache *c) SPANDREL_REQUIRES(&c->lock)
{
	struct slab *s;

	list_for_each_entry (s, &c->all, all_link)
		if (s->cache)
			return s;
	return NULL;
}

/* A walk in a cache: in which slab it is, and the number of the next object there; 0: it is in none. */
struct walk {
	struct slab *slab;
	size_t next;
};

/* Verifies some objects of a slab, which goes to the end of the list when it was all of them; returns the
 * first wrong byte, or 0.  A slab that has gone meanwhile was verified then. */
static uintptr_t walk_step(struct kmem_cache *c, struct walk *w)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct slab *s = walk_next(c);
	uintptr_t wrong = 0;

	if (s != w->slab)
		*w = (struct walk){s, 0};
	if (s)
		wrong = slab_debug_verify(c, s, &w->next);
	if (s && w->next == 0) {
		list_del(&s->all_link);
		list_add_tail(&c->all, &s->all_link);
		c->changes++;
	}
	spin_unlock(&c->lock, irq);
	return wrong;
}

static uintptr_t walk_slab(struct kmem_cache *c)
{
	struct walk w = {NULL, 0};
	uintptr_t wrong;

	do
		wrong = walk_step(c, &w);
	while (!wrong && w.next > 0);
	return wrong;
}

static uintptr_t walk_cache(struct kmem_cache *c)
{
	uintptr_t wrong = 0;

	for (int i = 0; i < WALK_SLABS && !wrong; i++)
		wrong = walk_slab(c);
	return wrong;
}

bool kmem_debug_walk(void)
{
	sync_check_may_sleep("kmem_debug_walk", __builtin_return_address(0));
	if (!slab_debug_any())
		return false;
	for (struct kmem_cache *c = slab_walk_all(NULL); c; c = slab_walk_all(c)) {
		uintptr_t wrong;

		qlock_lock(&slab_debug_walk_lock);
		wrong = c->flags & KMC_ZONES ? walk_cache(c) : 0;
		qlock_unlock(&slab_debug_walk_lock);

		if (wrong)
			kmem_bug_at(c, wrong, "cache %s: %#lx, beside an object or in a free one, was written: %#x",
				c->name, wrong, slab_debug_byte(wrong));
	}
	return true;
}
