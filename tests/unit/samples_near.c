/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Samples: what is said of the addresses between two of them, and of those that are free.
 */
#include "errors.h"
#include "kmalloc.h"
#include "kmem_fail.h"
#include "kmem_sample.h"
#include "lib/panic.h"
#include "lib/test.h"
#include "port.h"
#include "slab.h"
#include "vmap.h"

#define PAGE PORT_PAGE_SIZE
#define SIZE 104 /* bytes of an object */

/* Live samples of one cache, the newest first; the first and the last page that has one. */
struct near {
	struct near *next;
};
static struct kmem_cache *cache;
static struct near *all;
static uintptr_t lowest, highest;

static bool find(uintptr_t at, struct kmem_sample *s)
{
	return kmem_sample_find(at, s);
}

/* Takes objects until every slot has one. */
static void take_all(void)
{
	struct kmem_sample s;
	struct near *n;

	cache = kmem_cache_create("near", SIZE, 0, 0, NULL, NULL, NULL, NULL);
	all = NULL;
	lowest = UINTPTR_MAX;
	highest = 0;
	CHECK_EQ(kmem_sample_set(1), 0);
	while ((n = kmem_cache_alloc(cache, MEM_WAIT)) && find((uintptr_t)n, &s)) {
		uintptr_t page = (uintptr_t)n & -(uintptr_t)PAGE;

		n->next = all;
		all = n;
		lowest = page < lowest ? page : lowest;
		highest = page > highest ? page : highest;
	}
	kmem_cache_free(cache, n);
	CHECK_EQ(kmem_sample_set(0), 0);
}

static void give_all(void)
{
	for (struct near *n = all, *next; n; n = next) {
		next = n->next;
		kmem_cache_free(cache, n);
	}
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}

static uintptr_t object_in(uintptr_t page)
{
	struct kmem_sample s;

	return find(page, &s) && !s.is_guard ? s.history.object : 0;
}

static bool is_guard_of(uintptr_t at, uintptr_t object)
{
	struct kmem_sample s;

	return find(at, &s) && s.is_guard && s.is_live && s.history.object == object;
}

TEST("samples: an address between two is known by the nearest one")
{
	uintptr_t first, second, between;
	struct kmem_cache *other;
	struct kmem_history h;

	take_all();
	first = object_in(lowest);
	second = object_in(lowest + 2 * PAGE);
	CHECK(first && second);
	between = lowest + PAGE;
	CHECK(is_guard_of(lowest - PAGE, first));
	CHECK(is_guard_of(lowest - 1, first));
	CHECK(is_guard_of(highest + PAGE, object_in(highest)));
	CHECK(is_guard_of(highest + 2 * PAGE - 1, object_in(highest)));
	CHECK(is_guard_of(between, between - first - SIZE <= second - between ? first : second));
	CHECK(is_guard_of(between + PAGE - 1, second - (between + PAGE - 1) < between + PAGE - 1 - first - SIZE ? second : first));
	CHECK(!find(lowest - PAGE - 1, &(struct kmem_sample){.is_live = false}));
	CHECK(!find(highest + 2 * PAGE, &(struct kmem_sample){.is_live = false}));
	CHECK_EQ((uintptr_t)kmem_sample_direct((void *)between), between);
	other = kmem_cache_create("other", SIZE, 0, 0, NULL, NULL, NULL, NULL);
	CHECK(kmem_cache_history(cache, first, &h));
	CHECK(!kmem_cache_history(other, first, &h));
	CHECK_EQ(kmem_cache_destroy(other), 0);
	give_all();
}

TEST("samples: a kmalloc() of nothing has a byte, no objects are none")
{
	struct kmem_cache *none;
	char *p;

	CHECK_EQ(kmem_sample_set(1), 0);
	p = kmalloc(0, MEM_WAIT);
	none = kmem_cache_create("none", SIZE, 0, 0, NULL, NULL, NULL, NULL);
	CHECK_EQ(kmem_cache_alloc_bulk(none, NULL, 0, MEM_ATOMIC), 0);
	CHECK_EQ(kmem_sample_set(0), 0);
	CHECK_EQ(kmem_cache_destroy(none), 0);
	CHECK_EQ(ksize(p), 1);
	*p = 1;
	kfree(p);
}

