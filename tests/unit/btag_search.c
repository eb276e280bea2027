/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segment store alone: random changes, and after every few of them searches of every kind, each
 * held against a look at all free segments.
 *
 * What is free is noted apart, a byte for each quantum of a few regions; the index comes and goes
 * in steps, and nodes for it are withheld now and then.  A search takes as many steps as it needs.
 * In some searches the store changes between two steps; then what is found has to serve at that
 * moment, and nothing else is promised.  In the others the answer has to be exact.
 */
#include "arena.h"
#include "btag/btag.h"
#include "lib/string.h"
#include "lib/test.h"

#define REGIONS 5
#define QUANTA 192 /* of a region */
#define HALF (QUANTA / 2)
#define TAGS 2048
#define USED_MAX (REGIONS * QUANTA)
#define FREE_MAX (REGIONS * QUANTA)
#define CONSTRAINTS 16 /* more than an index keeps and counts */
#define STEPS_MAX 8000 /* of one search */
#define LOOKS_MAX 1000 /* of one step */
_Static_assert(CONSTRAINTS > BTAG_TRIPLES + BTAG_RIVALS, "triples take each other's places");

enum state { ABSENT, FREE, USED };

/* One span, or a span for each half that is there. */
struct region {
	uintptr_t start;
	bool is_split;
	char state[QUANTA];
};

/* A segment: quanta [first, first + count) of a region. */
struct piece {
	size_t region, first, count;
};

/* The units from `first` to `last`. */
struct range {
	uintptr_t first, last;
};

/* A triple, and what sizes under it are multiples of. */
struct constraint {
	size_t unit;
	struct btag_triple triple;
};

static struct rig {
	struct btag_store store;
	size_t quantum;
	struct region regions[REGIONS];
	struct piece used[USED_MAX];
	size_t used_count, used_peak;
	struct range free[FREE_MAX]; /* in address order; noted by note_free() */
	size_t free_count;
	bool is_noted, has_next;
	uintptr_t next_last; /* next fit goes on behind it, if has_next */
	struct constraint constraints[CONSTRAINTS];
	size_t constraint_count;
	struct btag_cursor cursor;
	struct btag_chain idle, nodes;
	struct btag *tags;
	char *node_memory;
	bool is_building, withholds;
	uintptr_t refined;
	/* What the run has met. */
	size_t searches, by_index, by_kept, in_steps, lacking, dropped, grown;
} rig;

/* Memory */

static void rig_memory(void)
{
	rig.tags = base_alloc(NULL, TAGS * sizeof(*rig.tags), MEM_WAIT);
	rig.node_memory = base_alloc(NULL, TAGS * BTAG_NODE_SIZE, MEM_WAIT);
	for (size_t i = 0; i < TAGS; i++) {
		btag_chain_push(&rig.idle, &rig.tags[i]);
		btag_chain_push(&rig.nodes, (struct btag *)(rig.node_memory + i * BTAG_NODE_SIZE));
	}
}

static void tags_fill(void)
{
	struct btag_chain some = {NULL, 0};

	while (rig.store.spare.count + some.count < 4)
		btag_chain_push(&some, btag_chain_pop(&rig.idle));
	btag_give(&rig.store, &some);
	CHECK(some.head == NULL && some.count == 0);
	if (rig.store.spare.count > 8)
		btag_take(&rig.store, &rig.idle, rig.idle.count + 4);
}

static void nodes_give(void)
{
	struct btag_chain some = {NULL, 0};

	for (size_t lacks = btag_index_lacks(&rig.store); lacks > 0 && rig.nodes.head; lacks--)
		btag_chain_push(&some, btag_chain_pop(&rig.nodes));
	btag_index_give(&rig.store, &some);
}

/* The nodes that an index lacks, unless they are withheld: then it ends sooner or later. */
static void nodes_fill(void)
{
	if (test_random_below(rig.withholds ? 100 : 3000) == 0)
		rig.withholds = !rig.withholds;
	if (!rig.store.index.needs_care || rig.withholds)
		return;
	btag_index_take(&rig.store, &rig.nodes);
	if (rig.store.index.live)
		nodes_give();
}

/* What is free */

static uintptr_t address(size_t region, size_t i)
{
	return rig.regions[region].start + i * rig.quantum;
}

static void mark(struct piece p, enum state state)
{
	memset(rig.regions[p.region].state + p.first, state, p.count);
	rig.is_noted = false;
}

/* A segment ends where its span does. */
static bool is_edge(size_t region, size_t i)
{
	return i == QUANTA || (i == HALF && rig.regions[region].is_split);
}

/* The next free segment, from p->region and p->first on. */
static bool next_free(struct piece *p)
{
	for (; p->region < REGIONS; p->region++, p->first = 0) {
		const char *state = rig.regions[p->region].state;

		while (p->first < QUANTA && state[p->first] != FREE)
			p->first++;
		if (p->first == QUANTA)
			continue;
		p->count = 1;
		while (!is_edge(p->region, p->first + p->count) &&
			state[p->first + p->count] == FREE)
			p->count++;
		return true;
	}
	return false;
}

#define FOR_EACH_FREE(p) for (struct piece p = {0}; next_free(&(p)); (p).first += (p).count)

static struct range range_of(struct piece p)
{
	uintptr_t first = address(p.region, p.first);

	return (struct range){first, first + (p.count * rig.quantum - 1)};
}

static void note_free(void)
{
	if (rig.is_noted)
		return;
	rig.free_count = 0;
	FOR_EACH_FREE(p)
	rig.free[rig.free_count++] = range_of(p);
	rig.is_noted = true;
}

static struct btag *tag_at(uintptr_t start)
{
	struct btag *t = rig.store.anchor.next;

	while (t != &rig.store.anchor && (t->start != start || t->kind == BTAG_SPAN))
		t = t->next;
	CHECK(t != &rig.store.anchor);
	return t;
}

/* Changes */

static void note_used(struct piece p)
{
	mark(p, USED);
	rig.used[rig.used_count++] = p;
	if (rig.store.used > rig.used_peak)
		rig.used_peak = rig.store.used;
}

static enum btag_kind random_kind(void)
{
	return test_random_below(2) ? BTAG_USED : BTAG_XALLOCATED;
}

