/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Statistics of arenas: counts, peaks and histograms against a model, and how much a search looks
 * at.
 */
#include "model.h"
#include "threads.h"

#include "arena.h"
#include "arenas.h"
#include "lib/string.h"
#include "port.h"
#include "lib/test.h"

#define START ((uintptr_t)1 << 20)

/* Counts against a model */

/* What was asked of an arena, counted by the test. */
struct tally {
	uint64_t allocs_by[ARENA_STYLES], frees, failures;
	size_t used, used_peak;
};

static void check_tally(struct arena *a, const struct tally *t)
{
	struct arena_stats s = arenas_stats(a);
	uint64_t allocs = 0;

	for (int i = 0; i < ARENA_STYLES; i++) {
		CHECK_EQ(s.allocs_by[i], t->allocs_by[i]);
		allocs += t->allocs_by[i];
	}
	CHECK_EQ(s.allocs, allocs);
	CHECK_EQ(s.frees, t->frees);
	CHECK_EQ(s.failures, t->failures);
	CHECK_EQ(s.failures_by[ARENA_FAILURE_SHORTAGE], t->failures);
	CHECK_EQ(s.used, t->used);
	CHECK_EQ(s.used_peak, t->used_peak);
}

/* The free segments of a model of one span, sorted into classes, and the largest. */
static size_t classes_of(const struct model *m, struct arena_free_class *classes)
{
	const struct interval *span = &m->spans.at[0];
	uintptr_t at = span->start;
	size_t largest = 0;

	memset(classes, 0, ARENA_FREE_CLASSES * sizeof(*classes));
	for (size_t i = 0; i <= m->used.count; i++) {
		uintptr_t end = i < m->used.count ? m->used.at[i].start : span->start + span->size;
		size_t gap = end - at, class = 0;

		while (class < 63 && gap >> (class + 1))
			class++;
		classes[class].segments += gap > 0;
		classes[class].units += gap;
		largest = gap > largest ? gap : largest;
		at = i < m->used.count ? end + m->used.at[i].size : end;
	}
	return largest;
}

static void check_free(struct arena *a, const struct model *m)
{
	struct arena_free_class got[ARENA_FREE_CLASSES], wanted[ARENA_FREE_CLASSES];
	struct arena_stats s = arenas_stats(a);
	size_t largest = classes_of(m, wanted);

	arena_free_histogram(a, got);
	CHECK_EQ(memcmp(got, wanted, sizeof(got)), 0);
	CHECK_EQ(s.free, m->spans.at[0].size - model_amount(&m->used));
	CHECK_LE(s.largest_free, largest);
	CHECK_LE(largest - largest / 9, s.largest_free);
	CHECK_EQ(s.fragmentation_permille, s.free ? 1000 * (s.free - s.largest_free) / s.free : 0);
}

#define QUANTUM 3
#define QUANTA 2000

static void random_alloc(struct arena *a, struct model *m, struct tally *t)
{
	static const unsigned fits[] = {
		ARENA_INSTANTFIT, ARENA_BESTFIT, ARENA_NEXTFIT, ARENA_HIGHFIT};
	enum arena_style style = (enum arena_style)test_random_below(ARENA_STYLES);
	size_t size = QUANTUM * (1 + test_random_below(test_random_below(8) ? 20 : 150));
	uintptr_t p = style == ARENA_STYLE_CONSTRAINED ?
			      (uintptr_t)arena_xalloc(a, size, 0, 0, 0, 1, 0, MEM_ERROR) :
			      (uintptr_t)arena_alloc(a, size, MEM_ERROR | fits[style]);

	if (p == 0) {
		t->failures++;
		return;
	}
	model_alloc(m, p, size)->xallocated = style == ARENA_STYLE_CONSTRAINED;
	t->allocs_by[style]++;
	t->used += size;
	t->used_peak = t->used > t->used_peak ? t->used : t->used_peak;
}

static void random_free(struct arena *a, struct model *m, struct tally *t)
{
	struct interval i = m->used.at[test_random_below(m->used.count)];

	model_free(m, i.start, i.size);
	if (i.xallocated)
		arena_xfree(a, (void *)i.start, i.size);
	else
		arena_free(a, (void *)i.start, i.size);
	t->frees++;
	t->used -= i.size;
}

