/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parts beside threads: an arena gives parts of its spans and slabs back while others take and free.
 *
 * Threads take and free ranges of a tree of arenas, three deep, with quantum caches.  Two more reclaim at the
 * hardest level all the time.  A model has an owner for each unit of the tree's memory, so that no two
 * ranges overlap.
 */
#include "arena.h"
#include "arenas.h"
#include "kthread.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"
#include "port.h"
#include "reclaim.h"
#include "slab.h"
#include "threads.h"

#define WORKERS 4
#define SLOTS 24
#define RECLAIMERS 2
#define STEPS 400 /* of a worker, in a round */
#define PAGES_MANY 1024
#define PAGES_FEW 128 /* short now and then */
#define UNIT 1024     /* the smallest quantum */
#define NODES 4
#define OBJECT 3000

struct range {
	struct arena *arena; /* NULL: none is held, or an object of the cache */
	uintptr_t at;	     /* 0: none */
	size_t size;
	bool is_placed; /* by arena_xalloc() */
};

static struct tree {
	struct arena *base;
	struct arena *node[NODES]; /* each behind its source */
	struct kmem_cache *cache;
	uintptr_t first;
	size_t pages, units;
	unsigned char *owner; /* of each unit; atomic */
	struct range range[WORKERS][SLOTS];
	unsigned working; /* atomic */
} tree;

/* The model */

static void owner_change(const struct range *r, unsigned char from, unsigned char to)
{
	size_t first = (r->at - tree.first) / UNIT, last = (r->at + r->size - 1 - tree.first) / UNIT;

	CHECK_LT(last, tree.units);
	/* Objects are smaller than some units, and share them. */
	for (size_t i = first; r->arena && i <= last; i++)
		CHECK_EQ(__atomic_exchange_n(&tree.owner[i], to, __ATOMIC_ACQ_REL), from);
}

/* Workers */

static void range_take(struct range *r, unsigned char owner)
{
	static const unsigned fits[] = {ARENA_INSTANTFIT, ARENA_BESTFIT, ARENA_NEXTFIT, ARENA_HIGHFIT};
	size_t node = test_random_below(NODES + 1), quantum;
	unsigned flags = test_random_below(64) ? MEM_ATOMIC : MEM_ERROR;

	*r = (struct range){.size = OBJECT};
	if (node == NODES) {
		r->at = (uintptr_t)kmem_cache_alloc(tree.cache, flags);
	} else {
		r->arena = tree.node[node];
		quantum = arenas_stats(r->arena).quantum;
		r->size = quantum * (test_random_below(2) ? 1 : 1 + test_random_below(9));
		r->is_placed = test_random_below(8) == 0;
		r->at = (uintptr_t)(r->is_placed ?
			arena_xalloc(r->arena, r->size, 0, 0, 0, tree.first, 0, flags) :
			arena_alloc(r->arena, r->size,
				flags | (test_random_below(2) ? 0 : fits[test_random_below(ARRAY_SIZE(fits))])));
	}
	if (r->at)
		owner_change(r, 0, owner);
}

static void range_give(struct range *r, unsigned char owner)
{
	owner_change(r, owner, 0);
	if (!r->arena)
		kmem_cache_free(tree.cache, (void *)r->at);
	else if (r->is_placed)
		arena_xfree(r->arena, (void *)r->at, r->size);
	else
		arena_free(r->arena, (void *)r->at, r->size);
	r->at = 0;
}

static void flip(struct range *r, unsigned char owner)
{
	if (r->at)
		range_give(r, owner);
	else
		range_take(r, owner);
}

static void reap_all(void)
{
	kmem_cache_reap(tree.cache, KMEM_REAP_ALL);
	for (size_t i = NODES; i-- > 0;)
		arena_reap(tree.node[i], SIZE_MAX);
}

static bool is_working(void)
{
	return __atomic_load_n(&tree.working, __ATOMIC_ACQUIRE) > 0;
}

/* The last threads reclaim while the others work. */
static void reclaim_all(void)
{
	for (size_t n = 0; is_working() && !test_has_failed(); n++) {
		if (n % 8 == 0)
			reclaim_run(3);
		reap_all();
		kthread_yield();
	}
}

static void work(unsigned i, void *arg)
{
	if (i >= WORKERS) {
		reclaim_all();
		return;
	}
	for (size_t n = 0; n < STEPS && !test_has_failed(); n++)
		flip(&tree.range[i][test_random_below(SLOTS)], (unsigned char)(i + 1));
	__atomic_fetch_sub(&tree.working, 1, __ATOMIC_RELEASE);
}

