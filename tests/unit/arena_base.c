/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Base arenas: bootstrapping, the tag supply and its reserve, the hash at size.
 */
#include "arena.h"
#include "btag.h"
#include "port.h"
#include "test.h"

static struct arena_stats stats(struct arena *a)
{
	struct arena_stats s;

	arena_get_stats(a, &s);
	return s;
}

/* A base arena over pages of the real one. */
static struct arena *base_over(size_t pages)
{
	void *memory = base_alloc(NULL, pages * PORT_PAGE_SIZE, MEM_WAIT);

	return arena_create_base("test-base", memory, pages * PORT_PAGE_SIZE);
}

/* Its memory outlives it. */
static void base_end(struct arena *a, size_t pages)
{
	CHECK_EQ(arena_check(a, &console_sink), 0);
	CHECK_EQ(arena_destroy(a), 0);
	base_free(NULL, a, pages * PORT_PAGE_SIZE);
}

TEST("base: bootstraps out of its own first pages")
{
	struct arena *a = base_over(16);
	struct arena_stats s = stats(a);

	CHECK_EQ(s.total, 16 * PORT_PAGE_SIZE);
	CHECK_EQ(s.used, s.tag_pages * PORT_PAGE_SIZE);
	CHECK_EQ(s.tag_pages, 3);
	CHECK_EQ(s.largest_free, 13 * PORT_PAGE_SIZE);
	base_end(a, 16);
}

TEST("base: refuses memory too small for itself, and what isn't whole pages")
{
	char *memory = base_alloc(NULL, 16 * PORT_PAGE_SIZE, MEM_WAIT);

	CHECK_EQ((uintptr_t)arena_create_base(
			 "small", memory, (ARENA_BASE_PAGES_MIN - 1) * PORT_PAGE_SIZE),
		0);
	CHECK_PANICS(arena_create_base("ragged", memory + 1, 8 * PORT_PAGE_SIZE), "not whole pages");
	CHECK_PANICS(arena_create_base("ragged", memory, 8 * PORT_PAGE_SIZE + 1), "not whole pages");
	base_free(NULL, memory, 16 * PORT_PAGE_SIZE);
}

/* Takes single pages until there are none, linked through their first words. */
static size_t exhaust(struct arena *a, void ***head)
{
	size_t n = 0;
	void **page;

	*head = NULL;
	while ((page = arena_alloc(a, PORT_PAGE_SIZE, MEM_ATOMIC))) {
		*page = *head;
		*head = page;
		n++;
	}
	return n;
}

static void free_chain(struct arena *a, void **head)
{
	while (head) {
		void **next = *head;

		arena_free(a, head, PORT_PAGE_SIZE);
		head = next;
	}
}

TEST("base: hands out every page that isn't tags, and takes all back when none is left")
{
	static const size_t sizes[] = {4, 5, 6, 7, 66, 67, 68, 69, 70, 130, 131, 132, 133, 500, 2000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct arena *a = base_over(sizes[i]);
		void **head;
		size_t n = exhaust(a, &head);

		CHECK_EQ(arena_amt_free(a), 0);
		CHECK_EQ(n + stats(a).tag_pages, sizes[i]);
		CHECK_EQ(arena_check(a, &console_sink), 0);
		free_chain(a, head);
		CHECK_EQ(stats(a).used, stats(a).tag_pages * PORT_PAGE_SIZE);
		base_end(a, sizes[i]);
	}
}

/* Every second page stays used, so each free takes no tag and each allocation gives none back. */
TEST("base: frees need no memory when there is none, whatever the order")
{
	struct arena *a = base_over(1000);
	void **head, **page;
	size_t n = exhaust(a, &head), freed = 0;

	for (page = head; page && *page; page = *page) {
		void **victim = *page;

		*page = *victim;
		arena_free(a, victim, PORT_PAGE_SIZE);
		freed++;
	}
	CHECK_EQ(arena_amt_free(a), freed * PORT_PAGE_SIZE);
	CHECK_LE(n / 2 - 1, freed);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	free_chain(a, head);
	base_end(a, 1000);
}

TEST("base: an importer whose tags run out is told so, and lives")
{
	struct arena *a = base_over(40);
	struct arena *b =
		arena_create("importer", NULL, 0, 16, arena_alloc, arena_free, a, 0, MEM_WAIT);
	void **pages, **head = NULL, **p;
	size_t n = 0, all;

	exhaust(a, &pages);
	all = arena_amt_free(a);
	CHECK_EQ(all, 0);
	CHECK_EQ((uintptr_t)arena_alloc(b, 16, MEM_ATOMIC), 0);
	free_chain(a, pages);
	while ((p = arena_alloc(b, 16, MEM_ATOMIC))) {
		*p = head;
		head = p;
		n++;
	}
	CHECK_LT(200, n);
	CHECK_EQ(arena_check(b, &console_sink), 0);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	while (head) {
		p = *head;
		arena_free(b, head, 16);
		head = p;
	}
	CHECK_EQ(arena_amt_total(b), 0);
	CHECK_EQ(arena_destroy(a), -EBUSY);
	CHECK_EQ(arena_destroy(b), 0);
	base_end(a, 40);
}

TEST("base: added memory is handed out too, and adjacent memory joins")
{
	char *memory = base_alloc(NULL, 64 * PORT_PAGE_SIZE, MEM_WAIT);
	struct arena *a = arena_create_base("test-base", memory, 8 * PORT_PAGE_SIZE);
	void *p;

	CHECK_EQ(arena_add(a, memory + 16 * PORT_PAGE_SIZE, 8 * PORT_PAGE_SIZE, MEM_WAIT), 0);
	CHECK_EQ(stats(a).spans, 2);
	CHECK_EQ(arena_add(a, memory + 8 * PORT_PAGE_SIZE, 8 * PORT_PAGE_SIZE, MEM_WAIT), 0);
	CHECK_EQ(stats(a).spans, 1);
	p = arena_alloc(a, 20 * PORT_PAGE_SIZE, MEM_ATOMIC);
	CHECK_NE((uintptr_t)p, 0);
	arena_free(a, p, 20 * PORT_PAGE_SIZE);
	CHECK_EQ(arena_destroy(a), 0);
	base_free(NULL, memory, 64 * PORT_PAGE_SIZE);
}

TEST("base: base_alloc finds the nearest base through any number of sources")
{
	struct arena *a = base_over(64);
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
	base_end(a, 64);
}

/* The hash through all its shapes: in the store, one page, two levels; and back. */
TEST("hash: grows and shrinks with the segments, and gives its pages back")
{
	size_t n = test_ops(300000);
	struct arena *a = arena_create("many", (void *)1, 4 * n, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	size_t pages = stats(base_arena).tag_pages, buckets;

	for (size_t i = 1; i <= n; i++)
		CHECK_EQ((uintptr_t)arena_alloc(a, 3, MEM_ATOMIC | ARENA_BESTFIT), 3 * i - 2);
	buckets = stats(a).hash_buckets;
	CHECK_LE(n / 2, buckets);
	CHECK_LE(buckets, 2 * n);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	CHECK_LT(pages + n / 80, stats(base_arena).tag_pages);
	for (size_t i = 1; i <= n; i += 2)
		arena_free(a, (void *)(3 * i - 2), 3);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	for (size_t i = 2; i <= n; i += 2)
		arena_free(a, (void *)(3 * i - 2), 3);
	CHECK_EQ(stats(a).hash_buckets, BTAG_SMALL_BUCKETS);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	CHECK_EQ(arena_destroy(a), 0);
}
