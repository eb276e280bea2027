/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings in the kernel's own addresses.
 */
#include "vmap.h"

#include "lib/string.h"
#include "port.h"
#include "test.h"
#include "threads.h"

#define PAGES 5

static void take_pages(void **pages)
{
	for (size_t i = 0; i < PAGES; i++) {
		pages[i] = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
		memset(pages[i], (int)i + 1, PORT_PAGE_SIZE);
	}
}

static void give_pages(void **pages)
{
	for (size_t i = 0; i < PAGES; i++)
		arena_free(kpages_arena, pages[i], PORT_PAGE_SIZE);
}

TEST("vmap: pages that lie anywhere stand one behind the other, and are the same memory")
{
	void *pages[PAGES];
	unsigned char *at;

	take_pages(pages);
	at = vmap(pages, PAGES, MEM_WAIT);
	CHECK_NE((uintptr_t)at, 0);
	for (size_t i = 0; i < PAGES; i++) {
		CHECK_EQ(at[i * PORT_PAGE_SIZE], i + 1);
		at[i * PORT_PAGE_SIZE + 1] = (unsigned char)(100 + i);
		CHECK_EQ(((unsigned char *)pages[i])[1], 100 + i);
	}
	vunmap(at, PAGES);
	CHECK_PANICS(vunmap(at, PAGES), "nothing is mapped");
	give_pages(pages);
}

TEST("vmap: addresses are used again as late as can be")
{
	void *pages[PAGES], *first, *second;

	take_pages(pages);
	first = vmap(pages, PAGES, MEM_WAIT);
	vunmap(first, PAGES);
	second = vmap(pages, PAGES, MEM_WAIT);
	CHECK_NE((uintptr_t)second, (uintptr_t)first);
	vunmap(second, PAGES);
	give_pages(pages);
}

TEST("vmalloc: memory in one piece, of single pages, all of which go back")
{
	size_t size = 300 * PORT_PAGE_SIZE + 1;
	unsigned char *p = vmalloc(size, MEM_WAIT);

	CHECK_NE((uintptr_t)p, 0);
	memset(p, 0x5a, size);
	CHECK_EQ(p[size - 1], 0x5a);
	vfree(p, size);
	CHECK_EQ((uintptr_t)vmalloc((size_t)1 << 50, MEM_ERROR), 0);
}

/* Each writes what is its own through mappings that come and go. */
static void map_and_look(unsigned i, void *arg)
{
	for (size_t round = 0; round < 50; round++) {
		unsigned *p = vmalloc(3 * PORT_PAGE_SIZE, MEM_WAIT);

		for (size_t at = 0; at < 3; at++)
			p[at * PORT_PAGE_SIZE / sizeof(*p)] = (unsigned)(i * 1000 + round);
		for (size_t at = 0; at < 3; at++)
			CHECK_EQ(p[at * PORT_PAGE_SIZE / sizeof(*p)], i * 1000 + round);
		vfree(p, 3 * PORT_PAGE_SIZE);
	}
}

TEST("vmalloc: from all cores at once nobody sees another's pages")
{
	threads_run(THREADS_PINNED, 8, map_and_look, NULL);
}
