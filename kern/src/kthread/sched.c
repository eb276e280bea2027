/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How cores run ktasks: run queues, stealing, switching, idling.  kthread.c has the theory.
 */
#include "kthread_impl.h"

#include "arena.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "owner.h"

/* Each in order of arrival. */
struct queue {
	struct list unpinned, pinned;
};

struct kcore {
	/* The run queue. */
	struct spinlock lock;
	struct queue urgent, ordinary;
	uint64_t tickets;		     /* given out so far */
	size_t unpinned_count, pinned_count; /* written under the lock, read without it */

	/* The core's own. */
	struct ktask *outgoing;	   /* the one last switched from */
	enum switch_reason reason; /* why it gave up the core */
	uint64_t choices;	   /* times the core chose what to run next */
	uint64_t steals;	   /* stored atomically, for kthread_steals() */

	bool idle; /* false: another core has cleared this core's bit, so it must not halt */
	struct ktask idle_ktask;
} __attribute__((aligned(PORT_LINE_SIZE)));

#define MAP_BITS 64

/* One choice in so many looks at other cores' queues first: seldom enough to cost little and to
 * leave ktasks where they ran.  Another one in as many takes what has been ready for longest, urgent
 * or not. */
#define FAIR_PERIOD KTHREAD_FAIR_PERIOD

static struct kcore *kcores;
static uint64_t *idle_map; /* a bit for each core that looks for a ktask to run, or halts */

static struct kcore *kcore_self(void)
{
	return &kcores[port_core_id()];
}

static void kcore_init(struct kcore *c)
{
	spin_init(&c->lock, SPIN_RUN_QUEUE);
	list_init(&c->urgent.unpinned);
	list_init(&c->urgent.pinned);
	list_init(&c->ordinary.unpinned);
	list_init(&c->ordinary.pinned);
}

static struct arena_owner owner = ARENA_OWNER("run queues", base_arena);

void sched_init(void)
{
	unsigned n = port_core_max();
	size_t map_bytes = (n + MAP_BITS - 1) / MAP_BITS * sizeof(*idle_map);
	size_t bytes = n * sizeof(*kcores) + map_bytes;

	kcores = base_zalloc(NULL, bytes, MEM_WAIT);
	idle_map = (void *)&kcores[n];
	arena_owner_add_block(&owner, base_arena, kcores, bytes);
	for (unsigned i = 0; i < n; i++)
		kcore_init(&kcores[i]);
}

/*
 * Idle cores.  A core that has run out of ktasks sets its bit, then looks at the counts of the run
 * queues.  A core that queues a ktask writes the count, then looks at the bits.  All four are
 * sequentially consistent, so at least one of the two cores sees what the other one wrote.  A core
 * that clears another core's bit pokes it.
 */

static void idle_set(struct kcore *c, unsigned core)
{
	__atomic_store_n(&c->idle, true, __ATOMIC_RELAXED);
	__atomic_fetch_or(&idle_map[core / MAP_BITS], 1ull << core % MAP_BITS, __ATOMIC_SEQ_CST);
}

/* Clears the core's bit; returns whether it was set. */
static bool idle_clear(unsigned core)
{
	uint64_t bit = 1ull << core % MAP_BITS;
	uint64_t *word = &idle_map[core / MAP_BITS];

	if (!(__atomic_load_n(word, __ATOMIC_SEQ_CST) & bit))
		return false;
	return __atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST) & bit;
}

/* Has an idle core look for a ktask to run.  Returns false if the core isn't idle, or another core
 * has woken it. */
static bool idle_wake(unsigned core)
{
	if (!idle_clear(core))
		return false;
	__atomic_store_n(&kcores[core].idle, false, __ATOMIC_RELAXED);
	if (core != port_core_id())
		port_core_poke(core);
	return true;
}

