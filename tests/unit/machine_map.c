/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings, seen from every core: what an address showed before must be forgotten when it is used
 * again.
 */
#include "arena.h"
#include "machine.h"
#include "port.h"
#include "lib/test.h"

#define PAGES 32

static struct arena *vaddr;
static uintptr_t va; /* of PAGES pages */
static void *pages[2][PAGES];

static void map(size_t i, void *page)
{
	CHECK_EQ(machine_map(va + i * PORT_PAGE_SIZE, page), 0);
}

static void unmap(size_t i, void *page)
{
	CHECK(machine_unmap(va + i * PORT_PAGE_SIZE) == page);
}

/* Fills pages[set][i] with a word that tells which it is. */
static void take(void)
{
	vaddr = arena_find("vaddr");
	CHECK(vaddr != NULL);
	va = (uintptr_t)arena_alloc(vaddr, PAGES * PORT_PAGE_SIZE, MEM_ATOMIC);
	CHECK_NE(va, 0);
	for (size_t set = 0; set < 2; set++) {
		for (size_t i = 0; i < PAGES; i++) {
			pages[set][i] = base_alloc(NULL, PORT_PAGE_SIZE, MEM_ATOMIC);
			CHECK(pages[set][i] != NULL);
			*(uint64_t *)pages[set][i] = set * PAGES + i;
		}
	}
}

static void give_back(void)
{
	for (size_t set = 0; set < 2; set++)
		for (size_t i = 0; i < PAGES; i++)
			base_free(NULL, pages[set][i], PORT_PAGE_SIZE);
	arena_free(vaddr, (void *)va, PAGES * PORT_PAGE_SIZE);
}

struct look {
	size_t set;
	size_t wrong;
};

static void look(void *arg)
{
	struct look *l = arg;

	for (size_t i = 0; i < PAGES; i++)
		l->wrong += *(volatile uint64_t *)(va + i * PORT_PAGE_SIZE) != l->set * PAGES + i;
}

static void check_seen_everywhere(size_t set)
{
	for (unsigned core = 0; core < port_core_count(); core++) {
		struct look l = {set, 0};

		port_core_run(core, look, &l);
		CHECK_EQ(l.wrong, 0);
	}
}

TEST("map: an address mapped anew shows its new page on every core")
{
	take();
	for (int round = 0; round < 8; round++) {
		size_t set = round % 2;

		for (size_t i = 0; i < PAGES; i++)
			map(i, pages[set][i]);
		check_seen_everywhere(set);
		for (size_t i = 0; i < PAGES; i++)
			unmap(i, pages[set][i]);
	}
	give_back();
}

TEST("map: one shootdown clears all that was unmapped before it")
{
	uint64_t before;

	take();
	for (size_t i = 0; i < PAGES; i++)
		map(i, pages[0][i]);
	check_seen_everywhere(0);
	for (size_t i = 0; i < PAGES; i++)
		unmap(i, pages[0][i]);
	before = machine_shootdowns();
	for (size_t i = 0; i < PAGES; i++)
		map(i, pages[1][i]);
	CHECK_LE(machine_shootdowns() - before, 1);
	check_seen_everywhere(1);
	for (size_t i = 0; i < PAGES; i++)
		unmap(i, pages[1][i]);
	give_back();
}

TEST("map: what isn't mapped unmaps to nothing")
{
	take();
	CHECK(machine_unmap(va) == NULL);
	map(0, pages[0][0]);
	unmap(0, pages[0][0]);
	CHECK(machine_unmap(va) == NULL);
	give_back();
}

TEST("map: an address is unmapped by its mark alone")
{
	take();
	CHECK_EQ(machine_mark(va), -1);
	CHECK_EQ(machine_map_marked(va, pages[0][0], MACHINE_MARKS - 1), 0);
	CHECK_EQ(machine_mark(va), MACHINE_MARKS - 1);
	CHECK(machine_unmap(va) == NULL);
	CHECK(machine_unmap_marked(va, 1) == NULL);
	CHECK_EQ(*(volatile uint64_t *)va, 0);
	CHECK(machine_unmap_marked(va, MACHINE_MARKS - 1) == pages[0][0]);
	CHECK_EQ(machine_mark(va), -1);
	give_back();
}

static void check_unmapped(uintptr_t at)
{
	CHECK_EQ(machine_mark(at), -1);
	CHECK(machine_unmap(at) == NULL);
}

TEST("map: whatever the address, nothing of others is unmapped, only pages mapped")
{
	uintptr_t start;
	size_t size;

	take();
	machine_va_range(&start, &size);
	check_unmapped(0);
	check_unmapped(va + 1);
	check_unmapped(start - PORT_PAGE_SIZE);
	check_unmapped(start + size);
	check_unmapped((uintptr_t)pages[0][0]);
	check_unmapped(UINTPTR_MAX);
	CHECK_EQ(machine_map(va, NULL), -EINVAL);
	CHECK_EQ(machine_map(va, (char *)pages[0][0] + 8), -EINVAL);
	CHECK_EQ(machine_map(va, (void *)va), -EINVAL);
	CHECK_EQ(machine_mark(va), -1);
	give_back();
}

TEST("map: a page is mapped where none is, and nowhere else")
{
	uintptr_t start;
	size_t size, tables;

	take();
	machine_va_range(&start, &size);
	map(0, pages[0][0]);
	tables = machine_table_pages();
	CHECK_PANICS(machine_map(va, pages[0][1]), "with mark 0: a page is mapped there (called from test_");
	CHECK_PANICS(machine_map_marked(va, pages[0][1], 3), "with mark 3: a page is mapped there");
	CHECK_EQ(*(volatile uint64_t *)va, 0);
	CHECK_PANICS(machine_map(va + 8, pages[0][1]), "that is no page of the window");
	CHECK_PANICS(machine_map(start + size, pages[0][1]), "that is no page of the window");
	CHECK_PANICS(machine_map(0, pages[0][1]), "machine_map at 0 with mark 0: that is no page of the window");
	CHECK_PANICS(machine_map_marked(va + PORT_PAGE_SIZE, pages[0][1], MACHINE_MARKS), "there is no such mark");
	unmap(0, pages[0][0]);
	CHECK_EQ(machine_mark(va + PORT_PAGE_SIZE), -1);
	/* The table counts no entry more than it has. */
	machine_tables_trim(SIZE_MAX);
	CHECK_LE(machine_table_pages(), tables);
	give_back();
}
