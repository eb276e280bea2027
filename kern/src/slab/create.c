/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: how they come into being, are laid out, give back and end.
 */
#include "lib/bitmap.h"
#include "lib/check.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "node.h"
#include "slab_impl.h"

/* What a slab may waste, its header included: a sixteenth; an eighth with objects of a page or more, of which
 * a slab is to hold few, since one that is live keeps all of it. */
#define WASTE_SHARE 16
#define WASTE_SHARE_LARGE 8
#define STRIDE_LARGE PORT_PAGE_SIZE
/* Objects a slab of memory is to hold where that takes no more than SLAB_UNITS_FIRST units of the
 * source (so that slabs of kpages_arena come from its quantum caches); and what a slab not of
 * memory is to hold.  A quantum cache's slab of memory is as near as can be to QCACHE_QUANTA quanta. */
#define SLAB_OBJECTS_FIRST 8
#define SLAB_UNITS_FIRST 8
#define SLAB_OBJECTS_ABSTRACT 64
#define QCACHE_OBJECTS_MIN 2

struct kmem_cache slab_headers;
static struct kmem_cache caches; /* of caches */

static bool is_power_of_two(size_t n)
{
	return (n & (n - 1)) == 0;
}

/* Layout */

struct layout {
	size_t slab_size;
	size_t objects;
	bool is_inside;
	size_t waste;
};

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* A stride at least, which is no less than the lead. */
static struct layout layout_outside(size_t bytes, size_t stride, size_t lead)
{
	size_t objects = (bytes - lead) / stride;

	if (objects > SLAB_OUTSIDE_OBJECTS)
		objects = SLAB_OUTSIDE_OBJECTS;
	return (struct layout){bytes, objects, false, bytes - objects * stride + SLAB_OUTSIDE_SIZE};
}

static struct layout layout_inside(size_t bytes, size_t stride)
{
	size_t objects = (bytes - sizeof(struct slab)) / stride;

	while (objects > 0 && objects * stride + slab_header_size(objects) > bytes)
		objects--;
	return (struct layout){bytes, objects, objects > 0, bytes - objects * stride};
}

static struct layout better(struct layout a, struct layout b)
{
	return b.objects == 0 || (a.objects > 0 && a.waste * b.slab_size <= b.waste * a.slab_size) ? a : b;
}

/*
 * The smallest slab, from `first` on in steps of `unit`, that wastes no more than it may; or
 * the best of those up to 16 objects more.  With objects of a unit or more, 16 of them waste less
 * than a unit in 16; smaller ones fit into one unit 16 times or more, or waste less of 16 units
 * than one object.
 */
static struct layout layout_search(const struct kmem_cache *c, size_t first, size_t unit,
	bool may_be_inside, bool may_be_outside)
{
	size_t stride = c->stride;
	size_t last = first + round_up(WASTE_SHARE * stride, unit) + WASTE_SHARE * unit;
	size_t share = stride >= STRIDE_LARGE ? WASTE_SHARE_LARGE : WASTE_SHARE;
	struct layout best = {.objects = 0};

	for (size_t bytes = first; bytes <= last; bytes += unit) {
		if (may_be_inside)
			best = better(best, layout_inside(bytes, stride));
		if (may_be_outside)
			best = better(best, layout_outside(bytes, stride, c->lead));
		if (best.objects > 0 && best.waste * share <= best.slab_size)
			break;
	}
	return best;
}

static struct layout layout_memory(const struct kmem_cache *c, size_t unit)
{
	size_t first = round_up(SLAB_OBJECTS_FIRST * c->stride, unit);

	if (first > SLAB_UNITS_FIRST * unit)
		first = SLAB_UNITS_FIRST * unit;
	if (c->stride >= STRIDE_LARGE || first < c->stride)
		first = round_up(c->stride, unit);
	return layout_search(c, first, unit, c->is_frames && !(c->flags & (KMC_NOTOUCH | KMC_ZONES)),
		!(c->flags & KMC_META));
}

/* Of objects that are whole quanta nothing is wasted. */
static struct layout layout_abstract(const struct kmem_cache *c, size_t unit)
{
	size_t objects = SLAB_OBJECTS_ABSTRACT;

