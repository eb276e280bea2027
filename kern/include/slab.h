/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: allocators of constructed objects of one size.
 *
 *	struct kmem_cache *files = kmem_cache_create("files", sizeof(struct file), 0, 0, NULL, NULL, NULL, NULL);
 *	struct file *f = kmem_cache_alloc(files, MEM_WAIT);
 *	kmem_cache_free(files, f);
 *	kmem_cache_destroy(files);
 *
 * Any core may use any cache at once.  What is hot takes no lock and leaves interrupts on: each
 * core has two magazines of objects for each cache.  Behind them stand the depot, with full and
 * empty magazines, and the slab layer, which cuts objects out of slabs it takes from the cache's
 * source arena.  Nothing is ever written into free objects, so objects need not be memory: IDs and
 * address ranges work alike.  kern/src/slab.c opens with the theory.
 */
#ifndef SPANDREL_SLAB_H
#define SPANDREL_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

struct kmem_cache;

/* Readies an object that leaves the slab layer: 0, or an error that makes its allocation fail.
 * `flags` are the caller's, or MEM_ATOMIC for objects that go into a magazine.  Called with no
 * lock held, on the caller's stack, also for a caller that slept.  It may call what the flags allow:
 * under MEM_ATOMIC nothing that may sleep, which is a panic that names the cache; so is an
 * allocation from its own cache, which would come back to it without end. */
typedef int (*kmem_ctor_fn)(void *object, void *priv, unsigned flags);
/* Undoes it when the object goes back to the slab layer: on the stack of a caller that frees, in any
 * context that a free may have, or of a ktask of reclaim.  It may free, and allocate by MEM_ATOMIC; it
 * may not sleep, reap, or create or destroy caches and arenas, which are panics that name the
 * cache. */
typedef void (*kmem_dtor_fn)(void *object, void *priv);

/*
 * Flags of a cache:
 *   KMC_NOTOUCH  the objects aren't memory, or memory that must not be written: nothing of the cache's
 *                lies among them, and kmem_cache_zalloc() is refused
 *   KMC_CHECK    every free is looked up at once
 *   KMC_FULL     and what is beside and in freed objects is verified (kmem_debug.h)
 */
#define KMC_NOTOUCH (1u << 0)
#define KMC_CHECK (1u << 1)
#define KMC_FULL (1u << 2)

#define KMEM_NAME_MAX 32 /* bytes of a name that are kept, its end included */
#define KMEM_SIZE_MAX ((size_t)1 << 56) /* units of an object: a slab of several must be a number */

/* Create */

/*
 * Makes a cache of objects of `obj_size` units (bytes, for memory), each starting on a multiple of
 * `align`, a power of two that divides the source's quantum (0: 8 for memory, 1 for all else).
 * Slabs come from `source` (NULL: kpages_arena).  ctor and dtor may be NULL; `priv` is theirs.
 *
 * Context: may sleep (arena.h).  Cost: linear in the cores there can be.  Returns NULL
 * if there is no memory for it.  Panics on NULL as a name, or as the source before there is a
 * kpages_arena; on an obj_size of 0 or beyond KMEM_SIZE_MAX, an align that
 * is no power of two or that the source can't meet, and an unknown flag.
 */
struct kmem_cache *kmem_cache_create(const char *name, size_t obj_size, size_t align, unsigned flags,
	struct arena *source, kmem_ctor_fn ctor, kmem_dtor_fn dtor, void *priv);

/*
 * The same in storage of the caller's: KMEM_CACHE_STORAGE bytes, aligned to PORT_LINE_SIZE (port.h),
 * which need not be cleared and stay the cache's until __kmem_cache_destroy() has returned 0.
 *
 *	static char storage[KMEM_CACHE_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));
 *	struct kmem_cache *files = __kmem_cache_create((struct kmem_cache *)storage, "files", ...);
 *
 * Returns `cache`, or NULL as kmem_cache_create() does; the storage is the caller's again then.
 */