static void carve(struct btag *f, struct piece p, bool moves)
{
	uintptr_t start = address(p.region, p.first);
	enum btag_kind kind = random_kind();
	struct btag *t = btag_carve(&rig.store, f, start, p.count * rig.quantum, kind);

	CHECK_EQ(t->start, start);
	CHECK_EQ(t->size, p.count * rig.quantum);
	CHECK_EQ(t->kind, kind);
	note_used(p);
	if (!moves)
		return;
	btag_next_fit_move(&rig.store, t);
	rig.has_next = true;
	rig.next_last = range_of(p).last;
}

/* A part of a free segment, at its front or within. */
static void carve_in(struct piece p)
{
	struct btag *f = tag_at(range_of(p).first);
	size_t count = 1 + test_random_below(test_random_below(8) ? 4 : p.count);

	count = count < p.count ? count : p.count;
	p.first += test_random_below(2) ? test_random_below(p.count - count + 1) : 0;
	p.count = count;
	carve(f, p, test_random_below(4) == 0);
}

static void random_carve(void)
{
	size_t k;

	note_free();
	k = rig.free_count ? test_random_below(rig.free_count) : 0;
	FOR_EACH_FREE(p)
	{
		if (k-- > 0)
			continue;
		carve_in(p);
		return;
	}
}

static bool is_all(size_t region, size_t first, size_t count, enum state state)
{
	for (size_t i = first; i < first + count; i++)
		if (rig.regions[region].state[i] != (char)state)
			return false;
	return true;
}

static void span_out(struct btag *span, struct piece p)
{
	btag_span_out(&rig.store, span);
	mark(p, ABSENT);
}

/* Now and then a span goes with the used segment that is the whole of it. */
static void release(size_t k)
{
	struct piece p = rig.used[k];
	struct range r = range_of(p);
	struct hash_link **at = btag_seek(&rig.store, r.first);
	struct btag *t, *whole, *kept;

	CHECK(*at != NULL);
	t = btag_unuse(&rig.store, at);
	CHECK_EQ(t->start, r.first);
	CHECK_EQ(btag_last(t), r.last);
	rig.used[k] = rig.used[--rig.used_count];
	rig.used_peak = rig.store.used_peak;
	whole = btag_span_whole(t);
	if (whole && test_random_below(2)) {
		span_out(whole, p);
		return;
	}
	kept = btag_release(&rig.store, t);
	CHECK_EQ(kept->kind, BTAG_FREE);
	CHECK(kept->start <= r.first && r.last <= btag_last(kept));
	mark(p, FREE);
}

static void random_release(void)
{
	if (rig.used_count > 0)
		release(test_random_below(rig.used_count));
}

/* The free segment behind a piece; count 0: none is. */
static struct piece free_behind(struct piece p)
{
	struct piece behind = {p.region, p.first + p.count, 0};

	while (!is_edge(p.region, behind.first + behind.count) &&
		(behind.count > 0 || !is_edge(p.region, behind.first)) &&
		rig.regions[p.region].state[behind.first + behind.count] == FREE)
		behind.count++;
	return behind;
}

/* Over a part of the free segment behind it, or over all. */
static void grow(size_t k)
{
	struct piece *p = &rig.used[k], more = free_behind(*p);
	struct btag *t = tag_at(range_of(*p).first);

	if (more.count == 0)
		return;
	more.count = 1 + test_random_below(more.count);
	btag_grow(&rig.store, t, more.count * rig.quantum);
	p->count += more.count;
	CHECK_EQ(btag_last(t), range_of(*p).last);
	mark(more, USED);
	if (rig.store.used > rig.used_peak)
		rig.used_peak = rig.store.used;
}

static void split(size_t k)
{
	struct piece *p = &rig.used[k], upper = *p;
	struct btag *t = tag_at(range_of(*p).first);

	if (p->count == 1)
		return;
	p->count = 1 + test_random_below(p->count - 1);
	upper.first += p->count;
	upper.count -= p->count;
	btag_split(&rig.store, t, range_of(upper).first);
	CHECK_EQ(btag_last(t), range_of(*p).last);
	CHECK_EQ(t->next->kind, t->kind);
	note_used(upper);
}

static void random_resize(void)
{
	if (rig.used_count > 0)
		(test_random_below(2) ? grow : split)(test_random_below(rig.used_count));
}

/* Where the cursor stands: what is used there or next to it is released, or grows over what is free there;
 * what is free is cut. */
static void change_at_cursor(void)
{
	const struct btag_cursor *c = &rig.cursor;

	for (size_t k = test_random_below(2) ? rig.used_count : 0; k < rig.used_count; k++) {
		struct piece behind = free_behind(rig.used[k]);

		if (behind.count > 0 && range_of(behind).first <= c->last && range_of(behind).last > c->last) {
			grow(k);
			return;
		}
	}
	for (size_t k = 0; k < rig.used_count; k++) {
		struct range r = range_of(rig.used[k]);

		if (r.first == c->last + 1 || (r.first <= c->last && r.last >= c->last)) {
			release(k);
			return;
		}
	}
	FOR_EACH_FREE(p)
	{
		if (range_of(p).first <= c->last && range_of(p).last >= c->last) {
			carve_in(p);
			return;
		}
	}
}

/* The extent has ragged ends, but where it touches the other half or the last integer. */
static void span_in(struct piece p)
{
	size_t q = rig.quantum, above = p.first + p.count == QUANTA && p.region < REGIONS - 1;
	uintptr_t start = address(p.region, p.first), size = p.count * q;
	size_t ragged = p.first == 0 ? test_random_below(q) : 0;
	struct piece taken = {
		p.region, p.first, test_random_below(2) ? 1 + test_random_below(p.count) : 0};
	struct btag_extent e;
	struct btag *t;

	taken.first += taken.count ? test_random_below(p.count - taken.count + 1) : 0;
	size += ragged + (above ? test_random_below(q) : 0);
	CHECK(btag_extent_find(&rig.store, start - ragged, size, &e));
	CHECK_EQ(e.first, start);
	CHECK_EQ(e.inside, p.count * q);
	mark(p, FREE);
	t = btag_span_in(&rig.store, &e, test_random_below(2), address(p.region, taken.first),
		taken.count * q, taken.count ? random_kind() : BTAG_FREE);
	CHECK_EQ(t->start, address(p.region, taken.first));
	CHECK_EQ(t->size, (taken.count ? taken.count : p.count) * q);
	if (taken.count)
		note_used(taken);
	CHECK(!btag_extent_find(&rig.store, start, q, &e));
}