TEST("statistics: allocations, frees, failures, peak, histogram are the model's")
{
	struct model *m = model_create(QUANTUM);
	struct arena *a = arena_create("thirds", (void *)QUANTUM, QUANTUM * QUANTA, QUANTUM, NULL, NULL, NULL,
		0, MEM_WAIT);
	struct tally t = {.used = 0};

	model_add_span(m, QUANTUM, QUANTUM * QUANTA, true);
	for (size_t ops = test_ops(20000), i = 0; i < ops; i++) {
		/* Tides: each reaches a level of its own. */
		bool ebb = test_random_below(100) < (i / 500 % 2 ? 70 : 30);

		if (ebb && m->used.count > 0)
			random_free(a, m, &t);
		else
			random_alloc(a, m, &t);
		check_tally(a, &t);
		if (i % 64 == 0)
			check_free(a, m);
	}
	while (m->used.count > 0)
		random_free(a, m, &t);
	check_tally(a, &t);
	check_free(a, m);
	arenas_end(a);
	model_destroy(m);
}

TEST("statistics: the peak of used units is kept by the quick paths, too")
{
	struct arena *a = arenas_ids(1, 1000);
	void *p[10];

	CHECK_EQ(arenas_stats(a).used_peak, 0);
	for (size_t peak = 1; peak <= 10; peak++) {
		for (size_t i = 0; i < peak; i++)
			p[i] = arena_alloc(a, 7, MEM_ATOMIC);
		CHECK_EQ(arenas_stats(a).used_peak, 7 * peak);
		for (size_t i = 0; i < peak; i++)
			arena_free(a, p[i], 7);
		CHECK_EQ(arenas_stats(a).used, 0);
		CHECK_EQ(arenas_stats(a).used_peak, 7 * peak);
	}
	arenas_end(a);
}

TEST("statistics: fragmentation is the share of free units outside the largest piece")
{
	static const size_t sizes[] = {30, 20, 10, 20};
	struct arena *a = arenas_ids(100, sizes[0]);
	void *p;

	CHECK_EQ(arenas_stats(a).fragmentation_permille, 0);
	for (int i = 1; i < 4; i++)
		CHECK_EQ(arena_add(a, (void *)(uintptr_t)(100 + 100 * i), sizes[i], MEM_WAIT), 0);
	CHECK_EQ(arenas_stats(a).fragmentation_permille, 625);
	p = arena_alloc(a, 30, MEM_ATOMIC);
	CHECK_EQ(arenas_stats(a).fragmentation_permille, 600);
	arena_free(a, p, 30);
	arenas_end(a);
	/* All the integers there are, and half of them. */
	a = arenas_ids(1, SIZE_MAX);
	p = arena_xalloc(a, 1, 0, 0, 0, SIZE_MAX / 2, 0, MEM_WAIT);
	CHECK_LE(499, arenas_stats(a).fragmentation_permille);
	CHECK_LE(arenas_stats(a).fragmentation_permille, 500);
	arena_xfree(a, p, 1);
	p = arena_alloc(a, SIZE_MAX, MEM_ATOMIC);
	CHECK_EQ((uintptr_t)p, 1);
	CHECK_EQ(arenas_stats(a).fragmentation_permille, 0);
	arena_free(a, p, SIZE_MAX);
	arenas_end(a);
}

/* Spans that move, counted by the pair of functions that moves them. */

static uint64_t moved_in, moved_out;

static void *move_in(struct arena *source, size_t size, unsigned flags)
{
	void *p = arena_alloc(source, size, flags);

	moved_in += p != NULL;
	return p;
}

static void move_out(struct arena *source, void *addr, size_t size)
{
	moved_out++;
	arena_free(source, addr, size);
}

