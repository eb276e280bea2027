/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The body of a cache: for callers that place one themselves (__kmem_cache_create) and for the slab
 * module.
 */
#ifndef SPANDREL_SLAB_IMPL_H
#define SPANDREL_SLAB_IMPL_H

#include "arena/front.h"
#include "arena/queue.h"
#include "debug.h"
#include "frames.h"
#include "lib/bitmap.h"
#include "lib/linear_hash.h"
#include "lib/list.h"
#include "lib/panic.h"
#include "sample.h"
#include "slab.h"
#include "spinlock.h"

/* Flags that callers can't give. */
#define KMC_KMALLOC (1u << 8) /* one of kmalloc's */
#define KMC_META (1u << 9)    /* the module's own: making its slabs may need none of the same */
#define KMC_QCACHE (1u << 10) /* it fronts its own source: slabs come from past its front */
#define KMC_ZONES (1u << 11) /* zones lie between objects, which are filled when free: debug.c */
#define KMC_SYSTEM (KMC_KMALLOC | KMC_META | KMC_QCACHE) /* not for callers to destroy */

/* Magazines */

struct magazine {
	uint32_t size;	       /* rounds it has room for */
	uint32_t count;	       /* rounds in it; not while it is loaded, the core's stack knows then */
	struct magazine *next; /* in the depot; else NULL, the word below a core's stack (port.h) */
	void *round[];
};
_Static_assert(offsetof(struct magazine, next) + sizeof(void *) == offsetof(struct magazine, round),
	"the word below the first round is `next`");

#define MAGAZINE_CLASSES 5 /* of 14, 30, 62, 126 and 254 rounds: with the header, powers of two bytes */
#define MAGAZINE_ROUNDS(class) (((size_t)16 << (class)) - 2)

/* What one core has of a cache.  Only that core touches it, or the one that stopped it at a safe
 * point; the counters may be read from anywhere. */
struct kmem_core {
	struct arena_rounds rounds; /* the rounds of `loaded`; first, as in a quantum cache the arena finds it */
	struct magazine *loaded, *previous; /* previous is full or empty */
	size_t previous_rounds;
	uint64_t alloc_misses, free_misses, failures, depot_trips;
	uint64_t seen; /* rounds.allocs when they were last counted for samples; atomic */
} __attribute__((aligned(ARENA_ROUNDS_STRIDE)));
_Static_assert(sizeof(struct kmem_core) == ARENA_ROUNDS_STRIDE, "finding a core's is a shift");
_Static_assert(offsetof(struct kmem_core, rounds) == 0, "an arena finds it where it finds the core's");

/* Its working set in an interval is what lay above the least it held. */
struct magazine_list {
	struct magazine *head;
	size_t count;
	size_t rounds;	     /* in its magazines together */
	size_t least;	     /* it held in this interval */
	size_t least_before; /* in the one before; SIZE_MAX: a reap began this one */
};

struct depot {
	struct spinlock lock;
	struct magazine_list full, empty;
	uint64_t began; /* port_ns() when this interval did */
	uint32_t trips; /* in it */
	bool is_idle;	/* no trip since the last reap */
};

/* Slabs */

/* The most objects in a slab of memory of a quantum cache. */
#define QCACHE_QUANTA 16

/* In which list of its cache a slab is, by how many of its objects are free. */
#define SLAB_PARTIALS 4 /* lists of slabs partly free, the fullest first: a quarter of a slab each */
enum slab_place { SLAB_FULL = 0, SLAB_EMPTY = SLAB_PARTIALS + 1, SLAB_PLACES };

struct slab {
	struct list link;     /* in its place's list; a list of its own if it is full */
	struct list all_link; /* in the cache's list of all slabs, oldest first */
	struct kmem_cache *cache; /* NULL: a walk's place in that list, no slab */
	uintptr_t base;	      /* the first object; the slab is [base - lead, base - lead + slab_size) */
	uint32_t free;	      /* objects */
	uint32_t place;
	uint64_t map[];	      /* bit i: object i is free */
};

/*
 * A slab's header apart from the slab.  Where no page frame table leads to it, it is in the cache's
 * hash under each block of 2^block_shift units that the slab touches: two at most, since a block is
 * no smaller than a slab.  links[i] is for the block whose number is i modulo 2.
 */
