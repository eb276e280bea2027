/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Per-core stacks interrupted at each of their instructions.
 *
 * A step of a stack is run once for each boundary between two instructions of its sequence
 * (step.h), with pointers pushed and popped on the same stack, another one, or both, just there.
 * Afterward every pointer must be in one place.  What is compared with is a count of pointers by
 * value, which knows nothing of stacks.
 */
#include "alarm.h"
#include "kthread.h"
#include "lib/string.h"
#include "machine.h"
#include "port.h"
#include "lib/test.h"

#include "../../../tests/unit/threads.h"
#include "../apic.h"
#include "../core.h"
#include "../trap.h"
#include "step.h"

#define SLOTS 8
#define MANY 5
#define OBJECTS 64	  /* pointers 1 .. OBJECTS - 1 */

struct stack {
	struct port_stack s;
	void *below; /* 0 */
	void *slots[SLOTS];
};

static struct stack stack, other;

/* Those two are whichever core's runs: with a stride of 0 all cores' are one. */
static void *pop(struct stack *st)
{
	struct port_stack *used;

	return port_stack_pop(&st->s, 0, &used);
}

static bool push(struct stack *st, void *p)
{
	struct port_stack *used;

	return port_stack_push(&st->s, 0, p, &used);
}

/* Where each object is: what is on no stack is in hand. */
static unsigned seen[OBJECTS];
static void *hand[OBJECTS];
static size_t hand_count;

static void hand_put(void *p)
{
	CHECK_LT(hand_count, OBJECTS);
	hand[hand_count++] = p;
}

static void *hand_take(void)
{
	CHECK_LT(0, hand_count);
	return hand[--hand_count];
}

static void fill(struct stack *st, size_t n)
{
	port_irq_t irq = port_irq_save();

	port_stack_set(&st->s, st->slots, st->slots, st->slots + SLOTS);
	port_irq_restore(irq);
	for (size_t i = 0; i < n; i++)
		CHECK(push(st, hand_take()));
}

static void reset(size_t filled)
{
	hand_count = 0;
	for (size_t i = 1; i < OBJECTS; i++)
		hand_put((void *)i);
	fill(&stack, filled);
	fill(&other, SLOTS / 2);
}

static void see(void *p)
{
	CHECK_LT((uintptr_t)p, OBJECTS);
	seen[(uintptr_t)p]++;
}

static void see_stack(const struct stack *st)
{
	void **top = st->s.top;

	CHECK(top >= st->slots && top <= st->slots + SLOTS);
	for (void *const *p = st->slots; p < top; p++)
		see(*p);
}

/* Each object is in one place. */
static void check_all_there(void)
{
	memset(seen, 0, sizeof(seen));
	see_stack(&stack);
	see_stack(&other);
	for (size_t i = 0; i < hand_count; i++)
		see(hand[i]);
	for (size_t i = 1; i < OBJECTS; i++)
		CHECK_EQ(seen[i], 1);
}

/* Steps: what is interrupted.  None is inlined, so that its code is one stretch. */

static __attribute__((noinline)) void step_pop(void)
{
	struct port_stack *used;
	void *p = port_stack_pop(&stack.s, 0, &used);

	if (p)
		hand_put(p);
}

static __attribute__((noinline)) void step_push(void)
{
	struct port_stack *used;
	void *p = hand_take();

	if (!port_stack_push(&stack.s, 0, p, &used))
		hand_put(p);
}

static __attribute__((noinline)) void step_pop_many(void)
{
	void *to[MANY];
	size_t n = port_stack_pop_many(&stack.s, 0, to, MANY);

	for (size_t i = 0; i < n; i++)
		hand_put(to[i]);
}

static __attribute__((noinline)) void step_push_many(void)
{
	void *from[MANY];
	size_t n;

	for (size_t i = 0; i < MANY; i++)
		from[i] = hand_take();
	n = port_stack_push_many(&stack.s, 0, from, MANY);
	for (size_t i = n; i < MANY; i++)
		hand_put(from[i]);
}

/* Interference: what comes in between.  The hand is the interrupted step's, so these have their own
 * and give back to the stacks what they took, in another order, or keep one for one. */

/* Two off the top, put back the other way round. */
static void swap_two(struct stack *st)
{
	void *a = pop(st), *b = pop(st);

	CHECK(!a || push(st, a));
	CHECK(!b || push(st, b));
}

static void *kept[SLOTS];
static size_t kept_count;

static void drain(struct stack *st)
{
	kept_count = port_stack_pop_many(&st->s, 0, kept, SLOTS);
}

static void pour(struct stack *st)
{
	kept_count -= port_stack_push_many(&st->s, 0, kept, kept_count);
}

static void on_same(void)
{
	swap_two(&stack);
}

static void on_other(void)
{
	swap_two(&other);
}

