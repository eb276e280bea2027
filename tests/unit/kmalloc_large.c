/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What kmalloc takes beyond its classes: how many pages, where, and that they come back.
 */
#include "alarm.h"
#include "arenas.h"
#include "kmalloc.h"
#include "kmem_debug.h"
#include "lib/array.h"
#include "lib/string.h"
#include "owner.h"
#include "table.h"
#include "slab.h"
#include "vmap.h"
#include "lib/test.h"
#include "modes.h"
#include "threads.h"

#define SIZE_MIN (2 * KMALLOC_CACHED_MAX)
#define SIZE_END ((size_t)4 << 20)

static size_t pages_used(void)
{
	struct arena_stats s;

	arena_get_stats(kpages_arena, &s);
	return s.used / PORT_PAGE_SIZE;
}

/* The stacks of threads that ended are pages, too. */
static void give_idle_back(void)
{
	kmem_reap_all(KMEM_REAP_ALL);
	arena_reap(kpages_arena, SIZE_MAX);
}

static size_t pages_for(size_t size)
{
	return (size + PORT_PAGE_SIZE - 1) / PORT_PAGE_SIZE;
}

/* In mode full a zone lies behind each, for which there may be another page. */
static bool has_zones(void)
{
	return strcmp(kmem_debug_mode(), "full") == 0;
}

TEST("kmalloc: a power of two above the classes takes just its pages; all come back")
{
	size_t before = pages_used(), n = 0;
	unsigned char *p[32];

	if (has_zones())
		return;
	for (size_t size = SIZE_MIN; size < SIZE_END; size *= 2, n += 2) {
		size_t used = pages_used();

		CHECK((p[n] = kmalloc(size, MEM_ATOMIC)));
		CHECK((p[n + 1] = kmalloc(size, MEM_WAIT)));
		CHECK_EQ(pages_used() - used, 2 * pages_for(size));
		for (size_t i = n; i < n + 2; i++) {
			CHECK_EQ((uintptr_t)p[i] % size, 0);
			CHECK_EQ(ksize(p[i]), size);
			memset(p[i], (int)i, size);
		}
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t b = 0; b < SIZE_MIN << i / 2; b += 512)
			CHECK_EQ(p[i][b], i);
		kfree(p[i]);
	}
	CHECK_EQ(pages_used(), before);
}

TEST("kmalloc: an alignment above a page takes no more pages than the size")
{
	size_t before = pages_used();

	if (has_zones())
		return;
	for (size_t align = 2 * PORT_PAGE_SIZE; align <= (size_t)1 << 20; align *= 4)
		for (size_t size = 0; size < SIZE_END; size = size * 5 + PORT_PAGE_SIZE - 1) {
			size_t pages = pages_for(size ? size : 1);
			char *p = kmalloc_align(size, align, MEM_ATOMIC);

			CHECK(p && (uintptr_t)p % align == 0);
			CHECK_EQ(pages_used() - before, pages);
			CHECK_EQ(ksize(p), pages * PORT_PAGE_SIZE);
			kfree(p);
			CHECK_EQ(pages_used(), before);
		}
}

static void check_impossible(size_t size, size_t align)
{
	CHECK(!kmalloc_align(size, align, MEM_ATOMIC));
	CHECK(!kmalloc_align(size, align, MEM_ERROR));
	CHECK_PANICS(kmalloc_align(size, align, MEM_WAIT), "by MEM_WAIT: there is no room for them (called from check_");
}

TEST("kmalloc: a size or alignment beyond all memory is NULL, by MEM_WAIT a bug")
{
	check_impossible(1, (size_t)1 << 63);
	check_impossible(SIZE_MAX / 2, (size_t)1 << 62);
	check_impossible((size_t)1 << 43, 8);
	check_impossible((size_t)1 << 63, 1);
	check_impossible(((size_t)1 << 63) + 1, PORT_PAGE_SIZE);
	check_impossible(SIZE_MAX, 1);
	check_impossible(arena_amt_total(base_arena) + PORT_PAGE_SIZE, 1);
	check_impossible(64, (size_t)1 << 40);
	CHECK_PANICS(vmalloc(arena_amt_total(base_arena) + PORT_PAGE_SIZE, MEM_WAIT), "pages by MEM_WAIT: there are");
	CHECK(!kmalloc(SIZE_MAX, MEM_ERROR));
	CHECK(!kzalloc((size_t)1 << 43, MEM_ERROR));
	CHECK(!krealloc(NULL, (size_t)1 << 43, MEM_ERROR));
	CHECK(!kmalloc_array((size_t)1 << 33, (size_t)1 << 33, MEM_ERROR));
	CHECK_PANICS(kmalloc((size_t)1 << 43, MEM_WAIT), "kmalloc of 8796093022208 bytes");
	CHECK_PANICS(kzalloc((size_t)1 << 43, MEM_WAIT), "there is no room for them (called from test_");
	CHECK_PANICS(krealloc(NULL, (size_t)1 << 43, MEM_WAIT), "there is no room for them (called from test_");
	CHECK_PANICS(kmalloc_array((size_t)1 << 33, (size_t)1 << 33, MEM_WAIT),
		"kmalloc of 8589934592 times 8589934592 bytes by MEM_WAIT: there is no room for them");
}

