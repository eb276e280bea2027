/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ktasks.
 *
 * CONCEPTS
 *
 * A ktask is a thread of the kernel: a function that runs on a stack of its own.  It gives up its
 * core where it sleeps, yields or ends, and nowhere else.  Between two such places it stays on that
 * core, and nothing but interrupts runs there besides it.  Each core has an idle ktask: the thread
 * of execution the core started with, which runs when the core has nothing else to run.
 *
 * A ktask is *running*, *ready* (in the run queue of a core), *asleep* or *ended*.  When it gives
 * up its core, the core switches to another ktask, its successor.  It is then *outgoing* until the
 * successor has finished the switch.
 *
 *	ready ----> running ----> outgoing --+--> ready    it yielded, or its token was set
 *	                                     +--> asleep   until an unblock makes it ready
 *	                                     +--> ended
 *
 * REPRESENTATION
 *
 * Each core has a run queue under a spinlock of its own: a list of pinned ktasks and a list of the
 * others, each in order of arrival, and two more of urgent ones.  A ktask gets a ticket from the
 * queue's counter when it is queued.  The core runs the head with the lower ticket, of the urgent ones
 * if there are any.  A core without a ready ktask steals the head of another core's list of unpinned
 * ones, so it never has to step over a pinned one.
 *
 * sync.c makes everything that sleeps from port_thread_block() and port_thread_unblock().  An
 * unblock of a ktask that isn't asleep sets its token; the next block clears the token and returns
 * at once.  A deadline is an alarm in the ktask; its handler unblocks the ktask.
 *
 * A ktask is an object of the cache "ktask".  Its id comes from the arena "ktask-ids" by next fit,
 * which keeps a freed id unused for as long as possible; its stack comes from "vaddr"
 * (kthread/stack.c).  All ktasks, idle ones included, are in a tree by id, which ktask_stats()
 * reads a few at a time.
 *
 * INVARIANTS
 *
 *  1. A ktask is in a run queue only when no core runs on its stack.  It is queued by its creator,
 *     by an unblock that found it asleep, or by its successor; and its state becomes ASLEEP only
 *     when its successor finishes the switch.
 *  2. A ktask is in exactly one of these places: on one core, running or outgoing; in one run
 *     queue; with one caller that is about to queue it; or in none, asleep or ended.
 *  3. A core halts only if, after it set its bit in the idle map, it found no ktask to run.  While
 *     it halts, its bit is set or a poke is on its way to it.
 *  4. A pinned ktask is in no run queue but its core's.
 *
 * LOCKING
 *
 *	sync.c's queues -> a ktask's state;  a run queue;  a core's alarms
 *
 * The last three are never held together, and none is held across a switch: what the switch needs
 * locked, the successor locks in sched_finish_switch(), on its own stack.  Interrupts are off from
 * the choice of the successor to the end of that function.
 *
 * COST
 *
 * Everything is constant, except: a deadline is logarithmic in the core's alarms, stealing is
 * linear in cores, a new stack is linear in its pages, and an id costs what next fit costs.
 *
 * QUESTIONS
 *
 * On which core is a woken ktask queued?  On the one that ran it last: the core's caches may
 * still hold its data.
 *
 * Why may an idle core steal it from there?  Nothing is preempted, so it would wait until the ktask
 * that runs there gives up the core.  make_ready() pokes its core if that is idle, else any idle
 * core.
 *
 * What if the busy core never gives up what it runs, and no other core is ever without a ktask of
 * its own?  Every core looks at the others' queues first at each KTHREAD_FAIR_PERIOD-th choice, and
 * begins with another core each time.  So a core that yields runs the first unpinned ktask of each
 * queue after KTHREAD_FAIR_PERIOD choices times the number of cores, at most.
 *
 * What if two urgent ktasks yield to, or wake, each other?  As often, a core takes the ktask with the
 * lowest ticket, urgent or not; and so does every such look at another core's queue.
 *
 * Why does a yield look at other cores' queues when its own is empty?  A ktask that yields in a
 * loop waits for something, perhaps for a ktask queued on a core that doesn't yield.
 */
#include "kthread.h"

#include "arena.h"
#include "kthread/kthread_impl.h"
#include "lib/check.h"
#include "lib/frames.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "machine.h"
#include "slab.h"

