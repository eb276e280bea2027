/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: how they come into being, gain spans and end.
 */
#include "arena_impl.h"

#include "lib/check.h"
#include "lib/string.h"
#include "owner.h"

static struct arena_owner arenas = ARENA_OWNER("arenas", base_arena);

struct arena *base_arena;
struct arena *kpages_arena;

struct arena_front *(*arena_front_create)(struct arena *a);

/* Quanta of its source's that an arena may keep in wholly free spans. */
#define RETAIN_QUANTA 32

/* What is the same for every arena.  base, source and supply are set by then. */
static void arena_init(struct arena *a, const char *name, size_t quantum)
{
	str_copy(a->name, name, sizeof(a->name));
	list_init(&a->importers);
	list_init(&a->importer_link);
	list_init(&a->slabs);
	shortage_mark_init(&a->mark, arena_mark_set);
	spin_init(&a->lock, SPIN_ARENA);
	btag_store_init(&a->store, quantum);
}

void arena_set_front(struct arena *a, struct arena_front *front)
{
	a->front = front;
	a->rounds = front ? front->rounds : NULL;
	a->quantum_share = UINT64_MAX / a->store.quantum;
	a->front_max = front ? a->qcache_max : 0;
}

/* Joins the supply and the lists: from here on others see the arena. */
static void arena_enter(struct arena *a)
{
	port_irq_t irq;

	if (!arena_is_base(a)) {
		irq = spin_lock(&a->supply->lock);
		a->supply->users++;
		spin_unlock(&a->supply->lock, irq);
	}
	qlock_lock(&arenas_and_slabs_lock);
	arena_list_add(a);
	qlock_unlock(&arenas_and_slabs_lock);
	if (a->source && a->source != a)
		add_importing_arena(a->source, a);
}

/* Spans added by hand */

#define TAGS_PER_SPAN 2

/* A request for the tags of one more span. */
struct tags_wanted {
	struct shortage record;
	struct arena *arena;
	struct btag_chain tags;
};

static bool tags_try(struct shortage *s)
{
	struct tags_wanted *w = container_of(s, struct tags_wanted, record);

	return arena_tags_take(w->arena, &w->tags, TAGS_PER_SPAN);
}

/* 0 or -ENOMEM.  A caller that may wait waits for a page, of which tags are made. */
static int span_tags(struct arena *a, struct btag_chain *tags, unsigned flags, void *caller)
{
	struct shortage_part part = {a->base, PORT_PAGE_SIZE, PORT_PAGE_SIZE, NULL};
	struct tags_wanted w = {
		.record = {.try = tags_try, .parts = &part, .part_count = 1, .flags = flags, .caller = caller},
		.arena = a,
	};
	bool has = tags_try(&w.record) || (!(flags & MEM_ATOMIC) && shortage_wait(&w.record));

	*tags = w.tags;
	return has ? 0 : -ENOMEM;
}

/* Puts it in, and makes it one with the spans it touches. */
static void span_put(struct btag_store *s, const struct btag_extent *e)
{
	struct btag *span = btag_span_in(s, e, false, e->first, 0, BTAG_FREE)->prev;

	if (e->above && btag_last(span) + 1 == e->above->start)
		btag_span_join(s, span, e->above);
	if (e->below && btag_last(e->below) + 1 == span->start)
		btag_span_join(s, e->below, span);
}

/* With the tags, which are used up. */
static int span_add(struct arena *a, struct btag_chain *tags, uintptr_t start, size_t size)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct btag_extent e;
	int error = 0;

	if (!btag_extent_find(&a->store, start, size, &e))
		error = -EEXIST;
	else if (!e.inside)
		error = -EINVAL;
	btag_give(&a->store, tags);
	if (!error) {
		e.start = e.first;
		e.size = e.inside;
		span_put(&a->store, &e);
	}
	spin_unlock(&a->lock, irq);
	if (!error)
		shortage_poke();
	if (arena_needs_care(a))
		arena_care(a);
	return error;
}

