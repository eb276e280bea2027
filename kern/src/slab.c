/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: the slab layer.
 *
 * CONCEPTS
 *
 * A cache hands out objects of one size.  It cuts them out of slabs, each a piece [base, base +
 * slab_size) of its source arena.  An object is in one of three places: free in the slab layer,
 * raw; laid up in a magazine, constructed; or live, in a caller's hands.
 *
 *	caller  <->  loaded, previous  <->  depot: full, empty  <->  slab layer  <->  source arena
 *	             one core's             all cores'               raw objects      slabs
 *
 * A magazine is a stack of objects.  Each core has two of each cache, so that a core that allocates and
 * frees around the edge of one doesn't go to the depot each time; the depot exchanges full ones and empty
 * ones.  (Bonwick and Adams, "Magazines and Vmem", USENIX 2001.)  A quantum cache is a cache whose source
 * is the very arena that it fronts.
 *
 * REPRESENTATION
 *
 * A slab's header holds a bit for each object, set while the object is free in the slab layer.
 * Nothing is written into objects.  The header lies at the end of the slab (is_inside) where
 * objects are memory that may be touched and that wastes least; else it is an object of the cache
 * slab_headers.
 *
 * Slabs are in lists by how full they are, so that objects come from the fullest and the others
 * become empty: SLAB_PARTIALS lists of those partly free, one of the empty ones; full ones are in
 * none.  All slabs, full ones too, are in one more list, in which walks keep their place by a
 * header of no cache.
 *
 * From an object to its slab leads the page frame table (frames.h), where slabs are whole pages of
 * the direct map; else the cache's own hash (slab_hash.c).  Which object of its slab it is, is a
 * shift, or a multiplication by the inverse of the stride.
 *
 * A core's loaded magazine is a struct port_stack (port.h), on which the hot path (slab_impl.h)
 * pushes and pops in one step.  A closed stack is empty and full at once: whoever changes a core's
 * magazines closes it first, so that an interrupt or NMI in the middle goes the slow way; NMIs
 * touch nothing but an open stack.
 *
 * The module's own objects (headers, magazines, cores' parts, caches) come from caches without
 * magazines, straight over base_arena: making a slab for one needs no other of them, so nothing
 * recurs.
 *
 * INVARIANTS (kmem_cache_check names the one that fails)
 *
 *  1. A slab's map has as many bits as it has free objects, none beyond the last object, none below
 *     hint.
 *  2. A slab is in the list of its fullness; a full one in none.
 *  3. Every address of a slab leads to its header, and the header to its cache.
 *  4. slabs, slabs_empty and objects_free are the sums over the list of all slabs.
 *  5. There are slabs for the objects that are reserved.
 *  6. The depot's magazines are full in one list and empty in the other, as many as it counts.
 *
 * LOCKING
 *
 *	arenas_and_slabs_lock -> depot, slab layer
 *
 * Neither the depot's nor the slab layer's lock is held while the other, or an arena's, is taken,
 * nor while the source, a constructor or a destructor runs.  A core's magazines need no lock: only
 * that core, with interrupts off, or one that stopped it at a safe point, touches them.  A caller's
 * bug is reported with every lock released.  Finding an object through the frame table takes no
 * lock: whoever holds an object keeps its slab.
 *
 * A cache marked slow has every core's stack closed, and the slow way passes magazines by.
 *
 * COST
 *
 * Hot: a dozen instructions and a half each way, interrupts left on.  A depot trip is one lock for
 * a magazine's worth.  The slab layer moves at most SLAB_STEP objects for each lock hold: a run of
 * bits at a time out, a bit each in.  A slab is made and unmade with no lock held, in time linear
 * in its pages and its map; it wastes a sixteenth at most (slab_create.c).
 *
 * QUESTIONS
 *
 * Why bitmaps, when a list through the free objects costs nothing?  Objects may be IDs, or memory
 * that nobody may touch; constructed state stays whole; and a double free shows at once.
 *
 * Why does freeing never need memory?  A free that finds no magazine with room asks for one
 * atomically, and without it goes to the slab layer, which sets a bit.
 *
 * Where does an object of a quantum cache go that lies in no slab?  The arena served it when no
 * slab could be had, so the arena takes it back, or panics.
 */
#include "lib/bitmap.h"
#include "lib/panic.h"
#include "slab/slab_impl.h"

