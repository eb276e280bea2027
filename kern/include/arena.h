/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: allocators of ranges of integers.  Pages, addresses, IDs and vectors all come from one.
 *
 *	struct arena *ids = arena_create("ids", 1, 1000, 1, NULL, NULL, NULL, 0, MEM_WAIT);
 *	void *id = arena_alloc(ids, 1, MEM_ATOMIC);
 *	arena_free(ids, id, 1);
 *	arena_destroy(ids);
 *
 * An arena either has spans of its own (given when it is created, or added) or imports them from a
 * source arena as it needs them.  Every function may be called on any arena from any core at once;
 * each arena has a lock of its own.  After Bonwick and Adams, "Magazines and Vmem", USENIX 2001;
 * kern/src/arena.c opens with the theory and the differences.
 *
 * Integers are passed as `void *`, since most of them are addresses.  0 is never handed out: it is
 * what failure looks like.  Sizes are in units (bytes, for memory), rounded up to the arena's
 * quantum.
 *
 * Contexts, here and in the other headers.  "May sleep": a thread or boot, interrupts on, no spinlock
 * held, in no callback of an arena's or a cache's owner.  It is checked at entry, whether or not the
 * call comes to sleep, and the panic names the function and its caller.  "Any": everywhere, in NMIs too.
 * "Any but an NMI": interrupts, callbacks, and under a caller's spinlock (in the kernel that comes with this,
 * one of class SPIN_CALLER).  A ktask is a thread of the kernel's.
 *
 * NULL, in this header and the others, where a call needs a pointer, is a panic that names the call, what
 * the pointer is, and the caller.  What is hot looks for it in debug builds alone: for the arena of
 * arena_alloc() and arena_free(), the cache of an allocation or a free of objects, and the lock of
 * spin_lock().  Elsewhere these fault at once, as does shortage_is_short().
 */
#ifndef SPANDREL_ARENA_H
#define SPANDREL_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errors.h"
#include "sink.h"

struct arena;
struct qlock;

/*
 * Memory flags: exactly one of
 *   MEM_ATOMIC  never sleeps; NULL on shortage; legal in any context, in NMIs as arena_alloc() says
 *   MEM_WAIT    served, or asleep until it can be; never NULL; illegal in interrupts, under a
 *               spinlock and in a callback, which is checked at entry; in a callback, or a ktask of
 *               reclaim, where a magazine or a free segment serves at once, by debug builds alone.
 *               While nothing else runs that could free (boot, a kernel without the ktasks of
 *               reclaim.h) no sleep could end, and the shortage is a panic
 *   MEM_ERROR   sleeps like MEM_WAIT, and is NULL when a hardest pass of reclaim that began after the
 *               call, and a try after that, have failed; at once if more is asked for than there is, or
 *               if nothing could be given back.  Where sleeping is illegal it is MEM_ATOMIC; in a
 *               kernel without threads it has given back what is idle, and tries once more
 * or'd with at most one fit:
 *   ARENA_INSTANTFIT  any segment that surely serves, in constant time; failing that, any that serves
 *   ARENA_BESTFIT     the smallest segment that serves, the lowest address among equals
 *   ARENA_NEXTFIT     the lowest address that serves above what the last next fit handed out, then
 *                     around from the bottom: what was freed stays unused longest
 *   ARENA_HIGHFIT     the highest address that serves
 */
#define MEM_ATOMIC (1u << 0)
#define MEM_WAIT (1u << 1)
#define MEM_ERROR (1u << 2)
#define MEM_FLAGS (MEM_ATOMIC | MEM_WAIT | MEM_ERROR)

#define ARENA_INSTANTFIT 0u
#define ARENA_BESTFIT (1u << 4)
#define ARENA_NEXTFIT (1u << 5)
#define ARENA_HIGHFIT (1u << 6)
#define ARENA_FITS (ARENA_BESTFIT | ARENA_NEXTFIT | ARENA_HIGHFIT)

/* How an arena gets spans from its source and gives them back.  afunc answers a multiple of the
 * source's quantum, or NULL on shortage; its flag is MEM_ATOMIC, since only the outermost call may
 * sleep.  Both are called with no lock held. */
typedef void *(*arena_alloc_fn)(struct arena *source, size_t size, unsigned flags);
typedef void (*arena_free_fn)(struct arena *source, void *addr, size_t size);