static struct btag *span_of(size_t region, size_t first)
{
	struct btag *span = btag_span_below(&rig.store, address(region, first));

	CHECK(span && btag_last(span) >= address(region, first));
	return span;
}

/* Which piece ends at the edge of a region's lower half: of what is free there one is carved. */
static size_t piece_at_edge(size_t r)
{
	size_t k = 0;

	for (struct piece p = {r, 0, 0}; rig.regions[r].state[HALF - 1] == FREE && next_free(&p) && p.region == r;
		p.first += p.count)
		if (p.first + p.count == HALF)
			carve(tag_at(range_of(p).first), (struct piece){r, HALF - 1, 1}, false);
	while (rig.used[k].region != r || rig.used[k].first + rig.used[k].count != HALF)
		k++;
	return k;
}

/* It grows over the upper half, which comes with the span. */
static void span_grow(size_t r)
{
	struct piece *p = &rig.used[piece_at_edge(r)];
	uint64_t changes = rig.store.changes;

	btag_span_grow(&rig.store, tag_at(range_of(*p).first), HALF * rig.quantum);
	CHECK_LT(changes, rig.store.changes);
	p->count += HALF;
	rig.regions[r].is_split = false;
	mark((struct piece){r, HALF, HALF}, USED);
	if (rig.store.used > rig.used_peak)
		rig.used_peak = rig.store.used;
	rig.grown++;
}

/* So that its spans may go. */
static void region_empty(size_t r)
{
	for (size_t k = rig.used_count; k-- > 0;)
		if (k < rig.used_count && rig.used[k].region == r)
			release(k);
}

/* A region comes as a span, or half by half, which may become one; and it goes when it is free. */
static void random_span(void)
{
	size_t r = test_random_below(REGIONS), half = test_random_below(2) * HALF;
	struct region *region = &rig.regions[r];
	struct piece whole = {r, 0, QUANTA}, part = {r, half, HALF};

	if (test_random_below(12) == 0)
		region_empty(r);
	if (is_all(r, 0, QUANTA, ABSENT) && test_random_below(2)) {
		region->is_split = false;
		span_in(whole);
	} else if (half == HALF && is_all(r, HALF, HALF, ABSENT) && region->state[0] != ABSENT && test_random_below(2)) {
		span_grow(r);
	} else if (is_all(r, half, HALF, ABSENT)) {
		region->is_split = true;
		span_in(part);
	} else if (!region->is_split) {
		if (is_all(r, 0, QUANTA, FREE) && btag_span_whole(tag_at(address(r, 0))))
			span_out(span_of(r, 0), whole);
	} else if (is_all(r, half, HALF, FREE) && test_random_below(2)) {
		span_out(span_of(r, half), part);
	} else if (region->state[0] != ABSENT && region->state[HALF] != ABSENT) {
		btag_span_join(&rig.store, span_of(r, 0), span_of(r, HALF));
		region->is_split = false;
		rig.is_noted = false;
	}
}

static void index_gathers(bool gathers)
{
	if (rig.is_building == gathers)
		return;
	rig.is_building = gathers;
	if (gathers)
		btag_index_begin(&rig.store);
	else
		btag_index_end(&rig.store);
}

/* One step of its coming into being, of making it exact, or of its end. */
static void random_index(void)
{
	struct btag_index *x = &rig.store.index;

	if (test_random_below(1000) == 0) {
		btag_index_drop(&rig.store);
		rig.dropped++;
	}
	if (x->dead.root || (!x->live && rig.withholds)) {
		btag_index_take(&rig.store, &rig.nodes);
	} else if (x->stands) {
		index_gathers(false);
		if (test_random_below(4) == 0 && !btag_index_refine(&rig.store, &rig.refined))
			rig.refined = 0;
	} else if (x->live || test_random_below(4) == 0) {
		index_gathers(true);
		nodes_give();
		if (btag_index_lacks(&rig.store) == 0)
			btag_index_build(&rig.store);
	}
}

/* Some tag, a segment's or a span's; a search, or a checker, may have the one before in hand. */
static void random_retag(void)
{
	struct btag *t = rig.store.anchor.next;
	uint64_t changes = rig.store.changes;

	for (size_t n = test_random_below(2 * REGIONS * 8); n > 0; n--)
		t = t->next;
	if (t == &rig.store.anchor)
		return;
	btag_retag(&rig.store, t);
	CHECK_EQ(t->kind, BTAG_IDLE);
	CHECK_LT(changes, rig.store.changes);
	btag_chain_push(&rig.idle, t);
}

/* What tells a checker and a search that the store has changed. */
static void check_changes(uint64_t changes, size_t used, size_t total, size_t spans)
{
	const struct btag_store *s = &rig.store;

	CHECK_LE(changes, s->changes);
	CHECK(changes < s->changes || (used == s->used && total == s->total && spans == s->spans));
}

static void change(bool fills)
{
	uint64_t changes = rig.store.changes;
	size_t used = rig.store.used, total = rig.store.total, spans = rig.store.spans;

	tags_fill();
	switch (test_random_below(20)) {
	case 0:
		random_span();
		break;
	case 16:
		change_at_cursor();
		break;
	case 17 ... 18:
		random_resize();
		break;
	case 19:
		random_retag();
		break;
	case 1 ... 3:
		random_index();
		break;
	default:
		test_random_below(8) < (fills ? 5u : 3u) ? random_carve() : random_release();
	}
	check_changes(changes, used, total, spans);
	nodes_fill();
}

/* What a look at every number says */

static bool serves_at(const struct btag_triple *t, struct range segment, struct range window,
	size_t size, uintptr_t at)
{
	uintptr_t last = at + (size - 1), over = at % t->grain,
		  under = t->grain - 1 - last % t->grain;

	return last >= at && window.first <= at && last <= window.last && segment.first <= at &&
	       last <= segment.last && at % t->step == t->phase &&
	       (!t->nocross || at / t->nocross == last / t->nocross) &&
	       at - segment.first >= over && segment.last - last >= under;
}

