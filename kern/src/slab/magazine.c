/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: each core's magazines, the depot, and allocation and freeing.  Theory: slab.c.
 */
#include "lib/panic.h"
#include "lib/string.h"
#include "slab_impl.h"

#define unlikely(x) __builtin_expect(!!(x), 0)

/* Magazines */

static struct kmem_cache magazines[MAGAZINE_CLASSES];
static struct kmem_cache cores;

/* What a magazine may hold of objects, in bytes, and the least and the largest class that a cache
 * starts with. */
#define MAGAZINE_BYTES 8192
#define CLASS_LEAST 0
#define CLASS_MOST 3
/* A quantum cache hands out large objects, and what it lays up is missed by all that its source
 * serves: at most this share of memory in the two magazines of each core, and no more than is of
 * use. */
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
		l->count--;
		if (l->count < l->least)
			l->least = l->count;
	}
	return m;
}

/* Gets a magazine from one list and, only then, puts `back` (may be NULL) into the other. */
static struct magazine *depot_exchange(struct kmem_cache *c, struct magazine_list *from,
	struct magazine_list *to, struct magazine *back)
{
	struct magazine *m;
	port_irq_t irq;

	/* What comes just now counts as coming later. */
	if (!__atomic_load_n(&from->head, __ATOMIC_RELAXED))
		return NULL;
	irq = spin_lock(&c->depot.lock);
	m = list_get(from);
	if (m && back)
		list_put(to, back);
	spin_unlock(&c->depot.lock, irq);
	return m;
}

static void depot_put_empty(struct kmem_cache *c, struct magazine *m)
{
	port_irq_t irq = spin_lock(&c->depot.lock);

	list_put(&c->depot.empty, m);
	spin_unlock(&c->depot.lock, irq);
}

/* A core's magazines.  Interrupts are off, or it is stopped at a safe point.  An NMI may land
 * anywhere: it finds the stack open and everything in order, or closed, and then touches nothing
 * else. */

/* Closing comes first: only then does the top stand still. */
static void core_close(struct kmem_core *core)
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

/* Relaxed: only this core reads them to use what they point to; others look whether there is anything. */
static void core_hold(struct kmem_core *core, struct magazine *loaded, struct magazine *previous)
{
	__atomic_store_n(&core->loaded, loaded, __ATOMIC_RELAXED);
	__atomic_store_n(&core->previous, previous, __ATOMIC_RELAXED);
}

static void core_swap(struct kmem_core *core)
{
	core_hold(core, core->previous, core->loaded);
}

/* Loads m; what was loaded becomes previous, which was given away. */
static void core_load(struct kmem_core *core, struct magazine *m)
{
	core_hold(core, m, core->loaded);
	core->depot_trips++;
}

/* Loads a magazine with rounds in it, if this core or the depot has one; else puts some of the slab
 * layer's objects into the one it has, unless they have to be constructed. */
static bool core_refill(struct kmem_cache *c, struct kmem_core *core)
{
	struct magazine *m = NULL;

	if (core->loaded && core->loaded->count > 0)
		return true;
	if (core->previous && core->previous->count > 0) {
		core_swap(core);
		return true;
	}
	m = depot_exchange(c, &c->depot.full, &c->depot.empty, core->previous);
	if (m)
		core_load(core, m);
	m = core->loaded;
	if (m && m->count == 0 && !c->ctor)
		m->count = (uint32_t)slab_take_held(c, m->round, m->size < SLAB_STEP ? m->size : SLAB_STEP);
	return m && m->count > 0;
}

/* Loads a magazine with room in it. */
static bool core_make_room(struct kmem_cache *c, struct kmem_core *core)
{
	struct magazine *m = NULL;

	if (core->loaded && core->loaded->count < core->loaded->size)
		return true;
	if (core->previous && core->previous->count < core->previous->size) {
		core_swap(core);
		return true;
	}
	m = depot_exchange(c, &c->depot.empty, &c->depot.full, core->previous);
	if (m)
		core_load(core, m);
	return m != NULL;
}