	if ((c->flags & KMC_QCACHE) && c->is_memory) {
		objects = QCACHE_QUANTA * unit / c->stride;
		if (objects < QCACHE_OBJECTS_MIN)
			objects = QCACHE_OBJECTS_MIN;
	}
	return layout_outside(round_up(objects * c->stride, unit), c->stride, 0);
}

/* Of an odd number, modulo 2^64, by Newton's method: n is its own to 3 bits, and each turn doubles
 * how many. */
static uint64_t inverse_of(uint64_t n)
{
	uint64_t x = n;

	for (int bits = 3; bits < 64; bits *= 2)
		x *= 2 - n * x;
	return x;
}

static size_t lowest_bit(size_t n)
{
	return n & -n;
}

/* What objects start at multiples of: of kmalloc's, what the size promises (kmalloc.h); else `align`. */
static void space_out(struct kmem_cache *c, size_t align)
{
	size_t page = PORT_PAGE_SIZE;

	c->align = align;
	c->stride = round_up(c->obj_size, align);
	if (c->flags & KMC_KMALLOC)
		c->align = is_power_of_two(c->obj_size) || lowest_bit(c->obj_size) < page ? lowest_bit(c->obj_size) : page;
	if (!(c->flags & KMC_ZONES))
		return;
	c->lead = round_up(DEBUG_ZONE, c->align);
	c->stride = round_up(c->obj_size + 2 * DEBUG_ZONE, c->align);
}

/* Everything that follows from stride, flags and source.  Blocks of a size that is a power of two start at
 * multiples of it, as kmalloc() and arena_xalloc() promise. */
static void lay_out(struct kmem_cache *c)
{
	size_t unit = arena_quantum(c->source);
	bool is_abstract = !c->is_memory || (c->flags & KMC_QCACHE);
	bool is_aligned = (c->flags & (KMC_QCACHE | KMC_KMALLOC)) && is_power_of_two(c->obj_size) &&
			  is_power_of_two(unit) && c->obj_size > unit;
	struct layout l = is_abstract ? layout_abstract(c, unit) : layout_memory(c, unit);

	c->slab_size = l.slab_size;
	c->slab_align = is_aligned ? c->obj_size : 0;
	c->slab_objects = (uint32_t)l.objects;
	c->is_inside = l.is_inside;
	for (unsigned place = SLAB_FULL; place < SLAB_EMPTY; place++)
		c->place_last[place] = (uint32_t)((l.objects - 1) * place / SLAB_PARTIALS);
	c->place_last[SLAB_EMPTY] = (uint32_t)l.objects;
	c->stride_shift = (unsigned)__builtin_ctzll(c->stride);
	c->stride_inverse = inverse_of(c->stride >> c->stride_shift);
	c->block_shift = 64 - (unsigned)__builtin_clzll(l.slab_size - 1);
	linear_hash_init(&c->hash);
}

/* Creation */

static void check_create(const char *name, size_t obj_size, size_t align, unsigned flags,
	const struct arena *source, void *caller)
{
	size_t quantum = arena_quantum(source);
	const char *wrong = NULL;

	if (obj_size == 0)
		wrong = "objects of size 0";
	else if (obj_size > KMEM_SIZE_MAX)
		wrong = "objects larger than any slab";
	else if (align & (align - 1))
		wrong = "an alignment that is no power of two";
	else if (align > 1 && quantum % align)
		wrong = "an alignment that its source can't meet";
	else if (flags & ~(KMC_NOTOUCH | KMC_CHECK | KMC_FULL))
		wrong = "an unknown flag";
	if (wrong)
		panic("cache %s: can't be created with %s (called from %pS)", name, wrong, caller);
}

