/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: magazines, the depot, draining.  Theory: slab.c.
 */
#include "lib/check.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "slab_impl.h"

/* Magazines */

static struct kmem_cache magazines[MAGAZINE_CLASSES];
static struct kmem_cache cores;

/*
 * How many rounds a new magazine has room for.  A cache starts with START_CLASS's or START_BYTES of
 * objects, the lesser, so that arrays of some dozen objects stay with the core.  It has the next class
 * each time that the depot had INTERVAL_TRIPS trips within INTERVAL_NS, and again what it started with
 * when they took SLOW_INTERVALS as long, or when it rests.  A trip that found the lock taken counts as
 * CONTENDED_TRIPS.  A magazine holds MAGAZINE_BYTES of objects at most, or QCACHE_BYTES in a quantum
 * cache, and two for each core no more than CACHE_SHARE of memory; but one object at least.
 */
#define START_CLASS 3
#define START_BYTES ((size_t)8 << 10)
#define MAGAZINE_BYTES ((size_t)64 << 10)
#define QCACHE_BYTES ((size_t)256 << 10)
#define CACHE_SHARE 128
#define INTERVAL_TRIPS 64
#define INTERVAL_NS 100000000ull
#define SLOW_INTERVALS 100
#define CONTENDED_TRIPS 8

/* All magazines together have room for this share of memory at most; a core's first one of each cache,
 * of the size to start with, comes on top. */
#define ALL_SHARE 64

static size_t all_bytes; /* that magazines have room for; atomic */

static size_t bytes_max(const struct kmem_cache *c)
{
	size_t max = c->flags & KMC_QCACHE ? QCACHE_BYTES : MAGAZINE_BYTES;
	size_t share = arena_amt_total(arena_base(c->source)) / CACHE_SHARE / (2 * port_core_max());

	return share < max ? share : max;
}

/* The smallest that has room for so many rounds. */
static unsigned class_of(size_t size)
{
	unsigned class = 0;

	while (MAGAZINE_ROUNDS(class) < size)
		class++;
	return class;
}

/* All of the largest class up to `class` that holds no more; of the smallest one, or where that holds
 * more, too, what it is.  What isn't memory has no size. */
static uint32_t rounds_in(const struct kmem_cache *c, size_t bytes, unsigned class)
{
	size_t rounds = c->is_memory ? bytes / c->stride : MAGAZINE_ROUNDS(class);

	while (class > 0 && MAGAZINE_ROUNDS(class) > rounds)
		class--;
	if (rounds > MAGAZINE_ROUNDS(class))
		rounds = MAGAZINE_ROUNDS(class);
	return rounds > 0 ? (uint32_t)rounds : 1;
}

static uint32_t start_size(const struct kmem_cache *c)
{
	uint32_t start = rounds_in(c, START_BYTES, START_CLASS);

	return start < c->magazine_max ? start : c->magazine_max;
}

/* Depot's lock held. */
static void set_size(struct kmem_cache *c, uint32_t size) SPANDREL_REQUIRES(&c->depot.lock)
{
	__atomic_store_n(&c->magazine_size, size, __ATOMIC_RELAXED);
}

static void grow(struct kmem_cache *c) SPANDREL_REQUIRES(&c->depot.lock)
{
	uint32_t size = (uint32_t)MAGAZINE_ROUNDS(class_of(c->magazine_size + 1));

	set_size(c, size < c->magazine_max ? size : c->magazine_max);
}

static size_t bytes_of(const struct kmem_cache *c, size_t rounds)
{
	return c->is_memory ? rounds * c->stride : 0;
}

/* Whether magazines may have room for so much more; relaxed, since it is but a sum. */
static bool bytes_take(size_t bytes, bool by_all_means)
{
	size_t sum = __atomic_add_fetch(&all_bytes, bytes, __ATOMIC_RELAXED);

	if (by_all_means || sum <= arena_amt_total(base_arena) / ALL_SHARE)
		return true;
	__atomic_fetch_sub(&all_bytes, bytes, __ATOMIC_RELAXED);
	return false;
}

