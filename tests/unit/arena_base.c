/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Base arenas: bootstrapping, the tag supply and its reserve, the hash at size.
 */
#include "arena.h"
#include "arenas.h"
#include "port.h"
#include "lib/test.h"

TEST("base: bootstraps out of its own first pages")
{
	struct arena *a = arenas_base(16);
	struct arena_stats s = arenas_stats(a);

	CHECK_EQ(s.total, 16 * PORT_PAGE_SIZE);
	CHECK_EQ(s.used, s.tag_pages * PORT_PAGE_SIZE);
	CHECK_EQ(s.tag_pages, 3);
	CHECK_EQ(s.largest_free, 13 * PORT_PAGE_SIZE);
	arenas_base_end(a, 16);
}

TEST("base: refuses memory too small for itself, and what isn't whole pages")
{
	char *memory = base_alloc(NULL, 16 * PORT_PAGE_SIZE, MEM_WAIT);

	CHECK_EQ((uintptr_t)arena_create_base(
			 "small", memory, (ARENA_BASE_PAGES_MIN - 1) * PORT_PAGE_SIZE),
		0);
	CHECK_PANICS(arena_create_base("ragged", memory + 1, 8 * PORT_PAGE_SIZE), "not whole pages");
	CHECK_PANICS(arena_create_base("ragged", memory, 8 * PORT_PAGE_SIZE + 1), "not whole pages");
	CHECK_PANICS(arena_create_base("zero", NULL, 8 * PORT_PAGE_SIZE), "at address 0");
	CHECK_PANICS(arena_create_base("ragged", memory, -(size_t)PORT_PAGE_SIZE), "not whole pages");
	base_free(NULL, memory, 16 * PORT_PAGE_SIZE);
}

static struct piece *all_pages(struct arena *a)
{
	return pieces_take(a, PORT_PAGE_SIZE, SIZE_MAX, NULL);
}

TEST("base: hands out every page that isn't tags, and takes all back when none is left")
{
	static const size_t sizes[] = {4, 5, 6, 7, 66, 67, 68, 69, 70, 130, 131, 132, 133, 500, 2000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct arena *a = arenas_base(sizes[i]);
		struct piece *pages = all_pages(a);
		size_t n = pieces_count(pages);

		CHECK_EQ(arena_amt_free(a), 0);
		CHECK_EQ(n + arenas_stats(a).tag_pages, sizes[i]);
		CHECK_EQ(arena_check(a, &console_sink), 0);
		pieces_give(a, pages, SIZE_MAX);
		CHECK_EQ(arenas_stats(a).used, arenas_stats(a).tag_pages * PORT_PAGE_SIZE);
		arenas_base_end(a, sizes[i]);
	}
}

/* Every second page stays used, so each free takes no tag and each allocation gives none back. */
TEST("base: frees in any order need no memory when there is none")
{
	struct arena *a = arenas_base(1000);
	struct piece *pages = all_pages(a);
	size_t n = pieces_count(pages), freed = 0;

	for (struct piece *page = pages; page && page->next; page = page->next) {
		struct piece *victim = page->next;

		page->next = victim->next;
		arena_free(a, victim, PORT_PAGE_SIZE);
		freed++;
	}
	CHECK_EQ(arena_amt_free(a), freed * PORT_PAGE_SIZE);
	CHECK_LE(n / 2 - 1, freed);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	pieces_give(a, pages, SIZE_MAX);
	arenas_base_end(a, 1000);
}

static struct arena *small_over(struct arena *source)
{
	return arenas_importer("small", source, 16);
}

static struct piece *all_small(struct arena *a)
{
	return pieces_take(a, 16, SIZE_MAX, NULL);
}

TEST("base: an importer gets nothing from a base that has nothing, and stays sound")
{
	struct arena *a = arenas_base(40), *b = small_over(a);
	struct piece *pages = all_pages(a);

	CHECK_EQ(arena_amt_free(a), 0);
	CHECK_EQ((uintptr_t)arena_alloc(b, 16, MEM_ATOMIC), 0);
	pieces_give(a, pages, SIZE_MAX);
	CHECK_EQ(arena_destroy(a), -EBUSY);
	CHECK_EQ(arena_destroy(b), 0);
	arenas_base_end(a, 40);
}

