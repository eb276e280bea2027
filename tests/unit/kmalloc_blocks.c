/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks of several pages: kmalloc's from its classes, aligned ones of an arena from its front, and large
 * ones that krealloc() has end elsewhere.
 */
#include "arenas.h"
#include "kmalloc.h"
#include "kmem_debug.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"
#include "modes.h"
#include "reclaim.h"
#include "slab.h"
#include "sleepers.h"
#include "threads.h"

#define KIB ((size_t)1 << 10)
#define LARGEST ((size_t)1 << 40)

static const unsigned flags[] = {MEM_ATOMIC, MEM_ERROR, MEM_WAIT};

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static struct kmem_cache_stats stats_of(const char *name)
{
	struct kmem_cache_stats s = {.name = ""};
	struct kmem_cache *c = kmem_cache_next(NULL);

	for (; c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &s);
		if (strcmp(s.name, name) == 0)
			break;
	}
	CHECK(c);
	kmem_cache_unpin(c);
	return s;
}

static size_t kpages_used(void)
{
	struct arena_stats s = arenas_stats(kpages_arena);

	return s.used;
}

/* Classes */

static void check_block(size_t size, unsigned flag)
{
	unsigned char *p = kmalloc(size, flag);
	size_t has;

	CHECK(p);
	has = ksize(p);
	CHECK_LE(size, has);
	CHECK_LE(has - size, has / 5 + PORT_PAGE_SIZE);
	CHECK_EQ((uintptr_t)p % ((size & (size - 1)) == 0 ? size : 8), 0);
	memset(p, 0x5a, has);
	kfree(p);
	CHECK((p = kzalloc(size, flag)));
	for (size_t i = 0; i < size; i += size / 64 + 1)
		CHECK_EQ(p[i], 0);
	CHECK_EQ(p[size - 1], 0);
	kfree(p);
}

TEST("blocks: each size up to 128 KiB has room, zeroed and aligned, by each flag")
{
	if (!modes_leave_layout())
		return;
	for (size_t f = 0; f < ARRAY_SIZE(flags); f++)
		for (size_t size = 1; size <= 128 * KIB; size += size < 64 ? 1 : size / 16) {
			check_block(size, flags[f]);
			check_block((size_t)1 << (63 - __builtin_clzll(size)), flags[f]);
		}
	CHECK_EQ(kmem_cache_check(kmem_cache_next(NULL), &console_sink), 0);
}

/* The names of classes of more than a page, one after the other. */
static size_t class_next(size_t size)
{
	return size + ((size_t)1 << (63 - __builtin_clzll(size))) / 4;
}

TEST("blocks: slabs of classes above a page waste an eighth at most, hold few objects")
{
	if (!modes_leave_layout())
		return;
	char name[KMEM_NAME_MAX];

	for (size_t size = class_next(4 * KIB); size <= KMALLOC_CACHED_MAX; size = class_next(size)) {
		struct kmem_cache_stats s;

		ksnprintf(name, sizeof(name), "kmalloc-%zu", size);
		s = stats_of(name);
		CHECK_EQ(s.stride, size);
		CHECK_LE((s.slab_size - s.slab_objects * s.stride) * 8, s.slab_size);
		CHECK_LE(s.slab_objects, 4);
		CHECK((size & (size - 1)) || s.slab_objects <= 2);
	}
}

TEST("blocks: up to 64 KiB a pair stays in a magazine")
{
	if (!modes_leave_fronts())
		return;
	char name[KMEM_NAME_MAX];

	for (size_t size = 8 * KIB; size <= 64 * KIB; size *= 2) {
		struct kmem_cache_stats before, after;

		ksnprintf(name, sizeof(name), "kmalloc-%zu", size);
		kfree(kmalloc(size, MEM_ATOMIC));
		before = stats_of(name);
		for (int i = 0; i < 1000; i++)
			kfree(kmalloc_align(size - 1, size, MEM_ATOMIC));
		after = stats_of(name);
		CHECK_EQ(after.allocs, before.allocs + 1000);
		/* A thread that comes to another core finds nothing there at first. */
		CHECK_LE(after.alloc_misses, before.alloc_misses + 100);
	}
}