/* The lowest place in a segment, or the highest. */
static bool look_in_segment(const struct btag_triple *t, struct range segment, struct range window,
	size_t size, bool high, uintptr_t *at)
{
	uintptr_t r = segment.first - segment.first % t->step + t->phase;
	bool found = false;

	for (; r <= segment.last; r += t->step) {
		if (serves_at(t, segment, window, size, r)) {
			*at = r;
			found = true;
			if (!high)
				break;
		}
		if (r + t->step < r)
			break;
	}
	return found;
}

/* Tags that carving the whole quanta and grains around the place takes. */
static unsigned tags_for(const struct btag_request *rq, struct range segment, uintptr_t at)
{
	size_t q = rq->triple.grain > rig.quantum ? rq->triple.grain : rig.quantum;
	uintptr_t last = at + (rq->size - 1);

	return (at - at % q != segment.first) + (last + (q - 1 - last % q) != segment.last);
}

/* The first segment in the order of the request with a place at or above `from`. */
static bool look_at_all(
	const struct btag_request *rq, unsigned tags_max, uintptr_t from, uintptr_t *at)
{
	struct range window = {from > rq->lo ? from : rq->lo, rq->hi};
	bool high = rq->fit == BTAG_FIT_HIGH, found = false;
	size_t best = 0;
	uintptr_t here;

	for (size_t i = 0; i < rig.free_count; i++) {
		struct range segment = rig.free[high ? rig.free_count - 1 - i : i];

		if (segment.last - segment.first < rq->size - 1 || segment.first > window.last ||
			segment.last < window.first)
			continue;
		if (found && segment.last - segment.first >= best)
			continue;
		if (!look_in_segment(&rq->triple, segment, window, rq->size, high, &here) ||
			tags_for(rq, segment, here) > tags_max)
			continue;
		*at = here;
		found = true;
		best = segment.last - segment.first;
		if (rq->fit != BTAG_FIT_BEST)
			break;
	}
	return found;
}

static bool model_search(const struct btag_request *rq, unsigned tags_max, uintptr_t *at)
{
	note_free();
	if (rq->fit == BTAG_FIT_NEXT && rig.has_next && rig.next_last >= rq->lo &&
		rig.next_last < rq->hi && look_at_all(rq, tags_max, rig.next_last + 1, at))
		return true;
	return look_at_all(rq, tags_max, 0, at);
}

/* Searches */

/* A place lies in one free segment, and satisfies all. */
static void check_place(const struct btag_request *rq, const struct btag_place *place)
{
	uintptr_t last = place->start + (place->size - 1);
	struct range r = {place->f->start, btag_last(place->f)}, window = {rq->lo, rq->hi};
	size_t i = 0;

	note_free();
	CHECK_EQ(place->f->kind, BTAG_FREE);
	while (i < rig.free_count && rig.free[i].first != r.first)
		i++;
	CHECK_LT(i, rig.free_count);
	CHECK_EQ(rig.free[i].last, r.last);
	CHECK(serves_at(&rq->triple, r, window, rq->size, place->at));
	CHECK(r.first <= place->start && place->start <= place->at);
	CHECK(place->at + (rq->size - 1) <= last && last <= r.last);
	CHECK_EQ((place->start - r.first) % rig.quantum, 0);
	CHECK_EQ(place->size % rig.quantum, 0);
	CHECK_EQ(btag_place_tags(place), tags_for(rq, r, place->at));
}

/* The whole quanta around a place become used. */
static void take(const struct btag_request *rq, const struct btag_place *place)
{
	FOR_EACH_FREE(p)
	{
		if (range_of(p).first != place->f->start)
			continue;
		p.first += (place->start - place->f->start) / rig.quantum;
		p.count = place->size / rig.quantum;
		tags_fill();
		carve(place->f, p, rq->fit == BTAG_FIT_NEXT);
		nodes_fill();
		return;
	}
}

static void check_exact(const struct btag_request *rq, const struct btag_search *c,
	enum btag_verdict v, const struct btag_place *place)
{
	uintptr_t at;
	bool expected = model_search(rq, c->tags_max, &at);

	CHECK_EQ(v == BTAG_FOUND, expected);
	if (expected && rq->fit != BTAG_FIT_ANY)
		CHECK_EQ(place->at, at);
	if (v != BTAG_NOTHING || c->tags_max == BTAG_CARVE_TAGS)
		return;
	expected = model_search(rq, BTAG_CARVE_TAGS, &at);
	CHECK_EQ(c->lacked_tags, expected);
	rig.lacking += expected;
}

/* The index comes whole, or goes, so that a search goes on without it, or in it. */
static void index_turn(void)
{
	if (rig.store.index.stands) {
		btag_index_drop(&rig.store);
		return;
	}
	while (rig.store.index.dead.root)
		btag_index_take(&rig.store, &rig.nodes);
	index_gathers(true);
	nodes_give();
	while (!btag_index_build(&rig.store))
		;
}

/* What may happen between two steps. */
static void between_steps(bool changes, bool turns)
{
	if (turns && test_random_below(3) == 0)
		index_turn();
	for (size_t n = test_random_below(4); n > 0; n--)
		changes ? change(test_random_below(2)) : random_index();
}

static bool is_kept(const struct btag_request *rq)
{
	const struct btag_index *x = &rig.store.index;

	for (unsigned i = 0; x->stands && i < x->triples; i++)
		if (btag_triple_equal(&x->kept[i].rival.triple, &rq->triple))
			return true;
	return false;
}

/* After a search under a kept triple, the numbers it relied on are exact: the next one looks at no
 * segment that doesn't serve, but for those that the window and next fit's place cut.  These and the paths to them
 * may be more than a step, but never more than two. */
static void search_again(const struct btag_request *rq)
{
	struct btag_place place;
	struct btag_search c;

	btag_search_begin(&c, rq);
	while (btag_search_step(&rig.store, &c, &place) == BTAG_MORE)
		CHECK_LT(c.steps, 2);
	CHECK_LE(c.looks, 4);
	btag_search_end(&rig.store, &c);
}