/* Tags run out at every possible place: the pages differ, and how many tags were taken before. */
TEST("base: when tags run out, what needs none is served, and everything comes back")
{
	for (size_t pages = 12; pages < 64; pages++) {
		struct arena *a = arenas_base(pages), *b = small_over(a), *c = small_over(a);
		struct piece *small;
		void *taken[32];
		size_t ntaken = pages % 32, largest;

		for (size_t i = 0; i < ntaken; i++)
			taken[i] = arena_alloc(c, 16, MEM_ATOMIC);
		small = all_small(b);
		CHECK_LT(50, pieces_count(small));
		CHECK_EQ(arena_amt_free(a), 0);
		CHECK_EQ(arena_check(b, &console_sink), 0);
		largest = arenas_stats(b).largest_free;
		if (largest > 0) {
			void *p = arena_alloc(b, largest, MEM_ATOMIC);

			CHECK_NE((uintptr_t)p, 0);
			arena_free(b, p, largest);
		}
		pieces_give(b, small, SIZE_MAX);
		arena_reap(b, SIZE_MAX);
		CHECK_EQ(arena_amt_total(b), 0);
		for (size_t i = 0; i < ntaken; i++)
			if (taken[i])
				arena_free(c, taken[i], 16);
		CHECK_EQ(arena_destroy(c), 0);
		CHECK_EQ(arena_destroy(b), 0);
		arenas_base_end(a, pages);
	}
}

/* Of 38 quanta instant fit takes a larger segment, as it would have to look for one of its size. */
TEST("base: when tags run out, a segment of the very size is found beside larger ones")
{
	for (size_t pages = 12; pages < 24; pages++) {
		struct arena *a = arenas_base(pages), *b = small_over(a);
		void *fits = arena_alloc(b, 38 * 16, MEM_ATOMIC);
		void *fence1 = arena_alloc(b, 16, MEM_ATOMIC);
		void *larger = arena_alloc(b, 100 * 16, MEM_ATOMIC);
		void *fence2 = arena_alloc(b, 16, MEM_ATOMIC);
		struct piece *small = all_small(b);

		arena_free(b, fits, 38 * 16);
		arena_free(b, larger, 100 * 16);
		/* With some numbers of pages a few tags are left, and it may have taken the larger. */
		fits = arena_alloc(b, 38 * 16, MEM_ATOMIC);
		CHECK_NE((uintptr_t)fits, 0);
		arena_free(b, fits, 38 * 16);
		pieces_give(b, small, SIZE_MAX);
		arena_free(b, fence1, 16);
		arena_free(b, fence2, 16);
		CHECK_EQ(arena_destroy(b), 0);
		arenas_base_end(a, pages);
	}
}

/* So many that a window is searched for in an index. */
#define HOLES 80

/* Its own index needs nodes for each page that is handed out, until there are no pages for nodes.
 */
TEST("base: with an index of its own it hands out every page, and takes all back")
{
	for (size_t pages = 2 * HOLES + 20; pages < 2 * HOLES + 120; pages++) {
		struct arena *a = arenas_base(pages);
		void *holes[2 * HOLES], *p;
		struct piece *rest;

		for (size_t i = 0; i < 2 * HOLES; i++)
			holes[i] = arena_alloc(a, PORT_PAGE_SIZE, MEM_ATOMIC);
		for (size_t i = 0; i < 2 * HOLES; i += 2)
			arena_free(a, holes[i], PORT_PAGE_SIZE);
		p = arena_xalloc(a, 2 * PORT_PAGE_SIZE, 0, 0, 0, (uintptr_t)a, 0, MEM_ERROR);
		CHECK_NE((uintptr_t)p, 0);
		rest = all_pages(a);
		CHECK_EQ(arena_check(a, &console_sink), 0);
		pieces_give(a, rest, SIZE_MAX);
		arena_xfree(a, p, 2 * PORT_PAGE_SIZE);
		for (size_t i = 1; i < 2 * HOLES; i += 2)
			arena_free(a, holes[i], PORT_PAGE_SIZE);
		CHECK_EQ(arenas_stats(a).used, arenas_stats(a).tag_pages * PORT_PAGE_SIZE);
		arenas_base_end(a, pages);
	}
}