struct slab_outside {
	struct hash_link links[2];
	struct slab slab;
};
#define SLAB_OUTSIDE_WORDS 4
#define SLAB_OUTSIDE_OBJECTS (SLAB_OUTSIDE_WORDS * 64)
#define SLAB_OUTSIDE_SIZE (sizeof(struct slab_outside) + SLAB_OUTSIDE_WORDS * sizeof(uint64_t))

struct kmem_cache {
	/* Fixed once created. */
	struct kmem_core *cores; /* port_core_max() of them; NULL: one of the module's own caches */
	size_t obj_size;
	size_t stride;
	unsigned flags;
	unsigned stride_shift;	 /* stride is an odd number << it */
	uint64_t stride_inverse; /* that number's, modulo 2^64 */
	size_t slab_size;
	size_t slab_align;	/* slabs start at its multiples; 0: anywhere */
	size_t align;		/* objects start at its multiples */
	size_t lead;		/* units before a slab's first object */
	unsigned block_shift;	/* 2^it >= slab_size: of the hash */
	uint32_t slab_objects;
	uint32_t place_last[SLAB_PLACES]; /* the most free objects of a slab in each place */
	bool is_frames;		/* found through the page frame table, else through the hash */
	bool is_inside;		/* headers lie at the end of their slabs */
	bool is_memory;
	bool is_sampled; /* objects may be samples */
	bool owns_storage;
	struct arena *source;
	kmem_ctor_fn ctor;
	kmem_dtor_fn dtor;
	void *priv;
	char name[KMEM_NAME_MAX];

	/* Guarded by arenas_and_slabs_lock. */
	struct list source_link; /* in source->slabs */
	unsigned pins;

	/* Changes rarely; read without a lock. */
	unsigned slow; /* reasons to keep cores' stacks closed: all goes to the slab layer */
	unsigned slow_modes; /* those of them that are debug modes and tracing */
	struct kmem_debug *debug; /* NULL: its mode takes none */
	uint32_t magazine_size; /* rounds of a new magazine; changed under the depot's lock, atomic */
	uint32_t magazine_max;	/* what that may become; fixed */
	bool is_failing;   /* closed for failure injection; guarded by that one's lock */
	bool is_watched;   /* by the leak finder, which keeps it slow; guarded by its lock */
	size_t samples;	   /* that callers have; atomic */
	bool lacks_memory; /* the last slab lacked what describes it: tags, header, entries; atomic */

	struct shortage_mark mark; /* requests that sleep for its objects */
	struct reclaim_account asked;
	struct depot depot __attribute__((aligned(PORT_LINE_SIZE)));

	/* Guarded by lock. */
	struct spinlock lock __attribute__((aligned(PORT_LINE_SIZE)));
	struct list partial[SLAB_PLACES]; /* by place; that of SLAB_FULL stays empty */
	struct list all;
	size_t slabs, slabs_empty;
	size_t objects_free; /* in the slab layer; also read without the lock */
	size_t reserve;	     /* objects to keep slabs for */
	size_t (*reclaim)(void *priv, size_t bytes); /* the owner's */
	void *reclaim_priv;
	uint64_t changes;    /* of objects_free: a walk over slabs sees whether there were any */
	uint64_t trips;	     /* for the lock, with objects */
	uint64_t grows, shrinks, ctor_failures;
	uint64_t units_gone; /* that ever went back to the source */
	struct linear_hash hash;
};

/* Names a caller's bug; no lock is held. */
#define kmem_bug(cache, caller, fmt, ...)                                                          \
	panic("cache %s: " fmt " (called from %pS)", (cache)->name, __VA_ARGS__, caller)

/* The same, about an object of the cache: the report has what its debug mode knows of it. */
#define kmem_bug_at(cache, addr, ...)                                                              \
	panic_at(&(struct panic_site){.print = slab_debug_print,                                   \
			 .arg = &(struct slab_debug_what){cache, addr}},                           \
		__VA_ARGS__)

/* The slab layer (slab.c): raw objects, at most SLAB_STEP of them at a time */

#define SLAB_STEP 32

