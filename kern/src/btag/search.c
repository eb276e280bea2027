/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Searches for requests that an instant fit can't serve.
 *
 * With an index they are logarithmic (btag_index.c).  Without one they look at btag_looks() segments
 * at most, and answer only what these tell for sure: most arenas that are asked are small, and
 * never come to need an index.  Two ways to look: at whatever is large enough, bin by bin; or along
 * the list, from where the window or the cursor stands.
 */
#include "btag.h"

#include "lib/string.h"

void btag_request_plain(
	struct btag_request *rq, const struct btag_store *s, size_t size, enum btag_fit fit)
{
	*rq = (struct btag_request){
		.size = size,
		.fit = fit,
		.triple = {.step = s->quantum},
		.lo = 0,
		.hi = UINTPTR_MAX,
	};
}

/* Rounds [start, last] outward to q. */
static inline void round_outward(uintptr_t *start, uintptr_t *last, size_t q)
{
	*start -= *start % q;
	*last += (q - 1) - *last % q;
}

/* Where segment f serves: its lowest place at or above `lo`. */
static inline bool place_at(
	const struct btag_request *rq, const struct btag *f, uintptr_t lo, uintptr_t *at)
{
	return btag_triple_place(&rq->triple, f->start, btag_last(f), lo > rq->lo ? lo : rq->lo, rq->hi,
		rq->size, at);
}

/* Fills in the whole quanta around it.  A segment is whole quanta, and, where clip quanta are given,
 * what was found lies in the whole clip quanta within it: rounding outward stays within. */
static void place_fill(
	const struct btag_store *s, const struct btag_request *rq, struct btag_place *place)
{
	uintptr_t first = place->at, last = first + (rq->size - 1);

	for (int i = 0; i < BTAG_CLIPS && rq->triple.clip[i]; i++)
		round_outward(&first, &last, rq->triple.clip[i]);
	round_outward(&first, &last, s->quantum);
	place->start = first;
	place->size = last - first + 1;
}

bool btag_place_in(const struct btag_store *s, const struct btag_request *rq, struct btag *f,
	uintptr_t lo, struct btag_place *place)
{
	if (!place_at(rq, f, lo, &place->at))
		return false;
	place->f = f;
	place_fill(s, rq, place);
	return true;
}

/* Where a place stands in the order next fit goes through: behind the cursor's, those below it come last. */
static inline uintptr_t turn_of(const struct btag_request *rq, uintptr_t at)
{
	return rq->fit == BTAG_FIT_NEXT && rq->cursor->begun ? at - (rq->cursor->last + 1) : at;
}

static bool better(const struct btag_request *rq, const struct btag_place *a, const struct btag_place *b)
{
	if (rq->fit == BTAG_FIT_ANY || rq->fit == BTAG_FIT_BEST) {
		if (a->f->size != b->f->size)
			return a->f->size < b->f->size;
		return a->f->start < b->f->start;
	}
	return turn_of(rq, a->at) < turn_of(rq, b->at);
}

/* The best place in segment f: for next fit, the lowest behind the cursor, else the lowest. */
static bool place_best(const struct btag_request *rq, const struct btag *f, uintptr_t *at)
{
	const struct btag_cursor *c = rq->cursor;

	if (rq->fit == BTAG_FIT_NEXT && c->begun && btag_last(f) > c->last &&
		place_at(rq, f, c->last + 1, at))
		return true;
	return place_at(rq, f, 0, at);
}

static enum btag_verdict look_end(const struct btag_store *s, const struct btag_request *rq,
	struct btag_place *best, bool found, enum btag_verdict otherwise)
{
	if (!found)
		return otherwise;
	place_fill(s, rq, best);
	return BTAG_FOUND;
}

