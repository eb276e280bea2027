/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page frame table: which pages of memory it has.
 */
#include "arena.h"
#include "kmalloc.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"
#include "port.h"
#include "reclaim.h"
#include "slab.h"
#include "sync.h"

static size_t found, stand_for; /* pages of the table; those of them whose entries stand for memory of base */

static bool look(const struct arena_segment *s, void *arg)
{
	uintptr_t first;

	if (s->kind == ARENA_SEGMENT_FREE || s->kind == ARENA_SEGMENT_SPAN)
		return true;
	for (uintptr_t at = s->start; at - s->start < s->size; at += PORT_PAGE_SIZE) {
		if (!kmem_table_find(at + 8, &first))
			continue;
		found++;
		stand_for += first != 0;
	}
	return true;
}

TEST("page frame table: each of its pages is found by address, and no other page")
{
	size_t pages;
	uintptr_t first = 1;
	void *p = kmalloc(5 * PORT_PAGE_SIZE, MEM_WAIT);

	found = stand_for = 0;
	pages = kmem_table_pages();
	arena_walk(base_arena, look, NULL);
	CHECK_EQ(found, pages);
	CHECK_LT(0, stand_for);
	CHECK(!kmem_table_find((uintptr_t)p, &first));
	CHECK_LE(pages, kmem_table_pages_max());
	kfree(p);
}

/* What base has given since boot. */
static void read_given(const struct reclaim_node *row, void *arg)
{
	if (strcmp(row->name, "base") == 0)
		*(uint64_t *)arg = row->given;
}

static uint64_t base_given(void)
{
	uint64_t given = 0;

	qlock_lock(&arenas_and_slabs_lock);
	reclaim_peek_nodes(read_given, &given);
	qlock_unlock(&arenas_and_slabs_lock);
	return given;
}

#define LEAVES 4 /* pages of the table, each for PORT_PAGE_SIZE / 8 pages of memory */

TEST("page frame table: empty pages of it go back at level 2, as given by base")
{
	static void *pages[LEAVES * PORT_PAGE_SIZE / 8];
	struct kmem_cache *c = kmem_cache_create("pages", PORT_PAGE_SIZE, 0, 0, NULL, NULL, NULL, NULL);
	uint64_t given;
	size_t before;

	CHECK_EQ(kmem_cache_alloc_bulk(c, pages, ARRAY_SIZE(pages), MEM_WAIT), ARRAY_SIZE(pages));
	kmem_cache_free_bulk(c, pages, ARRAY_SIZE(pages));
	CHECK_EQ(kmem_cache_destroy(c), 0);
	/* To the leak finder, words of static data keep what lies there next. */
	memset(pages, 0, sizeof(pages));
	before = kmem_table_pages();
	given = base_given();
	reclaim_run(2);
	CHECK_LT(kmem_table_pages(), before);
	CHECK_LE((before - kmem_table_pages()) * PORT_PAGE_SIZE, base_given() - given);
	CHECK_LT(base_given() - given, arena_amt_total(base_arena));
}
