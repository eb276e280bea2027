/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checkers beside everything that changes what they look at: none finds what isn't there.
 */
#include "arenas.h"
#include "block_cache.h"
#include "fake_disk.h"
#include "kmalloc.h"
#include "physical.h"
#include "port.h"
#include "reclaim.h"
#include "shortage.h"
#include "slab.h"
#include "lib/array.h"
#include "lib/test.h"
#include "modes.h"
#include "threads.h"
#include "vmap.h"

#define PAGE PORT_PAGE_SIZE
#define OPS 4000 /* of each worker */
#define SLOTS 64

/* An importer, one of it with a front, and a cache of that. */
static struct arena *importer, *fronted;
static struct kmem_cache *cache;
static unsigned working; /* workers that go on */
static uint64_t checks;

static void rig_make(void)
{
	importer = arena_create("importer", NULL, 0, PAGE, arena_alloc, arena_free, base_arena, 0, MEM_WAIT);
	fronted = arena_create(
		"fronted", NULL, 0, PAGE, arena_alloc, arena_free, importer, 4 * PAGE, MEM_WAIT);
	cache = kmem_cache_create("checked", 200, 0, 0, fronted, NULL, NULL, NULL);
}

static void rig_end(void)
{
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	CHECK_EQ(arena_destroy(fronted), 0);
	CHECK_EQ(arena_destroy(importer), 0);
}

/* What changes */

struct slot {
	void *at;
	size_t size;
};

/* Takes and gives pieces of up to `most` pages, of which every fourth is aligned to its size. */
static void churn_arena(struct arena *a, size_t most)
{
	struct slot slots[SLOTS] = {{NULL, 0}};

	for (size_t n = test_ops(OPS); n > 0 && !test_has_failed(); n--) {
		struct slot *s = &slots[test_random_below(SLOTS)];

		if (s->at) {
			arena_xfree(a, s->at, s->size);
			s->at = NULL;
		} else {
			s->size = (1 + test_random_below(most)) * PAGE;
			s->at = arena_xalloc(a, s->size, n % 4 ? 0 : 2 * PAGE, 0, 0, 0, 0, MEM_ATOMIC);
		}
		if (n % 16 == 0)
			kthread_yield();
	}
	for (size_t i = 0; i < SLOTS; i++)
		if (slots[i].at)
			arena_xfree(a, slots[i].at, slots[i].size);
}

static void churn_cache(struct kmem_cache *c)
{
	void *objects[SLOTS];

	for (size_t n = test_ops(OPS / 4); n > 0 && !test_has_failed(); n--) {
		size_t got = kmem_cache_alloc_bulk(c, objects, 1 + test_random_below(SLOTS), MEM_ATOMIC);

		kthread_yield();
		kmem_cache_free_bulk(c, objects, got);
	}
}

static void churn_kmalloc(void)
{
	for (size_t n = test_ops(OPS / 4); n > 0 && !test_has_failed(); n--) {
		size_t size = 1 + test_random_below(20 * PAGE);
		void *p = kmalloc(size, MEM_ATOMIC);

		kthread_yield();
		kfree(p);
		p = vmalloc(size, MEM_ERROR);
		if (p)
			vfree(p, size);
	}
}

static void churn_reaps(void)
{
	for (size_t n = test_ops(OPS / 40); n > 0 && !test_has_failed(); n--) {
		arena_reap(fronted, SIZE_MAX);
		kmem_cache_reap(cache, (enum kmem_pressure)(n % 3));
		arena_reap(importer, n % 2 ? SIZE_MAX : PAGE);
		if (n % 8 == 0)
			reclaim_run(3);
		kthread_yield();
	}
}

/* A walk over all caches may stand on it, or on one that fronts an arena. */
static void cache_end(struct kmem_cache *c)
{
	while (kmem_cache_destroy(c) != 0 && !test_has_failed())
		kthread_yield();
}

static void arena_end(struct arena *a)
{
	while (arena_destroy(a) != 0 && !test_has_failed())
		kthread_yield();
}