/* To its end; `changes`: the store changes meanwhile, else only the index comes and goes. */
static void search(const struct btag_request *rq, unsigned tags_max, bool changes)
{
	bool turns = test_random_below(64) == 0;
	struct btag_place place;
	struct btag_search c;
	enum btag_verdict v;
	bool was_kept = is_kept(rq);
	uint64_t stamp = rig.store.index.stamp;

	btag_search_begin(&c, rq);
	c.tags_max = tags_max;
	for (;;) {
		rig.store.looks = 0;
		v = btag_search_step(&rig.store, &c, &place);
		CHECK_LT(rig.store.looks, LOOKS_MAX);
		if (v != BTAG_MORE)
			break;
		CHECK_LT(c.steps, STEPS_MAX);
		/* A search begins anew where the index comes or goes: not for ever. */
		between_steps(changes, turns && c.steps < STEPS_MAX / 2);
	}
	btag_search_end(&rig.store, &c);
	CHECK(!c.is_walking);
	rig.searches++;
	rig.in_steps += c.steps > 1;
	rig.by_index += c.by_index;
	if (!changes)
		check_exact(rq, &c, v, &place);
	if (!changes && was_kept && is_kept(rq) && stamp == rig.store.index.stamp && c.by_index) {
		search_again(rq);
		rig.by_kept++;
	}
	if (v != BTAG_FOUND)
		return;
	check_place(rq, &place);
	CHECK_LE(btag_place_tags(&place), tags_max);
	if (test_random_below(8) == 0)
		take(rq, &place);
}

/* The window is all, or begins or ends near where something is. */
static struct range random_window(size_t size)
{
	uintptr_t at = address(test_random_below(REGIONS), test_random_below(QUANTA));
	size_t width = size + test_random_below(60 * rig.quantum);
	struct range r = {0, UINTPTR_MAX};

	at -= test_random_below(2 * rig.quantum);
	if (test_random_below(2))
		r.first = at;
	if (test_random_below(2))
		r.last = at + (width - 1) < at ? UINTPTR_MAX : at + (width - 1);
	return r;
}

static void random_request(struct btag_request *rq)
{
	/* A few are frequent, and others after them. */
	size_t k = test_random_below(3) ? rig.searches / 512 + test_random_below(3) : test_random();
	const struct constraint *c = &rig.constraints[k % rig.constraint_count];
	struct range all = {0, UINTPTR_MAX}, window;
	bool is_plain;

	rq->size = (1 + test_random_below(test_random_below(3) ? 5 : 60)) * c->unit;
	while (c->triple.nocross && rq->size > c->triple.nocross && test_random_below(16))
		rq->size -= rq->size > c->unit ? c->unit : 0;
	window = test_random_below(2) ? all : random_window(rq->size);
	rq->triple = c->triple;
	rq->lo = window.first;
	rq->hi = window.last;
	is_plain = btag_triple_is_plain(&rig.store, &rq->triple);
	rq->is_plain = is_plain && rq->lo == 0 && rq->hi == UINTPTR_MAX;
	do
		rq->fit = (enum btag_fit)test_random_below(BTAG_FIT_HIGH + 1);
	while (rq->fit == BTAG_FIT_BEST && !rq->is_plain);
}

/* What is found in constant time, or not. */
static void search_constant(const struct btag_request *rq)
{
	size_t least = btag_round_up(&rig.store, rq->size);
	bool is_whole = false, surely;
	struct btag_place place;

	note_free();
	if (rq->lo == 0 && rq->hi == UINTPTR_MAX) {
		size_t covers = rq->is_plain
					? least
					: btag_triple_covers(&rq->triple, rig.quantum, rq->size);

		surely = btag_fit_surely(&rig.store, rq, &place);
		if (surely)
			check_place(rq, &place);
		for (size_t i = 0; covers && i < rig.free_count; i++)
			CHECK(surely || rig.free[i].last - rig.free[i].first < 2 * covers);
	}
	for (size_t i = 0; i < rig.free_count; i++) {
		struct range window = {rq->lo, rq->hi};
		uintptr_t at;

		is_whole |= rig.free[i].last - rig.free[i].first == least - 1 &&
			    look_in_segment(&rq->triple, rig.free[i], window, rq->size,
				    rq->fit == BTAG_FIT_HIGH, &at) &&
			    tags_for(rq, rig.free[i], at) == 0;
	}
	if (btag_fit_exact(&rig.store, rq, &place)) {
		check_place(rq, &place);
		CHECK_EQ(btag_place_tags(&place), 0);
		CHECK(is_whole);
	} else {
		CHECK(!is_whole || rig.free_count > BTAG_LOOKS);
	}
}

/* In a span that is to come. */
static void search_within(const struct btag_request *rq)
{
	size_t count = 1 + test_random_below(QUANTA), q = rig.quantum;
	struct piece p = {test_random_below(REGIONS), 0, count};
	struct range segment, window = {rq->lo, rq->hi};
	struct btag_place place;
	uintptr_t at;
	bool found;

	/* A plain request is whole quanta. */
	if (rq->is_plain && rq->size % q)
		return;
	p.first = test_random_below(QUANTA - count + 1);
	segment = range_of(p);
	found = look_in_segment(
		&rq->triple, segment, window, rq->size, rq->fit == BTAG_FIT_HIGH, &at);
	CHECK_EQ(btag_place_within(&rig.store, rq, segment.first, count * q, &place), found);
	if (!found)
		return;
	CHECK_EQ(place.at, at);
	CHECK(segment.first <= place.start && place.start <= at);
	CHECK_LE(at + (rq->size - 1), place.start + (place.size - 1));
	CHECK_LE(place.start + (place.size - 1), segment.last);
	CHECK_EQ(place.start % q, 0);
	CHECK_EQ(place.size % q, 0);
}

/* The store as a whole */