/* Why [start, start + size) is no range for any arena, or 0. */
static int range_error(uintptr_t start, size_t size)
{
	if (size == 0)
		return -EINVAL;
	if (start + (size - 1) < start)
		return -ERANGE;
	return start == 0 ? -EDOM : 0;
}

int arena_add(struct arena *a, void *base, size_t size, unsigned flags)
{
	struct btag_chain tags = {NULL, 0};
	uintptr_t start = (uintptr_t)base;
	int error;

	check_given("arena_add", "arena", a, __builtin_return_address(0));
	arena_check_flags(a, flags, __builtin_return_address(0));
	if (a->afunc)
		return -EBUSY;
	error = range_error(start, size);
	if (error)
		return error;
	error = span_tags(a, &tags, flags, __builtin_return_address(0));
	return error ? error : span_add(a, &tags, start, size);
}

const char *arena_add_strerror(int error)
{
	switch (error) {
	case 0:
		return "added";
	case -ENOMEM:
		return "no memory for boundary tags";
	case -EINVAL:
		return "the range holds no whole quantum";
	case -ERANGE:
		return "the range wraps around";
	case -EDOM:
		return "the range contains 0";
	case -EEXIST:
		return "the range overlaps a span";
	case -EBUSY:
		return "the arena imports its spans";
	default:
		return "unknown error";
	}
}

/* Arenas above a base */

/* Why a range is no first span of an arena of that quantum, or 0. */
static int first_span_error(uintptr_t start, size_t size, size_t quantum)
{
	size_t lead = (quantum - start % quantum) % quantum;
	int error = range_error(start, size);

	return error || (size > lead && size - lead >= quantum) ? error : -EINVAL;
}

static void check_create(const char *name, void *base, size_t size, size_t quantum, arena_alloc_fn afunc,
	arena_free_fn ffunc, struct arena *source, size_t qcache_max, unsigned flags, void *caller)
{
	const char *wrong = NULL;
	char where[ARENA_WHERE_MAX];
	int error;

	if (quantum == 0)
		wrong = "a quantum of 0";
	else if (qcache_max % quantum != 0)
		wrong = "a qcache_max that is no multiple of the quantum";
	else if (!afunc != !ffunc || !afunc != !source)
		wrong = afunc && ffunc ? "a source that is NULL: has it been made?"
				       : "not all three or none of afunc, ffunc and source";
	else if (size && source)
		wrong = "both a first span and a source";
	else if ((!source || source == ARENA_SELF_SOURCE) && !base_arena)
		wrong = "no source before there is a base_arena";
	if (wrong)
		panic("arena %s: can't be created with %s (called from %pS)", name, wrong, caller);
	error = size ? first_span_error((uintptr_t)base, size, quantum) : 0;
	if (error)
		panic("arena %s: can't be created over [%p, +%#zx): %s (called from %pS)", name, base, size,
			arena_add_strerror(error), caller);
	wrong = arena_flags_wrong(flags);
	if (wrong)
		panic("arena %s: can't be created with flags %#x: %s%s (called from %pS)", name, flags, wrong,
			arena_flags_where(wrong, where), caller);
}

static struct arena *create_in(struct arena *a, const char *name, void *base, size_t size,
	size_t quantum, arena_alloc_fn afunc, arena_free_fn ffunc, struct arena *source,
	size_t qcache_max, unsigned flags)
{
	bool self = source == ARENA_SELF_SOURCE;

	memset(a, 0, sizeof(*a));
	arena_init(a, name, quantum);
	a->afunc = afunc;
	a->ffunc = ffunc;
	a->source = self ? a : source;
	a->base = source && !self ? source->base : base_arena;
	a->supply = a->base->supply;
	a->node_supply = a->base->node_supply;
	a->retain_max = a->source ? RETAIN_QUANTA * a->source->store.quantum : 0;
	a->passes_down = !self && afunc == arena_alloc && ffunc == arena_free && a->store.is_power &&
			 source->store.is_power;
	a->qcache_max = qcache_max;
	a->is_memory = source && !self && source->is_memory;

	/* Only memory for its tags may be wanting: the range has been checked. */
	if (size && arena_add(a, base, size, flags) != 0)
		return NULL;
	if (a->qcache_max > 0 && arena_front_create)
		arena_set_front(a, arena_front_create(a));
	arena_enter(a);
	return a;
}

