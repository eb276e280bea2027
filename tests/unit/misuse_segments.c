/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Planted misuses of an arena's segments, and of pages that its quantum caches hand out.
 */
#include "misuse.h"

#include "arena.h"
#include "lib/array.h"
#include "lib/test.h"
#include "slab.h"

/* Segments */

static struct arena *arena, *other;
static void *plain, *next, *constrained, *of_other; /* 0x30, 0x10 behind it, 0x20, and 0x30 */

static void begin(unsigned flags)
{
	arena = arena_create("misuse", (void *)0x100, 0x1000, 16, NULL, NULL, NULL, 0, MEM_WAIT);
	other = arena_create("other", (void *)0x100, 0x8000, 16, NULL, NULL, NULL, 0, MEM_WAIT);
	CHECK(arena && other);
	plain = arena_alloc(arena, 0x30, MEM_WAIT);
	next = arena_alloc(arena, 0x10, MEM_WAIT);
	constrained = arena_xalloc(arena, 0x20, 0x100, 0, 0, 0x800, 0, MEM_WAIT);
	of_other = arena_xalloc(other, 0x30, 0x10, 0, 0, 0x4000, 0, MEM_WAIT);
	CHECK((uintptr_t)next == (uintptr_t)plain + 0x30 && constrained && of_other);
}

static void end(void)
{
	if (plain)
		arena_free(arena, plain, 0x30);
	if (next)
		arena_free(arena, next, 0x10);
	if (constrained)
		arena_xfree(arena, constrained, 0x20);
	arena_xfree(other, of_other, 0x30);
	CHECK_EQ(arena_check(arena, &console_sink), 0);
	CHECK_EQ(arena_amt_free(arena), 0x1000);
	CHECK_EQ(arena_destroy(arena), 0);
	CHECK_EQ(arena_destroy(other), 0);
}

PLANT(segment_twice)
{
	void *p = misuse_about(plain);

	plain = NULL;
	arena_free(arena, p, 0x30);
	arena_free(arena, p, 0x30);
}

/* The first of the two has become a part of a larger free segment. */
PLANT(segment_twice_merged)
{
	void *p = misuse_about(next);

	arena_free(arena, next, 0x10);
	next = NULL;
	arena_free(arena, plain, 0x30);
	plain = NULL;
	arena_free(arena, p, 0x10);
}

PLANT(segment_xtwice)
{
	void *p = misuse_about(constrained);

	constrained = NULL;
	arena_xfree(arena, p, 0x20);
	arena_xfree(arena, p, 0x20);
}

PLANT(segment_inside)
{
	arena_free(arena, misuse_about((char *)plain + 0x10), 0x10);
}

PLANT(segment_off_quantum)
{
	arena_free(arena, misuse_about((char *)plain + 1), 0x10);
}

PLANT(segment_too_small)
{
	arena_free(arena, misuse_about(plain), 0x10);
}

PLANT(segment_too_large)
{
	arena_free(arena, misuse_about(next), 0x20);
}

PLANT(segments_as_one)
{
	arena_free(arena, misuse_about(plain), 0x40);
}

PLANT(segment_size_0)
{
	arena_free(arena, misuse_about(plain), 0);
}

PLANT(segment_foreign)
{
	arena_free(arena, misuse_about_number(0xdeadbeef), 0x10);
}

PLANT(segment_of_another_arena)
{
	arena_free(arena, misuse_about(of_other), 0x30);
}

PLANT(segment_never_allocated)
{
	arena_free(arena, misuse_about_number(0x1000), 0x10);
}

PLANT(segment_xalloced_freed)
{
	arena_free(arena, misuse_about(constrained), 0x20);
}

PLANT(segment_alloced_xfreed)
{
	arena_xfree(arena, misuse_about(plain), 0x30);
}