static void idle_wake_any(void)
{
	for (unsigned core = 0; core < port_core_count(); core += MAP_BITS) {
		uint64_t word;

		while ((word = __atomic_load_n(&idle_map[core / MAP_BITS], __ATOMIC_SEQ_CST)))
			if (idle_wake(core + (unsigned)__builtin_ctzll(word)))
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
	struct queue *q = t->is_urgent ? &c->urgent : &c->ordinary;
	port_irq_t irq = spin_lock(&c->lock);

	t->run_ticket = ++c->tickets;
	list_add_tail(t->pinned ? &q->pinned : &q->unpinned, &t->run_link);
	count_add(t->pinned ? &c->pinned_count : &c->unpinned_count, 1);
	spin_unlock(&c->lock, irq);
}

static struct ktask *list_head(struct list *l)
{
	return list_empty(l) ? NULL : list_first_entry(l, struct ktask, run_link);
}

/* The one with the lower ticket; either may be NULL. */
static struct ktask *older(struct ktask *a, struct ktask *b)
{
	return !a || (b && b->run_ticket < a->run_ticket) ? b : a;
}

static struct ktask *queue_head(struct queue *q, bool pinned_too)
{
	return older(list_head(&q->unpinned), pinned_too ? list_head(&q->pinned) : NULL);
}

/* Takes out the ktask that has been ready for longest, an urgent one first unless `fair`; NULL if
 * none is.  Lock held. */
static struct ktask *queue_take(struct kcore *c, bool pinned_too, bool fair) SPANDREL_REQUIRES(&c->lock)
{
	struct ktask *urgent = queue_head(&c->urgent, pinned_too);
	struct ktask *t = queue_head(&c->ordinary, pinned_too);

	if (urgent)
		t = fair ? older(urgent, t) : urgent;
	if (t) {
		list_del(&t->run_link);
		count_add(t->pinned ? &c->pinned_count : &c->unpinned_count, (size_t)-1);
	}
	return t;
}

static struct ktask *queue_pop(struct kcore *c, bool fair)
{
	struct ktask *t;
	port_irq_t irq;

	if (!__atomic_load_n(&c->unpinned_count, __ATOMIC_SEQ_CST) &&
		!__atomic_load_n(&c->pinned_count, __ATOMIC_SEQ_CST))
		return NULL;
	irq = spin_lock(&c->lock);
	t = queue_take(c, true, fair);
	spin_unlock(&c->lock, irq);
	return t;
}

static struct ktask *steal_from(struct kcore *victim, bool fair)
{
	struct ktask *t;
	port_irq_t irq;

	if (!__atomic_load_n(&victim->unpinned_count, __ATOMIC_SEQ_CST))
		return NULL;
	irq = spin_lock(&victim->lock);
	t = queue_take(victim, false, fair);
	spin_unlock(&victim->lock, irq);
	return t;
}

/* Steals from the first core, looking from core `first` on, that has an unpinned ktask ready; NULL
 * if none has. */
static struct ktask *steal(struct kcore *c, uint64_t first, bool fair)
{
	unsigned n = port_core_count();
	struct ktask *t = NULL;

	for (unsigned i = 0; i < n && !t; i++) {
		struct kcore *victim = &kcores[(first + i) % n];

		if (victim != c)
			t = steal_from(victim, fair);
	}
	if (t)
		__atomic_store_n(&c->steals, c->steals + 1, __ATOMIC_RELAXED);
	return t;
}

/* Chooses what c runs next; NULL if nothing is ready.  The choices that look at other cores first
 * begin with each core in turn. */
static struct ktask *take_next(struct kcore *c)
{
	uint64_t turn = ++c->choices % FAIR_PERIOD;
	struct ktask *t = turn == 0 ? steal(c, c->choices / FAIR_PERIOD, true)
				    : queue_pop(c, turn == FAIR_PERIOD / 2);

	if (t)
		return t;
	return turn == 0 ? queue_pop(c, false) : steal(c, (uint64_t)(c - kcores) + 1, false);
}

/* Both stores are relaxed: what reads them without the lock, ktask_stats(), only shows them. */
static void store_state(struct ktask *t, enum ktask_state state)
{
	__atomic_store_n(&t->state, state, __ATOMIC_RELAXED);
}

static void store_core(struct ktask *t, unsigned core)
{
	__atomic_store_n(&t->core, core, __ATOMIC_RELAXED);
}

/* Queues t and wakes an idle core for it.  Its state is READY, and no run queue and no core has it.
 * Once it is queued, another core may run it to its end and free it. */
static void make_ready(struct ktask *t)
{
	unsigned core = t->core;
	bool pinned = t->pinned;

	queue_push(&kcores[core], t);
	if (!idle_wake(core) && !pinned)
		idle_wake_any();
}

void sched_start(struct ktask *t, unsigned core)
{
	store_state(t, KTASK_READY);
	store_core(t, core);
	make_ready(t);
}

/* Switching */

static void count_time(struct ktask *from, struct ktask *to)
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
		store_state(t, KTASK_RUNNING);
	store_core(t, core);
	spin_unlock(&t->lock, irq);
}