_Static_assert(sizeof(struct arena) <= ARENA_STORAGE, "an arena fits in there");
_Static_assert(_Alignof(struct arena) <= PORT_LINE_SIZE, "an arena may lie there");

struct arena *__arena_create(struct arena *arena, const char *name, void *base, size_t size,
	size_t quantum, arena_alloc_fn afunc, arena_free_fn ffunc, struct arena *source,
	size_t qcache_max, unsigned flags)
{
	void *caller = __builtin_return_address(0);

	check_given("__arena_create", "storage", arena, __builtin_return_address(0));
	check_given("__arena_create", "name", name, __builtin_return_address(0));
	sync_check_may_sleep("__arena_create", caller);
	check_create(name, base, size, quantum, afunc, ffunc, source, qcache_max, flags, caller);
	return create_in(arena, name, base, size, quantum, afunc, ffunc, source, qcache_max, flags);
}

static void storage_free(struct arena *near, struct arena *storage)
{
	arena_owner_sub(&arenas, near ? near->base : base_arena, sizeof(*storage));
	base_free(near, storage, sizeof(*storage));
}

struct arena *arena_create(const char *name, void *base, size_t size, size_t quantum,
	arena_alloc_fn afunc, arena_free_fn ffunc, struct arena *source, size_t qcache_max,
	unsigned flags)
{
	void *caller = __builtin_return_address(0);
	struct arena *near = source == ARENA_SELF_SOURCE ? NULL : source, *storage, *a;

	check_given("arena_create", "name", name, __builtin_return_address(0));
	sync_check_may_sleep("arena_create", caller);
	check_create(name, base, size, quantum, afunc, ffunc, source, qcache_max, flags, caller);
	storage = base_alloc(near, sizeof(*a), flags);
	if (!storage)
		return NULL;
	arena_owner_add(&arenas, near ? near->base : base_arena, sizeof(*a));
	a = create_in(storage, name, base, size, quantum, afunc, ffunc, source, qcache_max, flags);
	if (a)
		a->owns_storage = true;
	else
		storage_free(near, storage);
	return a;
}

/* Base arenas */

/* The first pages of a base arena's first span. */
struct base_head {
	struct arena arena;
	struct tag_supply supply, node_supply;
};

#define PAGES(bytes) (((bytes) + PORT_PAGE_SIZE - 1) / PORT_PAGE_SIZE)
#define BASE_HEAD_PAGES PAGES(sizeof(struct base_head))
_Static_assert(ARENA_BASE_PAGES_MIN >= BASE_HEAD_PAGES + 1 + 1, "head, first tags, one to give");

/* Tags for its first span and the segment behind its own pages, and some to go on with. */
#define BASE_FIRST_TAGS 8

static struct arena *base_bootstrap(
	struct base_head *head, const char *name, uintptr_t start, size_t size) SPANDREL_UNANALYSED
{
	struct arena *a = &head->arena;
	uintptr_t tags = start + BASE_HEAD_PAGES * PORT_PAGE_SIZE;
	struct btag_chain chain = {NULL, 0};
	struct btag_extent e;
	struct btag *f;

	memset(head, 0, sizeof(*head));
	arena_init(a, name, PORT_PAGE_SIZE);
	a->base = a;
	a->supply = &head->supply;
	a->node_supply = &head->node_supply;
	a->is_memory = true;