/* More than the tags at hand cut into pieces of 16 bytes. */
#define LARGE (4 * PORT_PAGE_SIZE)

/* Of two segments of 16 bytes one lies in the window, and so does a larger one below, which can't
 * be cut. */
TEST("base: when tags run out, a segment of the very size is found within the window")
{
	struct arena *a = arenas_base(16), *b = small_over(a);
	void *large = arena_alloc(b, LARGE, MEM_ATOMIC), *inside = arena_alloc(b, 16, MEM_ATOMIC);
	void *fence1 = arena_alloc(b, 16, MEM_ATOMIC), *outside = arena_alloc(b, 16, MEM_ATOMIC);
	void *fence2 = arena_alloc(b, 16, MEM_ATOMIC);
	struct piece *small, *pages;
	uintptr_t min = (uintptr_t)large, max = (uintptr_t)inside + 16;

	pages = all_pages(a);
	arena_free(b, large, LARGE);
	small = all_small(b);
	CHECK_LT(16, arenas_stats(b).largest_free);
	arena_free(b, inside, 16);
	arena_free(b, outside, 16);
	CHECK_LT(min, (uintptr_t)inside);
	CHECK_EQ((uintptr_t)arena_xalloc(b, 16, 0, 0, 0, min, max, MEM_ATOMIC), (uintptr_t)inside);
	arena_xfree(b, inside, 16);
	arena_free(b, fence1, 16);
	arena_free(b, fence2, 16);
	pieces_give(b, small, SIZE_MAX);
	pieces_give(a, pages, SIZE_MAX);
	CHECK_EQ(arena_destroy(b), 0);
	arenas_base_end(a, 16);
}

TEST("base: added memory is handed out too, and adjacent memory joins")
{
	char *memory = base_alloc(NULL, 64 * PORT_PAGE_SIZE, MEM_WAIT);
	struct arena *a = arena_create_base("test-base", memory, 8 * PORT_PAGE_SIZE);
	void *p;

	CHECK_EQ(arena_add(a, memory + 16 * PORT_PAGE_SIZE, 8 * PORT_PAGE_SIZE, MEM_WAIT), 0);
	CHECK_EQ(arenas_stats(a).spans, 2);
	CHECK_EQ(arena_add(a, memory + 8 * PORT_PAGE_SIZE, 8 * PORT_PAGE_SIZE, MEM_WAIT), 0);
	CHECK_EQ(arenas_stats(a).spans, 1);
	p = arena_alloc(a, 20 * PORT_PAGE_SIZE, MEM_ATOMIC);
	CHECK_NE((uintptr_t)p, 0);
	arena_free(a, p, 20 * PORT_PAGE_SIZE);
	CHECK_EQ(arena_destroy(a), 0);
	base_free(NULL, memory, 64 * PORT_PAGE_SIZE);
}

TEST("base: base_alloc finds the nearest base through any number of sources")
{
	struct arena *a = arenas_base(64);
	struct arena *b = arena_create(
		"b", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free, a, 0, MEM_WAIT);
	struct arena *c = arena_create("c", NULL, 0, 16, arena_alloc, arena_free, b, 0, MEM_WAIT);
	size_t before = arena_amt_free(a);
	unsigned char *p = base_zalloc(c, 5000, MEM_ATOMIC);

	CHECK_EQ(arena_amt_free(a), before - 2 * PORT_PAGE_SIZE);
	for (int i = 0; i < 5000; i++)
		CHECK_EQ(p[i], 0);
	base_free(c, p, 5000);
	CHECK_EQ(arena_amt_free(a), before);
	CHECK_EQ(arena_destroy(c), 0);
	CHECK_EQ(arena_destroy(b), 0);
	arenas_base_end(a, 64);
}