#define unlikely(x) __builtin_expect(!!(x), 0)

/* Empty slabs are kept: one, and one more for each SLAB_EMPTY_SHARE there are, so that a cache that
 * breathes doesn't go to its source each time. */
#define SLAB_EMPTY_SHARE 8

/* Places */

static void slab_move(struct kmem_cache *c, struct slab *s, unsigned place)
{
	list_del(&s->link);
	if (place != SLAB_FULL)
		list_add(&c->partial[place], &s->link);
	s->place = (uint16_t)place;
}

/* Puts a slab of which more is free than fits its place where it belongs.  Lock held. */
static __attribute__((noinline)) void slab_rise(struct kmem_cache *c, struct slab *s)
{
	unsigned place = s->place;

	do
		place++;
	while (s->free > c->place_last[place]);
	c->slabs_empty += place == SLAB_EMPTY;
	slab_move(c, s, place);
}

/* The same where less is free.  Lock held. */
static void slab_sink(struct kmem_cache *c, struct slab *s)
{
	unsigned place = s->place;

	c->slabs_empty -= place == SLAB_EMPTY;
	do
		place--;
	while (place > SLAB_FULL && s->free <= c->place_last[place - 1]);
	slab_move(c, s, place);
}

/* The fullest slab that has a free object, or NULL.  Lock held. */
static struct slab *slab_pick(struct kmem_cache *c)
{
	for (unsigned place = SLAB_FULL + 1; place <= SLAB_EMPTY; place++)
		if (!list_empty(&c->partial[place]))
			return list_first_entry(&c->partial[place], struct slab, link);
	return NULL;
}

/* Making and unmaking slabs */

static size_t pages_of(const struct kmem_cache *c)
{
	return c->slab_size / PORT_PAGE_SIZE;
}

/* Whoever waits does so in slab_wait.c, not here; but who may builds the indexes it takes. */
static void *source_alloc(struct kmem_cache *c, unsigned flags)
{
	void *base;

	do
		base = c->flags & KMC_QCACHE ? arena_segment_alloc(c->source, c->slab_size) :
					       arena_alloc(c->source, c->slab_size, MEM_ATOMIC);
	while (!base && !(flags & MEM_ATOMIC) && arena_indexes_build(c->source));
	return base;
}

static void source_free(struct kmem_cache *c, uintptr_t base)
{
	if (c->flags & KMC_QCACHE)
		arena_segment_free(c->source, (void *)base, c->slab_size, __builtin_return_address(0));
	else
		arena_free(c->source, (void *)base, c->slab_size);
}

static struct slab *header_inside(const struct kmem_cache *c, uintptr_t base)
{
	size_t size = sizeof(struct slab) + BITMAP_WORDS(c->slab_objects) * sizeof(uint64_t);

	return (struct slab *)(base + c->slab_size - size);
}

static struct slab *header_alloc(struct kmem_cache *c)
{
	struct slab_outside *o = slab_meta_alloc(&slab_headers);

	return o ? &o->slab : NULL;
}

static void header_free(struct slab *s)
{
	slab_meta_free(&slab_headers, container_of(s, struct slab_outside, slab));
}

static void header_init(struct kmem_cache *c, struct slab *s, uintptr_t base)
{
	list_init(&s->link);
	list_init(&s->all_link);
	s->cache = c;
	s->base = base;
	s->free = c->slab_objects;
	s->place = SLAB_FULL; /* in no list yet */
	s->hint = 0;
	for (size_t w = 0; w < BITMAP_WORDS(c->slab_objects); w++) {
		size_t left = c->slab_objects - w * 64;

		s->map[w] = left >= 64 ? UINT64_MAX : ((uint64_t)1 << left) - 1;
	}
}

static uintptr_t entry_of(const struct kmem_cache *c, const struct slab *s)
{
	return (uintptr_t)s | (c->flags & KMC_KMALLOC ? FRAMES_KMALLOC : 0);
}

/* A new slab that nobody knows, or NULL.  No lock held. */
static struct slab *slab_make(struct kmem_cache *c, unsigned flags)
{
	struct slab *s = c->is_inside ? NULL : header_alloc(c);
	uintptr_t base;