/* Its list holds what is free and used, in order, and each free segment is in its bin. */
static void compare_store(void)
{
	size_t q = rig.quantum, n_free = 0, n_used = 0, used = 0, free = 0, spans = 0;
	const char *wrong = btag_index_check(&rig.store);

	CHECK_STR(wrong ? wrong : "", "");
	note_free();
	for (struct btag *t = rig.store.anchor.next; t != &rig.store.anchor; t = t->next) {
		CHECK_EQ((uintptr_t)t->next->prev, (uintptr_t)t);
		if (t->kind == BTAG_SPAN) {
			spans++;
		} else if (t->kind == BTAG_FREE) {
			CHECK_LT(n_free, rig.free_count);
			CHECK_EQ(t->start, rig.free[n_free].first);
			CHECK_EQ(btag_last(t), rig.free[n_free].last);
			CHECK_EQ(t->bin, btag_bin_of(btag_scaled(&rig.store, t->size)));
			wrong = btag_index_check_one(&rig.store, t);
			CHECK_STR(wrong ? wrong : "", "");
			n_free++;
			free += t->size;
		} else {
			CHECK_EQ((uintptr_t)btag_of_link(*btag_seek(&rig.store, t->start)),
				(uintptr_t)t);
			n_used++;
			used += t->size;
		}
	}
	CHECK_EQ(n_free, rig.free_count);
	CHECK_EQ(n_free, rig.store.segments_free);
	CHECK_EQ(n_used, rig.used_count);
	CHECK_EQ(used, rig.store.used);
	CHECK_EQ(used + free, rig.store.total);
	CHECK_EQ(spans, rig.store.spans);
	CHECK_EQ(used % q, 0);
	CHECK_LE(rig.used_peak, rig.store.used_peak > used ? rig.store.used_peak : used);
}

/* What is known without a search. */
static void compare_sizes(void)
{
	size_t size = (1 + test_random_below(QUANTA)) * rig.quantum, largest = 0, told;
	struct btag *f = btag_fit_instant(&rig.store, btag_scaled(&rig.store, size));

	note_free();
	for (size_t i = 0; i < rig.free_count; i++)
		if (rig.free[i].last - rig.free[i].first + 1 > largest)
			largest = rig.free[i].last - rig.free[i].first + 1;
	CHECK(largest < size || btag_may_serve(&rig.store, size));
	CHECK(largest < size || btag_holds_enough(&rig.store, size));
	CHECK(largest >= size || rig.free_count > BTAG_LOOKS || !btag_may_serve(&rig.store, size));
	CHECK(!f || (f->kind == BTAG_FREE && f->size >= size));
	CHECK(f || largest < 2 * size);
	told = btag_largest_free(&rig.store);
	if (rig.store.index.stands || rig.free_count <= BTAG_LOOKS)
		CHECK_EQ(told, largest);
	CHECK_LE(told, largest);
	CHECK_LE(largest - told, largest / 9);
}

/* The cursor's next segment is the first that isn't wholly behind the last one, as they are now. */
static void compare_cursor(void)
{
	struct btag_cursor *c = &rig.cursor, before = *c;
	uintptr_t start, expected = 0;
	bool is_there = false;
	struct btag *t;

	for (size_t i = 0; i < REGIONS * QUANTA && !is_there; i++) {
		expected = address(i / QUANTA, i % QUANTA);
		is_there = rig.regions[i / QUANTA].state[i % QUANTA] != ABSENT &&
			   (!before.begun || expected > before.last);
	}
	do
		t = btag_cursor_next(&rig.store, c, &start);
	while (t && (t->kind == BTAG_SPAN || start == 0));
	CHECK_EQ(t != NULL, is_there);
	if (t) {
		CHECK_EQ(start, expected);
		CHECK(t->start <= start && start <= btag_last(t));
		CHECK_EQ(c->last, btag_last(t));
	} else {
		btag_cursor_close(&rig.store, c);
		btag_cursor_open(&rig.store, c);
	}
}

static void compare(void)
{
	struct btag_request rq;

	for (int i = 0; i < 4; i++) {
		bool lacks_tags = test_random_below(6) == 0;
		unsigned tags =
			lacks_tags ? (unsigned)test_random_below(BTAG_CARVE_TAGS) : BTAG_CARVE_TAGS;

		random_request(&rq);
		search(&rq, tags, test_random_below(3) == 0);
	}
	search_constant(&rq);
	search_within(&rq);
	compare_sizes();
	compare_store();
	compare_cursor();
}

/* All together */

static bool is_power(size_t n)
{
	return (n & (n - 1)) == 0;
}

/* As the store's own arena makes them, and as they come from arenas with smaller and larger quanta.
 */
static void random_constraint(struct constraint *c)
{
	size_t q = rig.quantum, unit = q << test_random_below(3) >> test_random_below(3);
	struct btag_triple *t = &c->triple;

	c->unit = unit = unit ? unit : 1;
	t->step = unit << test_random_below(5);
	t->phase = test_random_below(2) ? test_random_below(t->step / unit) * unit : 0;
	t->nocross = test_random_below(2) ? unit << (1 + test_random_below(7)) : 0;
	t->grain = (unit > q ? unit : q) << (test_random_below(4) == 0);
}

/* With a quantum that is no power of two there are none but windows. */
static void rig_constraints(void)
{
	rig.constraint_count = is_power(rig.quantum) ? CONSTRAINTS : 1;
	for (size_t i = 0; i < rig.constraint_count; i++) {
		struct constraint *c = &rig.constraints[i];

		c->unit = rig.quantum;
		if (i % 8 == 0)
			CHECK(btag_triple_make(&c->triple, &rig.store, 0, 0, 0));
		else
			random_constraint(c);
	}
}

/* The last region ends with the last whole quantum of all integers. */
static void rig_make(size_t quantum)
{
	size_t wraps = UINTPTR_MAX % quantum == quantum - 1;

	memset(&rig, 0, sizeof(rig));
	rig.quantum = quantum;
	rig_memory();
	for (size_t i = 0; i < REGIONS - 1; i++)
		rig.regions[i].start = (2 + i * (QUANTA + 2) + i * i * 997) * quantum;
	rig.regions[REGIONS - 1].start = (UINTPTR_MAX / quantum - QUANTA + wraps) * quantum;
	btag_store_init(&rig.store, quantum);
	rig_constraints();
	btag_cursor_open(&rig.store, &rig.cursor);
	for (size_t i = 0; i < REGIONS; i++) {
		tags_fill();
		span_in((struct piece){i, 0, QUANTA});
	}
}

/* The store is empty: each tag and each node comes back. */
static void rig_memory_end(void)
{
	CHECK(rig.store.anchor.next == &rig.store.anchor);
	index_gathers(false);
	btag_index_drop(&rig.store);
	CHECK(rig.store.cursors == (rig.has_next ? &rig.store.next_fit : NULL));
	while (rig.store.index.nodes_held > 0)
		btag_index_take(&rig.store, &rig.nodes);
	CHECK(!rig.store.index.needs_care);
	btag_take(&rig.store, &rig.idle, TAGS);
	CHECK_EQ(rig.idle.count, TAGS);
	CHECK_EQ(rig.nodes.count, TAGS);
	base_free(NULL, rig.tags, TAGS * sizeof(*rig.tags));
	base_free(NULL, rig.node_memory, TAGS * BTAG_NODE_SIZE);
}