/* Where all memory is taken but for `count` holes of so many pages each, of base_arena, and some of a single
 * page for what describes memory. */
#define SINGLES 8

struct holes {
	size_t pages, count;
	void *at[64], *single[SINGLES];
	struct piece *rest;
};

/* One page behind a multiple of 64, so that no two are neighbours. */
static void *hole_take(size_t pages)
{
	void *hole = arena_xalloc(base_arena, pages * PORT_PAGE_SIZE, 64 * PORT_PAGE_SIZE, PORT_PAGE_SIZE, 0, 0,
		0, MEM_ERROR);

	CHECK(hole);
	return hole;
}

static void holes_make(struct holes *h, size_t pages, size_t count)
{
	h->pages = pages;
	h->count = count;
	reclaim_run(RECLAIM_LEVELS);
	for (size_t i = 0; i < count; i++)
		h->at[i] = hole_take(pages);
	for (size_t i = 0; i < SINGLES; i++)
		h->single[i] = hole_take(1);
	h->rest = pieces_take_all(kpages_arena, LARGEST, PORT_PAGE_SIZE, MEM_ATOMIC);
	for (size_t i = 0; i < count; i++)
		arena_xfree(base_arena, h->at[i], pages * PORT_PAGE_SIZE);
	for (size_t i = 0; i < SINGLES; i++)
		arena_xfree(base_arena, h->single[i], PORT_PAGE_SIZE);
}

static void holes_end(struct holes *h)
{
	pieces_give(kpages_arena, h->rest, SIZE_MAX);
	reclaim_run(RECLAIM_LEVELS);
}

static bool is_in_hole(const struct holes *h, const void *p, size_t size)
{
	for (size_t i = 0; i < h->count; i++)
		if ((uintptr_t)p - (uintptr_t)h->at[i] <= h->pages * PORT_PAGE_SIZE - size)
			return true;
	return false;
}

TEST("blocks: where no slab can be had, more than a page is served by whole pages")
{
	if (!modes_leave_layout())
		return;
	struct holes h;
	size_t has = 0;
	char *p, *q;
	bool in;

	/* A slab of the class takes 5 pages. */
	holes_make(&h, 3, 16);
	p = kmalloc(9 * KIB, MEM_ATOMIC);
	has = p ? ksize(p) : 0;
	in = is_in_hole(&h, p, has);
	q = kmalloc(14 * KIB, MEM_ATOMIC);
	kfree(p);
	holes_end(&h);
	CHECK(p && in);
	CHECK_EQ(has, 12 * KIB);
	CHECK_EQ((uintptr_t)q, 0);
}

TEST("blocks: one that came past its class's slabs keeps what it holds as it grows")
{
	if (!modes_leave_layout())
		return;
	const size_t size = KMALLOC_CACHED_MAX + 4 * PORT_PAGE_SIZE;
	struct holes h;
	char *p, *q;

	holes_make(&h, 3, 16);
	p = kmalloc(9 * KIB, MEM_ATOMIC);
	holes_end(&h);
	CHECK(p);
	memset(p, 'x', 9 * KIB);
	q = krealloc(p, size, MEM_WAIT);
	CHECK_LE(size, ksize(q));
	for (size_t i = 0; i < 9 * KIB; i++)
		CHECK_EQ(q[i], 'x');
	memset(q, 'y', size);
	kfree(q);
}

TEST("blocks: with only single pages left 64 KiB are NULL by flag, and a page isn't")
{
	if (!modes_leave_layout())
		return;
	void *block, *other, *page;
	struct holes h;

	holes_make(&h, 1, 64);
	block = kmalloc(64 * KIB, MEM_ATOMIC);
	other = kmalloc(64 * KIB, MEM_ERROR);
	page = kmalloc(PORT_PAGE_SIZE, MEM_ATOMIC);
	kfree(page);
	holes_end(&h);
	CHECK_EQ((uintptr_t)block, 0);
	CHECK_EQ((uintptr_t)other, 0);
	CHECK(page);
}

