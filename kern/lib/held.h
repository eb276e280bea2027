/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which locks a thread holds, in debug builds: for what is illegal while one is held.
 *
 * Spinlocks are in spinlock.h's chain; these functions keep the one of qlocks.  Context: as the call that they
 * are a part of; no function but held_try() takes a lock.  Cost: linear in the qlocks that the thread
 * holds.  Where nothing is checked (SPIN_CHECKS) they are empty.
 */
#ifndef SPANDREL_LIB_HELD_H
#define SPANDREL_LIB_HELD_H

#include <stdbool.h>
#include <stddef.h>

#include "sync.h"

#define HELD_TEXT_MAX 200 /* bytes of what the two describe, the end included */

#if SPIN_CHECKS
/* The running thread has taken `q` at `site`; is about to release it. */
void held_taken(struct qlock *q, void *site);
void held_released(struct qlock *q);

/* `q` is tried at `site`, its queue's lock held.  Returns where its holder began to sleep for memory, if the
 * caller is a callback of reclaim; else NULL. */
void *held_try(struct qlock *q, void *site);

/* Where the running thread took `q`; NULL: it doesn't hold it. */
void *held_site(const struct qlock *q);

/* Writes which spinlock the running thread took last, or which qlock it holds that a callback of reclaim has
 * tried to take, and where.  Returns false if there is none; a handler holds no qlock. */
bool held_describe_spinlock(char *text, size_t size);
bool held_describe_tried(char *text, size_t size);

/* The running thread begins at `caller` to sleep for memory; NULL: it has ended. */
void held_sleeps(void *caller);
#else
static inline void held_taken(struct qlock *q, void *site)
{
}

static inline void held_released(struct qlock *q)
{
}

static inline void *held_try(struct qlock *q, void *site)
{
	return NULL;
}

static inline void *held_site(const struct qlock *q)
{
	return NULL;
}

static inline bool held_describe_spinlock(char *text, size_t size)
{
	return false;
}

static inline bool held_describe_tried(char *text, size_t size)
{
	return false;
}

static inline void held_sleeps(void *caller)
{
}
#endif

#endif
