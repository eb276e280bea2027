/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Searches for requests that an instant fit can't serve, in bounded steps.
 *
 * With an index each step goes through that (btag/index.c).  Without one, a step looks at BTAG_STEP
 * segments.  The first steps, up to BTAG_LOOKS segments, look at those that are large enough, bin by
 * bin.  In most arenas that settles it.  If it doesn't, and from the beginning for the lowest in a
 * window and for next fit where segments are many, steps walk along the list, from the span where the
 * order of the request begins (next fit: from the last place).  A walk that is after the lowest place
 * ends where something serves; one that is after the smallest segment or the highest place sees all
 * first, and a second walk goes to what it learned.  If that has gone meanwhile, the walk begins anew.
 *
 * What a walk costs is counted (`spent`), and soon the caller builds an index instead.
 */
#include "btag.h"

#include "lib/bitmap.h"

static inline bool is_by_size(const struct btag_request *rq)
{
	return rq->fit == BTAG_FIT_ANY || rq->fit == BTAG_FIT_BEST;
}

/* Fills in the whole quanta and grains around place->at.  The segment is whole quanta, and what was
 * found lies in its whole grains: rounding outward stays within. */
static void place_fill(
	const struct btag_store *s, const struct btag_request *rq, struct btag_place *place)
{
	size_t grain = rq->triple.grain > s->quantum ? rq->triple.grain : s->quantum;
	uintptr_t first = place->at, last = first + (rq->size - 1);

	first -= grain & (grain - 1) ? first % grain : first & (grain - 1);
	last += grain - 1 - (grain & (grain - 1) ? last % grain : last & (grain - 1));
	place->start = first;
	place->size = last - first + 1;
}

/* Where an extent of whole quanta serves, at or above `lo`. */
static inline bool extent_place_at(
	const struct btag_request *rq, uintptr_t start, size_t size, uintptr_t lo, uintptr_t *at)
{
	uintptr_t last = start + (size - 1);

	lo = lo > rq->lo ? lo : rq->lo;
	return rq->fit == BTAG_FIT_HIGH ?
		       btag_triple_highest(&rq->triple, start, last, lo, rq->hi, rq->size, at) :
		       btag_triple_lowest(&rq->triple, start, last, lo, rq->hi, rq->size, at);
}

/* The same for segment f. */
static inline bool place_at(
	const struct btag_request *rq, const struct btag *f, uintptr_t lo, uintptr_t *at)
{
	return extent_place_at(rq, f->start, f->size, lo, at);
}

bool btag_place_in(const struct btag_store *s, const struct btag_request *rq, struct btag *f,
	uintptr_t lo, struct btag_place *place)
{
	place->f = f;
	if (!place_at(rq, f, lo, &place->at))
		return false;
	place_fill(s, rq, place);
	return true;
}

bool btag_place_within(const struct btag_store *s, const struct btag_request *rq, uintptr_t start,
	size_t size, struct btag_place *place)
{
	if (rq->is_plain && rq->fit != BTAG_FIT_HIGH) {
		*place = (struct btag_place){NULL, start, start, rq->size};
		return size >= rq->size;
	}
	place->f = NULL;
	if (!extent_place_at(rq, start, size, 0, &place->at))
		return false;
	place_fill(s, rq, place);
	return true;
}

/* Fits in constant time */

bool btag_fit_surely(
	const struct btag_store *s, const struct btag_request *rq, struct btag_place *place)
{
	size_t size = rq->is_plain ? rq->size :
				     btag_triple_covers(&rq->triple, s->quantum, rq->size);
	struct btag *f;

	size = size ? btag_round_up(s, size) : 0;
	f = size ? btag_fit_instant(s, btag_scaled(s, size)) : NULL;
	return f && btag_place_in(s, rq, f, 0, place);
}

bool btag_fit_exact(
	const struct btag_store *s, const struct btag_request *rq, struct btag_place *place)
{
	size_t size = btag_round_up(s, rq->size);
	struct btag *f = s->bins[btag_bin_of(btag_scaled(s, size))];

	for (int left = BTAG_LOOKS; f && left > 0; f = f->bin_next, left--)
		if (f->size == size && btag_place_in(s, rq, f, 0, place))
			return true;
	return false;
}

bool btag_may_serve(const struct btag_store *s, size_t size)
{
	size_t q = btag_scaled(s, size);
	int left = BTAG_LOOKS;
	struct btag *f;

	if (btag_fit_instant(s, q))
		return true;
	for (f = s->bins[btag_bin_of(q)]; f && f->size < size && left > 0; f = f->bin_next)
		left--;
	return f != NULL;
}

