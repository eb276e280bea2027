/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas that import their spans, and the tree they form.
 */
#include "arena.h"
#include "arenas.h"
#include "lib/string.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"
#include "threads.h"

TEST("import: a span comes when nothing held serves, stays free, and goes when reaped")
{
	struct arena *a = arenas_root(4096, 10), *b = arenas_importer("importer", a, 64);
	void *p = arena_alloc(b, 64, MEM_ATOMIC), *q = arena_alloc(b, 4032, MEM_ATOMIC);

	CHECK_EQ(arena_amt_total(b), 4096);
	CHECK_EQ(arena_amt_free(b), 0);
	CHECK_EQ(arena_amt_free(a), 9 * 4096);
	CHECK_EQ(arenas_stats(b).imports, 1);
	arena_free(b, p, 64);
	CHECK_EQ(arenas_stats(b).returns, 0);
	arena_free(b, q, 4032);
	CHECK_EQ(arenas_stats(b).returns, 0);
	CHECK_EQ((uintptr_t)arena_alloc(b, 64, MEM_ATOMIC), (uintptr_t)p);
	CHECK_EQ(arenas_stats(b).imports, 1);
	arena_reap(b, SIZE_MAX);
	CHECK_EQ(arenas_stats(b).returns, 0);
	arena_free(b, p, 64);
	CHECK_LE(4096, arena_reap(b, SIZE_MAX));
	CHECK_EQ(arenas_stats(b).returns, 1);
	CHECK_EQ(arena_amt_total(b), 0);
	CHECK_EQ(arena_amt_free(a), 10 * 4096);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("import: spans of 32 of the source's quanta are retained, more goes back at once")
{
	struct arena *a = arenas_root(16, 100), *b = arenas_importer("importer", a, 16);
	void *p[40];

	for (int i = 0; i < 40; i++)
		p[i] = arena_alloc(b, 16, MEM_ATOMIC);
	for (int i = 0; i < 40; i++)
		arena_free(b, p[i], 16);
	CHECK_EQ(arena_amt_total(b), 32 * 16);
	CHECK_EQ(arenas_stats(b).returns, 8);
	p[0] = arena_alloc(b, 33 * 16, MEM_ATOMIC);
	arena_free(b, p[0], 33 * 16);
	CHECK_EQ(arenas_stats(b).returns, 9);
	CHECK_EQ(arena_check(b, &console_sink), 0);
	CHECK_EQ(arena_reap(b, 40), 48);
	CHECK_EQ(arena_amt_total(b), 29 * 16);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_amt_free(a), 100 * 16);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("import: spans of one integer are reaped beside neighbours that stay")
{
	struct arena *a = arenas_root(1, 32), *b = arenas_importer("importer", a, 1);
	uintptr_t p[32];

	for (int i = 0; i < 32; i++)
		p[i] = (uintptr_t)arena_alloc(b, 1, MEM_ATOMIC);
	for (int i = 0; i < 32; i += 2)
		arena_free(b, (void *)p[i], 1);
	CHECK_EQ(arenas_stats(b).retained, 16);
	CHECK_LE(16, arena_reap(b, SIZE_MAX));
	CHECK_EQ(arena_amt_total(b), 16);
	for (int i = 1; i < 32; i += 2)
		arena_free(b, (void *)p[i], 1);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("import: a quantum that is a larger power of two is asked for aligned, no more")
{
	struct arena *a = arenas_root(64, 1000), *b = arenas_importer("importer", a, 256);
	void *p[8];

	for (size_t i = 0; i < 8; i++) {
		p[i] = arena_alloc(b, 512, MEM_ATOMIC);
		CHECK_EQ((uintptr_t)p[i] % 256, 0);
		CHECK_EQ(arena_amt_free(a), 1000 * 64 - 512 * (i + 1));
	}
	for (size_t i = 0; i < 8; i++)
		arena_free(b, p[i], 512);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

/* The source's free segments are about equal, more than are looked at, and what serves comes last.
 */
TEST("import: a request that may sleep has the index built that its source needs")
{
	struct arena *a = arenas_root(1, 71), *b = arenas_importer("importer", a, 1);
	uintptr_t at = 1000;
	void *p;

	for (size_t i = 0; i < 200; i++, at += 1000)
		CHECK_EQ(arena_add(a, (void *)at, 66, MEM_WAIT), 0);
	CHECK_EQ((uintptr_t)arena_alloc(b, 70, MEM_ATOMIC), 0);
	p = arena_alloc(b, 70, MEM_ERROR);
	CHECK_EQ((uintptr_t)p, 1);
	arena_free(b, p, 70);
	arena_reap(b, SIZE_MAX);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

/* Segments that are spans by themselves, far more than are retained. */
#define MANY 4000
#define SPARE_MAX (64 + 2) /* tags that an arena keeps in hand, one span's more while it gives some back */

TEST("import: an arena that gives its spans back keeps no tags; reaped, no hash pages")
{
	static void *p[MANY];
	struct arena *a = arenas_root(16, MANY), *b = arenas_importer("importer", a, 16);

	for (int i = 0; i < MANY; i++) {
		p[i] = arena_alloc(b, 16, MEM_ATOMIC);
		CHECK_NE((uintptr_t)p[i], 0);
	}
	CHECK_LE(4, arenas_stats(b).hash_pages);
	for (int i = 0; i < MANY; i++)
		arena_free(b, p[i], 16);
	CHECK_EQ(arenas_stats(b).returns, MANY - 32);
	CHECK_LE(arenas_stats(b).tags_spare, SPARE_MAX);
	CHECK_EQ(arena_check(b, &console_sink), 0);
	arena_reap(b, SIZE_MAX);
	CHECK_EQ(arenas_stats(b).hash_pages, 0);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("import: neighbouring imported spans do not coalesce")
{
	struct arena *a = arenas_root(16, 2), *b = arenas_importer("importer", a, 1);
	uintptr_t p = (uintptr_t)arena_alloc(b, 9, MEM_ATOMIC);
	uintptr_t q = (uintptr_t)arena_alloc(b, 9, MEM_ATOMIC);

	CHECK_EQ(arenas_stats(b).spans, 2);
	CHECK_EQ(p ^ q, 16 ^ 32);
	CHECK_EQ((uintptr_t)arena_alloc(b, 8, MEM_ATOMIC), 0);
	CHECK_EQ(arenas_stats(b).largest_free, 7);
	arena_free(b, (void *)p, 9);
	arena_free(b, (void *)q, 9);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("import: shortage in the source is NULL in the importer, and nothing is kept")
{
	struct arena *a = arenas_root(16, 4), *b = arenas_importer("importer", a, 48);

	CHECK_EQ((uintptr_t)arena_alloc(b, 96, MEM_ATOMIC), 0);
	CHECK_EQ(arenas_stats(b).failures, 1);
	CHECK_EQ(arena_amt_free(a), 64);
	CHECK_EQ(arena_amt_total(b), 0);
	CHECK_EQ((uintptr_t)arena_alloc(b, SIZE_MAX / 48 * 48, MEM_ATOMIC), 0);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("import: an arena with importers is not destroyed")
{
	struct arena *a = arenas_root(16, 4), *b = arenas_importer("importer", a, 16);

	CHECK_EQ(arena_destroy(a), -EBUSY);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("import: an arena with a cache that has no slab yet is not destroyed")
{
	struct arena *a = arenas_root(16, 4);
	struct kmem_cache *c = kmem_cache_create("on it", 16, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);

	CHECK_EQ(arena_destroy(a), -EBUSY);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

/* A span from 5 on, of which the first quantum of 16 begins at 16. */
static void *from_five(struct arena *source, size_t size, unsigned flags)
{
	return arena_alloc(source, size, flags);
}

static void to_five(struct arena *source, void *at, size_t size)
{
	arena_free(source, at, size);
}

TEST("import: what of a span is before its first quantum is in no segment")
{
	struct arena *ids = arenas_ids(5, 100), *a;
	struct arena_segment s;
	void *p;

	a = arena_create("ragged", NULL, 0, 16, from_five, to_five, ids, 0, MEM_WAIT);
	p = arena_alloc(a, 16, MEM_ATOMIC);
	CHECK_EQ((uintptr_t)p, 16);
	CHECK(!arena_find_segment(a, 5, &s) && !arena_find_segment(a, 15, &s));
	CHECK(arena_find_segment(a, 16, &s) && s.start == 16 && s.size == 16);
	arena_free(a, p, 16);
	arenas_end(a);
	arenas_end(ids);
}

/* Self-sourced: spans out of thin air. */

static uintptr_t conjured;
static size_t conjured_live;

static void *conjure(struct arena *self, size_t size, unsigned flags)
{
	conjured += 0x100000;
	conjured_live += size;
	return (void *)conjured;
}

static void vanish(struct arena *self, void *addr, size_t size)
{
	conjured_live -= size;
}

TEST("import: a self-sourced arena makes its own spans")
{
	struct arena *a = arena_create(
		"self", NULL, 0, 32, conjure, vanish, ARENA_SELF_SOURCE, 0, MEM_WAIT);
	void *p = arena_alloc(a, 100, MEM_ATOMIC);

	CHECK_NE((uintptr_t)p, 0);
	CHECK_EQ(conjured_live, 128);
	CHECK_STR(arenas_stats(a).source, "self");
	arena_free(a, p, 100);
	CHECK_LE(128, arena_reap(a, SIZE_MAX));
	CHECK_EQ(conjured_live, 0);
	CHECK_EQ(arena_destroy(a), 0);
}

/* A source that lies. */

static uintptr_t lie;

static void *tell_lie(struct arena *self, size_t size, unsigned flags)
{
	return (void *)lie;
}

static void forget(struct arena *self, void *addr, size_t size)
{
}

TEST("import: a span no honest source gives is reported as the source's bug")
{
	struct arena *a = arena_create(
		"lied-to", NULL, 0, 64, tell_lie, forget, ARENA_SELF_SOURCE, 0, MEM_WAIT);
	void *p;

	lie = -(uintptr_t)64;
	CHECK_PANICS(arena_alloc(a, 128, MEM_ATOMIC), "wraps around");
	lie = 6400 + 32;
	CHECK_PANICS(arena_alloc(a, 64, MEM_ATOMIC), "source lied-to gave is misaligned");
	lie = 6400;
	p = arena_alloc(a, 64, MEM_ATOMIC);
	CHECK_EQ((uintptr_t)p, 6400);
	CHECK_PANICS(arena_alloc(a, 64, MEM_ATOMIC), "overlaps what was imported before");
	lie = 6400 - 64;
	CHECK_PANICS(arena_alloc(a, 128, MEM_ATOMIC), "overlaps what was imported before");
	CHECK_EQ(arena_check(a, &console_sink), 0);
	arena_free(a, p, 64);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("import: the same of a span for a request with constraints, and no tag is lost")
{
	struct arena *a = arena_create(
		"lied-to", NULL, 0, 64, tell_lie, forget, ARENA_SELF_SOURCE, 0, MEM_WAIT);
	void *p;

	lie = -(uintptr_t)64;
	CHECK_PANICS(arena_xalloc(a, 64, 128, 0, 0, 0, 0, MEM_ATOMIC), "wraps around");
	lie = 6400 + 32;
	CHECK_PANICS(arena_xalloc(a, 64, 64, 0, 0, 0, 0, MEM_ATOMIC), "misaligned");
	CHECK_PANICS(arena_xalloc(a, 64, 128, 0, 0, 0, 0, MEM_ATOMIC), "misaligned: what was asked for doesn't fit");
	lie = 6400;
	p = arena_alloc(a, 64, MEM_ATOMIC);
	CHECK_PANICS(arena_xalloc(a, 64, 64, 0, 0, 0, 0, MEM_ATOMIC), "overlaps what was imported before");
	CHECK_EQ(arena_check(a, &console_sink), 0);
	CHECK(arena_base_balances(base_arena));
	arena_free(a, p, 64);
	CHECK_EQ(arena_destroy(a), 0);
}

/* The tree */

TEST("tree: rows come each behind its source, with depth")
{
	static struct arena_stats rows[64];
	struct arena *a = arenas_root(4096, 64), *b = arenas_importer("b", a, 4096);
	struct arena *c = arenas_importer("c", b, 64), *d = arenas_importer("d", a, 16);
	size_t n = arena_tree_stats(rows, 64), i = 0;

	CHECK_LE(n, 64);
	while (i < n && rows[i].arena != a)
		i++;
	CHECK_LT(i + 3, n);
	CHECK_EQ(rows[i].depth, 0);
	CHECK_EQ(rows[i].importers, 2);
	CHECK(rows[i + 1].arena == b && rows[i + 1].depth == 1);
	CHECK(rows[i + 2].arena == c && rows[i + 2].depth == 2);
	CHECK(rows[i + 3].arena == d && rows[i + 3].depth == 1);
	CHECK_EQ(arena_tree_stats(rows, 1), n);
	CHECK_EQ(arena_destroy(c), 0);
	CHECK_EQ(arena_destroy(d), 0);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

struct pinned {
	struct arena *arena;
	bool is_pinned, began, ended;
};

static void pin(struct pinned *p)
{
	struct arena *a = arena_next(NULL);

	while (a && a != p->arena)
		a = arena_next(a);
	CHECK(a == p->arena);
	__atomic_store_n(&p->is_pinned, true, __ATOMIC_RELEASE);
	threads_await(&p->began);
	kthread_usleep(5000);
	CHECK(!__atomic_load_n(&p->ended, __ATOMIC_ACQUIRE));
	arena_unpin(a);
}

static void pin_or_destroy(unsigned i, void *arg)
{
	struct pinned *p = arg;

	if (i == 0) {
		pin(p);
		return;
	}
	threads_await(&p->is_pinned);
	__atomic_store_n(&p->began, true, __ATOMIC_RELEASE);
	CHECK_EQ(arena_destroy(p->arena), 0);
	__atomic_store_n(&p->ended, true, __ATOMIC_RELEASE);
}

TEST("tree: an arena that a walk stands on is destroyed when the walk has left it")
{
	struct pinned p = {.arena = arenas_root(16, 4)};

	CHECK_PANICS(arena_unpin(p.arena), "a walk goes on from it that doesn't stand on it");
	CHECK_PANICS(arena_next(p.arena), "a walk goes on from it that doesn't stand on it");
	threads_run(THREADS_FREE, 2, pin_or_destroy, &p);
}

TEST("tree: an arena may be linked in by hand, once")
{
	struct arena *a = arenas_root(16, 4), *b = arenas_root(16, 4);

	add_importing_arena(a, b);
	CHECK_PANICS(add_importing_arena(a, b), "already imports");
	CHECK_EQ(arena_destroy(a), -EBUSY);
	del_importing_arena(a, b);
	CHECK_PANICS(del_importing_arena(a, b), "does not import");
	CHECK_EQ(arena_destroy(a), 0);
	CHECK_EQ(arena_destroy(b), 0);
}

#define STORAGE (2 * PORT_PAGE_SIZE) /* what arena_create() takes for one */

TEST("tree: a base arena whose tags another arena has is not destroyed, linked or not")
{
	struct arena *storage = base_alloc(NULL, STORAGE, MEM_WAIT), *base = arenas_base(64), *a;

	a = __arena_create(storage, "unlinked", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free, base, 0, MEM_WAIT);
	CHECK_EQ(arena_destroy(base), -EBUSY);
	del_importing_arena(base, a);
	CHECK_EQ(arena_destroy(base), -EBUSY);
	add_importing_arena(base, a);
	CHECK_EQ(__arena_destroy(a), 0);
	base_free(NULL, storage, STORAGE);
	arenas_base_end(base, 64);
}

TEST("arena: lives in the caller's storage")
{
	struct arena *storage = base_alloc(NULL, STORAGE, MEM_WAIT);
	struct arena *a = __arena_create(
		storage, "placed", (void *)1, 8, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	void *p = arena_alloc(a, 3, MEM_ATOMIC);

	CHECK(a == storage);
	CHECK_EQ(__arena_destroy(a), -EBUSY);
	arena_free(a, p, 3);
	CHECK_EQ(__arena_destroy(a), 0);
	base_free(NULL, storage, STORAGE);
}

/* Free units that lie apart, too many to be looked at one by one. */
#define APART 200
#define MISSES 200

/* Half of them miss the source's index, atomically; the others fail to import, and build it. */
static void miss_and_build(unsigned i, void *arg)
{
	struct arena **arenas = arg;

	for (size_t n = 0; n < MISSES; n++) {
		if (i % 2 == 0) {
			CHECK_EQ((uintptr_t)arena_alloc(arenas[1], 2, MEM_ERROR), 0);
			continue;
		}
		arena_reap(arenas[0], SIZE_MAX);
		CHECK_EQ((uintptr_t)arena_xalloc(arenas[0], 1, 0, 0, 0, 2 * APART, 2 * APART + 1, MEM_ATOMIC),
			0);
	}
}

TEST("import: the source's index is built while atomic requests miss it on other cores")
{
	struct arena *a = arenas_root(1, 2 * APART), *arenas[2] = {a, arenas_importer("importer", a, 1)};

	for (uintptr_t id = 1; id <= 2 * APART; id++)
		CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ATOMIC | ARENA_NEXTFIT), id);
	for (uintptr_t id = 1; id <= 2 * APART; id += 2)
		arena_free(a, (void *)id, 1);
	threads_run(THREADS_PINNED, 2, miss_and_build, arenas);
	for (uintptr_t id = 2; id <= 2 * APART; id += 2)
		arena_free(a, (void *)id, 1);
	CHECK_EQ(arena_destroy(arenas[1]), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

/* A high fit goes down from 2 to 4, both powers of two, and not from 4 to 3: there the span must hold whole
 * quanta of 4 wherever it starts. */
TEST("arena: a high fit through a larger quantum fits in what that one imports")
{
	struct arena *a = arenas_root(3, 1000), *b = arenas_importer("b", a, 4), *c = arenas_importer("c", b, 2);
	void *p[60];

	for (size_t i = 0; i < 60; i++) {
		void *wall = arena_alloc(a, 3, MEM_ATOMIC);

		p[i] = arena_alloc(c, 1 + i % 20, MEM_ATOMIC | ARENA_HIGHFIT);
		CHECK_NE((uintptr_t)p[i], 0);
		arena_free(a, wall, 3);
	}
	for (size_t i = 0; i < 60; i++)
		arena_free(c, p[i], 1 + i % 20);
	arenas_end(c);
	arenas_end(b);
	arenas_end(a);
}

#define SMALLER 200 /* segments, more than one look passes */

/* One bin has sizes from 1,024 to 1,151. */
TEST("import: where the source has no more, what lies deep in a bin is found")
{
	size_t total = 1140 + 1 + SMALLER * (1030 + 1);
	struct arena *source = arenas_ids(1, total), *a = arenas_importer("deep", source, 1);
	void *all = arena_alloc(a, total, MEM_WAIT), *large, *between[SMALLER + 1], *smaller[SMALLER];

	arena_free(a, all, total);
	large = arena_alloc(a, 1140, MEM_WAIT);
	between[SMALLER] = arena_alloc(a, 1, MEM_WAIT);
	for (size_t i = 0; i < SMALLER; i++) {
		smaller[i] = arena_alloc(a, 1030, MEM_WAIT);
		between[i] = arena_alloc(a, 1, MEM_WAIT);
	}
	arena_free(a, large, 1140);
	for (size_t i = 0; i < SMALLER; i++)
		arena_free(a, smaller[i], 1030);
	CHECK(!arena_alloc(a, 1141, MEM_ERROR));
	CHECK_EQ((uintptr_t)arena_alloc(a, 1100, MEM_ERROR), (uintptr_t)large);
	arena_free(a, large, 1100);
	for (size_t i = 0; i <= SMALLER; i++)
		arena_free(a, between[i], 1);
	arenas_end(a);
	arenas_end(source);
}
