/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Samples: objects on pages of their own.
 *
 * CONCEPTS
 *
 * A SLOT is a page of addresses for one object, with a page on both sides that is never mapped.  It is live
 * while a caller has the object, else it rests, unmapped.
 *
 *	| guard | slot 0 | guard | slot 1 | guard | ... | slot n - 1 | guard |
 *
 *	| pattern        | object | slack |	at the end: what follows is a fault, but for the slack
 *	| object |          pattern       |	at the start: what comes before is a fault
 *
 * The SLACK is what alignment, or a request for less than a class has, leaves behind the object.  Every other sample
 * lies at the end.
 *
 * REPRESENTATION
 *
 * The pool's addresses are taken at boot, from the arena that init.c names, since this layer knows no mappings;
 * its memory when sampling is first turned on, in one piece: a page for each slot, what is known of each, a count
 * for each core.  A slot keeps its page for good, so one is mapped and unmapped without an allocation, but for page
 * tables, and nobody else is ever given what a stale translation leads to.
 *
 * Slots that rest are in a queue.  A free puts its slot at the end, and an allocation takes the first, so that what
 * was freed rests as long as it can.
 *
 * Nothing else knows samples: no slab has them, no magazine, no debug mode.  Their address tells what they are,
 * before a free looks anywhere else: the pool lies above all RAM of the direct map, so that one comparison
 * is enough on the hot path.  A cache counts its live ones.
 *
 * INVARIANTS
 *
 *  1. A slot that isn't live, and whose free has ended, is in the queue and unmapped.
 *  2. No magazine has an address of the pool.
 *  3. What of a live slot's page isn't its object has the pattern.
 *  4. A cache that has live samples isn't destroyed.
 *
 * LOCKING
 *
 * The pool's lock, a leaf, guards the queue and what is known of slots.  No callback, no mapping and no fill
 * happens under it.  A report of a fault takes no lock: it may be that the fault happened under one.
 *
 * COST
 *
 * While sampling is off an allocation that leaves the hot path pays a load and a test; while it is on, some twenty
 * instructions.  A free pays a comparison.  A sample itself costs a fill of its page, a mapping, and now and then
 * a flush of all TLBs, one for about as many samples as there are slots; its free a check of the page, and a
 * flush of one page from this core's TLB.
 *
 * QUESTIONS
 *
 * Why is it chosen by what the core has served, and not by the cache?  So that each allocation is as likely to be
 * one: a cache with few of them would never come to N by itself.
 *
 * Why does a debug mode change nothing?  A mode's zones and patterns lie in slabs, where samples aren't.  A sample tells
 * more than any mode, and one answer is simpler than three.
 *
 * Why isn't memory given back when sampling ends?  A caller may look at an address that it freed any time later.
 */
#include "kmem_sample.h"

#include "errors.h"
#include "lib/check.h"
#include "lib/string.h"
#include "owner.h"
#include "slab_impl.h"
#include "stacks.h"
#include "sync.h"

#define SLOTS_SHARE 512 /* a slot for so many pages of memory */
#define SLOTS_MIN 16
#define SLOTS_MAX 4096 /* of 4 KiB, 16 MiB: what rests longer than that is rarely used again */

#define PATTERN 0xbd
#define PATTERN_WORD (PATTERN * 0x0101010101010101ull)

struct sample {
	struct sample *next; /* the next younger one that rests */
	uintptr_t object;    /* the last one; 0: there was none */
	size_t size;	     /* that was asked for */
	struct kmem_cache *cache; /* while it is live; later only to be compared */
	char name[KMEM_NAME_MAX]; /* of that */
	bool is_live;
	struct kmem_event alloc, free;
};

/* What a core has served since its last sample. */
struct served {
	uint64_t count;
} __attribute__((aligned(PORT_LINE_SIZE)));

uintptr_t sample_low = UINTPTR_MAX;
uint64_t sample_every;

static struct arena_owner owner = ARENA_OWNER("samples", base_arena);
static struct qlock setting = QLOCK_INIT(setting); /* for kmem_sample_set() */

static struct {
	/* Fixed after kmem_sample_init(). */
	uintptr_t start; /* of addresses */
	size_t slots;
	int (*map)(uintptr_t va, void *page, unsigned mark);
	void *(*unmap)(uintptr_t va, unsigned mark);

