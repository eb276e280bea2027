/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas to be measured, for benchmarks that count instructions (arena.c) and for benchmarks by the
 * clock (arena_clock.c).
 *
 * A layout has n holes, each between two used segments.  All holes but one are unfit for the
 * request, each by a little; the hole that serves is the last one the search would come to.  A
 * second request fails: it asks for a little more than that hole can serve.
 *
 * A row is an arena with n used segments of one quantum, and no hole.
 *
 * Concurrency: none; one thread at a time.  Panics if there is no memory.
 */
#ifndef SPANDREL_TESTS_BENCH_ARENA_LAYOUT_H
#define SPANDREL_TESTS_BENCH_ARENA_LAYOUT_H

#include "arena.h"

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

struct layout {
	const struct hard_rows *rows;
	size_t holes;
	struct hard serves, fails;
	struct arena *arena;
};

void layout_make(struct layout *l, const struct hard_rows *rows, size_t holes);
void layout_end(struct layout *l);

/* Ticks of a pair, the mean of some hundred, of the request that the layout serves, or of the one
 * that fails.  A first pair, which may build an index, isn't counted. */
uint64_t layout_pair(struct layout *l, bool serves);

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
 * row_random() frees a random segment of the row and allocates another. */
uint64_t bench_pair(struct arena *a, size_t size, unsigned flags);
uint64_t row_random(struct row *r, unsigned flags);

#endif