/* They run in the contexts of arena_alloc() and arena_free() on the arena.  They may allocate by
 * MEM_ATOMIC and free, in other arenas; they may not sleep, reap, or create or destroy arenas and
 * caches, which are panics that name the arena. */

/* As `source`: the arena makes its own spans; afunc and ffunc are called with the arena itself. */
#define ARENA_SELF_SOURCE ((struct arena *)-1)

#define ARENA_NAME_MAX 24 /* bytes of a name that are kept, its end included */

/* Create */

/*
 * Makes an arena and returns it; it lives until arena_destroy().
 *
 * name: for people, copied.  base, size: the first span; size 0: none.  quantum: every allocation
 * is a multiple of it and starts on one; any positive integer, powers of two are fast.  afunc,
 * ffunc, source: where spans are imported from, all three or none; with them size is 0.
 * qcache_max: sizes up to it are to be cached, a multiple of quantum, 0 for none; none are if the
 * two multiply to 2^64 or more.
 *
 * Context: may sleep, whatever the flag.  Cost: constant.  Returns NULL, by flag, if memory for it (two
 * pages of the nearest base arena) or its tags can't be had; nothing changed then.  Panics on a
 * quantum of 0, a qcache_max that is no multiple, both spans and a source, half a source, a first
 * span that arena_add() would refuse, and flags that aren't sound here.
 */
struct arena *arena_create(const char *name, void *base, size_t size, size_t quantum,
	arena_alloc_fn afunc, arena_free_fn ffunc, struct arena *source, size_t qcache_max,
	unsigned flags);

/*
 * The same in storage of the caller's: ARENA_STORAGE bytes, aligned to PORT_LINE_SIZE (port.h),
 * which need not be cleared and stay the arena's until __arena_destroy() has returned 0.
 *
 *	static char storage[ARENA_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));
 *	struct arena *ids = __arena_create((struct arena *)storage, "ids", ...);
 *
 * Returns `arena`, or NULL as arena_create() does; the storage is the caller's again then.
 */
#define ARENA_STORAGE 6336
struct arena *__arena_create(struct arena *arena, const char *name, void *base, size_t size,
	size_t quantum, arena_alloc_fn afunc, arena_free_fn ffunc, struct arena *source,
	size_t qcache_max, unsigned flags);

/*
 * Makes a base arena over memory: [start, start + size), whole pages, readable and writable.
 * Nothing lies beneath it: the arena itself, its tags and the tags of all arenas over it live in
 * its own pages.  Quantum PORT_PAGE_SIZE.  More memory comes by arena_add(), and need not have been
 * touched; only pages that are handed out or hold tags ever are.
 *
 * Context: may sleep.  Cost: constant.  Returns NULL if the memory is smaller than
 * ARENA_BASE_PAGES_MIN pages.  Panics if it is no whole pages.
 */
struct arena *arena_create_base(const char *name, void *start, size_t size);
#define ARENA_BASE_PAGES_MIN 4

/*
 * Adds the span [base, base + size), rounded inward to the quantum, to an arena without a source.
 * Adjacent spans become one.  RAM may be added to base_arena at any time, at any address outside of
 * what boot found, and serves whatever boot's does; the page frame table takes 3 pages for the first
 * GiB of it that is used, and 2 for each further one.  Context: by flag.  Cost: logarithmic in spans.
 * Returns 0, or one of these, nothing having changed; arena_add_strerror() gives the reason:
 *   -ENOMEM  no tags, by flag           -EINVAL  empty, once rounded
 *   -ERANGE  wraps around               -EDOM    contains 0
 *   -EEXIST  overlaps, as given, what is there
 *   -EBUSY   the arena imports its spans
 */
int arena_add(struct arena *arena, void *base, size_t size, unsigned flags);
const char *arena_add_strerror(int error);

/* Use */

/*
 * Hands out `size` units, rounded up to the quantum: an integer r, a multiple of the quantum, such
 * that [r, r + size) is the caller's until arena_free(arena, r, size).
 *
 * Context: by flag; in an NMI by MEM_ATOMIC, sizes up to qcache_max, without a fit, of an arena that
 * has its caches: what this core has in its magazines, else NULL.  No other request may be made in an
 * NMI.  Cost: constant (an instant fit that hits); else a look at 64 segments, and beyond that, for a
 * caller that may take long, steps with the lock released between, until these have cost as much as
 * an index of the free segments does; then the index is built, and searches are logarithmic.  An
 * import costs what the source does.  Returns NULL on shortage, by flag.  A request by MEM_WAIT or
 * MEM_ERROR that could be served from what the arena holds is served; a MEM_ATOMIC one is, by any
 * fit, where an instant fit serves, and may be NULL where telling takes more than 64 looks.  Panics
 * on size 0, a size that wraps when rounded, not exactly one memory flag, two fits, and MEM_WAIT with
 * interrupts off.
 */
