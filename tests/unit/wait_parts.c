/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests that depend on several things, each of which is withheld in turn: addresses, pages, page
 * tables, headers of slabs.  Memory itself is all handed out, so a thread is started before that, and
 * asks when it is told to.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "machine.h"
#include "port.h"
#include "shortage.h"
#include "slab.h"
#include "sleepers.h"
#include "lib/linear_hash.h"
#include "lib/test.h"
#include "modes.h"
#include "threads.h"
#include "vmap.h"

#define PAGE PORT_PAGE_SIZE
#define LARGEST ((size_t)16 << 20)

static bool goes; /* atomic */

/* All the memory there is. */
static struct piece *hog(void)
{
	return pieces_take_all(kpages_arena, LARGEST, PAGE, MEM_ERROR);
}

/* Lets the sleeper ask, and waits until it sleeps. */
static void await_asleep(struct sleeper *s)
{
	__atomic_store_n(&goes, true, __ATOMIC_RELEASE);
	threads_await_waiting(s->arena, 1);
}

/* To be called when all is withheld again that was to be, with what served it. */
static void end(struct sleeper *s, struct piece *pieces, bool served)
{
	pieces_give(kpages_arena, pieces, SIZE_MAX);
	ktask_join(s->task);
	goes = false;
	CHECK(served);
}

/* Pages and page tables */

/* More than page tables take, boundary tags for them and what passes leave to be done. */
#define TABLES 64
#define MAPPED 1024 /* pages: more than one table of the lowest level has entries for */

static void map_one(struct sleeper *s)
{
	threads_await(&goes);
	s->got = vmalloc(PAGE, MEM_WAIT);
}

TEST("wait: vmalloc() that lacks a page is served when one is freed")
{
	struct sleeper s = {.arena = vaddr_arena, .ask = map_one};
	struct piece *pieces;
	bool served;

	sleeper_begin(&s);
	pieces = hog();
	await_asleep(&s);
	pieces = pieces_give(kpages_arena, pieces, 8);
	served = sleeper_is_served(&s);
	end(&s, pieces, served);
	vfree(s.got, PAGE);
}

/* The same page again and again. */
static void map_many(struct sleeper *s)
{
	threads_await(&goes);
	s->got = vmap(s->arg, MAPPED, MEM_WAIT);
}

TEST("wait: vmap() that lacks tables is served when pages are freed")
{
	void *page = base_alloc(NULL, PAGE, MEM_WAIT), **all;
	struct sleeper s = {.arena = vaddr_arena, .ask = map_many};
	struct piece *pieces;
	bool served;

	all = base_alloc(NULL, MAPPED * sizeof(*all), MEM_WAIT);
	for (size_t i = 0; i < MAPPED; i++)
		all[i] = page;
	s.arg = all;
	sleeper_begin(&s);
	pieces = hog();
	if (machine_table_pages() > 0)
		await_asleep(&s);
	__atomic_store_n(&goes, true, __ATOMIC_RELEASE);
	pieces = pieces_give(kpages_arena, pieces, TABLES);
	served = sleeper_is_served(&s);
	end(&s, pieces, served);
	vunmap(s.got, MAPPED);
	base_free(NULL, all, MAPPED * sizeof(*all));
	base_free(NULL, page, PAGE);
}

/* Addresses */

#define RANGES_MAX 4096

static struct {
	void *at[RANGES_MAX];
	size_t size[RANGES_MAX], n;
} ranges;

/* All addresses but those that are in use. */
static void addresses_take(void)
{
	size_t size;
	void *at;

	vmap_drain();
	ranges.n = 0;
	for (size = arenas_stats(vaddr_arena).largest_free / PAGE * PAGE; size >= PAGE;
		size = size / 2 / PAGE * PAGE)
		while ((at = arena_alloc(vaddr_arena, size, MEM_ATOMIC | ARENA_BESTFIT))) {
			CHECK_LT(ranges.n, RANGES_MAX);
			ranges.at[ranges.n] = at;
			ranges.size[ranges.n++] = size;
		}
}

static void addresses_give(size_t n)
{
	while (n-- > 0 && ranges.n > 0) {
		ranges.n--;
		arena_free(vaddr_arena, ranges.at[ranges.n], ranges.size[ranges.n]);
	}
}