static void cache_init(struct kmem_cache *c, const char *name, size_t obj_size, size_t align,
	unsigned flags, struct arena *source)
{
	memset(c, 0, sizeof(*c));
	str_copy(c->name, name, sizeof(c->name));
	c->obj_size = obj_size;
	c->flags = flags | slab_debug_flags(name, flags);
	c->source = source;
	c->is_memory = arena_is_memory(source);
	c->is_frames = c->is_memory && !(flags & KMC_QCACHE) && arena_direct_base(source);
	if ((c->flags & KMC_FULL) && c->is_frames && !(flags & KMC_NOTOUCH))
		c->flags |= KMC_ZONES;
	c->is_sampled = c->is_frames && source == kpages_arena && obj_size <= PORT_PAGE_SIZE &&
			!(flags & (KMC_NOTOUCH | KMC_META));
	c->slow = c->slow_modes = (c->flags & (KMC_CHECK | KMC_FULL)) != 0;
	if (align == 0)
		align = c->is_memory && arena_quantum(source) % sizeof(void *) == 0 ? sizeof(void *) : 1;
	space_out(c, align);
	list_init(&c->source_link);
	spin_init(&c->depot.lock, SPIN_DEPOT);
	spin_init(&c->lock, SPIN_SLAB);
	for (unsigned place = 0; place < SLAB_PLACES; place++)
		list_init(&c->partial[place]);
	list_init(&c->all);
	slab_wait_init(c);
	lay_out(c);
}

/* Gives it its cores and puts it into the tree; false if there is no memory for them. */
static bool enter(struct kmem_cache *c)
{
	if (!magazine_cores_make(c))
		return false;
	if ((c->flags & KMC_FULL) && !slab_debug_begin(c)) {
		magazine_cores_end(c);
		return false;
	}
	add_importing_slab(c->source, c);
	/* In the tree first: a rule that comes now finds it there. */
	if (__atomic_load_n(&arena_fail_rules, __ATOMIC_SEQ_CST) > 0)
		slab_fail_update(c);
	return true;
}

/* In the caller's storage, or (NULL) in some of the module's. */
static struct kmem_cache *create(struct kmem_cache *c, const char *name, size_t obj_size, size_t align,
	unsigned flags, struct arena *source, kmem_ctor_fn ctor, kmem_dtor_fn dtor, void *priv, void *caller)
{
	const char *call = c ? "__kmem_cache_create" : "kmem_cache_create";
	bool owns_storage = !c;

	sync_check_may_sleep(call, caller);
	if (caches.stride == 0)
		panic("%s of %s before kmem_cache_init (called from %pS)", call, name, caller);
	if (!source)
		source = kpages_arena;
	check_given(call, "source", source, caller);
	check_create(name, obj_size, align, flags, source, caller);
	if (owns_storage && !(c = slab_meta_alloc(&caches)))
		return NULL;
	cache_init(c, name, obj_size, align, flags, source);
	c->owns_storage = owns_storage;
	c->ctor = ctor;
	c->dtor = dtor;
	c->priv = priv;
	if (enter(c))
		return c;
	if (owns_storage)
		slab_meta_free(&caches, c);
	return NULL;
}

_Static_assert(sizeof(struct kmem_cache) <= KMEM_CACHE_STORAGE, "a cache fits in there");
_Static_assert(_Alignof(struct kmem_cache) <= PORT_LINE_SIZE, "a cache may lie there");

struct kmem_cache *__kmem_cache_create(struct kmem_cache *c, const char *name, size_t obj_size,
	size_t align, unsigned flags, struct arena *source, kmem_ctor_fn ctor, kmem_dtor_fn dtor, void *priv)
{
	check_given("__kmem_cache_create", "storage", c, __builtin_return_address(0));
	check_given("__kmem_cache_create", "name", name, __builtin_return_address(0));
	return create(c, name, obj_size, align, flags, source, ctor, dtor, priv, __builtin_return_address(0));
}

struct kmem_cache *kmem_cache_create(const char *name, size_t obj_size, size_t align, unsigned flags,
	struct arena *source, kmem_ctor_fn ctor, kmem_dtor_fn dtor, void *priv)
{
	check_given("kmem_cache_create", "name", name, __builtin_return_address(0));
	return create(NULL, name, obj_size, align, flags, source, ctor, dtor, priv,
		__builtin_return_address(0));
}

bool slab_create_own(
	struct kmem_cache *c, const char *name, size_t obj_size, unsigned flags, struct arena *source)
{
	cache_init(c, name, obj_size, 0, flags, source);
	return enter(c);
}

void slab_meta_create(struct kmem_cache *c, const char *name, size_t obj_size, size_t align)
{
	cache_init(c, name, obj_size, align, KMC_META, base_arena);
	add_importing_slab(base_arena, c);
}