/* Has `change` bring this core's magazines into shape; whether it could. */
static bool core_change(
	struct kmem_cache *c, bool (*change)(struct kmem_cache *c, struct kmem_core *core))
{
	port_irq_t irq = port_irq_save();
	struct kmem_core *core = kmem_core_self(c);
	bool changed = false;

	core_close(core);
	if (!kmem_is_slow(c)) {
		changed = change(c, core);
		core_open(core);
	}
	port_irq_restore(irq);
	return changed;
}

/* Callers' mistakes */

void kmem_check_flags(struct kmem_cache *c, unsigned flags, void *caller)
{
	const char *wrong;

	if (__builtin_expect(kmem_flags_sound(flags), 1))
		return;
	wrong = arena_flags_wrong(flags);
	kmem_bug(c, caller, "flags %#x: %s", flags, wrong ? wrong : "not exactly one memory flag, and no fit");
}

/* Allocation, beyond the hot path */

/* Constructs objects[0 .. n), of which the caller wants the first `wanted` and the others are to be
 * laid up.  Returns how many stand; the others have gone back. */
static size_t construct(
	struct kmem_cache *c, void **objects, size_t n, size_t wanted, unsigned flags, void *caller)
{
	size_t done = 0;

	if (!c->ctor)
		return n;
	while (done < n && c->ctor(objects[done], c->priv, done < wanted ? flags : MEM_ATOMIC) == 0)
		done++;
	if (done == n)
		return n;
	slab_give(c, objects + done, n - done, false, caller);
	if (done < wanted) {
		__atomic_fetch_add(&c->ctor_failures, 1, __ATOMIC_RELAXED);
		if (flags == MEM_WAIT)
			kmem_bug(c, caller, "its constructor failed on %p under MEM_WAIT", objects[done]);
	}
	return done;
}

/* Takes up to n <= SLAB_STEP constructed objects from the slab layer. */
static size_t take_constructed(
	struct kmem_cache *c, void **objects, size_t n, size_t wanted, unsigned flags, void *caller)
{
	return construct(c, objects, slab_take(c, objects, n, flags), wanted, flags, caller);
}

/* Objects that are worth taking at a time: no more than fit into a magazine. */
static size_t step_of(const struct kmem_cache *c)
{
	size_t rounds = MAGAZINE_ROUNDS(c->magazine_class);

	return rounds < SLAB_STEP ? rounds : SLAB_STEP;
}

/* One object from the slab layer, and as many more as fit in what is loaded. */
static void *fill(struct kmem_cache *c, unsigned flags, void *caller)
{
	void *objects[SLAB_STEP];
	bool lays_up = kmem_core_self(c)->loaded && !kmem_is_slow(c);
	size_t n = take_constructed(c, objects, lays_up ? step_of(c) : 1, 1, flags, caller), kept;

	if (n == 0)
		return NULL;
	kept = port_stack_push_many(&kmem_core_self(c)->rounds.stack, objects + 1, n - 1);
	if (1 + kept < n)
		slab_give(c, objects + 1 + kept, n - 1 - kept, true, caller);
	return objects[0];
}

static void *alloc_slow(struct kmem_cache *c, unsigned flags, void *caller)
{
	void *object;

	do {
		if (!core_change(c, core_refill))
			break;
		object = port_stack_pop(&kmem_core_self(c)->rounds.stack);
		if (object)
			return object;
	} while (!kmem_is_slow(c));
	return fill(c, flags, caller);
}

/* A request, for when it has to wait. */
struct wish {
	struct kmem_cache *cache;
	void *object, *caller;
};

static bool wish_serve(void *arg)
{
	struct wish *w = arg;

	w->object = alloc_slow(w->cache, MEM_WAIT, w->caller);
	return w->object != NULL;
}

static void *alloc_wait(struct kmem_cache *c, void *caller)
{
	struct wish w = {c, NULL, caller};

	slab_wait(c, &c->clients, wish_serve, &w, caller);
	return w.object;
}

