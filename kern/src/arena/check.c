/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checking an arena against the invariants of arena.c, which are numbered there.
 *
 * The walk takes a bounded step for each hold of the lock.  What concerns a tag and its neighbours
 * is checked in each step; sums are compared only if nothing changed between the first step and the
 * last, which the counts of everything the arena ever did tell.
 */
#include "arena_impl.h"

#include "lib/bitmap.h"
#include "lib/check.h"

/* How often it walks again because the arena changed, before it leaves the sums unchecked. */
#define CHECK_TRIES 4

/* Under one hold of a lock. */
#define CHECK_TAGS 8
#define CHECK_BUCKETS 16
#define CHECK_TAG_PAGES 4

struct check {
	struct arena *arena;
	bool (*stops)(void *arg); /* asked between steps */
	void *arg;
	bool is_stopped;
	int failed;	    /* number of the invariant, 0: none so far */
	const char *what;   /* in words */
	uintptr_t where;    /* a segment's start, a bin or a bucket */
	uint64_t changes;   /* of the store, when the walk began */
	size_t total, used, retained; /* sums of the walk */
	size_t spans, segments_free, segments_used;
};

static void fail(struct check *c, int invariant, const char *what, uintptr_t where)
{
	if (c->failed)
		return;
	c->failed = invariant;
	c->what = what;
	c->where = where;
}

/* One segment and its neighbours */

static void check_place(struct check *c, const struct btag *t)
{
	const struct btag_store *s = &c->arena->store;
	uintptr_t first, last;

	if (t->size == 0 || t->start == 0 || t->start % s->quantum || t->size % s->quantum)
		fail(c, 3, "a segment is empty, contains 0 or is no whole quanta", t->start);
	if (t->prev->kind != BTAG_SPAN && btag_last(t->prev) + 1 != t->start)
		fail(c, 1, "a segment doesn't start where the one before ends", t->start);
	if (t->prev->kind == BTAG_FREE && t->kind == BTAG_FREE)
		fail(c, 2, "two free segments are neighbours", t->start);

	const struct btag *span = btag_span_below(s, t->start);

	if (!span || t->start > btag_last(span)) {
		fail(c, 6, "a segment lies in no span of the tree", t->start);
		return;
	}
	first = btag_round_up(s, span->start);
	last = first + (btag_round_down(s, btag_last(span) - first + 1) - 1);
	if (t->prev->kind == BTAG_SPAN && (t->prev != span || t->start != first))
		fail(c, 1, "a span's first segment doesn't start where the span does", t->start);
	if (t->next->kind == BTAG_SPAN && btag_last(t) != last)
		fail(c, 1, "a span's last segment doesn't end where the span does", t->start);
}

static bool in_its_bin(const struct btag_store *s, const struct btag *t)
{
	size_t b = btag_bin_of(btag_scaled(s, t->size));

	if (t->bin != b || (t->bin_next && t->bin_next->bin_prev != t))
		return false;
	if (t->bin_prev)
		return t->bin_prev->bin_next == t && t->bin_prev->kind == BTAG_FREE;
	return s->bins[b] == t;
}

static void check_span(struct check *c, const struct btag *t)
{
	const struct arena *a = c->arena;

	c->spans++;
	if (btag_span_below(&a->store, t->start) != t)
		fail(c, 6, "the tree doesn't lead to a span", t->start);
	if (t->prev != &a->store.anchor && btag_last(t->prev) >= t->start)
		fail(c, 6, "a span overlaps the one before", t->start);
	if (t->next->kind == BTAG_SPAN)
		fail(c, 1, "a span has no segment", t->start);
	else if (a->afunc && t->next->kind == BTAG_FREE && btag_span_whole(t->next))
		c->retained += t->size;
}

static void check_tag(struct check *c, const struct btag *t)
{
	const struct btag_store *s = &c->arena->store;

	if (t->next->prev != t || t->prev->next != t)
		fail(c, 1, "the list of segments is torn", t->start);
	if (t->kind == BTAG_SPAN) {
		check_span(c, t);
		return;
	}
	check_place(c, t);
	c->total += t->size;
	if (t->kind == BTAG_FREE) {
		c->segments_free++;
		if (!in_its_bin(s, t))
			fail(c, 4, "a free segment isn't in its bin", t->start);
		if (btag_index_check_one(s, t))
			fail(c, 10, btag_index_check_one(s, t), t->start);
	} else if (btag_is_used(t)) {
		c->segments_used++;
		c->used += t->size;
		if (btag_of_link(*btag_seek(s, t->start)) != t)
			fail(c, 5, "a used segment isn't in the hash", t->start);
	} else {
		fail(c, 1, "the list of segments holds an idle tag", t->start);
	}
}

/* Returns false at the end of the list. */
static bool check_step(struct check *c, struct btag_cursor *cursor)
{
	port_irq_t irq = spin_lock(&c->arena->lock);
	uintptr_t start;
	struct btag *t = NULL;

	for (int i = 0; i < CHECK_TAGS && !c->failed; i++) {
		t = btag_cursor_next(&c->arena->store, cursor, &start);
		if (!t)
			break;
		check_tag(c, t);
	}
	spin_unlock(&c->arena->lock, irq);
	return t && !c->failed;
}