/* When memory has been taken. */
static void ask_for_block(struct sleeper *s)
{
	CHECK(threads_sleep_for(s->arg));
	s->got = kmalloc(64 * KIB, MEM_WAIT);
}

TEST("blocks: a request for 64 KiB sleeps, and is served by a free on any core")
{
	if (!modes_leave_layout())
		return;
	bool is_out = false;
	struct sleeper s = {.arena = kpages_arena, .ask = ask_for_block, .arg = &is_out};
	void *freed = kmalloc(64 * KIB, MEM_WAIT);
	struct holes h;

	sleeper_begin(&s);
	holes_make(&h, 1, 1);
	__atomic_store_n(&is_out, true, __ATOMIC_RELEASE);
	threads_await_waiting(kpages_arena, 1);
	kfree(freed);
	CHECK(sleeper_is_served(&s));
	ktask_join(s.task);
	CHECK(s.got && (uintptr_t)s.got % (64 * KIB) == 0);
	kfree(s.got);
	holes_end(&h);
}

/* Aligned blocks of an arena with a front */

#define FRONT_MAX 16

static struct arena *fronted_make(uintptr_t first, size_t count)
{
	return arena_create("blocks", (void *)first, count, 1, NULL, NULL, NULL, FRONT_MAX, MEM_WAIT);
}

static void fronted_end(struct arena *a)
{
	CHECK_EQ(arena_reap(a, 0), 0);
	arenas_end(a);
}

TEST("blocks: aligned ones of 2^n quanta come from a front, go back by either call")
{
	if (!modes_leave_fronts())
		return;
	struct arena *a = fronted_make(3, 5000);

	for (size_t size = 1; size <= FRONT_MAX; size *= 2) {
		uint64_t before;
		void *p[100];

		for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
			CHECK((p[i] = arena_xalloc(a, size, i % 2 ? size : 0, 0, i % 3 ? 0 : size, 0, 0, flags[i % 3])));
			CHECK_EQ((uintptr_t)p[i] % size, 0);
		}
		for (size_t i = 0; i < ARRAY_SIZE(p); i++)
			(i % 2 ? arena_free : arena_xfree)(a, p[i], size);
		before = arenas_stats(a).allocs;
		for (int i = 0; i < 1000; i++)
			arena_xfree(a, arena_xalloc(a, size, size, 0, 0, 0, 0, MEM_ATOMIC), size);
		/* Segments, of which each is a slab's worth, since a thread may change its core. */
		CHECK_LE(arenas_stats(a).allocs, before + 100);
	}
	CHECK_EQ(arenas_stats(a).allocs_by[ARENA_STYLE_CONSTRAINED], 0);
	fronted_end(a);
}

TEST("blocks: a place that a front can't choose is the arena's again at once")
{
	struct arena *a = fronted_make(1, 1000);
	void *p = arena_xalloc(a, 4, 0, 0, 0, 500, 504, MEM_ATOMIC), *q;

	for (int i = 0; i < 100; i++) {
		CHECK_EQ((uintptr_t)p, 500);
		q = arena_xalloc(a, 4, 4, 0, 0, 0, 0, MEM_ATOMIC);
		arena_xfree(a, p, 4);
		arena_xfree(a, q, 4);
		p = arena_xalloc(a, 4, 0, 0, 0, 500, 504, MEM_ATOMIC);
	}
	arena_xfree(a, p, 4);
	q = arena_xalloc(a, 4, 8, 4, 0, 0, 0, MEM_ATOMIC);
	CHECK_EQ((uintptr_t)q % 8, 4);
	arena_xfree(a, q, 4);
	CHECK((q = arena_xalloc(a, 4, 16, 0, 0, 0, 0, MEM_ATOMIC)));
	CHECK_EQ((uintptr_t)q % 16, 0);
	arena_xfree(a, q, 4);
	fronted_end(a);
}