void *arena_alloc(struct arena *arena, size_t size, unsigned flags);

/*
 * arena_alloc() with MEM_ERROR that sleeps until it is served or until `deadline`, a moment of
 * port_ns(); then NULL.  Requests that sleep are tried for, the oldest first, whenever something was
 * freed that they may depend on; one that can't be served is passed by.  A request that may sleep
 * stands behind those that sleep for the same arena.  One that was passed 64 times holds up later
 * requests, which may sleep, of the same root for 30 ms at most, and then none is held up for nine
 * times as long.  MEM_ATOMIC takes what is free in any case (shortage.h).
 *
 * Context: a thread, interrupts on.  Cost: as arena_alloc(); to sleep, a step for each source, and a
 * call on each core where nothing was short before.
 * Panics as arena_alloc() does, on another memory flag, and where it may not sleep.
 */
void *arena_alloc_timeout(struct arena *arena, size_t size, unsigned flags, uint64_t deadline);

/*
 * Takes back what arena_alloc(arena, size, ...) returned.  Coalesces with free neighbours; an
 * imported span that is wholly free goes back to its source, but for a few that are retained (32 of
 * the source's quanta at most) until arena_reap() wants them.
 *
 * Context: any but an NMI (if ffunc may run there).  Cost: constant; giving a span back is
 * logarithmic in the arena's spans, and costs what the source does.  Never needs memory.
 * Panics, naming arena, address, size and caller, on what isn't allocated, was freed before, or has
 * another size: at once, or, for sizes up to qcache_max, when the caches give it back; under kmem_debug=check and
 * full at once always.
 */
void arena_free(struct arena *arena, void *addr, size_t size);

/*
 * The same with constraints: an integer r, a multiple of the quantum, such that
 *   r % align == phase                          align is a power of two, phase < align; 0, 0: any
 *   [r, r + size) crosses no multiple of nocross   a power of two, at least size; 0: it may
 *   minaddr <= r, and r + size <= maxaddr       0: no bound
 * is the caller's until arena_xfree(arena, r, size).  Starting on a multiple of nocross is no
 * crossing, nor is ending on one.  size counts as rounded up to the quantum: if that makes it larger
 * than nocross, no r satisfies the constraints.
 *
 * align above 1 and nocross need a quantum that is a power of two; windows don't.
 *
 * A size up to qcache_max that is a power of two comes from the arena's caches, as by arena_alloc(),
 * where it is asked for by instant fit, without a window or a phase, and aligned to no more than
 * itself.
 *
 * Of what the arena holds within a window the lowest r that can serve is taken; with ARENA_NEXTFIT the
 * lowest above what the last next fit handed out, then the lowest; with ARENA_HIGHFIT the highest;
 * with ARENA_BESTFIT the lowest, if there is any constraint.  A MEM_ATOMIC call that 64 looks don't
 * settle imports, if it can, and takes that place.  By instant fit without a window any r that serves
 * may be taken.  Without any constraint the fits are those of arena_alloc().
 *
 * An arena that imports by arena_alloc() passes the constraints down to its source, and so on, where
 * both quanta are powers of two; the span goes back by arena_xfree().  Any other source is asked for
 * so much that r must exist in it; within a window, where that can't be known, it isn't asked.  By
 * instant fit without a window an arena imports before it searches far.
 *
 * Context: by flag.  Cost: as arena_alloc(); with the index, logarithmic in free segments for
 * constraints that it keeps.  It keeps those that save most looks; under others a search looks at
 * the segments that are large enough, one after the other.  A MEM_ATOMIC call may be NULL where 64
 * looks don't settle it.  Returns NULL on shortage, by flag; at once if no address can satisfy the
 * constraints.  Panics as arena_alloc() does; on align or nocross that is no power of two, or given
 * where the quantum isn't one; on phase >= align, nocross < size, minaddr > maxaddr; and with
 * MEM_WAIT on constraints that no address satisfies.
 */
