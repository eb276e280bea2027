/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A model of a preemptible kernel: a few cores and more threads, each of which may be preempted between any two
 * instructions, and go on on any core.
 *
 * The processor traps after each instruction (the trap flag), and the handler decides who goes on, by a
 * seeded generator: mostly the same; else another core, whose thread goes on where it stood, which is what
 * cores that run at once look like; or, if the core has its interrupts off, it keeps its thread, and if not, it
 * takes up another one.  What one core wants run on another is done when that one stands with interrupts on.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "spandrel/arena.h"
#include "spandrel/kmalloc.h"
#include "spandrel/port.h"
#include "spandrel/slab.h"

#define CORES 3
#define THREADS 5
#define STACK 65536
#define PAGES 512
#define HELD 12
#define TRAP_FLAG 0x100

struct thread {
	ucontext_t context;
	bool is_done;
	char stack[STACK] __attribute__((aligned(16)));
};

struct core {
	struct thread *runs; /* NULL: it is idle */
	bool irq_off;
	void (*fn)(void *arg); /* to be run there */
	void *arg;
};

static struct thread threads[THREADS];
static struct core cores[CORES];
static unsigned core; /* that goes on */
static bool has_threads; /* else nothing runs on the cores, and they hear at once */
static ucontext_t outside;
static unsigned long rounds = 150;
static uint32_t seed;