#define KMEM_CACHE_STORAGE 1600
struct kmem_cache *__kmem_cache_create(struct kmem_cache *cache, const char *name, size_t obj_size,
	size_t align, unsigned flags, struct arena *source, kmem_ctor_fn ctor, kmem_dtor_fn dtor, void *priv);

/* Use */

/*
 * Hands out an object, constructed.
 *
 * Context: by flag (arena.h), any fit left out; in an NMI only what this core's magazine holds,
 * else NULL.  Cost: a few instructions; every few dozen allocations a lock or two, and a slab's
 * worth of the source's time when a slab is needed.  Returns NULL on shortage, by flag, or if the
 * constructor failed.  Panics on not exactly one memory flag, on MEM_WAIT where sleeping is
 * illegal, and on a constructor that fails under MEM_WAIT.
 */
void *kmem_cache_alloc(struct kmem_cache *cache, unsigned flags);

/* The same, with every byte 0.  Panics if the cache has a constructor or its objects aren't memory. */
void *kmem_cache_zalloc(struct kmem_cache *cache, unsigned flags);

/*
 * Takes back an object, which must be as constructed.  Context: any but an NMI.  Cost: as
 * kmem_cache_alloc().  Never needs memory.  Panics, naming cache, address and caller, on what isn't
 * an object of this cache, and on what is free: an object that is freed twice in a row at once, others
 * at the latest when the slab layer sees them, which with a debug mode is at once (kmem_debug.h), and in mode full
 * if what is beside the object was written; on NULL and in an NMI: in a debug build at once, else when
 * this core's magazine has no room, a NULL also if that is empty.  A NULL that a magazine has taken is
 * reported by the slab layer, if no allocation takes it before: that passes it by, but one of many hands
 * it out.
 */
void kmem_cache_free(struct kmem_cache *cache, void *object);

/* Fills objects[0 .. n) and returns how many it could: all of them, or fewer only on shortage
 * (never under MEM_WAIT).  A request that sleeps holds none meanwhile.  Cheaper for each than one by
 * one.  As kmem_cache_alloc() in all else. */
size_t kmem_cache_alloc_bulk(struct kmem_cache *cache, void **objects, size_t n, unsigned flags);

/* Takes back objects[0 .. n).  As kmem_cache_free() in all else. */
void kmem_cache_free_bulk(struct kmem_cache *cache, void *const *objects, size_t n);

/* Keep and give back */

/*
 * Has the cache keep slabs for at least n objects, live ones included, from now on: as long as no
 * more are out, in callers' hands and other cores' magazines together, no allocation asks the
 * source.  0 lifts it.  Context: by flag.  Returns 0; or -ENOMEM, by flag, and what was reserved
 * before stays.  Of memory, more than the machine has is refused at once, and with MEM_WAIT a panic.
 */
int kmem_cache_reserve(struct kmem_cache *cache, size_t n, unsigned flags);

/* Has fn called first when the cache is to give back memory: asked for bytes, it frees what of the
 * cache's objects its owner can do without and returns how many bytes that was.  NULL: no longer; a
 * call that has begun goes on.  What fn may do is as arena_set_reclaim() has it; it panics by the
 * cache's name.  Context of this call: any but an NMI; constant. */
void kmem_cache_set_reclaim(
	struct kmem_cache *cache, size_t (*fn)(void *priv, size_t bytes), void *priv);

/* How hard to press. */
enum kmem_pressure {
	KMEM_REAP_IDLE,	 /* magazines the depot didn't need lately, and empty slabs */
	KMEM_REAP_DEPOT, /* all magazines of the depot too */
	KMEM_REAP_ALL,	 /* and those of all cores, each taken at a safe point; of a quantum cache of
			  * memory also what is free in slabs that are partly used */
};

/* Asks the owner, then gives idle objects back to the slab layer and empty slabs back to the
 * source.  Returns how many units went back to the source.  Context: may sleep.  Panics on
 * another pressure. */
