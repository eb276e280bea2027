/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Alarms.  Each core's alarms are in a balanced tree by deadline, and the core's timer is set for
 * the first of them or earlier, never later.
 *
 * It is set earlier than needed when another core cancels the first alarm, since that core can't
 * reach this one's timer.  The timer's interrupt then finds nothing due and sets the timer for the
 * alarm that is first now.
 *
 * A handler runs with no lock held.  Meanwhile `running` names its alarm, and alarm_cancel() on
 * another core waits until it has ended: whichever core that is, since the alarm may have been set on
 * another one meanwhile.  On the handler's own core there is nothing to wait for:
 * only the handler itself can call alarm_cancel() there while it runs.  A handler never
 * waits for another.
 */
#include "alarm.h"

#include "arena.h"
#include "lib/check.h"
#include "lib/list.h"
#include "lib/panic.h"
#include "owner.h"
#include "lib/tree.h"
#include "machine.h"
#include "port.h"
#include "spinlock.h"

struct alarm_core {
	struct spinlock lock;
	struct tree alarms;
	uint64_t timer;	       /* the deadline the timer is set for; used by its own core alone */
	struct alarm *running; /* its handler runs; written by its own core, under the lock; atomic */
} __attribute__((aligned(PORT_LINE_SIZE)));

static struct alarm_core *cores;

/* An alarm's links are a node of its core's tree. */
_Static_assert(sizeof(struct tree_node) <= sizeof(((struct alarm *)NULL)->links), "a node fits in");
_Static_assert(_Alignof(struct tree_node) <= _Alignof(void *), "it may lie there");

static struct tree_node *node_of(struct alarm *a)
{
	return (struct tree_node *)a->links;
}

static struct alarm *alarm_of(const struct tree_node *n)
{
	return container_of(n, struct alarm, links);
}

static bool before(const struct tree_node *a, const struct tree_node *b)
{
	return alarm_of(a)->deadline < alarm_of(b)->deadline;
}

static const struct tree_ops by_deadline = {.before = before};

static struct arena_owner owner = ARENA_OWNER("alarms", base_arena);

void alarms_init(void)
{
	unsigned n = port_core_max();

	cores = base_zalloc(NULL, n * sizeof(*cores), MEM_WAIT);
	arena_owner_add_block(&owner, base_arena, cores, n * sizeof(*cores));
	for (unsigned i = 0; i < n; i++) {
		spin_init(&cores[i].lock, SPIN_ALARM);
		cores[i].timer = PORT_FOREVER;
	}
}

/* Whether it is in a core's tree.  Its memory may be new and hold anything, so is_set may be no bool. */
static bool is_set_somewhere(const struct alarm *a)
{
	const unsigned char *is_set = (const void *)&a->is_set;
	bool found = false;

	for (unsigned i = 0; *is_set && i < port_core_count() && !found; i++) {
		struct tree_node *n;
		port_irq_t irq;

		if (a->core != &cores[i])
			continue;
		irq = spin_lock(&cores[i].lock);
		for (n = tree_first(&cores[i].alarms); n && alarm_of(n) != a; n = tree_next(n))
			;
		found = n;
		spin_unlock(&cores[i].lock, irq);
	}
	return found;
}

void alarm_init(struct alarm *a, void (*handler)(struct alarm *a))
{
	check_given("alarm_init", "alarm", a, __builtin_return_address(0));
	if (!handler)
		panic("alarm %p is readied without a handler (called from %pS)", (void *)a,
			__builtin_return_address(0));
	if (is_set_somewhere(a))
		panic("alarm %p of %pS is readied while it is set (called from %pS)", (void *)a,
			(void *)a->handler, __builtin_return_address(0));
	a->handler = handler;
	a->core = NULL;
	a->is_set = false;
}

static uint64_t first_deadline(const struct alarm_core *c)
{
	const struct tree_node *first = tree_first(&c->alarms);

	return first ? alarm_of(first)->deadline : PORT_FOREVER;
}

/* Sets the timer of c, which is this core.  Lock held. */
static void timer_set(struct alarm_core *c, uint64_t deadline) SPANDREL_REQUIRES(&c->lock)
{
	c->timer = deadline;
	machine_timer_set(deadline);
}

/* Lock held. */
static void enter(struct alarm_core *c, struct alarm *a, uint64_t deadline) SPANDREL_REQUIRES(&c->lock)
{
	a->deadline = deadline;
	/* Relaxed, with the load in alarm_cancel().  The two meet only if a handler sets its alarm
	 * again while another core cancels it, and then this stores what is already there. */
	__atomic_store_n(&a->core, c, __ATOMIC_RELAXED);
	a->is_set = true;
	tree_insert(&c->alarms, node_of(a), &by_deadline);
	if (deadline < c->timer)
		timer_set(c, deadline);
}

