/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: searches that may take several holds of the lock, and the index that comes of them.
 *
 * A search goes from step to step with the lock dropped between.  Before each it sees to tags, while
 * there is memory for them; after each, if it isn't settled and searches in this arena have cost
 * enough (btag/index.c, *Earning its keep*), it builds the index and goes on there.  Where no memory
 * can be had for nodes it walks on without; where none can be had for tags, it walks to a place that
 * can be cut with those in hand.
 * So what an arena holds can always be handed out to a caller who may take long, to the last page.
 */
#include "arena_impl.h"

#include "lib/check.h"

#define unlikely(x) __builtin_expect(!!(x), 0)

/* Coming and going of the index */

enum build { BUILD_ON, BUILD_DONE, BUILD_LACKS };

/* One step.  What an index that ended before has left is taken apart first. */
static enum build build_step(struct arena *a, size_t *lacks, struct btag_chain *dead)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct btag_store *s = &a->store;
	enum build b = BUILD_ON;

	*lacks = btag_index_lacks(s);
	if (s->index.stands)
		b = BUILD_DONE;
	else if (s->index.dead.root)
		btag_index_take(s, dead);
	else if (*lacks > 0)
		b = BUILD_LACKS;
	else
		b = btag_index_build(s) ? BUILD_DONE : BUILD_ON;
	spin_unlock(&a->lock, irq);
	return b;
}

bool arena_index_build(struct arena *a)
{
	port_irq_t irq = spin_lock(&a->lock);
	enum build b;

	btag_index_begin(&a->store);
	spin_unlock(&a->lock, irq);
	for (;;) {
		struct btag_chain dead = {NULL, 0};
		size_t lacks;

		b = build_step(a, &lacks, &dead);
		arena_nodes_return(a, &dead);
		if (b == BUILD_DONE || (b == BUILD_LACKS && !arena_nodes_fetch(a, lacks)))
			break;
	}
	irq = spin_lock(&a->lock);
	btag_index_end(&a->store);
	spin_unlock(&a->lock, irq);
	if (b != BUILD_DONE)
		arena_index_drop(a);
	return b == BUILD_DONE;
}

void arena_index_drop(struct arena *a)
{
	bool more;
	port_irq_t irq = spin_lock(&a->lock);

	if (a->store.index.builders == 0)
		btag_index_drop(&a->store);
	spin_unlock(&a->lock, irq);
	do {
		struct btag_chain chain = {NULL, 0};

		irq = spin_lock(&a->lock);
		more = !a->store.index.live && a->store.index.builders == 0;
		if (more)
			btag_index_take(&a->store, &chain);
		more = more && a->store.index.nodes_held > 0;
		spin_unlock(&a->lock, irq);
		arena_nodes_return(a, &chain);
	} while (more);
}

/* Makes exact what searches under the triples it keeps rely on. */
static void index_refine(struct arena *a)
{
	uintptr_t from = 0;
	bool more;

	do {
		port_irq_t irq = spin_lock(&a->lock);

		more = a->store.index.stands && btag_index_refine(&a->store, &from);
		spin_unlock(&a->lock, irq);
	} while (more);
}

bool arena_index(struct arena *a)
{
	port_irq_t irq;
	bool stands;

	check_given("arena_index", "arena", a, __builtin_return_address(0));
	irq = spin_lock(&a->lock);
	a->store.index.is_pinned = true;
	spin_unlock(&a->lock, irq);
	stands = arena_index_build(a);
	if (stands) {
		index_refine(a);
		return true;
	}
	irq = spin_lock(&a->lock);
	a->store.index.is_pinned = false;
	spin_unlock(&a->lock, irq);
	return false;
}

static bool has_source(const struct arena *a)
{
	return a->source && a->source != a;
}

bool arena_indexes_build(struct arena *a)
{
	bool built = false;

	for (;; a = a->source) {
		if (__atomic_load_n(&a->store.index.wanted, __ATOMIC_RELAXED) && arena_index_build(a)) {
			index_refine(a);
			built = true;
		}
		if (!has_source(a))
			return built;
	}
}

bool arena_sources_build(struct arena *a)
{
	return has_source(a) && arena_indexes_build(a->source);
}

/* Searches.  The arena's lock is held, by another name than the request's. */

