/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Simulated cores: coroutines of one thread, and the time they share.
 *
 * The running core takes a step (sim_step): time passes, timers that are due raise their interrupt, perhaps
 * another core goes on; once this one goes on again, what is pending is handled if its interrupts are on, and an
 * NMI may come.  The switch saves a stack pointer: which ktask's stack it is in doesn't matter.  Code of the
 * simulation and of the host port isn't instrumented, so a step is never in the middle of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "host.h"
#include "sim.h"

#include "lib/panic.h"
#include "lib/symbol.h"
#include "lib/test.h"
#include "machine.h"
#include "port.h"

#define STACK_SIZE ((size_t)1 << 20)
#define STACKS_PLACE ((uintptr_t)0x100000000000) /* the same in each run, as all addresses */

#define STEPS_MAX 30000000 /* of a test; one that takes more hangs, whatever the time */
#define PERIOD 64 /* steps between changes outside of a schedule */
#define SOON_SHIFTS 12
#define SCRIBBLE_SIZE 2048
#define SCRIBBLE 0xa5 /* as an address it is none */
#define TRAIL_MAX 48 /* switches that a report shows */

struct coroutine {
	void *sp;
	char *stack;
	uint64_t deadline;
};

static struct coroutine coroutines[SIM_CORES_MAX];
static unsigned running, started = 1;
static uint64_t now_ns, now_steps, begun_at, longest_idle, next_due = PORT_FOREVER, watch = PORT_FOREVER;
static bool frozen, is_scheduled;
static void (*on_interrupt)(void), (*on_nmi)(void);
static unsigned disturbed; /* calls of either that haven't returned, on all cores */

static struct {
	uint64_t step;
	unsigned from, to;
	void *pc;
} trail[TRAIL_MAX];
static size_t switches;

/* Start */

