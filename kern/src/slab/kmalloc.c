/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kmalloc: sizes to caches, and pages beyond.
 */
#include "kmalloc.h"

#include "lib/check.h"
#include "lib/panic.h"
#include "owner.h"
#include "lib/string.h"
#include "slab_impl.h"

/*
 * Classes: 8, 16, ... 64 bytes, then four to a doubling up to KMALLOC_CACHED_MAX, so that no more than a
 * fifth is lost to rounding.  A table leads from a size to its class, over steps of 8 bytes up to a page,
 * and of a quarter of a page, which classes beyond are multiples of, from there on.
 */
#define STEP 8
#define LINEAR_MAX 64
#define DOUBLINGS (PORT_PAGE_SHIFT + 4 - 6) /* 16 pages are 2^4 */
#define CLASSES_MAX (LINEAR_MAX / STEP + 4 * DOUBLINGS)
#define LARGE_STEP (PORT_PAGE_SIZE / 4)
#define PAGE_INDEX (PORT_PAGE_SIZE / STEP)

static struct kmem_cache classes[CLASSES_MAX];
static unsigned class_count;
static struct kmem_cache *class_of[PAGE_INDEX + (KMALLOC_CACHED_MAX - PORT_PAGE_SIZE) / LARGE_STEP + 1];
static size_t cached_end; /* sizes below it come from caches; 0: before kmem_cache_init() */

static inline size_t index_of(size_t size)
{
	return size <= PORT_PAGE_SIZE ? (size + STEP - 1) / STEP :
					PAGE_INDEX + (size - PORT_PAGE_SIZE + LARGE_STEP - 1) / LARGE_STEP;
}

static inline struct kmem_cache *cache_for(size_t size)
{
	return class_of[index_of(size)];
}

/*
 * Larger, or above a page when no slab can be had: whole pages of kpages_arena.  The frame-table entry of
 * the first says how to give them back: how many there are, whether arena_xalloc() handed them out, and
 * how many lie before this one.  Some do when the alignment was made by taking more than was asked for.
 */
#define LARGE_TAG FRAMES_LARGE
#define LARGE_XALLOCATED 4
#define LARGE_LEAD_SHIFT 3
#define LARGE_PAGES_SHIFT 33
#define LARGE_PAGES_MAX (((uintptr_t)1 << 30) - 1)

static size_t large_lead(uintptr_t entry)
{
	return (entry >> LARGE_LEAD_SHIFT & LARGE_PAGES_MAX) * PORT_PAGE_SIZE;
}

static size_t large_total(uintptr_t entry)
{
	return (entry >> LARGE_PAGES_SHIFT) * PORT_PAGE_SIZE;
}

/* From where it begins on. */
static size_t large_size(uintptr_t entry)
{
	return large_total(entry) - large_lead(entry);
}

bool kmalloc_find_large(uintptr_t from, uintptr_t addr, uintptr_t *start, size_t *size)
{
	check_given("kmalloc_find_large", "place for an address", start, __builtin_return_address(0));
	check_given("kmalloc_find_large", "place for a size", size, __builtin_return_address(0));
	for (uintptr_t p = from & -(uintptr_t)PORT_PAGE_SIZE; p <= addr; p += PORT_PAGE_SIZE) {
		uintptr_t entry = frames_get(p);

		*start = p;
		*size = large_size(entry);
		if ((entry & LARGE_TAG) && addr - p < *size)
			return true;
	}
	return false;
}

static struct arena_owner large = ARENA_OWNER("large kmalloc", kpages_arena);
static bool has_zones; /* behind large ones: debug mode full */

static void large_give(uintptr_t p, uintptr_t entry)
{
	void *start = (void *)(p - large_lead(entry));

	arena_owner_sub(&large, kpages_arena, large_total(entry));
	if (entry & LARGE_XALLOCATED)
		arena_xfree(kpages_arena, start, large_total(entry));
	else
		arena_free(kpages_arena, start, large_total(entry));
}

/* A request for whole pages, with an entry of the frame table. */
struct large {
	struct shortage record; /* first */
	size_t size, align;
	uintptr_t got;
};

/* Aligned to more than a page it is just the size; but where arena_xalloc() needs an index that it
 * may not build now, or tags that can't be had, a plain request for `slack` more may be served, in
 * which there is a multiple of `align`. */
