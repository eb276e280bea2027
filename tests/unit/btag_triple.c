/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Triples: each formula held against a look at every number of a short line.
 *
 * The line begins at a base that every step, nocross and grain divides: 0, a place in the middle,
 * and so that it ends with 2^64.  What the look computes are distances from the base, which wrap
 * nowhere.
 */
#include "btag/btag.h"
#include "lib/test.h"

#define LINE 512
#define POWERS 8 /* steps, nocrosses and grains are below 2^POWERS */

static const uintptr_t bases[] = {0, (uintptr_t)1 << 40, -(uintptr_t)LINE};

/* Distances from the base: the segment, and the window. */
struct where {
	uintptr_t base, start, last, lo, hi;
};

static bool serves_at(const struct btag_triple *t, const struct where *w, size_t size, size_t at)
{
	size_t last = at + size - 1, first = at - at % t->grain,
	       end = last + t->grain - last % t->grain;

	return first >= w->start && end - 1 <= w->last && at >= w->lo && last <= w->hi &&
	       at % t->step == t->phase && (!t->nocross || at / t->nocross == last / t->nocross);
}

static bool look_lowest(const struct btag_triple *t, const struct where *w, size_t size, size_t *at)
{
	for (*at = w->start; *at <= w->last; ++*at)
		if (serves_at(t, w, size, *at))
			return true;
	return false;
}

static bool look_highest(
	const struct btag_triple *t, const struct where *w, size_t size, size_t *at)
{
	for (*at = w->last + 1; (*at)-- > w->start;)
		if (serves_at(t, w, size, *at))
			return true;
	return false;
}

static size_t random_power(unsigned below)
{
	return (size_t)1 << test_random_below(below);
}

static void random_triple(struct btag_triple *t)
{
	t->step = random_power(POWERS);
	t->phase = test_random_below(2) ? test_random_below(t->step) : 0;
	t->nocross = test_random_below(2) ? random_power(POWERS) : 0;
	t->grain = test_random_below(2) ? random_power(POWERS) : 1;
}

static void random_where(struct where *w)
{
	size_t length = 1 + test_random_below(test_random_below(2) ? 64 : LINE);

	w->base = bases[test_random_below(3)];
	w->start = test_random_below(8) ? test_random_below(LINE - length + 1) : LINE - length;
	w->last = w->start + length - 1;
	w->lo = test_random_below(2) ? test_random_below(LINE) : 0;
	w->hi = test_random_below(2) ? w->lo + test_random_below(LINE - w->lo) : LINE - 1;
}

/* A window that reaches to an end of the line reaches to that of all integers. */
static void check_places(const struct btag_triple *t, const struct where *w, size_t size)
{
	uintptr_t lo = w->lo ? w->base + w->lo : 0, r;
	uintptr_t hi = w->hi == LINE - 1 ? UINTPTR_MAX : w->base + w->hi;
	size_t at;
	bool found = look_lowest(t, w, size, &at);

	CHECK_EQ(btag_triple_lowest(t, w->base + w->start, w->base + w->last, lo, hi, size, &r),
		found);
	if (found)
		CHECK_EQ(r, w->base + at);
	CHECK_EQ(btag_triple_highest(t, w->base + w->start, w->base + w->last, lo, hi, size, &r),
		found);
	if (found && look_highest(t, w, size, &at))
		CHECK_EQ(r, w->base + at);
}

/* All sizes up to the largest have a place, and none above. */
static void check_largest(const struct btag_triple *t, const struct where *w)
{
	struct where all = {w->base, w->start, w->last, 0, LINE - 1};
	size_t largest = btag_triple_largest(t, w->base + w->start, w->base + w->last), at;

	CHECK_LE(largest, w->last - w->start + 1);
	for (size_t size = 1; size <= w->last - w->start + 2; size++)
		CHECK_EQ(look_lowest(t, &all, size, &at), size <= largest);
}

TEST("btag: the lowest and the highest place are what a look at every number finds")
{
	for (size_t n = test_ops(100000); n > 0; n--) {
		struct btag_triple t;
		struct where w;

		random_triple(&t);
		random_where(&w);
		check_places(&t, &w, 1 + test_random_below(test_random_below(2) ? 8 : 100));
	}
}

TEST("btag: a segment serves every size up to the largest and none above")
{
	for (size_t n = test_ops(2000); n > 0; n--) {
		struct btag_triple t;
		struct where w;

		random_triple(&t);
		random_where(&w);
		check_largest(&t, &w);
	}
}

/* Whether every segment of `length` that begins on a multiple of unit has a place.  All that the
 * triple says repeats within half the line. */
static bool look_covers(const struct btag_triple *t, size_t unit, size_t size, size_t length)
{
	for (size_t start = 0; start < LINE / 2; start += unit) {
		struct where w = {0, start, start + length - 1, 0, SIZE_MAX};
		size_t at;

		if (!look_lowest(t, &w, size, &at))
			return false;
	}
	return true;
}

TEST("btag: what covers a request holds a place for it wherever it begins")
{
	for (size_t n = test_ops(2000); n > 0; n--) {
		size_t unit = random_power(6), size = 1 + test_random_below(40), covers, length;
		struct btag_triple t;

		random_triple(&t);
		covers = btag_triple_covers(&t, unit, size);
		if (covers == 0) {
			CHECK(!look_covers(&t, unit, size, 8 * LINE));
			continue;
		}
		length = (covers + unit - 1) / unit * unit;
		CHECK(look_covers(&t, unit, size, length));
		/* Where starts lie on the grid of the unit and grains don't matter, it is the
		 * least. */
		if (t.phase % unit == 0 && unit <= t.step && size % unit == 0 && t.grain <= unit)
			CHECK(!look_covers(&t, unit, size, length - unit));
	}
}