static void bytes_give(size_t bytes)
{
	__atomic_fetch_sub(&all_bytes, bytes, __ATOMIC_RELAXED);
}

static struct magazine *magazine_alloc(struct kmem_cache *c)
{
	uint32_t size = kmem_magazine_size(c);
	struct magazine *m;

	if (!bytes_take(bytes_of(c, size), false)) {
		if (kmem_core_self(c)->loaded)
			return NULL;
		size = start_size(c);
		bytes_take(bytes_of(c, size), true);
	}
	m = slab_meta_alloc(&magazines[class_of(size)]);
	if (m)
		*m = (struct magazine){.size = size};
	else
		bytes_give(bytes_of(c, size));
	return m;
}

void magazine_free(struct kmem_cache *c, struct magazine *m)
{
	bytes_give(bytes_of(c, m->size));
	slab_meta_free(&magazines[class_of(m->size)], m);
}

/* Gives the rounds back to the slab layer and the magazine to its cache: that first, as soon as the
 * last rounds have been copied, for giving them back may end in a panic. */
static void magazine_empty(struct kmem_cache *c, struct magazine *m)
{
	void *rounds[SLAB_STEP];
	size_t left = m->count;

	for (; left > SLAB_STEP; left -= SLAB_STEP)
		slab_give(c, m->round + left - SLAB_STEP, SLAB_STEP, true, __builtin_return_address(0));
	memcpy(rounds, m->round, left * sizeof(*rounds));
	magazine_free(c, m);
	slab_give(c, rounds, left, true, __builtin_return_address(0));
}

/* The depot */

/* Relaxed: depot_exchange() looks, without the lock, whether there is one. */
static void list_set_head(struct magazine_list *l, struct magazine *m)
{
	__atomic_store_n(&l->head, m, __ATOMIC_RELAXED);
}

static void list_put(struct magazine_list *l, struct magazine *m)
{
	m->next = l->head;
	list_set_head(l, m);
	l->count++;
	l->rounds += m->count;
}

static struct magazine *list_get(struct magazine_list *l)
{
	struct magazine *m = l->head;

	if (m) {
		list_set_head(l, m->next);
		m->next = NULL;
		l->count--;
		l->rounds -= m->count;
		if (l->count < l->least)
			l->least = l->count;
	}
	return m;
}

static struct magazine_list *list_of(struct kmem_cache *c, bool full)
{
	return full ? &c->depot.full : &c->depot.empty;
}

static void interval_end(struct magazine_list *l)
{
	l->least_before = l->least;
	l->least = l->count;
}

/* A trip.  Lock held. */
static void note_trip(struct kmem_cache *c, bool was_locked) SPANDREL_REQUIRES(&c->depot.lock)
{
	struct depot *d = &c->depot;
	uint64_t now;

	d->is_idle = false;
	d->trips += was_locked ? CONTENDED_TRIPS : 1;
	if (d->trips < INTERVAL_TRIPS)
		return;
	now = port_ns();
	if (now - d->began < INTERVAL_NS)
		grow(c);
	else if (now - d->began > SLOW_INTERVALS * INTERVAL_NS)
		set_size(c, start_size(c));
	d->began = now;
	d->trips = 0;
	interval_end(&d->full);
	interval_end(&d->empty);
}

struct magazine *depot_exchange(struct kmem_cache *c, bool full, struct magazine *back)
{
	bool was_locked;
	struct magazine *m;
	port_irq_t irq;

	/* What comes just now counts as coming later. */
	if (!__atomic_load_n(&list_of(c, full)->head, __ATOMIC_RELAXED))
		return NULL;
	was_locked = spin_is_locked(&c->depot.lock);
	irq = spin_lock(&c->depot.lock);
	m = list_get(list_of(c, full));
	if (m && back)
		list_put(list_of(c, !full), back);
	note_trip(c, was_locked);
	spin_unlock(&c->depot.lock, irq);
	return m;
}