size_t kmem_cache_reap(struct kmem_cache *cache, enum kmem_pressure pressure);

/* kmem_cache_reap() for every cache, then frame-table leaves that stand empty.  Context: may sleep. */
void kmem_reap_all(enum kmem_pressure pressure);

/* Inspect */

/* What a cache is and has done.  Counts of operations are sums over cores that go on meanwhile. */
struct kmem_cache_stats {
	const struct kmem_cache *cache;
	const struct arena *source;
	char name[KMEM_NAME_MAX];
	char source_name[ARENA_NAME_MAX];
	bool is_memory;		    /* its source is */
	bool in_bytes;		    /* units are bytes, as in its source */
	bool is_front;		    /* one of its source's quantum caches: objects are what that hands out */
	bool is_own;		    /* of what caches are made of: not for callers */
	bool is_frames;		    /* objects are found through the page frame table, else a hash */
	bool is_checked, is_full;   /* its debug mode: check, full */
	bool is_traced;		    /* kmem_trace_start() */
	bool is_failing;	    /* kmem_fail_start() may make its allocations fail, or its arena's */
	bool is_inside;		    /* slabs' headers lie in them */
	bool is_notouch;	    /* KMC_NOTOUCH */
	bool has_ctor;		    /* or a dtor */
	bool is_closed;		    /* no core has magazines, for a debug mode, tracing, a rule or shortage */
	uint64_t obj_size, stride;  /* as asked for; from one object to the next */
	uint64_t align, lead;	    /* objects start at multiples of it; units before the first of a slab */
	uint64_t slab_size, slab_objects;
	uint64_t slabs, slabs_empty;
	uint64_t objects;	    /* in all slabs */
	uint64_t reserve;	    /* objects to keep slabs for */
	uint64_t out;		    /* of them, outside the slab layer: live or in a magazine */
	uint64_t live;		    /* in callers' hands, but for what a core is exchanging just now */
	uint64_t samples;	    /* of them, those that lie in no slab (kmem_sample.h) */
	uint64_t total, used;	    /* units in slabs; in live objects */
	uint64_t allocs, frees;	    /* by callers */
	uint64_t alloc_misses, free_misses; /* those that left the hot path */
	uint64_t failures;	    /* allocations that returned NULL */
	uint64_t depot_trips;	    /* for the depot's lock: magazines exchanged, and new ones */
	uint64_t slab_trips;	    /* for the slab layer's, by up to 32 objects at a time */
	uint64_t depot_full, depot_empty; /* magazines in it now */
	uint64_t depot_rounds, core_rounds; /* objects in the depot's magazines, and in cores' */
	uint64_t magazine_size;	    /* rounds that a new one has room for */
	uint64_t grows, shrinks;    /* slabs taken from and given back to the source */
	uint64_t ctor_failures;
	uint64_t hash_buckets;
	/* As kmem_debug_stats has them for all caches: */
	uint64_t tracked, untracked, quarantined;
	uint64_t zones;		    /* units in slabs that lie between objects to be verified */
};

/* Fills *stats.  Context: any but an NMI.  Cost: linear in cores. */
void kmem_cache_get_stats(struct kmem_cache *cache, struct kmem_cache_stats *stats);

/* Slabs by how much of them is free: no object; up to a quarter, a half, three quarters, all but one; all. */
#define KMEM_FULLNESS 6

/* Counts the cache's slabs into all of slabs[].  Context: any but an NMI.  Cost: linear in slabs, the lock is
 * held for a bounded number of them at a time; while the cache is in use, one that changes meanwhile may be missed,
 * or counted twice. */
void kmem_cache_get_fullness(struct kmem_cache *cache, uint64_t slabs[KMEM_FULLNESS]);

/* Fills rows[0 .. max) with every cache, in the order of the arena tree, and returns how many there
 * are.  Allocates nothing.  Context: may sleep. */
size_t kmem_cache_rows(struct kmem_cache_stats *rows, size_t max);