static const struct misuse rows[] = {
	MISUSE(segment_twice, "freed twice", "not allocated (freed twice?)", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(segment_twice_merged, "freed twice, its neighbour between", "not allocated (freed twice?)", AT_ONCE,
		AT_ONCE, AT_ONCE),
	MISUSE(segment_xtwice, "one with constraints, freed twice", "not allocated (freed twice?)", AT_ONCE, AT_ONCE,
		AT_ONCE),
	MISUSE(segment_inside, "a part of one", "lies inside [", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(segment_off_quantum, "an address between two quanta", "lies inside [", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(segment_too_small, "with a smaller size", "with the wrong size", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(segment_too_large, "with a larger size", "with the wrong size", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(segments_as_one, "two neighbours as one", "with the wrong size", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(segment_size_0, "with size 0", "with size 0", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(segment_foreign, "what the arena never had", "lies in no span", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(segment_of_another_arena, "another arena's", "lies in no span", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(segment_never_allocated, "what was never allocated", "not allocated", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(segment_xalloced_freed, "one with constraints, freed as one without", "by the wrong one of", AT_ONCE, AT_ONCE,
		AT_ONCE),
	MISUSE(segment_alloced_xfreed, "one without, freed as one with constraints", "by the wrong one of", AT_ONCE, AT_ONCE,
		AT_ONCE),
};

const struct misuse_family misuse_segments = {"segments, frees", "arena misuse", "%#lx", false, begin, NULL, NULL,
	NULL, NULL, end, rows, ARRAY_SIZE(rows)};

/* Pages behind a front.  In mode check there is none. */

#define PAGE PORT_PAGE_SIZE
#define PIECES 4

static struct arena *pages;
static void *single[PIECES], *pair; /* of one page each; of two */

static void pages_begin(unsigned flags)
{
	pages = arena_create("misuse", NULL, 0, PAGE, arena_alloc, arena_free, kpages_arena, 4 * PAGE, MEM_WAIT);
	CHECK(pages);
	for (size_t i = 0; i < PIECES; i++)
		single[i] = arena_alloc(pages, PAGE, MEM_WAIT);
	pair = arena_alloc(pages, 2 * PAGE, MEM_WAIT);
}

static void pages_release(void)
{
	for (size_t i = 0; i < PIECES; i++) {
		if (single[i])
			arena_free(pages, single[i], PAGE);
		single[i] = NULL;
	}
	if (pair)
		arena_free(pages, pair, 2 * PAGE);
	pair = NULL;
}

static void pages_drain(void)
{
	arena_reap(pages, SIZE_MAX);
}

static void pages_end(void)
{
	pages_release();
	CHECK_EQ(arena_check(pages, &console_sink), 0);
	CHECK_EQ(arena_destroy(pages), 0);
}

PLANT(page_twice_in_a_row)
{
	void *p = misuse_about(single[0]);

	single[0] = NULL;
	arena_free(pages, p, PAGE);
	arena_free(pages, p, PAGE);
}

PLANT(page_twice)
{
	void *p = misuse_about(single[0]);

	arena_free(pages, single[0], PAGE);
	single[0] = NULL;
	arena_free(pages, single[1], PAGE);
	single[1] = NULL;
	arena_free(pages, p, PAGE);
}

PLANT(page_of_a_pair)
{
	arena_free(pages, misuse_about((char *)pair + PAGE), PAGE);
}

PLANT(page_too_small)
{
	arena_free(pages, misuse_about(pair), PAGE);
}

PLANT(page_too_large)
{
	arena_free(pages, misuse_about(single[0]), 2 * PAGE);
}

PLANT(page_off_quantum)
{
	arena_free(pages, misuse_about((char *)pair + 8), PAGE);
}

PLANT(page_foreign)
{
	arena_free(pages, misuse_about_number(0xdeadb000), PAGE);
}

PLANT(page_size_0)
{
	arena_free(pages, misuse_about(pair), 0);
}

static const struct misuse page_rows[] = {
	MISUSE(page_twice_in_a_row, "freed twice in a row", "freed twice", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(page_twice, "freed twice, another between", "freed twice", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(page_of_a_pair, "the second of two", "inside", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(page_too_small, "with a smaller size", "size", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(page_too_large, "with a larger size", "size", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(page_off_quantum, "an address inside a page", "inside", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(page_foreign, "what the arena never had", "free of", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(page_size_0, "with size 0", "size 0", AT_ONCE, AT_ONCE, AT_ONCE),
};

const struct misuse_family misuse_fronts = {"pages behind a front, frees", " misuse", "%#lx", false, pages_begin,
	pages_release, NULL, pages_drain, NULL, pages_end, page_rows, ARRAY_SIZE(page_rows)};
