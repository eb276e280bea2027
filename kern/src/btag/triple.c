/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Constraints on where a request may start, and what one free segment can serve under them.
 *
 * THE PROGRESSION.  A start r is a multiple of the quantum q with r % A == phase, A a power of two.
 * Write q = 2^j * m, m odd.  If A <= 2^j, every multiple of q is one of A: phase must be 0, and the
 * starts are the multiples of q.  Else 2^j must divide phase; r = q * x, and dividing by 2^j leaves
 * m * x = phase / 2^j modulo A / 2^j, which has one solution, since m is odd and so has an inverse.
 * So the starts are first, first + step, ... with step = q * A / 2^j, the least common multiple of
 * q and A.
 *
 * THE LARGEST REQUEST of a segment [a, b).  If a request of v can be placed in it, so can every
 * smaller one, at the same start: "serves" is monotone, and one number per segment tells all.  From
 * start r, the largest is b - r, without nocross; the least r >= a is best.  With nocross N a
 * request from r ends at the next multiple of N at the latest: the largest is min(b - r, N - r %
 * N).  Cut the line into blocks of N.
 *  - In the block of b - 1, the largest is b - r: its least start is best.
 *  - In a block before it, it is N - r % N, and all that matters is the least r % N among the
 *    starts in those blocks: the least of an arithmetic progression modulo N (least_of).
 * Each is one candidate; the maximum is the answer.
 *
 * THE LOWEST PLACE of a request of `size` is the first start r >= a with r % N <= N - size: the
 * first of a progression modulo N that lies in an initial interval (first_at_most).
 *
 * Both questions about progressions modulo m are answered as Euclid's algorithm does: a progression
 * with step a <= m / 2 takes its low values just after it wraps around, and those form a
 * progression modulo a; one with a larger step descends by d = m - a, and its low values, just
 * before it wraps, form one modulo d.  The modulus at least halves each time.  For powers of two
 * the second modulus divides the first and it ends there; else it takes at most as many turns as
 * the odd part of the quantum has bits.
 */
#include "btag.h"

#include "lib/string.h"

static inline bool is_power_of_two(size_t n)
{
	return (n & (n - 1)) == 0;
}

/* The inverse of odd m modulo 2^64: m is right in 3 bits, and each round doubles them (Newton). */
static size_t inverse(size_t m)
{
	size_t x = m;

	for (int bits = 3; bits < 64; bits *= 2)
		x *= 2 - m * x;
	return x;
}

bool btag_triple_make(
	struct btag_triple *t, size_t quantum, size_t align, size_t phase, size_t nocross)
{
	unsigned twos = (unsigned)__builtin_ctzl(quantum);
	size_t ratio = align >> twos; /* A / 2^j, if that is more than 1 */

	memset(t, 0, sizeof(*t));
	t->nocross = nocross;
	t->step = quantum;
	if (ratio <= 1)
		return phase == 0;
	if (phase & (((size_t)1 << twos) - 1))
		return false;

	size_t x = (phase >> twos) * inverse(quantum >> twos) & (ratio - 1);

	if (__builtin_mul_overflow(quantum, ratio, &t->step))
		t->step = 0;
	return !__builtin_mul_overflow(quantum, x, &t->first);
}

