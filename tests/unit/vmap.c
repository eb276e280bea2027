/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings in the kernel's own addresses.
 */
#include "vmap.h"

#include "lib/string.h"
#include "machine.h"
#include "port.h"
#include "lib/test.h"
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

#define ROUNDS 640
#define RESTS 32 /* mappings at least, of n pages, before an address is used again */

/* Nothing that was unmapped in the last RESTS rounds is mapped again, and so one flush of all cores
 * serves as many. */
static void check_rest(size_t n)
{
	uintptr_t recent[RESTS] = {0};
	uint64_t flushes = machine_shootdowns();
	void *pages[PAGES];

	take_pages(pages);
	for (size_t round = 0; round < ROUNDS; round++) {
		void *at = vmap(pages, n, MEM_WAIT);

		for (size_t i = 0; i < RESTS; i++)
			CHECK_NE((uintptr_t)at, recent[i]);
		recent[round % RESTS] = (uintptr_t)at;
		vunmap(at, n);
	}
	CHECK_LE(machine_shootdowns() - flushes, ROUNDS / RESTS);
	give_pages(pages);
}

TEST("vmap: addresses rest before they are used again, and one flush serves many")
{
	check_rest(1);
	check_rest(PAGES);
}

TEST("vmap: draining gives the addresses that rest back")
{
	size_t idle;
	void *pages[PAGES], *at;

	take_pages(pages);
	vmap_drain();
	arena_reap(vaddr_arena, SIZE_MAX);
	idle = arena_amt_free(vaddr_arena);
	at = vmap(pages, PAGES, MEM_WAIT);
	vunmap(at, PAGES);
	arena_reap(vaddr_arena, SIZE_MAX);
	CHECK_NE(arena_amt_free(vaddr_arena), idle);
	vmap_drain();
	arena_reap(vaddr_arena, SIZE_MAX);
	CHECK_EQ(arena_amt_free(vaddr_arena), idle);
	give_pages(pages);
}

#define PIECES_MAX 512
#define MAPPED_MAX 512

struct piece {
	void *at;
	size_t size;
};

/* All addresses, the largest pieces first; returns how many pieces. */
static size_t addresses_take(struct piece *pieces)
{
	size_t n = 0;

	for (size_t size = (size_t)1 << 62; size >= PORT_PAGE_SIZE; size /= 2) {
		void *at;

		while (n < PIECES_MAX && (at = arena_alloc(vaddr_arena, size, MEM_ATOMIC | ARENA_BESTFIT)))
			pieces[n++] = (struct piece){at, size};
	}
	return n;
}

/* Maps a page when it is told to, and unmaps it again. */
static struct sleeper {
	void *page, *at;
	bool goes, served;
} sleeper;

static void sleeper_run(void *arg)
{
	threads_await(&sleeper.goes);
	sleeper.at = vmap(&sleeper.page, 1, MEM_WAIT);
	__atomic_store_n(&sleeper.served, true, __ATOMIC_RELEASE);
	vunmap(sleeper.at, 1);
}

static bool is_served(void)
{
	return __atomic_load_n(&sleeper.served, __ATOMIC_ACQUIRE);
}

static struct piece pieces[PIECES_MAX];
static void *mapped[MAPPED_MAX];
static size_t pieces_taken, maps;

/* Has no addresses left, and the sleeper, on this core, wait for some. */
static struct ktask *addresses_run_out(void **pages)
{
	struct ktask_plan plan = {.name = "sleeper", .fn = sleeper_run, .core = port_core_id()};
	struct ktask *task;

	/* Its stack takes addresses. */
	sleeper = (struct sleeper){.page = pages[1]};
	task = ktask_create(&plan);
	vmap_drain();
	arena_reap(vaddr_arena, SIZE_MAX);
	maps = 0;
	mapped[maps++] = vmap(pages, 1, MEM_WAIT);
	pieces_taken = addresses_take(pieces);
	CHECK_LT(pieces_taken, PIECES_MAX);
	/* What the front has got is laid up there. */
	while (maps < MAPPED_MAX && (mapped[maps] = vmap(pages, 1, MEM_ATOMIC)))
		maps++;
	CHECK_LT(maps, MAPPED_MAX);
	__atomic_store_n(&sleeper.goes, true, __ATOMIC_RELEASE);
	threads_await_waiting(vaddr_arena, 1);
	return task;
}

static void addresses_return(void)
{
	while (maps > 0)
		vunmap(mapped[--maps], 1);
	while (pieces_taken-- > 0)
		arena_free(vaddr_arena, pieces[pieces_taken].at, pieces[pieces_taken].size);
}

TEST("vmap: who waits for addresses gets those that are unmapped, which don't rest then")
{
	struct ktask *task;
	void *pages[PAGES];
	bool served;

	take_pages(pages);
	task = addresses_run_out(pages);
	vunmap(mapped[--maps], 1);
	served = threads_sleep_for(&sleeper.served);
	vmap_drain();
	ktask_join(task);
	CHECK(served);
	CHECK_NE((uintptr_t)sleeper.at, 0);
	addresses_return();
	give_pages(pages);
}

static void come_later(unsigned i, void *arg)
{
	struct ktask *task;
	void *pages[PAGES];

	take_pages(pages);
	task = addresses_run_out(pages);
	vunmap(mapped[--maps], 1);
	mapped[maps++] = vmap(pages, 1, MEM_WAIT);
	CHECK_EQ(is_served(), true);
	ktask_join(task);
	addresses_return();
	give_pages(pages);
}

TEST("vmap: who comes to wait for addresses takes none that were unmapped for another")
{
	threads_run(THREADS_PINNED, 1, come_later, NULL);
}

TEST("vmap: flags that aren't sound are told of, however little it takes to serve")
{
	void *page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
	port_irq_t irq;

	vunmap(vmap(&page, 1, MEM_WAIT), 1);
	CHECK_PANICS(vmap(&page, 1, 0), "arena vaddr: flags 0: not exactly one memory flag");
	CHECK_PANICS(vmalloc(1, MEM_WAIT | MEM_ATOMIC), "not exactly one memory flag");
	irq = port_irq_save();
	CHECK_PANICS(vmap(&page, 1, MEM_WAIT), "can't sleep");
	port_irq_restore(irq);
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
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
