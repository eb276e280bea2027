/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The leak finder and samples.
 */
#include "leaks.h"

#include "kmalloc.h"
#include "kmem_sample.h"
#include "lib/string.h"
#include "lib/test.h"
#include "slab.h"
#include "threads.h"

static struct kmem_cache *cache;

struct pair {
	void *first, *second; /* a sample that points to an ordinary object; ~addresses once they are lost */
};
#define PAIRS 16
static struct pair pairs[PAIRS];

/* In a ktask that has ended then, so that no stack has the addresses. */
static void make_pairs(unsigned part, void *arg)
{
	uint64_t before = kmem_sample();
	struct kmem_sample s;

	for (size_t i = 0; i < PAIRS; i++) {
		CHECK_EQ(kmem_sample_set(1), 0);
		pairs[i].first = kmem_cache_alloc(cache, MEM_ATOMIC);
		CHECK_EQ(kmem_sample_set(before), 0);
		CHECK(kmem_sample_find((uintptr_t)pairs[i].first, &s));
		pairs[i].second = kmalloc(1000, MEM_WAIT);
		memset(pairs[i].second, 0, 1000);
		memset(pairs[i].first, 0, 64);
		*(void **)pairs[i].first = pairs[i].second;
		pairs[i].second = (void *)~(uintptr_t)pairs[i].second;
	}
}

/* Counts leaks among the pairs' first ones, and their second ones. */
static bool count_leak(const struct leak *leak, void *arg)
{
	size_t *n = arg;

	for (size_t i = 0; i < PAIRS; i++) {
		n[0] += (uintptr_t)pairs[i].first == ~leak->address || (uintptr_t)pairs[i].first == leak->address;
		n[1] += (uintptr_t)pairs[i].second == ~leak->address;
	}
	return true;
}

static void count_leaks(size_t n[2])
{
	n[0] = n[1] = 0;
	CHECK_EQ(leaks_scan(), 0);
	CHECK_EQ(leaks_scan(), 0);
	leaks_report(count_leak, n);
}

static void lose(void)
{
	for (size_t i = 0; i < PAIRS; i++)
		pairs[i].first = (void *)~(uintptr_t)pairs[i].first;
}

/* What other tests have left somewhere may keep some of those that are lost. */
TEST("leaks: what a sample points to is kept by it, and both are found when it is lost")
{
	size_t n[2];

	cache = kmem_cache_create("samples", 64, 0, 0, NULL, NULL, NULL, NULL);
	CHECK(cache);
	threads_run(THREADS_FREE, 1, make_pairs, NULL);
	count_leaks(n);
	CHECK_EQ(n[0], 0);
	CHECK_EQ(n[1], 0);
	lose();
	count_leaks(n);
	CHECK_LE(1, n[0]);
	CHECK_LE(1, n[1]);
	lose();
	for (size_t i = 0; i < PAIRS; i++) {
		kfree(*(void **)pairs[i].first);
		kmem_cache_free(cache, pairs[i].first);
	}
	/* What was freed since is none. */
	lose();
	n[0] = n[1] = 0;
	leaks_report(count_leak, n);
	CHECK_EQ(n[0], 0);
	leaks_clear();
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}