static void churn_lives(void)
{
	for (size_t n = test_ops(OPS / 40); n > 0 && !test_has_failed(); n--) {
		struct arena *a = arena_create("brief", NULL, 0, PAGE, arena_alloc, arena_free, importer,
			n % 2 ? 2 * PAGE : 0, MEM_WAIT);
		struct kmem_cache *c = kmem_cache_create("brief", 3000, 0, 0, a, NULL, NULL, NULL);
		void *object = kmem_cache_alloc(c, MEM_WAIT), *p = arena_alloc(a, PAGE, MEM_WAIT);

		CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
		CHECK_EQ(arena_check(a, &console_sink), 0);
		kthread_yield();
		arena_free(a, p, PAGE);
		kmem_cache_free(c, object);
		cache_end(c);
		arena_end(a);
	}
}

/* What looks */

static void check_arenas(void)
{
	struct arena *const all[] = {importer, fronted, base_arena, kpages_arena, vaddr_arena, phys_arena};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		CHECK_EQ(arena_check(all[i], &console_sink), 0);
		__atomic_fetch_add(&checks, 1, __ATOMIC_RELAXED);
		kthread_yield();
	}
	CHECK_EQ(shortage_check(&console_sink), 0);
}

static void check_caches(void)
{
	struct kmem_cache *c = NULL;

	while ((c = kmem_cache_next(c))) {
		int wrong = kmem_cache_check(c, &console_sink);

		__atomic_fetch_add(&checks, 1, __ATOMIC_RELAXED);
		if (wrong) {
			kmem_cache_unpin(c);
			CHECK_EQ(wrong, 0);
		}
	}
}

static void check_until_done(void (*check)(void))
{
	do {
		check();
		kthread_yield();
	} while (__atomic_load_n(&working, __ATOMIC_ACQUIRE) > 0 && !test_has_failed());
}

#define WORKERS 8
#define CHECKERS 3

static void work(unsigned i)
{
	switch (i) {
	case 0:
	case 1:
		churn_arena(importer, 40);
		break;
	case 2:
		churn_arena(fronted, 12);
		break;
	case 3:
	case 4:
		churn_cache(cache);
		break;
	case 5:
		churn_kmalloc();
		break;
	case 6:
		churn_reaps();
		break;
	default:
		churn_lives();
	}
	__atomic_fetch_sub(&working, 1, __ATOMIC_RELEASE);
}

static void work_or_check(unsigned i, void *arg)
{
	if (i < WORKERS)
		work(i);
	else
		check_until_done(i == WORKERS ? check_caches : check_arenas);
}

TEST("checkers: of arenas and caches none finds anything beside frees, reaps, imports")
{
	working = WORKERS;
	checks = 0;
	rig_make();
	threads_run(THREADS_FREE, WORKERS + CHECKERS, work_or_check, NULL);
	CHECK_LT(0, checks);
	rig_end();
}

/* A walk over all caches, which the monitor's is, keeps an arena as it keeps a cache. */
TEST("checkers: an arena isn't destroyed while a walk stands on a cache that fronts it")
{
	if (!modes_leave_fronts())
		return;
	struct arena *a = arena_create(
		"pinned", NULL, 0, PAGE, arena_alloc, arena_free, base_arena, PAGE, MEM_WAIT);
	struct kmem_cache_stats stats = {.source = NULL};
	struct kmem_cache *c = NULL;

	arena_free(a, arena_alloc(a, PAGE, MEM_WAIT), PAGE);
	while (stats.source != a && (c = kmem_cache_next(c)))
		kmem_cache_get_stats(c, &stats);
	CHECK(c != NULL);
	CHECK_EQ(arena_destroy(a), -EBUSY);
	kmem_cache_unpin(c);
	arena_free(a, arena_alloc(a, PAGE, MEM_WAIT), PAGE);
	CHECK_EQ(arena_destroy(a), 0);
}

/* Blocks */

#define BLOCKS 200
#define USERS 5

static struct fake_disk *disk;
static struct block_cache *blocks;

/* Has several blocks at once, and changes some; a read may fail. */
static void use_blocks(void)
{
	struct block *had[4];

	for (size_t n = test_ops(OPS / 4); n > 0 && !test_has_failed(); n--) {
		size_t got = 0;

		while (got < ARRAY_SIZE(had) &&
			block_get(blocks, test_random_below(BLOCKS), MEM_WAIT, &had[got]) == 0)
			got++;
		for (size_t i = 0; i < got; i++) {
			if (n % 2)
				block_dirty(had[i]);
			block_put(had[i]);
		}
		if (n % 64 == 0)
			block_cache_sync(blocks);
		kthread_yield();
	}
}

