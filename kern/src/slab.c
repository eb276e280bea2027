/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches.
 *
 * CONCEPTS
 *
 * A cache hands out objects of one size.  It cuts them out of slabs, each a piece [base, base +
 * slab_size) of its source arena.  An object is in one of three places: free in the slab layer,
 * raw; in a magazine, constructed; or live, in a caller's hands.
 *
 *	caller  <->  loaded, previous  <->  depot: full, empty  <->  slab layer  <->  source arena
 *	             one core's             all cores'               raw objects      slabs
 *
 * A magazine is a stack of objects; each object in it is a round.  Each core has two magazines of
 * each cache, so that a core that allocates and frees around the edge of one doesn't go to the
 * depot each time.  The depot exchanges full magazines for empty ones.  (Bonwick and Adams,
 * "Magazines and Vmem", USENIX 2001.)  New magazines get larger with the depot's traffic, and small
 * again when the cache rests (slab/magazine.c); so magazines of several sizes may be in use.  A
 * quantum cache is a cache whose source is the arena that it fronts.
 *
 * A few live objects of a cache may be samples, which lie in none of these (slab/sample.c).
 *
 * REPRESENTATION
 *
 * A slab's header has a bit for each object, set while the object is free in the slab layer.
 * Nothing is written into objects.  The header lies at the end of the slab (is_inside) where
 * objects are memory that may be touched and that wastes least; else it is an object of the cache
 * slab_headers.
 *
 * Slabs are in lists by how full they are, so that objects come from the fullest and the others
 * become empty: SLAB_PARTIALS lists of those partly free, and one of the empty ones.  A full slab
 * is in none of them.  One more list has all slabs, full ones too; a walk keeps its place in it by
 * a header that belongs to no cache.
 *
 * At the hardest level of reclaim what is free in a quantum cache's slab goes back even if some of it is
 * used: the slab is none any more, and the arena takes back each object of it by itself, as if it had
 * served them past the cache (slab_dissolve()).
 *
 * The page frame table (slab/frames.h) leads from an object to its slab where slabs are whole pages
 * of the direct map; else the cache's hash does (struct slab_outside).  Which object of the slab it
 * is takes a multiplication and a rotation (index_of()).
 *
 * A core's loaded magazine is a struct port_stack (port.h), on which the hot path pushes and pops
 * in one step (slab/slab_impl.h).  A push of the round that lies on top fails, so that an object freed
 * twice in a row is found on the slow path.  A closed stack is empty and full at once.  A core's magazines
 * are changed while its stack is closed, so an interrupt or NMI in the middle leaves the hot path.
 * NMIs touch nothing but an open stack.
 *
 * The module's own objects (headers, magazines, cores' parts, caches) come from caches without
 * magazines, straight over base_arena: a slab for one of these needs no object of another, so
 * nothing recurs.
 *
 * INVARIANTS (kmem_cache_check names the one that fails)
 *
 *  1. A slab's map has as many bits as the slab has free objects, none beyond the last object.
 *  2. A slab is in the list of its fullness; a full one in none.
 *  3. Every address of a slab leads to its header, and the header to its cache.
 *  4. slabs, slabs_empty and objects_free are the sums over the list of all slabs.
 *  5. There are slabs for the objects that are reserved.
 *  6. The depot's magazines are full in one list and empty in the other, as many as it counts.
 *  7. In mode full, zones are whole, and so are the patterns of free objects (slab/debug.c).
 *  8. Around live samples the pattern is whole (slab/sample.c).
 *
 * LOCKING
 *
 *	arenas_and_slabs_lock -> depot, slab layer
 *	slab layer of a quantum cache -> its arena, when a slab is cut (slab_dissolve())
 *
 * But for that, neither the depot's nor the slab layer's lock is held while the other, or an arena's, is taken,
 * nor while the source, a constructor or a destructor runs.  A core's magazines need no lock: only
 * that core, with interrupts off, touches them, or a core that stopped it at a safe point.  A
 * caller's bug is reported with every lock released.  Looking up the frame table takes no lock: a
 * slab stays while an object of it is in use.
 *
 * While a cache is slow every core's stack of it is closed, and no object goes into a magazine or
 * comes from one.
 *
 * COST
 *
 * Hot: a dozen instructions and a half each way, interrupts left on.  A depot trip is one lock for
 * a magazine's worth.  The slab layer moves at most SLAB_STEP objects for each lock hold: out, a
 * run of bits at a time, behind the words of the map that have none; in, a bit each.  A slab is
 * made and unmade with no lock held, in time linear in its pages and its map; it wastes a sixteenth
 * at most, with objects of a page or more an eighth (slab/create.c).  The hash grows by two buckets at most
 * for each entry.
 *
 * QUESTIONS
 *
 * Why bitmaps, when a list through the free objects costs nothing?  Objects may be IDs, or memory
 * that may not be touched; constructed state stays whole; and a double free shows at once.
 *
 * Why does freeing never need memory?  A free that finds no magazine with room asks for one
 * atomically, and without it goes to the slab layer, which sets a bit.
 *
 * Where does an object of a quantum cache go that lies in no slab?  The arena served it when no
 * slab could be had, so the arena takes it back, or panics.
 *
 * What if the hash has no memory to grow?  Its chains get longer, and the next slab asks again.
 */
#include "lib/bitmap.h"
#include "lib/callback.h"
#include "lib/check.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "owner.h"
#include "slab/slab_impl.h"

/* Branch hints stand where kmem_pair_64, kmem_bulk_64 or kmem_batch_4096 needs them. */
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Empty slabs are kept: one, and one more for each SLAB_EMPTY_SHARE there are, so that a cache that
 * breathes doesn't go to its source each time. */
#define SLAB_EMPTY_SHARE 8

static size_t alloc_slow(
	struct kmem_cache *c, void **objects, size_t got, size_t n, unsigned flags, void *caller);