size_t btag_largest_free(const struct btag_store *s)
{
	size_t b = bitmap_find_last(s->bin_map, BTAG_BINS);
	size_t largest = 0;
	int left = BTAG_LOOKS;

	if (b == BITMAP_NONE)
		return 0;
	if (s->index.stands)
		return btag_index_largest(s);
	for (struct btag *f = s->bins[b]; f && left > 0; f = f->bin_next, left--)
		largest = f->size > largest ? f->size : largest;
	return largest;
}

/* The first step, in the bins */

/* The place in segment f that comes first in the order of the request. */
static bool place_first(
	const struct btag_store *s, const struct btag_request *rq, const struct btag *f, uintptr_t *at)
{
	const struct btag_cursor *c = &s->next_fit;

	if (rq->fit == BTAG_FIT_NEXT && c->begun && btag_last(f) > c->last &&
		place_at(rq, f, c->last + 1, at))
		return true;
	return place_at(rq, f, 0, at);
}

/* Next fit's order begins behind the last one. */
static inline uintptr_t turn_of(const struct btag_store *s, uintptr_t at)
{
	return s->next_fit.begun ? at - (s->next_fit.last + 1) : at;
}

/* Whether place a comes before b in the order of the request. */
static bool is_better(const struct btag_store *s, const struct btag_request *rq,
	const struct btag_place *a, const struct btag_place *b)
{
	switch (rq->fit) {
	case BTAG_FIT_NEXT:
		return turn_of(s, a->at) < turn_of(s, b->at);
	case BTAG_FIT_LOWEST:
		return a->at < b->at;
	case BTAG_FIT_HIGH:
		return a->at > b->at;
	default:
		return a->f->size != b->f->size ? a->f->size < b->f->size : a->f->start < b->f->start;
	}
}

/* Looks at segment f, the next in its bin. */
static void bin_look(struct btag_store *s, struct btag_search *c, struct btag *f)
{
	struct btag_place place = {.f = f};

	s->looks++;
	c->looks++;
	c->passed++;
	if (place_first(s, c->rq, f, &place.at) && (!c->best.f || is_better(s, c->rq, &place, &c->best)))
		c->best = place;
}

/* By size, the bin that has one that serves is the last that counts; `seen` so many in those before
 * and in this one. */
static bool is_settled(const struct btag_search *c, size_t seen)
{
	return c->best.f && is_by_size(c->rq) && seen >= c->passed;
}

/* Looks at all that are large enough, smaller bins first, BTAG_STEP in a step.  The next step goes
 * on behind those that were passed; if the store has changed meanwhile, it begins anew.  For any fit,
 * one that serves settles it. */
static enum btag_verdict look_in_bins(
	struct btag_store *s, struct btag_search *c, struct btag_place *place)
{
	const struct btag_request *rq = c->rq;
	size_t least = btag_round_up(s, rq->size), seen = 0;
	int left = BTAG_STEP;

	if (c->changes != s->changes) {
		c->changes = s->changes;
		c->passed = 0;
		c->best.f = NULL;
	}
	for (size_t b = btag_bin_from(s, btag_bin_of(btag_scaled(s, least)));
		b != BTAG_NO_BIN && !is_settled(c, seen); b = btag_bin_from(s, b + 1)) {
		for (struct btag *f = s->bins[b]; f; f = f->bin_next) {
			if (c->best.f && rq->fit == BTAG_FIT_ANY)
				break;
			if (seen++ < c->passed)
				continue;
			c->is_past_bins = c->looks == BTAG_LOOKS;
			if (c->is_past_bins || left-- == 0)
				return BTAG_MORE;
			bin_look(s, c, f);
		}
	}
	if (!c->best.f)
		return BTAG_NOTHING;
	*place = c->best;
	place_fill(s, rq, place);
	return BTAG_FOUND;
}

/* Walks */

#define ROUNDS 4 /* as often a search begins anew; then it takes what serves */

static void walk_begin(struct btag_store *s, struct btag_search *c, uintptr_t from)
{
	struct btag *span = btag_span_below(s, from);

	c->lacked_tags = false;
	if (!c->is_walking)
		btag_cursor_open(s, &c->walk);
	c->is_walking = true;
	c->from = from;
	if (c->rq->fit == BTAG_FIT_NEXT && s->next_fit.begun && from > s->next_fit.last &&
		from - 1 == s->next_fit.last) {
		c->walk.at = s->next_fit.at;
		c->walk.last = s->next_fit.last;
		c->walk.begun = true;
	} else {
		c->walk.begun = false;
		c->walk.at = span ? span : &s->anchor;
	}
}