/* Interrupts are off from reading the core's number to taking its lock, so that both are the same
 * core's. */
void alarm_set(struct alarm *a, uint64_t deadline)
{
	port_irq_t outer, irq;
	struct alarm_core *c;
	bool was_set;

	check_given("alarm_set", "alarm", a, __builtin_return_address(0));
	if (!a->handler)
		panic("alarm %p has no handler (called from %pS)", (void *)a, __builtin_return_address(0));
	outer = port_irq_save();
	c = &cores[port_core_id()];
	irq = spin_lock(&c->lock);
	was_set = a->is_set;
	if (!was_set)
		enter(c, a, deadline);
	spin_unlock(&c->lock, irq);
	port_irq_restore(outer);
	if (was_set)
		panic("alarm %p of %pS is set while it is set (called from %pS)", (void *)a,
			(void *)a->handler, __builtin_return_address(0));
}

/* In a handler: two that waited for each other on two cores would never end. */
static void check_may_wait(const struct alarm *a, void *caller)
{
	const struct alarm *running = port_in_irq() ? cores[port_core_id()].running : NULL;

	if (running)
		panic("alarm %p, whose handler %pS runs, is cancelled in the handler %pS of another (called from %pS)",
			(const void *)a, (void *)(uintptr_t)a->handler,
			(void *)(uintptr_t)running->handler, caller);
}

/* Acquire: what its handler did is the caller's when it has ended. */
static bool runs_on(const struct alarm_core *c, const struct alarm *a)
{
	return __atomic_load_n(&c->running, __ATOMIC_ACQUIRE) == a && c != &cores[port_core_id()];
}

static bool runs_on_another(const struct alarm *a)
{
	for (unsigned i = 0; i < port_core_count(); i++)
		if (runs_on(&cores[i], a))
			return true;
	return false;
}

/* Takes it out of the tree; returns whether it was set. */
static bool unset(struct alarm_core *c, struct alarm *a, bool *runs_elsewhere)
{
	port_irq_t irq = spin_lock(&c->lock);
	bool was_set = a->is_set;

	if (was_set)
		tree_remove(&c->alarms, node_of(a), &by_deadline);
	a->is_set = false;
	*runs_elsewhere |= runs_on(c, a);
	spin_unlock(&c->lock, irq);
	return was_set;
}

/* Looks before it unsets: a handler that ends in between may have set the alarm again. */
bool alarm_cancel(struct alarm *a)
{
	bool was_set = false, runs_elsewhere;
	struct alarm_core *c;

	check_given("alarm_cancel", "alarm", a, __builtin_return_address(0));
	if (!__atomic_load_n(&a->core, __ATOMIC_RELAXED))
		return false;
	do {
		runs_elsewhere = runs_on_another(a);
		c = __atomic_load_n(&a->core, __ATOMIC_RELAXED);
		was_set |= unset(c, a, &runs_elsewhere);
		if (runs_elsewhere) {
			check_may_wait(a, __builtin_return_address(0));
			port_pause();
		}
	} while (runs_elsewhere);
	return was_set;
}

/* Takes the first alarm out of the tree and marks it running if it is due; else sets the timer for
 * it and returns NULL. */
static struct alarm *take_due(struct alarm_core *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct alarm *due = NULL;
	uint64_t first = first_deadline(c);

	if (first != PORT_FOREVER && first <= port_ns()) {
		due = alarm_of(tree_first(&c->alarms));
		tree_remove(&c->alarms, node_of(due), &by_deadline);
		due->is_set = false;
	} else {
		timer_set(c, first);
	}
	__atomic_store_n(&c->running, due, __ATOMIC_RELEASE);
	spin_unlock(&c->lock, irq);
	return due;
}

/* Leaves the alarms that are still due to the next interrupt of the timer, which comes at once. */
static void leave_rest_to_timer(struct alarm_core *c)
{
	port_irq_t irq = spin_lock(&c->lock);

	__atomic_store_n(&c->running, NULL, __ATOMIC_RELEASE);
	timer_set(c, first_deadline(c));
	spin_unlock(&c->lock, irq);
}

void alarms_run(void)
{
	struct alarm_core *c = &cores[port_core_id()];
	struct alarm *due;

	for (int i = 0; i < ALARMS_STEP; i++) {
		due = take_due(c);
		if (!due)
			return;
		due->handler(due);
	}
	leave_rest_to_timer(c);
}