TEST("kmalloc: unsound flags are reported by every call, even if it allocates nothing")
{
	char *p = kmalloc(100, MEM_WAIT);

	CHECK_PANICS(kmalloc(SIZE_MAX, 0), "not exactly one memory flag");
	CHECK_PANICS(kmalloc_align(1, (size_t)1 << 63, MEM_ATOMIC | MEM_WAIT), "not exactly one memory flag");
	CHECK_PANICS(kzalloc(8, 0), "called from test_");
	CHECK_PANICS(kmalloc_array(3, 8, 0), "called from test_");
	CHECK_PANICS(kmalloc_array(SIZE_MAX, 2, 0), "not exactly one memory flag");
	CHECK_PANICS(kmalloc_align(8, 8, 0), "called from test_");
	CHECK_PANICS(krealloc(p, 100, 0), "not exactly one memory flag");
	CHECK_PANICS(krealloc(p, 8, MEM_ATOMIC | MEM_WAIT), "not exactly one memory flag");
	CHECK_PANICS(krealloc(p + 8 * PORT_PAGE_SIZE * 1024 * 1024, 8, MEM_ATOMIC), "krealloc of");
	CHECK_PANICS(ksize(NULL), "ksize of 0x0");
	kfree(p);
}

#define LARGEST ((size_t)1 << 40)

/* Of a MiB, where no memory is left for a part of it. */
static void shrink(char *p, unsigned flags)
{
	struct piece *taken = pieces_take_all(kpages_arena, LARGEST, PORT_PAGE_SIZE, MEM_ATOMIC);
	char *q = krealloc(p, 3 * PORT_PAGE_SIZE, flags);

	pieces_give(kpages_arena, taken, SIZE_MAX);
	CHECK(q != NULL);
	CHECK_EQ(q[3 * PORT_PAGE_SIZE - 1], 7);
	kfree(q);
}

TEST("kmalloc: made smaller it is there in any case, and doesn't sleep")
{
	static const unsigned flags[] = {MEM_ATOMIC, MEM_ERROR, MEM_WAIT};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		char *p = kmalloc((size_t)1 << 20, MEM_WAIT);

		memset(p, 7, (size_t)1 << 20);
		shrink(p, flags[i]);
	}
}

TEST("kmalloc: what lies behind a large one is no part of it")
{
	const size_t size = SIZE_MIN + 100;
	char *p = kmalloc(size, MEM_WAIT);
	uintptr_t at = (uintptr_t)p, start = 0;
	size_t has = 0;

	CHECK(kmalloc_find_large(at, at + size - 1, &start, &has));
	CHECK_EQ(start, at);
	CHECK_LE(size, has);
	/* There may be another one. */
	CHECK(!kmalloc_find_large(at, at + has, &start, &has) || start > at);
	kfree(p);
}

TEST("kmalloc: nothing, aligned to much, is a byte of the caller's own")
{
	char *p = kmalloc_align(0, SIZE_MIN, MEM_WAIT);

	CHECK(p && (uintptr_t)p % SIZE_MIN == 0);
	CHECK_LE(1, ksize(p));
	*p = 1;
	kfree(p);
}

/* Addresses that one leaf of the frame table stands for. */
#define LEAF_BYTES (PORT_PAGE_SIZE / sizeof(uintptr_t) * PORT_PAGE_SIZE)

/* The first page's entry is the only one of its leaf. */
TEST("kmalloc: an allocation is known through a reap, though its leaf stood empty")
{
	const size_t size = 2 * LEAF_BYTES;
	void *p = kmalloc(size, MEM_WAIT), **others = NULL, **q;

	kfree(p);
	while ((q = kmalloc(size, MEM_ATOMIC)) && q != p) {
		*q = others;
		others = q;
	}
	while (others) {
		void **next = *others;

		kfree(others);
		others = next;
	}
	CHECK_EQ((uintptr_t)q, (uintptr_t)p);
	kmem_reap_all(KMEM_REAP_IDLE);
	CHECK_EQ(ksize(q), size);
	kfree(q);
	kmem_reap_all(KMEM_REAP_IDLE);
	CHECK_PANICS(ksize(q), "ksize");
}

