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
 * A ring is touched only by its core, with interrupts off.  While addresses are short
 * (shortage_is_short), no ring takes any: an unmapped range goes back to the arena at once.  What
 * rings hold then, reclaim takes out through the arena's callback, on each ring's core.  A core reads
 * whether they are short before it puts a range into its ring, so no ring keeps one during the wait.
 *
 * Each page is mapped with a mark: whether vmap() or vmalloc() mapped it, and whether it is the first
 * or the last of its mapping.  So the entries of the pages tell exactly which mappings there are.
 * Taking one down looks at all its pages, then unmaps the first, which only one caller can; the
 * others are that caller's from then on.  Ranges of other owners have other marks (stacks: 0).
 *
 * A request that sleeps is one record, which wants all it needs at once: addresses, pages and page
 * tables.
 */
#include "vmap.h"

#include "lib/panic.h"
#include "lib/string.h"
#include "machine.h"
#include "owner.h"
#include "port.h"
#include "shortage.h"
#include "sync.h"

#define SMALL_PAGES 8 /* a small range has at most this many */
#define RING_SIZE 64

/* A small range in one word: its address | its pages; 0: none. */
_Static_assert(SMALL_PAGES < PORT_PAGE_SIZE, "a number of pages fits below a page's address");

struct ring {
	uintptr_t range[RING_SIZE];
	unsigned next;
} __attribute__((aligned(PORT_LINE_SIZE)));

/* A page's mark. */
#define MARK_FIRST 1u
#define MARK_LAST 2u
#define MARK_VMAP 4u
#define MARK_VMALLOC 8u
_Static_assert(MARK_VMALLOC + MARK_VMAP <= MACHINE_MARKS, "marks");

struct arena *vaddr_arena;

static struct ring *rings; /* one for each core */
static size_t pages_max;   /* that there are addresses for */
static struct arena_owner rings_owner = ARENA_OWNER("vmap rings", base_arena);
static struct arena_owner vmalloced = ARENA_OWNER("vmalloc", kpages_arena);

/* How many pages hold `size` bytes; at most as many as fit into SIZE_MAX, which no arena has. */
static size_t pages_of(size_t size)
{
	size_t whole = size / PORT_PAGE_SIZE;

	return whole < SIZE_MAX / PORT_PAGE_SIZE && size % PORT_PAGE_SIZE ? whole + 1 : whole;
}

/* Puts a range into this core's ring and returns the range whose slot it takes.  While addresses
 * are short, returns `range` itself instead. */
static uintptr_t ring_put(uintptr_t range)
{
	port_irq_t irq = port_irq_save();
	struct ring *r = &rings[port_core_id()];
	uintptr_t oldest = range;

	if (!__builtin_expect(shortage_is_short(vaddr_arena), 0)) {
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

	sync_check_irq_on("vmap_drain", __builtin_return_address(0));
	for (unsigned core = 0; core < port_core_count(); core++) {
		port_core_run(core, ring_empty, range);
		for (size_t i = 0; i < RING_SIZE; i++)
			small_free(range[i]);
	}
}

/* The arena's callback. */
static size_t give_resting(void *priv, size_t units)
{
	vmap_drain();
	return 0;
}

void vmap_init(void)
{
	uintptr_t start;
	size_t size;

	machine_va_range(&start, &size);
	pages_max = size / PORT_PAGE_SIZE;
	vaddr_arena = arena_create("vaddr", (void *)start, size, PORT_PAGE_SIZE, NULL, NULL, NULL,
		SMALL_PAGES * PORT_PAGE_SIZE, MEM_WAIT);
	size = pages_of(port_core_max() * sizeof(*rings)) * PORT_PAGE_SIZE;
	rings = base_zalloc(NULL, size, MEM_WAIT);
	arena_owner_add_block(&rings_owner, base_arena, rings, size);
	arena_set_reclaim(vaddr_arena, give_resting, NULL);
}

static inline bool is_request_sound(size_t n, unsigned flags)
{
	return n - 1 < pages_max &&
	       (flags == MEM_WAIT || ((flags == MEM_ATOMIC || flags == MEM_ERROR) && port_may_sleep()));
}

/* Panics unless a request that isn't sound is at least one that may be refused: for more pages than
 * there are addresses, by a flag that lets it fail.  The arena wouldn't look at the flags, since it is
 * first asked with MEM_ATOMIC. */
static __attribute__((noinline, cold)) void check_refused(
	const char *call, size_t n, unsigned flags, void *caller)
{
	sync_check_irq_on(call, caller);
	if (flags != MEM_ATOMIC && flags != MEM_WAIT && flags != MEM_ERROR)
		panic("%s: flags %#x: not exactly one memory flag (called from %pS)", call, flags,
			caller);
	if (n == 0)
		panic("%s of size 0 (called from %pS)", call, caller);
	if (flags == MEM_WAIT)
		panic("%s of %zu pages by MEM_WAIT: there are addresses for %zu (called from %pS)",
			call, n, pages_max, caller);
}

/* Panics if that is why nothing could be mapped. */
static void check_pages(void *const *pages, size_t n, void *caller)
{
	for (size_t i = 0; i < n; i++) {
		if (!machine_is_direct_page(pages[i]))
			panic("vmap of %zu pages: %p is no page of RAM (called from %pS)", n, pages[i],
				caller);
	}
}

static inline void *range_alloc(size_t n)
{
	unsigned fit = n > SMALL_PAGES ? ARENA_NEXTFIT : 0;

	return arena_alloc(vaddr_arena, n * PORT_PAGE_SIZE, MEM_ATOMIC | fit);
}

static void range_free(void *at, size_t n)
{
	if (n > SMALL_PAGES)
		arena_free(vaddr_arena, at, n * PORT_PAGE_SIZE);
	else
		small_free(ring_put((uintptr_t)at | n));
}

/* A mapping that is wanted, all of it or nothing. */
struct wanted {
	struct shortage record; /* first */
	void *const *pages; /* NULL: pages of kpages_arena */
	size_t n;
	char *at;
};

static unsigned mark_of(unsigned kind, size_t i, size_t n)
{
	return kind | (i == 0 ? MARK_FIRST : 0) | (i == n - 1 ? MARK_LAST : 0);
}

static unsigned wanted_mark(const struct wanted *w, size_t i)
{
	return mark_of(w->pages ? MARK_VMAP : MARK_VMALLOC, i, w->n);
}

/* Unmaps pages [0, n); those of kpages_arena go back. */
static void take_down(const struct wanted *w, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		void *page = machine_unmap_marked(
			(uintptr_t)w->at + i * PORT_PAGE_SIZE, wanted_mark(w, i));

		if (!w->pages)
			arena_free(kpages_arena, page, PORT_PAGE_SIZE);
	}
}

