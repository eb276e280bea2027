/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings in the kernel's own addresses.
 */
#include "vmap.h"

#include "lib/string.h"
#include "machine.h"
#include "port.h"
#include "sleepers.h"
#include "lib/array.h"
#include "lib/catch.h"
#include "lib/panic.h"
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

TEST("vmap: pages from anywhere are mapped in a row, and are the same memory")
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

TEST("vmap: a request that sleeps for addresses gets those unmapped, which don't rest")
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
	CHECK_PANICS(vmap(&page, 1, MEM_WAIT), "vmap with interrupts off");
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

#define WHOLE(n) ((n) * PORT_PAGE_SIZE)

static void *stack_of_self(void)
{
	char here;

	return (void *)((uintptr_t)&here & ~(uintptr_t)(PORT_PAGE_SIZE - 1));
}

/* Each wrong call with a mapping of PAGES pages at `at`, and another behind it. */
static void check_vunmap_panics(char *at)
{
	CHECK_PANICS(vunmap(NULL, 1), "vunmap of 1 pages at 0x0: that is NULL");
	CHECK_PANICS(vunmap(at, 0), "vunmap of 0 pages at");
	CHECK_PANICS(vunmap(at, PAGES - 1), "the mapping has 5");
	CHECK_PANICS(vunmap(at, PAGES + 1), "the mapping has 5");
	CHECK_PANICS(vunmap(at, 2 * PAGES), "the mapping has 5");
	CHECK_PANICS(vunmap(at, SIZE_MAX), "the mapping has 5");
	CHECK_PANICS(vunmap(at, ((size_t)1 << 52) + PAGES), "the mapping has 5");
	CHECK_PANICS(vunmap(at + WHOLE(2), PAGES - 2), "that is inside a mapping");
	CHECK_PANICS(vunmap(at + WHOLE(PAGES - 1), 1), "that is inside a mapping");
	CHECK_PANICS(vunmap(at + 8, PAGES), "that is inside a page");
	CHECK_PANICS(vfree(at, WHOLE(PAGES)), "that is vmap()'s");
	CHECK_PANICS(vunmap(stack_of_self(), 1), "vunmap of 1 pages at");
	CHECK_PANICS(vunmap(at, 1), "called from check_vunmap_panics");
}

static void unmap_twice(void *at)
{
	vunmap(at, PAGES);
	CHECK_PANICS(vunmap(at, PAGES), "nothing is mapped");
}

TEST("vmap: a mapping is taken down as it was made or not at all")
{
	void *pages[PAGES], *wide[2 * PAGES];
	unsigned char *at[4], *large;

	take_pages(pages);
	for (size_t i = 0; i < 2 * PAGES; i++)
		wide[i] = pages[i % PAGES];
	for (size_t i = 0; i < 4; i++)
		at[i] = vmap(pages, PAGES, MEM_WAIT);
	large = vmap(wide, 2 * PAGES, MEM_WAIT);
	for (size_t i = 0; i < 4; i++)
		check_vunmap_panics((char *)at[i]);
	CHECK_PANICS(vunmap(large, PAGES), "the mapping has 10");
	CHECK_PANICS(vunmap(large + WHOLE(PAGES), PAGES), "that is inside a mapping");
	for (size_t i = 0; i < 4 * PAGES; i++)
		CHECK_EQ(at[i / PAGES][WHOLE(i % PAGES)], i % PAGES + 1);
	for (size_t i = 0; i < 4; i++)
		unmap_twice(at[i]);
	vunmap(large, 2 * PAGES);
	CHECK_PANICS(vunmap(large, 2 * PAGES), "nothing is mapped");
	CHECK_PANICS(vunmap(pages[0], 1), "nothing is mapped");
	give_pages(pages);
}

TEST("vmalloc: memory is taken back as it was made or not at all")
{
	unsigned char *p = vmalloc(WHOLE(4) + 1, MEM_WAIT), *q = vmalloc(WHOLE(20), MEM_WAIT);

	memset(p, 1, WHOLE(5));
	memset(q, 2, WHOLE(20));
	CHECK_PANICS(vfree(NULL, 1), "vfree of 1 pages at 0x0: that is NULL");
	CHECK_PANICS(vfree(p, 0), "vfree of 0 pages");
	CHECK_PANICS(vfree(p, WHOLE(4)), "the mapping has 5");
	CHECK_PANICS(vfree(p, WHOLE(5) + 1), "the mapping has 5");
	CHECK_PANICS(vfree(p, SIZE_MAX), "the mapping has 5");
	CHECK_PANICS(vfree(p + 1, WHOLE(5)), "that is inside a page");
	CHECK_PANICS(vfree(p + WHOLE(1), WHOLE(4)), "that is inside a mapping");
	CHECK_PANICS(vunmap(p, 5), "that is vmalloc()'s");
	CHECK_PANICS(vfree(q, WHOLE(10)), "the mapping has 20");
	CHECK_PANICS(vfree(q + WHOLE(10), WHOLE(10)), "that is inside a mapping");
	CHECK_EQ(p[WHOLE(5) - 1], 1);
	CHECK_EQ(q[WHOLE(20) - 1], 2);
	vfree(p, WHOLE(5));
	CHECK_PANICS(vfree(p, WHOLE(4) + 1), "nothing is mapped");
	vfree(q, WHOLE(20));
}

