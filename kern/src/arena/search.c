/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: serving what an instant fit can't, and the index that this may take.
 *
 * A search is one step under the lock.  What it turns out to need, tags, the index, a triple in the
 * index, is brought about with the lock dropped or in further steps, and then it begins anew: in
 * between others may have changed the arena.
 */
#include "arena_impl.h"

/* Tags and nodes fetched at a time. */
#define SEARCH_TAGS 16
#define SEARCH_NODES 16

void (*arena_poke)(struct arena *a);

/* Nodes */

/* Cuts a page of nodes out of the base.  It takes from the base index's own margin of nodes, which
 * the care for that index then fills up from this page. */
static bool node_page_fetch(struct arena *base)
{
	struct btag_chain tags = {NULL, 0};
	struct btag *f;
	port_irq_t irq;
	uintptr_t page = 0;

	arena_tags_fetch_in_care(base, &tags, 1);
	irq = arena_lock(base);
	btag_give(&base->store, &tags);
	f = btag_fit_instant(&base->store, PORT_PAGE_SIZE);
	if (f && (base->store.spare.count > base->tag_reserve || f->size == PORT_PAGE_SIZE)) {
		page = f->start;
		btag_carve(&base->store, f, page, PORT_PAGE_SIZE);
		base->allocs++;
	} else if (base->store.spare.count > base->tag_reserve) {
		btag_take(&base->store, &tags, 1);
	}
	arena_unlock(base, irq);
	arena_tags_return(base, &tags);
	if (page == 0)
		return false;
	irq = spin_lock(&base->node_supply->lock);
	tag_supply_add_page(base->node_supply, (void *)page);
	spin_unlock(&base->node_supply->lock, irq);
	return true;
}

static void nodes_take(struct arena *a, struct btag_chain *chain, size_t count)
{
	port_irq_t irq = spin_lock(&a->node_supply->lock);

	tag_supply_take(a->node_supply, chain, count);
	spin_unlock(&a->node_supply->lock, irq);
}

/* Up to SEARCH_NODES nodes, into the arena's hand; whether it got any. */
static bool nodes_fetch(struct arena *a, size_t count)
{
	struct btag_chain chain = {NULL, 0};
	port_irq_t irq;
	bool some;

	count = count < SEARCH_NODES ? count : SEARCH_NODES;
	nodes_take(a, &chain, count);
	if (chain.count == 0 && node_page_fetch(a->base))
		nodes_take(a, &chain, count);
	some = chain.count > 0;
	irq = arena_lock(a);
	btag_index_give(&a->store, &chain);
	arena_unlock(a, irq);
	if (!arena_is_base(a) && arena_needs_care(a->base))
		arena_care(a->base);
	return some;
}

static void nodes_return(struct arena *a, struct btag_chain *chain)
{
	port_irq_t irq = spin_lock(&a->node_supply->lock);

	tag_supply_give(a->node_supply, chain);
	spin_unlock(&a->node_supply->lock, irq);
}

void arena_index_care(struct arena *a)
{
	struct btag_chain chain = {NULL, 0};
	port_irq_t irq = arena_lock(a);
	size_t lacks = a->store.index.live ? btag_index_lacks(&a->store) : 0;

	if (lacks == 0)
		btag_index_take(&a->store, &chain);
	arena_unlock(a, irq);
	if (lacks > 0)
		nodes_fetch(a, lacks);
	else
		nodes_return(a, &chain);
}

/* The index comes and goes */

enum build { BUILD_ON, BUILD_DONE, BUILD_LACKS };

/* One step.  What an index dropped before has left is taken apart first. */
static enum build build_step(struct arena *a, size_t *lacks, struct btag_chain *dead)
{
	port_irq_t irq = arena_lock(a);
	struct btag_store *s = &a->store;
	enum build b = BUILD_ON;

	*lacks = s->index.live ? 0 : btag_index_lacks(s);
	if (s->index.stands)
		b = BUILD_DONE;
	else if (s->index.dead.root)
		btag_index_take(s, dead);
	else if (*lacks > 0)
		b = BUILD_LACKS;
	else
		b = btag_index_build(s) ? BUILD_DONE : BUILD_ON;
	arena_unlock(a, irq);
	return b;
}

bool arena_index_build(struct arena *a)
{
	port_irq_t irq = arena_lock(a);
	enum build b;

	btag_index_begin(&a->store);
	arena_unlock(a, irq);
	for (;;) {
		struct btag_chain dead = {NULL, 0};
		size_t lacks;

		b = build_step(a, &lacks, &dead);
		nodes_return(a, &dead);
		if (b == BUILD_DONE || (b == BUILD_LACKS && !nodes_fetch(a, lacks)))
			break;
	}
	irq = arena_lock(a);
	btag_index_end(&a->store);
	arena_unlock(a, irq);
	if (b != BUILD_DONE)
		arena_index_drop(a);
	return b == BUILD_DONE;
}

