/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An arena with many free segments whose base has no page left for an index answers as it would
 * with one.
 */
#include "arena.h"
#include "arenas.h"
#include "model.h"
#include "lib/test.h"

#define QUANTUM 16
#define SPAN_QUANTA (PORT_PAGE_SIZE / QUANTUM)
#define BASE_PAGES 128
#define PIECES 700
#define LOOKS_MAX 64 /* segments that are looked at without an index */
#define REQUESTS 4000

static struct {
	struct arena *base, *arena;
	struct model *model;
	struct piece *pages; /* all that the base had left */
	size_t pieces;
	struct {
		uintptr_t start;
		size_t size;
		bool xallocated;
	} at[PIECES];
} rig;

static bool is_learned(uintptr_t start)
{
	size_t i = 0;

	while (i < rig.model->spans.count && rig.model->spans.at[i].start != start)
		i++;
	return i < rig.model->spans.count;
}

static bool learn_span(const struct arena_segment *s, void *arg)
{
	if (s->kind == ARENA_SEGMENT_SPAN && !is_learned(s->start))
		model_add_span(rig.model, s->start, s->size, false);
	return true;
}

/* Nothing that was held served, but a span that the base had memory for after reclaim had freed some.  What was
 * handed out stays so, and so the span, too. */
static void learn_import(uintptr_t start, size_t size, bool xallocated)
{
	arena_walk(rig.arena, learn_span, NULL);
	model_alloc(rig.model, start, size);
	CHECK_LT(rig.pieces, PIECES);
	rig.at[rig.pieces].start = start;
	rig.at[rig.pieces].size = size;
	rig.at[rig.pieces++].xallocated = xallocated;
}

/* Pieces of a few sizes; every third goes again, and some that lie together. */
static void fill(void)
{
	size_t kept = 0;

	for (rig.pieces = 0; rig.pieces < PIECES; rig.pieces++) {
		size_t size = (1 + test_random_below(8)) * QUANTUM;
		void *p = arena_alloc(rig.arena, size, MEM_WAIT);

		rig.at[rig.pieces].start = (uintptr_t)p;
		rig.at[rig.pieces].size = size;
		rig.at[rig.pieces].xallocated = false;
	}
	arena_walk(rig.arena, learn_span, NULL);
	for (size_t i = 0; i < PIECES; i++) {
		if (i % 3 == 0 || i % 20 < 3) {
			arena_free(rig.arena, (void *)rig.at[i].start, rig.at[i].size);
			continue;
		}
		model_alloc(rig.model, rig.at[i].start, rig.at[i].size);
		rig.at[kept++] = rig.at[i];
	}
	rig.pieces = kept;
	CHECK_LT(LOOKS_MAX, model_gaps(rig.model));
}

static void rig_make(void)
{
	rig.base = arenas_base(BASE_PAGES);
	rig.arena = arenas_importer("steps", rig.base, QUANTUM);
	rig.model = model_create(QUANTUM);
	fill();
	rig.pages = pieces_take(rig.base, PORT_PAGE_SIZE, SIZE_MAX, NULL);
}

static void rig_end(void)
{
	while (rig.pieces > 0) {
		rig.pieces--;
		if (rig.at[rig.pieces].xallocated)
			arena_xfree(rig.arena, (void *)rig.at[rig.pieces].start, rig.at[rig.pieces].size);
		else
			arena_free(rig.arena, (void *)rig.at[rig.pieces].start, rig.at[rig.pieces].size);
	}
	pieces_give(rig.base, rig.pages, SIZE_MAX);
	model_destroy(rig.model);
	arenas_end(rig.arena);
	arenas_base_end(rig.base, BASE_PAGES);
}

/* By one of the fits, and what the model says. */
static void ask_fit(void)
{
	static const unsigned fits[] = {ARENA_INSTANTFIT, ARENA_BESTFIT, ARENA_NEXTFIT};
	unsigned fit = fits[test_random_below(3)];
	size_t size = (1 + test_random_below(20)) * QUANTUM;
	uintptr_t best = model_best(rig.model, size), next = model_next(rig.model, size);
	uintptr_t r = (uintptr_t)arena_alloc(rig.arena, size, MEM_ERROR | fit);

	if (fit == ARENA_NEXTFIT && r) {
		rig.model->next_begun = true;
		rig.model->next_last = r + size - 1;
	}
	if (!best) {
		if (r)
			learn_import(r, size, false);
		return;
	}
	CHECK(r);
	if (fit == ARENA_BESTFIT)
		CHECK_EQ(r, best);
	if (fit == ARENA_NEXTFIT)
		CHECK_EQ(r, next);
	arena_free(rig.arena, (void *)r, size);
}

