/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cost of calls on arenas, in what each header says it depends on.
 */
#include "costs.h"

#include "arena.h"
#include "arena_layout.h"
#include "kmalloc.h"
#include "reclaim.h"
#include "shortage.h"
#include "lib/array.h"
#include "lib/bench.h"

#define SEGMENTS 4096
#define ARENAS 1024

/* One arena with n used segments and as many free ones between them. */

static struct arena *ids;
static void **taken; /* the used ones */

static struct arena *make_ids(const char *name, size_t first, size_t count)
{
	return bench_must(arena_create(name, (void *)first, count, 1, NULL, NULL, NULL, 0, MEM_WAIT));
}

static void segments_make(size_t n)
{
	ids = make_ids("costs", 1, 2 * n);
	taken = bench_must(kmalloc(2 * n * sizeof(*taken), MEM_WAIT));
	for (size_t i = 0; i < 2 * n; i++)
		taken[i] = bench_must(arena_alloc(ids, 1, MEM_WAIT));
	for (size_t i = 0; i < 2 * n; i += 2)
		arena_free(ids, taken[i], 1);
}

static void segments_end(size_t n)
{
	for (size_t i = 1; i < 2 * n; i += 2)
		arena_free(ids, taken[i], 1);
	kfree(taken);
	arena_destroy(ids);
}

static void pair(size_t n)
{
	arena_free(ids, arena_alloc(ids, 1, MEM_WAIT), 1);
}

static void pair_atomic(size_t n)
{
	arena_free(ids, arena_alloc(ids, 1, MEM_ATOMIC), 1);
}

/* Between two free segments, which it joins. */
static void join_and_split(size_t n)
{
	uintptr_t at = n | 1;

	arena_free(ids, taken[at], 1);
	taken[at] = arena_alloc(ids, 1, MEM_WAIT);
}

static void amounts(size_t n)
{
	(void)arena_amt_free(ids);
	(void)arena_amt_total(ids);
}

static void stats(size_t n)
{
	struct arena_stats s;

	arena_get_stats(ids, &s);
}

static bool go_on(const struct arena_segment *s, void *arg)
{
	return true;
}

static void walk(size_t n)
{
	arena_walk(ids, go_on, NULL);
}

static void histogram(size_t n)
{
	struct arena_free_class classes[ARENA_FREE_CLASSES];

	arena_free_histogram(ids, classes);
}

static void find_segment(size_t n)
{
	struct arena_segment s;

	arena_find_segment(ids, 2 * n - 1, &s);
}

static void check(size_t n)
{
	arena_check(ids, NULL);
}

static size_t nothing_back(void *priv, size_t units)
{
	return 0;
}

static void set_reclaim(size_t n)
{
	arena_set_reclaim(ids, nothing_back, NULL);
}

static void is_short(size_t n)
{
	(void)shortage_is_short(ids);
}

static void chain_free(size_t n)
{
	(void)shortage_chain_free(ids);
}

/* Spans of an arena of numbers: of two numbers each, with a gap between two. */

static void spans_make(size_t n)
{
	ids = make_ids("costs", 4, 2);
	for (size_t i = 2; i <= n; i++)
		arena_add(ids, (void *)(4 * i), 2, MEM_WAIT);
}

static void spans_end(size_t n)
{
	arena_destroy(ids);
}

/* Each call adds one more, at the other end. */
static void add(size_t n)
{
	static size_t last = SIZE_MAX / 8;

	last -= 4;
	arena_add(ids, (void *)last, 2, MEM_WAIT);
}

static void make_and_destroy(size_t n)
{
	spans_make(n);
	spans_end(n);
}

static void none(size_t n)
{
}

/* Constraints, with an index of n free segments of which the last one serves. */

static struct layout layout;

static void layout_of(const struct hard_rows *rows, size_t n)
{
	layout_make(&layout, rows, n);
	arena_index(layout.arena);
}

static void bestfit_make(size_t n)
{
	layout_of(&hard_bestfit, n);
}

static void nextfit_make(size_t n)
{
	layout_of(&hard_nextfit, n);
}

static void align_make(size_t n)
{
	layout_of(&hard_align, n);
}

static void nocross_make(size_t n)
{
	layout_of(&hard_nocross, n);
}

static void window_make(size_t n)
{
	layout_of(&hard_window, n);
}

static void layout_serve(size_t n)
{
	layout_pair(&layout, true);
}

static void layout_fail(size_t n)
{
	layout_pair(&layout, false);
}

static void layout_close(size_t n)
{
	layout_end(&layout);
}

static void index_anew(size_t n)
{
	layout_close(n);
	bestfit_make(n);
}

/* n arenas, side by side */

static struct arena **arenas;