void arena_index_drop(struct arena *a)
{
	bool more;
	port_irq_t irq = arena_lock(a);

	if (a->store.index.builders == 0)
		btag_index_drop(&a->store);
	arena_unlock(a, irq);
	do {
		struct btag_chain chain = {NULL, 0};

		irq = arena_lock(a);
		more = !a->store.index.live && a->store.index.builders == 0;
		if (more)
			btag_index_take(&a->store, &chain);
		more = more && a->store.index.nodes_held > 0;
		arena_unlock(a, irq);
		nodes_return(a, &chain);
	} while (more);
}

static bool has_source(const struct arena *a)
{
	return a->source && a->source != a;
}

bool arena_indexes_build(struct arena *a)
{
	bool built = false;

	for (;; a = a->source) {
		if (__atomic_load_n(&a->store.index.wanted, __ATOMIC_RELAXED))
			built |= arena_index_build(a);
		if (!has_source(a))
			return built;
	}
}

bool arena_sources_build(struct arena *a)
{
	return has_source(a) && arena_indexes_build(a->source);
}

/* Searches */

enum step { STEP_SERVED, STEP_NOTHING, STEP_TAGS, STEP_INDEX, STEP_AGAIN };

size_t arena_tags_to_carve(const struct btag_place *p)
{
	return (p->start != p->f->start) + (p->start + (p->size - 1) != btag_last(p->f));
}

void arena_place_carve(
	struct arena *a, const struct btag_request *rq, enum btag_kind kind, const struct btag_place *p)
{
	struct btag *t;

	arena_span_begin_use(a, p->f);
	t = btag_carve(&a->store, p->f, p->start, p->size);
	t->kind = kind;
	arena_count_alloc(a, rq->fit, kind);
	if (rq->fit == BTAG_FIT_NEXT)
		btag_cursor_move(&a->store.next_fit, t);
}

static enum step step_of(struct arena *a, const struct btag_request *rq, enum btag_kind kind,
	struct btag_place *place)
{
	switch (btag_search(&a->store, rq, place)) {
	case BTAG_NOTHING:
		return STEP_NOTHING;
	case BTAG_WANTS_INDEX:
		__atomic_store_n(&a->store.index.wanted, true, __ATOMIC_RELAXED);
		return STEP_INDEX;
	case BTAG_WANTS_MORE:
		return STEP_AGAIN;
	default:
		break;
	}
	if (a->store.spare.count < a->tag_reserve + arena_tags_to_carve(place)) {
		arena_tags_miss(a);
		return STEP_TAGS;
	}
	arena_place_carve(a, rq, kind, place);
	return STEP_SERVED;
}

/* How many segments and nodes a hold of the lock has looked at. */
static inline void note_looks(struct arena *a)
{
	if (__builtin_expect(a->store.looks > a->search_looks_max, 0))
		a->search_looks_max = a->store.looks;
}

/* The search, with more tags; and if the index lacks the triple, a step toward adding it. */
static enum step search_step(struct arena *a, const struct btag_request *rq, enum btag_kind kind,
	struct btag_chain *tags, struct btag_place *place)
{
	port_irq_t irq = arena_lock(a);
	enum step step;

	a->store.looks = 0;
	btag_give(&a->store, tags);
	step = step_of(a, rq, kind, place);
	if (step == STEP_AGAIN && btag_index_keep(&a->store, rq))
		step = step_of(a, rq, kind, place);
	note_looks(a);
	arena_unlock(a, irq);
	return step;
}

/* No tags can be had: a segment of just the size takes none. */
static bool serve_exact(struct arena *a, const struct btag_request *rq, enum btag_kind kind,
	struct btag_place *place, enum arena_failure *why)
{
	port_irq_t irq = arena_lock(a);
	bool serves;

	a->store.looks = 0;
	serves = btag_fit_exact(&a->store, rq, place);
	if (serves)
		arena_place_carve(a, rq, kind, place);
	else
		*why = ARENA_FAILURE_TAGS;
	note_looks(a);
	arena_unlock(a, irq);
	return serves;
}

static void poke(struct arena *a)
{
	if (arena_poke)
		arena_poke(a);
}

bool arena_search(struct arena *a, const struct btag_request *rq, unsigned flags, enum btag_kind kind,
	struct btag_place *place, enum arena_failure *why)
{
	struct btag_chain tags = {NULL, 0};
	enum step step;

	for (;;) {
		step = search_step(a, rq, kind, &tags, place);
		if (step == STEP_SERVED || step == STEP_NOTHING)
			break;
		if (step == STEP_TAGS) {
			arena_tags_fetch(a, &tags, SEARCH_TAGS);
			if (tags.count == 0)
				return flags & MEM_ATOMIC ? serve_exact(a, rq, kind, place, why) :
							    arena_search_steps(a, rq, kind, place, why);
		}
		if (step == STEP_INDEX && (flags & MEM_ATOMIC)) {
			*why = ARENA_FAILURE_INDEX;
			poke(a);
			break;
		}
		if (step == STEP_INDEX && !arena_index_build(a))
			return arena_search_steps(a, rq, kind, place, why);
	}
	return step == STEP_SERVED;
}

void arena_request_plain(struct arena *a, struct btag_request *rq, size_t size, unsigned flags)
{
	enum btag_fit fit = arena_fit_of(flags);

	btag_request_plain(rq, &a->store, size, fit);
	rq->surely = fit == BTAG_FIT_ANY;
	rq->cursor = &a->store.next_fit;
}