/* Fills objects[0 .. n) from slabs there are, or else from one new slab; returns how many, 0 on
 * shortage.  Never sleeps for one: `flags` say whether it may build the indexes of its sources. */
size_t slab_take(struct kmem_cache *c, void **objects, size_t n, unsigned flags);
/* The same from slabs there are alone; interrupts may be off. */
size_t slab_take_held(struct kmem_cache *c, void **objects, size_t n);
/* Takes objects[0 .. n) back, through the destructor if they were constructed.  Panics on what
 * isn't a used object. */
void slab_give(struct kmem_cache *c, void *const *objects, size_t n, bool constructed, void *caller);
/* Gives slabs beyond what is to be kept back to the source; with `all`, every empty one the reserve
 * doesn't need.  Returns the units that went back. */
size_t slab_shed(struct kmem_cache *c, bool all);
/* The same with `all`, until that comes to `amount`. */
size_t slab_shed_some(struct kmem_cache *c, size_t amount);
/* Of a quantum cache of memory, gives back what is free in slabs that are partly used, emptiest first,
 * until that comes to `amount` units: such a slab is none any more. */
void slab_dissolve(struct kmem_cache *c, size_t amount);
/* Objects outside the slab layer; adds the units of all slabs to *held. */
size_t slab_objects_out(struct kmem_cache *c, size_t *held);
/* What n objects take in slabs; SIZE_MAX if that is no number. */
static inline size_t slab_units(const struct kmem_cache *c, size_t n)
{
	size_t slabs = n / c->slab_objects + (n % c->slab_objects != 0), units;

	return __builtin_mul_overflow(slabs, c->slab_size, &units) ? SIZE_MAX : units;
}
/* Makes slabs until there are n objects, and keeps them; false on shortage, and then it keeps what it
 * kept before. */
bool slab_reserve(struct kmem_cache *c, size_t n, unsigned flags);

/* Where it starts in the source. */
static inline uintptr_t slab_start(const struct kmem_cache *c, const struct slab *s)
{
	return s->base - c->lead;
}

static inline size_t slab_header_size(size_t objects)
{
	return sizeof(struct slab) + BITMAP_WORDS(objects) * sizeof(uint64_t);
}

static inline struct slab *slab_of(uintptr_t entry)
{
	return entry & FRAMES_LARGE ? NULL : (struct slab *)(entry & ~(uintptr_t)FRAMES_KMALLOC);
}

/* The slab that addr lies in, or NULL; through the frame table it may be another cache's, and is NULL,
 * too, in RAM that came after boot.  Through the hash, the lock is held. */
static inline struct slab *slab_find_early(const struct kmem_cache *c, uintptr_t addr)
{
	uintptr_t block;

	if (__builtin_expect(c->is_frames, 1)) /* kmem_batch_4096 */
		return slab_of(frames_get_early(addr));
	block = addr >> c->block_shift;
	for (struct hash_link *l = *linear_hash_chain(&c->hash, block); l; l = l->next) {
		struct slab *s = &container_of(l - block % 2, struct slab_outside, links[0])->slab;

		if (l->key == block && addr - s->base < c->slab_size)
			return s;
	}
	return NULL;
}

/* The same in any RAM. */
static inline struct slab *slab_find(const struct kmem_cache *c, uintptr_t addr)
{
	struct slab *s = slab_find_early(c, addr);

	return s || !c->is_frames ? s : slab_of(frames_get_late(addr));
}

/* The caches the module itself is made of: no cores, no magazines, straight to the slab layer. */
extern struct kmem_cache slab_headers; /* struct slab_outside */
void *slab_meta_alloc(struct kmem_cache *c);
void slab_meta_free(struct kmem_cache *c, void *object);

/* Constructs objects[0 .. n), of which the caller wants the first `wanted` and the others are for a
 * magazine.  Returns how many it could; the others have gone back.  n is SLAB_STEP at most. */
size_t slab_construct(
	struct kmem_cache *c, void **objects, size_t n, size_t wanted, unsigned flags, void *caller);
/* The constructor's calls alone: all of them, or up to the first that fails; and what that means for an object that
 * its caller wants. */
