/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the slab layer asks of a cache's debug mode (debug.c).  A cache without one has no struct
 * kmem_debug, and none of these is called but where its comment says so.
 */
#ifndef SPANDREL_SLAB_DEBUG_H
#define SPANDREL_SLAB_DEBUG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kmem_debug.h"
#include "lib/linear_hash.h"
#include "sink.h"
#include "spinlock.h"
#include "sync.h"

struct kmem_cache;
struct slab;

/* The walk that verifies holds it while it is in a cache: a test that breaks something holds it until that is
 * mended. */
extern struct qlock slab_debug_walk_lock;

/* What is known of an object. */
struct track {
	struct hash_link link; /* by the object's address */
	struct track *next;    /* the next younger in quarantine */
	size_t size;	       /* that was asked for */
	bool is_free, is_quarantined;
	struct kmem_event alloc, free;
};

/* Of a cache in mode full, or traced. */
struct kmem_debug {
	struct spinlock lock;
	struct linear_hash tracks;
	struct track *oldest, *youngest; /* in quarantine */
	size_t quarantined, quarantined_max;
	bool is_tracing; /* atomic */
	/* Atomic. */
	uint64_t looked_up, verified, untracked;
};

/* Prints what is known of an object: in a panic's report.  Of any cache. */
struct slab_debug_what {
	struct kmem_cache *cache;
	uintptr_t addr;
};
void slab_debug_print(struct sink *sink, const void *what);

/* Bytes of a zone, at least, before an object and behind it; they lie between it and its neighbours. */
#define DEBUG_ZONE 16

/* Makes the caches that all of it lies in.  Context: boot, once. */
void slab_debug_init(void);

/* The flags of the mode that a cache of that name and those flags gets.  For any cache. */
unsigned slab_debug_flags(const char *name, unsigned flags);
/* Gives a cache what its mode, or tracing, takes; false: no memory.  And takes it away. */
bool slab_debug_begin(struct kmem_cache *c);
void slab_debug_end(struct kmem_cache *c);

/* Whether there is a cache with a struct kmem_debug. */
bool slab_debug_any(void);

/* Forgets every object.  Of any cache that has a struct kmem_debug. */
void slab_debug_forget(struct kmem_cache *c);
/* Of how many objects something is known.  Of any cache that has a struct kmem_debug. */
size_t slab_debug_tracked(struct kmem_cache *c);
/* Its own caches, and the pages of hashes: bytes of base_arena. */
size_t slab_debug_bytes(void);

/* A slab comes: its objects get their pattern.  It goes: that is verified, and they are forgotten. */
void slab_debug_enter(struct kmem_cache *c, const struct slab *s);
void slab_debug_leave(struct kmem_cache *c, const struct slab *s);
/* An object leaves the slab layer for a caller, raw: its pattern is verified, the allocation noted. */
void slab_debug_out(struct kmem_cache *c, void *object, void *caller);
/* A caller frees what is a used object: whether it isn't in quarantine, and its zones are whole; and a panic
 * that says what is wrong then. */
bool slab_debug_is_whole(struct kmem_cache *c, void *object);
void slab_debug_report(struct kmem_cache *c, void *object, void *caller) __attribute__((cold));
/* It comes back, destructed: gets its pattern, and the free is noted.  Returns what is to go back to its
 * slab instead: the oldest in quarantine, or it itself; NULL: nothing. */
void *slab_debug_in(struct kmem_cache *c, void *object, void *caller);
/* It comes back as it was handed out, no caller had it. */
void slab_debug_undo(struct kmem_cache *c, void *object);
/* The oldest in quarantine, which leaves it; NULL: there is none.  Of any cache. */
void *slab_debug_release(struct kmem_cache *c);
/* How many are in quarantine; whether one is.  Of any cache. */
size_t slab_debug_quarantined(const struct kmem_cache *c);
bool slab_debug_is_quarantined(struct kmem_cache *c, uintptr_t object);
/* Only `size` bytes of a used object were asked for, no more than before: its zone begins there. */
void slab_debug_resize(struct kmem_cache *c, void *object, size_t size);
/* That; the object's size if it isn't known. */
size_t slab_debug_size(struct kmem_cache *c, const void *object);
/* Verifies zones and patterns of some objects of a slab, from number *from on, which becomes that of the next
 * one, or 0 behind the last.  Of a cache with KMC_ZONES.  The cache's lock is held; so instead of a panic it returns the
 * address of the first byte that is wrong, or 0. */
uintptr_t slab_debug_verify(struct kmem_cache *c, const struct slab *s, size_t *from);
/* What a byte that is wrong holds. */
uint8_t slab_debug_byte(uintptr_t at);

/* Fills a zone; the first byte in it that is wrong, or 0. */
void slab_debug_fill_zone(uintptr_t at, size_t n);
uintptr_t slab_debug_find_in_zone(uintptr_t at, size_t n);
/* What happens now, and who has it happen. */
struct kmem_event slab_debug_now(void *caller);

/*
 * Large kmalloc (large.c).  In mode full, or where its words name "kmalloc-large", a zone of at least LARGE_ZONE
 * bytes lies behind what was asked for, up to the end of its pages, `total` bytes behind p.
 */
#define LARGE_ZONE ((size_t)64)
bool slab_large_has_zones(void);
/* `size` bytes were asked for, at first or of memory that there is. */
void slab_large_set(uintptr_t p, size_t total, size_t size, void *caller);
/* How many that were. */
size_t slab_large_size(uintptr_t p, size_t total);
/* Panics if its zone isn't whole. */
void slab_large_check(uintptr_t p, size_t total, const char *found_when, void *caller);

#endif
