/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings: a range of virtual addresses, page by page.
 *
 * Small ranges come from the caches that front the arena of addresses, which hand out first what
 * came back last.  But an address that was just unmapped should rest: mapping it anew costs a flush
 * of every core's TLB, which then serves all that were unmapped before (machine_map).  So each core
 * has a ring of the last RESTING small ranges unmapped on it; a range goes back to the arena when
 * the ring has come around, and a flush is due once in RESTING mappings at most.  Larger ranges
 * rest by next fit.
 *
 * A ring is only touched by its core, with interrupts off.  While somebody waits for addresses none
 * rest: what is unmapped goes to the arena at once.  Who is about to wait counts himself first and
 * empties the rings then, and a ring's core looks for that count before it lays anything up there,
 * so nothing is left behind.
 */
#include "vmap.h"

#include "lib/panic.h"
#include "lib/string.h"
#include "machine.h"
#include "port.h"
#include "sync.h"

/* Pages of what counts as a small range; fewer than a page has bytes. */
#define SMALL_PAGES 8
#define RESTING 64

struct ring {
	uintptr_t range[RESTING]; /* where it is, and how many pages; 0: none */
	unsigned next;
} __attribute__((aligned(PORT_LINE_SIZE)));

struct arena *vaddr_arena;

static struct ring *rings; /* a core's each */
static unsigned waiting;   /* callers who found no addresses, and may sleep until there are some */

/* As many pages as hold `size` bytes; at most as many as have SIZE_MAX bytes, which no arena has. */
static size_t pages_of(size_t size)
{
	size_t whole = size / PORT_PAGE_SIZE;

	return whole < SIZE_MAX / PORT_PAGE_SIZE && size % PORT_PAGE_SIZE ? whole + 1 : whole;
}

void vmap_init(void)
{
	uintptr_t start;
	size_t size;

	machine_va_range(&start, &size);
	vaddr_arena = arena_create("vaddr", (void *)start, size, PORT_PAGE_SIZE, NULL, NULL, NULL,
		SMALL_PAGES * PORT_PAGE_SIZE, MEM_WAIT);
	rings = base_zalloc(NULL, pages_of(port_core_max() * sizeof(*rings)) * PORT_PAGE_SIZE, MEM_WAIT);
}

/* Relaxed: who waits counts himself before he has ring_empty() run on this core. */
static inline bool is_waited(void)
{
	return __builtin_expect(__atomic_load_n(&waiting, __ATOMIC_RELAXED) > 0, 0);
}

/* Puts a range into this core's ring and returns what it takes the place of; or, if somebody waits, itself. */
static uintptr_t rest(uintptr_t range)
{
	port_irq_t irq = port_irq_save();
	struct ring *r = &rings[port_core_id()];
	uintptr_t rested = range;

	if (!is_waited()) {
		uintptr_t *slot = &r->range[r->next++ % RESTING];

		rested = *slot;
		*slot = range;
	}
	port_irq_restore(irq);
	return rested;
}

static void rested_free(uintptr_t range)
{
	size_t n = range % PORT_PAGE_SIZE;

	if (n > 0)
		arena_free(vaddr_arena, (void *)(range - n), n * PORT_PAGE_SIZE);
}

/* On the core itself. */
static void ring_empty(void *to)
{
	struct ring *r = &rings[port_core_id()];

	memcpy(to, r->range, sizeof(r->range));
	memset(r->range, 0, sizeof(r->range));
}

void vmap_drain(void)
{
	uintptr_t range[RESTING];

	for (unsigned core = 0; core < port_core_count(); core++) {
		port_core_run(core, ring_empty, range);
		for (size_t i = 0; i < RESTING; i++)
			rested_free(range[i]);
	}
}

/* Here, since the arena is asked with MEM_ATOMIC first, whatever the flags. */
static void check_flags(unsigned flags, void *caller)
{
	if (flags != MEM_ATOMIC && flags != MEM_WAIT && flags != MEM_ERROR)
		panic("vmap: flags %#x: not exactly one memory flag (called from %pS)", flags, caller);
	if (flags == MEM_WAIT)
		sync_check_may_sleep("vmap by MEM_WAIT", caller);
}

static void *range_alloc(size_t n, unsigned flags, void *caller)
{
	unsigned fit = n > SMALL_PAGES ? ARENA_NEXTFIT : 0;
	void *at = NULL;

	check_flags(flags, caller);
	/* Who may wait stands behind those who do, in the arena's queue. */
	if (!is_waited() || !(flags & MEM_WAIT))
		at = arena_alloc(vaddr_arena, n * PORT_PAGE_SIZE, MEM_ATOMIC | fit);
	if (__builtin_expect(at != NULL, 1))
		return at;
	__atomic_fetch_add(&waiting, 1, __ATOMIC_SEQ_CST);
	vmap_drain();
	at = arena_alloc(vaddr_arena, n * PORT_PAGE_SIZE, flags | fit);
	__atomic_fetch_sub(&waiting, 1, __ATOMIC_RELAXED);
	return at;
}

static void range_free(void *at, size_t n)
{
	if (n > SMALL_PAGES)
		arena_free(vaddr_arena, at, n * PORT_PAGE_SIZE);
	else
		rested_free(rest((uintptr_t)at | n));
}

/* Page tables come from the base arena atomically: a caller who may wait does it there. */
static inline bool map_one(char *at, void *page, unsigned flags)
{
	while (__builtin_expect(machine_map((uintptr_t)at, page) != 0, 0)) {
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
	char *at = range_alloc(n, flags, __builtin_return_address(0));

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
	char *at = range_alloc(n, flags, __builtin_return_address(0));

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
