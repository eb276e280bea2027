/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ktasks.
 *
 * CONCEPTS
 *
 * A ktask is a thread of the kernel: a function that runs on a stack of its own.  It gives its core
 * up where it sleeps, yields or ends, and nowhere else; between two such places nothing but
 * interrupts runs on that core, and the ktask stays there.  A core's idle ktask is what the core
 * ran before there was any ktask, and runs when there is nothing else.
 *
 * A ktask is *running*, *ready* (in the run queue of a core), *asleep*, or *ended*; and for a
 * moment between running and each of the others it is *left*: another ktask was switched to, on the
 * same core, and hasn't seen to it yet.
 *
 *	              yields, or token set
 *	        +---------- left --------------+
 *	        v            ^ |  \ sleeps     |
 *	      ready ----> running  +------> asleep --- unblock ---> ready
 *	                     +---------> ended
 *
 * REPRESENTATION
 *
 * Each core has a run queue under a spinlock of its own, first come, first run, in which pinned
 * ktasks and others stand in separate lists with tickets from one counter: the older of the two
 * heads is next, and a thief takes the head of the others' list without looking at a pinned one.
 *
 * Sleeping and waking are port_thread_block() and port_thread_unblock(), from which sync.c makes
 * the rest.  An unblock that finds its ktask not asleep leaves a token, which the next block takes
 * instead of sleeping.  A deadline is an alarm, in the ktask, that unblocks it.
 *
 * A ktask comes from the cache "ktask", its id from "ktask-ids", where next fit keeps ids unused
 * for as long as can be, its stack from "vaddr" (kthread_stack.c).  All of them, idle ones too, are
 * in a tree by id, so that `ps` can go through them a step at a time.
 *
 * INVARIANTS
 *
 *  1. A ktask is in a run queue only when nothing runs on its stack: it gets there in its creator's
 *     hand, an unblocker's that found it asleep, or its successor's; and its state is ASLEEP only
 *     once its successor has seen to it.
 *  2. At most one of these holds a ktask at a time: a core that runs it, a run queue, the hand of
 *     one that is about to queue it, or nobody (asleep, ended).
 *  3. A core that halts has its bit in the idle map set, or a poke on its way, or all queues were
 *     without a ktask it may run when it looked after setting the bit.
 *  4. A pinned ktask is in no run queue but its core's.
 *
 * LOCKING
 *
 *	sync.c's queues -> a ktask's state;  a run queue;  a core's alarms
 *
 * of which the last three are never held together.  None is held across a switch: the successor
 * takes what it needs, on its own stack, in sched_arrive().  Interrupts are off from the choice of
 * the successor to there.
 *
 * COST
 *
 * Everything is constant but for: a deadline, logarithmic in the core's alarms; stealing, linear in
 * cores; a new stack, linear in its pages; ids, as next fit is.
 *
 * QUESTIONS
 *
 * Why may an idle core steal a ktask that was woken on a busy one?  It would wait for as long as
 * the busy one likes: nothing is preempted.  A core that has just become ready to run it is poked;
 * if it is busy, any idle one is.
 *
 * Why does a yield look at other cores' queues when its own is empty?  One that yields in a loop
 * waits for something, which may be a ktask stuck behind a core that doesn't yield.
 *
 * Why isn't a ktask's core fixed when it is queued by an interrupt?  It is: where it ran last, for
 * what its cache holds.
 */
#include "kthread.h"

#include "arena.h"
#include "kthread/kthread_impl.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "slab.h"

#define IDS_MAX 0x7fffffff

port_irq_t kthread_irq_on;

static struct kmem_cache *ktasks;
static struct arena *ids;

/* All ktasks, by id. */
static struct {
	struct spinlock lock;
	struct tree by_id;
	size_t count; /* also those that have left, until all of them is given back; atomic */
} all = {SPINLOCK_INIT(SPIN_LEAF), TREE_INIT, 0};

/* The boot core's, while there are no ktasks. */
static uintptr_t boot_words[PORT_THREAD_WORDS];

static struct ktask *ktask_of(const struct tree_node *n)
{
	return container_of(n, struct ktask, id_node);
}

static bool before(const struct tree_node *a, const struct tree_node *b)
{
	return ktask_of(a)->id < ktask_of(b)->id;
}

static const struct tree_ops id_order = {.before = before};

/* Creation */

bool ktask_enter(struct ktask *t)
{
	port_irq_t irq;

	t->id = (uintptr_t)arena_alloc(ids, 1, MEM_ATOMIC | ARENA_NEXTFIT);
	if (!t->id)
		return false;
	irq = spin_lock(&all.lock);
	tree_insert(&all.by_id, &t->id_node, &id_order);
	spin_unlock(&all.lock, irq);
	__atomic_fetch_add(&all.count, 1, __ATOMIC_RELEASE);
	return true;
}