#define IDS_MAX 0x7fffffff

#define BACKTRACE_MAX 32 /* frames */

port_irq_t kthread_irq_on;

static struct kmem_cache *ktasks;
static struct arena *ids;

/* All ktasks, by id. */
static struct {
	struct spinlock lock;
	struct tree by_id;
	size_t count; /* also of those that are out of the tree and not yet freed; atomic */
} all = {SPINLOCK_INIT(SPIN_LEAF), TREE_INIT, 0};

/* port_thread_words() of the boot core, while there are no ktasks. */
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

bool ktask_register(struct ktask *t)
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

static void ktask_unregister(struct ktask *t)
{
	port_irq_t irq = spin_lock(&all.lock);

	tree_remove(&all.by_id, &t->id_node, &id_order);
	spin_unlock(&all.lock, irq);
	arena_free(ids, (void *)t->id, 1);
}

/* The outermost frame of every ktask's stack. */
static void ktask_main(void *arg)
{
	struct ktask *t = arg;

	sched_finish_switch();
	port_set_word(PORT_THREAD_ID, t->id);
	port_irq_restore(kthread_irq_on);
	t->fn(t->arg);
	ktask_exit();
}

static void unblock_at_deadline(struct alarm *a)
{
	port_thread_unblock(container_of(a, struct ktask, alarm));
}

static void init_from_plan(struct ktask *t, const struct ktask_plan *plan)
{
	memset(t, 0, sizeof(*t));
	str_copy(t->name, plan->name, sizeof(t->name));
	t->fn = plan->fn;
	t->arg = plan->arg;
	t->stack_size = plan->stack_size ? plan->stack_size : MACHINE_STACK_SIZE;
	t->pinned = plan->core != KTASK_ANY_CORE;
	t->detached = plan->detached;
	t->is_urgent = plan->is_urgent;
	spin_init(&t->lock, SPIN_KTASK);
	list_init(&t->run_link);
	sem_init(&t->ended, 0);
	alarm_init(&t->alarm, unblock_at_deadline);
}

/* Gives t a stack, the fiber on it and an id; returns false, nothing allocated, on shortage. */
static bool give_stack_and_id(struct ktask *t)
{
	t->stack = stack_alloc(t->stack_size);
	if (!t->stack)
		return false;
	machine_fiber_init(&t->fiber, stack_low(t->stack), t->stack_size, ktask_main, t);
	if (ktask_register(t))
		return true;
	machine_fiber_end(&t->fiber);
	stack_free(t->stack, t->stack_size);
	return false;
}

static void check_plan(const struct ktask_plan *plan, void *caller)
{
	if (!plan->name || !plan->fn)
		panic("ktask %s: made without a %s (called from %pS)", plan->name,
			plan->name ? "function" : "name", caller);
	if (plan->core != KTASK_ANY_CORE && plan->core >= port_core_count())
		panic("ktask %s: pinned to core %u of %u (called from %pS)", plan->name, plan->core,
			port_core_count(), caller);
	if (plan->stack_size % PORT_PAGE_SIZE)
		panic("ktask %s: a stack of %zu bytes is no whole pages (called from %pS)", plan->name,
			plan->stack_size, caller);
}

/* `what`: the name of the call. */
static struct ktask *create_from(const char *what, const struct ktask_plan *plan, void *caller)
{
	struct ktask *t;

	sync_check_may_sleep(what, caller);
	check_plan(plan, caller);
	t = kmem_cache_alloc(ktasks, MEM_ERROR);
	if (!t)
		return NULL;
	init_from_plan(t, plan);
	if (!give_stack_and_id(t)) {
		kmem_cache_free(ktasks, t);
		return NULL;
	}
	sched_start(t, t->pinned ? plan->core : port_core_id());
	return t;
}

struct ktask *ktask_create(const struct ktask_plan *plan)
{
	check_given("ktask_create", "plan", plan, __builtin_return_address(0));
	return create_from("ktask_create", plan, __builtin_return_address(0));
}

struct ktask *ktask(const char *name, void (*fn)(void *arg), void *arg)
{
	struct ktask_plan plan = {.name = name, .fn = fn, .arg = arg, .core = KTASK_ANY_CORE};

	return create_from("ktask", &plan, __builtin_return_address(0));
}