	if (!s && !c->is_inside)
		return NULL;
	base = (uintptr_t)source_alloc(c, flags);
	if (base && c->is_inside)
		s = header_inside(c, base);
	if (base && (!c->is_frames || frames_set(base, pages_of(c), entry_of(c, s), MEM_ATOMIC))) {
		header_init(c, s, base);
		return s;
	}
	if (base)
		source_free(c, base);
	if (!c->is_inside)
		header_free(s);
	return NULL;
}

/* The reverse, for a slab that nobody knows any more. */
static void slab_unmake(struct kmem_cache *c, struct slab *s)
{
	uintptr_t base = s->base;

	if (c->is_frames)
		frames_clear(base, pages_of(c));
	if (!c->is_inside)
		header_free(s);
	source_free(c, base);
}

/* Lock held. */
static inline void free_add(struct kmem_cache *c, size_t n)
{
	__atomic_store_n(&c->objects_free, c->objects_free + n, __ATOMIC_RELAXED);
	c->changes++;
}

/* The slab's entries in the hash: for its first block and, if it ends in the next one, for that.
 * Lock held. */
static void hash_enter(struct kmem_cache *c, struct slab *s)
{
	struct slab_outside *o = container_of(s, struct slab_outside, slab);
	uintptr_t last = (s->base + (c->slab_size - 1)) >> c->block_shift;

	for (uintptr_t block = s->base >> c->block_shift; block <= last; block++) {
		o->links[block % 2].key = block;
		linear_hash_insert(&c->hash, &o->links[block % 2]);
	}
}

static void hash_leave(struct kmem_cache *c, struct slab *s)
{
	struct slab_outside *o = container_of(s, struct slab_outside, slab);
	uintptr_t last = (s->base + (c->slab_size - 1)) >> c->block_shift;

	for (uintptr_t block = s->base >> c->block_shift; block <= last; block++) {
		struct hash_link **at = linear_hash_chain(&c->hash, block);

		while (*at != &o->links[block % 2])
			at = &(*at)->next;
		linear_hash_remove(&c->hash, at);
	}
}

/* Makes a new slab one of the cache's.  Lock held. */
static void slab_enter(struct kmem_cache *c, struct slab *s)
{
	if (!c->is_frames)
		hash_enter(c, s);
	list_add_tail(&c->all, &s->all_link);
	c->slabs++;
	free_add(c, c->slab_objects);
	c->grows++;
	slab_rise(c, s);
}

/* The reverse, for an empty slab.  Lock held. */
static void slab_leave(struct kmem_cache *c, struct slab *s)
{
	list_del(&s->link);
	list_del(&s->all_link);
	c->slabs--;
	c->slabs_empty--;
	free_add(c, -(size_t)c->slab_objects);
	c->shrinks++;
	if (!c->is_frames)
		hash_leave(c, s);
}

/* The pages of the hash's directory come and go one at a time, with no lock held.  A page that the
 * base arena can't give is asked for again by the next slab.  Spare ones beyond `keep` go back. */
static void hash_care(struct kmem_cache *c, size_t keep)
{
	port_irq_t irq;
	bool wants;
	void *page;

	if (!linear_hash_needs_care(&c->hash) && keep > 0)
		return;
	do {
		irq = spin_lock(&c->lock);
		page = linear_hash_take_page(&c->hash, keep);
		wants = c->hash.wants_page;
		spin_unlock(&c->lock, irq);
		if (page)
			base_free(c->source, page, PORT_PAGE_SIZE);
	} while (page);

	if (!wants || !(page = base_alloc(c->source, PORT_PAGE_SIZE, MEM_ATOMIC)))
		return;
	irq = spin_lock(&c->lock);
	linear_hash_give_page(&c->hash, page);
	spin_unlock(&c->lock, irq);
}

#define TRIM_STEP 16 /* buckets for each lock hold */

static void hash_trim(struct kmem_cache *c)
{
	bool more = true;

	while (more) {
		port_irq_t irq = spin_lock(&c->lock);

		for (int i = 0; i < TRIM_STEP && more; i++)
			more = linear_hash_trim(&c->hash);
		spin_unlock(&c->lock, irq);
	}
}

/* Taking objects */

/* Takes up to n objects off a word of a slab's map, a run of set bits at a time; `first` is where
 * its bit 0 stands for.  A run of 64 counts as 63. */