TEST("btag: no amount covers a request that crosses everywhere or wraps")
{
	struct btag_triple t = {.step = 16, .phase = 8, .nocross = 16, .grain = 1};

	CHECK_EQ(btag_triple_covers(&t, 1, 9), 0);
	CHECK_EQ(btag_triple_covers(&t, 1, 8), 8 + 15);
	t = (struct btag_triple){.step = 4096, .grain = 1};
	CHECK_EQ(btag_triple_covers(&t, 1, SIZE_MAX - 4095), SIZE_MAX);
	CHECK_EQ(btag_triple_covers(&t, 1, SIZE_MAX - 4094), 0);
	t.grain = 8192;
	CHECK_EQ(btag_triple_covers(&t, 1, SIZE_MAX - 8192), 0);
}

TEST("btag: with a quantum that is no power of two, places are multiples of it")
{
	static const size_t quanta[] = {3, 6};

	for (size_t n = test_ops(20000); n > 0; n--) {
		size_t q = quanta[test_random_below(2)], count = 1 + test_random_below(40);
		size_t first =
			test_random_below(2) ? test_random_below(100) : UINTPTR_MAX / q - count;
		struct btag_triple t = {.step = q, .grain = q};
		uintptr_t start = first * q, last = start + (count * q - 1), lowest, highest, r,
			  high;
		uintptr_t lo = start + test_random_below(count * q),
			  hi = lo + test_random_below(last - lo + 1);
		size_t size = (1 + test_random_below(8)) * q;
		bool found;

		lowest = lo + (q - lo % q) % q;
		found = lowest >= lo && lowest <= hi && hi - lowest >= size - 1;
		CHECK_EQ(btag_triple_lowest(&t, start, last, lo, hi, size, &r), found);
		CHECK_EQ(btag_triple_highest(&t, start, last, lo, hi, size, &high), found);
		CHECK_EQ(btag_triple_largest(&t, start, last), count * q);
		CHECK_EQ(btag_triple_covers(&t, q, size), size);
		if (!found)
			continue;
		CHECK_EQ(r, lowest);
		highest = hi - (size - 1);
		CHECK_EQ(high, highest - highest % q);
	}
}

TEST("btag: places near the ends of all integers don't wrap")
{
	struct btag_triple t = {.step = 16, .phase = 8, .grain = 1};
	uintptr_t top = UINTPTR_MAX, r;

	CHECK(!btag_triple_lowest(&t, top - 6, top, 0, top, 1, &r));
	CHECK(btag_triple_lowest(&t, top - 7, top, 0, top, 8, &r));
	CHECK_EQ(r, top - 7);
	CHECK(!btag_triple_lowest(&t, top - 7, top, 0, top, 9, &r));
	CHECK(btag_triple_highest(&t, 0, top, 0, top, 8, &r));
	CHECK_EQ(r, top - 7);
	CHECK(btag_triple_highest(&t, 0, 15, 0, top, 8, &r));
	CHECK_EQ(r, 8);
	CHECK(!btag_triple_highest(&t, 0, 15, 0, top, 9, &r));
	CHECK_EQ(btag_triple_largest(&t, 0, top), top - 7);
	t.nocross = (size_t)1 << 63;
	CHECK_EQ(btag_triple_largest(&t, 0, top), ((size_t)1 << 63) - 8);
	t = (struct btag_triple){.step = 1, .grain = 8};
	CHECK_EQ(btag_triple_largest(&t, 2, 5), 0);
	CHECK(!btag_triple_lowest(&t, 2, 5, 0, top, 1, &r));
	CHECK(!btag_triple_highest(&t, 2, 5, 0, top, 1, &r));
	CHECK_EQ(btag_triple_largest(&t, top - 6, top), 0);
	CHECK_EQ(btag_triple_largest(&t, top - 7, top), 8);
}

TEST("btag: a triple is made only where a multiple of the quantum has the phase")
{
	static struct btag_store s;
	struct btag_triple t;

	btag_store_init(&s, 16);
	CHECK(btag_triple_make(&t, &s, 0, 0, 0));
	CHECK(btag_triple_equal(&t, &(struct btag_triple){16, 0, 0, 16}));
	CHECK(btag_triple_is_plain(&s, &t));
	CHECK(btag_triple_make(&t, &s, 8, 0, 0));
	CHECK(btag_triple_is_plain(&s, &t));
	CHECK(!btag_triple_make(&t, &s, 8, 4, 0));
	CHECK(btag_triple_make(&t, &s, 64, 32, 128));
	CHECK(btag_triple_equal(&t, &(struct btag_triple){64, 32, 128, 16}));
	CHECK(!btag_triple_is_plain(&s, &t));
	CHECK(!btag_triple_make(&t, &s, 64, 8, 0));
	CHECK(btag_triple_make(&t, &s, 0, 0, 32));
	CHECK(!btag_triple_is_plain(&s, &t));
	btag_store_init(&s, 6);
	CHECK(btag_triple_make(&t, &s, 0, 0, 0));
	CHECK(btag_triple_equal(&t, &(struct btag_triple){6, 0, 0, 6}));
	CHECK(btag_triple_is_plain(&s, &t));
}
