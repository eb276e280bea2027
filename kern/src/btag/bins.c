/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bins of free segments, and the fits that choose among them.
 */
#include "btag_quick.h"

#include "lib/bitmap.h"

size_t btag_bin(const struct btag_store *s, size_t size)
{
	return btag_bin_quick(s, size);
}

void btag_bin_insert(struct btag_store *s, struct btag *f)
{
	btag_bin_link(s, f, btag_bin_quick(s, f->size));
	s->segments_free++;
}

void btag_bin_remove(struct btag_store *s, struct btag *f)
{
	btag_bin_unlink(s, f);
	s->segments_free--;
}

void btag_bin_move(struct btag_store *s, struct btag *f)
{
	size_t b = btag_bin_quick(s, f->size);

	if (b != f->bin) {
		btag_bin_unlink(s, f);
		btag_bin_link(s, f, b);
	}
}

size_t btag_bin_from(const struct btag_store *s, size_t b)
{
	return b < BTAG_BINS ? btag_bin_from_quick(s, b) : BTAG_NO_BIN;
}

struct btag *btag_fit_instant(struct btag_store *s, size_t size)
{
	return btag_fit_quick(s, btag_quanta(s, size) - 1);
}

bool btag_fit_exact(
	struct btag_store *s, const struct btag_request *rq, struct btag_place *place)
{
	size_t size = btag_round_up(s, rq->size);
	struct btag *f = size ? s->bins[btag_bin(s, size)] : NULL;

	for (int left = btag_looks(&rq->triple); f && left > 0; f = f->bin_next, left--) {
		s->looks++;
		if (f->size == size && btag_place_in(s, rq, f, 0, place) && place->size == size)
			return true;
	}
	return false;
}

/* Segments of a bin it looks at before it says yes. */
#define MAY_SERVE_LOOKS 32

bool btag_may_serve(const struct btag_store *s, size_t size)
{
	size_t q = btag_quanta(s, size), looks = MAY_SERVE_LOOKS;
	struct btag *f;

	if (btag_bin_from(s, q <= BTAG_EXACT ? q - 1 : btag_bin_of(q - 1) + 1) != BTAG_NO_BIN)
		return true;
	for (f = s->bins[btag_bin_of(q)]; f && f->size < size && looks > 0; f = f->bin_next)
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