bool depot_stock(struct kmem_cache *c)
{
	struct magazine *m = kmem_is_slow(c) ? NULL : magazine_alloc(c);
	port_irq_t irq;

	if (!m)
		return false;
	irq = spin_lock(&c->depot.lock);
	kmem_core_self(c)->depot_trips++;
	list_put(&c->depot.empty, m);
	note_trip(c, false);
	spin_unlock(&c->depot.lock, irq);
	return true;
}

/* Draining */

void magazine_rest(struct kmem_cache *c, bool all)
{
	port_irq_t irq = spin_lock(&c->depot.lock);

	if (all || c->depot.is_idle)
		set_size(c, start_size(c));
	c->depot.is_idle = true;
	spin_unlock(&c->depot.lock, irq);
}

/* A new interval begins, as if the reap had been before it. */
size_t magazine_depot_surplus(struct kmem_cache *c, bool all, bool full)
{
	port_irq_t irq = spin_lock(&c->depot.lock);
	struct magazine_list *l = list_of(c, full);
	size_t least = l->least < l->least_before ? l->least : l->least_before;
	size_t n = all ? l->count : least;

	l->least_before = SIZE_MAX;
	l->least = l->count - n;
	spin_unlock(&c->depot.lock, irq);
	return n;
}

bool magazine_depot_drain_one(struct kmem_cache *c, bool full)
{
	port_irq_t irq = spin_lock(&c->depot.lock);
	struct magazine *m = list_get(list_of(c, full));

	spin_unlock(&c->depot.lock, irq);
	if (m)
		magazine_empty(c, m);
	return m != NULL;
}

static void drain_list(struct kmem_cache *c, bool full, bool all)
{
	for (size_t n = magazine_depot_surplus(c, all, full); n > 0; n--)
		magazine_depot_drain_one(c, full);
}

void magazine_drain_depot(struct kmem_cache *c, bool all)
{
	drain_list(c, true, all);
	drain_list(c, false, all);
}

struct core_take {
	struct kmem_cache *cache;
	struct magazine *loaded, *previous;
};

/* On the core itself. */
static void core_take(void *arg)
{
	struct core_take *t = arg;
	struct kmem_core *core = kmem_core_self(t->cache);

	kmem_core_close(core);
	t->loaded = core->loaded;
	t->previous = core->previous;
	kmem_core_hold(core, NULL, NULL);
}

static void empty_taken(const struct core_take *t)
{
	if (t->loaded)
		magazine_empty(t->cache, t->loaded);
	if (t->previous)
		magazine_empty(t->cache, t->previous);
}

void magazine_drain_self(struct kmem_cache *c)
{
	struct core_take t = {.cache = c};
	port_irq_t irq = port_irq_save();

	core_take(&t);
	port_irq_restore(irq);
	empty_taken(&t);
}

/* Most cores have nothing of most caches, and are not stopped. */
static bool core_holds(const struct kmem_core *core)
{
	return __atomic_load_n(&core->loaded, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&core->previous, __ATOMIC_RELAXED);
}

void magazine_drain_core(struct kmem_cache *c, unsigned core)
{
	struct core_take t = {.cache = c};

	if (!core_holds(&c->cores[core]))
		return;
	port_core_run(core, core_take, &t);
	empty_taken(&t);
}

void magazine_drain_cores(struct kmem_cache *c)
{
	for (unsigned core = 0; c->cores && core < port_core_count(); core++)
		magazine_drain_core(c, core);
}

/* On the core itself. */
static void core_stop(void *cache)
{
	kmem_core_close(kmem_core_self(cache));
}

void magazine_set_slow(struct kmem_cache *c, bool slow)
{
	__atomic_fetch_add(&c->slow, slow ? 1 : -1u, __ATOMIC_RELAXED);
	for (unsigned core = 0; slow && c->cores && core < port_core_count(); core++)
		port_core_run(core, core_stop, c);
}