void slab_init(void)
{
	slab_meta_create(&slab_headers, "slab-headers", SLAB_OUTSIDE_SIZE, 0);
	slab_meta_create(&caches, "caches", sizeof(struct kmem_cache), PORT_LINE_SIZE);
	magazine_init();
	slab_debug_init();
	slab_fail_init();
}

/* Keeping and giving back */

/* Memory is what the machine has; what else a source has may grow. */
static bool may_ever_have(struct kmem_cache *c, size_t n)
{
	size_t units = slab_units(c, n);

	return units < SIZE_MAX && (!c->is_memory || arena_may_ever_have(c->source, units));
}

int kmem_cache_reserve(struct kmem_cache *c, size_t n, unsigned flags)
{
	void *caller = __builtin_return_address(0);

	check_given("kmem_cache_reserve", "cache", c, __builtin_return_address(0));
	kmem_check_flags(c, flags, caller);
	if (!may_ever_have(c, n)) {
		if (flags == MEM_WAIT)
			kmem_bug(c, caller, "a reserve of %zu by MEM_WAIT: there is no room for them", n);
		return -ENOMEM;
	}
	if (slab_reserve(c, n, flags) ||
		(flags != MEM_ATOMIC && slab_sleep_for_reserve(c, n, flags, caller)))
		return 0;
	return -ENOMEM;
}

void kmem_cache_set_reclaim(
	struct kmem_cache *c, size_t (*fn)(void *priv, size_t bytes), void *priv)
{
	port_irq_t irq;

	check_given("kmem_cache_set_reclaim", "cache", c, __builtin_return_address(0));
	irq = spin_lock(&c->lock);
	c->reclaim_priv = priv;
	c->reclaim = fn;
	spin_unlock(&c->lock, irq);
}

size_t (*slab_owner(struct kmem_cache *c, void **priv))(void *priv, size_t bytes)
{
	port_irq_t irq = spin_lock(&c->lock);
	size_t (*fn)(void *, size_t) = c->reclaim;

	*priv = c->reclaim_priv;
	spin_unlock(&c->lock, irq);
	return fn;
}

/* Units that ever went back. */
static uint64_t units_gone(struct kmem_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	uint64_t gone = c->units_gone;

	spin_unlock(&c->lock, irq);
	return gone;
}

/* What has gone back since: while the source is short, what comes free may go back by itself. */
static size_t given_since(struct kmem_cache *c, uint64_t gone)
{
	return units_gone(c) - gone;
}

/* Magazines of the depot, a list's: as long as what has gone back isn't enough. */
static void depot_reclaim(struct kmem_cache *c, bool all, bool full, size_t amount, uint64_t gone)
{
	for (size_t n = magazine_depot_surplus(c, all, full); n > 0; n--) {
		size_t given = given_since(c, gone);

		if (given >= amount || !magazine_depot_drain_one(c, full))
			break;
		given = given_since(c, gone);
		if (all && given < amount)
			slab_shed_some(c, amount - given);
	}
}

/* Magazines of the cores, one core's after the other. */
static void cores_reclaim(struct kmem_cache *c, size_t amount, uint64_t gone)
{
	for (unsigned core = 0; core < port_core_count() && given_since(c, gone) < amount; core++) {
		size_t given;

		magazine_drain_core(c, core);
		given = given_since(c, gone);
		if (given < amount)
			slab_shed_some(c, amount - given);
	}
}

size_t slab_reclaim(struct kmem_cache *c, unsigned level, size_t amount)
{
	uint64_t gone = units_gone(c);

	if (level > 1)
		slab_shed_some(c, amount);
	if (c->cores)
		magazine_rest(c, level > 2);
	for (int full = 1; c->cores && full >= 0; full--)
		depot_reclaim(c, level > 1, full, amount, gone);
	if (c->cores && level > 2) {
		cores_reclaim(c, amount, gone);
		if (given_since(c, gone) < amount)
			slab_dissolve(c, amount - given_since(c, gone));
	}
	return given_since(c, gone);
}