static uint32_t next_random(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

void port_bug(const char *message)
{
	printf("bug: %s\n", message);
	fflush(stdout);
	_Exit(1);
}

/* Cores */

static void run_asked(struct core *c)
{
	unsigned was = core;

	if (!c->fn || c->irq_off)
		return;
	core = (unsigned)(c - cores);
	c->irq_off = true;
	c->fn(c->arg);
	c->irq_off = false;
	c->fn = NULL;
	core = was;
}

static bool runs_somewhere(const struct thread *t)
{
	for (unsigned i = 0; i < CORES; i++)
		if (cores[i].runs == t)
			return true;
	return false;
}

/* A thread for a core that may change it: one that no core runs, or the one that it has. */
static struct thread *choose(struct core *c)
{
	unsigned first = next_random(THREADS);

	for (unsigned i = 0; i < THREADS; i++) {
		struct thread *t = &threads[(first + i) % THREADS];

		if (!t->is_done && !runs_somewhere(t))
			return t;
	}
	return c->runs && !c->runs->is_done ? c->runs : NULL;
}

/* Goes on with another core, or another thread on this one; returns when somebody goes on here. */
static void switch_away(void)
{
	struct thread *from = cores[core].runs, *to = NULL;

	for (unsigned tries = 0; !to && tries < 100; tries++) {
		core = next_random(CORES);
		if (!cores[core].irq_off && (!cores[core].runs || cores[core].runs->is_done || next_random(2) == 0))
			cores[core].runs = choose(&cores[core]);
		run_asked(&cores[core]);
		to = cores[core].runs;
	}
	if (!to) {
		if (from)
			swapcontext(&from->context, &outside);
		return;
	}
	if (to != from)
		swapcontext(from ? &from->context : &outside, &to->context);
}

/* What a processor does in one instruction, or with its own interrupts off, is a function in here: no trap is
 * heard in it. */
#define AT_ONCE __attribute__((section("at_once"), noinline))
extern const char __start_at_once[], __stop_at_once[];

static void on_trap(int signal, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

	(void)signal;
	(void)info;
	if (at >= (uintptr_t)__start_at_once && at < (uintptr_t)__stop_at_once)
		return;
	run_asked(&cores[core]);
	if (next_random(8) == 0)
		switch_away();
}

static void trap(bool on)
{
	uintptr_t flags = __builtin_ia32_readeflags_u64();

	__builtin_ia32_writeeflags_u64(on ? flags | TRAP_FLAG : flags & ~(uintptr_t)TRAP_FLAG);
}

/* The port */

AT_ONCE unsigned port_core_id(void)
{
	return core;
}

AT_ONCE port_irq_t port_irq_save(void)
{
	port_irq_t was = cores[core].irq_off;

	cores[core].irq_off = true;
	return was;
}

AT_ONCE void port_irq_restore(port_irq_t saved)
{
	cores[core].irq_off = saved;
}

AT_ONCE unsigned port_core_count(void)
{
	return CORES;
}

AT_ONCE unsigned port_core_max(void)
{
	return CORES;
}

AT_ONCE void port_pause(void)
{
}

static AT_ONCE bool ask(struct core *c, void (*fn)(void *arg), void *arg)
{
	if (c->fn)
		return false;
	c->arg = arg;
	c->fn = fn;
	return true;
}

void port_core_run(unsigned number, void (*fn)(void *arg), void *arg)
{
	struct core *c = &cores[number];

	while (!ask(c, fn, arg))
		port_pause();
	if (!has_threads)
		run_asked(c);
	while (__atomic_load_n(&c->fn, __ATOMIC_ACQUIRE))
		port_pause();
}

/* The threads */

struct object {
	struct object *self;
	unsigned owner;
};

static struct kmem_cache *objects;
static unsigned long done;

static void give(struct object **o, bool is_cached, unsigned owner)
{
	if ((*o)->self != *o || (*o)->owner != owner)
		port_bug("an object is another thread's");
	(*o)->self = NULL;
	if (is_cached)
		kmem_cache_free(objects, *o);
	else
		kfree(*o);
	*o = NULL;
}

static struct object *take(bool is_cached, unsigned owner)
{
	struct object *o = is_cached ? kmem_cache_alloc(objects, MEM_ATOMIC) : kmalloc(sizeof(*o), MEM_ATOMIC);

	if (o) {
		o->self = o;
		o->owner = owner;
	}
	return o;
}

static void run(unsigned number)
{
	struct object *held[HELD] = {0};
	uint32_t mine = number * 7919 + seed;

	trap(true);
	for (unsigned long round = 0; round < rounds; round++) {
		unsigned i = (mine = mine * 1664525 + 1013904223) >> 16 & 0xffff;

		if (round % 100 == 99 && number == 0)
			kmem_cache_reap(objects, KMEM_REAP_ALL);
		i %= HELD;
		if (held[i])
			give(&held[i], i % 2, number);
		else
			held[i] = take(i % 2, number);
		__atomic_fetch_add(&done, 1, __ATOMIC_RELAXED);
	}
	for (unsigned i = 0; i < HELD; i++)
		if (held[i])
			give(&held[i], i % 2, number);
	trap(false);
	threads[number].is_done = true;
	switch_away();
}

static char ram[PAGES << PORT_PAGE_SHIFT] __attribute__((aligned(1 << PORT_PAGE_SHIFT)));

static void prepare(void)
{
	base_arena = arena_create_base("base", ram, sizeof(ram));
	kpages_arena = arena_create("kpages", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free, base_arena,
		4 * PORT_PAGE_SIZE, MEM_ATOMIC);
	kmem_cache_init();
	objects = kmem_cache_create("objects", sizeof(struct object), 0, 0, NULL, NULL, NULL, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		struct thread *t = &threads[i];

		getcontext(&t->context);
		t->context.uc_stack.ss_sp = t->stack;
		t->context.uc_stack.ss_size = sizeof(t->stack);
		makecontext(&t->context, (void (*)(void))run, 1, i);
	}
}

/* main [SEED [ROUNDS]] */
int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER};

	seed = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 1;
	if (argc > 2)
		rounds = strtoul(argv[2], NULL, 0);
	prepare();
	sigaction(SIGTRAP, &action, NULL);
	has_threads = true;
	switch_away();
	has_threads = false;
	if (done != THREADS * rounds)
		port_bug("threads are left");
	if (kmem_cache_check(objects, NULL) != 0 || arena_check(kpages_arena, NULL) != 0)
		port_bug("a structure is broken");
	if (kmem_cache_destroy(objects) != 0)
		port_bug("objects are left");
	printf("ok\n");
	return 0;
}