struct ktask *ktask_pinned(const char *name, void (*fn)(void *arg), void *arg, unsigned core)
{
	struct ktask_plan plan = {.name = name, .fn = fn, .arg = arg, .core = core};
	void *caller = __builtin_return_address(0);

	if (core == KTASK_ANY_CORE)
		panic("ktask %s: pinned to no core (called from %pS)", name ? name : "", caller);
	return create_from("ktask_pinned", &plan, caller);
}

bool ktask_detached(const char *name, void (*fn)(void *arg), void *arg)
{
	struct ktask_plan plan = {
		.name = name, .fn = fn, .arg = arg, .core = KTASK_ANY_CORE, .detached = true};

	return create_from("ktask_detached", &plan, __builtin_return_address(0)) != NULL;
}

/* End */

void ktask_free(struct ktask *t)
{
	ktask_unregister(t);
	machine_fiber_end(&t->fiber);
	stack_free(t->stack, t->stack_size);
	kmem_cache_free(ktasks, t);
	__atomic_fetch_sub(&all.count, 1, __ATOMIC_RELEASE);
}

void ktask_join(struct ktask *t)
{
	check_given("ktask_join", "ktask", t, __builtin_return_address(0));
	sync_check_may_sleep("ktask_join", __builtin_return_address(0));
	if (t == ktask_self() || t->detached)
		panic("ktask %s: joined %s (called from %pS)", t->name,
			t->detached ? "though it is detached" : "by itself",
			__builtin_return_address(0));
	if (__atomic_exchange_n(&t->is_joined, true, __ATOMIC_RELAXED))
		panic("ktask %s: joined twice (called from %pS)", t->name, __builtin_return_address(0));
	sem_down(&t->ended, 1);
	ktask_free(t);
}

/* A lock that its ktask doesn't release is locked for good. */
static void check_holds_nothing(const struct ktask *t)
{
	size_t n = t->words[PORT_THREAD_LOCKS] + t->words[PORT_THREAD_READS];
	uintptr_t sum = t->words[PORT_THREAD_LOCKED] + t->words[PORT_THREAD_READING];

	if (n == 1)
		panic("ktask %s: ends and holds lock %#lx (its function is %pS)", t->name, sum,
			(void *)(uintptr_t)t->fn);
	if (n > 1)
		panic("ktask %s: ends and holds %zu locks (its function is %pS)", t->name, n,
			(void *)(uintptr_t)t->fn);
}

void ktask_exit(void)
{
	sync_check_may_sleep("ktask_exit", __builtin_return_address(0));
	check_holds_nothing(ktask_self());
	port_irq_save();
	sched_switch(SWITCH_END);
	__builtin_unreachable();
}

/* Running */

struct ktask *ktask_self(void)
{
	return machine_current();
}

uint64_t ktask_id(const struct ktask *t)
{
	check_given("ktask_id", "ktask", t, __builtin_return_address(0));
	return t->id;
}

const char *ktask_name(const struct ktask *t)
{
	check_given("ktask_name", "ktask", t, __builtin_return_address(0));
	return t->name;
}

void kthread_yield(void)
{
	port_irq_t irq;

	sync_check_may_sleep("kthread_yield", __builtin_return_address(0));
	irq = port_irq_save();
	sched_switch(SWITCH_YIELD);
	port_irq_restore(irq);
}

void kthread_usleep(uint64_t us)
{
	uint64_t now = port_ns(), deadline = PORT_FOREVER;

	if (us < (PORT_FOREVER - now) / 1000)
		deadline = now + us * 1000;
	sync_check_may_sleep("kthread_usleep", __builtin_return_address(0));
	/* So that others run, too, where no sleep comes of it. */
	if (us == 0)
		kthread_yield();
	sync_note_wait("time", NULL);
	do {
		port_thread_block(deadline);
	} while (port_ns() < deadline);
	sync_note_wait(NULL, NULL);
}

/* The port's threads */

port_thread_t *port_thread_self(void)
{
	return machine_current();
}

void port_thread_yield(void)
{
	kthread_yield();
}

bool machine_thread_spawn(const char *name, void (*fn)(void *arg), void *arg)
{
	return ktask_detached(name, fn, arg);
}

uintptr_t *port_thread_words(void)
{
	struct ktask *t = machine_current();

	return t ? t->words : boot_words;
}