static inline bool map_next(const struct wanted *w, size_t i)
{
	void *page = w->pages ? w->pages[i] : arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_ATOMIC);
	uintptr_t at = (uintptr_t)w->at + i * PORT_PAGE_SIZE;

	if (page && machine_map_marked(at, page, wanted_mark(w, i)) == 0)
		return true;
	if (page && !w->pages)
		arena_free(kpages_arena, page, PORT_PAGE_SIZE);
	return false;
}

/* Atomically. */
static bool map_all(struct wanted *w)
{
	size_t i = 0;

	w->at = range_alloc(w->n);
	while (w->at && i < w->n && map_next(w, i))
		i++;
	if (w->at && i < w->n) {
		take_down(w, i);
		range_free(w->at, w->n);
		w->at = NULL;
	}
	return w->at != NULL;
}

static bool try_mapping(struct shortage *record)
{
	struct wanted *w = (struct wanted *)record;

	if (!w->pages && shortage_chain_free(kpages_arena) / PORT_PAGE_SIZE < w->n)
		return false;
	return map_all(w);
}

/* Pages that page tables for n pages take at most: of the lowest level, and one of each above. */
static size_t tables_for(size_t n)
{
	return (n / (PORT_PAGE_SIZE / sizeof(uint64_t)) + 4) * PORT_PAGE_SIZE;
}

/* Sleeps, by flag, until all of it is there. */
static __attribute__((noinline)) void *map_later(struct wanted *w, unsigned flags, void *caller)
{
	size_t bytes = w->n * PORT_PAGE_SIZE;
	struct shortage_part parts[] = {
		{vaddr_arena, bytes, bytes, NULL},
		{base_arena, PORT_PAGE_SIZE, tables_for(w->n), NULL},
		{kpages_arena, PORT_PAGE_SIZE, bytes, NULL},
	};

	if (flags == MEM_ATOMIC)
		return NULL;
	if (flags == MEM_WAIT && !w->pages && bytes > arena_amt_total(base_arena))
		panic("vmalloc of %zu pages by MEM_WAIT: there are %zu (called from %pS)", w->n,
			arena_amt_total(base_arena) / PORT_PAGE_SIZE, caller);
	w->record.try = try_mapping;
	w->record.parts = parts;
	w->record.part_count = w->pages ? 2 : 3;
	w->record.flags = flags;
	w->record.caller = caller;
	return shortage_wait(&w->record) ? w->at : NULL;
}

/* Out of line, so that vmap() saves few registers (vmap_pair). */
static __attribute__((noinline)) void *vmap_later(
	void *const *pages, size_t n, unsigned flags, void *caller)
{
	struct wanted w = {.pages = pages, .n = n};

	check_pages(pages, n, caller);
	return map_later(&w, flags, caller);
}

void *vmap(void *const *pages, size_t n, unsigned flags)
{
	struct wanted w;

	if (__builtin_expect(!is_request_sound(n, flags), 0)) {
		check_refused("vmap", n, flags, __builtin_return_address(0));
		return NULL;
	}
	if (flags == MEM_WAIT)
		sync_check_may_sleep("vmap", __builtin_return_address(0));
	if (!pages)
		panic("vmap of %zu pages of a list at NULL (called from %pS)", n,
			__builtin_return_address(0));
	w.pages = pages;
	w.n = n;
	if (__builtin_expect(map_all(&w), 1))
		return w.at;
	return vmap_later(pages, n, flags, __builtin_return_address(0));
}

