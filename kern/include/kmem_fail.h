/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Failure injection: allocations that are made to fail, to see what their callers do then.
 *
 *	struct kmem_fail_rule third = {.name = "inodes", .after = 2, .times = 1};
 *	int rule = kmem_fail_start(&third);
 *	...
 *	kmem_fail_stop(rule);
 *
 * A rule says which allocations it is about, and which of these fail.  Any number of rules may be in force at
 * once; each counts and decides as if it were alone, and an allocation fails if one of them says so.  The same
 * rule and the same sequence of allocations: the same failures.
 *
 * AN ALLOCATION is a request to an arena or a cache: by a call of arena.h, slab.h or kmalloc.h, each object of
 * a bulk one by itself; and each that the allocator makes beneath, which are MEM_ATOMIC: slabs and imports, of
 * the source; boundary tags (16 at a time), nodes of the index (as many), and pages of hashes, of the base arena; magazines,
 * headers and cores' parts, of the caches that `slabs -a` shows.  What needs none can't fail: an object that is
 * free in its slab takes no slab.
 *
 * A FAILURE looks like a shortage that can't be met: by MEM_ATOMIC and MEM_ERROR the call returns NULL at
 * once, a bulk call fewer objects, and it counts among the failures in statistics.  By MEM_WAIT no call fails,
 * nor counts; where one that it makes beneath does, it sleeps and is served, since what the ktasks of reclaim
 * allocate isn't failed.  Where another way is left it is taken: kmalloc() beyond a page takes pages if
 * there is no slab.  Nor does a free fail, or what is done in an NMI.
 *
 * While there is no rule it costs nothing.  Caches that a rule names, and the quantum caches of arenas that
 * it names, keep nothing in magazines, so that each call is seen.
 */
#ifndef SPANDREL_KMEM_FAIL_H
#define SPANDREL_KMEM_FAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMEM_FAIL_NAME_MAX 32 /* bytes of a name, its end included */
#define KMEM_FAIL_DEPTH 48    /* frames of an allocation's backtrace in which a site is looked for */

/* Cleared, but for what is wanted: every allocation fails. */
struct kmem_fail_rule {
	/* Which: of the arenas and caches of that name, as arena_stats and kmem_cache_stats have it; there
	 * need be none yet.  NULL: of all. */
	const char *name;
	/* And made by a function in [from, to), or by what that calls: one of the innermost KMEM_FAIL_DEPTH
	 * return addresses lies there.  Both 0: by any. */
	uintptr_t from, to;
	/* Which of these fail: not the first `after`; of those behind, one in `one_in` (0 and 1: each), by a
	 * hash of its number and `seed`; `times` at most (0: without end). */
	uint64_t after, one_in, seed, times;
};

/* Puts a rule in force, from when it returns.  *rule is copied.  Context: may sleep.  Cost: linear in caches;
 * those that the rule names are drained.  From then on each allocation of what is closed takes a step for
 * each rule, interrupts off, and a look at its backtrace if a rule has a site: a few dozen rules at once are
 * meant.  Returns its number, above 0; or -ENOMEM, if there is no memory for it (a page of base_arena,
 * which another rule may deny), and nothing is changed.  Panics on a site that ends before it begins, or a name
 * of KMEM_FAIL_NAME_MAX bytes or more. */
int kmem_fail_start(const struct kmem_fail_rule *rule);

/* Ends it: what begins after the call isn't failed by it.  Context: may sleep.  Cost: linear in caches.  Panics on a
 * number that no rule has. */
void kmem_fail_stop(int number);

/* A rule in force, and what it has done. */
struct kmem_fail_stats {
	int number;
	char name[KMEM_FAIL_NAME_MAX]; /* "": all */
	uintptr_t from, to;
	uint64_t after, one_in, seed, times;
	uint64_t matched; /* allocations that it is about, so far */
	uint64_t failed;  /* of these */
};

/* Fills *stats; false: no rule has that number.  Context: any but an NMI.  Cost: linear in rules. */
bool kmem_fail_get_stats(int number, struct kmem_fail_stats *stats);

/* The rule with the next number above this; 0: there is none.  Begins with 0.  Context and cost as above. */
int kmem_fail_next(int number);

#endif
