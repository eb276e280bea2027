/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files kern/src/kthread*.c share.  kthread.c opens with the theory.
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
	KTASK_RUNNING, /* or on its way off its stack */
	KTASK_READY,
	KTASK_ASLEEP,
	KTASK_ENDED,
	KTASK_IDLE, /* a core's, when it has nothing to do; never changes */
};

struct ktask {
	/* Fixed once created. */
	char name[KTASK_NAME_MAX];
	uint64_t id;
	void (*fn)(void *arg);
	void *arg;
	void *stack; /* its guard page; NULL: the stack isn't ours */
	size_t stack_size;
	bool pinned, detached;

	struct tree_node id_node; /* guarded by the lock of all ktasks */

	/* Guarded by lock; state and core are written atomically, for people to read without it. */
	struct spinlock lock;
	enum ktask_state state;
	bool token;    /* it was unblocked while it wasn't asleep */
	uint32_t core; /* that runs it or ran it last */

	/* Guarded by the lock of the run queue it is in. */
	struct list run_link;
	uint64_t run_ticket;

	/* Its own, while it runs; the core's that switches from or to it, in between. */
	struct machine_fiber fiber;
	uint64_t since; /* port_ns() when it was switched to */
	uint64_t switches, ns; /* written atomically, for people to read */
	uintptr_t words[PORT_THREAD_WORDS];
	struct alarm alarm; /* its deadline */

	struct semaphore ended; /* the joiner's */
};

/* Scheduling (kthread_sched.c) */

/* Memory for all cores that there can be. */
void sched_init(void);

/* Puts a ktask that has never run among the ready ones of `core`. */
void sched_start(struct ktask *t, unsigned core);

/* What becomes of the running ktask, once it is off its stack. */
enum sched_leave { SCHED_YIELDS, SCHED_SLEEPS, SCHED_ENDS };

/* Switches from the running ktask to another; returns when it runs again.  Interrupts are off. */
void sched_leave(enum sched_leave how);

/* What a new ktask, and whoever comes back from a switch, does first: sees to the ktask that was left. */
void sched_arrive(void);

/* Core `core`'s idle ktask; has others see it; makes the caller this core's. */
struct ktask *sched_idle_ktask(unsigned core);
void sched_idle_enter(unsigned core);
void sched_idle(void) __attribute__((noreturn));

/* Stacks (kthread_stack.c) */

void stacks_init(void);

/* A mapped stack behind its guard page, whose address this is; NULL if there is no memory. */
void *stack_take(size_t size);
void stack_put(void *stack, size_t size);

static inline void *stack_low(void *stack)
{
	return (char *)stack + PORT_PAGE_SIZE;
}

/* kthread.c */

/* Lets go of a ktask that has ended: what its joiner does, or the scheduler for a detached one. */
void ktask_release(struct ktask *t);

/* Gives a ktask its id and has it seen by others; false if no id can be had. */
bool ktask_enter(struct ktask *t);

/* Interrupts on, as port_irq_restore() wants it. */
extern port_irq_t kthread_irq_on;

#endif