static void rig_end(void)
{
	while (rig.used_count > 0)
		release(rig.used_count - 1);
	for (size_t r = 0; r < REGIONS; r++) {
		size_t count = rig.regions[r].is_split ? HALF : QUANTA;

		for (size_t first = 0; first < QUANTA; first += count)
			if (is_all(r, first, count, FREE))
				span_out(span_of(r, first), (struct piece){r, first, count});
	}
	CHECK_EQ(rig.store.total, 0);
	CHECK_EQ(rig.store.used, 0);
	btag_cursor_close(&rig.store, &rig.cursor);
	rig_memory_end();
}

static void random_test(size_t quantum)
{
	size_t ops = test_ops(20000);

	rig_make(quantum);
	for (size_t n = 0; n < ops; n++) {
		change(n / 400 % 3 != 2);
		if (n % 3 == 0)
			compare();
	}
	/* The run has met what it is for. */
	if (ops >= 10000) {
		CHECK_LT(ops / 10, rig.by_index);
		CHECK_LT(ops / 100, rig.in_steps);
		CHECK_LT(0, rig.lacking);
		CHECK_LT(0, rig.dropped);
		CHECK_LT(0, rig.grown);
		if (is_power(quantum))
			CHECK_LT(ops / 50, rig.by_kept);
	}
	rig_end();
}

TEST("btag: a search finds what a look at every segment finds, quantum 1")
{
	random_test(1);
}

TEST("btag: a search finds what a look at every segment finds, quantum 3")
{
	random_test(3);
}

TEST("btag: a search finds what a look at every segment finds, quantum 6")
{
	random_test(6);
}

TEST("btag: a search finds what a look at every segment finds, quantum 16")
{
	random_test(16);
}

TEST("btag: a search finds what a look at every segment finds, quantum 4096")
{
	random_test(4096);
}

/* A span in which every second unit is used; places are free at 5, 261 and 517. */
#define COMB_FIRST 2
#define COMB_END 760

static const struct btag_request comb_high = {
	.size = 1,
	.fit = BTAG_FIT_HIGH,
	.triple = {.step = 256, .phase = 5, .grain = 1},
	.hi = UINTPTR_MAX,
};

/* A store of one span of `size` numbers, all free. */
static struct btag *whole_make(size_t size)
{
	struct btag_extent e;

	memset(&rig, 0, sizeof(rig));
	rig.quantum = 1;
	rig_memory();
	btag_store_init(&rig.store, 1);
	tags_fill();
	CHECK(btag_extent_find(&rig.store, COMB_FIRST, size, &e));
	return btag_span_in(&rig.store, &e, false, COMB_FIRST, 0, BTAG_FREE);
}

static void comb_make(void)
{
	struct btag *f = whole_make(COMB_END - COMB_FIRST);

	for (uintptr_t at = COMB_FIRST; at < COMB_END; at += 2) {
		tags_fill();
		f = btag_carve(&rig.store, f, at, 1, BTAG_USED)->next;
	}
}

static void comb_end(void)
{
	for (uintptr_t at = COMB_FIRST; at < COMB_END; at += 2)
		btag_release(&rig.store, btag_unuse(&rig.store, btag_seek(&rig.store, at)));
	btag_span_out(&rig.store, rig.store.anchor.next);
	CHECK(rig.store.cursors == NULL);
	rig_memory_end();
}

static void comb_finish(struct btag_search *c)
{
	struct btag_place place;
	enum btag_verdict v;

	while ((v = btag_search_step(&rig.store, c, &place)) == BTAG_MORE)
		CHECK_LT(c->steps, STEPS_MAX);
	btag_search_end(&rig.store, c);
	CHECK_EQ(v, BTAG_FOUND);
	CHECK_EQ(place.at, 517);
}

TEST("btag: a walk goes on rightly after an index that came and went in its midst")
{
	struct btag_place place;
	struct btag_search c;

	comb_make();
	btag_search_begin(&c, &comb_high);
	while (!c.learned) {
		CHECK_LT(c.steps, STEPS_MAX);
		CHECK_EQ(btag_search_step(&rig.store, &c, &place), BTAG_MORE);
	}
	index_turn();
	CHECK_EQ(btag_search_step(&rig.store, &c, &place), BTAG_MORE);
	index_turn();
	comb_finish(&c);
	comb_end();
}

TEST("btag: a search in the index goes on rightly after a walk in its midst")
{
	struct btag_place place;
	struct btag_search c;

	comb_make();
	btag_search_begin(&c, &comb_high);
	index_turn();
	CHECK_EQ(btag_search_step(&rig.store, &c, &place), BTAG_MORE);
	index_turn();
	CHECK_EQ(btag_search_step(&rig.store, &c, &place), BTAG_MORE);
	index_turn();
	comb_finish(&c);
	comb_end();
}

/* Searches the comb to the end; returns how many segments were looked at. */
static size_t comb_looks(const struct btag_request *rq)
{
	struct btag_place place;
	struct btag_search c;
	enum btag_verdict v;

	btag_search_begin(&c, rq);
	while ((v = btag_search_step(&rig.store, &c, &place)) == BTAG_MORE)
		CHECK_LT(c.steps, STEPS_MAX);
	btag_search_end(&rig.store, &c);
	CHECK_EQ(v, BTAG_FOUND);
	return c.looks;
}

TEST("btag: a search under a triple that isn't kept looks at no segment twice")
{
	struct btag_request rq = comb_high;

	comb_make();
	index_turn();
	for (size_t turn = 0; turn < 100 * BTAG_TRIPLES; turn++) {
		rq.triple.phase = comb_high.triple.phase + 2 * (1 + turn % BTAG_TRIPLES);
		comb_looks(&rq);
	}
	CHECK(is_kept(&rq));
	CHECK_LE(comb_looks(&comb_high), COMB_END / 2);
	CHECK(!is_kept(&comb_high));
	index_turn();
	comb_end();
}