static bool large_try(struct shortage *record)
{
	struct large *l = (struct large *)record;
	size_t slack = l->align > PORT_PAGE_SIZE ? l->align - PORT_PAGE_SIZE : 0, size = l->size;
	uintptr_t start = 0, p, entry = LARGE_TAG | LARGE_XALLOCATED;

	if (slack)
		start = (uintptr_t)arena_xalloc(kpages_arena, size, l->align, 0, 0, 0, 0, MEM_ATOMIC);
	if (!start) {
		entry = LARGE_TAG;
		size += slack;
		start = (uintptr_t)arena_alloc(kpages_arena, size, MEM_ATOMIC);
	}
	p = (start + (l->align - 1)) & -l->align;
	entry |= size / PORT_PAGE_SIZE << LARGE_PAGES_SHIFT |
		 (p - start) / PORT_PAGE_SIZE << LARGE_LEAD_SHIFT;
	if (start)
		arena_owner_add(&large, kpages_arena, size);
	if (start && !frames_set(p, 1, entry, MEM_ATOMIC)) {
		large_give(p, entry);
		start = 0;
	}
	l->got = start ? p : 0;
	return start != 0;
}

/* Whole pages for `size` bytes, and a zone behind them. */
static size_t large_pages(size_t size)
{
	size_t pages = size ? (size - 1) / PORT_PAGE_SIZE + 1 : 1;

	return pages + (has_zones && pages * PORT_PAGE_SIZE - size < LARGE_ZONE);
}

/* What an atomic request can't tell, for want of an index, one that may sleep has built first. */
static bool large_build(struct large *l, unsigned flags)
{
	return !(flags & MEM_ATOMIC) && arena_indexes_build(kpages_arena) && large_try(&l->record);
}

/* What it got, with its zone. */
static void *large_ready(const struct large *l, size_t size, void *caller)
{
	if (has_zones)
		slab_large_set(l->got, large_size(frames_get(l->got)), size ? size : 1, caller);
	return (void *)l->got;
}

/* Not in an NMI, which may have landed where the frame table's lock is held. */
static void *large_alloc(size_t size, size_t align, unsigned flags, void *caller)
{
	size_t pages = large_pages(size);
	struct shortage_part parts[] = {
		{kpages_arena, pages * PORT_PAGE_SIZE, pages * PORT_PAGE_SIZE, NULL},
		{base_arena, PORT_PAGE_SIZE, PORT_PAGE_SIZE, NULL},
	};
	struct large l = {
		.record = {.try = large_try, .parts = parts, .part_count = 2, .flags = flags, .caller = caller},
		.size = pages * PORT_PAGE_SIZE,
		.align = align,
	};

	arena_check_flags(kpages_arena, flags, caller);
	if (pages + align / PORT_PAGE_SIZE <= LARGE_PAGES_MAX) {
		if (port_in_nmi())
			return NULL;
		if (large_try(&l.record) || large_build(&l, flags))
			return large_ready(&l, size, caller);
		if ((flags & MEM_ATOMIC) || arena_may_ever_place(kpages_arena, l.size, align))
			return !(flags & MEM_ATOMIC) && shortage_wait(&l.record) ? large_ready(&l, size, caller) :
										   NULL;
	}
	if (flags & MEM_WAIT)
		panic("kmalloc of %zu bytes aligned to %zu by MEM_WAIT: there is no room for them (called from "
		      "%pS)",
			size, align, caller);
	return NULL;
}

static void large_free(void *p, uintptr_t entry, void *caller)
{
	if (port_in_nmi())
		panic("kfree of %p in an NMI (called from %pS)", p, caller);
	if (has_zones) {
		slab_large_check((uintptr_t)p, large_size(entry), "when it was freed", caller);
		port_memory_show(p, large_size(entry));
	}
	leaks_freed(&p, 1);
	frames_clear((uintptr_t)p, 1);
	large_give((uintptr_t)p, entry);
}

/* Has a large one end elsewhere, where it is: at `size` bytes in whole pages.  False, and nothing changed,
 * if what lies behind isn't free, or if there is no memory for the tag of what it would give back. */
