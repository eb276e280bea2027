/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Constraints on where a request may start, and what one free segment can serve under them.
 *
 * A start r is a multiple of the quantum q with r % align == phase; align, nocross and q are powers
 * of two.  If align <= q every multiple of q is one of align, and phase has to be 0; so the starts
 * are the numbers with r % step == phase, step being the larger of the two.  Cut the line into
 * blocks of nocross, N; a request that crosses no multiple of N lies in one block.
 *
 *  - step >= N: every start is at the same place in its block, phase % N.  Either a request fits
 *    behind that place, at every start, or at none.
 *  - step < N: the starts in a block are those of every block: phase, phase + step, ...
 *
 * THE LARGEST REQUEST of a segment [a, b).  If a request of v can be placed in it, so can every
 * smaller one, at the same start: "serves" is monotone, and one number per segment tells all.  From
 * start r the largest is min(b - r, N - r % N).  With step >= N the second is the same for all r, so
 * the lowest r is best.  With step < N two starts are candidates: the lowest, since b - r is
 * largest there; and the first in the next block, since N - r % N is largest there and b - r is
 * larger than in any block behind.
 *
 * THE LOWEST PLACE is the first start, unless the request crosses there; then it is the first start
 * of the next block, where it doesn't, or none.  THE HIGHEST PLACE is the last start that leaves room
 * for the size before b; if it crosses there, the last start in that block that leaves room before
 * the block's end, or none.
 *
 * Each is a few masks.  A store whose quantum is no power of two has no constraints but windows;
 * its step is the quantum, and rounding to that takes a division.
 */
#include "btag.h"

static inline bool is_power_of_two(size_t n)
{
	return (n & (n - 1)) == 0;
}

bool btag_triple_make(struct btag_triple *t, const struct btag_store *s, size_t align, size_t phase,
	size_t nocross)
{
	bool is_finer = align <= s->quantum;

	*t = (struct btag_triple){is_finer ? s->quantum : align, phase, nocross, s->quantum};
	return is_finer ? phase == 0 : (phase & (s->quantum - 1)) == 0;
}

bool btag_triple_equal(const struct btag_triple *a, const struct btag_triple *b)
{
	return a->step == b->step && a->phase == b->phase && a->nocross == b->nocross &&
	       a->grain == b->grain;
}

bool btag_triple_is_plain(const struct btag_store *s, const struct btag_triple *t)
{
	return t->step <= s->quantum && t->phase == 0 && t->nocross == 0 && t->grain <= s->quantum;
}

/* The lowest start at or above `from`; false: there is none. */
static inline bool start_above(const struct btag_triple *t, uintptr_t from, uintptr_t *r)
{
	size_t gap;

	if (__builtin_expect(is_power_of_two(t->step), 1)) {
		gap = (t->phase - from) & (t->step - 1);
	} else {
		gap = from % t->step;
		gap = gap ? t->step - gap : 0;
	}
	*r = from + gap;
	return *r >= from;
}

/* The highest start at or below `from`; false: there is none. */
static inline bool start_below(const struct btag_triple *t, uintptr_t from, uintptr_t *r)
{
	size_t gap = is_power_of_two(t->step) ? (from - t->phase) & (t->step - 1) : from % t->step;

	*r = from - gap;
	return *r <= from;
}

/* What of segment [*start, *last] counts; false: nothing. */
static inline bool grains_inside(const struct btag_triple *t, uintptr_t *start, uintptr_t *last)
{
	size_t mask = t->grain - 1;
	uintptr_t first, end;

	if (!is_power_of_two(t->grain))
		return true;
	first = (*start + mask) & ~mask;
	end = (*last + 1) & ~mask; /* 0: 2^64, or the segment ends within the lowest grain */
	if (first < *start || end - 1 < first || end - 1 > *last)
		return false;
	*start = first;
	*last = end - 1;
	return true;
}

static inline bool crosses(const struct btag_triple *t, uintptr_t r, size_t size)
{
	return t->nocross && size > t->nocross - (r & (t->nocross - 1));
}

bool btag_triple_lowest(const struct btag_triple *t, uintptr_t start, uintptr_t last, uintptr_t lo,
	uintptr_t hi, size_t size, uintptr_t *r)
{
	if (!grains_inside(t, &start, &last))
		return false;
	start = start > lo ? start : lo;
	last = last < hi ? last : hi;
	if (!start_above(t, start, r))
		return false;
	if (crosses(t, *r, size)) {
		uintptr_t block = (*r | (t->nocross - 1)) + 1;

		if (block == 0 || !start_above(t, block, r) || crosses(t, *r, size))
			return false;
	}
	return *r <= last && last - *r >= size - 1;
}

bool btag_triple_highest(const struct btag_triple *t, uintptr_t start, uintptr_t last, uintptr_t lo,
	uintptr_t hi, size_t size, uintptr_t *r)
{
	if (!grains_inside(t, &start, &last))
		return false;
	start = start > lo ? start : lo;
	last = last < hi ? last : hi;
	if (last < start || last - start < size - 1 || !start_below(t, last - (size - 1), r))
		return false;
	if (crosses(t, *r, size)) {
		if (size > t->nocross || !start_below(t, (*r & -t->nocross) + (t->nocross - size), r) ||
			crosses(t, *r, size))
			return false;
	}
	return *r >= start;
}

static inline size_t lesser(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t btag_triple_largest(const struct btag_triple *t, uintptr_t start, uintptr_t last)
{
	size_t n = t->nocross, largest;
	uintptr_t r, block;

	if (!grains_inside(t, &start, &last) || !start_above(t, start, &r) || r > last)
		return 0;
	if (n == 0)
		return last - r + 1;
	largest = lesser(last - r, (n - 1) - (r & (n - 1))) + 1;
	block = (r | (n - 1)) + 1;
	if (t->step < n && block != 0 && start_above(t, block, &r) && r <= last) {
		size_t there = lesser(last - r, (n - 1) - (r & (n - 1))) + 1;

		largest = there > largest ? there : largest;
	}
	return largest;
}

/* The widest gap between a start for `size` and the next one; 0: there is none. */
static size_t widest_gap(const struct btag_triple *t, size_t size)
{
	size_t n = t->nocross, in_block;

	if (n == 0)
		return t->step;
	if (crosses(t, t->phase, size))
		return 0;
	if (t->step >= n)
		return t->step;
	in_block = n - size - t->phase; /* from the first start of a block to the last */
	return n - in_block / t->step * t->step;
}

static size_t gcd(size_t a, size_t b)
{
	return b ? gcd(b, a % b) : a;
}

/* The first start at or above a number lies less than the widest gap above it.  Above a multiple of
 * `unit` it lies by multiples of what divides both unit and step, if that divides the phase, too: so
 * less than the gap by that much.  Rounding inward to grains loses less than one at either end,
 * unless places are whole grains anyway. */
size_t btag_triple_covers(const struct btag_triple *t, size_t unit, size_t size)
{
	size_t gap = widest_gap(t, size), grain = t->grain, grid = gcd(t->step, unit), covers;
	bool on_grid = t->phase % grid == 0;
	bool in_grains = t->step % grain == 0 && t->phase % grain == 0 && size % grain == 0;

	if (gap == 0 || __builtin_add_overflow(size, gap - (on_grid ? grid : 1), &covers))
		return 0;
	grid = gcd(grain, unit);
	if (!in_grains && __builtin_add_overflow(covers, 2 * (grain - grid), &covers))
		return 0;
	return covers;
}