static void comb_take(uintptr_t at, size_t size)
{
	tags_fill();
	btag_carve(&rig.store, btag_of_link(*btag_seek(&rig.store, at - 1))->next, at, size, BTAG_USED);
}

static void comb_give(uintptr_t at)
{
	tags_fill();
	btag_release(&rig.store, btag_unuse(&rig.store, btag_seek(&rig.store, at)));
}

/* Searches on while what its first walk has learned goes whenever that is known, [at, at + size) behind a used unit, and
 * comes back for the next walk to learn: at last it takes what serves. */
static enum btag_verdict search_teased(
	const struct btag_request *rq, uintptr_t at, size_t size, struct btag_place *place)
{
	bool is_gone = false;
	struct btag_search c;
	enum btag_verdict v;

	btag_search_begin(&c, rq);
	while ((v = btag_search_step(&rig.store, &c, place)) == BTAG_MORE) {
		CHECK_LT(c.steps, STEPS_MAX);
		if (c.learned && !is_gone)
			comb_take(at, size);
		else if (!c.learned && is_gone)
			comb_give(at);
		is_gone = c.learned;
	}
	btag_search_end(&rig.store, &c);
	CHECK(is_gone);
	comb_give(at);
	return v;
}

TEST("btag: a walk for the highest place ends, though what it learned goes each time")
{
	struct btag_place place;

	comb_make();
	CHECK_EQ(search_teased(&comb_high, 517, 1, &place), BTAG_FOUND);
	CHECK(place.at == 5 || place.at == 261);
	comb_take(5, 1);
	comb_take(261, 1);
	CHECK_EQ(search_teased(&comb_high, 517, 1, &place), BTAG_NOTHING);
	comb_give(261);
	comb_give(5);
	comb_end();
}

TEST("btag: a triple takes a kept one's place when it costs twice as much")
{
	struct btag_request rq = comb_high;
	size_t n = 0;

	comb_make();
	index_turn();
	for (size_t turn = 0; turn < 8 * BTAG_TRIPLES; turn++) {
		rq.triple.phase = comb_high.triple.phase + 2 * (1 + turn % BTAG_TRIPLES);
		comb_looks(&rq);
	}
	for (; n < 1000 && !is_kept(&comb_high); n++)
		comb_looks(&comb_high);
	CHECK_LT(1, n);
	CHECK_LT(n, 1000);
	index_turn();
	comb_end();
}

TEST("btag: an index for which there are no nodes goes while it is being built")
{
	comb_make();
	index_gathers(true);
	CHECK(!btag_index_build(&rig.store));
	CHECK(!rig.store.index.live && !rig.store.index.stands);
	CHECK(rig.store.cursors == NULL);
	comb_end();
}

/* Segments of 34 units, a used one between two, but the highest: more than a step looks at, in one bin. */
#define TEETH 100
#define TOOTH 34

TEST("btag: a walk for the best fit ends, though what it learned goes each time")
{
	static const struct btag_request best = {
		.size = TOOTH - 1,
		.fit = BTAG_FIT_BEST,
		.triple = {.step = 1, .grain = 1},
		.hi = UINTPTR_MAX,
		.is_plain = true,
	};
	static const struct btag_request more = {
		.size = TOOTH + 1,
		.triple = {.step = 1, .grain = 1},
		.hi = UINTPTR_MAX,
		.is_plain = true,
	};
	const uintptr_t end = COMB_FIRST + TEETH * (TOOTH + 1);
	struct btag *f = whole_make(end - 1 - COMB_FIRST);
	struct btag_place place;

	for (size_t n = TEETH; n-- > 0;) {
		tags_fill();
		btag_carve(&rig.store, f, COMB_FIRST + n * (TOOTH + 1), 1, BTAG_USED);
	}
	CHECK_EQ(search_teased(&best, end - TOOTH, TOOTH - 1, &place), BTAG_FOUND);
	CHECK_EQ(place.f->size, TOOTH);
	/* More of the bin than what is looked at in constant time: none of them serves, one may. */
	CHECK(!btag_fit_exact(&rig.store, &more, &place));
	CHECK(btag_may_serve(&rig.store, more.size));
	for (uintptr_t at = COMB_FIRST; at < end - 1; at += TOOTH + 1)
		btag_release(&rig.store, btag_unuse(&rig.store, btag_seek(&rig.store, at)));
	btag_span_out(&rig.store, rig.store.anchor.next);
	rig_memory_end();
}

/* Holes of three units, one after each used unit */
#define HOLES 12

TEST("btag: an index that is being built misses no part of a segment cut meanwhile")
{
	for (uintptr_t hole = COMB_FIRST + 1; hole < COMB_FIRST + 4 * HOLES; hole += 4) {
		struct btag *f = whole_make(4 * HOLES), *cut;
		const char *wrong = NULL;

		for (uintptr_t at = COMB_FIRST; at < COMB_FIRST + 4 * HOLES; at += 4) {
			tags_fill();
			f = btag_carve(&rig.store, f, at, 1, BTAG_USED)->next;
		}
		tags_fill();
		index_gathers(true);
		nodes_give();
		CHECK(!btag_index_build(&rig.store));
		cut = btag_of_link(*btag_seek(&rig.store, hole - 1))->next;
		btag_carve(&rig.store, cut, hole + 1, 1, BTAG_USED);
		while (!btag_index_build(&rig.store))
			CHECK(rig.store.index.live);
		CHECK(rig.store.index.stands);
		for (f = rig.store.anchor.next; f != &rig.store.anchor; f = f->next)
			if (f->kind == BTAG_FREE && !wrong)
				wrong = btag_index_check_one(&rig.store, f);
		CHECK_STR(wrong ? wrong : "", "");
		btag_index_drop(&rig.store);
		while (rig.store.index.dead.root)
			btag_index_take(&rig.store, &rig.nodes);
		btag_release(&rig.store, btag_unuse(&rig.store, btag_seek(&rig.store, hole + 1)));
		for (uintptr_t at = COMB_FIRST; at < COMB_FIRST + 4 * HOLES; at += 4)
			btag_release(&rig.store, btag_unuse(&rig.store, btag_seek(&rig.store, at)));
		btag_span_out(&rig.store, rig.store.anchor.next);
		rig_memory_end();
	}
}
