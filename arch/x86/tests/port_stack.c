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
	void *slots[SLOTS];
};

static struct stack stack, other;

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
		CHECK(port_stack_push(&st->s, hand_take()));
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
	void *p = port_stack_pop(&stack.s);

	if (p)
		hand_put(p);
}

static __attribute__((noinline)) void step_push(void)
{
	void *p = hand_take();

	if (!port_stack_push(&stack.s, p))
		hand_put(p);
}

static __attribute__((noinline)) void step_pop_many(void)
{
	void *to[MANY];
	size_t n = port_stack_pop_many(&stack.s, to, MANY);

	for (size_t i = 0; i < n; i++)
		hand_put(to[i]);
}

static __attribute__((noinline)) void step_push_many(void)
{
	void *from[MANY];
	size_t n;

	for (size_t i = 0; i < MANY; i++)
		from[i] = hand_take();
	n = port_stack_push_many(&stack.s, from, MANY);
	for (size_t i = n; i < MANY; i++)
		hand_put(from[i]);
}

/* Interference: what comes in between.  The hand is the interrupted step's, so these have their own
 * and give back to the stacks what they took, in another order, or keep one for one. */

/* Two off the top, put back the other way round. */
static void swap_two(struct stack *st)
{
	void *a = port_stack_pop(&st->s), *b = port_stack_pop(&st->s);

	CHECK(!a || port_stack_push(&st->s, a));
	CHECK(!b || port_stack_push(&st->s, b));
}

static void *kept[SLOTS];
static size_t kept_count;

static void drain(struct stack *st)
{
	kept_count = port_stack_pop_many(&st->s, kept, SLOTS);
}

static void pour(struct stack *st)
{
	kept_count -= port_stack_push_many(&st->s, kept, kept_count);
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

	while (other.s.top < other.s.limit && (p = port_stack_pop(&stack.s)))
		CHECK(port_stack_push(&other.s, p));
}

/* The other way. */
static void hither(void)
{
	void *p;

	while (stack.s.top < stack.s.limit && (p = port_stack_pop(&other.s)))
		CHECK(port_stack_push(&stack.s, p));
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
	uint64_t before = port_stack_restarts(port_core_id());
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
	CHECK_LE(there, port_stack_restarts(port_core_id()) - before);
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

TEST("port stack: a pop interrupted at any instruction loses nothing and doubles nothing")
{
	try_step(step_pop);
}

TEST("port stack: a push interrupted at any instruction loses nothing and doubles nothing")
{
	try_step(step_push);
}

TEST("port stack: a pop of many interrupted at any instruction loses nothing and doubles nothing")
{
	try_step(step_pop_many);
}

TEST("port stack: a push of many interrupted at any instruction loses nothing and doubles nothing")
{
	try_step(step_push_many);
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
	uint64_t before = port_stack_restarts(target);

	while (is_running() && (port_stack_restarts(target) - before < RESTARTS_WANTED ||
				       !all_have_come(nmis_come))) {
		step_at_random();
		look();
	}
	CHECK_LT(before, port_stack_restarts(target));
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