static inline size_t take_word(
	uint64_t *map, uintptr_t first, size_t stride, void **objects, size_t n)
{
	uint64_t word = *map;
	size_t left = n;

	while (word && left > 0) {
		size_t start = (size_t)__builtin_ctzll(word);
		size_t run = (size_t)__builtin_ctzll(~(word >> start) | (uint64_t)1 << 63);
		uintptr_t object = first + start * stride;

		if (run > left)
			run = left;
		word &= (uint64_t)-2 << (start + run - 1);
		left -= run;
		objects += run;
		for (size_t i = -run; i != 0; i++, object += stride)
			objects[i] = (void *)object;
	}
	*map = word;
	return n - left;
}

/* Takes up to n objects off a slab that has some.  Lock held. */
static size_t take_from(struct kmem_cache *c, struct slab *s, void **objects, size_t n)
{
	size_t stride = c->stride, left, w = s->hint;

	if (n > s->free)
		n = s->free;
	for (left = n;; w++) {
		left -= take_word(&s->map[w], s->base + w * 64 * stride, stride, objects + n - left, left);
		if (left == 0)
			break;
	}
	s->hint = (uint16_t)w;
	s->free -= (uint32_t)n;
	free_add(c, -n);
	if (s->free <= c->place_last[s->place - 1])
		slab_sink(c, s);
	return n;
}

size_t slab_take_held(struct kmem_cache *c, void **objects, size_t n)
{
	size_t taken = 0;
	port_irq_t irq;
	struct slab *s;

	/* Relaxed: what comes back just now counts as coming later. */
	if (__atomic_load_n(&c->objects_free, __ATOMIC_RELAXED) == 0)
		return 0;
	irq = spin_lock(&c->lock);
	while (taken < n && (s = slab_pick(c)))
		taken += take_from(c, s, objects + taken, n - taken);
	spin_unlock(&c->lock, irq);
	return taken;
}

/* Those of a new slab, before anybody else sees it: nothing to try again. */
static size_t take_grown(struct kmem_cache *c, void **objects, size_t n, unsigned flags)
{
	struct slab *s = slab_make(c, flags);
	size_t taken = 0;

	if (s) {
		port_irq_t irq = spin_lock(&c->lock);

		slab_enter(c, s);
		if (n > 0)
			taken = take_from(c, s, objects, n);
		spin_unlock(&c->lock, irq);
		/* Each who is served wakes the next. */
		if (unlikely(arena_is_slow(c->source)))
			slab_grown(c);
		hash_care(c, LINEAR_HASH_SPARE_MAX);
	}
	return s ? taken + (n == 0) : 0;
}

size_t slab_take(struct kmem_cache *c, void **objects, size_t n, unsigned flags)
{
	size_t taken = slab_take_held(c, objects, n);

	return taken ? taken : take_grown(c, objects, n, flags);
}

/* Reserves n objects, or as many as there are slabs for; whether that is all. */
static bool reserve_have(struct kmem_cache *c, size_t n)
{
	port_irq_t irq = spin_lock(&c->lock);
	size_t have = c->slabs * c->slab_objects;

	c->reserve = have < n ? have : n;
	spin_unlock(&c->lock, irq);
	return have >= n;
}

bool slab_reserve(struct kmem_cache *c, size_t n, unsigned flags)
{
	while (!reserve_have(c, n))
		if (!take_grown(c, NULL, 0, flags))
			return false;
	return true;
}

/* Taking back */

enum mistake { NO_MISTAKE, NO_SLAB, OTHER_CACHE, INSIDE, FREE };

static inline struct slab *find_in_frames(uintptr_t addr)
{
	uintptr_t entry = frames_get(addr);

	return entry & FRAMES_LARGE ? NULL : (struct slab *)(entry & ~(uintptr_t)FRAMES_KMALLOC);
}

static inline struct slab *find_in_hash(const struct kmem_cache *c, uintptr_t addr)
{
	struct hash_link *l = *linear_hash_chain(&c->hash, addr >> c->block_shift);

	for (; l; l = l->next) {
		struct slab *s = &container_of(l - l->key % 2, struct slab_outside, links[0])->slab;

		if (addr - s->base < c->slab_size)
			return s;
	}
	return NULL;
}

struct slab *slab_find(struct kmem_cache *c, uintptr_t addr)
{
	return c->is_frames ? find_in_frames(addr) : find_in_hash(c, addr);
}

