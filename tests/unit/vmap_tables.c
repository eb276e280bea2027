/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables of the kernel's own addresses: those that stand empty go back, and no others.  A
 * machine that has no tables of its own passes with all counts 0.
 */
#include "arenas.h"
#include "kthread.h"
#include "machine.h"
#include "physical.h"
#include "port.h"
#include "reclaim.h"
#include "slab.h"
#include "stacks.h"
#include "lib/array.h"
#include "lib/test.h"
#include "threads.h"
#include "vmap.h"

#define GIB ((size_t)1 << 30)
#define TABLE_SPAN ((size_t)2 << 20) /* the addresses that a table of the lowest level maps */

/* The kernel's stacks are mapped: where there are tables, there are some at any time. */
static bool has_tables(void)
{
	return machine_table_pages() > 0;
}

static size_t tables(size_t n)
{
	return has_tables() ? n : 0;
}

static size_t trim_all(void)
{
	return machine_tables_trim(SIZE_MAX);
}

/* A GiB of addresses in which nothing is mapped and no table stands. */
static uintptr_t gib_take(void)
{
	uintptr_t va = (uintptr_t)arena_xalloc(vaddr_arena, GIB, GIB, 0, 0, 0, 0, MEM_WAIT);

	trim_all();
	return va;
}

static void gib_give(uintptr_t va)
{
	arena_xfree(vaddr_arena, (void *)va, GIB);
}

static void map(uintptr_t va, void *page)
{
	CHECK_EQ(machine_map(va, page), 0);
}

static void unmap(uintptr_t va, void *page)
{
	CHECK(machine_unmap(va) == page);
}

TEST("tables: one that stands empty is given back, one with an entry left is not")
{
	uint64_t *page = base_zalloc(NULL, PORT_PAGE_SIZE, MEM_WAIT);
	uintptr_t va = gib_take(), second = va + PORT_PAGE_SIZE, far = va + TABLE_SPAN;
	size_t before = machine_table_pages();

	*page = 77;
	map(va, page);
	map(second, page);
	map(far, page);
	/* Two of the lowest level, and one above them. */
	CHECK_EQ(machine_table_pages(), before + tables(3));
	CHECK_EQ(trim_all(), 0);
	unmap(va, page);
	CHECK_EQ(trim_all(), 0);
	CHECK_EQ(*(volatile uint64_t *)second, 77);
	unmap(second, page);
	CHECK_EQ(trim_all(), tables(1) * PORT_PAGE_SIZE);
	CHECK_EQ(*(volatile uint64_t *)far, 77);
	unmap(far, page);
	CHECK_EQ(trim_all(), tables(2) * PORT_PAGE_SIZE);
	CHECK_EQ(machine_table_pages(), before);
	gib_give(va);
	base_free(NULL, page, PORT_PAGE_SIZE);
}

TEST("tables: no more are given back than asked for, in whole pages")
{
	void *page = base_alloc(NULL, PORT_PAGE_SIZE, MEM_WAIT);
	uintptr_t va = gib_take();
	size_t before = machine_table_pages();

	for (size_t i = 0; i < 6; i++) {
		map(va + i * TABLE_SPAN, page);
		unmap(va + i * TABLE_SPAN, page);
	}
	CHECK_EQ(machine_tables_trim(0), 0);
	CHECK_EQ(machine_tables_trim(1), tables(1) * PORT_PAGE_SIZE);
	CHECK_EQ(machine_tables_trim(PORT_PAGE_SIZE), tables(1) * PORT_PAGE_SIZE);
	CHECK_EQ(machine_tables_trim(PORT_PAGE_SIZE + 1), tables(2) * PORT_PAGE_SIZE);
	CHECK_EQ(machine_table_pages(), before + tables(3));
	CHECK_EQ(trim_all(), tables(3) * PORT_PAGE_SIZE);
	CHECK_EQ(trim_all(), 0);
	gib_give(va);
	base_free(NULL, page, PORT_PAGE_SIZE);
}

TEST("tables: one shootdown serves all that are given back, none is needed for none")
{
	void *page = base_alloc(NULL, PORT_PAGE_SIZE, MEM_WAIT);
	uintptr_t va = gib_take();
	uint64_t before;

	for (size_t i = 0; i < GIB / TABLE_SPAN; i++) {
		map(va + i * TABLE_SPAN, page);
		unmap(va + i * TABLE_SPAN, page);
	}
	before = machine_shootdowns();
	CHECK_EQ(trim_all(), tables(GIB / TABLE_SPAN + 1) * PORT_PAGE_SIZE);
	CHECK_EQ(machine_shootdowns() - before, has_tables() && port_core_count() > 1);
	CHECK_EQ(trim_all(), 0);
	CHECK_LE(machine_shootdowns() - before, 1);
	gib_give(va);
	base_free(NULL, page, PORT_PAGE_SIZE);
}