/* Looks at one free segment; whether its place is to be taken.  A walk that learns takes none. */
static bool walk_look(
	struct btag_store *s, struct btag_search *c, struct btag *f, struct btag_place *place)
{
	const struct btag_request *rq = c->rq;

	if (!btag_place_in(s, rq, f, c->from, place))
		return false;
	if (btag_place_tags(place) > c->tags_max) {
		c->lacked_tags = true;
		return false;
	}
	if (rq->fit == BTAG_FIT_BEST) {
		if (c->learned)
			return !c->best_size || f->size == c->best_size;
		c->best_size = c->best_size && c->best_size <= f->size ? c->best_size : f->size;
		return false;
	}
	if (rq->fit == BTAG_FIT_HIGH && !c->learned) {
		c->best_at = place->at;
		return false;
	}
	return true;
}

/* A walk has come to the end of the window: goes on to the next one, or says that all was seen. */
static enum btag_verdict walk_end(struct btag_store *s, struct btag_search *c)
{
	const struct btag_request *rq = c->rq;

	switch (rq->fit) {
	case BTAG_FIT_ANY:
	case BTAG_FIT_LOWEST:
		return BTAG_NOTHING;
	case BTAG_FIT_NEXT:
		if (c->is_around)
			return BTAG_NOTHING;
		c->is_around = true;
		walk_begin(s, c, rq->lo);
		return BTAG_MORE;
	default:
		if (c->rounds == ROUNDS || (!c->learned && !(c->best_size | c->best_at)))
			return BTAG_NOTHING;
		/* The second walk found nothing: what the first one learned has gone. */
		c->rounds += c->learned;
		c->learned = !c->learned || c->rounds == ROUNDS;
		if (!c->learned || c->rounds == ROUNDS)
			c->best_size = c->best_at = 0;
		walk_begin(s, c, c->best_at ? c->best_at : rq->lo);
		return BTAG_MORE;
	}
}

static void walk_start(struct btag_store *s, struct btag_search *c)
{
	const struct btag_request *rq = c->rq;
	const struct btag_cursor *next = &s->next_fit;
	bool behind = rq->fit == BTAG_FIT_NEXT && next->begun && next->last >= rq->lo && next->last < rq->hi;

	/* An index between two walks has moved `from`: the second one learns anew. */
	c->learned = c->rounds == ROUNDS;
	c->best_size = c->best_at = 0;
	c->is_around = !behind;
	walk_begin(s, c, behind ? next->last + 1 : rq->lo);
}

static enum btag_verdict walk_step(
	struct btag_store *s, struct btag_search *c, struct btag_place *place)
{
	for (int left = BTAG_STEP; left > 0; left--) {
		uintptr_t start;
		struct btag *t = btag_cursor_next(s, &c->walk, &start);

		s->looks++;
		s->index.spent += c->looks++ >= BTAG_LOOKS;
		if (!t || t->start > c->rq->hi) {
			enum btag_verdict v = walk_end(s, c);

			if (v != BTAG_MORE)
				return v;
		} else if (t->kind == BTAG_FREE && walk_look(s, c, t, place)) {
			return BTAG_FOUND;
		}
	}
	return BTAG_MORE;
}

/* The search */

void btag_search_begin(struct btag_search *c, const struct btag_request *rq)
{
	*c = (struct btag_search){.rq = rq, .tags_max = BTAG_CARVE_TAGS};
}

void btag_search_end(struct btag_store *s, struct btag_search *c)
{
	if (c->is_walking)
		btag_cursor_close(s, &c->walk);
	c->is_walking = false;
}

/* A lowest place in a window, or a next one, may be near: where segments are many, walking beats
 * looking at all. */
static bool begins_with_walk(const struct btag_store *s, const struct btag_request *rq)
{
	return s->segments_free > BTAG_LOOKS &&
	       (rq->fit == BTAG_FIT_NEXT || (rq->fit == BTAG_FIT_LOWEST && btag_has_window(rq)));
}

enum btag_verdict btag_search_step(
	struct btag_store *s, struct btag_search *c, struct btag_place *place)
{
	bool may_lack = c->tags_max < BTAG_CARVE_TAGS;

	if (c->steps++ == 0)
		c->is_past_bins = begins_with_walk(s, c->rq);
	if (s->index.stands && !may_lack) {
		c->is_past_bins = true;
		/* A walk has moved what a step in the index goes on from: begin there anew. */
		c->by_index = c->by_index && !c->is_walking;
		btag_search_end(s, c);
		return btag_index_step(s, c, place);
	}
	c->is_past_bins = c->is_past_bins || may_lack;
	if (!c->is_past_bins)
		return look_in_bins(s, c, place);
	if (!c->is_walking)
		walk_start(s, c);
	return walk_step(s, c, place);
}