/* Which object of its slab that is, or a number beyond the last one. */
static inline __attribute__((always_inline)) size_t index_of(
	const struct kmem_cache *c, const struct slab *s, uintptr_t object, bool is_shift)
{
	size_t offset = object - s->base, index;

	/* Turned around: what isn't a multiple of the stride is too large as well. */
	if (is_shift)
		return offset >> c->stride_shift | offset << (-c->stride_shift & 63);
	index = slab_index(c, offset);
	return index * c->stride == offset ? index : SIZE_MAX;
}

/* Why slab s, the one found for it, can't take an object back.  Lock held. */
static enum mistake mistake_of(const struct kmem_cache *c, const struct slab *s, uintptr_t object)
{
	size_t index;

	if (!s)
		return NO_SLAB;
	if (s->cache != c)
		return OTHER_CACHE;
	index = index_of(c, s, object, c->stride_shift >= 0);
	if (index >= c->slab_objects)
		return INSIDE;
	return bitmap_test(s->map, index) ? FREE : NO_MISTAKE;
}

static __attribute__((noreturn, cold)) void bad_free(
	struct kmem_cache *c, enum mistake m, const void *object, const struct slab *s, void *caller)
{
	uintptr_t addr = (uintptr_t)object;

	switch (m) {
	case OTHER_CACHE:
		kmem_bug(c, caller, "free of %#lx, which belongs to cache %s", addr, s->cache->name);
	case INSIDE:
		kmem_bug(c, caller, "free of %#lx, which is inside an object or behind the last of slab %#lx",
			addr, s->base);
	case FREE:
		kmem_bug(c, caller, "free of %#lx, which is not allocated (freed twice?)", addr);
	default:
		kmem_bug(c, caller, "free of %#lx, which lies in no slab", addr);
	}
}

/* Marks an object free; false if that would be a mistake.  Lock held. */
static inline __attribute__((always_inline)) bool put_back(
	struct kmem_cache *c, uintptr_t object, size_t slab_size, size_t slab_objects, bool is_frames,
	bool is_shift)
{
	struct slab *s = is_frames ? find_in_frames(object) : find_in_hash(c, object);
	size_t index, w;
	uint64_t word;

	/* The hash has no other cache's. */
	if (unlikely(!s || (is_frames && s->cache != c)))
		return false;
	index = index_of(c, s, object, is_shift);
	if (unlikely(index >= slab_objects))
		return false;
	w = index / 64;
	word = s->map[w];
	if (unlikely(word >> index % 64 & 1))
		return false;
	s->map[w] = word | (uint64_t)1 << index % 64;
	if (w < s->hint)
		s->hint = (uint16_t)w;
	if (unlikely(++s->free > c->place_last[s->place]))
		slab_rise(c, s);
	return true;
}

/* What of those that come back is left to be done without the lock. */
struct remainder {
	size_t strays; /* objects of a quantum cache that the arena handed out itself */
	void *stray[SLAB_STEP];
	enum mistake mistake; /* the first one */
	const void *object;
	const struct slab *slab;
};

/* One that isn't put back.  Lock held. */
static __attribute__((noinline)) void set_aside(struct kmem_cache *c, struct remainder *r, void *object)
{
	const struct slab *s = slab_find(c, (uintptr_t)object);
	enum mistake m = mistake_of(c, s, (uintptr_t)object);

	if (m == NO_SLAB && (c->flags & KMC_QCACHE)) {
		r->stray[r->strays++] = object;
	} else if (r->mistake == NO_MISTAKE) {
		r->mistake = m;
		r->object = object;
		r->slab = s;
	}
}

/* Inlined for each kind of cache, so that it isn't asked for each object.  Lock held. */
static inline __attribute__((always_inline)) void put_back_all(struct kmem_cache *c,
	void *const *objects, size_t n, struct remainder *r, bool is_frames, bool is_shift)
{
	const size_t slab_size = c->slab_size, slab_objects = c->slab_objects;
	size_t aside = 0;

	for (size_t i = 0; i < n; i++) {
		if (unlikely(!put_back(c, (uintptr_t)objects[i], slab_size, slab_objects, is_frames,
			    is_shift))) {
			set_aside(c, r, objects[i]);
			aside++;
		}
	}
	free_add(c, n - aside);
}

