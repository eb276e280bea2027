/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segment store alone: random changes, and after every few of them every kind of search, each
 * held against a look at all free segments.
 *
 * What is free is noted apart, a byte for each quantum of a few regions; the index comes and goes,
 * and so do triples, in steps, with changes between them.
 */
#include "arena.h"
#include "btag/btag_quick.h"
#include "lib/string.h"
#include "lib/test.h"

#define REGIONS 5
#define QUANTA 128 /* of a region */
#define TAGS 2048
#define USED_MAX (REGIONS * QUANTA)
#define TRIPLES 9

enum state { ABSENT, FREE, USED };

struct region {
	uintptr_t start;
	char state[QUANTA];
};

/* A segment: quanta [first, first + count) of a region. */
struct piece {
	size_t region, first, count;
};

/* A triple in both forms. */
struct constraint {
	size_t quantum, align, phase, nocross;
	struct btag_triple triple;
};

static struct rig {
	struct btag_store store;
	size_t quantum;
	struct region regions[REGIONS];
	struct piece used[USED_MAX];
	size_t used_count;
	struct btag_cursor cursor;
	struct constraint constraints[TRIPLES];
	struct btag_chain idle, nodes;
	struct btag *tags;
	char *node_memory;
	size_t told_by_index; /* searches under a triple that was kept */
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
	btag_take(&rig.store, &rig.idle, rig.idle.count + (rig.store.spare.count > 8 ? 4 : 0));
}

/* The nodes an index lacks, mostly; now and then it ends for want of them. */
static void nodes_fill(void)
{
	struct btag_chain some = {NULL, 0};
	size_t lacks = btag_index_lacks(&rig.store);

	if (lacks == 0)
		btag_index_take(&rig.store, &rig.nodes);
	if (!rig.store.index.live || lacks == 0 || test_random_below(1000) == 0)
		return;
	while (lacks-- > 0)
		btag_chain_push(&some, btag_chain_pop(&rig.nodes));
	btag_index_give(&rig.store, &some);
}

/* What is free */

static uintptr_t address(size_t region, size_t i)
{
	return rig.regions[region].start + i * rig.quantum;
}

static void mark(struct piece p, enum state state)
{
	memset(rig.regions[p.region].state + p.first, state, p.count);
}

/* The next run of free quanta, from p->region and p->first on. */
static bool next_free(struct piece *p)
{
	for (; p->region < REGIONS; p->region++, p->first = 0) {
		const char *state = rig.regions[p->region].state;

		while (p->first < QUANTA && state[p->first] != FREE)
			p->first++;
		for (p->count = 0; p->first + p->count < QUANTA; p->count++)
			if (state[p->first + p->count] != FREE)
				break;
		if (p->count > 0)
			return true;
	}
	return false;
}

#define FOR_EACH_FREE(p) for (struct piece p = {0}; next_free(&(p)); (p).first += (p).count)