static void ktask_leave(struct ktask *t)
{
	port_irq_t irq = spin_lock(&all.lock);

	tree_remove(&all.by_id, &t->id_node, &id_order);
	spin_unlock(&all.lock, irq);
	arena_free(ids, (void *)t->id, 1);
}

static void main_of(void *arg)
{
	struct ktask *t = arg;

	sched_arrive();
	port_irq_restore(kthread_irq_on);
	t->fn(t->arg);
	ktask_exit();
}

static void deadline_reached(struct alarm *a)
{
	port_thread_unblock(container_of(a, struct ktask, alarm));
}

static void fill(struct ktask *t, const struct ktask_plan *plan)
{
	memset(t, 0, sizeof(*t));
	str_copy(t->name, plan->name, sizeof(t->name));
	t->fn = plan->fn;
	t->arg = plan->arg;
	t->stack_size = plan->stack_size ? plan->stack_size : MACHINE_STACK_SIZE;
	t->pinned = plan->core != KTASK_ANY_CORE;
	t->detached = plan->detached;
	spin_init(&t->lock, SPIN_KTASK);
	list_init(&t->run_link);
	sem_init(&t->ended, 0);
	alarm_init(&t->alarm, deadline_reached);
}

/* A stack with the fiber on it, and an id: false if either can't be had. */
static bool equip(struct ktask *t)
{
	t->stack = stack_take(t->stack_size);
	if (!t->stack)
		return false;
	machine_fiber_init(&t->fiber, stack_low(t->stack), t->stack_size, main_of, t);
	if (ktask_enter(t))
		return true;
	machine_fiber_end(&t->fiber);
	stack_put(t->stack, t->stack_size);
	return false;
}

static struct ktask *create_from(const struct ktask_plan *plan, void *caller)
{
	struct ktask *t;

	if (plan->core != KTASK_ANY_CORE && plan->core >= port_core_count())
		panic("ktask %s: pinned to core %u of %u (called from %pS)", plan->name, plan->core,
			port_core_count(), caller);
	t = kmem_cache_alloc(ktasks, MEM_ERROR);
	if (!t)
		return NULL;
	fill(t, plan);
	if (!equip(t)) {
		kmem_cache_free(ktasks, t);
		return NULL;
	}
	sched_start(t, t->pinned ? plan->core : port_core_id());
	return t;
}

struct ktask *ktask_create(const struct ktask_plan *plan)
{
	return create_from(plan, __builtin_return_address(0));
}

struct ktask *ktask(const char *name, void (*fn)(void *arg), void *arg)
{
	struct ktask_plan plan = {.name = name, .fn = fn, .arg = arg, .core = KTASK_ANY_CORE};

	return create_from(&plan, __builtin_return_address(0));
}

struct ktask *ktask_pinned(const char *name, void (*fn)(void *arg), void *arg, unsigned core)
{
	struct ktask_plan plan = {.name = name, .fn = fn, .arg = arg, .core = core};

	return create_from(&plan, __builtin_return_address(0));
}

bool ktask_detached(const char *name, void (*fn)(void *arg), void *arg)
{
	struct ktask_plan plan = {
		.name = name, .fn = fn, .arg = arg, .core = KTASK_ANY_CORE, .detached = true};

	return create_from(&plan, __builtin_return_address(0)) != NULL;
}

/* End */

void ktask_release(struct ktask *t)
{
	ktask_leave(t);
	machine_fiber_end(&t->fiber);
	stack_put(t->stack, t->stack_size);
	kmem_cache_free(ktasks, t);
	__atomic_fetch_sub(&all.count, 1, __ATOMIC_RELEASE);
}

void ktask_join(struct ktask *t)
{
	if (t == ktask_self() || t->detached)
		panic("ktask %s: joined %s (called from %pS)", t->name,
			t->detached ? "though it is detached" : "by itself",
			__builtin_return_address(0));
	sem_down(&t->ended, 1);
	ktask_release(t);
}

void ktask_exit(void)
{
	port_irq_save();
	sched_leave(SCHED_ENDS);
	__builtin_unreachable();
}

/* Running */

struct ktask *ktask_self(void)
{
	return machine_current();
}

uint64_t ktask_id(const struct ktask *t)
{
	return t->id;
}

const char *ktask_name(const struct ktask *t)
{
	return t->name;
}

void kthread_yield(void)
{
	port_irq_t irq;

	sync_check_may_sleep("kthread_yield", __builtin_return_address(0));
	irq = port_irq_save();
	sched_leave(SCHED_YIELDS);
	port_irq_restore(irq);
}

void kthread_usleep(uint64_t us)
{
	uint64_t now = port_ns(), deadline = PORT_FOREVER;

	if (us < (PORT_FOREVER - now) / 1000)
		deadline = now + us * 1000;
	sync_check_may_sleep("kthread_usleep", __builtin_return_address(0));
	do {
		port_thread_block(deadline);
	} while (port_ns() < deadline);
}

/* The port's threads */

