/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What functions do with locks, for clang's thread-safety analysis (Hutchins, Ballman and Sutherland, "C/C++
 * Thread Safety Analysis", SCAM 2014).
 *
 *	static void queue_leave(struct sync_queue *q, struct sync_sleeper *s) SPANDREL_REQUIRES(&q->lock)
 *	{
 *
 * They stand behind a function's parameters, of which they may speak, and are empty but in `make lint`, which
 * defines SPANDREL_LINT.  The analysis looks at one function at a time.  It compares names, not addresses: a lock is
 * to be taken, asked for and released by the same expression.  It doesn't follow a lock that is taken under a
 * condition, and says nothing of what a lock guards.
 */
#ifndef SPANDREL_ANNOTATE_H
#define SPANDREL_ANNOTATE_H

#ifdef SPANDREL_LINT
#define SPANDREL_ATTRIBUTE(x) __attribute__((x))
#else
#define SPANDREL_ATTRIBUTE(x)
#endif

/* Of a struct: it is a lock, which reports call `kind`. */
#define SPANDREL_CAPABILITY(kind) SPANDREL_ATTRIBUTE(capability(kind))

/* Takes the lock, or takes it if it returns true; for reading. */
#define SPANDREL_ACQUIRES(lock) SPANDREL_ATTRIBUTE(acquire_capability(lock))
#define SPANDREL_TRIES(lock) SPANDREL_ATTRIBUTE(try_acquire_capability(true, lock))
#define SPANDREL_ACQUIRES_SHARED(lock) SPANDREL_ATTRIBUTE(acquire_shared_capability(lock))
#define SPANDREL_TRIES_SHARED(lock) SPANDREL_ATTRIBUTE(try_acquire_shared_capability(true, lock))

/* Releases it; was called for reading. */
#define SPANDREL_RELEASES(lock) SPANDREL_ATTRIBUTE(release_capability(lock))
#define SPANDREL_RELEASES_SHARED(lock) SPANDREL_ATTRIBUTE(release_shared_capability(lock))

/* Called with the lock held, and it is so on return. */
#define SPANDREL_REQUIRES(lock) SPANDREL_ATTRIBUTE(requires_capability(lock))

/* The body isn't analysed: it makes a lock, or takes one under a condition.  Its callers are. */
#define SPANDREL_UNANALYSED SPANDREL_ATTRIBUTE(no_thread_safety_analysis)

#endif