bool btag_triple_equal(const struct btag_triple *a, const struct btag_triple *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool btag_triple_is_plain(const struct btag_store *s, const struct btag_triple *t)
{
	return t->first == 0 && t->nocross == 0 && t->clip[0] == 0 && t->step != 0 &&
	       (t->step == s->quantum || s->quantum % t->step == 0);
}

int btag_looks(const struct btag_triple *t)
{
	bool dear = t->clip[0] != 0 || (t->nocross != 0 && (t->step & (t->step - 1)) != 0);

	return dear ? BTAG_LOOKS_DEAR : BTAG_LOOKS;
}

/* Progressions modulo m */

/* The first k >= 0 with (c + k * a) % m <= h; false if there is none, or c + k * a reaches 2^64. */
static bool first_at_most(size_t c, size_t a, size_t m, size_t h, size_t *k)
{
	size_t j, x;

	if (c <= h) {
		*k = 0;
		return true;
	}
	if (a == 0)
		return false;
	if (a <= m / 2) {
		/* After the wrap number 1 + j it is at (c - (1 + j) * m) % a. */
		if (!first_at_most((a - (m - c) % a) % a, (a - m % a) % a, a, h, &j) ||
			__builtin_mul_overflow(j + 1, m, &x))
			return false;
		x -= c;
		*k = x / a + (x % a != 0);
	} else {
		/* Before wrap number j, counted from 0, it is at (c + j * m) % d. */
		size_t d = m - a;

		if (!first_at_most(c % d, m % d, d, h, &j) || __builtin_mul_overflow(j, m, &x) ||
			__builtin_add_overflow(x, c - h, &x))
			return false;
		*k = x / d + (x % d != 0);
	}
	return true;
}

static inline size_t lesser(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The least of (c + k * a) % m for 0 <= k < count; c + (count - 1) * a < 2^64. */
static size_t least_of(size_t c, size_t a, size_t m, size_t count)
{
	size_t least = c;

	while (count > 1 && a != 0) {
		if (a <= m / 2) {
			size_t wraps = (c + a * (count - 1)) / m;

			c = (a - (m - c) % a) % a;
			count = wraps;
			size_t next = (a - m % a) % a;

			m = a;
			a = next;
		} else {
			size_t d = m - a, fall = d * (count - 1);
			size_t wraps = fall > c ? (fall - c - 1) / m + 1 : 0;

			least = lesser(least, c - fall + wraps * m);
			count = wraps;
			c %= d;
			a = m % d;
			m = d;
		}
		if (count > 0)
			least = lesser(least, c);
	}
	return least;
}

/* One segment */

/* The lowest start at or above `from`. */
static bool lowest_from(const struct btag_triple *t, uintptr_t from, uintptr_t *r)
{
	size_t gap;

	if (from <= t->first) {
		*r = t->first;
		return true;
	}
	if (t->step == 0)
		return false;
	if (is_power_of_two(t->step)) {
		gap = (t->first - from) & (t->step - 1);
	} else {
		size_t over = (from - t->first) % t->step;

		gap = over ? t->step - over : 0;
	}
	*r = from + gap;
	return *r >= from;
}

/* The same where a request of `size` crosses no multiple of nocross. */
static bool lowest_uncrossed(
	const struct btag_triple *t, uintptr_t from, size_t size, uintptr_t *r)
{
	size_t n = t->nocross, k, way;

	if (!lowest_from(t, from, r))
		return false;
	if (n == 0)
		return true;
	if (size > n)
		return false;
	if (!first_at_most(*r & (n - 1), t->step & (n - 1), n, n - size, &k))
		return false;
	return !__builtin_mul_overflow(k, t->step, &way) && !__builtin_add_overflow(*r, way, r);
}

/* Rounds [*start, *last] inward to the triple's clip quanta; false if nothing is left. */
static bool clipped(const struct btag_triple *t, uintptr_t *start, uintptr_t *last)
{
	for (int i = BTAG_CLIPS - 1; i >= 0; i--) {
		size_t q = t->clip[i], units;
		uintptr_t over;

		if (q == 0)
			continue;
		over = *start % q;
		if (over && __builtin_add_overflow(*start, q - over, start))
			return false;
		if (*start > *last)
			return false;
		units = *last - *start + 1;
		units -= units % q;
		if (units == 0)
			return false;
		*last = *start + (units - 1);
	}
	return true;
}

bool btag_triple_place(const struct btag_triple *t, uintptr_t start, uintptr_t last, uintptr_t lo,
	uintptr_t hi, size_t size, uintptr_t *r)
{
	if (__builtin_expect(t->clip[0] != 0, 0) && !clipped(t, &start, &last))
		return false;
	start = start > lo ? start : lo;
	last = last < hi ? last : hi;
	return lowest_uncrossed(t, start, size, r) && *r <= last && last - *r >= size - 1;
}

size_t btag_triple_largest(const struct btag_triple *t, uintptr_t start, uintptr_t last)
{
	size_t n = t->nocross, count, best;
	uintptr_t r, block;

	if (__builtin_expect(t->clip[0] != 0, 0) && !clipped(t, &start, &last))
		return 0;
	if (!lowest_from(t, start, &r) || r > last)
		return 0;
	block = n ? last & -n : 0;
	if (r >= block)
		return last - r + 1;

	count = t->step ? (block - 1 - r) / t->step + 1 : 1;
	best = n - least_of(r & (n - 1), t->step & (n - 1), n, count);
	if (lowest_from(t, block, &r) && r <= last && last - r + 1 > best)
		best = last - r + 1;
	return best;
}

/* The widest gap between a number that is a start for `size`, and the next one; 0: unbounded. */
static size_t widest_gap(const struct btag_triple *t, size_t size)
{
	size_t n = t->nocross, step = t->step, first, rows, gap;

	if (n == 0 || (step & (n - 1)) == 0)
		return step;
	if (is_power_of_two(step)) {
		/* In each block the starts are first, first + step, ... up to n - size. */
		first = t->first & (step - 1);
		return size > n || n - size < first ? 0 : n - (n - size - first) / step * step;
	}
	rows = step >> __builtin_ctzl(step);
	if ((step & -step) > n || __builtin_mul_overflow(rows, n, &gap))
		return 0;
	return gap;
}

/* A start lies less than the widest gap above any number, and above a multiple of the grid a
 * multiple of the grid.  With a `first` above step it isn't so, but there is none: first < step. */
size_t btag_triple_slack(const struct btag_triple *t, size_t grid, size_t size)
{
	size_t gap = t->clip[0] ? 0 : widest_gap(t, size);

	return gap ? (gap - 1) / grid * grid : SIZE_MAX;
}