static void switch_to(struct kcore *c, struct ktask *to, enum switch_reason reason)
{
	struct ktask *from = machine_current();

	set_running(to, (unsigned)(c - kcores));
	count_time(from, to);
	c->outgoing = from;
	c->reason = reason;
	machine_set_current(to);
	machine_switch(&from->fiber, &to->fiber, reason == SWITCH_END);
	sched_finish_switch();
}

void sched_switch(enum switch_reason reason)
{
	struct kcore *c = kcore_self();
	struct ktask *to = take_next(c);

	if (!to && reason == SWITCH_YIELD)
		return;
	switch_to(c, to ? to : &c->idle_ktask, reason);
}

static void set_state(struct ktask *t, enum ktask_state state)
{
	port_irq_t irq = spin_lock(&t->lock);

	store_state(t, state);
	spin_unlock(&t->lock, irq);
}

static void finish_yield(struct ktask *t)
{
	set_state(t, KTASK_READY);
	make_ready(t);
}

/* An unblock since the ktask decided to sleep has set the token: then it is ready again. */
static void finish_sleep(struct ktask *t)
{
	port_irq_t irq = spin_lock(&t->lock);
	bool sleeps = !t->token;

	t->token = false;
	store_state(t, sleeps ? KTASK_ASLEEP : KTASK_READY);
	spin_unlock(&t->lock, irq);
	if (!sleeps)
		make_ready(t);
}

static void finish_end(struct ktask *t)
{
	set_state(t, KTASK_ENDED);
	if (t->detached)
		ktask_free(t);
	else
		sem_up(&t->ended, 1);
}

void sched_finish_switch(void)
{
	struct kcore *c = kcore_self();

	if (c->outgoing == &c->idle_ktask)
		return;
	switch (c->reason) {
	case SWITCH_YIELD:
		finish_yield(c->outgoing);
		break;
	case SWITCH_SLEEP:
		finish_sleep(c->outgoing);
		break;
	default: /* SWITCH_END */
		finish_end(c->outgoing);
		break;
	}
}

/* The port's threads */

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
		panic("core %u's idle ktask can't sleep (called from %pS)", port_core_id(),
			__builtin_return_address(0));
	if (take_token(t) || (deadline != PORT_FOREVER && deadline <= port_ns()))
		return;
	if (deadline != PORT_FOREVER)
		alarm_set(&t->alarm, deadline);
	irq = port_irq_save();
	sched_switch(SWITCH_SLEEP);
	port_irq_restore(irq);
	if (deadline != PORT_FOREVER)
		alarm_cancel(&t->alarm);
}

void port_thread_unblock(port_thread_t *t)
{
	port_irq_t irq = spin_lock(&t->lock);
	bool wakes = t->state == KTASK_ASLEEP;

	if (wakes)
		store_state(t, KTASK_READY);
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

/* Runs a ktask and all that follow it until none is ready; or, if none is ready now, halts until an
 * interrupt or a poke. */
static void idle_once(struct kcore *c, unsigned core)
{
	struct ktask *t;

	port_irq_save();
	idle_set(c, core);
	t = take_next(c);
	if (t) {
		/* If another core has cleared the bit meanwhile, it did so for another ktask.  This
		 * core won't look for that one now, so it wakes another core instead. */
		if (!idle_clear(core))
			idle_wake_any();
		switch_to(c, t, SWITCH_YIELD);
		port_irq_restore(kthread_irq_on);
	} else {
		machine_idle(&c->idle);
	}
}

void sched_idle_init(unsigned core)
{
	struct ktask *t = &kcores[core].idle_ktask;

	ksnprintf(t->name, sizeof(t->name), "idle %u", core);
	t->pinned = true;
	t->state = KTASK_IDLE;
	t->core = core;
	t->since = port_ns();
	spin_init(&t->lock, SPIN_KTASK);
	if (!ktask_register(t))
		panic("no memory for the id of ktask %s", t->name);
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