/* Who may wait stands behind those who do. */
static bool stands_behind(const struct kmem_cache *c, unsigned flags)
{
	return flags == MEM_WAIT && slab_is_waited(c);
}

void *magazine_alloc_slow(struct kmem_cache *c, unsigned flags, void *caller)
{
	void *object = NULL;

	kmem_check_flags(c, flags, caller);
	kmem_core_self(c)->alloc_misses++;
	if (!port_in_nmi() && !stands_behind(c, flags))
		object = alloc_slow(c, flags, caller);
	if (!object && flags == MEM_WAIT)
		object = alloc_wait(c, caller);
	if (!object)
		kmem_core_self(c)->failures++;
	return object;
}

/* The one call that isn't hot stands last, so that the hot path needs no frame. */
void *kmem_cache_alloc(struct kmem_cache *c, unsigned flags)
{
	if (__builtin_expect(kmem_flags_sound(flags), 1)) {
		void *object = kmem_alloc_hot(c);

		if (__builtin_expect(object != NULL, 1))
			return object;
	}
	return magazine_alloc_slow(c, flags, __builtin_return_address(0));
}

void *kmem_cache_zalloc(struct kmem_cache *c, unsigned flags)
{
	void *object;

	if (c->ctor || (c->flags & KMC_NOTOUCH) || !c->is_memory)
		kmem_bug(c, __builtin_return_address(0), "zeroed objects asked for, which %s",
			c->ctor ? "the constructor readies" : "aren't memory");
	object = kmem_cache_alloc(c, flags);
	return object ? memset(object, 0, c->obj_size) : NULL;
}

/* As much as possible from this core's magazines and the depot. */
static size_t bulk_from_magazines(struct kmem_cache *c, void **objects, size_t n)
{
	size_t got = 0;

	while (got < n && core_change(c, core_refill)) {
		got += port_stack_pop_many(&kmem_core_self(c)->rounds.stack, objects + got, n - got);
	}
	return got;
}

static size_t bulk_from_slabs(
	struct kmem_cache *c, void **objects, size_t n, unsigned flags, void *caller)
{
	size_t got = 0, step, wanted;

	do {
		wanted = n - got < SLAB_STEP ? n - got : SLAB_STEP;
		step = take_constructed(c, objects + got, wanted, wanted, flags, caller);
		got += step;
	} while (got < n && step > 0);
	return got;
}

static __attribute__((noinline)) size_t bulk_alloc_slow(
	struct kmem_cache *c, void **objects, size_t n, unsigned flags, void *caller)
{
	size_t got = 0;

	kmem_core_self(c)->alloc_misses++;
	if (port_in_nmi())
		return 0;
	if (!stands_behind(c, flags)) {
		got = bulk_from_magazines(c, objects, n);
		if (got < n)
			got += bulk_from_slabs(c, objects + got, n - got, flags, caller);
	}
	for (; got < n && flags == MEM_WAIT; got++)
		objects[got] = alloc_wait(c, caller);
	return got;
}

size_t kmem_cache_alloc_bulk(struct kmem_cache *c, void **objects, size_t n, unsigned flags)
{
	void *caller = __builtin_return_address(0);
	struct kmem_core *core = kmem_core_self(c);
	size_t got;

	if (unlikely(!kmem_flags_sound(flags)))
		kmem_check_flags(c, flags, caller);
	core->rounds.allocs += n;
	got = port_stack_pop_many(&core->rounds.stack, objects, n);
	if (unlikely(got < n)) {
		got += bulk_alloc_slow(c, objects + got, n - got, flags, caller);
		kmem_core_self(c)->failures += n - got;
	}
	return got;
}

/* Freeing, beyond the hot path */

void kmem_check_not_nmi(struct kmem_cache *c, const void *object, void *caller)
{
	if (port_in_nmi())
		kmem_bug(c, caller, "free of %p in an NMI", object);
}

/* Puts an empty magazine into the depot; false if there is no memory for one. */
static bool depot_stock(struct kmem_cache *c)
{
	struct magazine *m = kmem_is_slow(c) ? NULL : magazine_alloc(c);

	if (!m)
		return false;
	depot_put_empty(c, m);
	return true;
}