/* Looks at all that are large enough; the best one is that of all, if there were not too many. */
static enum btag_verdict look_in_bins(const struct btag_store *s, const struct btag_request *rq,
	int *left, struct btag_place *best)
{
	bool by_size = rq->fit == BTAG_FIT_ANY || rq->fit == BTAG_FIT_BEST;
	size_t least = btag_round_up(s, rq->size);
	struct btag_place place;
	bool found = false;

	if (least == 0)
		return BTAG_NOTHING;
	for (size_t b = btag_bin_from(s, btag_bin(s, least)); b != BTAG_NO_BIN && !(by_size && found);
		b = btag_bin_from(s, b + 1)) {
		for (struct btag *f = s->bins[b]; f; f = f->bin_next) {
			if (*left == 0)
				return look_end(s, rq, best, found && rq->fit == BTAG_FIT_ANY, BTAG_WANTS_INDEX);
			--*left;
			place.f = f;
			if (!place_best(rq, f, &place.at))
				continue;
			if (!found || better(rq, &place, best))
				*best = place;
			found = true;
		}
	}
	return look_end(s, rq, best, found, BTAG_NOTHING);
}

/* Along the list from the tag at or before `lo`, to the end of the window. */
static enum btag_verdict look_along(const struct btag_store *s, const struct btag_request *rq,
	struct btag *t, uintptr_t lo, int *left, struct btag_place *place)
{
	for (; t != &s->anchor; t = t->next) {
		if (t->start > rq->hi)
			break;
		if (*left == 0)
			return BTAG_WANTS_INDEX;
		--*left;
		if (t->kind == BTAG_FREE && btag_place_in(s, rq, t, lo, place))
			return BTAG_FOUND;
	}
	return BTAG_NOTHING;
}

static struct btag *list_from(const struct btag_store *s, uintptr_t lo)
{
	struct btag *span = btag_span_below(s, lo);

	return span ? span : s->anchor.next;
}

/* Next fit: from the cursor to the end of the window, then from its beginning. */
static enum btag_verdict look_next(const struct btag_store *s, const struct btag_request *rq,
	int *left, struct btag_place *place)
{
	const struct btag_cursor *c = rq->cursor;
	enum btag_verdict v = BTAG_NOTHING;

	if (c->begun && c->last >= rq->lo && c->last < rq->hi)
		v = look_along(s, rq, c->at == &s->anchor ? c->at->next : c->at, c->last + 1, left, place);
	if (v == BTAG_NOTHING)
		v = look_along(s, rq, list_from(s, rq->lo), rq->lo, left, place);
	return v;
}

/* At no more than *left segments, of which it leaves what it didn't look at. */
static enum btag_verdict look(const struct btag_store *s, const struct btag_request *rq, int *left,
	struct btag_place *place)
{
	bool windowed = rq->lo > 0 || rq->hi < UINTPTR_MAX;

	bool many = s->segments_free > (size_t)*left;

	if (many && rq->fit == BTAG_FIT_NEXT)
		return look_next(s, rq, left, place);
	if (many && rq->fit == BTAG_FIT_LOWEST && windowed)
		return look_along(s, rq, list_from(s, rq->lo), rq->lo, left, place);
	return look_in_bins(s, rq, left, place);
}

/* The request that can't fail: `size` and the way to the first place in a segment. */
static bool search_surely(
	struct btag_store *s, const struct btag_request *rq, struct btag_place *place)
{
	size_t slack = btag_triple_slack(&rq->triple, s->quantum, rq->size), size;
	struct btag *f;

	if (slack == SIZE_MAX || __builtin_add_overflow(rq->size, slack, &size))
		return false;
	size = btag_round_up(s, size);
	f = size ? btag_fit_instant(s, size) : NULL;
	s->looks += f != NULL;
	return f && btag_place_in(s, rq, f, 0, place);
}

enum btag_verdict btag_search(
	struct btag_store *s, const struct btag_request *rq, struct btag_place *place)
{
	enum btag_verdict v = s->index.stands ? btag_index_search(s, rq, place) : BTAG_WANTS_INDEX;
	int most = btag_looks(&rq->triple), left = most;

	if (v == BTAG_FOUND || v == BTAG_NOTHING)
		return v;
	if (rq->surely && search_surely(s, rq, place))
		return BTAG_FOUND;
	if (s->index.stands)
		return v;
	v = look(s, rq, &left, place);
	s->looks += (size_t)(most - left);
	return v;
}