static void ask_constrained(void)
{
	size_t quanta = 1 + test_random_below(12), at = test_random_below(rig.model->spans.count);
	uintptr_t middle = rig.model->spans.at[at].start + test_random_below(SPAN_QUANTA) * QUANTUM;
	struct model_request rq = {.size = quanta * QUANTUM, .quantum = QUANTUM};
	uintptr_t r, lowest;

	if (test_random_below(2)) {
		rq.align = (size_t)QUANTUM << test_random_below(5);
		rq.phase = test_random_below(rq.align / QUANTUM) * QUANTUM;
	}
	if (test_random_below(2))
		rq.nocross = (size_t)256 << test_random_below(3);
	/* Always a window, since without one what surely serves need not be the lowest. */
	rq.min = middle - test_random_below(2 * PORT_PAGE_SIZE);
	rq.max = middle + 1 + test_random_below(4 * PORT_PAGE_SIZE);
	lowest = model_lowest(rig.model, &rq, 0);
	r = (uintptr_t)arena_xalloc(
		rig.arena, rq.size, rq.align, rq.phase, rq.nocross, rq.min, rq.max, MEM_ERROR);
	if (!lowest && r) {
		CHECK(model_satisfies(&rq, r));
		learn_import(r, rq.size, true);
		return;
	}
	CHECK_EQ(r, lowest);
	if (r)
		arena_xfree(rig.arena, (void *)r, rq.size);
}

TEST("arena: with no memory for an index, what is held is still found")
{
	rig_make();
	for (size_t n = test_ops(REQUESTS); n > 0; n--) {
		if (test_random_below(2))
			ask_fit();
		else
			ask_constrained();
	}
	CHECK_EQ(arena_check(rig.arena, NULL), 0);
	rig_end();
}

#define PIECE 64
#define HOLES 80

/* Every other one of the first few goes. */
static void holes_make(struct arena *a, struct piece *pieces)
{
	for (size_t i = 0; i < HOLES; i++) {
		struct piece *gone = pieces->next;

		pieces->next = gone->next;
		arena_free(a, gone, PIECE);
		pieces = pieces->next;
	}
}

/* One arena of a base without pages has used up all tags; then another gives some back. */
TEST("arena: with no memory for an index, idle tags of the supply are used")
{
	struct arena *base = arenas_base(BASE_PAGES);
	struct arena *a = arenas_importer("steps", base, PIECE);
	struct arena *b = arenas_importer("others", base, PIECE);
	size_t span = BASE_PAGES / 4 * PORT_PAGE_SIZE, in_hand;
	char *all = arena_alloc(a, span, MEM_ATOMIC), *more = arena_alloc(b, span / 4, MEM_ATOMIC);
	struct piece *others, *pieces, *pages;
	void *p;

	/* The spans stay. */
	arena_free(a, all, span);
	arena_free(b, more, span / 4);
	pieces = pieces_take(a, PIECE, 2 * HOLES + 1, NULL);
	others = pieces_take(b, PIECE, 300, NULL);
	pages = pieces_take(base, PORT_PAGE_SIZE, SIZE_MAX, NULL);
	pieces = pieces_take(a, PIECE, SIZE_MAX, pieces);
	holes_make(a, pieces);
	CHECK_EQ(arenas_stats(a).tags_spare, 0);
	others = pieces_give(b, others, 200);
	in_hand = arenas_stats(base).tags_spare;
	for (int i = 0; i < 20; i++) {
		p = arena_xalloc(a, PIECE, 0, 0, 0, (uintptr_t)all + span - PORT_PAGE_SIZE, 0, MEM_ERROR);
		CHECK_NE((uintptr_t)p, 0);
		arena_xfree(a, p, PIECE);
	}
	CHECK_EQ(arenas_stats(base).tags_spare, in_hand);
	pieces_give(base, pages, SIZE_MAX);
	pieces_give(b, others, SIZE_MAX);
	pieces_give(a, pieces, SIZE_MAX);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
	arenas_base_end(base, BASE_PAGES);
}