/* Statistics */

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

/* all.lock is held, so t exists. */
static void fill_row(struct ktask *t, struct ktask_stats *row) SPANDREL_REQUIRES(&all.lock)
{
	*row = (struct ktask_stats){.wait = NULL};
	str_copy(row->name, t->name, sizeof(row->name));
	row->id = t->id;
	row->state = state_name(__atomic_load_n(&t->state, __ATOMIC_RELAXED));
	row->core = __atomic_load_n(&t->core, __ATOMIC_RELAXED);
	row->pinned = t->pinned;
	row->switches = __atomic_load_n(&t->switches, __ATOMIC_RELAXED);
	row->ns = __atomic_load_n(&t->ns, __ATOMIC_RELAXED);
	row->stack = (uintptr_t)t->stack;
	row->stack_size = t->stack_size;
	if (__atomic_load_n(&t->state, __ATOMIC_RELAXED) == KTASK_ASLEEP) {
		row->wait = (const char *)__atomic_load_n(&t->words[PORT_THREAD_WAIT], __ATOMIC_RELAXED);
		row->wait_of = __atomic_load_n(&t->words[PORT_THREAD_WAIT_OF], __ATOMIC_RELAXED);
	}
}

/* The first ktask with an id of at least `from`.  all.lock is held. */
static struct ktask *find_from(uint64_t from) SPANDREL_REQUIRES(&all.lock)
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

/* Fills KTASK_STATS_STEP rows at most. */
static size_t fill_some_rows(uint64_t from, struct ktask_stats *rows, size_t max)
{
	port_irq_t irq = spin_lock(&all.lock);
	struct ktask *t = find_from(from);
	size_t n = 0;

	while (t && n < max && n < KTASK_STATS_STEP) {
		struct tree_node *next = tree_next(&t->id_node);

		fill_row(t, &rows[n++]);
		t = next ? ktask_of(next) : NULL;
	}
	spin_unlock(&all.lock, irq);
	return n;
}

size_t ktask_stats(uint64_t from, struct ktask_stats *rows, size_t max)
{
	size_t n = 0, step;

	if (max > 0)
		check_given("ktask_stats", "list of rows", rows, __builtin_return_address(0));
	do {
		step = fill_some_rows(from, &rows[n], max - n);
		n += step;
		if (step)
			from = rows[n - 1].id + 1;
	} while (step == KTASK_STATS_STEP);
	return n;
}

/* Words of a stack, from its low end, that are looked at under one hold of the lock. */
#define PEAK_STEP 256

/* Moves *at up to the first word, of PEAK_STEP, that isn't paint; returns whether it may go on.  The
 * stack is another thread's: it may be written meanwhile. */
static __attribute__((no_sanitize("address", "thread"))) bool peak_step(
	uint64_t id, size_t *at, size_t *size)
{
	port_irq_t irq = spin_lock(&all.lock);
	const struct ktask *t = find_from(id);
	bool more = t && t->id == id && t->stack;

	*size = more ? t->stack_size : 0;
	for (int i = 0; more && i < PEAK_STEP; i++, *at += sizeof(uint64_t)) {
		more = *at < t->stack_size &&
		       *(const volatile uint64_t *)((char *)stack_low(t->stack) + *at) == STACK_PAINT;
		if (!more)
			break;
	}
	spin_unlock(&all.lock, irq);
	return more;
}

size_t ktask_stack_peak(uint64_t id)
{
	size_t at = 0, size;

	while (peak_step(id, &at, &size))
		;
	return at < size ? size - at : 0;
}

__attribute__((no_sanitize("address", "thread"))) size_t ktask_stack_copy(
	uint64_t *id, uintptr_t *at, uintptr_t *words, size_t max)
{
	port_irq_t irq = spin_lock(&all.lock);
	const struct ktask *t = find_from(*id);
	enum ktask_state state = t ? __atomic_load_n(&t->state, __ATOMIC_RELAXED) : KTASK_ENDED;
	uintptr_t low = t && t->stack ? (uintptr_t)stack_low(t->stack) : 0;
	size_t n = 0;

	*id = t ? t->id : 0;
	if (*at == 0 && (state == KTASK_READY || state == KTASK_ASLEEP))
		*at = (uintptr_t)t->fiber.sp;
	if (low && state != KTASK_ENDED && *at - low < t->stack_size)
		for (; n < max && *at + n * sizeof(*words) < low + t->stack_size; n++)
			words[n] = ((const volatile uintptr_t *)*at)[n];
	spin_unlock(&all.lock, irq);
	return n;
}