const char *vmap_kind(uintptr_t at)
{
	int mark = machine_mark(at & -(uintptr_t)PORT_PAGE_SIZE);

	if (mark < 0 || !(mark & (MARK_VMAP | MARK_VMALLOC)))
		return NULL;
	return mark & MARK_VMAP ? "vmap" : "vmalloc";
}

/* The pages of the mapping whose first page is at `at`. */
static size_t mapping_pages(uintptr_t at)
{
	size_t n = 1;

	while (!(machine_mark(at + (n - 1) * PORT_PAGE_SIZE) & MARK_LAST))
		n++;
	return n;
}

/* Panics: there is no mapping of this kind that has n pages at `at`. */
static __attribute__((noinline, cold, noreturn)) void refuse(
	const char *call, uintptr_t at, size_t n, unsigned kind, void *caller)
{
	int mark = machine_mark(at);
	char why[64];

	if (at == 0)
		ksnprintf(why, sizeof(why), "that is NULL");
	else if (at % PORT_PAGE_SIZE)
		ksnprintf(why, sizeof(why), "that is inside a page");
	else if (mark < 0)
		ksnprintf(why, sizeof(why), "nothing is mapped there");
	else if (!(mark & (MARK_VMAP | MARK_VMALLOC)))
		ksnprintf(why, sizeof(why), "that is neither vmap()'s nor vmalloc()'s");
	else if (!((unsigned)mark & kind))
		ksnprintf(why, sizeof(why), "that is %s's", mark & MARK_VMAP ? "vmap()" : "vmalloc()");
	else if (!(mark & MARK_FIRST))
		ksnprintf(why, sizeof(why), "that is inside a mapping");
	else
		ksnprintf(why, sizeof(why), "the mapping has %zu", mapping_pages(at));
	panic("%s of %zu pages at %p: %s (called from %pS)", call, n, (void *)at, why, caller);
}

/* Whether pages [1, n) at `at` are those of such a mapping. */
static __attribute__((noinline)) bool others_match(uintptr_t at, size_t n, unsigned kind)
{
	size_t i = 1;

	while (i < n && machine_mark(at + i * PORT_PAGE_SIZE) == (int)mark_of(kind, i, n))
		i++;
	return i == n;
}

/* Unmaps the first of a mapping's n pages and returns it; NULL, with nothing changed, unless there is
 * a mapping of this kind with n pages at `at`. */
static inline void *first_unmap(void *at, size_t n, unsigned kind)
{
	if (n != 1 && !others_match((uintptr_t)at, n, kind))
		return NULL;
	return machine_unmap_marked((uintptr_t)at, mark_of(kind, 0, n));
}

static void *next_unmap(void *at, size_t i, size_t n, unsigned kind)
{
	return machine_unmap_marked((uintptr_t)at + i * PORT_PAGE_SIZE, mark_of(kind, i, n));
}

/* Out of line, so that vunmap() of one page saves few registers (vmap_pair). */
static __attribute__((noinline)) void others_unmap(void *at, size_t n)
{
	for (size_t i = 1; i < n; i++)
		next_unmap(at, i, n, MARK_VMAP);
}

void vunmap(void *at, size_t n)
{
	if (__builtin_expect(!first_unmap(at, n, MARK_VMAP), 0))
		refuse("vunmap", (uintptr_t)at, n, MARK_VMAP, __builtin_return_address(0));
	if (n > 1)
		others_unmap(at, n);
	range_free(at, n);
}

void *vmalloc(size_t size, unsigned flags)
{
	void *caller = __builtin_return_address(0);
	struct wanted w = {.n = pages_of(size)};

	if (!is_request_sound(w.n, flags)) {
		check_refused("vmalloc", w.n, flags, caller);
		return NULL;
	}
	if (flags == MEM_WAIT)
		sync_check_may_sleep("vmalloc", caller);
	if (!map_all(&w) && !map_later(&w, flags, caller))
		return NULL;
	arena_owner_add(&vmalloced, kpages_arena, w.n * PORT_PAGE_SIZE);
	return w.at;
}

void vfree(void *at, size_t size)
{
	size_t n = pages_of(size);
	void *page = first_unmap(at, n, MARK_VMALLOC);

	if (!page)
		refuse("vfree", (uintptr_t)at, n, MARK_VMALLOC, __builtin_return_address(0));
	arena_owner_sub(&vmalloced, kpages_arena, n * PORT_PAGE_SIZE);
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
	for (size_t i = 1; i < n; i++)
		arena_free(kpages_arena, next_unmap(at, i, n, MARK_VMALLOC), PORT_PAGE_SIZE);
	range_free(at, n);
}