/* Every slab that is empty then goes, by any pressure. */
static size_t reap(struct kmem_cache *c, enum kmem_pressure pressure)
{
	void *priv;
	size_t (*fn)(void *, size_t) = slab_owner(c, &priv), given;

	if (fn)
		arena_call_owner(c->name, fn, priv, SIZE_MAX);
	given = slab_reclaim(c, (unsigned)pressure + 1, SIZE_MAX);
	return given + slab_shed(c, true);
}

static void check_pressure(const char *call, enum kmem_pressure pressure, void *caller)
{
	sync_check_may_sleep(call, caller);
	if ((unsigned)pressure > KMEM_REAP_ALL)
		panic("%s: no such pressure: %u (called from %pS)", call, (unsigned)pressure, caller);
}

size_t kmem_cache_reap(struct kmem_cache *c, enum kmem_pressure pressure)
{
	check_given("kmem_cache_reap", "cache", c, __builtin_return_address(0));
	check_pressure("kmem_cache_reap", pressure, __builtin_return_address(0));
	return reap(c, pressure);
}

struct reclaim_account *slab_reclaim_account(struct kmem_cache *c)
{
	return &c->asked;
}

const char *slab_name(const struct kmem_cache *c)
{
	return c->name;
}

bool slab_in_bytes(const struct kmem_cache *c)
{
	return arena_in_bytes(c->source);
}

size_t slab_table_trim(void)
{
	return frames_trim() * PORT_PAGE_SIZE;
}

/* Slabs go back through the quantum caches of their source, and theirs leave headers and magazines
 * behind: three passes. */
#define REAP_PASSES 3

void kmem_reap_all(enum kmem_pressure pressure)
{
	check_pressure("kmem_reap_all", pressure, __builtin_return_address(0));
	for (int pass = 0; pass < REAP_PASSES; pass++)
		for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
			reap(c, pressure);
	frames_trim();
}

/* Destruction */

static int refuse(struct kmem_cache *c, size_t live, unsigned waiters)
{
	magazine_set_slow(c, false);
	if (waiters)
		kprintf("cache %s: not destroyed: %u requests wait for it\n", c->name, waiters);
	else if (live)
		kprintf("cache %s: not destroyed: %zu objects of it are live\n", c->name, live);
	else
		kprintf("cache %s: not destroyed: it is being looked at\n", c->name);
	return -EBUSY;
}

int slab_end(struct kmem_cache *c)
{
	size_t live, held = 0;
	unsigned waiters = shortage_mark_end(&c->mark);

	magazine_set_slow(c, true);
	magazine_drain_cores(c);
	magazine_drain_depot(c, true);
	slab_await_passes(c);
	live = slab_objects_out(c, &held) + __atomic_load_n(&c->samples, __ATOMIC_ACQUIRE);
	if (live > 0 || waiters > 0 || !slab_tree_leave(c))
		return refuse(c, live, waiters);
	c->reserve = 0;
	slab_shed(c, true);
	slab_debug_end(c);
	magazine_cores_end(c);
	return 0;
}

/* A cache of the system's own, or one that the other function made; or one no more.  Of that nothing is
 * read: its memory may be another's. */
static void check_destroy(struct kmem_cache *c, bool owns_storage, const char *what, void *caller)
{
	sync_check_may_sleep(what, caller);
	if (!slab_is_cache(c))
		panic("%s of %p, which is no cache (destroyed before?) (called from %pS)", what, (void *)c,
			caller);
	if ((c->flags & KMC_SYSTEM) || c->owns_storage != owns_storage)
		panic("cache %s isn't %s's to destroy (called from %pS)", c->name, what, caller);
}

int __kmem_cache_destroy(struct kmem_cache *c)
{
	check_given("__kmem_cache_destroy", "cache", c, __builtin_return_address(0));
	check_destroy(c, false, "__kmem_cache_destroy", __builtin_return_address(0));
	return slab_end(c);
}

int kmem_cache_destroy(struct kmem_cache *c)
{
	int error;

	check_given("kmem_cache_destroy", "cache", c, __builtin_return_address(0));
	check_destroy(c, true, "kmem_cache_destroy", __builtin_return_address(0));
	error = slab_end(c);
	if (!error)
		slab_meta_free(&caches, c);
	return error;
}
