/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kinds of workloads share.
 *
 * A kind's start function reads the arguments, allocates what its ktasks share, and adds the
 * ktasks, which begin to run once it has returned.  A ktask's function does its work until
 * work_goes_on() is false, frees what it holds, and returns.
 */
#ifndef SPANDREL_WORK_IMPL_H
#define SPANDREL_WORK_IMPL_H

#include "lib/list.h"
#include "sync.h"
#include "work.h"

struct arena;
struct kmem_cache;
struct ktask;
struct work_task;

#define WORK_TASKS_MAX 64 /* ktasks of a workload */

/* The arguments of a call, and where to say what is wrong with them. */
struct work_args {
	size_t n;
	const char *const *words;
	struct sink *why;
};

struct work {
	struct list link; /* in work.c's list */
	struct work_info info;
	uint64_t id;
	char args[WORK_ARGS_MAX];
	struct list tasks; /* fixed once it is in the list */
	unsigned task_count;
	enum { WORK_STARTING, WORK_RUNNING, WORK_STOPPING } state; /* under the list's lock */
	bool stops;                                                /* atomic */
	struct rendez wake; /* of ktasks that sleep; woken when `stops` is set */
	uint64_t reports;   /* atomic: contents found wrong, of which the first few get a line */

	/* A start function may set these. */
	const void *claim; /* what no other workload may use at the same time, or NULL */
	void *data;        /* what its ktasks share */
	/* Frees `data`, after the ktasks have ended.  NULL: there is nothing to free. */
	void (*end)(struct work *w);
};

enum work_count { WORK_OPS, WORK_WRONG, WORK_REFUSED, WORK_FAILED, WORK_COUNTS };

/* One of its ktasks. */
struct work_task {
	struct list link;
	struct work *work;
	unsigned number; /* among its work's ktasks, from 0 */
	void (*run)(struct work_task *t);
	struct ktask *ktask;
	uint64_t random;              /* state of its generator */
	uint64_t steps;               /* calls of work_step() */
	uint64_t counts[WORK_COUNTS]; /* atomic */
};

/* For start functions */

/* A kind: its row in kinds.c.  `start` returns false, with nothing left allocated but ktasks it has
 * added, after it has said why. */
struct work_kind {
	struct work_info info;
	bool (*start)(struct work *w, const struct work_args *args);
};

bool work_start_alloc(struct work *w, const struct work_args *args);
bool work_start_bursts(struct work *w, const struct work_args *args);
bool work_start_disk(struct work *w, const struct work_args *args);
bool work_start_hog(struct work *w, const struct work_args *args);
bool work_start_ids(struct work *w, const struct work_args *args);
bool work_start_maps(struct work *w, const struct work_args *args);
bool work_start_replay(struct work *w, const struct work_args *args);

/* Reads the i-th argument, a number from `min` to `max`, into *value, which stays as it is if there
 * is no such argument.  Returns false after saying what is wrong with it. */
bool work_number(
	const struct work_args *args, size_t i, uint64_t min, uint64_t max, uint64_t *value);

/* Says that memory is short; returns false. */
bool work_no_memory(const struct work_args *args);

/* Adds n ktasks that run `run`, at most WORK_TASKS_MAX in all.  Returns false after saying that
 * there is no memory for them. */
bool work_add_tasks(
	struct work *w, const struct work_args *args, size_t n, void (*run)(struct work_task *t));

/* For end functions: destroy what is the workload's, NULL: nothing.  While a walk over caches stands on
 * it, that is refused, so they try again for a second; then it is left as it is, and the console has said
 * why. */
void work_end_cache(struct kmem_cache *c);
void work_end_arena(struct arena *a);

/* For ktasks.  Context: a ktask of the workload, may sleep. */

/* Whether it isn't to stop yet. */
bool work_goes_on(const struct work_task *t);

/* The same at the end of one step of a loop: counts an operation, and yields now and then. */
bool work_step(struct work_task *t);

/* Sleeps `us` microseconds, or until it is to stop. */
void work_sleep(struct work_task *t, uint64_t us);

/* A random number; one below n, n > 0. */
uint64_t work_random(struct work_task *t);
uint64_t work_below(struct work_task *t, uint64_t n);

/* Random bytes from `min` to 2^`doublings` times that: each doubling as likely as the others. */
size_t work_random_size(struct work_task *t, size_t min, unsigned doublings);

void work_count(struct work_task *t, enum work_count what);

/* Counts contents that are wrong, and prints a line about the first few. */
void work_wrong(struct work_task *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Counts a request by MEM_WAIT that was refused, if p is NULL; returns p. */
void *work_got(struct work_task *t, void *p);

#endif