/* No place for a slab of 64 objects: the arena serves by itself, at 1, 5 and 9. */
TEST("blocks: what came past the slabs is no aligned block, even from a magazine")
{
	struct arena *a = fronted_make(1, 20);
	void *p[5], *q;
	size_t n = 0;

	while (n < ARRAY_SIZE(p) && (p[n] = arena_alloc(a, 4, MEM_ATOMIC)))
		n++;
	CHECK_EQ(n, ARRAY_SIZE(p));
	while (n > 0)
		arena_free(a, p[--n], 4);
	CHECK((q = arena_xalloc(a, 4, 4, 0, 0, 0, 0, MEM_ERROR)));
	CHECK_EQ((uintptr_t)q % 4, 0);
	arena_xfree(a, q, 4);
	fronted_end(a);
}

TEST("blocks: aligned pages come at the cost of a magazine, and don't overlap")
{
	for (size_t pages = 2; pages <= 16; pages *= 2) {
		size_t size = pages * PORT_PAGE_SIZE;
		uint64_t *p[50];

		for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
			CHECK((p[i] = arena_xalloc(kpages_arena, size, size, 0, 0, 0, 0, MEM_WAIT)));
			CHECK_EQ((uintptr_t)p[i] % size, 0);
			p[i][0] = p[i][size / sizeof(uint64_t) - 1] = pages << 32 | i;
		}
		for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
			CHECK_EQ(p[i][0], pages << 32 | i);
			CHECK_EQ(p[i][size / sizeof(uint64_t) - 1], pages << 32 | i);
			arena_xfree(kpages_arena, p[i], size);
		}
	}
	CHECK_EQ(arena_check(kpages_arena, &console_sink), 0);
}

/* krealloc() of large ones */

static void check_holds(const unsigned char *p, size_t size, unsigned char stamp)
{
	for (size_t i = 0; i < size; i += 509)
		CHECK_EQ(p[i], stamp);
	CHECK_EQ(p[size - 1], stamp);
}

TEST("blocks: a large one made smaller gives its end back, and gets it again there")
{
	size_t used, size = 1024 * KIB;
	unsigned char *p, *q;

	/* In mode full its zone is in pages of its own. */
	if (strcmp(kmem_debug_mode(), "full") == 0)
		return;
	p = kmalloc(size, MEM_WAIT);
	memset(p, 0x5a, size);
	used = kpages_used();
	for (size_t f = 0; f < ARRAY_SIZE(flags); f++) {
		CHECK((q = krealloc(p, 70 * KIB - 5, flags[f])));
		CHECK_EQ((uintptr_t)q, (uintptr_t)p);
		CHECK_EQ(ksize(p), round_up(70 * KIB, PORT_PAGE_SIZE));
		CHECK_EQ(used - kpages_used(), size - round_up(70 * KIB, PORT_PAGE_SIZE));
		CHECK((q = krealloc(p, size - 1, flags[f])));
		CHECK_EQ((uintptr_t)q, (uintptr_t)p);
		CHECK_EQ(ksize(p), size);
		CHECK_EQ(kpages_used(), used);
		check_holds(p, 70 * KIB - 5, 0x5a);
		memset(p, 0x5a, size);
	}
	kfree(p);
	CHECK_EQ(arena_check(kpages_arena, &console_sink), 0);
	CHECK_EQ(arena_check(base_arena, &console_sink), 0);
}

