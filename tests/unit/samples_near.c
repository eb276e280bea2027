/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Samples: what is said of the addresses between two of them, and of those that are free.
 */
#include "kmalloc.h"
#include "kmem_sample.h"
#include "lib/panic.h"
#include "lib/test.h"
#include "port.h"
#include "slab.h"

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