/* Every core */

TEST("tables: an address whose table went shows its new page on every core")
{
	uint64_t *pages[2];
	uintptr_t va = gib_take();

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = base_alloc(NULL, PORT_PAGE_SIZE, MEM_WAIT);
	for (uint64_t round = 0; round < 16; round++) {
		uint64_t *page = pages[round % ARRAY_SIZE(pages)];

		*page = round;
		map(va, page);
		for (unsigned core = 0; core < port_core_count(); core++)
			CHECK_EQ(threads_read_on(core, va), round);
		unmap(va, page);
		CHECK_EQ(trim_all(), tables(2) * PORT_PAGE_SIZE);
	}
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		base_free(NULL, pages[i], PORT_PAGE_SIZE);
	gib_give(va);
}

#define SHARED_TABLES 3
#define REMAPS 500

/* Thread 0 gives tables back; the others share them, each with an address of its own in each. */
struct storm {
	uintptr_t va;
	unsigned mapping; /* threads that still map */
	size_t trimmed;
};

static void remap_often(struct storm *s, unsigned i)
{
	uint64_t *pages[2];

	for (size_t k = 0; k < ARRAY_SIZE(pages); k++)
		CHECK((pages[k] = base_alloc(NULL, PORT_PAGE_SIZE, MEM_ATOMIC)) != NULL);
	for (uint64_t n = test_ops(REMAPS); n > 0 && !test_has_failed(); n--) {
		size_t table = test_random_below(SHARED_TABLES);
		uintptr_t va = s->va + table * TABLE_SPAN + i * PORT_PAGE_SIZE;
		uint64_t *page = pages[n % ARRAY_SIZE(pages)];

		*page = n << 16 | i;
		map(va, page);
		CHECK_EQ(threads_read_on((unsigned)test_random_below(port_core_count()), va), n << 16 | i);
		unmap(va, page);
		kthread_yield();
	}
	for (size_t k = 0; k < ARRAY_SIZE(pages); k++)
		base_free(NULL, pages[k], PORT_PAGE_SIZE);
	/* Release: pairs with the acquire in trim_often(). */
	__atomic_fetch_sub(&s->mapping, 1, __ATOMIC_RELEASE);
}

static void trim_often(struct storm *s)
{
	while (__atomic_load_n(&s->mapping, __ATOMIC_ACQUIRE) > 0 && !test_has_failed()) {
		s->trimmed += trim_all();
		kthread_yield();
	}
}

static void storm(unsigned i, void *arg)
{
	if (i == 0)
		trim_often(arg);
	else
		remap_often(arg, i);
}

TEST("tables: cores map and unmap while another gives back what stands empty")
{
	unsigned threads = port_core_count() > 1 ? port_core_count() + 1 : 3;
	struct storm s = {.va = gib_take(), .mapping = threads - 1};
	size_t before = machine_table_pages();

	threads_run(THREADS_PINNED, threads, storm, &s);
	trim_all();
	CHECK_EQ(machine_table_pages(), before);
	CHECK_EQ(s.trimmed > 0, has_tables());
	gib_give(s.va);
}

#define POLLS 1000000 /* while a mapping must not return: one that does so takes a few */

/* Three threads: one gives back the table of `va`, one keeps its core from the flush, one maps. */
struct race {
	uintptr_t va;
	void *page;
	uint64_t shootdowns;
	unsigned here;
	bool holds, trimmed, flushes, mapped;
	bool is_early; /* the address was mapped before all cores had flushed their TLBs */
};

static void note(bool *flag)
{
	__atomic_store_n(flag, true, __ATOMIC_RELEASE);
}