TEST("statistics: imports and returns are spans that moved, retained are free ones")
{
	struct arena *a = arenas_ids(1, 1000);
	struct arena *b =
		arena_create("importer", NULL, 0, 1, move_in, move_out, a, 0, MEM_WAIT);
	uintptr_t p[64];
	size_t n = 0;

	moved_in = moved_out = 0;
	for (size_t ops = test_ops(20000), i = 0; i < ops; i++) {
		if (n < 64 && test_random_below(2)) {
			p[n] = (uintptr_t)arena_alloc(b, 10, MEM_ATOMIC);
			n += p[n] != 0;
		} else if (n > 0) {
			size_t k = test_random_below(n);

			arena_free(b, (void *)p[k], 10);
			p[k] = p[--n];
		}
		CHECK_EQ(arenas_stats(b).imports, moved_in);
		CHECK_EQ(arenas_stats(b).returns, moved_out);
		/* A span is one request's here, or free. */
		CHECK_EQ(arenas_stats(b).retained, arenas_stats(b).total - 10 * n);
		CHECK_EQ(arenas_stats(a).used, arenas_stats(b).total);
	}
	while (n > 0)
		arena_free(b, (void *)p[--n], 10);
	arena_reap(b, SIZE_MAX);
	CHECK_EQ(arenas_stats(b).imports, arenas_stats(b).returns);
	CHECK_EQ(arenas_stats(b).retained, 0);
	arenas_end(b);
	arenas_end(a);
}

/* Failures by reason */

/* That `why` has been the reason `n` times, and no other ever. */
static void check_failed(struct arena *a, enum arena_failure why, uint64_t n)
{
	struct arena_stats s = arenas_stats(a);

	CHECK_EQ(s.failures_by[why], n);
	CHECK_EQ(s.failures, n);
}

TEST("statistics: shortage and a request that no address could serve count apart")
{
	struct arena *a = arenas_ids(1, 100);

	CHECK_EQ((uintptr_t)arena_alloc(a, 101, MEM_ATOMIC), 0);
	CHECK_EQ((uintptr_t)arena_alloc(a, 101, MEM_ERROR | ARENA_BESTFIT), 0);
	CHECK_EQ((uintptr_t)arena_xalloc(a, 1, 0, 0, 0, 101, 0, MEM_ATOMIC), 0);
	check_failed(a, ARENA_FAILURE_SHORTAGE, 3);
	CHECK_EQ((uintptr_t)arena_xalloc(a, 10, 0, 0, 0, 50, 55, MEM_ATOMIC), 0);
	CHECK_EQ((uintptr_t)arena_xalloc(a, 10, 0, 0, 0, 50, 55, MEM_ERROR), 0);
	CHECK_EQ(arenas_stats(a).failures_by[ARENA_FAILURE_IMPOSSIBLE], 2);
	CHECK_EQ(arenas_stats(a).failures, 5);
	arenas_end(a);
}

TEST("statistics: a deadline that passes is a failure of its own kind")
{
	struct arena *a = arenas_ids(1, 1);
	void *p = arena_alloc(a, 1, MEM_WAIT);

	CHECK_EQ((uintptr_t)arena_alloc_timeout(a, 1, MEM_ERROR, port_ns() + 1000000), 0);
	check_failed(a, ARENA_FAILURE_DEADLINE, 1);
	CHECK_EQ(arenas_stats(a).sleeps, 1);
	CHECK_EQ(arenas_stats(a).waits_served, 0);
	arena_free(a, p, 1);
	arenas_end(a);
}

TEST("statistics: what a source refuses is counted once in each, constraints or not")
{
	struct arena *a = arenas_ids(1, 100);
	struct arena *b = arenas_importer("importer", a, 1);

	CHECK_EQ((uintptr_t)arena_alloc(b, 101, MEM_ATOMIC), 0);
	check_failed(a, ARENA_FAILURE_SHORTAGE, 1);
	check_failed(b, ARENA_FAILURE_SHORTAGE, 1);
	CHECK_EQ((uintptr_t)arena_xalloc(b, 10, 0, 0, 0, 95, 0, MEM_ATOMIC), 0);
	check_failed(a, ARENA_FAILURE_SHORTAGE, 2);
	check_failed(b, ARENA_FAILURE_SHORTAGE, 2);
	CHECK_EQ(arenas_stats(a).allocs + arenas_stats(b).allocs, 0);
	arenas_end(b);
	arenas_end(a);
}

