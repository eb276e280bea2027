/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RAM that comes when the kernel has long run, outside of the range of addresses that boot's RAM has:
 * it serves whatever the rest serves.  It stays in the base arena, for the tests that follow.
 */
#include "arena.h"
#include "kmalloc.h"
#include "kthread.h"
#include "lib/string.h"
#include "physical.h"
#include "port.h"
#include "reclaim.h"
#include "slab.h"
#include "vmap.h"
#include "lib/test.h"
#include "modes.h"

#define LATE_SIZE ((size_t)512 << 10)
#define BLOCK_SIZE ((size_t)96 << 10) /* a large kmalloc's */
#define SMALL_SIZE 200

static char late[LATE_SIZE] __attribute__((aligned(PORT_PAGE_SIZE)));

static bool is_late(const void *p)
{
	return (uintptr_t)p - (uintptr_t)late < LATE_SIZE;
}

/* What is held, a list through its first words; and how many of that are late. */
struct held {
	void *first;
	size_t count, late;
};

static void hold(struct held *h, void *p)
{
	*(void **)p = h->first;
	h->first = p;
	h->count++;
	h->late += is_late(p);
}

static void take_all(struct held *h, size_t size)
{
	void *p;

	while ((p = kmalloc(size, MEM_ATOMIC)))
		hold(h, p);
}

/* Gives back what is late, or what isn't. */
static void give(struct held *h, bool those_late)
{
	struct held kept = {NULL, 0, 0};

	while (h->first) {
		void *p = h->first;

		h->first = *(void **)p;
		if (is_late(p) == those_late)
			kfree(p);
		else
			hold(&kept, p);
	}
	*h = kept;
}

static void give_all(struct held *h)
{
	give(h, true);
	give(h, false);
}

/* All free memory is held but for what is late. */
static void hold_the_rest(struct held *large, struct held *pages)
{
	*large = *pages = (struct held){NULL, 0, 0};
	take_all(large, BLOCK_SIZE);
	take_all(pages, PORT_PAGE_SIZE);
	give(large, true);
	give(pages, true);
	reclaim_run(RECLAIM_LEVELS);
}

static void add_late(void)
{
	static bool was_added;

	if (!was_added)
		CHECK_EQ(arena_add(base_arena, late, LATE_SIZE, MEM_ATOMIC), 0);
	was_added = true;
}

TEST("late RAM: large and small kmalloc are served from it, and come back")
{
	if (!modes_leave_layout())
		return;
	struct held large = {NULL, 0, 0}, pages, small = {NULL, 0, 0}, odd = {NULL, 0, 0};

	add_late();
	take_all(&large, BLOCK_SIZE);
	CHECK_LT(LATE_SIZE / BLOCK_SIZE / 2, large.late);
	give_all(&large);

	hold_the_rest(&large, &pages);
	take_all(&odd, 9000);
	CHECK_LT(LATE_SIZE / 10240 / 2, odd.late);
	CHECK_LE(10240, ksize(odd.first));
	give_all(&odd);
	reclaim_run(RECLAIM_LEVELS);
	take_all(&small, SMALL_SIZE);
	CHECK_LT(LATE_SIZE / 256 / 2, small.late);
	CHECK_LT(ksize(small.first), 2 * SMALL_SIZE);
	CHECK_EQ(kmem_cache_check(kmem_cache_next(NULL), &console_sink), 0);
	give_all(&small);
	give_all(&large);
	give_all(&pages);
}

TEST("late RAM: what isn't kmalloc's in it is refused")
{
	add_late();
	CHECK_PANICS(kfree(late + LATE_SIZE / 2 + 8), "no memory of kmalloc's");
	CHECK_PANICS(ksize((void *)((uintptr_t)late ^ (uintptr_t)1 << 62)), "no memory of kmalloc's");
}

static size_t table_pages;

static bool look_for_table(const struct arena_segment *s, void *arg)
{
	uintptr_t first;

	for (uintptr_t at = s->start; s->kind == ARENA_SEGMENT_USED && at - s->start < s->size; at += PORT_PAGE_SIZE)
		table_pages += kmem_table_find(at, &first);
	return true;
}

TEST("late RAM: the page frame table's pages for it are found")
{
	struct held large = {NULL, 0, 0};

	add_late();
	take_all(&large, BLOCK_SIZE);
	table_pages = 0;
	arena_walk(base_arena, look_for_table, NULL);
	CHECK_EQ(table_pages, kmem_table_pages());
	give_all(&large);
}

static void use_stack(void *arg)
{
	volatile char room[PORT_PAGE_SIZE];

	for (size_t i = 0; i < sizeof(room); i += 64)
		room[i] = 1;
	*(bool *)arg = true;
}

TEST("late RAM: it is mapped, given by physical address, holds page tables and stacks")
{
	struct held large, pages;
	bool has_run = false;
	struct ktask *t;
	void *phys, *p;
	char *v;

	add_late();
	hold_the_rest(&large, &pages);
	v = vmalloc(BLOCK_SIZE, MEM_ATOMIC);
	phys = arena_alloc(phys_arena, PORT_PAGE_SIZE, MEM_ATOMIC);
	p = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_ATOMIC);
	t = ktask("late", use_stack, &has_run);
	if (v)
		memset(v, 0x5a, BLOCK_SIZE);
	if (phys)
		*(volatile char *)physical_at((uint64_t)(uintptr_t)phys) = 1;
	if (t)
		ktask_join(t);
	give_all(&large);
	give_all(&pages);
	CHECK(v && phys && p && has_run);
	for (size_t i = 0; i < BLOCK_SIZE; i++)
		CHECK_EQ(v[i], 0x5a);
	vfree(v, BLOCK_SIZE);
	arena_free(phys_arena, phys, PORT_PAGE_SIZE);
	arena_free(kpages_arena, p, PORT_PAGE_SIZE);
}

TEST("late RAM: a page of it that is mapped twice is one")
{
	void *got;
	char *at;

	add_late();
	got = arena_xalloc(base_arena, PORT_PAGE_SIZE, 0, 0, 0, (uintptr_t)late, (uintptr_t)late + LATE_SIZE,
		MEM_WAIT);
	CHECK(is_late(got));
	memset(got, 1, PORT_PAGE_SIZE);
	at = vmap(&got, 1, MEM_WAIT);
	CHECK_EQ(at[5], 1);
	at[5] = 2;
	CHECK_EQ(((volatile char *)got)[5], 2);
	((volatile char *)got)[6] = 3;
	CHECK_EQ(((volatile char *)at)[6], 3);
	vunmap(at, 1);
	CHECK_EQ(((volatile char *)got)[5], 2);
	arena_xfree(base_arena, got, PORT_PAGE_SIZE);
}
