/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cores run ktasks: run queues, stealing, switching, idling.  kthread.c has the theory.
 */
#include "arena.h"
#include "kthread_impl.h"
#include "lib/panic.h"
#include "lib/string.h"

/* Ready ktasks stand in two lists, so that a thief finds one it may take at once; tickets say which
 * of the two heads came first. */
struct kcore {
	struct spinlock lock;
	struct list free_ready;	  /* anybody's */
	struct list pinned_ready; /* this core's alone */
	uint64_t tickets;
	size_t free_count, pinned_count; /* written under the lock, read without it */

	/* The core's alone. */
	struct ktask *left; /* the ktask just switched from, until it is seen to */
	enum sched_leave how;
	uint64_t steals; /* written atomically, for people to read */

	bool idle; /* in the idle map, or claimed and not yet awake */
	struct ktask idle_ktask;
} __attribute__((aligned(PORT_LINE_SIZE)));

#define MAP_BITS 64

static struct kcore *kcores;
static uint64_t *idle_map; /* a bit for each core that looks for work or halts */

static struct kcore *kcore_self(void)
{
	return &kcores[port_core_id()];
}

static void kcore_init(struct kcore *c)
{
	spin_init(&c->lock, SPIN_RUN_QUEUE);
	list_init(&c->free_ready);
	list_init(&c->pinned_ready);
}

void sched_init(void)
{
	unsigned n = port_core_max();

	kcores = base_zalloc(NULL, n * sizeof(*kcores), MEM_WAIT);
	idle_map = base_zalloc(NULL, (n + MAP_BITS - 1) / MAP_BITS * sizeof(*idle_map), MEM_WAIT);
	for (unsigned i = 0; i < n; i++)
		kcore_init(&kcores[i]);
}

/*
 * Idle cores.  One that runs out of work sets its bit, then looks at the queues; one that queues a
 * ktask counts it, then looks at the bits.  Both in sequentially consistent order: at least one
 * sees the other.  Who clears a core's bit owes it a poke.
 */

static void idle_enter(struct kcore *c, unsigned core)
{
	__atomic_store_n(&c->idle, true, __ATOMIC_RELAXED);
	__atomic_fetch_or(&idle_map[core / MAP_BITS], 1ull << core % MAP_BITS, __ATOMIC_SEQ_CST);
}

/* Clears the bit; returns whether it was set. */
static bool idle_leave(unsigned core)
{
	uint64_t bit = 1ull << core % MAP_BITS;
	uint64_t *word = &idle_map[core / MAP_BITS];

	if (!(__atomic_load_n(word, __ATOMIC_SEQ_CST) & bit))
		return false;
	return __atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST) & bit;
}

/* Has an idle core look for work; returns false if it isn't idle or others do it. */
static bool idle_claim(unsigned core)
{
	if (!idle_leave(core))
		return false;
	__atomic_store_n(&kcores[core].idle, false, __ATOMIC_RELAXED);
	if (core != port_core_id())
		port_core_poke(core);
	return true;
}

static void idle_claim_any(void)
{
	for (unsigned core = 0; core < port_core_count(); core += MAP_BITS) {
		uint64_t word;

		while ((word = __atomic_load_n(&idle_map[core / MAP_BITS], __ATOMIC_SEQ_CST)))
			if (idle_claim(core + (unsigned)__builtin_ctzll(word)))
				return;
	}
}

/* Run queues */

static void count_add(size_t *count, size_t n)
{
	__atomic_store_n(count, *count + n, __ATOMIC_SEQ_CST);
}

static void queue_push(struct kcore *c, struct ktask *t)
{
	port_irq_t irq = spin_lock(&c->lock);

	t->run_ticket = c->tickets++;
	list_add_tail(t->pinned ? &c->pinned_ready : &c->free_ready, &t->run_link);
	count_add(t->pinned ? &c->pinned_count : &c->free_count, 1);
	spin_unlock(&c->lock, irq);
}

static struct ktask *queue_head(struct list *queue)
{
	return list_empty(queue) ? NULL : list_first_entry(queue, struct ktask, run_link);
}