static bool large_move_end(uintptr_t p, uintptr_t entry, size_t size)
{
	size_t total = large_total(entry), lead = large_lead(entry);
	size_t pages = lead / PORT_PAGE_SIZE + large_pages(size), wanted = pages * PORT_PAGE_SIZE;
	bool resized = true;

	if (pages > LARGE_PAGES_MAX || port_in_nmi())
		return false;
	if (wanted > total) {
		resized = arena_segment_grow(kpages_arena, p - lead, total, wanted - total);
		if (resized)
			arena_owner_add(&large, kpages_arena, wanted - total);
	} else if (wanted < total) {
		resized = arena_segment_trim(kpages_arena, p - lead, total, total - wanted);
		if (resized)
			arena_owner_sub(&large, kpages_arena, total - wanted);
	}
	if (resized)
		frames_change(p, (entry & (((uintptr_t)1 << LARGE_PAGES_SHIFT) - 1)) |
					 pages << LARGE_PAGES_SHIFT);
	return resized;
}

/* The same, and its zone with it. */
static bool large_resize(uintptr_t p, uintptr_t entry, size_t size, void *caller)
{
	size_t before;
	bool resized;

	if (!has_zones)
		return large_move_end(p, entry, size);
	before = slab_large_size(p, large_size(entry));
	slab_large_check(p, large_size(entry), "when it was given another size", caller);
	port_memory_show((void *)p, large_size(entry));
	resized = large_move_end(p, entry, size);
	slab_large_set(p, large_size(frames_get(p)), resized ? size : before, caller);
	return resized;
}

static bool is_power_of_two(size_t n)
{
	return n && (n & (n - 1)) == 0;
}

/* Of a sample the bytes behind what was asked for, at least one, have its pattern, in mode full they are a zone. */
static void *note_size(struct kmem_cache *c, void *p, size_t size)
{
	if (sample_may_be(p) && sample_has(p))
		sample_resize(p, size ? size : 1);
	else if (c->debug && p)
		slab_debug_resize(c, p, size ? size : 1);
	return p;
}

/* Past this core's magazine.  Above a page only whole pages are slept for. */
static void *class_alloc_slow(
	struct kmem_cache *c, size_t size, size_t align, unsigned flags, void *caller)
{
	void *p;

	if (c->obj_size <= PORT_PAGE_SIZE)
		return note_size(c, kmem_alloc_slow(c, flags, caller), size);
	kmem_check_flags(c, flags, caller);
	p = note_size(c, kmem_alloc_slow(c, MEM_ATOMIC, caller), size);
	return p ? p : large_alloc(size, align, flags, caller);
}

static void check_ready(void *caller)
{
	if (cached_end == 0)
		panic("kmalloc before kmem_cache_init (called from %pS)", caller);
}

/* Out of line, as free_slow() is, so that the hot paths need no frame (kmalloc_pair_64). */
static __attribute__((noinline)) void *alloc_slow(size_t size, unsigned flags, void *caller)
{
	size_t align = is_power_of_two(size) ? size : 1;

	check_ready(caller);
	if (size >= cached_end)
		return large_alloc(size, align, flags, caller);
	return class_alloc_slow(cache_for(size), size, align, flags, caller);
}

/* The one call that isn't hot stands last, so that the hot path needs no frame. */
void *kmalloc(size_t size, unsigned flags)
{
	if (__builtin_expect(size < cached_end && kmem_flags_sound(flags), 1)) {
		void *p = kmem_alloc_hot(cache_for(size));

		if (__builtin_expect(p != NULL, 1))
			return p;
	}
	return alloc_slow(size, flags, __builtin_return_address(0));
}

/* The same for another caller, which kmalloc() has no register to spare for (kmalloc_pair_64). */
static void *alloc_from(size_t size, unsigned flags, void *caller)
{
	void *p = size < cached_end && kmem_flags_sound(flags) ? kmem_alloc_hot(cache_for(size)) :
									   NULL;

	return p ? p : alloc_slow(size, flags, caller);
}

static void *zalloc_from(size_t size, unsigned flags, void *caller)
{
	void *p = alloc_from(size, flags, caller);

	return p ? memset(p, 0, size) : NULL;
}

void *kzalloc(size_t size, unsigned flags)
{
	return zalloc_from(size, flags, __builtin_return_address(0));
}