static bool goes_on(struct check *c)
{
	c->is_stopped = c->is_stopped || c->stops(c->arg);
	return !c->is_stopped;
}

/* What isn't reached from the list */

/* Those of one word of the bins' map. */
static void check_bits(struct check *c, size_t word)
{
	const struct btag_store *s = &c->arena->store;
	port_irq_t irq = spin_lock(&c->arena->lock);

	for (size_t b = word * 64; b < BTAG_BINS && b < (word + 1) * 64; b++)
		if (bitmap_test(s->bin_map, b) != (s->bins[b] != NULL))
			fail(c, 4, "a bin's bit is wrong", b);
	if (bitmap_test(&s->bin_summary, word) != (s->bin_map[word] != 0))
		fail(c, 4, "a bit of the bins' summary is wrong", word);
	spin_unlock(&c->arena->lock, irq);
}

/* Checks up to CHECK_BUCKETS buckets from *bucket on; returns false behind the last. */
static bool check_buckets(struct check *c, size_t *bucket, size_t *found)
{
	port_irq_t irq = spin_lock(&c->arena->lock);
	const struct linear_hash *h = &c->arena->store.hash;
	bool more;

	for (int i = 0; i < CHECK_BUCKETS && *bucket < h->buckets; i++) {
		for (struct hash_link *l = linear_hash_bucket(h, *bucket); l; l = l->next, ++*found)
			if (!btag_is_used(btag_of_link(l)) || linear_hash_index(h, l->key) != *bucket)
				fail(c, 5, "a bucket of the hash holds what it shouldn't", *bucket);
		++*bucket;
	}
	more = *bucket < h->buckets;
	spin_unlock(&c->arena->lock, irq);
	return more && !c->failed;
}

static void check_supply(struct check *c)
{
	struct arena *a = c->arena;
	port_irq_t irq = spin_lock(&a->supply->lock);

	if (!tag_supply_sound(a->supply, CHECK_TAG_PAGES))
		fail(c, 9, "the tag supply's pages and counts disagree", a->supply->idle);
	spin_unlock(&a->supply->lock, irq);
}

static void check_sums(struct check *c, size_t hashed)
{
	struct arena *a = c->arena;
	const struct btag_store *s = &a->store;
	port_irq_t irq = spin_lock(&a->lock);

	if (a->store.changes == c->changes) {
		if (c->total != s->total || c->used != s->used)
			fail(c, 7, "the sum of the segments isn't the amount on record", c->total);
		if (c->spans != s->spans || c->segments_free != s->segments_free ||
			c->segments_used != s->hash.entries)
			fail(c, 7, "the number of segments isn't the one on record", c->spans);
		if (c->retained != a->retained || a->retained > a->retain_max)
			fail(c, 8, "the spans that are wholly free aren't what is retained", c->retained);
		if (hashed != s->hash.entries)
			fail(c, 5, "the hash doesn't hold as many segments as it should", hashed);
	}
	spin_unlock(&a->lock, irq);
}

static bool changed_since(struct check *c)
{
	port_irq_t irq = spin_lock(&c->arena->lock);
	bool changed = c->arena->store.changes != c->changes;

	spin_unlock(&c->arena->lock, irq);
	return changed;
}

static void check_once(struct check *c)
{
	struct arena *a = c->arena;
	struct btag_cursor cursor;
	size_t bucket = 0, hashed = 0;
	port_irq_t irq = spin_lock(&a->lock);

	c->changes = a->store.changes;
	btag_cursor_open(&a->store, &cursor);
	spin_unlock(&a->lock, irq);

	while (goes_on(c) && check_step(c, &cursor))
		;
	while (goes_on(c) && check_buckets(c, &bucket, &hashed))
		;
	for (size_t word = 0; word < BITMAP_WORDS(BTAG_BINS); word++)
		check_bits(c, word);
	check_supply(c);
	if (!c->failed && !c->is_stopped)
		check_sums(c, hashed);

	irq = spin_lock(&a->lock);
	btag_cursor_close(&a->store, &cursor);
	spin_unlock(&a->lock, irq);
}

static int check(struct arena *a, struct sink *sink, bool (*stops)(void *arg), void *arg)
{
	struct check c;

	for (int tries = 0; tries < CHECK_TRIES; tries++) {
		c = (struct check){.arena = a, .stops = stops, .arg = arg};
		check_once(&c);
		if (c.failed || c.is_stopped || !changed_since(&c))
			break;
	}
	if (c.failed && sink)
		sink_printf(sink, "arena %s: invariant %d: %s (%#lx)\n", a->name, c.failed, c.what,
			(unsigned long)c.where);
	return !c.failed && c.is_stopped ? -EINTR : c.failed;
}

static bool never(void *arg)
{
	return false;
}

int arena_check(struct arena *a, struct sink *sink)
{
	check_given("arena_check", "arena", a, __builtin_return_address(0));
	return check(a, sink, never, NULL);
}

int arena_check_until(struct arena *a, struct sink *sink, bool (*stops)(void *arg), void *arg)
{
	check_given("arena_check_until", "arena", a, __builtin_return_address(0));
	check_given("arena_check_until", "function", stops, __builtin_return_address(0));
	return check(a, sink, stops, arg);
}