TEST("samples: an address above them all is none, and its free is reported")
{
	struct kmem_cache *c = kmem_cache_create("above", SIZE, 0, KMC_CHECK, NULL, NULL, NULL, NULL);
	void *above[] = {(void *)-(uintptr_t)512, (void *)-(uintptr_t)1024};

	CHECK_PANICS(kmem_cache_free(c, above[0]), "cache above: free of 0xfffffffffffffe00, which ");
	CHECK_PANICS(kmem_cache_free_bulk(c, above, 2), "cache above: free of 0xfffffffffffffe00, which ");
	CHECK_PANICS(kfree(above[0]), "no memory of kmalloc's");
	CHECK_PANICS(krealloc(above[0], 10, MEM_WAIT), "no memory of kmalloc's");
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

static void fault(uintptr_t at)
{
	kmem_sample_fault(at, "read", &(struct panic_site){.pc = (uintptr_t)fault});
}

TEST("samples: a free beside one that rests is reported as none of an object")
{
	struct kmem_cache *c = kmem_cache_create("resting", SIZE, 0, KMC_CHECK, NULL, NULL, NULL, NULL);
	uintptr_t object, beside;
	struct kmem_history h;

	CHECK_EQ(kmem_sample_set(1), 0);
	object = (uintptr_t)kmem_cache_alloc(c, MEM_WAIT);
	CHECK_EQ(kmem_sample_set(0), 0);
	CHECK_PANICS(kmem_cache_free(c, (void *)(object + 8)), "which is inside an object, or beside it");
	kmem_cache_free(c, (void *)object);
	CHECK_PANICS(kmem_cache_free(c, (void *)(object + 8)), "which lies in no slab");
	/* The next place, where there may never have been one. */
	beside = (object & -(uintptr_t)PAGE) + 2 * PAGE;
	if (!find(beside, &(struct kmem_sample){.is_live = false})) {
		CHECK_PANICS(kmem_cache_free(c, (void *)beside), "cache resting: free of ");
		CHECK_PANICS(kfree((void *)beside), "free of ");
		CHECK(!kmem_cache_history(c, beside, &h));
		fault(beside);
	}
	CHECK(kmem_cache_history(c, object, &h));
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* The highest addresses that are handed out were taken at boot, for samples. */
static bool note_highest(const struct arena_segment *s, void *arg)
{
	if (s->kind == ARENA_SEGMENT_USED)
		*(uintptr_t *)arg = s->start;
	return true;
}

TEST("samples: how many there are to be may be changed while there are some")
{
	CHECK_EQ(kmem_sample_set(100), 0);
	CHECK_EQ(kmem_sample_set(7), 0);
	CHECK_EQ(kmem_sample(), 7);
	CHECK_EQ(kmem_sample_set(0), 0);
	CHECK_EQ(kmem_sample(), 0);
}

/* In a run where there was one before, their memory is there. */
TEST("samples: before the first one they can be refused for want of memory")
{
	struct kmem_fail_rule rule = {.name = "base"};
	struct kmem_sample_stats s;
	int number, error;

	kmem_sample_get_stats(&s);
	number = kmem_fail_start(&rule);
	error = kmem_sample_set(1);
	CHECK_EQ(kmem_sample(), !error);
	kmem_fail_stop(number);
	CHECK_EQ(error, s.bytes > 0 ? 0 : -ENOMEM);
	CHECK_EQ(kmem_sample_set(0), 0);
}

/* In a run where there was one before, nothing is to be seen. */
TEST("samples: before there was one no address is any, and a free there is reported")
{
	struct kmem_cache *c = kmem_cache_create("before", SIZE, 0, KMC_CHECK, NULL, NULL, NULL, NULL);
	struct kmem_sample_stats s;
	struct kmem_history h;
	uintptr_t at = 0;

	kmem_sample_get_stats(&s);
	arena_walk(vaddr_arena, note_highest, &at);
	if (s.bytes == 0) {
		at += PAGE + 8;
		CHECK(!find(at, &(struct kmem_sample){.is_live = false}));
		CHECK_EQ((uintptr_t)kmem_sample_direct((void *)at), at);
		CHECK(!kmem_cache_history(c, at, &h));
		fault(at);
		CHECK_PANICS(kmem_cache_free(c, (void *)at), "cache before: free of ");
		CHECK_PANICS(kfree((void *)at), "which is no memory of kmalloc's");
		CHECK_PANICS(ksize((void *)at), "which is no memory of kmalloc's");
	}
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("samples: a fault says how far it is from the object, and whether that is free")
{
	uintptr_t first, last;

	take_all();
	first = object_in(lowest);
	last = object_in(highest);
	CHECK_PANICS(fault(lowest - 8), " bytes before object ");
	CHECK_PANICS(fault(highest + PAGE), " of object ");
	/* These are no faults among samples, or none for which a sample is to blame. */
	fault(first);
	fault(lowest - PAGE - 1);
	fault(0);
	give_all();
	CHECK_PANICS(fault(last), "cache near: read of byte 0 of free object ");
	CHECK_PANICS(fault(last + SIZE - 1), "cache near: read of byte 103 of free object ");
	CHECK_PANICS(fault(lowest - 8), ", of 104 bytes, which is free, in ");
}

/* Objects of a cache over `size` numbers from `first` on, single ones and an array. */
static void use_numbers(uintptr_t first, size_t size)
{
	struct arena *ids = arena_create("numbers", (void *)first, size, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct kmem_cache *c = kmem_cache_create("numbers", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	struct kmem_cache_stats s;
	void *objects[64];

	for (int turn = 0; turn < 3; turn++) {
		for (size_t i = 0; i < 64; i++) {
			objects[i] = kmem_cache_alloc(c, MEM_WAIT);
			CHECK((uintptr_t)objects[i] - first < size);
		}
		for (size_t i = 0; i < 32; i++)
			kmem_cache_free(c, objects[i]);
		kmem_cache_free_bulk(c, objects + 32, 32);
	}
	kmem_cache_get_stats(c, &s);
	CHECK_EQ(s.live, 0);
	CHECK_EQ(s.samples, 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_amt_free(ids), size);
	CHECK_EQ(arena_destroy(ids), 0);
}

TEST("samples: numbers that are no memory may be as high, or those of samples")
{
	struct kmem_cache *c = kmem_cache_create("samples", SIZE, 0, 0, NULL, NULL, NULL, NULL);
	uintptr_t object;

	CHECK_EQ(kmem_sample_set(1), 0);
	object = (uintptr_t)kmem_cache_alloc(c, MEM_WAIT);
	use_numbers(object & -(uintptr_t)PAGE, 256);
	use_numbers(-(uintptr_t)PAGE, 256);
	CHECK_EQ(kmem_sample_set(0), 0);
	kmem_cache_free(c, (void *)object);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("samples: an allocation that a rule has fail is no sample")
{
	struct kmem_fail_rule rule = {.name = "failing"};
	struct kmem_cache *c = kmem_cache_create("failing", SIZE, 0, 0, NULL, NULL, NULL, NULL);
	struct kmem_cache_stats s;
	void *object;
	int number;

	number = kmem_fail_start(&rule);
	CHECK_EQ(kmem_sample_set(1), 0);
	object = kmem_cache_alloc(c, MEM_ATOMIC);
	CHECK_EQ(kmem_sample_set(0), 0);
	kmem_fail_stop(number);
	CHECK(!object);
	kmem_cache_get_stats(c, &s);
	CHECK_EQ(s.live, 0);
	CHECK_EQ(s.samples, 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}