static size_t take(struct kmem_cache *c, void **objects, size_t n, unsigned flags, void *caller);
static size_t fill(struct kmem_cache *c, void **objects, size_t n, unsigned flags, void *caller);
static bool core_change(struct kmem_cache *c, bool wants_rounds);
static bool slab_grow(struct kmem_cache *c, void **objects, size_t *n, unsigned flags);
static void free_slow(struct kmem_cache *c, void *const *objects, size_t n, void *caller);
static void slab_put(struct kmem_cache *c, void *const *objects, size_t n, void *caller);
static bool put_raw(struct kmem_cache *c, void *const *objects, size_t n, void *caller);
static void slab_move(struct kmem_cache *c, struct slab *s) SPANDREL_REQUIRES(&c->lock);
static void hash_care(struct kmem_cache *c, size_t keep);

/* Allocation */

/* The one call that isn't hot stands last, so that the hot path needs no frame. */
void *kmem_cache_alloc(struct kmem_cache *c, unsigned flags)
{
	if (SPANDREL_DEBUG)
		check_given("kmem_cache_alloc", "cache", c, __builtin_return_address(0));
	if (likely(kmem_flags_sound(flags))) {
		void *object = kmem_alloc_hot(c);

		if (likely(object))
			return object;
	}
	return kmem_alloc_slow(c, flags, __builtin_return_address(0));
}

void *kmem_cache_zalloc(struct kmem_cache *c, unsigned flags)
{
	void *caller = __builtin_return_address(0), *object;

	check_given("kmem_cache_zalloc", "cache", c, __builtin_return_address(0));
	if (c->ctor || (c->flags & KMC_NOTOUCH) || !c->is_memory)
		kmem_bug(c, caller, "zeroed objects asked for, which %s",
			c->ctor ? "the constructor readies" : "aren't memory");
	object = kmem_flags_sound(flags) ? kmem_alloc_hot(c) : NULL;
	if (unlikely(!object))
		object = kmem_alloc_slow(c, flags, caller);
	return object ? memset(object, 0, c->obj_size) : NULL;
}

size_t kmem_cache_alloc_bulk(struct kmem_cache *c, void **objects, size_t n, unsigned flags)
{
	size_t got = 0;

	if (n > 0)
		check_given(
			"kmem_cache_alloc_bulk", "list of objects", objects, __builtin_return_address(0));
	if (likely(kmem_flags_sound(flags))) {
		port_count(&kmem_core_self(c)->rounds.allocs, n);
		got = kmem_pop_many(c, objects, n);
		if (likely(got == n))
			return n;
	}
	return alloc_slow(c, objects, got, n, flags, __builtin_return_address(0));
}

void *kmem_alloc_slow(struct kmem_cache *c, unsigned flags, void *caller)
{
	void *object;

	port_count(&kmem_core_self(c)->rounds.allocs, 1);
	return alloc_slow(c, &object, 0, 1, flags, caller) ? object : NULL;
}

/* Apart, so that the callers' frames stay small. */
static __attribute__((noreturn, noinline, cold)) void bad_flags(
	const struct kmem_cache *c, unsigned flags, void *caller)
{
	const char *wrong = arena_flags_wrong(flags);
	char where[ARENA_WHERE_MAX];

	kmem_bug(c, caller, "flags %#x: %s%s", flags, wrong ? wrong : "not exactly one memory flag, and no fit",
		arena_flags_where(wrong, where));
}

void kmem_check_flags(struct kmem_cache *c, unsigned flags, void *caller)
{
	if (!kmem_flags_sound(flags) || (flags == MEM_WAIT && port_word(PORT_THREAD_CALLBACK)))
		bad_flags(c, flags, caller);
}

/* A constructor that allocates from its own cache would be called for that object, too, and so on.  In
 * an interrupt the thread's word says nothing. */
static void check_not_constructing(const struct kmem_cache *c, void *caller)
{
	if (c->ctor && !port_in_irq() && port_word(PORT_THREAD_CONSTRUCT) == (uintptr_t)c)
		kmem_bug(c, caller, "its constructor %pS allocates from it", (void *)(uintptr_t)c->ctor);
}

/* How many of n objects come before one that is made to fail. */
static __attribute__((noinline)) size_t unfailed(const struct kmem_cache *c, size_t n, unsigned flags)
{
	size_t i = 0;

	while (i < n && !arena_fails(c->name, flags))
		i++;
	return i;
}

/* n objects, of which this core had `got` loaded, or fewer on shortage, by flag. */
static size_t alloc_slow(
	struct kmem_cache *c, void **objects, size_t got, size_t n, unsigned flags, void *caller)
{
	size_t asked = n;

	kmem_check_flags(c, flags, caller);
	check_not_constructing(c, caller);
	port_count(&kmem_core_self(c)->alloc_misses, 1);
	if (unlikely(shortage_any()))
		n = got + unfailed(c, n - got, flags);
	if (!port_in_nmi() && !slab_must_stand_back(c, flags))
		got += take(c, objects + got, n - got, flags, caller);
	if (got < n && flags != MEM_ATOMIC && !port_in_nmi()) {
		got = slab_sleep(c, objects, got, n, flags, caller);
		/* Refused, MEM_ERROR takes what can be had all the same. */
		if (got == 0 && n > 1)
			got = take(c, objects, n, MEM_ATOMIC, caller);
	} else if (shortage_any() && flags != MEM_ATOMIC) {
		arena_passed(c->source);
	}
	port_count(&kmem_core_self(c)->failures, asked - got);
	return got;
}

/* What can be had without sleeping: a sample, if one is due, then from this core's magazines and the depot, then
 * from slabs. */
static size_t take(struct kmem_cache *c, void **objects, size_t n, unsigned flags, void *caller)
{
	size_t got = 0, step;

	if (sample_is_on() && n > 0 && (objects[0] = sample_take(c, flags, caller)))
		got = 1;
	while (got < n && core_change(c, true))
		got += kmem_pop_many(c, objects + got, n - got);
	while (got < n && (step = fill(c, objects + got, n - got, flags, caller)) > 0)
		got += step;
	return got;
}