void *arena_xalloc(struct arena *arena, size_t size, size_t align, size_t phase, size_t nocross,
	uintptr_t minaddr, uintptr_t maxaddr, unsigned flags);

/* Takes back what arena_xalloc(arena, size, ...) returned; as arena_free() in all else.  Up to
 * qcache_max, what came from the arena's caches may come back by either call, and what didn't, which
 * must come back by this one, is the arena's again at once.  Beyond that, and without caches, each of
 * the two panics on a segment that is the other's. */
void arena_xfree(struct arena *arena, void *addr, size_t size);

/* Units free and units in all spans, now.  Context: any but an NMI.  Cost: constant. */
size_t arena_amt_free(struct arena *arena);
size_t arena_amt_total(struct arena *arena);

/*
 * Gives back what the arena has and doesn't use, until that comes to `amount` (SIZE_MAX: all of
 * it): what its front holds idle, all of that at once, and the spans it retains go to its source, in
 * units; then, where it imports by arena_alloc() and gives back by arena_free() and both quanta are powers
 * of two, whole quanta of the source that are free in spans partly used, which become several spans;
 * pages of its hash and of idle boundary tags to the nearest base arena, in bytes.  Returns what
 * it came to, spans that went back by themselves meanwhile included; 0, and nothing changed, for 0.
 *
 * Context: may sleep.  Cost: linear in what goes back, and a logarithmic step for each span and a step
 * for each segment there is; locks are held for a few dozen steps at a time.  An index that
 * arena_index() built stays.
 */
size_t arena_reap(struct arena *arena, size_t amount);

/* Builds the arena's index of free segments now, and keeps it for good: searches are logarithmic from
 * then on, MEM_ATOMIC ones too (but for constraints new to it).  Returns false if there is no memory
 * for it; if memory for it should run out later, it goes, and comes again with the next search that
 * earns it.  Context: any but an NMI.  Cost: linear in segments, in bounded steps; nothing on a
 * young arena. */
bool arena_index(struct arena *arena);

/*
 * Has fn called when reclaim wants something back that lies in the arena, or that it is made of: asked
 * for units, fn frees what its owner can do without, by arena_free() or otherwise, and answers how
 * many units that was.  NULL: no longer; a call that has begun goes on.
 *
 * Context of the call: any but an NMI; constant.  Context of fn: a thread, no lock held; it may not
 * sleep, allocate but by MEM_ATOMIC, reap, call reclaim, or create or destroy arenas and caches, which
 * are panics that name the arena; it
 * takes locks by trying, and none that is held by a thread that allocates by MEM_WAIT.  One that takes
 * longer than 100 ms is reported, and left out for 10 s, but for what reclaim_run() and reaps ask.
 */
void arena_set_reclaim(struct arena *arena, size_t (*fn)(void *priv, size_t units), void *priv);

/* Memory from the nearest base arena, found by walking the sources of `near` (NULL: base_arena):
 * size bytes, whole pages; zeroed by base_zalloc.  As arena_alloc() in all else. */
void *base_alloc(struct arena *near, size_t size, unsigned flags);
void *base_zalloc(struct arena *near, size_t size, unsigned flags);
void base_free(struct arena *near, void *addr, size_t size);

/* Links and unlinks `importer` in the import list of `source`.  arena_create() and arena_destroy()
 * do it for arenas with a source; an arena whose afunc hides where spans come from calls them
 * itself, so that the tree is true.  Context: may sleep.  Panics if it is linked already, or isn't. */
void add_importing_arena(struct arena *source, struct arena *importer);
void del_importing_arena(struct arena *source, struct arena *importer);

/* Inspect */

/* How an allocation was asked for. */
enum arena_style {
	ARENA_STYLE_INSTANT, /* by the default fit, those that took a search included */
	ARENA_STYLE_BEST,
	ARENA_STYLE_NEXT,
	ARENA_STYLE_HIGH,
	ARENA_STYLE_CONSTRAINED, /* by arena_xalloc(), or for one in an arena that imports from this */
	ARENA_STYLES
};