/* Whether the ktask was running when the machine stopped: its core's idle ktask was if no other was. */
static bool was_running(const struct ktask *t) SPANDREL_UNANALYSED
{
	struct ktask *other = NULL;

	if (t->state != KTASK_IDLE)
		return t->state == KTASK_RUNNING;
	for (uint64_t from = 0; (other = find_from(from)); from = other->id + 1)
		if (other->state == KTASK_RUNNING && other->core == t->core)
			return false;
	return true;
}

size_t ktask_backtrace(uint64_t id, uintptr_t *pcs, size_t max) SPANDREL_UNANALYSED
{
	const struct ktask *t = find_from(id);

	if (!t || t->id != id)
		return 0;
	if (t == machine_current())
		return port_backtrace(0, pcs, max);
	return was_running(t) ? machine_core_backtrace(t->core, pcs, max) :
				machine_fiber_backtrace(&t->fiber, pcs, max);
}

size_t ktask_count(void)
{
	/* Acquire, with the releases where it changes: a caller that sees a ktask gone also sees
	 * what it held freed. */
	return __atomic_load_n(&all.count, __ATOMIC_ACQUIRE);
}

static bool is_guard_of(const struct ktask *t, uintptr_t address)
{
	return t->stack && address - (uintptr_t)t->stack < PORT_PAGE_SIZE;
}

/* A ktask that overflows its stack hits its own guard page: only the running one is looked at. */
bool kernel_stack_guard(uintptr_t address, char *owner, size_t size)
{
	struct ktask *t = machine_current();
	bool hit = t && is_guard_of(t, address);

	if (hit)
		ksnprintf(owner, size, "ktask %llu (%s)", (unsigned long long)t->id, t->name);
	return hit;
}

static void print_running(struct sink *sink)
{
	const struct ktask *t = machine_current();

	if (t)
		sink_printf(sink, ", ktask %llu (%s)", (unsigned long long)t->id, t->name);
}

/* The machine has stopped, so the tree is read without its lock. */
static void print_threads(struct sink *sink) SPANDREL_UNANALYSED
{
	uintptr_t pcs[BACKTRACE_MAX];
	const struct ktask *t;

	for (uint64_t from = 0; (t = find_from(from)); from = t->id + 1) {
		size_t n = was_running(t) || t->state == KTASK_IDLE ? 0 : ktask_backtrace(t->id, pcs, BACKTRACE_MAX);

		if (n > 0)
			sink_printf(sink, "  ktask %llu (%s), %s\n", (unsigned long long)t->id, t->name,
				state_name(t->state));
		frames_print(sink, pcs, n);
	}
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
	ktasks = kmem_cache_create(
		"ktask", sizeof(struct ktask), PORT_LINE_SIZE, 0, NULL, NULL, NULL, NULL);
	ids = arena_create("ktask-ids", (void *)1, IDS_MAX, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	panic_set_who(print_running);
	panic_set_threads(print_threads);
}

/* The stack a core starts on.  It is never freed: the core's idle ktask runs on it. */
static void *alloc_core_stack(void)
{
	void *stack = stack_alloc(MACHINE_STACK_SIZE);

	return stack ? stack_low(stack) : NULL;
}

/* The first ktask starts when every core has registered its idle ktask, so ktask_count() doesn't
 * change by itself later. */
void kthread_run(const struct ktask_plan *first)
{
	unsigned cores = machine_cores_start(alloc_core_stack);

	check_given("kthread_run", "plan", first, __builtin_return_address(0));
	sched_idle_init(0);
	while (ktask_count() < cores)
		port_pause();
	if (!ktask_create(first))
		panic("no memory for the first ktask, %s", first->name);
	sched_idle();
}

/* Debug builds note spinlocks in the running thread's words, so the core gets its idle ktask before
 * it takes any. */
void kernel_core_main(void)
{
	machine_set_current(sched_idle_ktask(port_core_id()));
	sched_idle_init(port_core_id());
	sched_idle();
}
