/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas to be measured, for benchmarks that count instructions (arena.c) and for benchmarks by the
 * clock (arena_clock.c).
 *
 * A layout has n holes, each between two used segments.  All holes but one are unfit for the
 * request, each by a little; the hole that serves is the last one the search would come to.  A
 * second request fails: it asks for a little more than that hole can serve.
 *
 * In the layout for `xalloc_many` holes are of all sizes and at all places, and each of its
 * requests can be served by one hole in eight or so, by none in constant time.
 *
 * A row is an arena with n used segments of one quantum, and no hole.
 *
 * Concurrency: none; one thread at a time.  Panics if there is no memory.
 */
#ifndef SPANDREL_TESTS_BENCH_ARENA_LAYOUT_H
#define SPANDREL_TESTS_BENCH_ARENA_LAYOUT_H

#include "arena.h"
#include "port.h"

/* Whether memory is enough for n holes or segments. */
bool bench_has_room(size_t n);

/* Returns p; panics if it is NULL. */
void *bench_must(void *p);

/* A hard request. */
struct hard {
	size_t size, align, phase, nocross;
	uintptr_t min, max;
	unsigned fit;
};

/* A kind of layout: the names of its results, its holes, its walls and its requests. */
struct hard_rows {
	const char *name, *name_fail;
	size_t (*size_of)(size_t i, size_t n); /* of hole i of n */
	size_t wall;
	struct hard serves, fails;
	/* Sets the window of both requests; NULL: they have none. */
	void (*set_window)(struct hard *serves, struct hard *fails, size_t n);
};

extern const struct hard_rows hard_bestfit, hard_nextfit, hard_align, hard_nocross, hard_window;
extern const struct hard_rows hard_many;

struct layout {
	const struct hard_rows *rows;
	size_t holes;
	struct hard serves, fails;
	struct arena *arena;
};

void layout_make(struct layout *l, const struct hard_rows *rows, size_t holes);
void layout_end(struct layout *l);

/* Ticks of a pair, the mean of some hundred, of the request that the layout serves, or of the one
 * that fails.  The first few pairs, which build an index, aren't counted. */
uint64_t layout_pair(struct layout *l, bool serves);

/* The same of the requests of hard_many's layout, in turn: MANY_KINDS alignments. */
#define MANY_KINDS 16
uint64_t layout_many(struct layout *l, unsigned mem);

/* An arena with n used segments of one quantum. */
struct row {
	struct arena *arena;
	uintptr_t *at; /* where they are */
	size_t n;
	uint64_t seed; /* of the order in which row_random() takes them */
};

void row_make(struct row *r, size_t n);
void row_end(struct row *r);

/* Ticks of a pair, the mean of many.  bench_pair() allocates and frees `size` in any arena;
 * row_random() frees a random segment of the row and allocates another; row_deep() frees all of
 * them in random order and allocates as many. */
uint64_t bench_pair(struct arena *a, size_t size, unsigned flags);
uint64_t row_random(struct row *r, unsigned flags);
uint64_t row_deep(struct row *r, unsigned flags);

/* Has hard requests build the index of the row's arena, and then allocates and frees until 10,000
 * operations have passed since.  Panics if the index did not come, or has not gone. */
#define AFTER_SEGMENTS 1000
void row_index(struct row *r);

/* An arena like kpages_arena over a base arena of its own, with AFTER_SEGMENTS used segments of a
 * page, and free pages between their spans.  IMPORTER_PAIR fits in one span, which it retains. */
#define IMPORTER_PAIR (16 * PORT_PAGE_SIZE)
struct importer {
	struct arena *base, *arena;
	void *memory;
	void *at[AFTER_SEGMENTS];
};
void importer_make(struct importer *i);
void importer_end(struct importer *i);
/* As row_index(), for the arena; the base's index comes, too. */
void importer_index(struct importer *i);

#endif