void magazine_set_closed(struct kmem_cache *c, bool closed)
{
	if (!closed) {
		magazine_set_slow(c, false);
		__atomic_fetch_sub(&c->slow_modes, 1, __ATOMIC_RELAXED);
		return;
	}
	__atomic_fetch_add(&c->slow_modes, 1, __ATOMIC_RELAXED);
	magazine_set_slow(c, true);
	magazine_drain_cores(c);
	magazine_drain_depot(c, true);
}

/* Whether an object lies in a magazine */

struct look {
	struct kmem_cache *cache;
	unsigned core;
	void *object;
	bool found;
};

static bool is_among(void *const *rounds, size_t n, const void *object)
{
	while (n > 0 && rounds[n - 1] != object)
		n--;
	return n > 0;
}

/* On the core itself. */
static void core_look(void *arg)
{
	struct look *l = arg;
	struct kmem_core *core = &l->cache->cores[l->core];
	const struct port_stack *s = &core->rounds.stack;

	if (core->loaded && s->bottom < s->top)
		l->found = is_among(s->bottom, (size_t)(s->top - s->bottom), l->object);
	if (core->previous && !l->found)
		l->found = is_among(core->previous->round, core->previous_rounds, l->object);
}

/* The i-th full magazine, if there is one: *more. */
static bool is_in_depot(struct depot *d, size_t i, const void *object, bool *more)
{
	port_irq_t irq = spin_lock(&d->lock);
	const struct magazine *m = d->full.head;
	bool found;

	while (m && i-- > 0)
		m = m->next;
	found = m && is_among(m->round, m->count, object);
	spin_unlock(&d->lock, irq);
	*more = m;
	return found;
}

bool kmem_cache_is_idle(struct kmem_cache *c, uintptr_t object)
{
	struct look l = {.cache = c, .object = (void *)object};
	bool more;

	check_given("kmem_cache_is_idle", "cache", c, __builtin_return_address(0));
	more = c->cores;
	if (!panic_happened())
		sync_check_irq_on("kmem_cache_is_idle", __builtin_return_address(0));
	for (size_t i = 0; more && !l.found; i++)
		l.found = is_in_depot(&c->depot, i, l.object, &more);
	for (; c->cores && !l.found && l.core < port_core_count(); l.core++) {
		if (!core_holds(&c->cores[l.core]))
			continue;
		if (panic_happened())
			core_look(&l);
		else
			port_core_run(l.core, core_look, &l);
	}
	return l.found;
}

/* Cores and the module's caches of them */

bool magazine_cores_make(struct kmem_cache *c)
{
	c->cores = slab_meta_alloc(&cores);
	if (!c->cores)
		return false;
	memset(c->cores, 0, port_core_max() * sizeof(*c->cores));
	for (unsigned i = 0; i < port_core_max(); i++)
		port_stack_close(&c->cores[i].rounds.stack);
	c->magazine_max = rounds_in(c, bytes_max(c), MAGAZINE_CLASSES - 1);
	c->magazine_size = start_size(c);
	c->depot.began = port_ns();
	return true;
}

void magazine_cores_end(struct kmem_cache *c)
{
	slab_meta_free(&cores, c->cores);
}

void magazine_init(void)
{
	char name[KMEM_NAME_MAX];

	slab_meta_create(&cores, "cores", port_core_max() * sizeof(struct kmem_core), ARENA_ROUNDS_STRIDE);
	for (unsigned class = 0; class < MAGAZINE_CLASSES; class++) {
		size_t rounds = MAGAZINE_ROUNDS(class);

		ksnprintf(name, sizeof(name), "magazine-%zu", rounds);
		slab_meta_create(&magazines[class], name,
			sizeof(struct magazine) + rounds * sizeof(void *), PORT_LINE_SIZE);
	}
}
