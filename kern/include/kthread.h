/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ktasks: threads of the kernel, on all cores.
 *
 *	struct ktask *t = ktask("writer", write_all, &job);
 *	...
 *	ktask_join(t);
 *
 * A ktask has a stack of its own, with a guard page below it, and runs until it sleeps (sync.h),
 * yields or ends: it is never preempted, and changes cores nowhere else.  Ready ktasks stand in
 * their core's queue, first come, first run; a core that has nothing to do takes those of others,
 * but never a pinned one.  Interrupts run on the stack of whatever ktask they interrupt.
 *
 * Context, where nothing else is said: a thread, interrupts on, no spinlock held.
 */
#ifndef SPANDREL_KTHREAD_H
#define SPANDREL_KTHREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ktask;
struct sink;

#define KTASK_NAME_MAX 24 /* bytes of a name that are kept, its end included */
#define KTASK_ANY_CORE UINT32_MAX

/* Create */

/* Starts a ktask that runs fn(arg), and ends when that returns.  Somebody must ktask_join() it.
 * The name is copied.  Returns NULL if there is no memory for it.  Cost: constant with a stack kept
 * for reuse, else linear in a stack's pages. */
struct ktask *ktask(const char *name, void (*fn)(void *arg), void *arg);

/* The same on core `core` (less than port_core_count()) for good. */
struct ktask *ktask_pinned(const char *name, void (*fn)(void *arg), void *arg, unsigned core);

/* The same, on any core; nobody joins it, and all of it goes when it ends.  Returns whether there
 * was memory for it. */
bool ktask_detached(const char *name, void (*fn)(void *arg), void *arg);

/* The general form. */
struct ktask_plan {
	const char *name;
	void (*fn)(void *arg);
	void *arg;
	unsigned core;	   /* KTASK_ANY_CORE, or where it is pinned */
	size_t stack_size; /* bytes, whole pages; 0: the usual (MACHINE_STACK_SIZE) */
	bool detached;
};
struct ktask *ktask_create(const struct ktask_plan *plan); /* not to be used afterward if detached */

/* Waits until t has ended and lets go of all of it.  Once for each t that isn't detached.  Panics
 * if t is the caller. */
void ktask_join(struct ktask *t);

/* Run */

/* The running ktask; in an interrupt, the interrupted one.  NULL while there are none.  Any context. */
struct ktask *ktask_self(void);
uint64_t ktask_id(const struct ktask *t);
const char *ktask_name(const struct ktask *t);

/* Ends the caller, as returning from its function does. */
void ktask_exit(void) __attribute__((noreturn));

/* Lets every ktask run that is ready on this core, or, if there is none, one of another core's. */
void kthread_yield(void);

/* Sleeps at least `us` microseconds. */
void kthread_usleep(uint64_t us);

/* Inspect */

struct ktask_stats {
	uint64_t id;
	char name[KTASK_NAME_MAX];
	const char *state; /* "running", "ready", "asleep", "ended", "idle" */
	uint64_t core;	   /* where it runs, or ran last */
	bool pinned;
	uint64_t switches; /* how often it was switched to */
	uint64_t ns;	   /* that it ran */
	uint64_t stack_size;
};

/* Fills rows[0 .. max) with ktasks in order of id, those with an id of at least `from`; returns how
 * many it filled.  What it shows may be of different moments.  Context: any but an NMI.  Cost:
 * linear in max; a lock is held for at most KTASK_STATS_STEP of them at a time. */
#define KTASK_STATS_STEP 32
size_t ktask_stats(uint64_t from, struct ktask_stats *rows, size_t max);

/* How many ktasks there are, those that are being let go of among them.  How many a core has taken
 * from others' queues, in all.  Any context. */
size_t ktask_count(void);
uint64_t kthread_steals(void);

/* Boot */

/* Readies everything; the caller goes on as it is.  Once, when kpages_arena stands. */
void kthread_init(void);

/* Starts the other cores, then the first ktask, and makes the caller core 0's idle ktask. */
void kthread_run(const struct ktask_plan *first) __attribute__((noreturn));

#endif
