/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings: a range of virtual addresses, page by page.
 */
#include "vmap.h"

#include "lib/panic.h"
#include "machine.h"

struct arena *vaddr_arena;

void vmap_init(void)
{
	uintptr_t start;
	size_t size;

	machine_va_range(&start, &size);
	vaddr_arena = arena_create("vaddr", (void *)start, size, PORT_PAGE_SIZE, NULL, NULL, NULL, 0,
		MEM_WAIT);
}

static size_t pages_of(size_t size)
{
	return (size + PORT_PAGE_SIZE - 1) / PORT_PAGE_SIZE;
}

static void *range_alloc(size_t n, unsigned flags)
{
	return arena_alloc(vaddr_arena, n * PORT_PAGE_SIZE, flags | ARENA_NEXTFIT);
}

static void range_free(void *at, size_t n)
{
	arena_free(vaddr_arena, at, n * PORT_PAGE_SIZE);
}

/* Page tables come from the base arena atomically: a caller who may wait does it there. */
static bool map_one(char *at, void *page, unsigned flags)
{
	while (machine_map((uintptr_t)at, page) != 0) {
		void *room = flags & MEM_ATOMIC ? NULL : base_alloc(NULL, PORT_PAGE_SIZE, flags);

		if (!room)
			return false;
		base_free(NULL, room, PORT_PAGE_SIZE);
	}
	return true;
}

static void *unmap_one(char *at, void *caller)
{
	void *page = machine_unmap((uintptr_t)at);

	if (!page)
		panic("vmap: nothing is mapped at %p (called from %pS)", (void *)at, caller);
	return page;
}

void *vmap(void *const *pages, size_t n, unsigned flags)
{
	char *at = range_alloc(n, flags);

	for (size_t i = 0; at && i < n; i++) {
		if (map_one(at + i * PORT_PAGE_SIZE, pages[i], flags))
			continue;
		while (i-- > 0)
			machine_unmap((uintptr_t)at + i * PORT_PAGE_SIZE);
		range_free(at, n);
		return NULL;
	}
	return at;
}

void vunmap(void *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		unmap_one((char *)at + i * PORT_PAGE_SIZE, __builtin_return_address(0));
	range_free(at, n);
}

/* Takes the first n pages of a mapping back. */
static void pages_free(char *at, size_t n, void *caller)
{
	for (size_t i = 0; i < n; i++)
		arena_free(kpages_arena, unmap_one(at + i * PORT_PAGE_SIZE, caller), PORT_PAGE_SIZE);
}

static bool page_add(char *at, unsigned flags)
{
	void *page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, flags);

	if (page && map_one(at, page, flags))
		return true;
	if (page)
		arena_free(kpages_arena, page, PORT_PAGE_SIZE);
	return false;
}

void *vmalloc(size_t size, unsigned flags)
{
	size_t n = pages_of(size);
	char *at = range_alloc(n, flags);

	for (size_t i = 0; at && i < n; i++) {
		if (page_add(at + i * PORT_PAGE_SIZE, flags))
			continue;
		pages_free(at, i, __builtin_return_address(0));
		range_free(at, n);
		return NULL;
	}
	return at;
}

void vfree(void *at, size_t size)
{
	size_t n = pages_of(size);

	pages_free(at, n, __builtin_return_address(0));
	range_free(at, n);
}
