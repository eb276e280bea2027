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
void model_alloc(struct model *m, uintptr_t start, size_t size);
void model_free(struct model *m, uintptr_t start, size_t size);

/* Whether some gap serves; and what best fit and next fit must answer, 0 if nothing. */
bool model_can_serve(const struct model *m, size_t size);
uintptr_t model_best(const struct model *m, size_t size);
uintptr_t model_next(const struct model *m, size_t size);

size_t model_amount(const struct intervals *v);

#endif