/* A constructor may sleep if its caller may. */
static bool construct(struct kmem_cache *c, void *object, unsigned flags)
{
	struct callback call;
	bool done;

	if (!(flags & MEM_ATOMIC)) {
		callback_note(&call, c->name);
		done = c->ctor(object, c->priv, flags) == 0;
		callback_check(&call);
		return done;
	}
	call = callback_enter(c->name);
	done = c->ctor(object, c->priv, flags) == 0;
	callback_leave(call);
	return done;
}

size_t slab_construct_some(struct kmem_cache *c, void **objects, size_t n, size_t wanted, unsigned flags)
{
	uintptr_t outer;
	size_t done = 0;

	if (!c->ctor)
		return n;
	outer = port_word(PORT_THREAD_CONSTRUCT);
	port_set_word(PORT_THREAD_CONSTRUCT, (uintptr_t)c);
	while (done < n && construct(c, objects[done], done < wanted ? flags : MEM_ATOMIC))
		done++;
	port_set_word(PORT_THREAD_CONSTRUCT, outer);
	return done;
}

void slab_construct_failed(struct kmem_cache *c, const void *object, unsigned flags, void *caller)
{
	__atomic_fetch_add(&c->ctor_failures, 1, __ATOMIC_RELAXED);
	if (flags == MEM_WAIT)
		kmem_bug(c, caller, "its constructor failed on %p under MEM_WAIT", object);
}

size_t slab_construct(
	struct kmem_cache *c, void **objects, size_t n, size_t wanted, unsigned flags, void *caller)
{
	size_t done;

	for (size_t i = 0; c->debug && i < n; i++)
		slab_debug_out(c, objects[i], caller);
	done = slab_construct_some(c, objects, n, wanted, flags);
	if (done == n)
		return n;
	slab_give(c, objects + done, n - done, false, caller);
	if (done < wanted)
		slab_construct_failed(c, objects[done], flags, caller);
	return done;
}

/* Up to n objects of the slab layer, constructed, and as many more as fit in what this core has
 * loaded, if it has a magazine. */
static size_t fill(struct kmem_cache *c, void **objects, size_t n, unsigned flags, void *caller)
{
	void *taken[SLAB_STEP];
	size_t wanted = n < SLAB_STEP ? n : SLAB_STEP, step = wanted, got, kept;

	if (kmem_core_self(c)->loaded && !kmem_is_slow(c)) {
		step = kmem_magazine_size(c);
		step = step < wanted ? wanted : step < SLAB_STEP ? step : SLAB_STEP;
	}
	got = slab_construct(c, taken, slab_take(c, taken, step, flags), wanted, flags, caller);
	if (got > wanted) {
		kept = kmem_push_many(c, taken + wanted, got - wanted);
		if (wanted + kept < got)
			slab_give(c, taken + wanted + kept, got - wanted - kept, true, caller);
		got = wanted;
	}
	for (size_t i = 0; i < got; i++)
		objects[i] = taken[i];
	return got;
}

/* A core's magazines.  Interrupts are off, or the core is stopped at a safe point.  An NMI may land
 * anywhere: it finds the stack open and everything in order, or closed, and then touches nothing
 * else. */

/* Closing comes first: only then does the top stand still. */
void kmem_core_close(struct kmem_core *core)
{
	port_stack_close(&core->rounds.stack);
	if (core->loaded)
		core->loaded->count = (uint32_t)(core->rounds.stack.top - core->loaded->round);
}

static void core_open(struct kmem_core *core)
{
	struct magazine *m = core->loaded;

	if (m)
		port_stack_set(&core->rounds.stack, m->round, m->round + m->count, m->round + m->size);
}

/* Relaxed: other cores look only whether there is anything. */
void kmem_core_hold(struct kmem_core *core, struct magazine *loaded, struct magazine *previous)
{
	__atomic_store_n(&core->loaded, loaded, __ATOMIC_RELAXED);
	__atomic_store_n(&core->previous, previous, __ATOMIC_RELAXED);
	core->previous_rounds = previous ? previous->count : 0;
}

static bool serves(const struct magazine *m, bool wants_rounds)
{
	return m && (wants_rounds ? m->count > 0 : m->count < m->size);
}

static bool swap(struct kmem_core *core)
{
	kmem_core_hold(core, core->previous, core->loaded);
	return true;
}

/* Loads a magazine that has a round, or one that has room: this core's own, or one of the depot's
 * in exchange for `previous`.  Where that is empty and smaller than new ones, it goes for good, as
 * *small, if the depot has another.  Failing all that, rounds come from slabs there are into the
 * magazine that is loaded, unless they have to be constructed. */
static bool core_exchange(
	struct kmem_cache *c, struct kmem_core *core, bool wants_rounds, struct magazine **small)
{
	struct magazine *previous = core->previous, *m;
	bool goes = previous && previous->count == 0 && previous->size < kmem_magazine_size(c);

	if (serves(core->loaded, wants_rounds))
		return true;
	if (serves(previous, wants_rounds) && !goes)
		return swap(core);
	m = depot_exchange(c, wants_rounds, goes ? NULL : previous);
	if (m) {
		kmem_core_hold(core, m, core->loaded);
		core->depot_trips++;
		*small = goes ? previous : NULL;
		return true;
	}
	if (serves(previous, wants_rounds))
		return swap(core);
	if (wants_rounds && core->loaded && !c->ctor) {
		m = core->loaded;
		m->count = (uint32_t)slab_take_held(c, m->round, m->size < SLAB_STEP ? m->size : SLAB_STEP);
	}
	return serves(core->loaded, wants_rounds);
}