/* The hash through all its shapes: in the store, one page, two levels; and back. */
TEST("hash: grows with the segments, keeps its buckets, gives pages back when reaped")
{
	size_t n = test_ops(300000);
	struct arena *a = arena_create("many", (void *)1, 4 * n, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct arena_stats young = arenas_stats(a);
	size_t pages = arenas_stats(base_arena).tag_pages, buckets;

	for (size_t i = 1; i <= n; i++)
		CHECK_EQ((uintptr_t)arena_alloc(a, 3, MEM_ATOMIC | ARENA_BESTFIT), 3 * i - 2);
	buckets = arenas_stats(a).hash_buckets;
	CHECK_LE(n / 2, buckets);
	CHECK_LE(buckets, 2 * n);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	CHECK_LT(pages + n / 80, arenas_stats(base_arena).tag_pages);
	for (size_t i = 1; i <= n; i += 2)
		arena_free(a, (void *)(3 * i - 2), 3);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	for (size_t i = 2; i <= n; i += 2)
		arena_free(a, (void *)(3 * i - 2), 3);
	CHECK_EQ(arenas_stats(a).hash_buckets, buckets);
	CHECK_LE(arenas_stats(a).tags_spare, 80);
	arena_reap(a, SIZE_MAX);
	CHECK_EQ(arenas_stats(a).hash_buckets, young.hash_buckets);
	CHECK_EQ(arenas_stats(a).hash_pages, young.hash_pages);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

#define ARENAS_MAX 32

/* What any arena has and doesn't use, tags in hand above all, goes home; importers before their
 * sources. */
static void reap_all(void)
{
	static struct arena_stats rows[ARENAS_MAX];
	size_t n = arena_tree_stats(rows, ARENAS_MAX);

	for (n = n < ARENAS_MAX ? n : ARENAS_MAX; n > 0; n--)
		arena_reap((struct arena *)rows[n - 1].arena, SIZE_MAX);
}

/* What may be missing of `before` bytes after everything was freed and reaped. */
static void check_home(size_t before)
{
	size_t now = arena_amt_free(base_arena), lost = before > now ? before - now : 0;

	CHECK(lost <= before / 1000 * 5 || lost <= 64 * PORT_PAGE_SIZE);
}

/* A segment stays here and there.  It and the free one beside it keep their tags' pages, at most two,
 * and these the pages that hold base's tags for them, of which there is one for a few dozen. */
TEST("reap: after a million segments base has nearly all of what it had")
{
	size_t n = test_ops(1000000), before, given, kept = (2 * (n / 10000) + n / 64 / 32) * PORT_PAGE_SIZE;
	struct arena *a = arena_create("many", (void *)1, 2 * n, 1, NULL, NULL, NULL, 0, MEM_WAIT);

	reap_all();
	before = arena_amt_free(base_arena);
	for (size_t i = 1; i <= n; i++)
		CHECK_EQ((uintptr_t)arena_alloc(a, 2, MEM_ATOMIC | ARENA_BESTFIT), 2 * i - 1);
	for (size_t i = 1; i <= n; i++)
		if (i % 10000 != 0)
			arena_free(a, (void *)(2 * i - 1), 2);
	given = arena_reap(a, SIZE_MAX);
	CHECK_LE(n / 64 * PORT_PAGE_SIZE, given + kept + 64 * PORT_PAGE_SIZE);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	CHECK_LE(before, arena_amt_free(base_arena) + kept + 64 * PORT_PAGE_SIZE);
	for (size_t i = 10000; i <= n; i += 10000)
		arena_free(a, (void *)(2 * i - 1), 2);
	arena_reap(a, SIZE_MAX);
	reap_all();
	check_home(before);
	CHECK_EQ(arena_destroy(a), 0);
}
