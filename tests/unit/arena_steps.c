/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an arena with many free segments answers when its base has no page left for an index: the
 * same.
 */
#include "arena.h"
#include "btag/btag.h"
#include "model.h"
#include "lib/test.h"

#define QUANTUM 16
#define SPAN_QUANTA (PORT_PAGE_SIZE / QUANTUM)
#define BASE_PAGES 128
#define PIECES 700
#define REQUESTS 4000

static struct {
	struct arena *base, *arena;
	void *memory;
	struct model *model;
	void **pages; /* all that the base had left, linked */
	size_t pieces;
	struct {
		uintptr_t start;
		size_t size;
	} at[PIECES];
} rig;

static bool learn_span(const struct arena_segment *s, void *arg)
{
	if (s->kind == ARENA_SEGMENT_SPAN)
		model_add_span(rig.model, s->start, s->size, false);
	return true;
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
	CHECK_LT(BTAG_LOOKS, model_gaps(rig.model));
}

static void exhaust(void)
{
	void **page;

	rig.pages = NULL;
	while ((page = arena_alloc(rig.base, PORT_PAGE_SIZE, MEM_ATOMIC))) {
		*page = rig.pages;
		rig.pages = page;
	}
}

static void rig_make(void)
{
	rig.memory = base_alloc(NULL, BASE_PAGES * PORT_PAGE_SIZE, MEM_WAIT);
	rig.base = arena_create_base("steps-base", rig.memory, BASE_PAGES * PORT_PAGE_SIZE);
	rig.arena = arena_create("steps", NULL, 0, QUANTUM, arena_alloc, arena_free, rig.base, 0, MEM_WAIT);
	rig.model = model_create(QUANTUM);
	fill();
	exhaust();
}

static void rig_end(void)
{
	while (rig.pieces > 0) {
		rig.pieces--;
		arena_free(rig.arena, (void *)rig.at[rig.pieces].start, rig.at[rig.pieces].size);
	}
	while (rig.pages) {
		void **next = *rig.pages;

		arena_free(rig.base, rig.pages, PORT_PAGE_SIZE);
		rig.pages = next;
	}
	CHECK_EQ(arena_check(rig.arena, NULL), 0);
	model_destroy(rig.model);
	CHECK_EQ(arena_destroy(rig.arena), 0);
	CHECK_EQ(arena_destroy(rig.base), 0);
	base_free(NULL, rig.memory, BASE_PAGES * PORT_PAGE_SIZE);
}

/* By one of the fits, and what the model says. */
static void ask_fit(void)
{
	static const unsigned fits[] = {ARENA_INSTANTFIT, ARENA_BESTFIT, ARENA_NEXTFIT};
	unsigned fit = fits[test_random_below(3)];
	size_t size = (1 + test_random_below(20)) * QUANTUM;
	uintptr_t best = model_best(rig.model, size), next = model_next(rig.model, size);
	uintptr_t r = (uintptr_t)arena_alloc(rig.arena, size, MEM_ERROR | fit);

	CHECK_EQ(r != 0, best != 0);
	if (!r)
		return;
	if (fit == ARENA_BESTFIT)
		CHECK_EQ(r, best);
	if (fit == ARENA_NEXTFIT) {
		CHECK_EQ(r, next);
		rig.model->next_begun = true;
		rig.model->next_last = r + size - 1;
	}
	arena_free(rig.arena, (void *)r, size);
}