/* Moves pointers from the stack to the other one: what the step saw isn't there any more. */
static void away(void)
{
	void *p;

	while (other.s.top < other.s.limit && (p = pop(&stack)))
		CHECK(push(&other, p));
}

/* The other way. */
static void hither(void)
{
	void *p;

	while (stack.s.top < stack.s.limit && (p = pop(&other)))
		CHECK(push(&stack, p));
}

/* All off and on again: the stack is as it was, but every slot was written over. */
static void around(void)
{
	drain(&stack);
	memset(stack.slots, 0xee, sizeof(stack.slots));
	pour(&stack);
}

/* What stands on it goes to other memory, and the stack stands for that. */
static void elsewhere(void)
{
	static void *slots[SLOTS];

	drain(&stack);
	memcpy(slots, kept, kept_count * sizeof(slots[0]));
	memset(stack.slots, 0xee, sizeof(stack.slots));
	port_stack_set(&stack.s, stack.slots, stack.slots, stack.slots + SLOTS);
	memcpy(kept, slots, kept_count * sizeof(slots[0]));
	pour(&stack);
}

static void interfere_everywhere(void (*step)(void), void (*what)(void), size_t filled)
{
	uint64_t before = machine_stack_restarts(port_core_id());
	size_t there, at;

	reset(filled);
	there = step_through(step);
	check_all_there();
	CHECK_LT(0, there);
	for (at = 0;; at++) {
		reset(filled);
		if (!step_interfere(step, at, what))
			break;
		check_all_there();
	}
	/* A restart for each boundary there is when nothing comes in between; a timer's interrupt may add one. */
	CHECK_EQ(at, there);
	CHECK_LE(there, machine_stack_restarts(port_core_id()) - before);
}

/* All of the step's code was met: the sequences in it, each from its first instruction to its last. */
static void try_step(void (*step)(void))
{
	static void (*const interferences[])(void) = {
		on_same, on_other, away, hither, around, elsewhere};
	static const size_t fills[] = {SLOTS / 2, 0, 1, SLOTS - 1, SLOTS};

	step_forget();
	for (size_t f = 0; f < sizeof(fills) / sizeof(fills[0]); f++) {
		for (size_t i = 0; i < sizeof(interferences) / sizeof(interferences[0]); i++)
			interfere_everywhere(step, interferences[i], fills[f]);
	}
	CHECK_EQ(step_missed((uintptr_t)step), 0);
}

TEST("port stack: a pop interrupted at any instruction loses and doubles nothing")
{
	try_step(step_pop);
}

TEST("port stack: a push interrupted at any instruction loses and doubles nothing")
{
	try_step(step_push);
}

TEST("port stack: a pop of many, interrupted anywhere, loses and doubles nothing")
{
	try_step(step_pop_many);
}

TEST("port stack: a push of many, interrupted anywhere, loses and doubles nothing")
{
	try_step(step_push_many);
}

/* Two cores' stacks, and a core that becomes the other one in the middle of a step: what a switch to
 * a thread's next core does to the thread. */

static struct stack pair[2];
static void (*step_of_pair)(void);

static __attribute__((noinline)) void pair_pop(void)
{
	struct port_stack *used;
	void *p = port_stack_pop(&pair[0].s, sizeof(pair[0]), &used);

	CHECK_EQ(used == &pair[core_self()->port.id].s, true);
	hand_put(p);
}

static __attribute__((noinline)) void pair_push(void)
{
	struct port_stack *used;

	CHECK(port_stack_push(&pair[0].s, sizeof(pair[0]), hand_take(), &used));
	CHECK_EQ(used == &pair[core_self()->port.id].s, true);
}

static __attribute__((noinline)) void pair_pop_many(void)
{
	void *to[2];

	CHECK_EQ(port_stack_pop_many(&pair[0].s, sizeof(pair[0]), to, 2), 2);
	hand_put(to[0]);
	hand_put(to[1]);
}

static __attribute__((noinline)) void pair_push_many(void)
{
	void *from[2] = {hand_take(), hand_take()};

	CHECK_EQ(port_stack_push_many(&pair[0].s, sizeof(pair[0]), from, 2), 2);
}

/* The step as core 0, with interrupts off: nothing else is to see a number that isn't the core's. */
static void step_as_core_0(void)
{
	port_irq_t irq = port_irq_save();
	uint32_t id = core_self()->port.id;

	core_self()->port.id = 0;
	step_of_pair();
	core_self()->port.id = id;
	port_irq_restore(irq);
}

static void become_core_1(void)
{
	core_self()->port.id = 1;
}

static void change_cores_everywhere(void (*step)(void))
{
	bool moved = true;

	step_of_pair = step;
	step_forget();
	for (size_t at = 0; moved; at++) {
		const struct stack *stepped, *left;

		reset(0);
		fill(&pair[0], SLOTS / 2);
		fill(&pair[1], SLOTS / 2);
		moved = step_interfere(step_as_core_0, at, become_core_1);
		stepped = &pair[moved];
		left = &pair[!moved];
		CHECK_EQ(left->s.top - left->slots, SLOTS / 2);
		CHECK(stepped->s.top - stepped->slots != SLOTS / 2);
	}
	CHECK_EQ(step_missed((uintptr_t)step), 0);
}

