/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A model of an arena to test arenas against: two sorted arrays of intervals, and every question
 * answered by looking at all of them.
 */
#ifndef SPANDREL_TESTS_MODEL_H
#define SPANDREL_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct interval {
	uintptr_t start;
	size_t size;
	bool xallocated; /* used: by arena_xalloc() */
	bool foreign;	 /* used: by an arena that imports */
};

#define MODEL_MAX 2000

struct intervals {
	size_t count;
	struct interval at[MODEL_MAX];
};

struct model {
	size_t quantum;
	struct intervals spans; /* what may be handed out, rounded inward */
	struct intervals used;
	bool next_begun; /* where the last next fit ended */
	uintptr_t next_last;
};

struct model *model_create(size_t quantum);
void model_destroy(struct model *m);

/* Adds a span; `join` makes it one with those it touches.  Checks that it overlaps none. */
void model_add_span(struct model *m, uintptr_t start, size_t size, bool join);
/* Removes the span that starts at `start`, of which nothing is used. */
void model_remove_span(struct model *m, uintptr_t start);

/* Checks that [start, start + size) may be handed out now, and notes that it was. */
struct interval *model_alloc(struct model *m, uintptr_t start, size_t size);
void model_free(struct model *m, uintptr_t start, size_t size);

/* Whether some gap serves; and what best fit and next fit must answer, 0 if nothing. */
bool model_can_serve(const struct model *m, size_t size);
uintptr_t model_best(const struct model *m, size_t size);
uintptr_t model_next(const struct model *m, size_t size);

/* A request with constraints.  clip: a gap counts only as far as it is whole multiples of these,
 * the last one taken first. */
struct model_request {
	size_t size, quantum;
	size_t align, phase, nocross; /* 0: none; align 0 means phase 0 */
	uintptr_t min, max;	      /* 0: none */
	size_t clips[4], clip_count;
};

/* The lowest address that serves, at or above `from`; 0 if nothing. */
uintptr_t model_lowest(const struct model *m, const struct model_request *rq, uintptr_t from);
/* The highest address that serves; 0 if nothing. */
uintptr_t model_highest(const struct model *m, const struct model_request *rq);
/* The lowest above where the last next fit ended, else the lowest. */
uintptr_t model_next_lowest(const struct model *m, const struct model_request *rq);
/* Whether [r, r + size) satisfies them. */
bool model_satisfies(const struct model_request *rq, uintptr_t r);

size_t model_gaps(const struct model *m);
size_t model_amount(const struct intervals *v);

#endif