TEST("statistics: a request that a front and its arena can't serve is one failure")
{
	struct arena *a =
		arena_create("fronted", (void *)1, 64, 1, NULL, NULL, NULL, 4, MEM_WAIT);
	uintptr_t p[65];
	size_t n = 0;

	while ((p[n] = (uintptr_t)arena_alloc(a, 1, MEM_ATOMIC)))
		n++;
	CHECK_EQ(n, 64);
	check_failed(a, ARENA_FAILURE_SHORTAGE, 1);
	while (n > 0)
		arena_free(a, (void *)p[--n], 1);
	arenas_end(a);
}

#define BASE_PAGES 64

/* Free units are held, but the base has no page for the tags to cut them. */
TEST("statistics: what fails for want of boundary tags says so")
{
	struct arena *base = arenas_base(BASE_PAGES), *a = arenas_importer("user", base, 1);
	struct piece *pages;
	uintptr_t p[1000];
	size_t taken = 0;

	arena_free(a, arena_alloc(a, 8 * PORT_PAGE_SIZE, MEM_ATOMIC), 8 * PORT_PAGE_SIZE);
	pages = pieces_take(base, PORT_PAGE_SIZE, SIZE_MAX, NULL);
	while (taken < 1000 && (p[taken] = (uintptr_t)arena_alloc(a, 1, MEM_ATOMIC)))
		taken++;
	CHECK_LT(taken, 1000);
	CHECK_LT(0, arenas_stats(a).free);
	check_failed(a, ARENA_FAILURE_TAGS, 1);
	while (taken > 0)
		arena_free(a, (void *)p[--taken], 1);
	pieces_give(base, pages, SIZE_MAX);
	arenas_end(a);
	arenas_base_end(base, BASE_PAGES);
}

/*
 * How much a search looks at, in layouts that fail every request by a little in all holes but the
 * last: holes stand between walls, and the rest of the span is used.
 */

struct layout {
	const char *name;
	size_t (*size_of)(size_t i, size_t n); /* of hole i of n */
	size_t wall;
	size_t size, size_fail; /* served by the last hole, and by none */
	size_t align, phase, nocross;
	unsigned fit;
	bool windowed; /* to what lies between the first hole and the last */
};

/* All of one bin. */
static size_t mixed_holes(size_t i, size_t n)
{
	return i == n - 1 ? 143 : 128 + i * 7 % 15;
}

static size_t short_holes(size_t i, size_t n)
{
	return i == n - 1 ? 64 : 63;
}

/* On multiples of 64, with walls of 33. */
static size_t misaligned_holes(size_t i, size_t n)
{
	return i == n - 1 ? 64 : 31;
}

/* Across multiples of 64, with walls of 33. */
static size_t crossing_holes(size_t i, size_t n)
{
	return i == 0 ? 15 : i == n - 1 ? 36 : 31;
}

static size_t window_holes(size_t i, size_t n)
{
	return i == 0 || i == n - 1 ? 4096 : i == n - 2 ? 64 : 63;
}

static const struct layout layouts[] = {
	{"instant fit", mixed_holes, 1, 143, 144, 0, 0, 0, ARENA_INSTANTFIT, false},
	{"best fit", mixed_holes, 1, 143, 144, 0, 0, 0, ARENA_BESTFIT, false},
	{"next fit", short_holes, 1, 64, 65, 0, 0, 0, ARENA_NEXTFIT, false},
	{"align", misaligned_holes, 33, 32, 33, 64, 32, 0, ARENA_INSTANTFIT, false},
	{"nocross", crossing_holes, 33, 20, 21, 0, 0, 64, ARENA_INSTANTFIT, false},
	{"window", window_holes, 1, 64, 65, 0, 0, 0, ARENA_INSTANTFIT, true},
	{"next fit in a window", window_holes, 1, 64, 65, 0, 0, 0, ARENA_NEXTFIT, true},
};
#define LAYOUTS (sizeof(layouts) / sizeof(layouts[0]))