/* Gives blocks up, and has the disk's upper half fail at times. */
static void trouble_blocks(void)
{
	for (size_t n = test_ops(OPS / 8); n > 0 && !test_has_failed(); n--) {
		block_cache_give_up(blocks, n % 16 ? 4 * DISK_BLOCK_SIZE : SIZE_MAX);
		fake_disk_fail(disk, n % 4 ? UINT64_MAX : BLOCKS / 2);
		kthread_yield();
	}
	fake_disk_fail(disk, UINT64_MAX);
}

static void check_blocks(void)
{
	CHECK_EQ(block_cache_check(blocks), 0);
	__atomic_fetch_add(&checks, 1, __ATOMIC_RELAXED);
}

static void use_or_check_blocks(unsigned i, void *arg)
{
	if (i < USERS)
		use_blocks();
	else if (i == USERS)
		trouble_blocks();
	else
		check_until_done(check_blocks);
	if (i <= USERS)
		__atomic_fetch_sub(&working, 1, __ATOMIC_RELEASE);
}

TEST("checkers: of a block cache none finds anything beside users, reclaim, a bad disk")
{
	disk = fake_disk_create(BLOCKS);
	blocks = block_cache_create(&disk->disk);
	working = USERS + 1;
	checks = 0;
	threads_run(THREADS_FREE, USERS + 1 + CHECKERS, use_or_check_blocks, NULL);
	CHECK_LT(0, checks);
	block_cache_sync(blocks);
	CHECK_EQ(block_cache_check(blocks), 0);
	CHECK_EQ(block_cache_destroy(blocks), 0);
	fake_disk_destroy(disk);
}

TEST("block cache: what ends while a caller has a block goes on as it was")
{
	struct block_cache_stats before, after;
	struct block *b;

	disk = fake_disk_create(BLOCKS);
	blocks = block_cache_create(&disk->disk);
	for (size_t i = 0; i < 20; i++) {
		CHECK_EQ(block_get(blocks, i, MEM_WAIT, &b), 0);
		block_put(b);
	}
	CHECK_EQ(block_get(blocks, 7, MEM_WAIT, &b), 0);
	block_cache_get_stats(blocks, &before);
	CHECK_EQ(block_cache_destroy(blocks), -EBUSY);
	block_cache_get_stats(blocks, &after);
	CHECK_EQ(after.blocks, before.blocks);
	block_put(b);
	CHECK_EQ(block_get(blocks, BLOCKS, MEM_WAIT, &b), -EINVAL);
	CHECK_EQ(block_get(blocks, UINT64_MAX, MEM_WAIT, &b), -EINVAL);
	CHECK_EQ(block_cache_check(blocks), 0);
	CHECK_EQ(block_cache_destroy(blocks), 0);
	fake_disk_destroy(disk);
}

struct stop {
	struct arena *arena;
	size_t asked, at;
};

/* Asks the arena something for which it takes its lock. */
static bool stops(void *arg)
{
	struct stop *s = arg;

	CHECK_EQ(arena_amt_total(s->arena), 4000);
	return ++s->asked == s->at;
}

TEST("check: an arena's ends between two steps when it is told to, and says so")
{
	struct stop s = {.arena = arenas_ids(1, 4000)};

	for (int i = 0; i < 4000; i++)
		CHECK(arena_alloc(s.arena, 1, MEM_WAIT));
	CHECK_EQ(arena_check_until(s.arena, &console_sink, stops, &s), 0);
	CHECK_LE(4000 / ARENA_WALK_STEP, s.asked);
	for (size_t last = s.asked; s.at < last; s.at += last / 7) {
		s.asked = 0;
		CHECK_EQ(arena_check_until(s.arena, &console_sink, stops, &s), s.at ? -EINTR : 0);
		CHECK_EQ(s.asked, s.at ? s.at : last);
	}
	for (uintptr_t i = 1; i <= 4000; i++)
		arena_free(s.arena, (void *)i, 1);
	CHECK_EQ(arena_destroy(s.arena), 0);
}