/* The same without memory for rows: fn sees every cache of `source`.  Context: arenas_and_slabs_lock is held,
 * so none comes or goes meanwhile, and fn may not sleep.  Or after a panic: then no lock is taken. */
void kmem_cache_peek(const struct arena *source,
	void (*fn)(const struct kmem_cache_stats *row, void *arg), void *arg);

/* Every cache, one after the other: NULL begins, NULL ends.  The one returned can't be destroyed
 * until the next is asked for; a caller that stops early calls kmem_cache_unpin().  Context: may
 * sleep.  Both panic on a cache on which no walk stands. */
struct kmem_cache *kmem_cache_next(struct kmem_cache *cache);
void kmem_cache_unpin(struct kmem_cache *cache);

/* Where an address lies in a cache. */
struct kmem_object {
	uintptr_t slab, object; /* starts; object is 0 in what no object covers */
	size_t index;		/* of the object in its slab */
	bool is_free;		/* in the slab layer; else live, or in a magazine */
};

/* Whether addr lies in a slab of the cache, and then where.  Context: any but an NMI.  Cost:
 * constant. */
bool kmem_cache_find(struct kmem_cache *cache, uintptr_t addr, struct kmem_object *where);

/* Whether `object`, which is out of the slab layer, lies in a magazine, of the depot or a core: if not, a caller
 * has it.  Each core and each magazine is looked at by itself, so while the cache is in use an object that moves
 * meanwhile may be missed.  Context: a thread or boot, interrupts on; or after a panic.  Cost: linear in the
 * magazines, the square of their number in the depot; each core that has any is stopped at a safe point. */
bool kmem_cache_is_idle(struct kmem_cache *cache, uintptr_t object);

/* Checks every invariant of slab.c's theory statement.  Returns 0, or the number of the first one
 * that fails, having said on `sink` (may be NULL) where.  Context: any but an NMI; needs no
 * memory.  Cost: linear in slabs, in mode full in their bytes; a lock is held for a bounded number of slabs, and
 * for one object, or 512 bytes of small ones, that is verified, at a time; so sums are compared only if nothing
 * changed meanwhile. */
int kmem_cache_check(struct kmem_cache *cache, struct sink *sink);

/* Pages of base_arena that the page frame table takes: those it takes now, and those it would take if
 * each page of RAM it has met had an entry.  The table knows for each page the slab, or the large kmalloc, that
 * lies in it; its pages come as they are needed, and kmem_reap_all() gives back those without an
 * entry.  Context: any but an NMI.  Cost: constant. */
size_t kmem_table_pages(void);
size_t kmem_table_pages_max(void);

/* Whether addr lies in the table; *first is then the first address whose pages that part of the table
 * is for, 0 in its root.  Context: any but an NMI.  Cost: linear in what the table could have. */
bool kmem_table_find(uintptr_t addr, uintptr_t *first);

/* Destroy */

/*
 * Ends a cache: what is in magazines goes to the slab layer, slabs to the source.  With live objects
 * or requests that sleep, or while kmem_cache_next() stands on it, it is left as it was, the console
 * says why, and the answer is -EBUSY; otherwise 0.  Context: may sleep, until no pass of reclaim
 * stands on it; for 0, no other caller may use the cache any more.  __kmem_cache_destroy is for what
 * __kmem_cache_create made; each panics on what the other, or the system itself, made, and, with the
 * address, on what is no cache, or no longer.  Cost: also linear in caches and arenas.
 */
int kmem_cache_destroy(struct kmem_cache *cache);
int __kmem_cache_destroy(struct kmem_cache *cache);

/* Links a cache in the list of those that draw slabs from `source`, so that the tree is true;
 * creating and destroying does it.  Context: may sleep.  Panics if it is linked already, or isn't. */
void add_importing_slab(struct arena *source, struct kmem_cache *cache);
void del_importing_slab(struct arena *source, struct kmem_cache *cache);

#endif