/* Opens this core's stack over a magazine with rounds, or with room; whether it could. */
static bool core_change(struct kmem_cache *c, bool wants_rounds)
{
	port_irq_t irq = port_irq_save();
	struct kmem_core *core = kmem_core_self(c);
	struct magazine *small = NULL;
	bool changed = false;

	kmem_core_close(core);
	if (!kmem_is_slow(c)) {
		changed = core_exchange(c, core, wants_rounds, &small);
		core_open(core);
	}
	port_irq_restore(irq);
	if (small)
		magazine_free(c, small);
	return changed;
}

/* The slab layer: taking */

/* Puts what is in quarantine back into its slabs; returns how many that was. */
static size_t quarantine_end(struct kmem_cache *c)
{
	size_t n = 0;
	void *object;

	for (; (object = slab_debug_release(c)); n++)
		put_raw(c, &object, 1, __builtin_return_address(0));
	return n;
}

size_t slab_take(struct kmem_cache *c, void **objects, size_t n, unsigned flags)
{
	size_t taken = slab_take_held(c, objects, n);

	if (taken || slab_grow(c, objects, &n, flags))
		return taken ? taken : n;
	return quarantine_end(c) > 0 ? slab_take_held(c, objects, n) : 0;
}

/* n objects more are free.  Lock held. */
static void free_add(struct kmem_cache *c, size_t n) SPANDREL_REQUIRES(&c->lock)
{
	__atomic_store_n(&c->objects_free, c->objects_free + n, __ATOMIC_RELAXED);
	c->changes++;
}

/* Takes up to n objects off a word of a slab's map, a run of set bits at a time; `first` is where
 * its bit 0 stands for.  A run of 64 counts as 63. */
static size_t take_word(uint64_t *map, uintptr_t first, size_t stride, void **objects, size_t n)
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
		/* Up to 0, which saves a comparison for each object (kmem_batch_4096). */
		for (ptrdiff_t i = -(ptrdiff_t)run; i != 0; i++, object += stride)
			objects[i] = (void *)object;
	}
	*map = word;
	return n - left;
}

/* Takes up to n objects off a slab that has some.  Lock held. */
static size_t take_from(struct kmem_cache *c, struct slab *s, void **objects, size_t n)
	SPANDREL_REQUIRES(&c->lock)
{
	size_t stride = c->stride, taken = 0;

	if (n > s->free)
		n = s->free;
	for (size_t w = 0; taken < n; w++)
		taken += take_word(
			&s->map[w], s->base + w * 64 * stride, stride, objects + taken, n - taken);
	s->free -= (uint32_t)n;
	free_add(c, -n);
	if (s->free <= c->place_last[s->place - 1])
		slab_move(c, s);
	return n;
}

/* The fullest slab that has a free object, or NULL.  Lock held. */
static struct slab *slab_pick(struct kmem_cache *c) SPANDREL_REQUIRES(&c->lock)
{
	for (unsigned place = SLAB_FULL + 1; place <= SLAB_EMPTY; place++)
		if (!list_empty(&c->partial[place]))
			return list_first_entry(&c->partial[place], struct slab, link);
	return NULL;
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
	c->trips++;
	while (taken < n && (s = slab_pick(c)))
		taken += take_from(c, s, objects + taken, n - taken);
	spin_unlock(&c->lock, irq);
	return taken;
}

/* Reserves n objects, or as many as there are slabs for; whether that is all.  *before: as many were
 * reserved. */
static bool reserve_have(struct kmem_cache *c, size_t n, size_t *before)
{
	port_irq_t irq = spin_lock(&c->lock);
	size_t have = c->slabs * c->slab_objects;

	*before = c->reserve;
	c->reserve = have < n ? have : n;
	spin_unlock(&c->lock, irq);
	return have >= n;
}

bool slab_reserve(struct kmem_cache *c, size_t n, unsigned flags)
{
	size_t none = 0, before, part;
	bool has = reserve_have(c, n, &before);

	while (!has && arena_may_ever_have(c->source, slab_units(c, n)) &&
		slab_grow(c, NULL, &none, flags))
		has = reserve_have(c, n, &part);
	if (!has) {
		reserve_have(c, before, &part);
		slab_shed(c, true);
	}
	return has;
}

/* The slab layer: growing */

/* Never sleeps: requests wait in slab/wait.c.  One that may sleep builds the indexes it takes. */
static void *source_alloc(struct kmem_cache *c, unsigned flags)
{
	void *base;

	do
		base = c->flags & KMC_QCACHE ? arena_segment_alloc(c->source, c->slab_size, c->slab_align) :
		       c->slab_align ? arena_xalloc(c->source, c->slab_size, c->slab_align, 0, 0, 0, 0, MEM_ATOMIC) :
				       arena_alloc(c->source, c->slab_size, MEM_ATOMIC);
	while (!base && !(flags & MEM_ATOMIC) && arena_indexes_build(c->source));
	return base;
}

static void source_free(struct kmem_cache *c, void *base)
{
	if (c->flags & KMC_QCACHE)
		arena_segment_free(c->source, base, c->slab_size, __builtin_return_address(0));
	else if (c->slab_align)
		arena_xfree(c->source, base, c->slab_size);
	else
		arena_free(c->source, base, c->slab_size);
}

static struct slab *header_alloc(struct kmem_cache *c, uintptr_t start)
{
	struct slab_outside *o;

	if (c->is_inside)
		return (struct slab *)(start + c->slab_size - slab_header_size(c->slab_objects));
	o = slab_meta_alloc(&slab_headers);
	return o ? &o->slab : NULL;
}

static void header_free(struct kmem_cache *c, struct slab *s)
{
	if (!c->is_inside)
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
	for (size_t w = 0; w < BITMAP_WORDS(c->slab_objects); w++) {
		size_t left = c->slab_objects - w * 64;

		s->map[w] = left >= 64 ? UINT64_MAX : ((uint64_t)1 << left) - 1;
	}
}

