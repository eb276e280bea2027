/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ktasks: threads of the kernel, on all cores.
 *
 *	struct ktask *t = ktask("writer", write_all, &job);
 *	...
 *	ktask_join(t);
 *
 * A ktask has a stack of its own, with a guard page below it: an overflow is a panic that names the
 * ktask.  Code whose frames may be larger than the page is to be compiled so that it touches each
 * page of them (-fstack-clash-protection).  An interrupt runs on the stack of the ktask that it
 * interrupts.
 *
 * A ktask runs until it sleeps (sync.h), yields or ends; it is never preempted, and it changes cores
 * only at these places.  A core runs its ready ktasks in the order in which they became ready, urgent
 * ones first.  A core that has none takes one from another core's queue, but never a pinned one; now
 * and then it does so even if it has some.
 *
 * So none that is ready waits for ever.  If n ktasks of its core's queue, itself among them, have been
 * ready for at least as long, it runs before its core has switched n * KTHREAD_FAIR_PERIOD times;
 * and unless it is pinned, before any other core has n * KTHREAD_FAIR_PERIOD * port_core_count()
 * times, though its own core never does.  A yield that finds something to run is a switch; a core
 * without work switches at once.
 *
 * Context, unless a comment says otherwise: may sleep (arena.h).
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
#define KTHREAD_FAIR_PERIOD 64

/* Create */

/* Starts a ktask that runs fn(arg) and ends when fn returns.  It must be joined.  The name is
 * copied.  Returns NULL if there is no memory for it.  Cost: constant if a stack is cached, else
 * linear in a stack's pages.  Panics if name or fn is NULL. */
struct ktask *ktask(const char *name, void (*fn)(void *arg), void *arg);

/* The same, pinned: it runs on core `core` alone.  Panics unless core < port_core_count(). */
struct ktask *ktask_pinned(const char *name, void (*fn)(void *arg), void *arg, unsigned core);

/* The same, on any core and without a join: all its memory is freed when it ends.  Returns false if
 * there is no memory for it. */
bool ktask_detached(const char *name, void (*fn)(void *arg), void *arg);

/* The general form.  A detached ktask may already be freed when this returns: its pointer may only
 * be compared with NULL.  Panics, too, on a stack that isn't whole pages; returns NULL for one that no
 * memory would do for. */
struct ktask_plan {
	const char *name;
	void (*fn)(void *arg);
	void *arg;
	unsigned core;	   /* the one it is pinned to, or KTASK_ANY_CORE */
	size_t stack_size; /* bytes, whole pages; 0: MACHINE_STACK_SIZE */
	bool detached;
	bool is_urgent; /* when it is ready, its core runs it before others, but for the bound above */
};
struct ktask *ktask_create(const struct ktask_plan *plan);

/* Waits until t has ended, then frees it.  To be called once for each ktask that isn't detached.
 * Panics if t is the caller or is detached, and, for as long as nothing else lies where it was, if t
 * was joined before. */
void ktask_join(struct ktask *t);

/* Run */

/* The running ktask; in an interrupt, the interrupted one; NULL while there are none; and what a
 * ktask is called.  Context: any. */
struct ktask *ktask_self(void);
uint64_t ktask_id(const struct ktask *t);
const char *ktask_name(const struct ktask *t);

/* Ends the caller, as returning from its function does.  Panics, by either way, if it holds a qlock or an
 * rwlock: with the lock, if it is one. */
void ktask_exit(void) __attribute__((noreturn));

/* Runs every ktask that is ready on this core before the caller goes on, if the caller isn't urgent,
 * else one; if none is, one that is ready on another core and isn't pinned.  Returns at once if there
 * is neither. */
void kthread_yield(void);

/* Sleeps at least `us` microseconds; 0 is kthread_yield(). */
void kthread_usleep(uint64_t us);

/* Inspect */

struct ktask_stats {
	uint64_t id;
	char name[KTASK_NAME_MAX];
	const char *state; /* "running", "ready", "asleep", "ended", "idle" */
	uint64_t core;	   /* where it runs, or ran last */
	bool pinned;
	uint64_t switches; /* times a core switched to it */
	uint64_t ns;	   /* time it has run, without its present turn */
	uintptr_t stack; /* its guard page, below it; 0: it runs on the stack its core started on */
	uint64_t stack_size;
	const char *wait;  /* what it sleeps for, in a word, NULL if it isn't asleep or that isn't known */
	uintptr_t wait_of; /* "memory": the arena; "rendez": the function that tells whether it has come; else the lock, the semaphore ...; 0: none */
};

/* Fills rows[0 .. max) with the ktasks that have an id of at least `from`, in order of id, and
 * returns how many it filled.  Rows may show different moments.  Context: any but an NMI.  Cost:
 * linear in max; it holds a lock for KTASK_STATS_STEP rows at most, then lets go of it. */
#define KTASK_STATS_STEP 32
size_t ktask_stats(uint64_t from, struct ktask_stats *rows, size_t max);

/* The most bytes of its stack that the ktask of that id has used, or an earlier one on the same stack; 0 if
 * there is no such ktask, or it runs on the stack its core started on.  Context: any but an NMI.  Cost:
 * linear in what was never used; it holds a lock for 256 words at most, then lets go of it. */
size_t ktask_stack_peak(uint64_t id);

/* After a panic: fills pcs[0 .. max) with the return addresses of the ktask of that id, innermost first,
 * and returns how many, 0 if they aren't known.  Context: the core that reports the panic. */
size_t ktask_backtrace(uint64_t id, uintptr_t *pcs, size_t max);

/* The number of ktasks, idle ones and those not yet freed included.  Context: any. */
size_t ktask_count(void);

/* Bytes of memory behind stacks that are kept for the next ktasks.  Context: any but an NMI.  Cost: linear in
 * cores. */
size_t ktask_stacks_idle(void);

/* How many ktasks cores have taken from other cores' queues since boot.  Context: any. */
uint64_t kthread_steals(void);

/* Stacks of ktasks and the registers they run with, as a root of the leak finder (leaks.h). */
struct leaks_root;
extern struct leaks_root ktask_leaks_root;

/* Boot */

/* Sets up scheduler, alarms and stacks; the caller goes on as before.  To be called once, when
 * kpages_arena and vaddr_arena exist. */
void kthread_init(void);

/* Starts the other cores, then the first ktask; the caller becomes core 0's idle ktask. */
void kthread_run(const struct ktask_plan *first) __attribute__((noreturn));

#endif