void magazine_free_slow(struct kmem_cache *c, void *object, void *caller)
{
	kmem_core_self(c)->free_misses++;
	kmem_check_not_nmi(c, object, caller);
	do {
		if (core_change(c, core_make_room) &&
			port_stack_push(&kmem_core_self(c)->rounds.stack, object))
			return;
	} while (depot_stock(c));
	slab_give(c, &object, 1, true, caller);
}

void kmem_cache_free(struct kmem_cache *c, void *object)
{
	if (SPANDREL_DEBUG)
		kmem_check_not_nmi(c, object, __builtin_return_address(0));
	if (unlikely(!kmem_free_hot(c, object)))
		magazine_free_slow(c, object, __builtin_return_address(0));
}

static __attribute__((noinline)) void bulk_free_slow(
	struct kmem_cache *c, void *const *objects, size_t n, void *caller)
{
	size_t given = 0, step;

	while (given < n && (core_change(c, core_make_room) || depot_stock(c))) {
		given += port_stack_push_many(&kmem_core_self(c)->rounds.stack, objects + given, n - given);
	}
	for (; given < n; given += step) {
		step = n - given < SLAB_STEP ? n - given : SLAB_STEP;
		slab_give(c, objects + given, step, true, caller);
	}
}

void kmem_cache_free_bulk(struct kmem_cache *c, void *const *objects, size_t n)
{
	struct kmem_core *core = kmem_core_self(c);
	size_t given;

	if (SPANDREL_DEBUG)
		kmem_check_not_nmi(c, n > 0 ? objects[0] : NULL, __builtin_return_address(0));
	core->rounds.frees += n;
	given = port_stack_push_many(&core->rounds.stack, objects, n);
	if (unlikely(given < n)) {
		void *caller = __builtin_return_address(0);

		core->free_misses++;
		kmem_check_not_nmi(c, objects[given], caller);
		bulk_free_slow(c, objects + given, n - given, caller);
	}
}

/* Draining */

/* Moves up to `most` magazines off a list; the rest have been needed. */
static struct magazine *depot_take(struct kmem_cache *c, struct magazine_list *l, bool all)
{
	port_irq_t irq = spin_lock(&c->depot.lock);
	struct magazine *m = all || l->least > 0 ? l->head : NULL;

	if (m) {
		list_set_head(l, m->next);
		l->count--;
		l->least -= l->least > 0;
	}
	spin_unlock(&c->depot.lock, irq);
	return m;
}

static void depot_begin_interval(struct kmem_cache *c)
{
	port_irq_t irq = spin_lock(&c->depot.lock);

	c->depot.full.least = c->depot.full.count;
	c->depot.empty.least = c->depot.empty.count;
	spin_unlock(&c->depot.lock, irq);
}

void magazine_drain_depot(struct kmem_cache *c, bool all)
{
	struct magazine *m;

	while ((m = depot_take(c, &c->depot.full, all)) || (m = depot_take(c, &c->depot.empty, all)))
		magazine_empty(c, m);
	depot_begin_interval(c);
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

	core_close(core);
	t->loaded = core->loaded;
	t->previous = core->previous;
	core_hold(core, NULL, NULL);
}

/* Most cores have nothing of most caches, and are let alone. */
static bool core_holds(const struct kmem_core *core)
{
	return __atomic_load_n(&core->loaded, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&core->previous, __ATOMIC_RELAXED);
}

void magazine_drain_cores(struct kmem_cache *c)
{
	for (unsigned core = 0; core < port_core_count(); core++) {
		struct core_take t = {.cache = c};

		if (!core_holds(&c->cores[core]))
			continue;
		port_core_run(core, core_take, &t);
		if (t.loaded)
			magazine_empty(c, t.loaded);
		if (t.previous)
			magazine_empty(c, t.previous);
	}
}

/* On the core itself. */
static void core_stop(void *cache)
{
	core_close(kmem_core_self(cache));
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