/* Why an allocation returned NULL. */
enum arena_failure {
	ARENA_FAILURE_SHORTAGE,	  /* nothing held is large enough, where it would have to be; the source, if any, refused */
	ARENA_FAILURE_IMPOSSIBLE, /* no address satisfies the constraints */
	ARENA_FAILURE_INDEX,	  /* MEM_ATOMIC, and not to be told without an index */
	ARENA_FAILURE_TAGS,	  /* no memory for boundary tags */
	ARENA_FAILURE_DEADLINE,	  /* arena_alloc_timeout() slept until its deadline */
	ARENA_FAILURES
};

/*
 * What an arena is and has done, at one moment.  Amounts in units.
 *
 * Allocations, frees and failures are those of its segments: what a front hands out from what it
 * holds isn't among them, nor what its caches ask for and don't get, since the arena then serves by
 * itself.  Importers are callers like others: spans they get and are refused count here, too, once
 * for each time they ask.
 */
struct arena_stats {
	const struct arena *arena;
	char name[ARENA_NAME_MAX];
	char source[ARENA_NAME_MAX]; /* "-": none; its own name: self-sourced */
	unsigned depth;		     /* in the import tree, 0 at a root */
	bool is_memory;		     /* its root is a base arena */
	bool in_bytes;		     /* amounts are bytes: it is memory, or its quantum is whole pages */
	uint64_t quantum;
	uint64_t qcache_max;
	uint64_t total, used, free;
	uint64_t used_peak;	     /* the most `used` ever was */
	uint64_t largest_free;	     /* the largest segment; of many of about its size one less than a ninth smaller */
	uint64_t fragmentation_permille; /* 1 - largest_free / free, of 1000; 0 if nothing is free */
	uint64_t spans;
	uint64_t segments_used, segments_free;
	uint64_t allocs, frees;	     /* that ever succeeded */
	uint64_t allocs_by[ARENA_STYLES];
	uint64_t failures;	     /* allocations that returned NULL */
	uint64_t failures_by[ARENA_FAILURES];
	uint64_t imports, returns;   /* spans moved from and to the source */
	uint64_t waiting;	     /* requests asleep now: for it, or for a cache that draws on it */
	uint64_t sleeps, wakeups;    /* that went to sleep, and were woken, with an answer */
	uint64_t waits_served;	     /* that were served after sleeping */
	uint64_t importers;	     /* of arena_get_stats(), 0: arena_tree_stats() and _peek() know it */
	uint64_t retained;	     /* in imported spans that are wholly free, as the source counts them */
	/* The most free segments, or nodes of the index, that one search looked at under one hold of
	 * the lock: 16 at most without an index, else a small multiple of their logarithm, and 160
	 * nodes more while a constraint is new to the index. */
	uint64_t search_looks_max;
	uint64_t tags_spare;	     /* boundary tags in hand */
	uint64_t hash_buckets, hash_pages;
	uint64_t index_bytes;	     /* of its index of free segments, spare nodes included; 0: none */
	uint64_t tag_pages;	     /* base arenas: pages for itself, tags and hashes, in `used` */
};

/* Fills *stats.  Context: any but an NMI.  Cost: constant. */
void arena_get_stats(struct arena *arena, struct arena_stats *stats);

/* Fills rows[0 .. max) with every arena, each after its source, and returns how many there are.
 * Context: may sleep.  Cost: linear in arenas. */
size_t arena_tree_stats(struct arena_stats *rows, size_t max);

/* The same without memory for rows: fn sees every arena, each after its source.  Context:
 * arenas_and_slabs_lock is held, so none comes or goes meanwhile, and fn may not sleep.  Or after a
 * panic, when no other core runs and a lock may be held for good: then no lock is taken, and what fn sees may
 * be halfway through a change. */
void arena_tree_peek(void (*fn)(const struct arena_stats *row, void *arg), void *arg);

/* Every arena, each after its source, one after the other: NULL begins, NULL ends.  arena_destroy() waits
 * while a walk stands on the arena, until the next is asked for; a caller that stops early calls
 * arena_unpin().  Context: may sleep.  Cost: linear in the depth of the tree.  Both panic on an arena on
 * which no walk stands. */
struct arena *arena_next(struct arena *arena);
void arena_unpin(struct arena *arena);

enum arena_segment_kind {
	ARENA_SEGMENT_SPAN, /* the extent of a span; its segments follow */
	ARENA_SEGMENT_FREE,
	ARENA_SEGMENT_USED,
};