static bool is_noted(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void keep_from_flush(struct race *r)
{
	port_irq_t irq;

	while (__atomic_load_n(&r->here, __ATOMIC_ACQUIRE) < 3)
		kthread_yield();
	irq = port_irq_save();
	r->shootdowns = machine_shootdowns();
	note(&r->holds);
	while (machine_shootdowns() == r->shootdowns && !is_noted(&r->trimmed))
		port_pause();
	note(&r->flushes);
	for (unsigned i = 0; i < POLLS && !is_noted(&r->mapped); i++)
		port_pause();
	r->is_early = is_noted(&r->mapped);
	port_irq_restore(irq);
}

static void race(unsigned i, void *arg)
{
	struct race *r = arg;

	__atomic_fetch_add(&r->here, 1, __ATOMIC_RELEASE);
	if (i == 0) {
		threads_await(&r->holds);
		trim_all();
		note(&r->trimmed);
	} else if (i == 1) {
		keep_from_flush(r);
	} else {
		threads_await(&r->flushes);
		map(r->va, r->page);
		note(&r->mapped);
	}
}

TEST("tables: an address whose table goes is mapped once all cores forgot the table")
{
	struct race r = {.va = gib_take(), .page = base_alloc(NULL, PORT_PAGE_SIZE, MEM_WAIT)};

	if (has_tables() && port_core_count() >= 3) {
		map(r.va, r.page);
		unmap(r.va, r.page);
		threads_run(THREADS_PINNED, 3, race, &r);
		unmap(r.va, r.page);
		CHECK(!r.is_early);
	}
	gib_give(r.va);
	base_free(NULL, r.page, PORT_PAGE_SIZE);
}

/* Little memory */

#define LITTLE ((size_t)512 << 10)
#define TURNS 400	/* a table each: three times LITTLE */
#define TURN_PAGES 512	/* the addresses of a table */
#define MEMORY_PAGES 64
#define MANY_PAGES 1500 /* through four tables */

static void *many[MANY_PAGES]; /* the same page each time */

/* Base's bytes that are free or hold its own tags and tables, or backtraces, which stay, when nothing idle is
 * kept from it. */
static size_t free_at_rest(void)
{
	reclaim_run(RECLAIM_LEVELS);
	return arena_amt_free(base_arena) +
	       (arenas_stats(base_arena).tag_pages + kmem_table_pages() + stacks_pages()) * PORT_PAGE_SIZE;
}

static void many_fill(void)
{
	many[0] = base_alloc(NULL, PORT_PAGE_SIZE, MEM_WAIT);
	for (size_t i = 1; i < MANY_PAGES; i++)
		many[i] = many[0];
}

/* Maps and unmaps in turn; reclaim gives back tables. */
static void take_turns(void)
{
	for (size_t i = 0; i < TURNS; i++)
		vunmap(vmap(many, TURN_PAGES, MEM_WAIT), TURN_PAGES);
}

TEST("tables: mapping and unmapping in turn doesn't use memory up")
{
	size_t before = free_at_rest();
	struct piece *taken;

	many_fill();
	taken = pieces_take_memory(LITTLE);
	take_turns();
	pieces_give(base_arena, taken, SIZE_MAX);
	base_free(NULL, many[0], PORT_PAGE_SIZE);
	CHECK_EQ(free_at_rest(), before);
}

/* The tables that are left when all that stand empty are given back.  A pass of reclaim may be at it, too, and
 * holds some in hand. */
static size_t tables_come_down_to(size_t pages)
{
	uint64_t end = port_ns() + THREADS_PATIENCE;

	trim_all();
	while (machine_table_pages() != pages && port_ns() < end) {
		kthread_usleep(100);
		trim_all();
	}
	return machine_table_pages();
}

/* Maps with `left` bytes of memory, and unmaps what was mapped.  Returns the refusals, 2 at most. */
static size_t refusals(size_t left)
{
	struct piece *taken = pieces_take_memory(left);
	void *at = vmap(many, MANY_PAGES, MEM_ATOMIC);
	void *memory = vmalloc(MEMORY_PAGES * PORT_PAGE_SIZE, MEM_ATOMIC);

	if (at)
		vunmap(at, MANY_PAGES);
	if (memory)
		vfree(memory, MEMORY_PAGES * PORT_PAGE_SIZE);
	pieces_give(base_arena, taken, SIZE_MAX);
	return !at + !memory;
}

TEST("tables: a mapping refused half done leaves none that can't be given back")
{
	static const size_t pages[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 4 * MEMORY_PAGES};
	size_t refused = 0, before;

	many_fill();
	reclaim_run(RECLAIM_LEVELS);
	before = machine_table_pages();
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		refused += refusals(pages[i] * PORT_PAGE_SIZE);
		CHECK_EQ(tables_come_down_to(before), before);
	}
	base_free(NULL, many[0], PORT_PAGE_SIZE);
	CHECK_LT(0, refused);
	CHECK_LT(refused, 2 * ARRAY_SIZE(pages));
}