/* Where hole i of the layout begins. */
static uintptr_t hole_at(const struct layout *l, size_t n, size_t i)
{
	uintptr_t at = START;

	for (size_t k = 0; k < i; k++)
		at += l->size_of(k, n) + l->wall;
	return at;
}

static struct arena *layout_make(const struct layout *l, size_t n)
{
	size_t units = hole_at(l, n, n);
	struct arena *a = arenas_ids(START, units - START);
	uintptr_t at = START;

	for (size_t i = 0; i < n; i++) {
		CHECK(arena_alloc(a, l->size_of(i, n), MEM_ATOMIC));
		CHECK(arena_alloc(a, l->wall, MEM_ATOMIC));
	}
	CHECK_EQ(arenas_stats(a).free, 0);
	for (size_t i = 0; i < n; i++) {
		arena_free(a, (void *)at, l->size_of(i, n));
		at += l->size_of(i, n) + l->wall;
	}
	CHECK_EQ(arenas_stats(a).segments_free, n);
	return a;
}

static void layout_end(const struct layout *l, struct arena *a, size_t n)
{
	uintptr_t at = START;

	arena_reap(a, SIZE_MAX);
	for (size_t i = 0; i < n; i++) {
		at += l->size_of(i, n);
		arena_free(a, (void *)at, l->wall);
		at += l->wall;
	}
	CHECK_EQ(arena_destroy(a), 0);
}

static bool is_plain(const struct layout *l)
{
	return !l->align && !l->nocross && !l->windowed;
}

/* Asks for `size`, gives it back if it came, and says whether it did. */
static bool ask(struct arena *a, const struct layout *l, size_t n, size_t size, unsigned mem)
{
	uintptr_t lo = l->windowed ? hole_at(l, n, 1) : 0, hi = l->windowed ? hole_at(l, n, n - 1) : 0;
	void *p;

	if (is_plain(l)) {
		p = arena_alloc(a, size, mem | l->fit);
		if (p)
			arena_free(a, p, size);
	} else {
		p = arena_xalloc(a, size, l->align, l->phase, l->nocross, lo, hi, mem | l->fit);
		if (p)
			arena_xfree(a, p, size);
	}
	return p != NULL;
}

static size_t log2_up(size_t n)
{
	return n > 1 ? 64 - (size_t)__builtin_clzl(n - 1) : 0;
}

/* A search goes down the tree by address, up and down again, and next fit does so twice; its height
 * is at most 1.44 log2(n + 2) (tree.c).  While a constraint is new to the index, a step goes on to
 * more segments, and passes a bounded number of nodes. */
#define STEP_NODES 160
static size_t looks_bound(size_t n)
{
	return 6 * (log2_up(n + 2) * 144 / 100 + 1) + STEP_NODES;
}

#define LOOKS_MAX 16 /* without an index */

static void check_looks(const struct layout *l, size_t n)
{
	struct arena *a = layout_make(l, n);

	/* Without the index; one that is missed is never built for it. */
	ask(a, l, n, l->size, MEM_ATOMIC);
	ask(a, l, n, l->size_fail, MEM_ATOMIC);
	CHECK_LT(0, arenas_stats(a).search_looks_max);
	CHECK_LE(arenas_stats(a).search_looks_max, LOOKS_MAX);
	/* With it, from the first to the last step. */
	for (int i = 0; i < 4; i++) {
		CHECK(ask(a, l, n, l->size, MEM_ERROR));
		CHECK(!ask(a, l, n, l->size_fail, MEM_ERROR));
	}
	if (arenas_stats(a).search_looks_max > looks_bound(n))
		test_fail(__FILE__, __LINE__, "%s: a search looked at %zu of %zu, more than %zu", l->name,
			(size_t)arenas_stats(a).search_looks_max, n, looks_bound(n));
	layout_end(l, a, n);
}

TEST("statistics: one hold looks at 16 segments at most, or bounded nodes of the index")
{
	static const size_t sizes[] = {100, 1000, 10000, 100000};
	size_t max = test_ops(sizes[3]);

	for (size_t k = 0; k < LAYOUTS; k++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && (i == 0 || sizes[i] <= max); i++)
			check_looks(&layouts[k], sizes[i]);
}