	tag_supply_init(a->supply, BTAG_SIZE);
	tag_supply_init(a->node_supply, BTAG_NODE_SIZE);
	tag_supply_add_page(a->supply, (void *)tags, NULL);
	tag_supply_take(a->supply, &chain, BASE_FIRST_TAGS);
	btag_give(&a->store, &chain);
	btag_extent_find(&a->store, start, size, &e);
	f = btag_span_in(&a->store, &e, false, start, 0, BTAG_FREE);
	arena_take(a, f, start, BASE_HEAD_PAGES * PORT_PAGE_SIZE, BTAG_FIT_ANY, BTAG_USED);
	arena_take(a, f, tags, PORT_PAGE_SIZE, BTAG_FIT_ANY, BTAG_USED);
	arena_enter(a);
	return a;
}

struct arena *arena_create_base(const char *name, void *memory, size_t size)
{
	uintptr_t start = (uintptr_t)memory;

	check_given("arena_create_base", "name", name, __builtin_return_address(0));
	sync_check_may_sleep("arena_create_base", __builtin_return_address(0));
	if (start == 0)
		panic("arena %s: a base arena at address 0, which stands for failure (called from %pS)", name,
			__builtin_return_address(0));
	if (start % PORT_PAGE_SIZE || size % PORT_PAGE_SIZE || start + (size - 1) < start)
		panic("arena %s: a base arena over [%p, +%#zx), which is not whole pages (called from %pS)",
			name, memory, size, __builtin_return_address(0));
	if (size < ARENA_BASE_PAGES_MIN * PORT_PAGE_SIZE)
		return NULL;
	return base_bootstrap(memory, name, start, size);
}

size_t arena_base_own_pages(struct arena *base)
{
	return BASE_HEAD_PAGES + tag_supply_pages(base->supply) + tag_supply_pages(base->node_supply) +
	       __atomic_load_n(&base->supply->hash_pages, __ATOMIC_RELAXED);
}

/* Destruction */

/* What keeps an arena from ending. */
struct in_use {
	size_t live;   /* units that users hold */
	size_t cached; /* of those, through its front */
	size_t arenas, caches; /* that import from it; the front's own not counted */
	bool tags;     /* those of other arenas lie in it */
	bool looked_at; /* a walk over caches stands on one of its front's */
	unsigned waiters; /* requests that sleep for it, or for what imports from it */
};

/* What the front holds but hasn't handed out doesn't count.  Nothing else uses the arena, so its parts
 * may be counted one after the other. */
static void count_live(struct arena *a, struct in_use *u)
{
	size_t own = arena_is_base(a) ? arena_base_own_pages(a) * PORT_PAGE_SIZE : 0;
	size_t held = 0;
	port_irq_t irq;

	u->cached = 0;
	if (a->front)
		a->front->usage(a->front, &held, &u->cached);
	irq = spin_lock(&a->lock);
	u->live = a->store.used - own - held + u->cached;
	spin_unlock(&a->lock, irq);
}

/* arenas_and_slabs_lock is held. */
static void count_importers(struct arena *a, struct in_use *u) SPANDREL_REQUIRES(&arenas_and_slabs_lock)
{
	struct list *l;

	u->arenas = u->caches = 0;
	list_for_each(l, &a->importers)
		u->arenas++;
	list_for_each(l, &a->slabs)
		u->caches++;
	if (a->front)
		u->caches -= a->front->caches;
	u->tags = arena_is_base(a) && a->supply->users > 0;
}

/* Whether nothing keeps the arena; with `leave` it is then taken out of all lists, and is the
 * caller's alone. */