/* A new slab that is in no list yet, or NULL.  No lock held. */
static struct slab *slab_make(struct kmem_cache *c, unsigned flags)
{
	uintptr_t start = (uintptr_t)source_alloc(c, flags), entry;
	struct slab *s = start ? header_alloc(c, start) : NULL;

	entry = (uintptr_t)s | (c->flags & KMC_KMALLOC ? FRAMES_KMALLOC : 0);
	if (s && (!c->is_frames || frames_set(start, c->slab_size / PORT_PAGE_SIZE, entry, MEM_ATOMIC))) {
		header_init(c, s, start + c->lead);
		if (c->debug)
			slab_debug_enter(c, s);
		return s;
	}
	/* Relaxed: a hint for slab/wait.c. */
	__atomic_store_n(
		&c->lacks_memory, start || arena_chain_lacks_tags(c->source), __ATOMIC_RELAXED);
	if (s)
		header_free(c, s);
	if (start)
		source_free(c, (void *)start);
	return NULL;
}

/* The slab's entries in the hash: for its first block and, if it ends in the next one, for that.
 * Lock held. */
static void hash_enter(struct kmem_cache *c, struct slab *s) SPANDREL_REQUIRES(&c->lock)
{
	struct slab_outside *o = container_of(s, struct slab_outside, slab);
	uintptr_t last = (s->base + (c->slab_size - 1)) >> c->block_shift;

	for (uintptr_t block = s->base >> c->block_shift; block <= last; block++) {
		o->links[block % 2].key = block;
		linear_hash_insert(&c->hash, &o->links[block % 2]);
	}
}

/* Makes a new slab one of the cache's.  Lock held. */
static void slab_enter(struct kmem_cache *c, struct slab *s) SPANDREL_REQUIRES(&c->lock)
{
	if (!c->is_frames)
		hash_enter(c, s);
	list_add_tail(&c->all, &s->all_link);
	c->slabs++;
	free_add(c, c->slab_objects);
	c->grows++;
	slab_move(c, s);
}

/* Makes a slab and takes up to *n objects of it before another request sees it; *n is how many.
 * Returns false on shortage.  No lock held. */
static bool slab_grow(struct kmem_cache *c, void **objects, size_t *n, unsigned flags)
{
	struct slab *s = slab_make(c, flags);
	port_irq_t irq;

	if (!s)
		return false;
	irq = spin_lock(&c->lock);
	slab_enter(c, s);
	if (*n > 0)
		*n = take_from(c, s, objects, *n);
	spin_unlock(&c->lock, irq);
	if (c->is_memory)
		arena_watch_base(c->source);
	hash_care(c, LINEAR_HASH_SPARE_MAX);
	return true;
}

/* Moves a slab to the list of its fullness.  Lock held. */
static void slab_move(struct kmem_cache *c, struct slab *s) SPANDREL_REQUIRES(&c->lock)
{
	unsigned place = s->place;

	c->slabs_empty -= place == SLAB_EMPTY;
	while (s->free > c->place_last[place])
		place++;
	while (place > SLAB_FULL && s->free <= c->place_last[place - 1])
		place--;
	c->slabs_empty += place == SLAB_EMPTY;
	list_del(&s->link);
	if (place != SLAB_FULL)
		list_add(&c->partial[place], &s->link);
	s->place = place;
}

/* Freeing */

void kmem_cache_free(struct kmem_cache *c, void *object)
{
	if (SPANDREL_DEBUG) {
		check_given("kmem_cache_free", "cache", c, __builtin_return_address(0));
		kmem_check_free(c, object, __builtin_return_address(0));
	}
	if (sample_may_be(object) || unlikely(!kmem_free_hot(c, object)))
		kmem_free_slow(c, object, __builtin_return_address(0));
}

/* What this core has room for, and the rest. */
__attribute__((noinline)) void slab_free_many(struct kmem_cache *c, void *const *objects, size_t n, void *caller)
{
	size_t given = kmem_push_many(c, objects, n);

	if (unlikely(given < n))
		free_slow(c, objects + given, n - given, caller);
}

/* The same where some may be samples. */
static __attribute__((noinline)) void free_mixed(struct kmem_cache *c, void *const *objects, size_t n, void *caller)
{
	size_t from = 0, to;

	for (; from < n; from = to) {
		for (to = from; to < n && !(sample_may_be(objects[to]) && sample_has(objects[to])); to++)
			;
		if (to > from)
			slab_free_many(c, objects + from, to - from, caller);
		else if (sample_free(c, objects[to], caller))
			to++;
		else
			slab_free_many(c, objects + to++, 1, caller);
	}
}

void kmem_cache_free_bulk(struct kmem_cache *c, void *const *objects, size_t n)
{
	if (n > 0)
		check_given(
			"kmem_cache_free_bulk", "list of objects", objects, __builtin_return_address(0));
	if (SPANDREL_DEBUG && n > 0)
		kmem_check_free(c, objects[0], __builtin_return_address(0));
	port_count(&kmem_core_self(c)->rounds.frees, n);
	if (unlikely(sample_any()))
		free_mixed(c, objects, n, __builtin_return_address(0));
	else
		slab_free_many(c, objects, n, __builtin_return_address(0));
}

void kmem_free_slow(struct kmem_cache *c, void *object, void *caller)
{
	if (sample_may_be(object)) {
		kmem_check_free(c, object, caller);
		/* What only has so high an address goes the hot way. */
		if (!sample_has(object) && kmem_free_hot(c, object))
			return;
	}
	port_count(&kmem_core_self(c)->rounds.frees, 1);
	if (sample_may_be(object) && sample_free(c, object, caller))
		port_count(&kmem_core_self(c)->free_misses, 1);
	else
		free_slow(c, &object, 1, caller);
}

void kmem_check_free(struct kmem_cache *c, const void *object, void *caller)
{
	if (!object)
		kmem_bug(c, caller, "free of %p", object);
	if (port_in_nmi())
		kmem_bug(c, caller, "free of %p in an NMI", object);
}