static void put_back_by_kind(
	struct kmem_cache *c, void *const *objects, size_t n, struct remainder *r)
{
	bool is_shift = c->stride_shift >= 0;

	if (c->is_frames && is_shift)
		put_back_all(c, objects, n, r, true, true);
	else if (c->is_frames)
		put_back_all(c, objects, n, r, true, false);
	else if (is_shift)
		put_back_all(c, objects, n, r, false, true);
	else
		put_back_all(c, objects, n, r, false, false);
}

/* Objects are looked at first, so that the destructor sees none that isn't one. */
static __attribute__((noinline)) void destruct(
	struct kmem_cache *c, void *const *objects, size_t n, void *caller)
{
	enum mistake m = NO_MISTAKE;
	const struct slab *s = NULL;
	size_t looked = 0;
	port_irq_t irq = spin_lock(&c->lock);

	for (; looked < n && m == NO_MISTAKE; looked++) {
		s = slab_find(c, (uintptr_t)objects[looked]);
		m = mistake_of(c, s, (uintptr_t)objects[looked]);
	}
	spin_unlock(&c->lock, irq);
	if (unlikely(m != NO_MISTAKE))
		bad_free(c, m, objects[looked - 1], s, caller);
	for (size_t i = 0; i < n; i++)
		c->dtor(objects[i], c->priv);
}

/* Somebody waits for an object, or for memory beneath.  Empty slabs are kept for nobody, but for
 * those who wait for an object. */
static __attribute__((noinline)) void give_slowly(struct kmem_cache *c, size_t n)
{
	bool waited = slab_is_waited(c);

	if (waited)
		slab_waiters_wake(c, n);
	if (c->flags & KMC_QCACHE)
		arena_freed(c->source);
	slab_shed(c, !waited);
}

static bool has_surplus(const struct kmem_cache *c)
{
	return c->slabs_empty > 1 + c->slabs / SLAB_EMPTY_SHARE;
}

void slab_give(struct kmem_cache *c, void *const *objects, size_t n, bool constructed, void *caller)
{
	struct remainder r;
	bool surplus;
	port_irq_t irq;

	if (constructed && c->dtor)
		destruct(c, objects, n, caller);
	r.strays = 0;
	r.mistake = NO_MISTAKE;

	irq = spin_lock(&c->lock);
	put_back_by_kind(c, objects, n, &r);
	surplus = has_surplus(c);
	spin_unlock(&c->lock, irq);

	if (unlikely(r.mistake != NO_MISTAKE))
		bad_free(c, r.mistake, r.object, r.slab, caller);
	while (unlikely(r.strays > 0))
		arena_segment_free(c->source, r.stray[--r.strays], c->stride, caller);
	if (unlikely(kmem_is_slow(c)))
		give_slowly(c, n);
	else if (unlikely(surplus))
		slab_shed(c, false);
}

/* An empty slab that may go, or NULL. */
static struct slab *surplus_take(struct kmem_cache *c, bool all)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct slab *s = NULL;

	if (c->slabs_empty > 0 && (all || has_surplus(c)) &&
		(c->slabs - 1) * c->slab_objects >= c->reserve) {
		s = list_entry(c->partial[SLAB_EMPTY].prev, struct slab, link);
		slab_leave(c, s);
	}
	spin_unlock(&c->lock, irq);
	return s;
}

size_t slab_shed(struct kmem_cache *c, bool all)
{
	struct slab *s;
	size_t units = 0;

	while ((s = surplus_take(c, all))) {
		slab_unmake(c, s);
		units += c->slab_size;
	}
	if (all)
		hash_trim(c);
	hash_care(c, all ? 0 : LINEAR_HASH_SPARE_MAX);
	return units;
}

size_t slab_objects_out(struct kmem_cache *c, size_t *held)
{
	port_irq_t irq = spin_lock(&c->lock);
	size_t n = c->slabs * c->slab_objects - c->objects_free;

	*held += c->slabs * c->slab_size;
	spin_unlock(&c->lock, irq);
	return n;
}

/* The module's own objects */

void *slab_meta_alloc(struct kmem_cache *c)
{
	void *object;

	return slab_take(c, &object, 1, MEM_ATOMIC) ? object : NULL;
}

void slab_meta_free(struct kmem_cache *c, void *object)
{
	slab_give(c, &object, 1, false, __builtin_return_address(0));
}
