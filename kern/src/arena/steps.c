/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Serving when memory has run out: no node can be had for an index, or no boundary tag to cut a
 * segment.
 *
 * What an arena holds is still handed out.  A walk over its segments looks at a few of them for each
 * hold of the lock, its place kept by a cursor, and takes the first that serves and can be cut with
 * the tags in hand, for which the last ones of the supply were fetched, in the order of the request:
 * from the window's beginning, for next fit from the cursor on and then from the beginning.  A best
 * fit walks twice: to learn the smallest size that serves, then to the first of that size.  If
 * others change the arena between, that may have gone, and it begins again; after ROUNDS of that it
 * takes what serves.
 *
 * Linear in segments, but no hold of the lock is; only who may sleep comes here.
 */
#include "arena_impl.h"

#define ROUNDS 4
#define TAGS 2 /* to cut a place out of the middle of a segment */

/* What tags there are to be had. */
static void tags_gather(struct arena *a)
{
	struct btag_chain tags = {NULL, 0};
	port_irq_t irq = arena_lock(a);
	bool lacks = a->store.spare.count < a->tag_reserve + TAGS;

	arena_unlock(a, irq);
	if (!lacks)
		return;
	arena_tags_fetch(a, &tags, TAGS);
	irq = arena_lock(a);
	btag_give(&a->store, &tags);
	arena_unlock(a, irq);
}

/* What a walk is after. */
struct walk {
	const struct btag_request *rq;
	enum btag_kind kind;
	uintptr_t from;	      /* the lowest a place may lie */
	size_t largest;	      /* no larger segment will do */
	bool learns;	      /* takes nothing: `largest` becomes the smallest size that serves */
	bool lacked_tags;     /* one served but for tags to cut it */
	struct btag_place at; /* what was taken */
};

enum walked { WALK_ON, WALK_TOOK, WALK_ENDED };

/* One segment.  Lock held. */
static bool walk_look(struct arena *a, struct walk *w, struct btag *f)
{
	if (f->kind != BTAG_FREE || f->size > w->largest ||
		!btag_place_in(&a->store, w->rq, f, w->from, &w->at))
		return false;
	if (a->store.spare.count < a->tag_reserve + arena_tags_to_carve(&w->at)) {
		w->lacked_tags = true;
		return false;
	}
	w->largest = w->learns ? f->size - 1 : w->largest;
	return !w->learns;
}

static enum walked walk_step(struct arena *a, struct walk *w, struct btag_cursor *c)
{
	port_irq_t irq = arena_lock(a);
	size_t looks = 0, most = (size_t)btag_looks(&w->rq->triple);
	enum walked walked = WALK_ON;

	for (; looks < most && walked == WALK_ON; looks++) {
		uintptr_t start;
		struct btag *t = btag_cursor_next(&a->store, c, &start);

		if (!t || t->start > w->rq->hi)
			walked = WALK_ENDED;
		else if (walk_look(a, w, t))
			walked = WALK_TOOK;
	}
	if (looks > a->search_looks_max)
		a->search_looks_max = looks;
	if (walked == WALK_TOOK)
		arena_place_carve(a, w->rq, w->kind, &w->at);
	arena_unlock(a, irq);
	return walked;
}

/* Whether it took a segment. */
static bool walk(struct arena *a, struct walk *w)
{
	struct btag_cursor c;
	enum walked walked;
	port_irq_t irq = arena_lock(a);

	btag_cursor_open(&a->store, &c);
	arena_unlock(a, irq);
	do
		walked = walk_step(a, w, &c);
	while (walked == WALK_ON);
	irq = arena_lock(a);
	btag_cursor_close(&a->store, &c);
	arena_unlock(a, irq);
	return walked == WALK_TOOK;
}

/* The smallest that serves, the lowest of its size. */
static bool walk_best(struct arena *a, struct walk *w)
{
	for (int round = 0; round < ROUNDS; round++) {
		w->largest = SIZE_MAX;
		w->learns = true;
		walk(a, w);
		w->learns = false;
		if (w->largest == SIZE_MAX)
			return false;
		w->largest++;
		if (walk(a, w))
			return true;
	}
	w->largest = SIZE_MAX;
	return walk(a, w);
}

static uintptr_t next_from(struct arena *a, const struct btag_request *rq)
{
	port_irq_t irq = spin_lock(&a->lock);
	const struct btag_cursor *c = &a->store.next_fit;
	uintptr_t from = c->begun && c->last >= rq->lo && c->last < rq->hi ? c->last + 1 : 0;

	spin_unlock(&a->lock, irq);
	return from;
}

bool arena_search_steps(struct arena *a, const struct btag_request *rq, enum btag_kind kind,
	struct btag_place *place, enum arena_failure *why)
{
	struct walk w = {.rq = rq, .kind = kind, .largest = SIZE_MAX};
	bool served;

	tags_gather(a);
	if (rq->fit == BTAG_FIT_ANY || rq->fit == BTAG_FIT_BEST) {
		served = walk_best(a, &w);
	} else {
		w.from = rq->fit == BTAG_FIT_NEXT ? next_from(a, rq) : 0;
		served = w.from > 0 && walk(a, &w);
		w.from = rq->lo;
		served = served || walk(a, &w);
	}
	*place = w.at;
	if (w.lacked_tags)
		*why = ARENA_FAILURE_TAGS;
	return served;
}