/* Panics if the object is the last one that came into what this core has loaded. */
static void check_not_last(struct kmem_cache *c, const void *object, void *caller)
{
	port_irq_t irq = port_irq_save();
	const struct port_stack *s = &kmem_core_self(c)->rounds.stack;
	bool is_last = s->top > s->bottom && s->top[-1] == object;

	port_irq_restore(irq);
	if (is_last)
		kmem_bug(c, caller, "free of %p, which was freed twice in a row", object);
}

/* What this core had no room for: into magazines while there are empty ones, then into slabs. */
static void free_slow(struct kmem_cache *c, void *const *objects, size_t n, void *caller)
{
	size_t given = 0, step;
	bool pressed;

	kmem_check_free(c, objects[0], caller);
	port_count(&kmem_core_self(c)->free_misses, 1);
	pressed = shortage_any() && arena_is_pressed(c->source);
	check_not_last(c, objects[0], caller);
	if (pressed)
		magazine_drain_self(c);
	while (given < n && !pressed && (core_change(c, false) || depot_stock(c))) {
		given += kmem_push_many(c, objects + given, n - given);
		if (given < n)
			check_not_last(c, objects[given], caller);
	}
	for (; given < n; given += step) {
		step = n - given < SLAB_STEP ? n - given : SLAB_STEP;
		slab_give(c, objects + given, step, true, caller);
	}
}

/* The slab layer: taking back */

enum mistake { NO_MISTAKE, NO_SLAB, OTHER_CACHE, INSIDE, FREE };

static __attribute__((noreturn, cold)) void bad_free(
	struct kmem_cache *c, enum mistake m, uintptr_t addr, const struct slab *s, void *caller)
{
	switch (m) {
	case OTHER_CACHE:
		kmem_bug_at(s->cache, addr, "cache %s: free of %#lx, which belongs to cache %s (called from %pS)",
			c->name, addr, s->cache->name, caller);
	case INSIDE:
		kmem_bug_at(c, addr,
			"cache %s: free of %#lx, which is inside an object or behind the last of slab %#lx (called "
			"from %pS)",
			c->name, addr, s->base, caller);
	case FREE:
		kmem_bug_at(c, addr,
			"cache %s: free of %#lx, which is not allocated (freed twice?) (called from %pS)", c->name,
			addr, caller);
	default:
		kmem_bug(c, caller, "free of %#lx, which lies in no slab", addr);
	}
}

/*
 * Which object of its slab starts at `offset`, or a number beyond the last one.  The inverse of the
 * stride's odd part, modulo 2^64, divides what is a multiple of that; the rest is a rotation, which
 * turns what isn't a multiple of the stride into a number too large.  (Warren, "Hacker's Delight",
 * 2nd edition, 10-17.)
 */
static inline size_t index_of(const struct kmem_cache *c, size_t offset)
{
	size_t x = offset * c->stride_inverse;

	return x >> c->stride_shift | x << (-c->stride_shift & 63);
}

/* Finds the slab and the number of a used object, or why that isn't one; unless late_too, not in RAM
 * that came after boot.  Inlined for kmem_batch_4096.  Lock held. */
static inline __attribute__((always_inline)) enum mistake locate(const struct kmem_cache *c,
	uintptr_t addr, bool late_too, struct slab **s, size_t *index) SPANDREL_REQUIRES(&c->lock)
{
	*s = late_too ? slab_find(c, addr) : slab_find_early(c, addr);
	if (!*s)
		return NO_SLAB;
	if ((*s)->cache != c)
		return OTHER_CACHE;
	*index = index_of(c, addr - (*s)->base);
	if (*index >= c->slab_objects)
		return INSIDE;
	return bitmap_test((*s)->map, *index) ? FREE : NO_MISTAKE;
}

/* The first mistake among objects; NO_MISTAKE: each is a used one.  `looked`: how many were looked at. */
static enum mistake find_mistake(
	struct kmem_cache *c, void *const *objects, size_t n, struct slab **s, size_t *looked)
{
	enum mistake m = NO_MISTAKE;
	port_irq_t irq = spin_lock(&c->lock);
	size_t index;

	for (*looked = 0; *looked < n && m == NO_MISTAKE; ++*looked)
		m = locate(c, (uintptr_t)objects[*looked], true, s, &index);
	spin_unlock(&c->lock, irq);
	return m;
}

/* Panics unless each is a used object: so that the destructor sees none that isn't one. */
static void check_used(struct kmem_cache *c, void *const *objects, size_t n, void *caller)
{
	struct slab *s = NULL;
	size_t looked;
	enum mistake m = find_mistake(c, objects, n, &s, &looked);

	if (m != NO_MISTAKE)
		bad_free(c, m, (uintptr_t)objects[looked - 1], s, caller);
}

void slab_destruct(struct kmem_cache *c, void *const *objects, size_t n)
{
	struct callback call = callback_enter(c->name);

	for (size_t i = 0; i < n; i++)
		c->dtor(objects[i], c->priv);
	callback_leave(call);
}

/* Marks a used object free.  Lock held. */
static inline void put_back(struct kmem_cache *c, struct slab *s, size_t index) SPANDREL_REQUIRES(&c->lock)
{
	bitmap_set(s->map, index);
	if (unlikely(++s->free > c->place_last[s->place]))
		slab_move(c, s);
}

static bool has_surplus(const struct kmem_cache *c)
{
	return c->slabs_empty > 1 + c->slabs / SLAB_EMPTY_SHARE;
}

/* The cache ends, or requests sleep for its objects or for memory beneath: then no empty slab is kept. */
static void shed_for_others(struct kmem_cache *c)
{
	if (!kmem_is_pressed(c) && !arena_is_pressed(c->source))
		return;
	slab_shed(c, true);
	shortage_poke();
}