size_t slab_construct_some(struct kmem_cache *c, void **objects, size_t n, size_t wanted, unsigned flags);
void slab_construct_failed(struct kmem_cache *c, const void *object, unsigned flags, void *caller);
/* The destructor's calls; there is one. */
void slab_destruct(struct kmem_cache *c, void *const *objects, size_t n);

/* Leaks (leaks.c): objects[0 .. n) are about to become free.  Of caches that are slow, and large kmallocs.
 * Any context but an NMI. */
void leaks_freed(void *const *objects, size_t n);

/* Waiting (wait.c) */

void slab_wait_init(struct kmem_cache *c);
/* Gives objects[0 .. got) back and sleeps, by flag, for n at once; returns how many objects there are
 * then, constructed: fewer than n if a constructor failed, none if the flag allows no more sleep. */
size_t slab_sleep(struct kmem_cache *c, void **objects, size_t got, size_t n, unsigned flags, void *caller);
/* Sleeps, by flag, until slab_reserve() succeeds; false: it may sleep no more. */
bool slab_sleep_for_reserve(struct kmem_cache *c, size_t n, unsigned flags, void *caller);

/* Whether a request with these flags has to sleep at once. */
static inline bool slab_must_stand_back(struct kmem_cache *c, unsigned flags)
{
	return shortage_any() && shortage_must_queue(c->source, &c->mark, flags);
}

/* Magazines (magazine.c) */

void magazine_init(void);
/* Gives the cache its cores; false if there is no memory for them. */
bool magazine_cores_make(struct kmem_cache *c);
void magazine_cores_end(struct kmem_cache *c);
/* Gets a full magazine from the depot, or an empty one, and, only then, puts `back` (may be NULL),
 * which is the other kind, into it; NULL: there is none. */
struct magazine *depot_exchange(struct kmem_cache *c, bool full, struct magazine *back);
/* Puts a new empty magazine into the depot; false if there is no memory for one. */
bool depot_stock(struct kmem_cache *c);
/* Takes an empty magazine back for good. */
void magazine_free(struct kmem_cache *c, struct magazine *m);
/* Takes magazines away from the depot, all or those it didn't need, and empties them. */
void magazine_drain_depot(struct kmem_cache *c, bool all);
/* Takes every core's magazines away, at a safe point of that core, and empties them. */
void magazine_drain_cores(struct kmem_cache *c);
/* A reap begins, of all there is or not: a cache that was idle since the last one gets the smallest
 * magazines from now on, or any cache. */
void magazine_rest(struct kmem_cache *c, bool all);
/* Ends an interval of the depot: how many full and empty magazines it didn't need in it, or has; and
 * takes one of those away and empties it; false: there is none. */
size_t magazine_depot_surplus(struct kmem_cache *c, bool all, bool full);
bool magazine_depot_drain_one(struct kmem_cache *c, bool full);
/* magazine_drain_cores() for one core. */
void magazine_drain_core(struct kmem_cache *c, unsigned core);
/* Takes this core's magazines away and empties them.  Any context but an NMI. */
void magazine_drain_self(struct kmem_cache *c);
/* From when this returns until it is undone, no core puts anything into a magazine or takes it out.
 * What is done several times is to be undone as often. */
void magazine_set_slow(struct kmem_cache *c, bool slow);
/* The same for a debug mode, tracing or failure injection: with nothing left in magazines, and empty slabs
 * kept as ever.  Context: may sleep. */
void magazine_set_closed(struct kmem_cache *c, bool closed);

/* Failure injection (fail.c): closes the cache if a rule names it, opens it if none does any more; and has
 * that done whenever rules come or go.  Context: may sleep; boot, once. */
void slab_fail_update(struct kmem_cache *c);
void slab_fail_init(void);

/* Relaxed: it is as good a moment later. */
static inline uint32_t kmem_magazine_size(const struct kmem_cache *c)
{
	return __atomic_load_n(&c->magazine_size, __ATOMIC_RELAXED);
}

static inline bool kmem_is_slow(const struct kmem_cache *c)
{
	/* Relaxed: magazine_set_slow() stops every core after it stored. */
	return __atomic_load_n(&c->slow, __ATOMIC_RELAXED) > 0;
}