/* What a step found is taken, if the tags for it are in hand. */
static inline enum btag_verdict take_found(struct arena_request *r) SPANDREL_UNANALYSED
{
	struct btag_place *p = &r->place;

	if (btag_place_tags(p) > arena_tags(r->arena))
		return BTAG_MORE;
	arena_take(r->arena, p->f, p->start, p->size, r->rq.fit, r->kind);
	return BTAG_FOUND;
}

/* What takes constant time.  Nothing held is large enough; or a segment is so large that it surely
 * serves; or, while tags are short, one segment is just the place. */
static enum btag_verdict look_once(struct arena_request *r) SPANDREL_UNANALYSED
{
	struct btag_store *s = &r->arena->store;
	bool any = !btag_has_window(&r->rq) && r->rq.fit == BTAG_FIT_ANY;

	if (!btag_holds_enough(s, btag_round_up(s, r->rq.size)))
		return BTAG_NOTHING;
	if ((any && btag_fit_surely(s, &r->rq, &r->place)) ||
		(arena_tags(r->arena) < BTAG_CARVE_TAGS && btag_fit_exact(s, &r->rq, &r->place)))
		return take_found(r);
	return BTAG_MORE;
}

/* Whether the search may take another step, if it isn't settled. */
static inline bool may_go_on(const struct btag_search *c, bool far)
{
	return far || c->looks < BTAG_LOOKS;
}

/* A step of the search, with the tags in hand. */
static enum btag_verdict search_step(struct arena_request *r, struct btag_search *c)
	SPANDREL_UNANALYSED
{
	struct arena *a = r->arena;
	struct btag_store *s = &a->store;
	enum btag_verdict v;

	c->tags_max = arena_tags(a) < BTAG_CARVE_TAGS ? (unsigned)arena_tags(a) : BTAG_CARVE_TAGS;
	s->looks = 0;
	v = btag_search_step(s, c, &r->place);
	/* An atomic request by any fit is never refused where an instant fit serves. */
	if (v == BTAG_MORE && !may_go_on(c, arena_may_search(r->flags)) && !btag_has_window(&r->rq) &&
		btag_fit_surely(s, &r->rq, &r->place))
		v = BTAG_FOUND;
	if (__builtin_expect(s->looks > a->search_looks_max, 0))
		a->search_looks_max = s->looks;
	return v == BTAG_FOUND ? take_found(r) : v;
}

/* Whether it is time to build the index.  Lock held. */
static bool wants_index(const struct arena *a, const struct btag_search *c) SPANDREL_REQUIRES(&a->lock)
{
	return !a->store.index.stands && btag_index_is_earned(&a->store) &&
	       c->tags_max == BTAG_CARVE_TAGS;
}

enum btag_verdict arena_search(struct arena_request *r, bool far, bool imports_next)
{
	struct arena *a = r->arena;
	bool has_begun = false, lacks_tags = false, has_memory = true, index, done;
	struct btag_search c;
	enum btag_verdict v;

	do {
		port_irq_t irq = spin_lock(&a->lock);

		if (!lacks_tags && unlikely(arena_tags(a) < BTAG_CARVE_TAGS)) {
			spin_unlock(&a->lock, irq);
			lacks_tags = !arena_tags_fetch(a);
			irq = spin_lock(&a->lock);
		}
		v = has_begun ? BTAG_MORE : look_once(r);
		if (v == BTAG_MORE) {
			if (!has_begun)
				btag_search_begin(&c, &r->rq);
			has_begun = true;
			v = search_step(r, &c);
		}
		done = v != BTAG_MORE || !may_go_on(&c, far);
		index = !done && far && has_memory && wants_index(a, &c);
		if (done && has_begun)
			btag_search_end(&a->store, &c);
		if (done && v != BTAG_FOUND && imports_next)
			r->has_tags_aside = arena_tags_hold(a);
		spin_unlock(&a->lock, irq);
		if (index)
			has_memory = arena_index_build(a);
	} while (!done);
	if (v != BTAG_FOUND && lacks_tags)
		r->why = ARENA_FAILURE_TAGS;
	return v;
}

void arena_index_miss(struct arena_request *r)
{
	r->why = ARENA_FAILURE_INDEX;
	__atomic_store_n(&r->arena->store.index.wanted, true, __ATOMIC_RELAXED);
	arena_poke(r->arena);
}