void *kmalloc_array(size_t n, size_t size, unsigned flags)
{
	void *caller = __builtin_return_address(0);
	size_t bytes;

	if (!__builtin_mul_overflow(n, size, &bytes))
		return zalloc_from(bytes, flags, caller);
	arena_check_flags(kpages_arena, flags, caller);
	if (flags & MEM_WAIT)
		panic("kmalloc of %zu times %zu bytes by MEM_WAIT: there is no room for them (called from %pS)",
			n, size, caller);
	return NULL;
}

/* Up to a page the first class, from that of the size on, whose objects have the alignment; beyond it, whole
 * pages, which are no more than the size needs. */
void *kmalloc_align(size_t size, size_t align, unsigned flags)
{
	void *caller = __builtin_return_address(0), *p;
	struct kmem_cache *c = size < cached_end ? cache_for(size) : NULL;

	if (!is_power_of_two(align))
		panic("kmalloc: alignment %zu is no power of two (called from %pS)", align, caller);
	check_ready(caller);
	if (!c || (align > PORT_PAGE_SIZE && align > c->align))
		return large_alloc(size, align, flags, caller);
	while (c->align < align)
		c++;
	p = kmem_flags_sound(flags) ? kmem_alloc_hot(c) : NULL;
	return p ? p : class_alloc_slow(c, size, align, flags, caller);
}

/* The cache that p is an object of, a sample if *entry is 0; NULL if *entry is that of a large one.  Panics on all
 * else. */
static struct kmem_cache *class_at(const void *p, uintptr_t *entry, const char *what, void *caller)
{
	uintptr_t e = *entry = frames_get((uintptr_t)p);

	if (e & FRAMES_KMALLOC)
		return ((struct slab *)(e - FRAMES_KMALLOC))->cache;
	if (!e && sample_has(p))
		return sample_cache(p, what, caller);
	if (e && !(e & LARGE_TAG))
		kmem_bug_at(slab_of(e)->cache, (uintptr_t)p,
			"%s of %p, which belongs to cache %s: no memory of kmalloc's (called from %pS)", what, p,
			slab_of(e)->cache->name, caller);
	if (!e || (uintptr_t)p % PORT_PAGE_SIZE)
		panic("%s of %p, which is no memory of kmalloc's (called from %pS)", what, p, caller);
	return NULL;
}

/* Also of an object in RAM that came after boot, which may yet fit into the core's magazine. */
static __attribute__((noinline)) void free_slow(void *p, void *caller)
{
	struct kmem_cache *c;
	uintptr_t entry;

	if (!p)
		return;
	c = class_at(p, &entry, "kfree", caller);
	if (c && (!entry || !kmem_free_hot(c, p)))
		kmem_free_slow(c, p, caller);
	else if (!c)
		large_free(p, entry, caller);
}

/* NULL has no entry, like whatever isn't kmalloc's.  A call to look in RAM that came later would need
 * a frame (kmalloc_pair_64), so that is left to free_slow(). */
void kfree(void *p)
{
	uintptr_t e = frames_get_early((uintptr_t)p);

	if (__builtin_expect(e & FRAMES_KMALLOC, 1)) {
		struct kmem_cache *c = ((struct slab *)(e - FRAMES_KMALLOC))->cache;

		if (SPANDREL_DEBUG)
			kmem_check_free(c, p, __builtin_return_address(0));
		if (__builtin_expect(kmem_free_hot(c, p), 1))
			return;
	}
	free_slow(p, __builtin_return_address(0));
}

/* In a debug mode no object rests in a magazine, so what is free is known to be. */
static void check_allocated(struct kmem_cache *c, const void *p, const char *what, void *caller)
{
	struct kmem_object o;

	if (__atomic_load_n(&c->slow_modes, __ATOMIC_RELAXED) > 0 && !port_in_nmi() &&
		kmem_cache_find(c, (uintptr_t)p, &o) && o.is_free)
		kmem_bug_at(c, (uintptr_t)p,
			"cache %s: %s of %p, which is not allocated (freed before?) (called from %pS)", c->name, what,
			p, caller);
}