static void check_caches(void)
{
	int wrong = 0;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		wrong = wrong ? wrong : kmem_cache_check(c, &console_sink);
	CHECK_EQ(wrong, 0);
}

static void check_all(void)
{
	struct arena_stats s;

	for (size_t i = 0; i < NODES; i++) {
		CHECK_EQ(arena_check(tree.node[i], &console_sink), 0);
		s = arenas_stats(tree.node[i]);
		CHECK_LE(s.frees, s.allocs);
	}
	CHECK_EQ(arena_check(tree.base, &console_sink), 0);
	/* The reclaim ktask may just have some in its hand. */
	while (!arena_base_balances(tree.base) && !test_has_failed())
		kthread_yield();
	check_caches();
}

static struct arena *node_make(const char *name, size_t quantum, struct arena *source, size_t cached)
{
	return arena_create(
		name, NULL, 0, quantum, arena_alloc, arena_free, source, cached * quantum, MEM_WAIT);
}

static void tree_begin(size_t pages)
{
	tree.pages = pages;
	tree.units = pages * PORT_PAGE_SIZE / UNIT;
	tree.base = arenas_base(pages);
	tree.first = (uintptr_t)tree.base & -(uintptr_t)PORT_PAGE_SIZE;
	tree.node[0] = node_make("pages", PORT_PAGE_SIZE, tree.base, 4);
	tree.node[1] = node_make("parts", UNIT, tree.node[0], 4);
	tree.node[2] = node_make("pairs", 2 * PORT_PAGE_SIZE, tree.node[0], 0);
	tree.node[3] = node_make("odd", 3 * UNIT, tree.node[1], 3);
	tree.cache = kmem_cache_create("objects", OBJECT, 0, 0, tree.node[0], NULL, NULL, NULL);
	tree.owner = base_zalloc(NULL, tree.units, MEM_WAIT);
	memset(tree.range, 0, sizeof(tree.range));
}

static void tree_end(void)
{
	for (size_t i = 0; i < WORKERS; i++)
		for (size_t n = 0; n < SLOTS; n++)
			if (tree.range[i][n].at)
				range_give(&tree.range[i][n], (unsigned char)(i + 1));
	CHECK_EQ(kmem_cache_destroy(tree.cache), 0);
	for (size_t i = NODES; i-- > 0;) {
		arena_reap(tree.node[i], SIZE_MAX);
		CHECK_EQ(arena_amt_total(tree.node[i]), 0);
		CHECK_EQ(arenas_stats(tree.node[i]).imports, arenas_stats(tree.node[i]).returns);
		CHECK_EQ(arenas_stats(tree.node[i]).allocs, arenas_stats(tree.node[i]).frees);
		arenas_end(tree.node[i]);
	}
	arenas_base_end(tree.base, tree.pages);
	base_free(NULL, tree.owner, tree.units);
}

static void run_rounds(size_t pages)
{
	tree_begin(pages);
	for (size_t round = test_ops(150); round > 0; round--) {
		tree.working = WORKERS;
		threads_run(THREADS_FREE, WORKERS + RECLAIMERS, work, NULL);
		check_all();
	}
	tree_end();
}

TEST("parts: beside threads that take and free, none is lost and none is had twice")
{
	run_rounds(PAGES_MANY);
}

TEST("parts: the same where memory is short")
{
	run_rounds(PAGES_FEW);
}

/* Two quanta that are a span: one of them free, the other is freed while that goes. */

static struct arena *two;

static void free_two(unsigned i, void *arg)
{
	void *p[2];

	if (i == 1) {
		while (is_working() && !test_has_failed())
			arena_reap(two, SIZE_MAX);
		return;
	}
	for (size_t n = test_ops(200000); n > 0 && !test_has_failed(); n--) {
		void *both = arena_alloc(two, 8, MEM_ATOMIC);

		arena_free(two, both, 8);
		for (int k = 0; k < 2; k++)
			CHECK((p[k] = arena_alloc(two, 4, MEM_ATOMIC)));
		for (size_t k = test_random_below(2), m = 0; m < 2; m++, k = !k)
			arena_free(two, p[k], 4);
	}
	__atomic_fetch_sub(&tree.working, 1, __ATOMIC_RELEASE);
}

TEST("parts: what is freed beside a part that goes just then isn't forgotten")
{
	struct arena *source = arenas_root(4, 64);

	two = arenas_importer("two", source, 4);
	tree.working = 1;
	threads_run(THREADS_FREE, 2, free_two, NULL);
	CHECK_EQ(arena_check(two, &console_sink), 0);
	arena_reap(two, SIZE_MAX);
	CHECK_EQ(arena_amt_total(two), 0);
	arenas_end(two);
	arenas_end(source);
}