/* As slab_give(), of objects that have no slab in boot's RAM.  Only a call finds the others, and
 * there is none in the loop for all (kmem_batch_4096).  Returns whether the cache has a surplus. */
static __attribute__((noinline, cold)) bool give_late(
	struct kmem_cache *c, void *const *objects, size_t n, void *caller)
{
	enum mistake m, mistake = NO_MISTAKE; /* the first one */
	struct slab *s, *bad_slab = NULL;
	size_t given = 0, bad = 0, index;
	port_irq_t irq = spin_lock(&c->lock);
	bool surplus;

	c->trips++;
	for (size_t i = 0; i < n; i++) {
		m = locate(c, (uintptr_t)objects[i], true, &s, &index);
		if (m == NO_MISTAKE) {
			put_back(c, s, index);
			given++;
		} else if (mistake == NO_MISTAKE) {
			mistake = m;
			bad = i;
			bad_slab = s;
		}
	}
	free_add(c, given);
	surplus = has_surplus(c);
	spin_unlock(&c->lock, irq);
	if (mistake != NO_MISTAKE)
		bad_free(c, mistake, (uintptr_t)objects[bad], bad_slab, caller);
	return surplus;
}

/* Puts raw objects back into their slabs.  What can't be is dealt with when all the others have been, and the
 * lock released.  Returns whether the cache has a surplus. */
static bool put_raw(struct kmem_cache *c, void *const *objects, size_t n, void *caller)
{
	void *foreign[SLAB_STEP]; /* objects of a quantum cache that the arena handed out itself; or late ones */
	size_t foreigners = 0, bad = 0, index = 0;
	enum mistake m, mistake = NO_MISTAKE; /* the first one */
	struct slab *s, *bad_slab = NULL;
	uintptr_t bad_addr = 0;
	bool surplus;
	port_irq_t irq;

	irq = spin_lock(&c->lock);
	c->trips++;
	for (size_t i = 0; i < n; i++) {
		m = locate(c, (uintptr_t)objects[i], false, &s, &index);
		if (likely(m == NO_MISTAKE)) {
			put_back(c, s, index);
		} else if (m == NO_SLAB && (c->is_frames || (c->flags & KMC_QCACHE))) {
			foreign[foreigners++] = objects[i];
		} else if (bad++ == 0) {
			mistake = m;
			bad_addr = (uintptr_t)objects[i];
			bad_slab = s;
		}
	}
	free_add(c, n - foreigners - bad);
	surplus = has_surplus(c);
	spin_unlock(&c->lock, irq);

	if (bad > 0)
		bad_free(c, mistake, bad_addr, bad_slab, caller);
	if (foreigners > 0 && c->is_frames)
		surplus = give_late(c, foreign, foreigners, caller);
	while (foreigners > 0 && !c->is_frames)
		arena_segment_free(c->source, foreign[--foreigners], c->stride, caller);
	return surplus;
}

/* The same, and gives back the slabs that aren't to be kept. */
static void slab_put(struct kmem_cache *c, void *const *objects, size_t n, void *caller)
{
	bool surplus = put_raw(c, objects, n, caller);

	if (unlikely(kmem_is_pressed(c) || shortage_any()))
		shed_for_others(c);
	else if (surplus)
		slab_shed(c, false);
}

/* Of a cache with a debug mode, a caller's: what leaves the quarantine for it goes back, too. */
static void give_used(struct kmem_cache *c, void *object, void *caller)
{
	if (c->dtor)
		slab_destruct(c, &object, 1);
	object = slab_debug_in(c, object, caller);
	if (object)
		slab_put(c, &object, 1, caller);
}

/* Each by itself; what is wrong is reported when all others have been given. */
static void give_debug(struct kmem_cache *c, void *const *objects, size_t n, void *caller)
{
	void *bad = NULL;
	struct slab *s;
	size_t looked;

	for (size_t i = 0; i < n; i++) {
		if (find_mistake(c, &objects[i], 1, &s, &looked) == NO_MISTAKE && slab_debug_is_whole(c, objects[i]))
			give_used(c, objects[i], caller);
		else if (!bad)
			bad = objects[i];
	}
	if (!bad)
		return;
	check_used(c, &bad, 1, caller);
	slab_debug_report(c, bad, caller);
}

void slab_give(struct kmem_cache *c, void *const *objects, size_t n, bool constructed, void *caller)
{
	if (unlikely(kmem_is_slow(c)))
		leaks_freed(objects, n);
	if (unlikely(c->debug && constructed)) {
		give_debug(c, objects, n, caller);
		return;
	}
	for (size_t i = 0; c->debug && i < n; i++)
		slab_debug_undo(c, objects[i]);
	if (constructed && c->dtor) {
		check_used(c, objects, n, caller);
		slab_destruct(c, objects, n);
	}
	slab_put(c, objects, n, caller);
}

/* The slab layer: shrinking */

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

/* The cache keeps enough without this slab.  Lock held. */
static bool may_leave(const struct kmem_cache *c) SPANDREL_REQUIRES(&c->lock)
{
	return (c->slabs - 1) * c->slab_objects >= c->reserve;
}

/* A slab is the cache's no more; the units of it that aren't used go back to the source.  Lock held. */
static void slab_leave(struct kmem_cache *c, struct slab *s) SPANDREL_REQUIRES(&c->lock)
{
	list_del(&s->link);
	list_del(&s->all_link);
	c->slabs--;
	c->slabs_empty -= s->place == SLAB_EMPTY;
	free_add(c, -(size_t)s->free);
	c->shrinks++;
	c->units_gone += s->free == c->slab_objects ? c->slab_size : s->free * c->stride;
	if (!c->is_frames)
		hash_leave(c, s);
}

/* Takes out an empty slab that may go, or NULL. */
static struct slab *surplus_take(struct kmem_cache *c, bool all)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct slab *s = NULL;

	if (c->slabs_empty > 0 && (all || has_surplus(c)) && may_leave(c)) {
		s = list_entry(c->partial[SLAB_EMPTY].prev, struct slab, link);
		slab_leave(c, s);
	}
	spin_unlock(&c->lock, irq);
	return s;
}

