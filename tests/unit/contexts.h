/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contexts: where each public function may be called, as its header says.
 *
 *	CALL(sem_up) { sem_up(&contexts.sem, 1); ... }
 *	static const struct contexts_row rows[] = {CONTEXTS_ROW(sem_up), ...};
 *	contexts_begin();
 *	contexts_serves(CONTEXT_INTERRUPT, &rows[0]);
 *	contexts_end();
 *
 * A row makes calls that leave all as it was.
 */
#ifndef SPANDREL_TESTS_CONTEXTS_H
#define SPANDREL_TESTS_CONTEXTS_H

#include "arena.h"
#include "block_cache.h"
#include "fake_disk.h"
#include "slab.h"
#include "sync.h"

enum context {
	CONTEXT_THREAD,
	CONTEXT_IRQ_OFF,
	CONTEXT_SPINLOCK, /* of SPIN_CALLER */
	CONTEXT_INTERRUPT,
	CONTEXT_CALLBACK, /* of a cache's owner */
	CONTEXTS
};

/* What the calls are about. */
struct contexts {
	struct arena *ids, *fronted, *importer, *loner; /* importer: from ids; loner: from none */
	struct kmem_cache *cache;
	struct fake_disk *fake;
	struct block_cache *blocks; /* of it */
	struct block *block;	    /* of these, the caller has */
	struct qlock lock;
	struct semaphore sem; /* at 1 */
	struct condvar cv;
	struct rendez rendez;
	struct rwlock rw;
};
extern struct contexts contexts;

void contexts_begin(void);
void contexts_end(void);

struct contexts_row {
	const char *name;
	void (*call)(void);
	bool only_wrong; /* the call isn't one for a context that is right */
};
#define CALL(name) static __attribute__((noinline)) void call_##name(void)
#define CONTEXTS_ROW(name) {#name, call_##name, false}
#define CONTEXTS_ROW_WRONG(name) {#name, call_##name, true}

/* Makes the row's calls there, which must not panic. */
void contexts_serves(enum context where, const struct contexts_row *row);

/* Makes them where they must panic, with a report that begins with the row's name. */
void contexts_refuses(enum context where, const struct contexts_row *row);

#endif