static bool arena_is_idle(struct arena *a, struct in_use *u, bool leave)
{
	bool idle;

	u->waiters = shortage_mark_end(&a->mark);
	qlock_lock(&arenas_and_slabs_lock);
	/* First: what a pass has in its hands is in use. */
	reclaim_await_refs(&a->asked);
	count_live(a, u);
	count_importers(a, u);
	idle = !u->live && !u->arenas && !u->caches && !u->tags && !u->waiters;
	if (idle && leave) {
		arena_list_del(a);
		list_del(&a->importer_link);
		a->tree_source = NULL;
	}
	qlock_unlock(&arenas_and_slabs_lock);
	return idle;
}

static void spans_return(struct arena *a)
{
	while (a->store.spans > 0) {
		struct btag *span = a->store.anchor.next;
		struct arena_span left = {span->start, span->size, span->by_xalloc};

		btag_span_out(&a->store, span);
		if (a->ffunc)
			arena_span_return(a, &left);
	}
}

/* The tags go in small lots, so that the supply's lock is never held for long. */
#define DESTROY_LOT 32

static void tags_return_all(struct arena *a)
{
	while (a->store.spare.count > 0) {
		struct btag_chain chain = {NULL, 0};

		btag_take(&a->store, &chain, DESTROY_LOT);
		arena_tags_return(a, &chain);
	}
}

static void hash_pages_return_all(struct arena *a)
{
	void *page;

	while (linear_hash_trim(&a->store.hash))
		;
	while ((page = linear_hash_take_page(&a->store.hash, 0)))
		arena_hash_page_return(a, page);
}

/* Ends the front of an arena that nothing else keeps.  What its cores have laid up would count as
 * live, so that goes back first. */
static bool front_end(struct arena *a, struct in_use *u)
{
	if (!a->front)
		return true;
	a->front->drain(a->front, ARENA_DRAIN_ALL);
	if (!arena_is_idle(a, u, false))
		return false;
	u->looked_at = a->front->destroy(a->front) != 0;
	if (!u->looked_at)
		arena_set_front(a, NULL);
	return !u->looked_at;
}

static int refuse(struct arena *a, const struct in_use *u)
{
	kprintf("arena %s: not destroyed: %zu of it allocated (%zu through its front), %zu importing "
		"arenas, %zu caches, %u requests wait%s%s\n",
		a->name, u->live, u->cached, u->arenas, u->caches, u->waiters,
		u->tags ? ", its tags in use" : "", u->looked_at ? ", its front is being looked at" : "");
	return -EBUSY;
}

static int end_arena(struct arena *a)
{
	struct in_use u = {0};
	port_irq_t irq;

	if (!front_end(a, &u) || !arena_is_idle(a, &u, true))
		return refuse(a, &u);
	if (arena_is_base(a))
		return 0;
	spans_return(a);
	arena_index_drop(a);
	tags_return_all(a);
	hash_pages_return_all(a);
	irq = spin_lock(&a->supply->lock);
	a->supply->users--;
	spin_unlock(&a->supply->lock, irq);
	return 0;
}

/* An arena no more, or none.  Nothing of it is read: its memory may be another's. */
static void check_destroy(struct arena *a, const char *what, void *caller)
{
	char name[ARENA_NAME_MAX];

	sync_check_may_sleep(what, caller);
	if (!arena_name_at(a, name))
		panic("%s of %p, which is no arena (destroyed before?) (called from %pS)", what, (void *)a,
			caller);
}

int __arena_destroy(struct arena *a)
{
	check_given("__arena_destroy", "arena", a, __builtin_return_address(0));
	check_destroy(a, "__arena_destroy", __builtin_return_address(0));
	return end_arena(a);
}

int arena_destroy(struct arena *a)
{
	struct arena *base;
	bool owns_storage;
	int error;

	check_given("arena_destroy", "arena", a, __builtin_return_address(0));
	check_destroy(a, "arena_destroy", __builtin_return_address(0));
	base = a->base;
	owns_storage = a->owns_storage;
	error = end_arena(a);
	if (!error && owns_storage)
		storage_free(base, a);
	return error;
}