/* Lock held. */
static struct ktask *queue_unlink(struct kcore *c, struct ktask *t)
{
	if (t) {
		list_del(&t->run_link);
		count_add(t->pinned ? &c->pinned_count : &c->free_count, (size_t)-1);
	}
	return t;
}

/* The ktask that has been ready longest on this core, taken out; NULL if there is none. */
static struct ktask *queue_pop(struct kcore *c)
{
	struct ktask *mine, *any;
	port_irq_t irq;

	if (!__atomic_load_n(&c->free_count, __ATOMIC_SEQ_CST) &&
		!__atomic_load_n(&c->pinned_count, __ATOMIC_SEQ_CST))
		return NULL;
	irq = spin_lock(&c->lock);
	mine = queue_head(&c->pinned_ready);
	any = queue_head(&c->free_ready);
	if (!any || (mine && mine->run_ticket < any->run_ticket))
		any = mine;
	queue_unlink(c, any);
	spin_unlock(&c->lock, irq);
	return any;
}

static struct ktask *steal_from(struct kcore *victim)
{
	struct ktask *t;
	port_irq_t irq;

	if (!__atomic_load_n(&victim->free_count, __ATOMIC_SEQ_CST))
		return NULL;
	irq = spin_lock(&victim->lock);
	t = queue_unlink(victim, queue_head(&victim->free_ready));
	spin_unlock(&victim->lock, irq);
	return t;
}

/* One of another core's, whoever comes first behind this core. */
static struct ktask *steal(struct kcore *c)
{
	unsigned n = port_core_count(), core = (unsigned)(c - kcores);
	struct ktask *t = NULL;

	for (unsigned i = 1; i < n && !t; i++)
		t = steal_from(&kcores[(core + i) % n]);
	if (t)
		__atomic_store_n(&c->steals, c->steals + 1, __ATOMIC_RELAXED);
	return t;
}

static struct ktask *take(struct kcore *c)
{
	struct ktask *t = queue_pop(c);

	return t ? t : steal(c);
}

/* Relaxed, both: who reads them without the lock only looks. */
static void put_state(struct ktask *t, enum ktask_state state)
{
	__atomic_store_n(&t->state, state, __ATOMIC_RELAXED);
}

static void put_core(struct ktask *t, unsigned core)
{
	__atomic_store_n(&t->core, core, __ATOMIC_RELAXED);
}

/* t is in nobody's hand but the caller's, its state is READY.  Once it is in the queue another core
 * may run it to its end. */
static void make_ready(struct ktask *t)
{
	unsigned core = t->core;
	bool pinned = t->pinned;

	queue_push(&kcores[core], t);
	if (!idle_claim(core) && !pinned)
		idle_claim_any();
}

void sched_start(struct ktask *t, unsigned core)
{
	put_state(t, KTASK_READY);
	put_core(t, core);
	make_ready(t);
}

/* Switching */

static void account(struct ktask *from, struct ktask *to)
{
	uint64_t now = port_ns();

	__atomic_store_n(&from->ns, from->ns + (now - from->since), __ATOMIC_RELAXED);
	to->since = now;
	__atomic_store_n(&to->switches, to->switches + 1, __ATOMIC_RELAXED);
}

static void set_running(struct ktask *t, unsigned core)
{
	port_irq_t irq = spin_lock(&t->lock);

	if (t->state != KTASK_IDLE)
		put_state(t, KTASK_RUNNING);
	put_core(t, core);
	spin_unlock(&t->lock, irq);
}

static void switch_to(struct kcore *c, struct ktask *to, enum sched_leave how)
{
	struct ktask *from = machine_current();

	set_running(to, (unsigned)(c - kcores));
	account(from, to);
	c->left = from;
	c->how = how;
	machine_set_current(to);
	machine_switch(&from->fiber, &to->fiber, how == SCHED_ENDS);
	sched_arrive();
}

void sched_leave(enum sched_leave how)
{
	struct kcore *c = kcore_self();
	struct ktask *to = take(c);

	if (!to && how == SCHED_YIELDS)
		return;
	switch_to(c, to ? to : &c->idle_ktask, how);
}

