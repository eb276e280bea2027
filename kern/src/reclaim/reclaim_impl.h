/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What reclaim.c and the files of reclaim/ share.
 */
#ifndef SPANDREL_RECLAIM_IMPL_H
#define SPANDREL_RECLAIM_IMPL_H

#include "arena/queue.h"
#include "reclaim.h"
#include "slab/node.h"

/* The server (serve.c) */

/* Has the server try for all records, and returns when it has.  Context: the reclaim ktask, or a thread
 * that may sleep. */
void serve_flush(void);
void serve_get_counts(uint64_t *rounds, uint64_t *tries);

/* One pass (pass.c) */

struct pass {
	struct arena *root;
	unsigned level;
	size_t target;	   /* units that are to come free at the root */
	size_t free_before; /* there */
	size_t answered;   /* by owners: perhaps not at the root yet */
	bool by_hand;	   /* by reclaim_run(): callbacks may be slow */
};

/* Begins to count what comes free. */
void pass_begin(struct pass *p, struct arena *root, size_t target);
/* Walks the root's tree by a level, until the target is met. */
void pass_walk(struct pass *p, unsigned level);
/* The root behind `root`, the first for NULL, NULL at the end; the one that is returned has a reference
 * until the next is asked for.  Context: may sleep. */
struct arena *pass_next_root(struct arena *root);
/* What has come free at the root since it began. */
size_t pass_gain(const struct pass *p);

/* Out of memory (out.c) */

/* After a hardest pass over a base arena that left records: whether memory is out, and then says so. */
void out_consider(struct arena *base);
uint64_t out_reports(void);

#endif
