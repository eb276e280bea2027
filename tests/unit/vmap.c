/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings in the kernel's own addresses.
 */
#include "vmap.h"

#include "lib/string.h"
#include "machine.h"
#include "port.h"
#include "sleepers.h"
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

TEST("vmap: pages from anywhere are mapped one behind the other, and are the same memory")
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

TEST("vmap: draining gives back the addresses that rest")
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

#define RANGES_MAX 512
#define MAPPED_MAX 512

/* All addresses, the largest ranges first. */
static struct range {
	void *at;
	size_t size;
} ranges[RANGES_MAX];
static size_t ranges_taken;

static void addresses_take(void)
{
	ranges_taken = 0;

	for (size_t size = (size_t)1 << 62; size >= PORT_PAGE_SIZE; size /= 2) {
		void *at;

		while (ranges_taken < RANGES_MAX &&
			(at = arena_alloc(vaddr_arena, size, MEM_ATOMIC | ARENA_BESTFIT)))
			ranges[ranges_taken++] = (struct range){at, size};
	}
	CHECK_LT(ranges_taken, RANGES_MAX);
}

/* Maps a page when it is told to, and unmaps it again. */
static bool goes;

static void map(struct sleeper *s)
{
	threads_await(&goes);
	s->got = vmap(&s->arg, 1, MEM_WAIT);
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
	vunmap(s->got, 1);
}

static struct sleeper sleeper;
static void *mapped[MAPPED_MAX];
static size_t maps;

/* No addresses are left, and the sleeper, on this core, waits for some. */
static void addresses_run_out(void **pages)
{
	/* Its stack takes addresses, so it is there before they are taken. */
	goes = false;
	sleeper = (struct sleeper){.arena = vaddr_arena, .ask = map, .arg = pages[1], .is_here = true};
	sleeper_begin(&sleeper);
	vmap_drain();
	arena_reap(vaddr_arena, SIZE_MAX);
	maps = 0;
	mapped[maps++] = vmap(pages, 1, MEM_WAIT);
	addresses_take();
	/* What the front holds is taken by single pages. */
	while (maps < MAPPED_MAX && (mapped[maps] = vmap(pages, 1, MEM_ATOMIC)))
		maps++;
	CHECK_LT(maps, MAPPED_MAX);
	__atomic_store_n(&goes, true, __ATOMIC_RELEASE);
	threads_await_waiting(vaddr_arena, 1);
}

static void addresses_return(void)
{
	while (maps > 0)
		vunmap(mapped[--maps], 1);
	while (ranges_taken-- > 0)
		arena_free(vaddr_arena, ranges[ranges_taken].at, ranges[ranges_taken].size);
}

TEST("vmap: a request that sleeps for addresses gets those that are unmapped, which don't rest then")
{
	void *pages[PAGES];
	bool served;

	take_pages(pages);
	addresses_run_out(pages);
	vunmap(mapped[--maps], 1);
	served = sleeper_is_served(&sleeper);
	vmap_drain();
	sleeper_end(&sleeper);
	addresses_return();
	give_pages(pages);
	CHECK(served);
	CHECK_NE((uintptr_t)sleeper.got, 0);
}

TEST("vmap: unsound flags are reported even if it takes little to serve")
{
	void *page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
	port_irq_t irq;

	vunmap(vmap(&page, 1, MEM_WAIT), 1);
	CHECK_PANICS(vmap(&page, 1, 0), "vmap: flags 0: not exactly one memory flag");
	CHECK_PANICS(vmalloc(1, MEM_WAIT | MEM_ATOMIC), "not exactly one memory flag");
	irq = port_irq_save();
	CHECK_PANICS(vmap(&page, 1, MEM_WAIT), "vmap by MEM_WAIT with interrupts off");
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

TEST("vmalloc: a size that can't be rounded up to pages is not served")
{
	CHECK_EQ((uintptr_t)vmalloc(SIZE_MAX, MEM_ATOMIC), 0);
	CHECK_EQ((uintptr_t)vmalloc(SIZE_MAX - PORT_PAGE_SIZE + 2, MEM_ERROR), 0);
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

TEST("vmalloc: from all cores at once no thread sees another's pages")
{
	threads_run(THREADS_PINNED, 8, map_and_look, NULL);
}