/* Whether one that means to sleep does: it may have been unblocked on its way off its stack. */
static bool falls_asleep(struct ktask *t)
{
	port_irq_t irq = spin_lock(&t->lock);
	bool sleeps = !t->token;

	t->token = false;
	put_state(t, sleeps ? KTASK_ASLEEP : KTASK_READY);
	spin_unlock(&t->lock, irq);
	return sleeps;
}

static void set_state(struct ktask *t, enum ktask_state state)
{
	port_irq_t irq = spin_lock(&t->lock);

	put_state(t, state);
	spin_unlock(&t->lock, irq);
}

static void see_to_end(struct ktask *t)
{
	set_state(t, KTASK_ENDED);
	if (t->detached)
		ktask_release(t);
	else
		sem_up(&t->ended, 1);
}

void sched_arrive(void)
{
	struct kcore *c = kcore_self();
	struct ktask *left = c->left;

	if (left == &c->idle_ktask)
		return;
	if (c->how == SCHED_ENDS) {
		see_to_end(left);
	} else if (c->how == SCHED_YIELDS) {
		set_state(left, KTASK_READY);
		make_ready(left);
	} else if (!falls_asleep(left)) {
		make_ready(left);
	}
}

/* Threads, as the port has them */

static bool take_token(struct ktask *t)
{
	port_irq_t irq = spin_lock(&t->lock);
	bool had = t->token;

	t->token = false;
	spin_unlock(&t->lock, irq);
	return had;
}

void port_thread_block(uint64_t deadline)
{
	struct ktask *t = machine_current();
	port_irq_t irq;

	sync_check_may_sleep("port_thread_block", __builtin_return_address(0));
	if (!t || t->state == KTASK_IDLE)
		panic("a core's idle ktask would sleep (called from %pS)", __builtin_return_address(0));
	if (take_token(t) || (deadline != PORT_FOREVER && deadline <= port_ns()))
		return;
	if (deadline != PORT_FOREVER)
		alarm_set(&t->alarm, deadline);
	irq = port_irq_save();
	sched_leave(SCHED_SLEEPS);
	port_irq_restore(irq);
	if (deadline != PORT_FOREVER)
		alarm_cancel(&t->alarm);
}

void port_thread_unblock(port_thread_t *t)
{
	port_irq_t irq = spin_lock(&t->lock);
	bool wakes = t->state == KTASK_ASLEEP;

	if (wakes)
		put_state(t, KTASK_READY);
	else
		t->token = true;
	spin_unlock(&t->lock, irq);
	if (wakes)
		make_ready(t);
}

/* Idling */

struct ktask *sched_idle_ktask(unsigned core)
{
	return &kcores[core].idle_ktask;
}

/* The idle ktask leaves when there is something to run and is come back to when there is nothing. */
static void idle_once(struct kcore *c, unsigned core)
{
	struct ktask *t;

	port_irq_save();
	idle_enter(c, core);
	t = take(c);
	if (t) {
		/* Who claimed this core meanwhile did so for another ktask, which this core won't look for now. */
		if (!idle_leave(core))
			idle_claim_any();
		switch_to(c, t, SCHED_YIELDS);
		port_irq_restore(kthread_irq_on);
	} else {
		machine_idle(&c->idle);
	}
}

void sched_idle_enter(unsigned core)
{
	struct ktask *t = &kcores[core].idle_ktask;

	ksnprintf(t->name, sizeof(t->name), "idle %u", core);
	t->pinned = true;
	t->state = KTASK_IDLE;
	t->core = core;
	t->since = port_ns();
	spin_init(&t->lock, SPIN_KTASK);
	ktask_enter(t);
}

void sched_idle(void)
{
	unsigned core = port_core_id();
	struct kcore *c = &kcores[core];

	machine_fiber_adopt(&c->idle_ktask.fiber);
	machine_set_current(&c->idle_ktask);
	for (;;)
		idle_once(c, core);
}

uint64_t kthread_steals(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < port_core_count(); i++)
		sum += __atomic_load_n(&kcores[i].steals, __ATOMIC_RELAXED);
	return sum;
}