static void ask_constrained(void)
{
	size_t quanta = 1 + test_random_below(12), at = test_random_below(rig.model->spans.count);
	uintptr_t middle = rig.model->spans.at[at].start + test_random_below(SPAN_QUANTA) * QUANTUM;
	struct model_request rq = {.size = quanta * QUANTUM, .quantum = QUANTUM};
	uintptr_t r;

	if (test_random_below(2)) {
		rq.align = (size_t)QUANTUM << test_random_below(5);
		rq.phase = test_random_below(rq.align / QUANTUM) * QUANTUM;
	}
	if (test_random_below(2))
		rq.nocross = (size_t)256 << test_random_below(3);
	/* Always a window, since without one what surely serves need not be the lowest. */
	rq.min = middle - test_random_below(2 * PORT_PAGE_SIZE);
	rq.max = middle + 1 + test_random_below(4 * PORT_PAGE_SIZE);
	r = (uintptr_t)arena_xalloc(
		rig.arena, rq.size, rq.align, rq.phase, rq.nocross, rq.min, rq.max, MEM_ERROR);
	CHECK_EQ(r, model_lowest(rig.model, &rq, 0));
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

/* Pieces of memory, linked. */
#define PIECE 64
#define HOLES 80

static void **take(struct arena *a, size_t size, void **head, size_t most)
{
	void **p;

	while (most-- > 0 && (p = arena_alloc(a, size, MEM_ATOMIC))) {
		*p = head;
		head = p;
	}
	return head;
}

static void **give(struct arena *a, size_t size, void **head, size_t most)
{
	for (void **next; head && most-- > 0; head = next) {
		next = *head;
		arena_free(a, head, size);
	}
	return head;
}

/* Every other one of the first few goes. */
static void **holes_make(struct arena *a, void **head)
{
	void **kept = head, **next;

	for (size_t i = 0; i < HOLES; i++) {
		next = *kept;
		*kept = *next;
		arena_free(a, next, PIECE);
		kept = *kept;
	}
	return head;
}

static size_t tags_spare(struct arena *a)
{
	struct arena_stats s;

	arena_get_stats(a, &s);
	return s.tags_spare;
}

/* One arena of a base without pages has used up all tags; then another gives some back. */
TEST("arena: with no memory for an index, tags that lie idle in the supply are used")
{
	void *memory = base_alloc(NULL, BASE_PAGES * PORT_PAGE_SIZE, MEM_WAIT);
	struct arena *base = arena_create_base("steps-base", memory, BASE_PAGES * PORT_PAGE_SIZE);
	struct arena *a = arena_create("steps", NULL, 0, PIECE, arena_alloc, arena_free, base, 0, MEM_WAIT);
	struct arena *b = arena_create("others", NULL, 0, PIECE, arena_alloc, arena_free, base, 0, MEM_WAIT);
	size_t span = BASE_PAGES / 4 * PORT_PAGE_SIZE, in_hand;
	char *all = arena_alloc(a, span, MEM_ATOMIC), *more = arena_alloc(b, span / 4, MEM_ATOMIC);
	void **others, **pieces, **pages, *p;

	/* The spans stay. */
	arena_free(a, all, span);
	arena_free(b, more, span / 4);
	pieces = take(a, PIECE, NULL, 2 * HOLES + 1);
	others = take(b, PIECE, NULL, 300);
	pages = take(base, PORT_PAGE_SIZE, NULL, SIZE_MAX);
	pieces = holes_make(a, take(a, PIECE, pieces, SIZE_MAX));
	CHECK_EQ(tags_spare(a), 0);
	others = give(b, PIECE, others, 200);
	in_hand = tags_spare(base);
	for (int i = 0; i < 20; i++) {
		p = arena_xalloc(a, PIECE, 0, 0, 0, (uintptr_t)all + span - PORT_PAGE_SIZE, 0, MEM_ERROR);
		CHECK_NE((uintptr_t)p, 0);
		arena_xfree(a, p, PIECE);
	}
	CHECK_EQ(tags_spare(base), in_hand);
	give(base, PORT_PAGE_SIZE, pages, SIZE_MAX);
	give(b, PIECE, others, SIZE_MAX);
	give(a, PIECE, pieces, SIZE_MAX);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
	CHECK_EQ(arena_destroy(base), 0);
	base_free(NULL, memory, BASE_PAGES * PORT_PAGE_SIZE);
}
