/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The model of an arena.
 */
#include "model.h"

#include "arena.h"
#include "lib/string.h"
#include "lib/test.h"

static uintptr_t last_of(const struct interval *i)
{
	return i->start + (i->size - 1);
}

struct model *model_create(size_t quantum)
{
	struct model *m = base_zalloc(NULL, sizeof(*m), MEM_WAIT);

	m->quantum = quantum;
	return m;
}

void model_destroy(struct model *m)
{
	base_free(NULL, m, sizeof(*m));
}

/* The place of the first interval that starts at or above `start`. */
static size_t place_of(const struct intervals *v, uintptr_t start)
{
	size_t low = 0, high = v->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (v->at[middle].start < start)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void insert(struct intervals *v, uintptr_t start, size_t size)
{
	size_t i = place_of(v, start);

	CHECK_LT(v->count, MODEL_MAX);
	if (i > 0)
		CHECK_LT(last_of(&v->at[i - 1]), start);
	if (i < v->count)
		CHECK_LT(start + (size - 1), v->at[i].start);
	memmove(&v->at[i + 1], &v->at[i], (v->count - i) * sizeof(v->at[0]));
	v->at[i] = (struct interval){.start = start, .size = size};
	v->count++;
}

static void remove_at(struct intervals *v, size_t i)
{
	v->count--;
	memmove(&v->at[i], &v->at[i + 1], (v->count - i) * sizeof(v->at[0]));
}

static void join_at(struct intervals *v, size_t i)
{
	if (i + 1 < v->count && last_of(&v->at[i]) + 1 == v->at[i + 1].start) {
		v->at[i].size += v->at[i + 1].size;
		remove_at(v, i + 1);
	}
}

void model_add_span(struct model *m, uintptr_t start, size_t size, bool join)
{
	size_t i = place_of(&m->spans, start);

	insert(&m->spans, start, size);
	if (join) {
		join_at(&m->spans, i);
		if (i > 0)
			join_at(&m->spans, i - 1);
	}
}

void model_remove_span(struct model *m, uintptr_t start)
{
	size_t i = place_of(&m->spans, start), u = place_of(&m->used, start);

	CHECK(i < m->spans.count && m->spans.at[i].start == start);
	if (u < m->used.count)
		CHECK_LT(last_of(&m->spans.at[i]), m->used.at[u].start);
	remove_at(&m->spans, i);
}

struct interval *model_alloc(struct model *m, uintptr_t start, size_t size)
{
	size_t i = place_of(&m->spans, start);

	CHECK_EQ(start % m->quantum, 0);
	if (i == m->spans.count || m->spans.at[i].start > start)
		i--;
	CHECK_LT(i, m->spans.count);
	CHECK_LE(m->spans.at[i].start, start);
	CHECK_LE(start + (size - 1), last_of(&m->spans.at[i]));
	insert(&m->used, start, size);
	return &m->used.at[place_of(&m->used, start)];
}

void model_free(struct model *m, uintptr_t start, size_t size)
{
	size_t i = place_of(&m->used, start);

	CHECK(i < m->used.count && m->used.at[i].start == start && m->used.at[i].size == size);
	remove_at(&m->used, i);
}

/* Gaps, in address order.  A span may end at 2^64, so what was passed is kept as its last unit. */
struct gaps {
	size_t span, used;
	bool inside;	  /* part of the span was passed */
	uintptr_t passed; /* its last unit */
};

static bool next_gap(const struct model *m, struct gaps *g, uintptr_t *start, uintptr_t *last)
{
	for (; g->span < m->spans.count; g->span++, g->inside = false) {
		const struct interval *s = &m->spans.at[g->span];

		while (!g->inside || g->passed != last_of(s)) {
			const struct interval *u = &m->used.at[g->used];
			bool bounded = g->used < m->used.count && u->start <= last_of(s);

			*start = g->inside ? g->passed + 1 : s->start;
			*last = bounded ? u->start - 1 : last_of(s);
			g->inside = true;
			g->passed = bounded ? last_of(u) : last_of(s);
			g->used += bounded;
			if (!bounded || *start < u->start)
				return true;
		}
	}
	return false;
}

#define for_each_gap(m, start, last)                                                               \
	for (struct gaps gaps_ = {0}; next_gap(m, &gaps_, &(start), &(last));)

bool model_can_serve(const struct model *m, size_t size)
{
	return model_best(m, size) != 0;
}

uintptr_t model_best(const struct model *m, size_t size)
{
	uintptr_t start, last, best = 0;
	size_t best_size = 0;

	for_each_gap (m, start, last) {
		size_t gap = last - start + 1;

		if (gap >= size && (best == 0 || gap < best_size)) {
			best = start;
			best_size = gap;
		}
	}
	return best;
}

uintptr_t model_next(const struct model *m, size_t size)
{
	uintptr_t start, last, lowest = 0;

	for_each_gap (m, start, last) {
		uintptr_t from = start;

		if (lowest == 0 && last - start >= size - 1)
			lowest = start;
		if (m->next_begun && last <= m->next_last)
			continue;
		if (m->next_begun && start <= m->next_last)
			from = m->next_last + 1;
		if (last - from >= size - 1)
			return from;
	}
	return lowest;
}

bool model_satisfies(const struct model_request *rq, uintptr_t r)
{
	uintptr_t last = r + (rq->size - 1);

	return last >= r && r % rq->quantum == 0 && (!rq->align || r % rq->align == rq->phase) &&
	       (!rq->nocross || r / rq->nocross == last / rq->nocross) && r >= rq->min &&
	       (!rq->max || last < rq->max);
}

/* Rounds [*start, *last] inward to q; false if nothing is left. */
static bool inward(uintptr_t *start, uintptr_t *last, size_t q)
{
	uintptr_t over = *start % q, first = over ? *start + (q - over) : *start;
	size_t units = *last - first + 1;

	if (first < *start || first > *last || units / q == 0)
		return false;
	*start = first;
	*last = first + (units / q * q - 1);
	return true;
}

/* Every quantum of the gap is tried, up to where the constraints repeat. */
static uintptr_t lowest_in(const struct model_request *rq, uintptr_t start, uintptr_t last)
{
	size_t widest = rq->align > rq->nocross ? rq->align : rq->nocross;
	size_t tries = 2 * (widest + 1);

	for (size_t i = rq->clip_count; i-- > 0;)
		if (!inward(&start, &last, rq->clips[i]))
			return 0;
	if (start < rq->min)
		start = rq->min;
	for (uintptr_t r = start % rq->quantum ? start + (rq->quantum - start % rq->quantum) : start;
		r >= start && r <= last && last - r >= rq->size - 1 && tries-- > 0; r += rq->quantum)
		if (model_satisfies(rq, r))
			return r;
	return 0;
}

uintptr_t model_lowest(const struct model *m, const struct model_request *rq, uintptr_t from)
{
	struct model_request above = *rq;
	uintptr_t start, last;

	above.min = from > rq->min ? from : rq->min;
	for_each_gap (m, start, last) {
		uintptr_t r = lowest_in(&above, start, last);

		if (r != 0)
			return r;
	}
	return 0;
}

/* The same from the top. */
static uintptr_t highest_in(const struct model_request *rq, uintptr_t start, uintptr_t last)
{
	size_t widest = rq->align > rq->nocross ? rq->align : rq->nocross;
	size_t tries = 2 * (widest + 1);
	uintptr_t r;

	if (rq->max && last > rq->max - 1)
		last = rq->max - 1;
	if (last < start || last - start < rq->size - 1)
		return 0;
	r = last - (rq->size - 1);
	for (r -= r % rq->quantum; r >= start && tries-- > 0; r -= rq->quantum) {
		if (model_satisfies(rq, r))
			return r;
		if (r < rq->quantum)
			break;
	}
	return 0;
}

uintptr_t model_highest(const struct model *m, const struct model_request *rq)
{
	uintptr_t start, last, highest = 0;

	for_each_gap (m, start, last) {
		uintptr_t r = highest_in(rq, start, last);

		highest = r ? r : highest;
	}
	return highest;
}

uintptr_t model_next_lowest(const struct model *m, const struct model_request *rq)
{
	uintptr_t r = 0;

	if (m->next_begun && m->next_last != UINTPTR_MAX)
		r = model_lowest(m, rq, m->next_last + 1);
	return r ? r : model_lowest(m, rq, 0);
}

size_t model_gaps(const struct model *m)
{
	uintptr_t start, last;
	size_t n = 0;

	for_each_gap (m, start, last)
		n++;
	return n;
}

size_t model_amount(const struct intervals *v)
{
	size_t sum = 0;

	for (size_t i = 0; i < v->count; i++)
		sum += v->at[i].size;
	return sum;
}