static size_t free_count(void)
{
	size_t n = 0;

	FOR_EACH_FREE(p)
		n++;
	return n;
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

static void carve(struct piece p)
{
	struct piece whole = p;
	struct btag *t;

	while (whole.first > 0 && rig.regions[p.region].state[whole.first - 1] == FREE)
		whole.first--;
	t = btag_carve(&rig.store, tag_at(address(p.region, whole.first)), address(p.region, p.first),
		p.count * rig.quantum);
	CHECK_EQ(t->start, address(p.region, p.first));
	CHECK_EQ(t->size, p.count * rig.quantum);
	if (test_random_below(4) == 0)
		btag_cursor_move(&rig.cursor, t);
	mark(p, USED);
	rig.used[rig.used_count++] = p;
}

static void random_carve(void)
{
	size_t n = free_count(), k = n ? test_random_below(n) : 0;

	FOR_EACH_FREE(p) {
		size_t count = 1 + test_random_below(test_random_below(8) ? 4 : p.count);

		if (k-- > 0)
			continue;
		count = count < p.count ? count : p.count;
		p.first += test_random_below(2) ? test_random_below(p.count - count + 1) : 0;
		p.count = count;
		carve(p);
		return;
	}
}

static void release(size_t k)
{
	struct piece p = rig.used[k];
	struct btag *t = btag_find(&rig.store, address(p.region, p.first));

	CHECK(t != NULL);
	btag_release(&rig.store, t);
	mark(p, FREE);
	rig.used[k] = rig.used[--rig.used_count];
}

static void random_release(void)
{
	if (rig.used_count > 0)
		release(test_random_below(rig.used_count));
}

static bool is_all(size_t region, size_t first, size_t count, enum state state)
{
	for (size_t i = first; i < first + count; i++)
		if (rig.regions[region].state[i] != (char)state)
			return false;
	return true;
}

static void region_remove(size_t r)
{
	struct btag *span = btag_span_below(&rig.store, address(r, 0));

	CHECK(span && btag_span_whole(span->next) == span);
	btag_span_remove(&rig.store, span);
	mark((struct piece){r, 0, QUANTA}, ABSENT);
}

static void span_import(uintptr_t start, size_t size)
{
	struct btag_extent e;

	CHECK(btag_extent_find(&rig.store, start, size, &e));
	btag_span_import(&rig.store, &e);
}

/* A region comes as a span, or half by half, which become one; and it goes when it is all free. */
static void random_span(void)
{
	size_t r = test_random_below(REGIONS), half = test_random_below(2) * (QUANTA / 2);
	struct piece p = {r, half, QUANTA / 2};

	if (is_all(r, 0, QUANTA, FREE)) {
		region_remove(r);
	} else if (is_all(r, 0, QUANTA, ABSENT) && test_random_below(2)) {
		p = (struct piece){r, 0, QUANTA};
		span_import(address(r, 0), QUANTA * rig.quantum);
		mark(p, FREE);
	} else if (is_all(r, half, QUANTA / 2, ABSENT)) {
		btag_span_add(&rig.store, address(r, half), QUANTA / 2 * rig.quantum);
		mark(p, FREE);
	}
}

/* One step of its coming into being, of a triple's or the order by size, or its end. */
static void random_index(void)
{
	struct btag_index *x = &rig.store.index;
	struct btag_request rq = {.fit = test_random_below(TRIPLES + 1) ? BTAG_FIT_LOWEST : BTAG_FIT_BEST};
	struct btag_chain some = {NULL, 0};

	if (test_random_below(400) == 0)
		btag_index_drop(&rig.store);
	if (x->stands) {
		rq.triple = rig.constraints[test_random_below(TRIPLES)].triple;
		btag_index_keep(&rig.store, &rq);
	} else if (x->dead.root) {
		btag_index_take(&rig.store, &rig.nodes);
	} else {
		for (size_t n = x->live ? 0 : btag_index_lacks(&rig.store); n > 0; n--)
			btag_chain_push(&some, btag_chain_pop(&rig.nodes));
		btag_index_give(&rig.store, &some);
		btag_index_build(&rig.store);
	}
}

static void change(bool fills)
{
	tags_fill();
	switch (test_random_below(16)) {
	case 0:
		random_span();
		break;
	case 1 ... 3:
		random_index();
		break;
	default:
		test_random_below(8) < (fills ? 5u : 3u) ? random_carve() : random_release();
	}
	nodes_fill();
}

/* Searches */

static uintptr_t round_up_to(uintptr_t n, size_t q)
{
	return n % q ? n - n % q + q : n;
}

/* A range of units. */
struct range {
	uintptr_t first, last;
};

static struct range range_of(struct piece p)
{
	uintptr_t first = address(p.region, p.first);

	return (struct range){first, first + (p.count * rig.quantum - 1)};
}

static bool fits_at(const struct constraint *c, size_t size, uintptr_t at)
{
	return (!c->align || at % c->align == c->phase) &&
	       (!c->nocross || at / c->nocross == (at + (size - 1)) / c->nocross);
}

/* The lowest place in [r.first, r.last] for the request. */
static bool lowest_in(const struct constraint *c, struct range r, size_t size, uintptr_t *at)
{
	uintptr_t first = round_up_to(r.first, c->quantum);

	if (first < r.first)
		return false;
	for (*at = first; *at <= r.last && r.last - *at >= size - 1; *at += c->quantum) {
		if (fits_at(c, size, *at))
			return true;
		if (*at + c->quantum < *at)
			return false;
	}
	return false;
}

/* The lowest place in a window of all that is free. */
static bool lowest(const struct constraint *c, size_t size, struct range window, uintptr_t *at)
{
	uintptr_t here;
	bool found = false;

	FOR_EACH_FREE(p) {
		struct range r = range_of(p);

		r.first = r.first > window.first ? r.first : window.first;
		r.last = r.last < window.last ? r.last : window.last;
		if (r.first > r.last || !lowest_in(c, r, size, &here))
			continue;
		*at = found && *at < here ? *at : here;
		found = true;
	}
	return found;
}

static bool model_search(const struct constraint *c, const struct btag_request *rq, uintptr_t *at)
{
	struct range window = {rq->lo, rq->hi}, behind = window;

	if (rq->fit == BTAG_FIT_NEXT && rq->cursor->begun && rq->cursor->last >= rq->lo &&
		rq->cursor->last < rq->hi) {
		behind.first = rq->cursor->last + 1;
		if (lowest(c, rq->size, behind, at))
			return true;
	}
	return lowest(c, rq->size, window, at);
}

/* The smallest piece that serves, the lowest among equals. */
static bool model_best(size_t size, struct piece *best)
{
	best->count = 0;
	FOR_EACH_FREE(p)
		if (p.count * rig.quantum >= size && (!best->count || p.count < best->count ||
			(p.count == best->count && address(p.region, p.first) < address(best->region, best->first))))
			*best = p;
	return best->count > 0;
}

/* A place lies in one free segment, and satisfies all. */
static void check_place(const struct constraint *c, const struct btag_request *rq, const struct btag_place *place)
{
	const struct btag *f = place->f;
	uintptr_t at = place->at, last = at + (rq->size - 1);
	bool is_there = false;

	FOR_EACH_FREE(p) {
		struct range r = range_of(p);

		if (address(p.region, p.first) != f->start || p.count * rig.quantum != f->size)
			continue;
		is_there = r.first <= at && last >= at && last <= r.last;
	}
	CHECK(is_there);
	CHECK_LE(rq->lo, at);
	CHECK_LE(last, rq->hi);
	CHECK_EQ(at % c->quantum, 0);
	CHECK(fits_at(c, rq->size, at));
	CHECK_LE(f->start, place->start);
	CHECK_LE(place->start, at);
	CHECK_LE(last, place->start + (place->size - 1));
	CHECK_LE(place->start + (place->size - 1), btag_last(f));
	CHECK_EQ((place->start - f->start) % rig.quantum, 0);
	CHECK_EQ(place->size % rig.quantum, 0);
}

/* What the verdicts that leave it open may say. */
static void check_open(enum btag_verdict v, const struct constraint *c)
{
	if (v == BTAG_WANTS_INDEX) {
		CHECK(!rig.store.index.stands);
		CHECK_LT(btag_looks(&c->triple), free_count());
		return;
	}
	CHECK_EQ(v, BTAG_WANTS_MORE);
	CHECK(rig.store.index.stands);
	CHECK(!btag_triple_is_plain(&rig.store, &c->triple));
}

static enum btag_verdict search(const struct constraint *c, const struct btag_request *rq)
{
	struct btag_place place;
	uintptr_t at;
	bool expected = model_search(c, rq, &at);
	enum btag_verdict v = btag_search(&rig.store, rq, &place);

	if (v == BTAG_NOTHING) {
		CHECK(!expected);
	} else if (v == BTAG_FOUND) {
		CHECK(expected);
		check_place(c, rq, &place);
		if (!rq->surely)
			CHECK_EQ(place.at, at);
	} else {
		check_open(v, c);
		return v;
	}
	rig.told_by_index += rig.store.index.stands && !rq->surely && !btag_triple_is_plain(&rig.store, &rq->triple);
	return v;
}

/* The window is all, or begins or ends near where something is. */
static struct range random_window(size_t size)
{
	uintptr_t at = address(test_random_below(REGIONS), test_random_below(QUANTA));
	size_t width = size + test_random_below(40 * rig.quantum);
	struct range r = {0, UINTPTR_MAX};

	at -= test_random_below(2 * rig.quantum);
	if (test_random_below(2))
		r.first = at;
	if (test_random_below(2))
		r.last = at + (width - 1) < at ? UINTPTR_MAX : at + (width - 1);
	return r;
}

static void search_constrained(struct constraint *c)
{
	size_t size = (1 + test_random_below(test_random_below(3) ? 4 : 40)) * c->quantum;
	struct btag_request rq = {.cursor = &rig.cursor, .triple = c->triple};
	struct range window;
	enum btag_verdict v;

	while (c->nocross && size > c->nocross)
		size -= c->quantum;
	if (size == 0)
		return;
	window = random_window(size);
	rq.size = size;
	rq.fit = test_random_below(2) ? BTAG_FIT_LOWEST : BTAG_FIT_NEXT;
	rq.lo = window.first;
	rq.hi = window.last;
	rq.surely = rq.lo == 0 && rq.hi == UINTPTR_MAX && rq.fit == BTAG_FIT_LOWEST && test_random_below(2);
	v = search(c, &rq);
	if (v != BTAG_WANTS_MORE || test_random_below(4))
		return;
	/* Kept, it is known. */
	for (size_t n = 0; !btag_index_keep(&rig.store, &rq); n++)
		CHECK_LT(n, BTAG_TRIPLES * USED_MAX);
	v = search(c, &rq);
	CHECK(v == BTAG_FOUND || v == BTAG_NOTHING);
}

static void search_plain(enum btag_fit fit)
{
	size_t size = (1 + test_random_below(test_random_below(3) ? 5 : QUANTA)) * rig.quantum;
	struct constraint none = {.quantum = rig.quantum};
	struct btag_request rq;
	struct btag_place place;
	struct piece best = {0};
	enum btag_verdict v;

	btag_request_plain(&rq, &rig.store, size, fit);
	rq.cursor = &rig.cursor;
	none.triple = rq.triple;
	if (fit == BTAG_FIT_LOWEST || fit == BTAG_FIT_NEXT) {
		v = search(&none, &rq);
		CHECK(v != BTAG_WANTS_MORE);
		return;
	}
	v = btag_search(&rig.store, &rq, &place);
	if (v == BTAG_WANTS_INDEX)
		return check_open(v, &none);
	if (v == BTAG_WANTS_MORE) {
		CHECK_NE(rig.store.index.sized, UINTPTR_MAX);
		if (test_random_below(4))
			return;
		for (size_t n = 0; !btag_index_keep(&rig.store, &rq); n++)
			CHECK_LT(n, USED_MAX);
		v = btag_search(&rig.store, &rq, &place);
	}
	CHECK_EQ(v == BTAG_FOUND, model_best(size, &best));
	if (v != BTAG_FOUND)
		return;
	check_place(&none, &rq, &place);
	if (fit == BTAG_FIT_BEST)
		CHECK_EQ(place.at, address(best.region, best.first));
}

/* What is known without a search. */
static void compare_sizes(void)
{
	size_t size = (1 + test_random_below(QUANTA)) * rig.quantum, largest = 0;
	struct btag *f = btag_fit_instant(&rig.store, size);
	const char *wrong = btag_index_check(&rig.store);

	FOR_EACH_FREE(p)
		largest = p.count * rig.quantum > largest ? p.count * rig.quantum : largest;
	CHECK(largest < size || btag_may_serve(&rig.store, size));
	CHECK(!f || (f->kind == BTAG_FREE && f->size >= size));
	CHECK_EQ(rig.store.segments_free, free_count());
	if (rig.store.index.stands)
		CHECK_EQ(btag_largest_free(&rig.store), largest);
	CHECK_STR(wrong ? wrong : "", "");
}

static void compare(void)
{
	for (int fit = BTAG_FIT_ANY; fit <= BTAG_FIT_NEXT; fit++)
		search_plain(fit);
	for (size_t i = 0; i < 2; i++)
		search_constrained(&rig.constraints[test_random_below(TRIPLES)]);
	compare_sizes();
}

/* All together */

static bool is_power(size_t n)
{
	return (n & (n - 1)) == 0;
}

/* Aligned, phased, crossing nothing; by the store's quantum and by those of importers.  With a
 * quantum that is no power of two there are none but windows. */
static void rig_constraints(void)
{
	size_t q = rig.quantum;
	const struct constraint all[TRIPLES] = {
		{q, 8 * q, 0, 0, {0}},
		{q, 4 * q, 2 * q, 0, {0}},
		{q, 0, 0, 64, {0}},
		{q, 16 * q, 4 * q, 128, {0}},
		{1, 32, 5, 0, {0}},
		{1, 0, 0, 0, {0}},
		{4, 64, 12, 64, {0}},
		{2, 0, 0, 256, {0}},
		{8, 16, 8, 32, {0}},
	};

	memcpy(rig.constraints, all, sizeof(all));
	for (size_t i = 0; i < TRIPLES; i++) {
		struct constraint *c = &rig.constraints[i];

		if (!is_power(q))
			*c = (struct constraint){.quantum = i % 2 ? q : 1};
		CHECK(btag_triple_make(&c->triple, c->quantum, c->align, c->phase, c->nocross));
	}
}

/* The last region ends with the last whole quantum of all integers. */
static void rig_make(size_t quantum)
{
	memset(&rig, 0, sizeof(rig));
	rig.quantum = quantum;
	rig_memory();
	rig_constraints();
	for (size_t i = 0; i < REGIONS - 1; i++)
		rig.regions[i].start = (1 + i * (QUANTA + 1) + i * i * 997) * quantum;
	rig.regions[REGIONS - 1].start = (UINTPTR_MAX / quantum - QUANTA + (UINTPTR_MAX % quantum == quantum - 1)) *
					 quantum;
	btag_store_init(&rig.store, quantum);
	btag_cursor_open(&rig.store, &rig.cursor);
	btag_index_begin(&rig.store);
	for (size_t i = 0; i < REGIONS; i++) {
		tags_fill();
		span_import(rig.regions[i].start, QUANTA * quantum);
		mark((struct piece){i, 0, QUANTA}, FREE);
	}
}

/* Everything goes home: each tag, each node. */
static void rig_end(void)
{
	while (rig.used_count > 0)
		release(rig.used_count - 1);
	for (size_t i = 0; i < REGIONS; i++) {
		if (is_all(i, 0, QUANTA / 2, FREE) && is_all(i, QUANTA / 2, QUANTA / 2, FREE)) {
			region_remove(i);
		} else if (!is_all(i, 0, QUANTA, ABSENT)) {
			uintptr_t start = address(i, is_all(i, 0, QUANTA / 2, FREE) ? 0 : QUANTA / 2);

			btag_span_remove(&rig.store, btag_span_below(&rig.store, start));
		}
	}
	btag_index_end(&rig.store);
	btag_index_drop(&rig.store);
	while (rig.store.index.nodes_held > 0)
		btag_index_take(&rig.store, &rig.nodes);
	btag_cursor_close(&rig.store, &rig.cursor);
	btag_take(&rig.store, &rig.idle, TAGS);
	CHECK_EQ(rig.idle.count, TAGS);
	CHECK_EQ(rig.nodes.count, TAGS);
	CHECK_EQ(rig.store.total, 0);
	base_free(NULL, rig.tags, TAGS * sizeof(*rig.tags));
	base_free(NULL, rig.node_memory, TAGS * BTAG_NODE_SIZE);
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
	/* The index did come, and so did triples. */
	if (is_power(quantum))
		CHECK_LT(ops / 50, rig.told_by_index);
	rig_end();
}

TEST("btag: each search finds what a look at every segment finds, quantum 1")
{
	random_test(1);
}

TEST("btag: each search finds what a look at every segment finds, quantum 3")
{
	random_test(3);
}

TEST("btag: each search finds what a look at every segment finds, quantum 16")
{
	random_test(16);
}