static size_t shed(struct kmem_cache *c, bool all, size_t amount)
{
	size_t units = 0;
	struct slab *s;

	while (units < amount && (s = surplus_take(c, all))) {
		uintptr_t start = slab_start(c, s);

		if (c->debug)
			slab_debug_leave(c, s);
		if (c->is_frames)
			frames_clear(start, c->slab_size / PORT_PAGE_SIZE);
		header_free(c, s);
		source_free(c, (void *)start);
		units += c->slab_size;
	}
	hash_care(c, all ? 0 : LINEAR_HASH_SPARE_MAX);
	return units;
}

size_t slab_shed(struct kmem_cache *c, bool all)
{
	if (all)
		quarantine_end(c);
	return shed(c, all, SIZE_MAX);
}

size_t slab_shed_some(struct kmem_cache *c, size_t amount)
{
	quarantine_end(c);
	return shed(c, true, amount);
}

/* Has the source know each used object of a slab, and each run of free ones, as a segment of its own; false
 * if it can't.  Lock held. */
static bool slab_cut(struct kmem_cache *c, const struct slab *s) SPANDREL_REQUIRES(&c->lock)
{
	uintptr_t at[QCACHE_QUANTA];
	size_t count = 0;

	for (size_t i = 1; i < c->slab_objects; i++)
		if (!bitmap_test(s->map, i) || !bitmap_test(s->map, i - 1))
			at[count++] = s->base + i * c->stride;
	return arena_segment_cut(c->source, s->base, at, count);
}

/* The slab with the most free objects of those partly free, cut; NULL: there is none, or it can't be. */
static struct slab *dissolve_take(struct kmem_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct slab *s = NULL;

	for (unsigned place = SLAB_EMPTY - 1; place > SLAB_FULL && !s; place--)
		if (!list_empty(&c->partial[place]))
			s = list_first_entry(&c->partial[place], struct slab, link);
	if (s && may_leave(c) && slab_cut(c, s))
		slab_leave(c, s);
	else
		s = NULL;
	spin_unlock(&c->lock, irq);
	return s;
}

/* Gives the runs of free objects of a slab that was cut back to the source. */
static void free_runs(struct kmem_cache *c, const struct slab *s)
{
	size_t from = 0, to;

	for (; from < c->slab_objects; from = to + 1) {
		for (to = from; to < c->slab_objects && bitmap_test(s->map, to); to++)
			;
		if (to > from)
			arena_segment_free(c->source, (void *)(s->base + from * c->stride),
				(to - from) * c->stride, __builtin_return_address(0));
	}
}

/* What is used of it is from then on an object that the arena handed out itself. */
void slab_dissolve(struct kmem_cache *c, size_t amount)
{
	size_t units = 0;
	struct slab *s;

	if (!(c->flags & KMC_QCACHE) || !c->is_memory)
		return;
	while (units < amount && arena_segment_ready(c->source, c->slab_objects) && (s = dissolve_take(c))) {
		units += s->free * c->stride;
		free_runs(c, s);
		header_free(c, s);
	}
	hash_care(c, 0);
}

static struct arena_owner hash_pages = ARENA_OWNER("slab hashes", base_arena);

static void hash_page_free(struct kmem_cache *c, void *page)
{
	arena_owner_sub(&hash_pages, arena_base(c->source), PORT_PAGE_SIZE);
	base_free(c->source, page, PORT_PAGE_SIZE);
}

#define TRIM_STEP 16 /* buckets for each lock hold */

/* The pages of the hash's directory come and go one at a time, with no lock held.  A page that the
 * base arena can't give is asked for again by the next slab.  Spare ones beyond `keep` go back;
 * with 0, the hash becomes as small as its entries need first, and gets no page: this may be its end. */
static void hash_care(struct kmem_cache *c, size_t keep)
{
	bool more = keep == 0, wants = false, is_overfull = false;
	port_irq_t irq;
	void *page;

	if (!more && !linear_hash_needs_care(&c->hash))
		return;
	do {
		irq = spin_lock(&c->lock);
		for (int i = 0; i < TRIM_STEP && more; i++)
			more = linear_hash_trim(&c->hash);
		page = linear_hash_take_page(&c->hash, keep);
		wants = c->hash.wants_page;
		is_overfull = linear_hash_is_overfull(&c->hash);
		spin_unlock(&c->lock, irq);
		if (page)
			hash_page_free(c, page);
	} while (more || page);

	/* Requests come first, and chains get longer, within bounds. */
	if (!wants || keep == 0 || (shortage_any() && !is_overfull && arena_is_pressed(c->source)) ||
		!(page = base_alloc(c->source, PORT_PAGE_SIZE, MEM_ATOMIC)))
		return;
	arena_owner_add(&hash_pages, arena_base(c->source), PORT_PAGE_SIZE);
	irq = spin_lock(&c->lock);
	linear_hash_give_page(&c->hash, page);
	spin_unlock(&c->lock, irq);
}

size_t slab_objects_out(struct kmem_cache *c, size_t *held)
{
	port_irq_t irq = spin_lock(&c->lock);
	size_t n = c->slabs * c->slab_objects - c->objects_free - slab_debug_quarantined(c);

	*held += c->slabs * c->slab_size;
	spin_unlock(&c->lock, irq);
	return n;
}

/* The module's own objects */

void *slab_meta_alloc(struct kmem_cache *c)
{
	void *object;

	if (unlikely(shortage_any() && arena_fails(c->name, MEM_ATOMIC)))
		return NULL;
	return slab_take(c, &object, 1, MEM_ATOMIC) ? object : NULL;
}

void slab_meta_free(struct kmem_cache *c, void *object)
{
	slab_give(c, &object, 1, false, __builtin_return_address(0));
}