TEST("blocks: a large one can't be made larger than a machine, and is as it was")
{
	unsigned char *p = kmalloc(100 * KIB, MEM_WAIT);

	memset(p, 0x5a, 100 * KIB);
	for (size_t less = 0; less <= 4 * PORT_PAGE_SIZE; less += 1000)
		CHECK_EQ((uintptr_t)krealloc(p, SIZE_MAX - less, MEM_ATOMIC), 0);
	for (unsigned shift = 43; shift < 64; shift++)
		CHECK_EQ((uintptr_t)krealloc(p, (size_t)1 << shift, MEM_ERROR), 0);
	CHECK_EQ(ksize(p), 100 * KIB);
	check_holds(p, 100 * KIB, 0x5a);
	CHECK_EQ(arena_check(kpages_arena, &console_sink), 0);
	kfree(p);
}

/* There is no other place for so much. */
TEST("blocks: a large one grows over what is free behind it in the base arena")
{
	unsigned char *p, *q = NULL, *r = NULL, *too_large = NULL;
	struct holes h;
	size_t has = 0;

	holes_make(&h, 60, 1);
	p = kmalloc(30 * PORT_PAGE_SIZE, MEM_ATOMIC);
	if (p) {
		memset(p, 7, 30 * PORT_PAGE_SIZE);
		q = krealloc(p, 40 * PORT_PAGE_SIZE, MEM_ATOMIC);
		r = krealloc(p, 50 * PORT_PAGE_SIZE, MEM_ERROR);
		has = ksize(p);
		too_large = krealloc(p, 61 * PORT_PAGE_SIZE, MEM_ATOMIC);
		memset(p + 30 * PORT_PAGE_SIZE, 7, has - 30 * PORT_PAGE_SIZE);
	}
	holes_end(&h);
	CHECK(p);
	CHECK_EQ((uintptr_t)q, (uintptr_t)p);
	CHECK_EQ((uintptr_t)r, (uintptr_t)p);
	CHECK_EQ((uintptr_t)too_large, 0);
	CHECK_EQ(has, 50 * PORT_PAGE_SIZE);
	check_holds(p, has, 7);
	CHECK_EQ(arena_check(kpages_arena, &console_sink), 0);
	CHECK_EQ(arena_check(base_arena, &console_sink), 0);
	kfree(p);
}

#define THREADS 4
#define HELD 8

static size_t some_size(void)
{
	return test_random_below(4) ? KMALLOC_CACHED_MAX + 1 + test_random_below(1024 * KIB) :
				      1 + test_random_below(96 * KIB);
}

static void resize_some(unsigned i, void *arg)
{
	size_t size[HELD] = {0};
	unsigned char *p[HELD] = {NULL};

	for (size_t n = test_ops(4000); n > 0; n--) {
		size_t k = test_random_below(HELD), wanted = some_size();
		unsigned char *q = krealloc(p[k], wanted, flags[test_random_below(2)]);

		if (!q) {
			CHECK_LT(size[k], wanted);
			continue;
		}
		if (size[k] > 0)
			check_holds(q, size[k] < wanted ? size[k] : wanted, (unsigned char)(i * HELD + k));
		CHECK_LE(wanted, ksize(q));
		p[k] = q;
		size[k] = wanted;
		memset(q, (int)(i * HELD + k), wanted);
	}
	for (size_t k = 0; k < HELD; k++)
		kfree(p[k]);
}

TEST("blocks: what threads make larger and smaller keeps what it holds, beside reaps")
{
	struct threads *t;

	t = threads_start(THREADS_FREE, THREADS, resize_some, NULL);
	for (size_t n = test_ops(200); n > 0; n--) {
		void *p = arena_alloc(kpages_arena, 90 * KIB, MEM_ERROR | ARENA_BESTFIT);

		CHECK_EQ(arena_check(kpages_arena, &console_sink), 0);
		CHECK_EQ(arena_check(base_arena, &console_sink), 0);
		if (p)
			arena_free(kpages_arena, p, 90 * KIB);
		arena_reap(kpages_arena, SIZE_MAX);
		kthread_yield();
	}
	threads_join(t);
	CHECK_EQ(arena_check(kpages_arena, &console_sink), 0);
}