static char *stack_map(unsigned core)
{
	void *at = mmap((void *)(STACKS_PLACE + core * 2 * STACK_SIZE), STACK_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (at == MAP_FAILED)
		host_refuse("--cores", strerror(errno));
	return at;
}

void host_cores_init(unsigned count)
{
	if (count > SIM_CORES_MAX)
		host_refuse("--cores", "the simulation has 64 at most");
	host_cores_make(count);
	for (unsigned i = 0; i < count; i++) {
		struct host_core *c = host_core(i);

		coroutines[i].stack = stack_map(i);
		coroutines[i].deadline = PORT_FOREVER;
		c->stack_low = (uintptr_t)coroutines[i].stack;
		c->stack_high = c->stack_low + STACK_SIZE;
	}
	host_core_enter(host_core(0));
}

void host_keeper_start(unsigned cores)
{
}

void host_input_await(void)
{
}

static void prepare(unsigned core, void (*fn)(void *arg), void *arg)
{
	struct machine_fiber f;

	machine_fiber_init(&f, coroutines[core].stack, STACK_SIZE, fn, arg);
	coroutines[core].sp = f.sp;
}

void host_run(void (*fn)(void *arg), void *arg)
{
	void *sp;

	prepare(0, fn, arg);
	host_switch(&sp, coroutines[0].sp);
	abort();
}

static void core_main(void *arg)
{
	kernel_core_main();
}

unsigned machine_cores_start(void *(*stack_alloc)(void))
{
	for (unsigned i = 1; i < port_core_max(); i++) {
		prepare(i, core_main, NULL);
		host_core_started(i);
		started = i + 1;
	}
	return started;
}

/* Time */

uint64_t port_ns(void)
{
	return now_ns++;
}

uint64_t port_ticks(void)
{
	return now_steps;
}

uint64_t port_ticks_ns(uint64_t ticks)
{
	return ticks * sim_schedule_step_ns();
}

void host_clock_init(void)
{
}

static void find_next_due(void)
{
	next_due = watch;
	for (unsigned i = 0; i < started; i++)
		if (coroutines[i].deadline < next_due)
			next_due = coroutines[i].deadline;
}

void machine_timer_set(uint64_t deadline)
{
	coroutines[running].deadline = deadline;
	find_next_due();
}

void machine_watch_set(uint64_t deadline)
{
	watch = deadline;
	find_next_due();
}

static void raise_due(void)
{
	for (unsigned i = 0; i < started; i++) {
		if (coroutines[i].deadline > now_ns)
			continue;
		coroutines[i].deadline = PORT_FOREVER;
		host_raise(i, HOST_TIMER);
	}
	if (watch <= now_ns) {
		watch = PORT_FOREVER;
		find_next_due();
		kernel_late(0, 0);
	}
	find_next_due();
}

/* Cores that go on */

static bool can_run(unsigned core)
{
	return host_core(core)->pending != HOST_SLEEPING;
}

static uint64_t runnable(void)
{
	uint64_t map = 0;

	for (unsigned i = 0; i < started; i++)
		map |= (uint64_t)can_run(i) << i;
	return map;
}

static void go_on(unsigned to, void *pc)
{
	unsigned from = running;

	if (to == from)
		return;
	trail[switches % TRAIL_MAX].step = now_steps;
	trail[switches % TRAIL_MAX].from = from;
	trail[switches % TRAIL_MAX].to = to;
	trail[switches % TRAIL_MAX].pc = pc;
	switches++;
	running = to;
	host_core_enter(host_core(to));
	host_switch(&coroutines[from].sp, coroutines[to].sp);
}

static void pass(void)
{
	now_steps++;
	now_ns += sim_schedule_step_ns();
	if (now_steps - begun_at > STEPS_MAX && watch != PORT_FOREVER)
		now_ns = watch;
	if (now_ns >= next_due)
		raise_due();
}

void host_pause(void)
{
	sim_stores_drain(running);
	if (frozen)
		return;
	pass();
	go_on(sim_schedule_next(running, runnable(), true), __builtin_return_address(0));
	host_poll_pending();
}

void host_wake(struct host_core *c)
{
}

static void jump(void)
{
	uint64_t idle = next_due > now_ns ? next_due - now_ns : 0;

	longest_idle = idle > longest_idle ? idle : longest_idle;
	now_ns += idle;
	raise_due();
}

uint64_t sim_longest_idle(void)
{
	return longest_idle;
}

/* When no core can go on, the next that happens is what is due first. */
void host_sleep(struct host_core *c)
{
	uint32_t nothing = 0;

	sim_stores_drain(running);
	if (frozen || !__atomic_compare_exchange_n(&c->pending, &nothing, HOST_SLEEPING, false, __ATOMIC_SEQ_CST,
			      __ATOMIC_SEQ_CST))
		return;
	while (c->pending == HOST_SLEEPING) {
		uint64_t others = runnable();

		if (others) {
			go_on(sim_schedule_next(running, others, true), __builtin_return_address(0));
			continue;
		}
		if (next_due == PORT_FOREVER)
			panic("simulation: all cores sleep, and nothing is due");
		jump();
	}
}

/* Interrupts and NMIs by chance */

void sim_set_interrupt(void (*fn)(void))
{
	on_interrupt = fn;
}

void sim_set_nmi(void (*fn)(void))
{
	on_nmi = fn;
}

static void interrupt(struct host_core *c)
{
	c->irq_off = 1;
	c->irq_depth++;
	disturbed++;
	on_interrupt();
	disturbed--;
	c->irq_depth--;
	c->irq_off = 0;
}

static void nmi(struct host_core *c)
{
	port_irq_t was = c->irq_off;

	c->irq_off = 1;
	c->irq_depth++;
	c->nmi_depth++;
	disturbed++;
	on_nmi();
	disturbed--;
	c->nmi_depth--;
	c->irq_depth--;
	c->irq_off = was;
}

static void disturb(struct host_core *c)
{
	if (on_nmi && !c->nmi_depth && sim_schedule_nmi())
		nmi(c);
	if (c->irq_off)
		return;
	if (on_interrupt && sim_schedule_interrupts())
		interrupt(c);
	if (c->pending)
		host_interrupts();
}

void sim_step(enum sim_kind kind, void *pc)
{
	struct host_core *c;

	if (!sim_schedule_looks(kind) || frozen)
		return;
	c = host_self();
	if (!c || c->whole)
		return;
	pass();
	if (!is_scheduled && now_steps % PERIOD != 0) {
		if (c->pending && !c->irq_off)
			host_interrupts();
		return;
	}
	go_on(sim_schedule_next(running, runnable(), false), pc);
	disturb(c);
}

void host_step(void)
{
	sim_stores_drain(running);
	sim_step(SIM_PORT, __builtin_return_address(0));
}

void sim_begin(void)
{
	on_interrupt = on_nmi = NULL;
	begun_at = now_steps;
	longest_idle = 0;
	is_scheduled = true;
	sim_schedule_begin(started, test_random());
}

void sim_end(void)
{
	on_interrupt = on_nmi = NULL;
	while (disturbed > 0)
		host_pause();
	is_scheduled = false;
	sim_schedule_end();
}

uint64_t sim_soon(void)
{
	return now_ns + sim_schedule_step_ns() * test_random_below((uint64_t)2 << test_random_below(SOON_SHIFTS));
}

__attribute__((noinline)) void sim_scribble(void)
{
	volatile unsigned char below[SCRIBBLE_SIZE];

	memset((void *)below, SCRIBBLE, sizeof(below));
}

/* The end */

void machine_freeze(void)
{
	frozen = true;
}

void host_raise_late(void)
{
}

const struct host_core *host_frozen_at(unsigned core, uintptr_t *pc, uintptr_t *frame)
{
	*pc = *frame = 0;
	if (core != running && core < started)
		host_switched_at(coroutines[core].sp, pc, frame);
	return host_core(core);
}

/* How long the run was; of one that failed, how it came to that. */
void host_ending(int code)
{
	char plan[128];

	host_console_flush();
	sim_schedule_describe(plan, sizeof(plan));
	printf("simulation: %llu steps, %zu switches; %s\n", (unsigned long long)now_steps, switches, plan);
	for (size_t i = switches > TRAIL_MAX ? switches - TRAIL_MAX : 0; code && i < switches; i++) {
		uintptr_t offset = 0;
		const char *name = symbol_find((uintptr_t)trail[i % TRAIL_MAX].pc, &offset);

		printf("  step %llu: core %u to %u in %s+0x%lx\n", (unsigned long long)trail[i % TRAIL_MAX].step,
			trail[i % TRAIL_MAX].from, trail[i % TRAIL_MAX].to, name ? name : "?",
			(unsigned long)offset);
	}
	fflush(stdout);
}
