/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that sleep in an allocation.
 *
 *	struct sleeper s = {.arena = a, .size = 2};
 *
 *	sleeper_start(&s, 1);
 *	arena_free(a, p, 3);
 *	sleeper_end(&s);
 */
#ifndef SPANDREL_TESTS_SLEEPERS_H
#define SPANDREL_TESTS_SLEEPERS_H

#include "threads.h"

struct arena;
struct kmem_cache;

struct sleeper {
	/* What it asks for: an object of `cache`, or else `size` units of `arena`, by
	 * arena_xalloc() if there is a window.  Or what `ask` does, which sets `got`. */
	struct arena *arena; /* it sleeps in its queue */
	struct kmem_cache *cache;
	size_t size;
	uintptr_t min, max;
	unsigned flags;	      /* 0: MEM_WAIT */
	void (*ask)(struct sleeper *s);
	void *arg;	      /* for `ask` */
	bool is_here;	      /* on the core of the thread that starts it, for good */
	bool gives_back;      /* what it gets, at once */
	unsigned *turns;      /* NULL, or counts the sleepers that were served */

	/* What came of it. */
	void *got;
	unsigned turn;	      /* among those with the same `turns`, from 1 */
	bool done;	      /* atomic */
	struct ktask *task;
};

/* Starts it, and waits until `waiting` requests sleep in its arena's queue. */
void sleeper_start(struct sleeper *s, size_t waiting);

/* Starts it, and doesn't wait. */
void sleeper_begin(struct sleeper *s);

/* Whether it has been served by now; and the same after it had the time that it may take
 * (THREADS_PATIENCE). */
bool sleeper_is_done(struct sleeper *s);
bool sleeper_is_served(struct sleeper *s);

/* Waits until it has ended and gives back what it still has.  Checks that one with MEM_WAIT got
 * something. */
void sleeper_end(struct sleeper *s);

#endif