TEST("statistics: what an atomic request misses without an index counts apart")
{
	const struct layout *l = &layouts[1];
	struct arena *a = layout_make(l, 500);
	struct arena *b = arenas_importer("importer", a, 1);

	CHECK(!ask(a, l, 500, l->size_fail - 1, MEM_ATOMIC));
	check_failed(a, ARENA_FAILURE_INDEX, 1);
	CHECK_EQ((uintptr_t)arena_xalloc(b, l->size, 0, 0, 0, START, 0, MEM_ATOMIC), 0);
	check_failed(a, ARENA_FAILURE_INDEX, 2);
	check_failed(b, ARENA_FAILURE_INDEX, 1);
	CHECK(ask(a, l, 500, l->size, MEM_ERROR));
	CHECK(ask(a, l, 500, l->size, MEM_ATOMIC));
	CHECK(!ask(a, l, 500, l->size_fail, MEM_ATOMIC));
	CHECK_EQ(arenas_stats(a).failures_by[ARENA_FAILURE_INDEX], 2);
	CHECK_EQ(arenas_stats(a).failures_by[ARENA_FAILURE_SHORTAGE], 1);
	arenas_end(b);
	layout_end(l, a, 500);
}

/* Time */

#define MS 1000000ull /* nanoseconds */

TEST("port: ticks are turned into nanoseconds of its clock")
{
	uint64_t outer = port_ns(), ticks = port_ticks(), inner = port_ns(), ns;

	while (port_ns() - inner < 20 * MS)
		port_pause();
	inner = port_ns() - inner;
	ns = port_ticks_ns(port_ticks() - ticks);
	outer = port_ns() - outer;
	CHECK_LE(inner * 9 / 10, ns);
	CHECK_LE(ns, outer * 11 / 10);
	CHECK_EQ(port_ticks_ns(0), 0);
}

/* While others work */

#define WORKERS 3
#define HELD 2000

/* Segments apart from each other take tags, the failing request nodes; the reap gives both back. */
static void take_pages_and_reap(struct arena *a)
{
	for (uintptr_t i = 0; i < HELD; i++)
		arena_xalloc(a, 1, 0, 0, 0, START + 2 * i, START + 2 * i + 1, MEM_ERROR);
	CHECK(!arena_xalloc(a, 2, 0, 0, 0, START, START + 2 * HELD, MEM_ERROR));
	for (uintptr_t i = 0; i < HELD; i++)
		arena_xfree(a, (void *)(START + 2 * i), 1);
	arena_reap(a, SIZE_MAX);
}

static void read_while_they_work(struct arena *const *arenas, unsigned *working)
{
	struct arena_stats s, own;

	while (__atomic_load_n(working, __ATOMIC_ACQUIRE) > 0 && !test_has_failed()) {
		arena_get_stats(base_arena, &s);
		CHECK_LE(s.used + s.free, s.total);
		CHECK_LT(s.tag_pages, s.total / PORT_PAGE_SIZE);
		for (size_t i = 0; i < WORKERS; i++) {
			arena_get_stats(arenas[i], &own);
			CHECK_LE(own.used, HELD);
			CHECK_EQ(own.used, own.segments_used);
		}
		kthread_yield();
	}
}

struct reading {
	struct arena *arenas[WORKERS];
	unsigned working;
};

static void work_or_read(unsigned i, void *arg)
{
	struct reading *r = arg;
	size_t rounds = test_ops(40);

	if (i == WORKERS) {
		read_while_they_work(r->arenas, &r->working);
		return;
	}
	while (rounds-- > 0)
		take_pages_and_reap(r->arenas[i]);
	__atomic_fetch_sub(&r->working, 1, __ATOMIC_RELEASE);
}

TEST("statistics: they are read while other cores take and give back pages of tags")
{
	struct reading r = {.working = WORKERS};

	for (size_t i = 0; i < WORKERS; i++)
		r.arenas[i] = arenas_ids(START, 2 * HELD);
	threads_run(THREADS_PINNED, WORKERS + 1, work_or_read, &r);
	for (size_t i = 0; i < WORKERS; i++)
		arenas_end(r.arenas[i]);
}