TEST("port stack: a step interrupted anywhere takes the stack of the core it ends on")
{
	change_cores_everywhere(pair_pop);
	change_cores_everywhere(pair_push);
	change_cores_everywhere(pair_pop_many);
	change_cores_everywhere(pair_push_many);
}

TEST("port stack: a push of the top pointer fails, also in the middle of many")
{
	void *many[4] = {(void *)3, (void *)4, (void *)4, (void *)5}, *got[SLOTS];

	reset(0);
	CHECK(push(&stack, (void *)1));
	CHECK(!push(&stack, (void *)1));
	CHECK(push(&stack, (void *)2));
	CHECK(push(&stack, (void *)1));
	CHECK_EQ(port_stack_push_many(&stack.s, 0, many, 4), 2);
	CHECK_EQ(port_stack_push_many(&stack.s, 0, many + 1, 3), 0);
	CHECK_EQ(port_stack_push_many(&stack.s, 0, many + 3, 1), 1);
	CHECK_EQ(port_stack_pop_many(&stack.s, 0, got, SLOTS), 6);
	CHECK_EQ((uintptr_t)got[3], 3);
	CHECK_EQ((uintptr_t)got[4], 4);
	CHECK_EQ((uintptr_t)got[5], 5);
}

/* At random: a timer's interrupts, and NMIs from another core, which land in those too. */

#define ALARM_NS_MAX 20000
#define RUN_NS_MAX THREADS_PATIENCE
#define RESTARTS_WANTED 20
#define STEPS_PER_CHECK 256

static unsigned target;	  /* the core that steps */
static bool interfering; /* false: the stacks are being looked at */
static uint64_t run_end;  /* when all ends, a failed check's run included; 0: now */
static uint64_t alarms, nmis;

static bool is_running(void)
{
	return port_ns() < __atomic_load_n(&run_end, __ATOMIC_RELAXED);
}

static void interfere(uint64_t *count)
{
	if (port_core_id() != target || !__atomic_load_n(&interfering, __ATOMIC_RELAXED))
		return;
	swap_two(*count % 2 ? &stack : &other);
	++*count;
}

static void on_nmi(void)
{
	interfere(&nmis);
}

static void on_alarm(struct alarm *a)
{
	interfere(&alarms);
	if (is_running())
		alarm_set(a, port_ns() + 1 + test_random_below(ALARM_NS_MAX));
}

static void send_nmis(void *arg)
{
	while (is_running()) {
		port_irq_t irq = port_irq_save();

		apic_send_nmi(cores[target]->apic);
		port_irq_restore(irq);
		for (uint64_t end = port_ns() + ALARM_NS_MAX; port_ns() < end;)
			port_pause();
	}
}

static void step_at_random(void)
{
	static void (*const steps[])(void) = {step_pop, step_push, step_pop_many, step_push_many};

	for (int i = 0; i < STEPS_PER_CHECK; i++)
		steps[test_random_below(4)]();
}

static void look(void)
{
	__atomic_store_n(&interfering, false, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	check_all_there();
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&interfering, true, __ATOMIC_RELAXED);
}

static bool all_have_come(bool nmis_come)
{
	return __atomic_load_n(&alarms, __ATOMIC_RELAXED) > 0 &&
	       (!nmis_come || __atomic_load_n(&nmis, __ATOMIC_RELAXED) > 0);
}

/* Until there were some of each kind, and restarts. */
static void step_under_fire(bool nmis_come)
{
	uint64_t before = machine_stack_restarts(target);

	while (is_running() && (machine_stack_restarts(target) - before < RESTARTS_WANTED ||
				       !all_have_come(nmis_come))) {
		step_at_random();
		look();
	}
	CHECK_LT(before, machine_stack_restarts(target));
}

TEST("port stack: timer interrupts and NMIs at random lose nothing and double nothing")
{
	static struct alarm a;
	struct ktask *sender = NULL;

	reset(SLOTS / 2);
	alarms = nmis = 0;
	target = port_core_id();
	interfering = true;
	run_end = port_ns() + RUN_NS_MAX;
	trap_nmi_hook = on_nmi;
	alarm_init(&a, on_alarm);
	alarm_set(&a, port_ns());
	if (port_core_count() > 1)
		sender = ktask_pinned("nmis", send_nmis, NULL, (target + 1) % port_core_count());
	step_under_fire(sender != NULL);
	__atomic_store_n(&run_end, 0, __ATOMIC_RELAXED);
	alarm_cancel(&a);
	if (sender)
		ktask_join(sender);
	trap_nmi_hook = NULL;
	CHECK_LT(0, alarms);
	CHECK(!sender || nmis > 0);
}