	/* Set once. */
	char *pages;	     /* one for each slot; NULL: there is no pool yet; atomic */
	struct sample *slot; /* as many, behind the pages */
	struct served *core; /* one for each, behind those */

	struct spinlock lock;
	struct sample *oldest, *youngest; /* that rest */
	uint64_t live, used; /* slots; those that ever had an object */
	uint64_t taken, missed;
} pool = {.lock = SPINLOCK_INIT(SPIN_LEAF)};

/* Addresses */

static size_t address_pages(void)
{
	return 2 * pool.slots + 1;
}

bool sample_has(const void *at)
{
	return (uintptr_t)at - pool.start < address_pages() * PORT_PAGE_SIZE && pool.slots > 0;
}

static size_t index_of(const struct sample *s)
{
	return (size_t)(s - pool.slot);
}

static uintptr_t page_of(const struct sample *s)
{
	return pool.start + (2 * index_of(s) + 1) * PORT_PAGE_SIZE;
}

/* Where its page is in the direct map. */
static char *memory_of(const struct sample *s)
{
	return pool.pages + index_of(s) * PORT_PAGE_SIZE;
}

static char *memory_at(const struct sample *s, uintptr_t at)
{
	return memory_of(s) + (at - page_of(s));
}

/* Acquire: pairs with the release in pool_make(). */
bool sample_any(void)
{
	return __atomic_load_n(&pool.pages, __ATOMIC_ACQUIRE);
}

static bool is_guard(uintptr_t at)
{
	return (at - pool.start) / PORT_PAGE_SIZE % 2 == 0;
}

/* How far an address lies from the last object there. */
static uintptr_t distance(const struct sample *s, uintptr_t at)
{
	if (!s->object)
		return UINTPTR_MAX;
	return at < s->object ? s->object - at : at - s->object < s->size ? 0 : at - s->object - s->size;
}

/* The slot that an address among samples lies in, or, between two, is nearest to; one that is live, if either
 * is.  There is a pool. */
static struct sample *slot_near(uintptr_t at)
{
	size_t page = (at - pool.start) / PORT_PAGE_SIZE;
	struct sample *right = &pool.slot[page / 2], *left = right - 1;

	if (page % 2 != 0 || page == 0)
		return right;
	if (page / 2 == pool.slots)
		return left;
	if (left->is_live != right->is_live)
		return left->is_live ? left : right;
	return distance(left, at) <= distance(right, at) ? left : right;
}

/* The slot that has a live object at the address; NULL: none. */
static struct sample *slot_live(uintptr_t object)
{
	struct sample *s = sample_any() && sample_has((void *)object) ? slot_near(object) : NULL;

	return s && s->is_live && s->object == object ? s : NULL;
}

/* The pool */

void kmem_sample_init(struct arena *addresses, int (*map)(uintptr_t va, void *page, unsigned mark),
	void *(*unmap)(uintptr_t va, unsigned mark))
{
	size_t slots = arena_amt_total(base_arena) / PORT_PAGE_SIZE / SLOTS_SHARE;
	void *start;

	check_given("kmem_sample_init", "arena", addresses, __builtin_return_address(0));
	slots = slots < SLOTS_MIN ? SLOTS_MIN : slots > SLOTS_MAX ? SLOTS_MAX : slots;
	/* At the highest addresses, so that other owners of addresses there are below sample_low. */
	start = arena_alloc(addresses, (2 * slots + 1) * PORT_PAGE_SIZE, MEM_ATOMIC | ARENA_HIGHFIT);
	if (!start)
		return;
	pool.map = map;
	pool.unmap = unmap;
	pool.start = sample_low = (uintptr_t)start;
	pool.slots = slots;
}

static size_t pool_bytes(void)
{
	size_t known = pool.slots * sizeof(*pool.slot), cores = port_core_max() * sizeof(*pool.core);

	return pool.slots * PORT_PAGE_SIZE +
	       (known + PORT_LINE_SIZE + cores + PORT_PAGE_SIZE - 1) / PORT_PAGE_SIZE * PORT_PAGE_SIZE;
}

/* Adds a slot to those that rest.  Lock held, once there is a pool. */
static void rest(struct sample *s)
{
	s->next = NULL;
	if (pool.oldest)
		pool.youngest->next = s;
	else
		pool.oldest = s;
	pool.youngest = s;
}