TEST("vmap: what others mapped isn't vmap's to take down")
{
	void *page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
	void *va = arena_alloc(vaddr_arena, PORT_PAGE_SIZE, MEM_WAIT);

	CHECK_EQ(machine_map((uintptr_t)va, page), 0);
	CHECK_PANICS(vunmap(va, 1), "that is neither vmap()'s nor vmalloc()'s");
	CHECK_PANICS(vfree(va, 1), "that is neither vmap()'s nor vmalloc()'s");
	CHECK(machine_unmap((uintptr_t)va) == page);
	arena_free(vaddr_arena, va, PORT_PAGE_SIZE);
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
}

/* Two threads take one mapping down: one does, the other panics. */
static void *shared_mapping;
static unsigned took, refused;

static void take_shared(unsigned i, void *arg)
{
	struct panic_catch catch;

	panic_catch_push(&catch);
	if (machine_setjmp(&catch.jump) == 0) {
		vfree(shared_mapping, WHOLE(3));
		__atomic_fetch_add(&took, 1, __ATOMIC_RELAXED);
	} else {
		__atomic_fetch_add(&refused, 1, __ATOMIC_RELAXED);
	}
	panic_catch_pop(&catch);
}

TEST("vmalloc: of callers that free the same at once one does, and the others panic")
{
	for (size_t round = 0; round < 50; round++) {
		shared_mapping = vmalloc(WHOLE(3), MEM_WAIT);
		took = refused = 0;
		threads_run(THREADS_PINNED, 4, take_shared, NULL);
		CHECK_EQ(took, 1);
		CHECK_EQ(refused, 3);
	}
}

static void check_impossible(void *const *list, size_t n)
{
	CHECK(!vmap(list, n, MEM_ATOMIC));
	CHECK(!vmap(list, n, MEM_ERROR));
	CHECK_PANICS(vmap(list, n, MEM_WAIT), "by MEM_WAIT: there are addresses for");
}

TEST("vmap: more pages than there are addresses are refused, and the list isn't read")
{
	static const size_t impossible[] = {((size_t)1 << 52) - 1, (size_t)1 << 52, ((size_t)1 << 52) + 1,
		((size_t)1 << 63) + 1, SIZE_MAX, (size_t)1 << 40};
	void *const *list = (void *const *)8; /* nothing lies there */

	for (size_t i = 0; i < ARRAY_SIZE(impossible); i++)
		check_impossible(list, impossible[i]);
	CHECK_PANICS(vmap(list, 0, MEM_ATOMIC), "vmap of size 0");
	CHECK_PANICS(vmap(NULL, 2, MEM_ATOMIC), "vmap of 2 pages of a list at NULL");
}

TEST("vmap: what is no page of RAM is reported before anything is mapped")
{
	void *pages[PAGES], *good;

	take_pages(pages);
	good = pages[3];
	pages[3] = NULL;
	CHECK_PANICS(vmap(pages, PAGES, MEM_WAIT), "vmap of 5 pages: 0x0 is no page of RAM");
	pages[3] = (char *)good + 8;
	CHECK_PANICS(vmap(pages, PAGES, MEM_WAIT), "is no page of RAM");
	pages[3] = (void *)(UINTPTR_MAX - PORT_PAGE_SIZE + 1);
	CHECK_PANICS(vmap(pages, PAGES, MEM_WAIT), "is no page of RAM");
	pages[3] = good;
	give_pages(pages);
}

TEST("vmalloc: size 0 is reported, and what can't be by what can't")
{
	CHECK_PANICS(vmalloc(0, MEM_ATOMIC), "vmalloc of size 0");
	CHECK_PANICS(vmalloc(0, MEM_WAIT), "vmalloc of size 0");
	CHECK(!vmalloc(SIZE_MAX, MEM_ERROR));
	CHECK(!vmalloc((size_t)1 << 63, MEM_ATOMIC));
	CHECK_PANICS(vmalloc(SIZE_MAX, MEM_WAIT), "pages by MEM_WAIT: there are addresses for");
	CHECK_PANICS(vmalloc(((size_t)1 << 63) + 1, MEM_WAIT), "by MEM_WAIT: there are addresses for");
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