port_thread_t *port_thread_self(void)
{
	return machine_current();
}

bool port_thread_spawn(const char *name, void (*fn)(void *arg), void *arg)
{
	return ktask_detached(name, fn, arg);
}

uintptr_t *port_thread_words(void)
{
	struct ktask *t = machine_current();

	return t ? t->words : boot_words;
}

/* Looking at them */

static const char *state_name(enum ktask_state state)
{
	static const char *const names[] = {
		[KTASK_RUNNING] = "running",
		[KTASK_READY] = "ready",
		[KTASK_ASLEEP] = "asleep",
		[KTASK_ENDED] = "ended",
		[KTASK_IDLE] = "idle",
	};

	return names[state];
}

/* The lock of all ktasks is held, so t exists. */
static void stats_fill(struct ktask *t, struct ktask_stats *row)
{
	str_copy(row->name, t->name, sizeof(row->name));
	row->id = t->id;
	row->state = state_name(__atomic_load_n(&t->state, __ATOMIC_RELAXED));
	row->core = __atomic_load_n(&t->core, __ATOMIC_RELAXED);
	row->pinned = t->pinned;
	row->switches = __atomic_load_n(&t->switches, __ATOMIC_RELAXED);
	row->ns = __atomic_load_n(&t->ns, __ATOMIC_RELAXED);
	row->stack_size = t->stack_size;
}

/* The first one with an id of at least `from`.  Lock held. */
static struct ktask *find_from(uint64_t from)
{
	struct tree_node *n = all.by_id.root;
	struct ktask *found = NULL;

	while (n) {
		if (ktask_of(n)->id >= from)
			found = ktask_of(n);
		n = ktask_of(n)->id >= from ? n->left : n->right;
	}
	return found;
}

static size_t stats_step(uint64_t from, struct ktask_stats *rows, size_t max)
{
	port_irq_t irq = spin_lock(&all.lock);
	struct ktask *t = find_from(from);
	size_t n = 0;

	while (t && n < max && n < KTASK_STATS_STEP) {
		struct tree_node *next = tree_next(&t->id_node);

		stats_fill(t, &rows[n++]);
		t = next ? ktask_of(next) : NULL;
	}
	spin_unlock(&all.lock, irq);
	return n;
}

size_t ktask_stats(uint64_t from, struct ktask_stats *rows, size_t max)
{
	size_t n = 0, step;

	do {
		step = stats_step(from, &rows[n], max - n);
		n += step;
		if (step)
			from = rows[n - 1].id + 1;
	} while (step == KTASK_STATS_STEP);
	return n;
}

size_t ktask_count(void)
{
	/* Acquire: who sees a ktask gone sees what it held given back. */
	return __atomic_load_n(&all.count, __ATOMIC_ACQUIRE);
}

static bool is_guard_of(const struct ktask *t, uintptr_t address)
{
	return t->stack && address - (uintptr_t)t->stack < PORT_PAGE_SIZE;
}

/* Only one that runs can have hit its guard page, and on this core. */
bool kernel_stack_guard(uintptr_t address, char *owner, size_t size)
{
	struct ktask *t = machine_current();
	bool hit = t && is_guard_of(t, address);

	if (hit)
		ksnprintf(owner, size, "ktask %llu (%s)", (unsigned long long)t->id, t->name);
	return hit;
}

static void panic_who(struct sink *sink)
{
	const struct ktask *t = machine_current();

	if (t)
		sink_printf(sink, ", ktask %llu (%s)", (unsigned long long)t->id, t->name);
}

/* Boot */

void kernel_timer(void)
{
	alarms_run();
}

void kthread_init(void)
{
	kthread_irq_on = port_irq_save();
	port_irq_restore(kthread_irq_on);
	alarms_init();
	sched_init();
	stacks_init();
	ktasks = kmem_cache_create("ktask", sizeof(struct ktask), PORT_LINE_SIZE, 0, NULL, NULL, NULL, NULL);
	ids = arena_create("ktask-ids", (void *)1, IDS_MAX, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	panic_set_who(panic_who);
}

/* A core started by the machine keeps its first stack for good: it is its idle ktask's. */
static void *core_stack(void)
{
	void *stack = stack_take(MACHINE_STACK_SIZE);

	return stack ? stack_low(stack) : NULL;
}

/* Other cores are known by their idle ktasks before anything looks at what there is. */
void kthread_run(const struct ktask_plan *first)
{
	unsigned cores = machine_cores_start(core_stack);

	sched_idle_enter(0);
	while (ktask_count() < cores)
		port_pause();
	if (!ktask_create(first))
		panic("no memory for the first ktask, %s", first->name);
	sched_idle();
}

/* A thread's words are where spinlocks are noted, so it comes first. */
void kernel_core_main(void)
{
	machine_set_current(sched_idle_ktask(port_core_id()));
	sched_idle_enter(port_core_id());
	sched_idle();
}