/* `setting` is held. */
static int pool_make(void) SPANDREL_REQUIRES(&setting)
{
	char *memory = pool.slots ? base_zalloc(NULL, pool_bytes(), MEM_ERROR) : NULL;

	if (!memory)
		return -ENOMEM;
	arena_owner_add_block(&owner, base_arena, memory, pool_bytes());
	pool.slot = (struct sample *)(memory + pool.slots * PORT_PAGE_SIZE);
	pool.core = (struct served *)(((uintptr_t)(pool.slot + pool.slots) + PORT_LINE_SIZE - 1) &
				      -(uintptr_t)PORT_LINE_SIZE);
	/* Without the lock: no other core has anything to do with the queue yet. */
	for (size_t i = 0; i < pool.slots; i++)
		rest(&pool.slot[i]);
	/* Release: pairs with the acquire in sample_any(). */
	__atomic_store_n(&pool.pages, memory, __ATOMIC_RELEASE);
	return 0;
}

/* What cores served before counts for nothing. */
static void forget_served(void)
{
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		for (unsigned i = 0; c->cores && i < port_core_count(); i++)
			__atomic_store_n(&c->cores[i].seen,
				__atomic_load_n(&c->cores[i].rounds.allocs, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

int kmem_sample_set(uint64_t n)
{
	int error = 0;

	sync_check_may_sleep("kmem_sample_set", __builtin_return_address(0));
	qlock_lock(&setting);
	if (n > 0 && !sample_any())
		error = pool_make();
	if (!error && n > 0 && kmem_sample() == 0)
		forget_served();
	/* Release: who reads that it is on sees the pool. */
	if (!error)
		__atomic_store_n(&sample_every, n, __ATOMIC_RELEASE);
	qlock_unlock(&setting);
	return error;
}

uint64_t kmem_sample(void)
{
	return __atomic_load_n(&sample_every, __ATOMIC_ACQUIRE);
}

/* Taking */

/* Whether the core has served as many as there are to be between two samples; then it begins again.  A thread may
 * be on another core than the one that counted its allocation. */
static bool is_due(struct kmem_cache *c)
{
	port_irq_t irq = port_irq_save();
	struct kmem_core *core = kmem_core_self(c);
	struct served *s = &pool.core[port_core_id()];
	uint64_t allocs = core->rounds.allocs, every = kmem_sample();
	bool due;

	s->count += allocs - __atomic_load_n(&core->seen, __ATOMIC_RELAXED);
	__atomic_store_n(&core->seen, allocs, __ATOMIC_RELAXED);
	due = every > 0 && s->count >= every;
	if (due)
		s->count = 0;
	port_irq_restore(irq);
	return due;
}

/* The slot that has rested the longest; NULL: none does.  *is_left: its object is to be at its start. */
static struct sample *oldest_take(bool *is_left)
{
	port_irq_t irq = spin_lock(&pool.lock);
	struct sample *s = pool.oldest;

	if (s) {
		pool.oldest = s->next;
		*is_left = pool.taken++ % 2 != 0;
	} else {
		pool.missed++;
	}
	spin_unlock(&pool.lock, irq);
	return s;
}

/* Puts a slot back that was never live. */
static void oldest_undo(struct sample *s, uint64_t *count)
{
	port_irq_t irq = spin_lock(&pool.lock);

	s->next = pool.oldest;
	if (!pool.oldest)
		pool.youngest = s;
	pool.oldest = s;
	pool.taken--;
	++*count;
	spin_unlock(&pool.lock, irq);
}

/* Where in the slot's page it begins. */
static uintptr_t place(const struct kmem_cache *c, const struct sample *s, bool is_left)
{
	size_t size = (c->obj_size + c->align - 1) & -c->align;

	return page_of(s) + (is_left ? 0 : PORT_PAGE_SIZE - size);
}

static void note_alloc(struct sample *s, struct kmem_cache *c, uintptr_t object, const struct kmem_event *event)
{
	port_irq_t irq = spin_lock(&pool.lock);

	pool.used += !s->object;
	pool.live++;
	s->object = object;
	s->size = c->obj_size;
	s->cache = c;
	str_copy(s->name, c->name, sizeof(s->name));
	s->alloc = *event;
	s->free = (struct kmem_event){.ns = 0};
	s->is_live = true;
	spin_unlock(&pool.lock, irq);
	__atomic_fetch_add(&c->samples, 1, __ATOMIC_RELAXED);
}

/* It is nobody's any more: it rests.  What happens to the cache afterwards is its owner's. */
static void end(struct sample *s, struct kmem_cache *c, void *caller)
{
	struct kmem_event now = slab_debug_now(caller);
	port_irq_t irq;

	pool.unmap(page_of(s), 0);
	irq = spin_lock(&pool.lock);
	s->free = now;
	rest(s);
	pool.live--;
	spin_unlock(&pool.lock, irq);
	__atomic_fetch_sub(&c->samples, 1, __ATOMIC_RELEASE);
}

/* Of two calls that free it only one has it. */
static bool leave(struct sample *s)
{
	port_irq_t irq = spin_lock(&pool.lock);
	bool was_live = s->is_live;

	s->is_live = false;
	spin_unlock(&pool.lock, irq);
	return was_live;
}

void *sample_take(struct kmem_cache *c, unsigned flags, void *caller)
{
	struct kmem_event now;
	struct sample *s;
	bool is_left = false;
	void *object;

	/* Mapping may wait for other cores. */
	if (!c->is_sampled || !port_may_sleep() || !is_due(c) || !(s = oldest_take(&is_left)))
		return NULL;
	memset(memory_of(s), PATTERN, PORT_PAGE_SIZE);
	if (pool.map(page_of(s), memory_of(s), 0) != 0) {
		oldest_undo(s, &pool.missed);
		return NULL;
	}
	object = (void *)place(c, s, is_left);
	now = slab_debug_now(caller);
	note_alloc(s, c, (uintptr_t)object, &now);
	if (slab_construct_some(c, &object, 1, 1, flags) == 1)
		return object;
	leave(s);
	end(s, c, caller);
	slab_construct_failed(c, object, flags, caller);
	return NULL;
}

/* Looking at pages, by way of the direct map */

/* The first byte of [from, to), addresses of a slot, that has no pattern, or 0.  Whole words are looked at as such. */
static __attribute__((noinline, no_sanitize("thread"))) uintptr_t find_written(
	const struct sample *s, uintptr_t from, uintptr_t to)
{
	uintptr_t step;

	for (uintptr_t at = from; at < to; at += step) {
		const char *byte = memory_at(s, at);

		step = at % sizeof(uint64_t) == 0 && to - at >= sizeof(uint64_t) &&
				       *(const volatile uint64_t *)byte == PATTERN_WORD ?
			       sizeof(uint64_t) : 1;
		if (step == 1 && *(const volatile uint8_t *)byte != PATTERN)
			return at;
	}
	return 0;
}

/* What is behind an object first. */
static uintptr_t find_beside(const struct sample *s, uintptr_t object, size_t size)
{
	uintptr_t page = page_of(s), wrong = find_written(s, object + size, page + PORT_PAGE_SIZE);

	return wrong ? wrong : find_written(s, page, object);
}

/* Reports */

static void history_of(const struct sample *s, struct kmem_history *h)
{
	*h = (struct kmem_history){s->object, s->size, !s->is_live, s->alloc, s->free};
}

/* In a report: what is known of the sample, then what the site has. */
struct what {
	struct kmem_history history;
	const struct panic_site *site;
};

static void print_what(struct sink *sink, const void *arg)
{
	const struct what *w = arg;

	kmem_history_print(sink, &w->history);
	sink_puts(sink, "reported here:\n");
	if (w->site && w->site->print)
		w->site->print(sink, w->site->arg);
}

#define WHY_MAX 96 /* bytes */

/* Why a call `what` of p, by a caller that has it for an object of c (NULL: of kmalloc's), is wrong; false: it
 * isn't. */
static bool find_mistake(char why[WHY_MAX], const struct sample *s, const struct kmem_cache *c, uintptr_t p)
{
	bool is_owner = c ? s->cache == c : s->is_live && (s->cache->flags & KMC_KMALLOC);

	if (p != s->object)
		ksnprintf(why, WHY_MAX, s->is_live ? "is inside an object, or beside it, %#lx of cache %s" :
						     "lies in no slab", s->object, s->name);
	else if (!s->is_live)
		ksnprintf(why, WHY_MAX, "is not allocated (freed twice?)");
	else if (!is_owner)
		ksnprintf(why, WHY_MAX, "belongs to cache %s%s", s->name, c ? "" : ": no memory of kmalloc's");
	else
		return false;
	return true;
}

static void check(const struct sample *s, const struct kmem_cache *c, uintptr_t p, const char *what, void *caller)
{
	struct what w = {.site = NULL};
	port_irq_t irq = spin_lock(&pool.lock);
	char why[WHY_MAX];
	bool is_wrong = find_mistake(why, s, c, p);

	if (is_wrong)
		history_of(s, &w.history);
	spin_unlock(&pool.lock, irq);
	if (is_wrong)
		panic_at(&(struct panic_site){.print = s->object ? print_what : NULL, .arg = &w},
			"cache %s: %s of %#lx, which %s (called from %pS)", c ? c->name : s->name, what, p, why,
			caller);
}

static void check_beside(const struct sample *s, void *caller)
{
	uintptr_t wrong = find_beside(s, s->object, s->size);
	struct what w = {.site = NULL};
	char where[WHY_MAX];

	if (!wrong)
		return;
	if (wrong < s->object)
		ksnprintf(where, sizeof(where), "memory %zu bytes before", (size_t)(s->object - wrong));
	else
		ksnprintf(where, sizeof(where), "byte %zu of", (size_t)(wrong - s->object));
	history_of(s, &w.history);
	panic_at(&(struct panic_site){.print = print_what, .arg = &w},
		"cache %s: %s object %#lx, of %zu bytes, was written: %#x, seen when it was freed (called from %pS)",
		s->name, where, s->object, s->size, (uint8_t)*memory_at(s, wrong), caller);
}

/* The lock isn't taken: what is known doesn't change while a caller uses the object, and else a report is wrong
 * in a detail. */
__attribute__((no_sanitize("thread"))) void kmem_sample_fault(
	uintptr_t at, const char *access, const struct panic_site *site)
{
	struct panic_site told = *site;
	struct what w = {.site = site};
	const struct sample *s;

	if (!sample_has((void *)at) || !sample_any())
		return;
	s = slot_near(at);
	if (!s->object || (s->is_live && !is_guard(at)))
		return;
	history_of(s, &w.history);
	told.print = print_what;
	told.arg = &w;
	if (at < s->object)
		panic_at(&told, "cache %s: %s %zu bytes before object %#lx, of %zu bytes%s, in %pS", s->name, access,
			(size_t)(s->object - at), s->object, s->size, s->is_live ? "" : ", which is free",
			(void *)site->pc);
	panic_at(&told, "cache %s: %s of byte %zu of %sobject %#lx, of %zu bytes, in %pS", s->name, access,
		(size_t)(at - s->object), s->is_live ? "" : "free ", s->object, s->size, (void *)site->pc);
}

/* Freeing */

bool sample_free(struct kmem_cache *c, void *object, void *caller)
{
	struct sample *s;

	/* What isn't memory may be any number. */
	if (!c->is_memory || !sample_has(object) || !sample_any())
		return false;
	s = slot_near((uintptr_t)object);
	check(s, c, (uintptr_t)object, "free", caller);
	check_beside(s, caller);
	if (!leave(s))
		check(s, c, (uintptr_t)object, "free", caller);
	leaks_freed(&object, 1);
	if (c->dtor)
		slab_destruct(c, &object, 1);
	end(s, c, caller);
	return true;
}

/* kmalloc */

struct kmem_cache *sample_cache(const void *p, const char *what, void *caller)
{
	struct sample *s;

	if (!sample_any())
		panic("%s of %p, which is no memory of kmalloc's (called from %pS)", what, p, caller);
	s = slot_near((uintptr_t)p);
	check(s, NULL, (uintptr_t)p, what, caller);
	return s->cache;
}

size_t sample_size(const void *p)
{
	return slot_near((uintptr_t)p)->size;
}

void sample_resize(void *p, size_t size)
{
	struct sample *s = slot_near((uintptr_t)p);
	uintptr_t end_before = s->object + s->size;
	port_irq_t irq;

	/* The pattern first: who verifies reads both. */
	memset(memory_at(s, s->object + size), PATTERN, end_before - (s->object + size));
	irq = spin_lock(&pool.lock);
	s->size = size;
	spin_unlock(&pool.lock, irq);
}

/* What others ask */

void kmem_sample_get_stats(struct kmem_sample_stats *stats)
{
	port_irq_t irq;

	check_given("kmem_sample_get_stats", "place for statistics", stats, __builtin_return_address(0));
	irq = spin_lock(&pool.lock);
	*stats = (struct kmem_sample_stats){
		.every = kmem_sample(),
		.slots = pool.slots,
		.live = pool.live,
		.resting = pool.used - pool.live,
		.taken = pool.taken,
		.missed = pool.missed,
		.bytes = sample_any() ? pool_bytes() : 0,
	};
	spin_unlock(&pool.lock, irq);
}

bool kmem_sample_find(uintptr_t addr, struct kmem_sample *to)
{
	const struct sample *s;
	port_irq_t irq;
	bool found;

	check_given("kmem_sample_find", "place for a sample", to, __builtin_return_address(0));
	if (!sample_has((void *)addr) || !sample_any())
		return false;
	irq = spin_lock(&pool.lock);
	s = slot_near(addr);
	found = s->object;
	to->is_guard = is_guard(addr);
	to->is_live = s->is_live;
	str_copy(to->cache, s->name, sizeof(to->cache));
	history_of(s, &to->history);
	spin_unlock(&pool.lock, irq);
	return found;
}

const void *kmem_sample_direct(const void *at)
{
	if (!sample_has(at) || is_guard((uintptr_t)at) || !sample_any())
		return at;
	return memory_at(slot_near((uintptr_t)at), (uintptr_t)at);
}

bool sample_history(const struct kmem_cache *c, uintptr_t addr, struct kmem_history *h)
{
	const struct sample *s;
	port_irq_t irq;
	bool found;

	if (!sample_has((void *)addr) || !sample_any())
		return false;
	irq = spin_lock(&pool.lock);
	s = slot_near(addr);
	found = s->object && s->cache == c;
	if (found)
		history_of(s, h);
	spin_unlock(&pool.lock, irq);
	return found;
}

size_t sample_slots(void)
{
	return sample_any() ? pool.slots : 0;
}

/* A copy of what is known of a slot, if it has a live sample of the cache. */
static bool read_slot(size_t i, const struct kmem_cache *c, struct sample *copy)
{
	port_irq_t irq = spin_lock(&pool.lock);
	bool is = pool.slot[i].is_live && pool.slot[i].cache == c;

	if (is)
		*copy = pool.slot[i];
	spin_unlock(&pool.lock, irq);
	return is;
}

bool sample_in_slot(size_t i, const struct kmem_cache *c, uintptr_t *object, size_t *size)
{
	struct sample s;
	bool is = read_slot(i, c, &s);

	if (is) {
		*object = s.object;
		*size = s.size;
	}
	return is;
}

bool sample_is_live(uintptr_t object)
{
	port_irq_t irq = spin_lock(&pool.lock);
	bool is = slot_live(object);

	spin_unlock(&pool.lock, irq);
	return is;
}

/* Unless it was freed or resized meanwhile. */
uintptr_t sample_verify(const struct kmem_cache *c)
{
	struct sample before, after;

	for (size_t i = 0; i < sample_slots(); i++) {
		uintptr_t wrong = read_slot(i, c, &before) ? find_beside(&pool.slot[i], before.object, before.size) : 0;

		if (wrong && read_slot(i, c, &after) && after.alloc.ns == before.alloc.ns && after.size == before.size)
			return wrong;
	}
	return 0;
}

size_t sample_tally(const struct kmem_cache *c)
{
	struct sample s;
	size_t n = 0;

	for (size_t i = 0; i < sample_slots(); i++)
		if (read_slot(i, c, &s) && s.alloc.stack) {
			stacks_tally_add(s.alloc.stack, s.size, s.alloc.ns);
			n++;
		}
	return n;
}

bool sample_range(uintptr_t *start, size_t *size)
{
	*start = pool.start;
	*size = address_pages() * PORT_PAGE_SIZE;
	return sample_any();
}

bool sample_memory(uintptr_t *start, size_t *size)
{
	*start = (uintptr_t)pool.pages;
	*size = pool_bytes();
	return sample_any();
}