/* The same, and not for a debug mode alone: then nothing stays idle in it. */
static inline bool kmem_is_pressed(const struct kmem_cache *c)
{
	return __atomic_load_n(&c->slow, __ATOMIC_RELAXED) >
	       __atomic_load_n(&c->slow_modes, __ATOMIC_RELAXED);
}

/* Closes a core's stack, and changes what it has, while its stack is closed.  On the core itself,
 * interrupts off. */
void kmem_core_close(struct kmem_core *core);
void kmem_core_hold(struct kmem_core *core, struct magazine *loaded, struct magazine *previous);

/* Beyond the hot path: when this core has no round or no room, or the flags aren't sound. */
void *kmem_alloc_slow(struct kmem_cache *c, unsigned flags, void *caller);
void kmem_free_slow(struct kmem_cache *c, void *object, void *caller);
/* Panics unless the flags are sound in this context. */
void kmem_check_flags(struct kmem_cache *c, unsigned flags, void *caller);
/* Panics on NULL, and in an NMI, where nothing may be freed.  Beyond the hot path every build asks; at
 * the start of a free only debug builds do. */
void kmem_check_free(struct kmem_cache *c, const void *object, void *caller);

/* Waits until no pass of reclaim stands on the cache, whose hands may hold objects of it. */
void slab_await_passes(struct kmem_cache *c);
/* As kmem_cache_next(), for a walk of reclaim's that comes to its end: destroy waits until it has gone on. */
struct kmem_cache *slab_walk_all(struct kmem_cache *c);
/* Unlinks the cache from its source, unless a walk stands on it (tree.c). */
bool slab_tree_leave(struct kmem_cache *c);

/* Whether it is in the tree.  Context: may sleep.  Cost: linear in caches and arenas. */
bool slab_is_cache(const struct kmem_cache *c);

/* __kmem_cache_create() and __kmem_cache_destroy() for the system's own, `flags` of KMC_SYSTEM included;
 * false if there is no memory for it. */
bool slab_create_own(
	struct kmem_cache *c, const char *name, size_t obj_size, unsigned flags, struct arena *source);
int slab_end(struct kmem_cache *c);

/* Makes one of the module's own caches, over base_arena. */
void slab_meta_create(struct kmem_cache *c, const char *name, size_t obj_size, size_t align);

/* The module's start (kmem_cache_init): its own caches; then fronts of arenas, those that stand and
 * those to come (qcache.c). */
void slab_init(void);
void qcache_init(void);

/* The hot path */

static inline struct kmem_core *kmem_core_self(struct kmem_cache *c)
{
	return &c->cores[port_core_id()];
}

/* Exactly one memory flag, legal here.  Only debug builds look for the lock, a callback and reclaim: the
 * others do where the hot path is left (kmem_check_flags). */
static inline bool kmem_flags_sound(unsigned flags)
{
	if (__builtin_expect(flags == MEM_WAIT, 1))
		return port_may_sleep() && !(SPANDREL_DEBUG && arena_flags_wrong(flags));
	return flags == MEM_ATOMIC || (flags == MEM_ERROR && !(SPANDREL_DEBUG && arena_flags_wrong(flags)));
}

/* NULL: go the slow way.  The flags are sound. */
static inline void *kmem_alloc_hot(struct kmem_cache *c)
{
	return arena_rounds_pop(&c->cores->rounds);
}

/* The part of kmem_cache_free_bulk() that is hot, apart so that a test can step through all of it. */
void slab_free_many(struct kmem_cache *c, void *const *objects, size_t n, void *caller);

/* false: go the slow way.  Of what isn't a sample. */
static inline bool kmem_free_hot(struct kmem_cache *c, void *object)
{
	return arena_rounds_push(&c->cores->rounds, object);
}

/* This core's rounds, several in one step; not counted. */
static inline size_t kmem_pop_many(struct kmem_cache *c, void **to, size_t n)
{
	return port_stack_pop_many(&c->cores->rounds.stack, sizeof(struct kmem_core), to, n);
}

static inline size_t kmem_push_many(struct kmem_cache *c, void *const *from, size_t n)
{
	return port_stack_push_many(&c->cores->rounds.stack, sizeof(struct kmem_core), from, n);
}

#endif