TEST("kmalloc: made much smaller it moves, a little smaller it stays")
{
	char *p = kmalloc((size_t)1 << 20, MEM_WAIT), *q = krealloc(p, (size_t)1 << 19, MEM_WAIT);

	CHECK_EQ((uintptr_t)q, (uintptr_t)p);
	q = krealloc(p, SIZE_MIN, MEM_WAIT);
	CHECK_EQ(ksize(q), SIZE_MIN);
	p = krealloc(q, 100, MEM_WAIT);
	CHECK_LT(ksize(p), 200);
	kfree(p);
}

/* What kmalloc's owner holds of kpages_arena. */
static size_t held(void)
{
	const struct arena_owner *o = arena_owner_next(NULL);

	while (o && strcmp(o->name, "large kmalloc") != 0)
		o = arena_owner_next(o);
	return o ? o->held : 0;
}

/* In mode full there is room for what lies behind it. */
TEST("kmalloc: its owner holds what a large one has, whatever size it is given")
{
	const size_t rest = 512, large = ((size_t)1 << 20) - rest, small = ((size_t)1 << 19) - rest;
	size_t before = held();
	char *p = kmalloc(large, MEM_WAIT);

	CHECK_EQ(held() - before, large + rest);
	CHECK((p = krealloc(p, small, MEM_WAIT)));
	CHECK_EQ(held() - before, small + rest);
	CHECK((p = krealloc(p, large, MEM_WAIT)));
	CHECK_EQ(held() - before, large + rest);
	kfree(p);
	CHECK_EQ(held(), before);
}

TEST("kmalloc: what it holds moves whole between large sizes, powers of two or not")
{
	static const size_t sizes[] = {5000, 8192, 70000, 1 << 17, 300000, 1 << 16, 9000};
	size_t has = sizes[0];
	unsigned char *p = kmalloc(has, MEM_ATOMIC);

	CHECK(p);
	memset(p, 7, has);
	for (size_t i = 1; i < ARRAY_SIZE(sizes); i++) {
		size_t kept = has < sizes[i] ? has : sizes[i];

		CHECK((p = krealloc(p, sizes[i], MEM_ATOMIC)));
		has = ksize(p);
		CHECK_LE(sizes[i], has);
		for (size_t b = 0; b < kept; b++)
			CHECK_EQ(p[b], 7);
		memset(p, 7, has);
	}
	kfree(p);
}

/* In interrupts */

struct ringer {
	struct alarm alarm;
	unsigned rings;
	bool over, is_wrong;
};

static void ring(struct alarm *a)
{
	struct ringer *r = container_of(a, struct ringer, alarm);
	size_t size = SIZE_MIN << r->rings % 4;
	unsigned char *p = kmalloc(size, MEM_ATOMIC), *q = kmalloc(size + 1, MEM_ATOMIC);

	r->is_wrong |= !p || !q || (uintptr_t)p % size || ksize(p) != size || ksize(q) <= size;
	kfree(p);
	kfree(q);
	__atomic_fetch_add(&r->rings, 1, __ATOMIC_RELAXED);
	if (!__atomic_load_n(&r->over, __ATOMIC_RELAXED))
		alarm_set(a, port_ns() + 20000);
}

TEST("kmalloc: timer interrupts take large ones in the middle of the same")
{
	struct ringer r = {.rings = 0};
	size_t before, size;

	give_idle_back();
	before = pages_used();
	alarm_init(&r.alarm, ring);
	alarm_set(&r.alarm, port_ns());
	for (unsigned n = 0; n < 100 || __atomic_load_n(&r.rings, __ATOMIC_RELAXED) < 20; n++) {
		unsigned char *p;

		size = SIZE_MIN << n % 5;
		CHECK((p = kmalloc(size, MEM_ATOMIC)));
		memset(p, (int)n, size);
		CHECK_EQ((uintptr_t)p % size, 0);
		for (size_t b = 0; b < size; b += 512)
			CHECK_EQ(p[b], (unsigned char)n);
		kfree(p);
	}
	__atomic_store_n(&r.over, true, __ATOMIC_RELAXED);
	alarm_cancel(&r.alarm);
	CHECK(!r.is_wrong);
	give_idle_back();
	CHECK_LE(pages_used(), before);
}

/* On several cores */

#define THREADS 4
#define HELD 16