static void arenas_make(size_t n)
{
	arenas = bench_must(kmalloc(n * sizeof(*arenas), MEM_WAIT));
	for (size_t i = 0; i < n; i++)
		arenas[i] = make_ids(i + 1 == n ? "last" : "costs", 1, 1);
}

static void arenas_end(size_t n)
{
	for (size_t i = 0; i < n; i++)
		arena_destroy(arenas[i]);
	kfree(arenas);
}

/* Each call makes one more. */
static struct arena *more[COST_TIMES];
static size_t more_count;

static void create_one(size_t n)
{
	more[more_count++] = make_ids("one more", 1, 1);
}

static void create_end(size_t n)
{
	while (more_count > 0)
		arena_destroy(more[--more_count]);
	arenas_end(n);
}

static void create_and_destroy(size_t n)
{
	arena_destroy(make_ids("one more", 1, 1));
}

static void find_last(size_t n)
{
	(void)arena_find("last");
}

static void tree_stats(size_t n)
{
	arena_tree_stats(NULL, 0);
}

static void next(size_t n)
{
	arena_unpin(arena_next(NULL));
}

static void balances(size_t n)
{
	arena_base_balances(base_arena);
}

static void roots(size_t n)
{
	reclaim_roots(NULL, 0);
}

static void nodes(size_t n)
{
	reclaim_nodes(NULL, 0);
}

static void reclaim_now(size_t n)
{
	reclaim_run(1);
}

static void reclaim_counts(size_t n)
{
	struct reclaim_stats s;

	reclaim_get_stats(&s);
}

static const struct cost costs[] = {
	{"constant.arena_alloc", segments_make, pair, segments_end, SEGMENTS},
	{"constant.arena_free", segments_make, join_and_split, segments_end, SEGMENTS},
	{"constant.arena_alloc.atomic", segments_make, pair_atomic, segments_end, SEGMENTS},
	{"constant.arena_amt_free", segments_make, amounts, segments_end, SEGMENTS},
	{"constant.arena_get_stats", segments_make, stats, segments_end, SEGMENTS},
	{"constant.arena_set_reclaim", segments_make, set_reclaim, segments_end, SEGMENTS},
	{"constant.shortage_is_short", segments_make, is_short, segments_end, SEGMENTS},
	{"constant.shortage_chain_free", segments_make, chain_free, segments_end, SEGMENTS},
	{"linear.arena_walk", segments_make, walk, segments_end, SEGMENTS},
	{"linear.arena_free_histogram", segments_make, histogram, segments_end, SEGMENTS},
	{"linear.arena_find_segment", segments_make, find_segment, segments_end, SEGMENTS},
	{"linear.arena_check", segments_make, check, segments_end, SEGMENTS},
	{"logarithmic.arena_add", spans_make, add, spans_end, SEGMENTS},
	{"nlogn.arena_destroy.spans", none, make_and_destroy, none, SEGMENTS},
	{"linear.arena_index", bestfit_make, index_anew, layout_close, SEGMENTS},
	{"logarithmic.arena_alloc.bestfit", bestfit_make, layout_serve, layout_close, SEGMENTS},
	{"logarithmic.arena_alloc.bestfit_fail", bestfit_make, layout_fail, layout_close, SEGMENTS},
	{"logarithmic.arena_alloc.nextfit", nextfit_make, layout_serve, layout_close, SEGMENTS},
	{"logarithmic.arena_xalloc.align", align_make, layout_serve, layout_close, SEGMENTS},
	{"logarithmic.arena_xalloc.nocross", nocross_make, layout_serve, layout_close, SEGMENTS},
	{"logarithmic.arena_xalloc.window", window_make, layout_serve, layout_close, SEGMENTS},
	{"constant.arena_create", arenas_make, create_one, create_end, ARENAS},
	{"linear.arena_destroy.arenas", arenas_make, create_and_destroy, arenas_end, ARENAS},
	{"linear.arena_find", arenas_make, find_last, arenas_end, ARENAS},
	{"linear.arena_tree_stats", arenas_make, tree_stats, arenas_end, ARENAS},
	{"linear.arena_base_balances", arenas_make, balances, arenas_end, ARENAS},
	{"constant.arena_next", arenas_make, next, arenas_end, ARENAS},
	{"linear.reclaim_roots", arenas_make, roots, arenas_end, ARENAS},
	{"linear.reclaim_nodes", arenas_make, nodes, arenas_end, ARENAS},
	{"linear.reclaim_run", arenas_make, reclaim_now, arenas_end, ARENAS},
	{"constant.reclaim_get_stats", arenas_make, reclaim_counts, arenas_end, ARENAS},
};

BENCH("cost.arena")
{
	costs_count(costs, ARRAY_SIZE(costs));
}
