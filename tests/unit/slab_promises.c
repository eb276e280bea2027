/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sentences of slab.h and kmalloc.h that no other test is about.
 */
#include "slab.h"

#include "arenas.h"
#include "kmalloc.h"
#include "spinlock.h"
#include "lib/string.h"
#include "lib/test.h"
#include "modes.h"

static struct kmem_cache_stats stats_of(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	return s;
}

TEST("slab: storage of the caller's need not be cleared, and is the caller's again")
{
	static char storage[KMEM_CACHE_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));
	struct kmem_cache *c;

	for (int byte = 0xff; byte > 0; byte -= 0x55) {
		memset(storage, byte, sizeof(storage));
		c = __kmem_cache_create((struct kmem_cache *)storage, "placed", 48, 0, 0, NULL, NULL, NULL, NULL);
		CHECK(c == (struct kmem_cache *)storage);
		kmem_cache_free(c, kmem_cache_alloc(c, MEM_ATOMIC));
		CHECK_EQ(__kmem_cache_destroy(c), 0);
	}
}

TEST("slab: none of an array are allocated and freed, by any flag")
{
	struct kmem_cache *c = kmem_cache_create("none", 48, 0, 0, NULL, NULL, NULL, NULL);

	CHECK_EQ(kmem_cache_alloc_bulk(c, NULL, 0, MEM_ATOMIC), 0);
	CHECK_EQ(kmem_cache_alloc_bulk(c, NULL, 0, MEM_ERROR), 0);
	CHECK_EQ(kmem_cache_alloc_bulk(c, NULL, 0, MEM_WAIT), 0);
	CHECK_PANICS(kmem_cache_alloc_bulk(c, NULL, 0, 0), "not exactly one memory flag");
	kmem_cache_free_bulk(c, NULL, 0);
	CHECK_EQ(stats_of(c).live, 0);
	CHECK_EQ(stats_of(c).failures, 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("slab: a fit is no flag of a cache's")
{
	struct kmem_cache *c = kmem_cache_create("fits", 48, 0, 0, NULL, NULL, NULL, NULL);

	CHECK_PANICS(kmem_cache_alloc(c, MEM_ATOMIC | ARENA_BESTFIT), "no fit");
	CHECK_PANICS(kmem_cache_reserve(c, 1, MEM_ATOMIC | ARENA_HIGHFIT), "no fit");
	CHECK_PANICS(kmalloc(48, MEM_ATOMIC | ARENA_NEXTFIT), "no fit");
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* Of a source that has no more than the reserve takes. */
TEST("slab: a reserve that fails leaves the old one, which serves without the source")
{
	struct arena *a = arenas_ids(1, 640);
	struct kmem_cache *c = kmem_cache_create("reserved", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
	static void *held[640];
	size_t n = 0, imported;

	CHECK_EQ(kmem_cache_reserve(c, 100, MEM_ATOMIC), 0);
	imported = stats_of(c).grows;
	while (n < 100 && (held[n] = kmem_cache_alloc(c, MEM_ATOMIC)))
		n++;
	CHECK_EQ(n, 100);
	CHECK_EQ(stats_of(c).grows, imported);
	while (n > 0)
		kmem_cache_free(c, held[--n]);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_LE(100, stats_of(c).objects);
	CHECK_EQ(kmem_cache_reserve(c, 1000, MEM_ATOMIC), -ENOMEM);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_LE(100, stats_of(c).objects);
	CHECK_EQ(kmem_cache_reserve(c, 0, MEM_ATOMIC), 0);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_EQ(stats_of(c).objects, 0);
	CHECK_EQ(arena_amt_free(a), 640);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(a);
}

TEST("slab: a reap answers what went back to the source, by any pressure")
{
	struct arena *a = arenas_ids(1, 6400);
	struct kmem_cache *c = kmem_cache_create("reaped", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
	static void *held[3000];
	size_t before, came;

	for (enum kmem_pressure p = KMEM_REAP_IDLE; p <= KMEM_REAP_ALL; p++) {
		CHECK_EQ(kmem_cache_alloc_bulk(c, held, 3000, MEM_ATOMIC), 3000);
		kmem_cache_free_bulk(c, held, 3000);
		before = arena_amt_free(a);
		came = kmem_cache_reap(c, p);
		CHECK_EQ(came, arena_amt_free(a) - before);
	}
	CHECK_EQ(arena_amt_free(a), 6400);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(a);
}

TEST("kmalloc: nothing has an address of its own, like one byte")
{
	char *a = kmalloc(0, MEM_ATOMIC), *b = kmalloc(0, MEM_WAIT), *c = kzalloc(0, MEM_ERROR);
	char *d = kmalloc_array(0, 100, MEM_ATOMIC), *e = kmalloc_align(0, 64, MEM_ATOMIC);

	CHECK(a && b && c && d && e);
	CHECK(a != b && a != c && b != c && d != a && d != b && d != c && e != a);
	CHECK_LE(1, ksize(a));
	CHECK_EQ((uintptr_t)e % 64, 0);
	kfree(a);
	kfree(b);
	kfree(c);
	kfree(d);
	kfree(e);
	CHECK_EQ((uintptr_t)krealloc(NULL, 0, MEM_ATOMIC), 0);
}

static size_t alignment_of(size_t size)
{
	return size && (size & (size - 1)) == 0 && size > 8 ? size : 8;
}

TEST("kmalloc: a size is aligned to 8, a power of two to itself, about a page, too")
{
	for (size_t size = 0; size <= 5 * PORT_PAGE_SIZE; size += size < 70 ? 1 : 61) {
		for (size_t n = size; n <= size + 3; n++) {
			void *p = kmalloc(n, MEM_WAIT);

			CHECK_EQ((uintptr_t)p % alignment_of(n), 0);
			CHECK_LE(n, ksize(p));
			memset(p, 1, ksize(p));
			kfree(p);
		}
	}
	for (size_t size = 1; size <= (size_t)1 << 20; size *= 2) {
		void *p = kmalloc(size, MEM_WAIT);

		CHECK_EQ((uintptr_t)p % alignment_of(size), 0);
		kfree(p);
	}
}

TEST("kmalloc: the size of what isn't its own is asked for in vain")
{
	char *p = kmalloc(KMALLOC_CACHED_MAX + 1, MEM_WAIT), *object = kmalloc(3 * PORT_PAGE_SIZE, MEM_WAIT);

	CHECK_PANICS(ksize(NULL), "ksize of ");
	CHECK_PANICS(ksize(p + PORT_PAGE_SIZE), "no memory of kmalloc's");
	CHECK_PANICS(ksize(p + 1), "no memory of kmalloc's");
	CHECK_PANICS(ksize(&p), "no memory of kmalloc's");
	CHECK_PANICS(ksize(object + PORT_PAGE_SIZE), "inside an object of kmalloc-12288");
	kfree(object);
	kfree(p);
}

TEST("slab: free objects keep what they hold, by whatever way they went")
{
	if (!modes_leave_layout())
		return;
	struct kmem_cache *c = kmem_cache_create("kept", 48, 0, 0, NULL, NULL, NULL, NULL);
	static unsigned char *held[500];

	CHECK_EQ(kmem_cache_alloc_bulk(c, (void **)held, 500, MEM_WAIT), 500);
	/* So that no slab goes back. */
	CHECK_EQ(kmem_cache_reserve(c, 500, MEM_WAIT), 0);
	for (size_t i = 0; i < 500; i++)
		memset(held[i], (int)(i & 0xff), 48);
	kmem_cache_free_bulk(c, (void **)held, 500);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	for (size_t i = 0; i < 500; i++)
		for (size_t byte = 0; byte < 48; byte++)
			CHECK_EQ(held[i][byte], i & 0xff);
	CHECK_EQ(kmem_cache_reserve(c, 0, MEM_WAIT), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("slab: a cache that is destroyed twice is reported by its address")
{
	static char storage[KMEM_CACHE_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));
	struct kmem_cache *c = kmem_cache_create("twice", 64, 0, 0, NULL, NULL, NULL, NULL);

	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_PANICS(kmem_cache_destroy(c), "which is no cache (destroyed before?) (called from test_");
	c = __kmem_cache_create((struct kmem_cache *)storage, "twice", 64, 0, 0, NULL, NULL, NULL, NULL);
	CHECK_EQ(__kmem_cache_destroy(c), 0);
	CHECK_PANICS(__kmem_cache_destroy(c), "__kmem_cache_destroy of 0x");
	CHECK_PANICS(kmem_cache_destroy((struct kmem_cache *)&c), "kmem_cache_destroy of 0x");
}

static void create_flagged(unsigned flags)
{
	CHECK_PANICS(kmem_cache_create("flagged", 64, 0, flags, NULL, NULL, NULL, NULL),
		"cache flagged: can't be created with an unknown flag (called from create_flagged");
}

static void destroy_if_own(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	if (s.is_front || s.is_own)
		CHECK_PANICS(__kmem_cache_destroy(c), "isn't __kmem_cache_destroy's to destroy");
}

TEST("slab: the system's flags and caches aren't for callers")
{
	for (unsigned bit = 3; bit < 32; bit++)
		create_flagged(1u << bit);
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		destroy_if_own(c);
}

TEST("slab: a reserve beyond any memory is refused at once, and by MEM_WAIT a bug")
{
	struct kmem_cache *c = kmem_cache_create("reserve", 64, 0, 0, NULL, NULL, NULL, NULL);

	for (int shift = 40; shift < 64; shift++) {
		CHECK_EQ(kmem_cache_reserve(c, (size_t)1 << shift, MEM_ERROR), -ENOMEM);
		CHECK_PANICS(kmem_cache_reserve(c, (size_t)1 << shift, MEM_WAIT),
			"by MEM_WAIT: there is no room for them (called from test_");
	}
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

static bool waits_in_callback;

/* Where a magazine would serve. */
static size_t waits(void *c, size_t bytes)
{
	if (SPANDREL_DEBUG)
		CHECK_PANICS(kmem_cache_alloc(c, MEM_WAIT), "MEM_WAIT in a callback of asked");
	if (SPANDREL_DEBUG)
		CHECK_PANICS(kmalloc(64, MEM_WAIT), "MEM_WAIT in a callback of asked");
	waits_in_callback = true;
	return 0;
}

/* Where none would. */
static size_t waits_for_slab(void *c, size_t bytes)
{
	CHECK_PANICS(kmem_cache_alloc(c, MEM_WAIT), "MEM_WAIT in a callback of asked");
	waits_in_callback = true;
	return 0;
}

TEST("slab: MEM_WAIT in a callback is reported past magazines, in debug builds always")
{
	struct kmem_cache *asked = kmem_cache_create("asked", 64, 0, 0, NULL, NULL, NULL, NULL);
	struct kmem_cache *c = kmem_cache_create("waited", 64, 0, 0, NULL, NULL, NULL, NULL);

	waits_in_callback = false;
	kmem_cache_set_reclaim(asked, waits_for_slab, c);
	kmem_cache_reap(asked, KMEM_REAP_IDLE);
	CHECK(waits_in_callback);
	waits_in_callback = false;
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
	kmem_cache_set_reclaim(asked, waits, c);
	kmem_cache_reap(asked, KMEM_REAP_IDLE);
	CHECK(waits_in_callback);
	CHECK_EQ(kmem_cache_destroy(asked), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}
