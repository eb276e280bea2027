/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bins of free segments, and the fits that choose among them.
 */
#include "btag.h"

#include "lib/bitmap.h"

/*
 * The bin of q quanta.  Behind the exact ones, bin 32 + 8 * (e - 5) + k holds the sizes from
 * (8 + k) << (e - 3) up to the next bin's, where e is the place of q's highest bit and k the three
 * bits below it.  (The first of them would begin at 32, which is exact, and so begins at 33.)
 */
static inline size_t bin_of(size_t q)
{
	if (q <= BTAG_EXACT)
		return q - 1;

	unsigned e = 63 - (unsigned)__builtin_clzl(q);
	size_t k = q >> (e - BTAG_DOUBLING_SHIFT) & (BTAG_PER_DOUBLING - 1);

	return BTAG_EXACT + (e - BTAG_EXACT_SHIFT) * BTAG_PER_DOUBLING + k;
}

size_t btag_bin(const struct btag_store *s, size_t size)
{
	return bin_of(btag_quanta(s, size));
}

void btag_bin_insert(struct btag_store *s, struct btag *f)
{
	size_t b = btag_bin(s, f->size);
	struct btag *head = s->bins[b];

	f->bin_prev = NULL;
	f->bin_next = head;
	if (head)
		head->bin_prev = f;
	s->bins[b] = f;
	s->bin_map[b / 64] |= (uint64_t)1 << (b % 64);
	s->bin_summary |= (uint64_t)1 << (b / 64);
	s->segments_free++;
}

static void bin_became_empty(struct btag_store *s, size_t b)
{
	bitmap_clear(s->bin_map, b);
	if (s->bin_map[b / 64] == 0)
		bitmap_clear(&s->bin_summary, b / 64);
}

void btag_bin_remove(struct btag_store *s, struct btag *f)
{
	struct btag *prev = f->bin_prev, *next = f->bin_next;

	s->segments_free--;
	if (next)
		next->bin_prev = prev;
	if (prev) {
		prev->bin_next = next;
		return;
	}

	size_t b = btag_bin(s, f->size);

	s->bins[b] = next;
	if (!next)
		bin_became_empty(s, b);
}

static inline size_t bin_from(const struct btag_store *s, size_t b)
{
	size_t word = b / 64;

	if (b >= BTAG_BINS)
		return BTAG_NO_BIN;

	uint64_t here = s->bin_map[word] & ~(uint64_t)0 << (b % 64);

	if (here)
		return word * 64 + (size_t)__builtin_ctzl(here);

	/* Two shifts: word + 1 may be 64 in a larger map, and a shift by 64 isn't defined. */
	uint64_t above = s->bin_summary >> word >> 1;

	if (!above)
		return BTAG_NO_BIN;
	word += 1 + (size_t)__builtin_ctzl(above);
	return word * 64 + (size_t)__builtin_ctzl(s->bin_map[word]);
}

size_t btag_bin_from(const struct btag_store *s, size_t b)
{
	return bin_from(s, b);
}

/*
 * The first bin in which everything serves is the one behind that of the size just below: that is
 * the bin of `size` itself if it is the smallest the bin can hold, else the next.  What may still
 * serve when those are empty is in the bin of `size`, for a search to find.
 */
struct btag *btag_fit_instant(struct btag_store *s, size_t size)
{
	size_t q = btag_quanta(s, size);
	size_t b = bin_from(s, q <= BTAG_EXACT ? q - 1 : bin_of(q - 1) + 1);

	return __builtin_expect(b != BTAG_NO_BIN, 1) ? s->bins[b] : NULL;
}

struct btag *btag_fit_exact(struct btag_store *s, size_t size)
{
	struct btag *f = s->bins[btag_bin(s, size)];

	for (int left = BTAG_LOOKS; f && left > 0; f = f->bin_next, left--)
		if (f->size == size)
			return f;
	return NULL;
}

/* Segments of a bin it looks at before it says yes. */
#define MAY_SERVE_LOOKS 32

bool btag_may_serve(const struct btag_store *s, size_t size)
{
	size_t q = btag_quanta(s, size), looks = MAY_SERVE_LOOKS;
	struct btag *f;

	if (btag_bin_from(s, q <= BTAG_EXACT ? q - 1 : bin_of(q - 1) + 1) != BTAG_NO_BIN)
		return true;
	for (f = s->bins[bin_of(q)]; f && f->size < size && looks > 0; f = f->bin_next)
		looks--;
	return f != NULL;
}

size_t btag_largest_free(const struct btag_store *s)
{
	size_t b = bitmap_find_last(s->bin_map, BTAG_BINS);
	size_t largest = 0;
	int looks = BTAG_LOOKS;

	if (b == BITMAP_NONE)
		return 0;
	if (s->index.stands)
		return btag_index_largest(s);
	for (struct btag *f = s->bins[b]; f && looks > 0; f = f->bin_next, looks--)
		largest = f->size > largest ? f->size : largest;
	return largest;
}
