/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: magazines, the depot, draining.  Theory: slab.c.
 */
#include "lib/panic.h"
#include "lib/string.h"
#include "slab_impl.h"

/* Magazines */

static struct kmem_cache magazines[MAGAZINE_CLASSES];
static struct kmem_cache cores;

/* What a magazine may hold of objects, in bytes, and the least and the largest class that a cache
 * starts with. */
#define MAGAZINE_BYTES 8192
#define CLASS_LEAST 0
#define CLASS_MOST 3
/* A quantum cache hands out large objects, and what its magazines hold is missing to all that its
 * source serves: at most this share of memory in the two magazines of each core, and no more than
 * is of use. */
#define QCACHE_SHARE 128
#define QCACHE_BYTES_MAX ((size_t)256 << 10)

static size_t bytes_max(const struct kmem_cache *c)
{
	size_t share;

	if (!(c->flags & KMC_QCACHE))
		return MAGAZINE_BYTES;
	share = arena_amt_total(arena_base(c->source)) / QCACHE_SHARE / (2 * port_core_max());
	return share < QCACHE_BYTES_MAX ? share : QCACHE_BYTES_MAX;
}

static unsigned class_for(const struct kmem_cache *c)
{
	unsigned class = CLASS_MOST;
	size_t max = bytes_max(c);

	while (class > CLASS_LEAST && c->is_memory && MAGAZINE_ROUNDS(class) * c->stride > max)
		class--;
	return class;
}

static struct magazine *magazine_alloc(struct kmem_cache *c)
{
	unsigned class = c->magazine_class;
	struct magazine *m = slab_meta_alloc(&magazines[class]);

	if (m) {
		m->size = MAGAZINE_ROUNDS(class);
		m->count = 0;
		m->next = NULL;
	}
	return m;
}

static void magazine_free(struct magazine *m)
{
	unsigned class = (unsigned)__builtin_ctzll((m->size + 2) / 16);

	slab_meta_free(&magazines[class], m);
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
	magazine_free(m);
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
}

static struct magazine *list_get(struct magazine_list *l)
{
	struct magazine *m = l->head;

	if (m) {
		list_set_head(l, m->next);
		m->next = NULL;
		l->count--;
		if (l->count < l->least)
			l->least = l->count;
	}
	return m;
}

struct magazine *depot_exchange(struct depot *d, struct magazine_list *from, struct magazine_list *to,
	struct magazine *back)
{
	struct magazine *m;
	port_irq_t irq;

	/* What comes just now counts as coming later. */
	if (!__atomic_load_n(&from->head, __ATOMIC_RELAXED))
		return NULL;
	irq = spin_lock(&d->lock);
	m = list_get(from);
	if (m && back)
		list_put(to, back);
	spin_unlock(&d->lock, irq);
	return m;
}

bool depot_stock(struct kmem_cache *c)
{
	struct magazine *m = kmem_is_slow(c) ? NULL : magazine_alloc(c);
	port_irq_t irq;

	if (!m)
		return false;
	irq = spin_lock(&c->depot.lock);
	list_put(&c->depot.empty, m);
	spin_unlock(&c->depot.lock, irq);
	return true;
}

/* Draining */

/* A new interval begins.  Returns how many magazines to drain: all, or those that the last interval
 * never needed. */
static size_t interval_begin(struct depot *d, struct magazine_list *l, bool all)
{
	port_irq_t irq = spin_lock(&d->lock);
	size_t n = all ? l->count : l->least;

	l->least = l->count - n;
	spin_unlock(&d->lock, irq);
	return n;
}

static struct magazine_list *list_of(struct kmem_cache *c, bool full)
{
	return full ? &c->depot.full : &c->depot.empty;
}

size_t magazine_depot_surplus(struct kmem_cache *c, bool all, bool full)
{
	return interval_begin(&c->depot, list_of(c, full), all);
}

bool magazine_depot_drain_one(struct kmem_cache *c, bool full)
{
	struct magazine *m = depot_exchange(&c->depot, list_of(c, full), NULL, NULL);

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

/* Cores and the module's caches of them */

bool magazine_cores_make(struct kmem_cache *c)
{
	c->cores = slab_meta_alloc(&cores);
	if (!c->cores)
		return false;
	memset(c->cores, 0, port_core_max() * sizeof(*c->cores));
	for (unsigned i = 0; i < port_core_max(); i++)
		port_stack_close(&c->cores[i].rounds.stack);
	c->magazine_class = class_for(c);
	return true;
}

void magazine_cores_end(struct kmem_cache *c)
{
	slab_meta_free(&cores, c->cores);
}

void magazine_init(void)
{
	char name[KMEM_NAME_MAX];

	slab_meta_create(&cores, "cores", port_core_max() * sizeof(struct kmem_core), 2 * PORT_LINE_SIZE);
	for (unsigned class = 0; class < MAGAZINE_CLASSES; class++) {
		size_t rounds = MAGAZINE_ROUNDS(class);

		ksnprintf(name, sizeof(name), "magazine-%zu", rounds);
		slab_meta_create(&magazines[class], name,
			sizeof(struct magazine) + rounds * sizeof(void *), PORT_LINE_SIZE);
	}
}
