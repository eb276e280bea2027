/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What kthread.c and the files of kern/src/kthread/ share.  kthread.c opens with the theory.
 */
#ifndef SPANDREL_KTHREAD_IMPL_H
#define SPANDREL_KTHREAD_IMPL_H

#include "alarm.h"
#include "kthread.h"
#include "lib/list.h"
#include "lib/tree.h"
#include "machine.h"
#include "port.h"
#include "spinlock.h"
#include "sync.h"

enum ktask_state {
	KTASK_RUNNING, /* or outgoing */
	KTASK_READY,
	KTASK_ASLEEP,
	KTASK_ENDED,
	KTASK_IDLE, /* a core's idle ktask, running or not */
};

struct ktask {
	/* Fixed once created. */
	char name[KTASK_NAME_MAX];
	uint64_t id;
	void (*fn)(void *arg);
	void *arg;
	void *stack; /* address of its guard page; NULL: the stack its core started on */
	size_t stack_size;
	bool pinned, detached, is_urgent;

	struct tree_node id_node; /* guarded by the lock of the tree of all ktasks */

	/* Guarded by lock.  state and core are stored atomically, for ktask_stats(). */
	struct spinlock lock;
	enum ktask_state state;
	bool token;    /* it was unblocked while it wasn't asleep */
	uint32_t core; /* that runs it or ran it last */

	/* Guarded by the lock of the run queue it is in. */
	struct list run_link;
	uint64_t run_ticket;

	/* The ktask's own while it runs; its core's during a switch from or to it. */
	struct machine_fiber fiber;
	uint64_t since;	       /* port_ns() when its turn began */
	uint64_t switches, ns; /* stored atomically, for ktask_stats() */
	uintptr_t words[PORT_THREAD_WORDS];
	struct alarm alarm; /* the deadline it sleeps to */

	struct semaphore ended; /* ktask_join() waits for it */
	bool is_joined;		/* atomic; stays set when it is freed, until the memory is used again */
};

/* Scheduling (sched.c) */

/* Allocates the run queues of all cores there can be. */
void sched_init(void);

/* Makes a new ktask ready on `core`. */
void sched_start(struct ktask *t, unsigned core);

/* Why the running ktask gives up its core. */
enum switch_reason { SWITCH_YIELD, SWITCH_SLEEP, SWITCH_END };

/* Switches from the running ktask to another and returns when it runs again.  Context: interrupts
 * off. */
void sched_switch(enum switch_reason reason);

/* Decides what becomes of the ktask that was switched from.  The first thing a ktask does after a
 * switch to it, a new ktask included.  Context: interrupts off. */
void sched_finish_switch(void);

/* A core's idle ktask: its address, its set-up, and its loop, which the core never leaves. */
struct ktask *sched_idle_ktask(unsigned core);
void sched_idle_init(unsigned core);
void sched_idle(void) __attribute__((noreturn));

/* Stacks (stack.c) */

void stacks_init(void);

/* Allocates a guard page with a mapped stack above it and returns the guard page's address; NULL if
 * there is no memory. */
void *stack_alloc(size_t size);
void stack_free(void *stack, size_t size);

/* What each word of a new stack holds: those that still do haven't been used. */
#define STACK_PAINT 0xdeadbeef57ac57acull

/* The lowest address of the mapped part. */
static inline void *stack_low(void *stack)
{
	return (char *)stack + PORT_PAGE_SIZE;
}

/* kthread.c */

/* Gives t an id and puts it into the tree of all ktasks; returns false if there is no id. */
bool ktask_register(struct ktask *t);

/* Frees a ktask that has ended: ktask_join() does, and the scheduler if it is detached. */
void ktask_free(struct ktask *t);

/* Copies up to `max` words from *at up of the stack of the first ktask with an id of at least *id, and sets
 * *id to its; 0: there is none.  *at 0: where a ktask that doesn't run has left off, which it sets *at to.  Returns how many
 * words; 0 at the top, of one that runs or has ended, and on a stack that its core started on. */
size_t ktask_stack_copy(uint64_t *id, uintptr_t *at, uintptr_t *words, size_t max);

/* Interrupts on, in the form port_irq_restore() takes. */
extern port_irq_t kthread_irq_on;

#endif
