/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page frame table: which pages of memory it has.
 */
#include "arena.h"
#include "kmalloc.h"
#include "lib/test.h"
#include "port.h"
#include "slab.h"

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