TEST("wait: vmalloc() that lacks an address is served when one is freed or rested")
{
	struct sleeper s = {.arena = vaddr_arena, .ask = map_one};
	bool served;

	sleeper_begin(&s);
	addresses_take();
	await_asleep(&s);
	addresses_give(1);
	served = sleeper_is_served(&s);
	addresses_give(SIZE_MAX);
	end(&s, NULL, served);
	vfree(s.got, PAGE);
}

/* Headers of slabs */

#define IDS_MAX 8192

static struct kmem_cache *ids_cache;
static void *ids[IDS_MAX];
static size_t ids_count;

static void ask_id(struct sleeper *s)
{
	threads_await(&goes);
	s->got = kmem_cache_alloc(ids_cache, MEM_WAIT);
}

/* Until there is no header for another slab.  What one pass gives back may free a header only in the
 * next one. */
#define REFUSALS 4

static void ids_take(void)
{
	ids_count = 0;
	for (int refusals = 0; refusals < REFUSALS;) {
		void *id = kmem_cache_alloc(ids_cache, MEM_ERROR);

		refusals = id ? 0 : refusals + 1;
		if (!id)
			continue;
		ids[ids_count++] = id;
		CHECK_LT(ids_count, IDS_MAX);
	}
}

/* Takes IDs until the cache has more than so many slabs, or can have no other; returns how many. */
static size_t slabs_take(struct kmem_cache *c, void **to, size_t slabs)
{
	struct kmem_cache_stats stats = {0};
	size_t n = 0;

	while (stats.slabs <= slabs && (to[n] = kmem_cache_alloc(c, MEM_ATOMIC))) {
		kmem_cache_get_stats(c, &stats);
		CHECK_LT(++n, IDS_MAX / 2);
	}
	return n;
}

/* More than a hash has buckets in itself. */
#define HASHED (LINEAR_HASH_SMALL + 1)

/* Ends a cache whose hash wants a page; returns false if reclaim had found one for it.  The first cache's
 * headers, given back, are all that the second's slabs get. */
static bool end_without_page(struct arena *a)
{
	struct kmem_cache *first = kmem_cache_create("ids", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
	struct kmem_cache *second = kmem_cache_create("ids", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
	size_t n = slabs_take(first, ids, HASHED);
	struct piece *pieces = hog();
	struct kmem_cache_stats stats;

	kmem_cache_free_bulk(first, ids + 1, n - 1);
	kmem_cache_reap(first, KMEM_REAP_ALL);
	n = slabs_take(second, ids + 1, HASHED - 1);
	kmem_cache_get_stats(second, &stats);
	kmem_cache_free_bulk(second, ids + 1, n);
	kmem_cache_reap(second, KMEM_REAP_ALL);
	pieces_give(kpages_arena, pieces, SIZE_MAX);
	while (shortage_is_short(base_arena))
		kthread_usleep(1000);
	kmem_cache_free(first, ids[0]);
	CHECK_EQ(kmem_cache_destroy(first), 0);
	CHECK_EQ(kmem_cache_destroy(second), 0);
	return stats.slabs == HASHED && stats.hash_buckets == LINEAR_HASH_SMALL;
}

#define TRIES 10

TEST("wait: a slab hash that still lacks a page when its cache ends is given none")
{
	if (!modes_leave_layout())
		return;
	struct arena *a = arenas_ids(1, 8 * IDS_MAX);
	bool has_lacked = false;

	for (int i = 0; i < TRIES && !has_lacked; i++)
		has_lacked = end_without_page(a);
	arenas_end(a);
	CHECK(has_lacked);
}

TEST("wait: a request for an ID that lacks a slab header is served by freed memory")
{
	struct arena *a = arenas_ids(1, 8 * IDS_MAX);
	struct sleeper s = {.arena = a, .ask = ask_id};
	struct piece *pieces;
	bool served, is_short;

	ids_cache = kmem_cache_create("ids", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
	sleeper_begin(&s);
	pieces = hog();
	ids_take();
	await_asleep(&s);
	is_short = shortage_is_short(base_arena);
	/* A slab of headers is several pages in one piece. */
	pieces = pieces_give(kpages_arena, pieces, SIZE_MAX);
	served = sleeper_is_served(&s);
	end(&s, pieces, served);
	kmem_cache_free(ids_cache, s.got);
	kmem_cache_free_bulk(ids_cache, ids, ids_count);
	CHECK_EQ(kmem_cache_destroy(ids_cache), 0);
	arenas_end(a);
	CHECK(is_short);
}