/* What a thread holds; the first and the last word are its stamp. */
struct stamped {
	uint64_t *at;
	size_t words;
	uint64_t stamp;
};

static struct stamped take(uint64_t stamp)
{
	size_t size = PORT_PAGE_SIZE + 1 + test_random_below((size_t)1 << test_random_below(18));
	size_t align = PORT_PAGE_SIZE << test_random_below(5);
	struct stamped s = {.stamp = stamp};

	switch (test_random_below(3)) {
	case 0:
		s.at = kmalloc(size, MEM_ATOMIC);
		align = 1;
		break;
	case 1:
		s.at = kmalloc_align(size, align, MEM_ATOMIC);
		break;
	default:
		size = align *= 2;
		s.at = kmalloc(size, MEM_ATOMIC);
	}
	CHECK(s.at);
	CHECK_EQ((uintptr_t)s.at % align, 0);
	s.words = size / sizeof(uint64_t);
	s.at[0] = s.at[s.words - 1] = stamp;
	return s;
}

static void let_go(const struct stamped *s)
{
	CHECK_EQ(s->at[0], s->stamp);
	CHECK_EQ(s->at[s->words - 1], s->stamp);
	s->at[0] = s->at[s->words - 1] = 0;
	kfree(s->at);
}

static void take_and_let_go(unsigned i, void *arg)
{
	struct stamped held[HELD];
	size_t rounds = test_ops(20000);

	for (size_t n = 0; n < HELD; n++)
		held[n] = take((uint64_t)i << 32 | n);
	for (size_t n = 0; n < rounds; n++) {
		size_t k = test_random_below(HELD);

		let_go(&held[k]);
		held[k] = take((uint64_t)i << 32 | (HELD + n));
	}
	for (size_t n = 0; n < HELD; n++)
		let_go(&held[n]);
}

TEST("kmalloc: large ones on several cores don't overlap, and all of them come back")
{
	size_t before;

	give_idle_back();
	before = pages_used();
	threads_run(THREADS_FREE, THREADS, take_and_let_go, NULL);
	CHECK_EQ(arena_check(kpages_arena, &console_sink), 0);
	give_idle_back();
	CHECK_LE(pages_used(), before);
}

/*
 * Short of memory: all that is free is holes of 32 pages without an aligned 32, and one of 63,
 * which has them but lies in a bin of which not every segment would do.
 */

#define HOLES 128 /* more than are looked at */
#define HOLE_BYTES (32 * PORT_PAGE_SIZE)
#define GOOD_HOLE_BYTES (63 * PORT_PAGE_SIZE)

/* One page behind a multiple of 64, so that no two are neighbours. */
static void *hole_take(size_t size)
{
	void *hole = arena_xalloc(base_arena, size, 2 * HOLE_BYTES, PORT_PAGE_SIZE, 0, 0, 0, MEM_ERROR);

	CHECK(hole);
	return hole;
}

TEST("kmalloc: an atomic one is served where its alignment would take an index to find")
{
	if (!modes_leave_layout())
		return;
	void *holes[HOLES], *good, *refused, *p;
	struct piece *taken;
	size_t size;

	arena_reap(kpages_arena, SIZE_MAX);
	for (size_t i = 0; i < HOLES; i++)
		holes[i] = hole_take(HOLE_BYTES);
	good = hole_take(GOOD_HOLE_BYTES);
	taken = pieces_take_all(kpages_arena, (size_t)64 << 20, PORT_PAGE_SIZE, MEM_ERROR | ARENA_BESTFIT);
	arena_xfree(base_arena, good, GOOD_HOLE_BYTES);
	for (size_t i = 0; i < HOLES; i++)
		arena_xfree(base_arena, holes[i], HOLE_BYTES);
	arena_reap(kpages_arena, SIZE_MAX);

	/* What was seen is checked when there is memory again. */
	refused = arena_xalloc(kpages_arena, HOLE_BYTES, HOLE_BYTES, 0, 0, 0, 0, MEM_ATOMIC);
	p = kmalloc(HOLE_BYTES, MEM_ATOMIC);
	size = p ? ksize(p) : 0;
	kfree(p);
	pieces_give(kpages_arena, taken, SIZE_MAX);
	arena_reap(kpages_arena, SIZE_MAX);
	CHECK_EQ((uintptr_t)refused, 0);
	CHECK(p);
	CHECK_EQ((uintptr_t)p % HOLE_BYTES, 0);
	CHECK_LE(HOLE_BYTES, size);
	CHECK_LE((uintptr_t)p + size, (uintptr_t)good + GOOD_HOLE_BYTES);
}
