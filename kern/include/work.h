/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workloads: ktasks that use the kernel's allocators, and check what they get, until they are told
 * to stop.
 *
 *	const char *args[] = {"40", "4"};
 *	uint64_t id = work_start("alloc", 2, args, &console_sink);
 *	...
 *	work_stop(id);
 *
 * A workload is one of the kinds that work_kinds() lists, by its name.  Any number of them run at
 * once, several of a kind included; each counts what its ktasks have done and what they found wrong.
 * Each ktask draws random numbers of its own, from a seed made of the workload's id and the ktask's
 * number.
 *
 * Any core may call these functions at any time.  Context, of all of them: may sleep.
 */
#ifndef SPANDREL_WORK_H
#define SPANDREL_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sink.h"

#define WORK_NAME_MAX 16 /* bytes of a kind's name, its end included */
#define WORK_ARGS_MAX 48 /* bytes of the arguments that are kept, as one text, its end included */

/* Kinds */

struct work_info {
	const char *name;
	const char *args; /* as in a command's usage: those in brackets may be left out */
	const char *help; /* one line */
};

/* Fills in the i-th kind.  Cost: constant.  Returns false if there are no more than i. */
bool work_kinds(size_t i, struct work_info *info);

/* Run */

/* Starts a workload with the arguments args[0 .. n).  Cost: constant for each ktask, and the memory
 * that the kind needs.  Returns its id, above 0, smaller than those of later ones; or 0, and nothing
 * runs: then `why` has got one line, without its end, that says what is wrong with the call, or that
 * memory is short.  The cache of a disk that a workload uses must not be destroyed meanwhile. */
uint64_t work_start(const char *name, size_t n, const char *const *args, struct sink *why);

/* Tells a workload to stop, and waits until its ktasks have ended and all that they held is freed.
 * A ktask that sleeps for memory ends when it has got it.  Returns false if there is no workload of
 * that id, or no longer. */
bool work_stop(uint64_t id);

/* The same for all that run, which are told before any is waited for.  Returns how many it was. */
size_t work_stop_all(void);

/* Inspect */

struct work_stats {
	uint64_t id;
	char name[WORK_NAME_MAX];
	char args[WORK_ARGS_MAX]; /* with a space between two */
	const char *state;	  /* "starting", "running", "stopping" */
	uint64_t ktasks;
	uint64_t ops;	  /* what the ktasks have done: each kind's help says in what */
	uint64_t wrong;	  /* contents that weren't what had been written, units handed out twice */
	uint64_t refused; /* requests by MEM_WAIT that returned NULL */
	uint64_t failed;  /* blocks that the disk couldn't read */
};

/* Fills rows[0 .. max) with the workloads that have an id of at least `from`, in order of id, and
 * returns how many it filled.  Counts are read one by one while they go on.  Cost: linear in
 * workloads and the ktasks of those shown. */
size_t work_list(uint64_t from, struct work_stats *rows, size_t max);

#endif