struct arena_segment {
	uintptr_t start;
	size_t size;
	enum arena_segment_kind kind;
	/* Of a used one, while every free is looked up (kmem_debug.h): the backtrace of its allocation, NULL if it
	 * isn't known, and its port_ns(). */
	const struct stack *user;
	uint64_t since;
};

/* Calls fn for every span and segment in address order, in steps: the arena may change between two
 * calls, and what is shown was true when it was read.  fn is called with no lock held and ends the
 * walk by returning false.  Context: as fn.  Cost: linear in segments, the lock is held for at most
 * ARENA_WALK_STEP of them at a time. */
#define ARENA_WALK_STEP 32
void arena_walk(
	struct arena *arena, bool (*fn)(const struct arena_segment *s, void *arg), void *arg);

/* Free segments by size: class i holds those of 2^i units up to, and without, 2^(i + 1). */
#define ARENA_FREE_CLASSES 64
struct arena_free_class {
	uint64_t segments;
	uint64_t units; /* in all of them */
};

/* Counts the arena's free segments into all of classes[].  Context: any but an NMI.  Cost: linear in
 * segments, used ones included, in steps as arena_walk() takes, with what may change between them. */
void arena_free_histogram(
	struct arena *arena, struct arena_free_class classes[ARENA_FREE_CLASSES]);

/* The segment that contains addr: true and *segment filled in, or false.  Context: any but an NMI.
 * Cost: linear in the segments of one span, in steps as arena_walk() takes. */
bool arena_find_segment(struct arena *arena, uintptr_t addr, struct arena_segment *segment);

/* Copies the name of the arena at that address; false if none is there.  Context: not in an interrupt. */
bool arena_name_at(const struct arena *arena, char name[ARENA_NAME_MAX]);

/* The first arena of that name, or NULL.  Context: may sleep.  Cost: linear in arenas. */
struct arena *arena_find(const char *name);

/* Checks every invariant of arena.c's theory statement.  Returns 0, or the number of the first one
 * that fails, having said on `sink` (may be NULL) where.  Context: any but an NMI; needs no memory.
 * Cost: linear; the lock is held for at most ARENA_WALK_STEP segments at a time, so sums are compared
 * only if nothing changed meanwhile (it tries again a few times). */
int arena_check(struct arena *arena, struct sink *sink);

/* The same, but asks stops(arg) between such steps, and once it is true returns -EINTR, unless an invariant
 * was found broken.  stops() is called with no lock held and may do what the caller may.  Panics if it is NULL. */
int arena_check_until(struct arena *arena, struct sink *sink, bool (*stops)(void *arg), void *arg);

/* Whether every boundary tag and hash page that base arena `base` has made is idle or in the hand
 * of an arena over it, none lost.  Meaningful while nothing else uses those arenas.  Context: may
 * sleep.  Cost: linear in arenas. */
bool arena_base_balances(struct arena *base);

/* Writes everything arena_get_stats() knows, and the histogram of free sizes; all arenas, as a
 * tree, if `arena` is NULL.  Context: may sleep, and as the sink's.  Cost: as
 * arena_free_histogram(), or arena_tree_stats(). */
void print_arena_stats(struct arena *arena, struct sink *sink);

/* Destroy */

/*
 * Ends an arena: its spans go back to the source, its tags and storage to the base arena.  An arena
 * with live allocations, importers or requests that sleep is left exactly as it was, the console says
 * which, and the answer is -EBUSY; so is one while kmem_cache_next() stands on one of the caches that
 * front it; otherwise 0.  A base arena gives nothing back: its memory is the caller's
 * again.  Context: may sleep, until no pass of reclaim and no walk of arena_next() stands on it; nothing else
 * may use the arena any more.  Cost: linear in spans, and in arenas.  __arena_destroy is for what
 * __arena_create made.  Panics, with the address, on what is no arena, or no longer.
 */
int arena_destroy(struct arena *arena);
int __arena_destroy(struct arena *arena);

/* Globals */

extern struct arena *base_arena;   /* all RAM; its integers are direct-map addresses */
extern struct arena *kpages_arena; /* pages for everyone, imported from base_arena */

/* The first of all arenas in the order of their creation, NULL while there is none. */
extern struct arena *all_arenas;

/* Guards the import tree and the lists of all arenas and caches.  It is a lock that sleeps, so it comes
 * before every spinlock.  Under it MEM_WAIT and MEM_ERROR are illegal, which debug builds check. */
extern struct qlock arenas_and_slabs_lock;

#endif
