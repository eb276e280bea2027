/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings: a range of virtual addresses, page by page.
 *
 * An address that was just unmapped should not be mapped again soon.  Mapping it again costs a
 * flush of every core's TLB, and one such flush serves all addresses that were unmapped before it
 * (machine_map).  So the longer addresses rest, the fewer flushes there are.
 *
 * Small ranges come from the caches that front the arena of addresses, which hand out first what
 * was freed last.  So each core has a ring of the last RING_SIZE small ranges that were unmapped on
 * it.  A range goes back to the arena when a newer one takes its slot in the ring, and at most one
 * flush in RING_SIZE mappings is due.  Larger ranges are allocated by next fit, which takes other
 * addresses first.
 *
 * A ring is touched only by its core, with interrupts off.  While a request waits for addresses, no
 * ring takes any: an unmapped range goes back to the arena at once.  A request that is about to
 * wait first adds itself to `waiting` and then empties every ring, on the ring's core.  A core
 * reads `waiting` before it puts a range into its ring, so no ring keeps one during the wait.
 */
#include "vmap.h"

#include "lib/panic.h"
#include "lib/string.h"
#include "machine.h"
#include "port.h"
#include "sync.h"

#define SMALL_PAGES 8 /* a small range has at most this many */
#define RING_SIZE 64

/* A small range in one word: its address | its pages; 0: none. */
_Static_assert(SMALL_PAGES < PORT_PAGE_SIZE, "a number of pages fits below a page's address");

struct ring {
	uintptr_t range[RING_SIZE];
	unsigned next;
} __attribute__((aligned(PORT_LINE_SIZE)));

struct arena *vaddr_arena;

static struct ring *rings; /* one for each core */
static unsigned waiting;   /* requests that found no addresses and haven't returned yet */

/* How many pages hold `size` bytes; at most as many as fit into SIZE_MAX, which no arena has. */
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
	rings = base_zalloc(
		NULL, pages_of(port_core_max() * sizeof(*rings)) * PORT_PAGE_SIZE, MEM_WAIT);
}

/* Relaxed: a request counts itself before it has ring_empty() run on this core. */
static inline bool is_waited_for(void)
{
	return __builtin_expect(__atomic_load_n(&waiting, __ATOMIC_RELAXED) > 0, 0);
}

/* Puts a range into this core's ring and returns the range whose slot it takes.  While a request
 * waits, returns `range` itself instead. */
static uintptr_t ring_put(uintptr_t range)
{
	port_irq_t irq = port_irq_save();
	struct ring *r = &rings[port_core_id()];
	uintptr_t oldest = range;

	if (!is_waited_for()) {
		uintptr_t *slot = &r->range[r->next++ % RING_SIZE];

		oldest = *slot;
		*slot = range;
	}
	port_irq_restore(irq);
	return oldest;
}

static void small_free(uintptr_t range)
{
	size_t n = range % PORT_PAGE_SIZE;

	if (n > 0)
		arena_free(vaddr_arena, (void *)(range - n), n * PORT_PAGE_SIZE);
}

/* Moves the ranges of this core's ring to to[0 .. RING_SIZE). */
static void ring_empty(void *to)
{
	struct ring *r = &rings[port_core_id()];

	memcpy(to, r->range, sizeof(r->range));
	memset(r->range, 0, sizeof(r->range));
}

void vmap_drain(void)
{
	uintptr_t range[RING_SIZE];

	for (unsigned core = 0; core < port_core_count(); core++) {
		port_core_run(core, ring_empty, range);
		for (size_t i = 0; i < RING_SIZE; i++)
			small_free(range[i]);
	}
}

/* The arena wouldn't check them, since it is first asked with MEM_ATOMIC. */
static void check_flags(unsigned flags, void *caller)
{
	if (flags != MEM_ATOMIC && flags != MEM_WAIT && flags != MEM_ERROR)
		panic("vmap: flags %#x: not exactly one memory flag (called from %pS)", flags,
			caller);
	if (flags == MEM_WAIT)
		sync_check_may_sleep("vmap by MEM_WAIT", caller);
}

static void *range_alloc(size_t n, unsigned flags, void *caller)
{
	unsigned fit = n > SMALL_PAGES ? ARENA_NEXTFIT : 0;
	void *at = NULL;

	check_flags(flags, caller);
	/* A request by MEM_WAIT doesn't overtake those that wait: it goes to the arena's queue. */
	if (!is_waited_for() || !(flags & MEM_WAIT))
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
		small_free(ring_put((uintptr_t)at | n));
}

/* machine_map() takes page tables from the base arena by MEM_ATOMIC.  If it finds none, a caller
 * that may wait gets a page by its own flags, gives it back and tries again. */
static inline bool map_one(char *at, void *page, unsigned flags)
{
	while (__builtin_expect(machine_map((uintptr_t)at, page) != 0, 0)) {
		void *table = flags & MEM_ATOMIC ? NULL : base_alloc(NULL, PORT_PAGE_SIZE, flags);

		if (!table)
			return false;
		base_free(NULL, table, PORT_PAGE_SIZE);
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

/* Unmaps n pages and gives them back to kpages_arena. */
static void pages_free(char *at, size_t n, void *caller)
{
	for (size_t i = 0; i < n; i++)
		arena_free(kpages_arena, unmap_one(at + i * PORT_PAGE_SIZE, caller),
			PORT_PAGE_SIZE);
}

/* Maps a page of kpages_arena at `at`; false, nothing mapped, if there is no memory. */
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