/* *entry is what class_at() finds. */
static size_t size_of(const void *p, uintptr_t *entry, const char *what, void *caller)
{
	struct kmem_cache *c = class_at(p, entry, what, caller);

	if (!c)
		return has_zones ? slab_large_size((uintptr_t)p, large_size(*entry)) : large_size(*entry);
	if (!*entry)
		return sample_size(p);
	if (((uintptr_t)p - ((struct slab *)(*entry - FRAMES_KMALLOC))->base) % c->stride)
		panic("%s of %p, which is inside an object of %s (called from %pS)", what, p, c->name, caller);
	check_allocated(c, p, what, caller);
	return c->debug ? slab_debug_size(c, p) : c->obj_size;
}

size_t ksize(const void *p)
{
	uintptr_t entry;

	return size_of(p, &entry, "ksize", __builtin_return_address(0));
}

/* It stays where it is. */
static void *resized(void *p, uintptr_t entry, size_t size, void *caller)
{
	if (!entry)
		return note_size(NULL, p, size);
	if (entry & FRAMES_KMALLOC)
		return note_size(((struct slab *)(entry - FRAMES_KMALLOC))->cache, p, size);
	if (has_zones)
		slab_large_set((uintptr_t)p, large_size(entry), size, caller);
	return p;
}

/* In place while no more than half would be wasted, and where memory for less can't be had at once; between
 * large sizes also where it can end elsewhere. */
void *krealloc(void *p, size_t size, unsigned flags)
{
	void *caller = __builtin_return_address(0), *to;
	uintptr_t entry = 0;
	size_t has = p ? size_of(p, &entry, "krealloc", caller) : 0;

	arena_check_flags(kpages_arena, flags, caller);
	if (size == 0) {
		free_slow(p, caller);
		return NULL;
	}
	if ((entry & LARGE_TAG) && size > KMALLOC_CACHED_MAX && large_resize((uintptr_t)p, entry, size, caller))
		return p;
	if (size <= has && size >= has / 2)
		return resized(p, entry, size, caller);
	to = alloc_from(size, size <= has ? MEM_ATOMIC : flags, caller);
	if (!to)
		return size <= has ? resized(p, entry, size, caller) : NULL;
	if (p) {
		memcpy(to, p, size < has ? size : has);
		free_slow(p, caller);
	}
	return to;
}

/* The start of it all */

/* The class behind one of `size` bytes. */
static size_t class_next(size_t size)
{
	size_t top = (size_t)1 << (63 - __builtin_clzll(size));

	return size < LINEAR_MAX ? size + STEP : size + top / 4;
}

static void kmalloc_init(void)
{
	char name[KMEM_NAME_MAX];
	size_t below = 0;

	for (size_t size = STEP; size <= KMALLOC_CACHED_MAX; size = class_next(size)) {
		ksnprintf(name, sizeof(name), "kmalloc-%zu", size);
		if (!slab_create_own(&classes[class_count], name, size, KMC_KMALLOC, kpages_arena))
			panic("kmalloc: no memory for its caches");
		for (; below <= index_of(size); below++)
			class_of[below] = &classes[class_count];
		class_count++;
	}
}

/* The ends of the base arena's spans. */
static bool note_ends(const struct arena_segment *s, void *arg)
{
	uintptr_t *ends = arg;

	if (s->start < ends[0])
		ends[0] = s->start;
	if (s->start + (s->size - 1) > ends[1])
		ends[1] = s->start + (s->size - 1);
	return true;
}

static void reap_all(void)
{
	kmem_reap_all(KMEM_REAP_ALL);
}

/* What must stand, and what mustn't yet. */
static void check_init(void *caller)
{
	if (!base_arena || !kpages_arena)
		panic("kmem_cache_init before %s (called from %pS)", base_arena ? "kpages_arena" : "base_arena", caller);
	if (cached_end > 0)
		panic("kmem_cache_init again (called from %pS)", caller);
}

void kmem_cache_init(void)
{
	uintptr_t ends[2] = {UINTPTR_MAX, 0};

	check_init(__builtin_return_address(0));
	arena_walk(base_arena, note_ends, ends);
	frames_init(ends[0], ends[1]);
	slab_init();
	has_zones = slab_large_has_zones();
	qcache_init();
	kmalloc_init();
	cached_end = KMALLOC_CACHED_MAX + 1;
	arena_reap_caches = reap_all;
}
