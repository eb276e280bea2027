/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cores and their interrupts, whatever a core is made of: a thread (thread.c), or a coroutine (sim/cores.c).
 * Interrupts are cooperative: others set bits in a core's `pending`, and the core handles them where it turns
 * interrupts on, pauses or steps a stack with them on, halts or idles.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "lib/check.h"
#include "machine.h"
#include "port.h"

/* fn(arg), to run on a core (port_core_run). */
struct call {
	struct call *next;
	void (*fn)(void *arg);
	void *arg;
	bool done;
};

struct core {
	struct host_core host; /* first: host_self() points to it */
	struct call *calls;    /* the newest first; atomic */
} __attribute__((aligned(PORT_LINE_SIZE)));

static struct core *cores;
static unsigned core_max, core_count;

extern __thread struct host_core *host_core_self;
__thread struct host_core *host_core_self __attribute__((tls_model("local-exec")));

#if !defined(__x86_64__)
__attribute__((noinline)) struct host_core *host_self(void)
{
	__asm__ volatile("");
	return host_core_self;
}
#endif

/* Start */

void host_cores_make(unsigned count)
{
	cores = aligned_alloc(PORT_LINE_SIZE, count * sizeof(*cores));
	if (!cores)
		host_refuse("--cores", strerror(errno));
	memset(cores, 0, count * sizeof(*cores));
	core_max = count;
	core_count = 1;
	for (unsigned i = 0; i < count; i++)
		cores[i].host.id = i;
}

struct host_core *host_core(unsigned id)
{
	return &cores[id].host;
}

void host_core_enter(struct host_core *c)
{
	host_core_self = c;
}

void host_core_started(unsigned id)
{
	/* Release: pairs with the acquire in port_core_count(). */
	__atomic_store_n(&core_count, id + 1, __ATOMIC_RELEASE);
}

unsigned port_core_count(void)
{
	return __atomic_load_n(&core_count, __ATOMIC_ACQUIRE);
}

unsigned port_core_max(void)
{
	return core_max;
}

struct ktask *machine_current(void)
{
	return host_self()->current;
}

void machine_set_current(struct ktask *t)
{
	host_self()->current = t;
}

/* Interrupts */

/* Seq_cst: the handler sees all that was stored before, and a core that goes to sleep either finds
 * the bit or is found SLEEPING. */
void host_raise(unsigned core, uint32_t interrupt)
{
	struct host_core *c = &cores[core].host;

	if (__atomic_fetch_or(&c->pending, interrupt, __ATOMIC_SEQ_CST) & HOST_SLEEPING)
		host_wake(c);
}

static void calls_run(struct core *core)
{
	struct call *call = __atomic_exchange_n(&core->calls, NULL, __ATOMIC_ACQUIRE), *next;

	for (; call; call = next) {
		next = call->next;
		call->fn(call->arg);
		/* Release: pairs with the acquire in port_core_run(), where the call ends. */
		__atomic_store_n(&call->done, true, __ATOMIC_RELEASE);
	}
}

static void handle(struct core *core, uint32_t work)
{
	if (work & HOST_POKE)
		kernel_poked();
	if (work & HOST_CALL)
		calls_run(core);
	if (work & HOST_TIMER)
		kernel_timer();
	if (work & HOST_INPUT)
		kernel_input();
}

void host_interrupts(void)
{
	struct host_core *c = host_self();
	uint32_t work;

	while ((work = __atomic_exchange_n(&c->pending, 0, __ATOMIC_SEQ_CST))) {
		c->irq_off = 1;
		c->irq_depth++;
		handle((struct core *)c, work);
		c->irq_depth--;
		c->irq_off = 0;
	}
}

void host_poll_pending(void)
{
	if (!host_self()->irq_off)
		host_interrupts();
}

void machine_idle(const bool *idle)
{
	struct host_core *c = host_self();

	host_step();
	if (__atomic_load_n(idle, __ATOMIC_RELAXED))
		host_sleep(c);
	c->irq_off = 0;
	host_interrupts();
}

void machine_halt(void)
{
	bool idle = true;

	port_irq_save();
	machine_idle(&idle);
}

/* Between cores */

void port_core_poke(unsigned core)
{
	check_core("port_core_poke", core, __builtin_return_address(0));
	host_raise(core, HOST_POKE);
}

static void call_push(struct core *core, struct call *call)
{
	call->next = __atomic_load_n(&core->calls, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&core->calls, &call->next, call, true, __ATOMIC_RELEASE,
		__ATOMIC_RELAXED))
		;
}

static void run_here(void (*fn)(void *arg), void *arg)
{
	port_irq_t irq = port_irq_save();

	fn(arg);
	port_irq_restore(irq);
}

void port_core_run(unsigned core, void (*fn)(void *arg), void *arg)
{
	struct call call = {.fn = fn, .arg = arg};

	check_core_run(core, fn, __builtin_return_address(0));
	if (core == port_core_id()) {
		run_here(fn, arg);
		return;
	}
	call_push(&cores[core], &call);
	host_raise(core, HOST_CALL);
	while (!__atomic_load_n(&call.done, __ATOMIC_ACQUIRE))
		port_pause();
}

/* A process doesn't know where its cores are, nor their nodes. */

void machine_core_info(unsigned core, struct machine_core_info *info)
{
	check_core("machine_core_info", core, __builtin_return_address(0));
	*info = (struct machine_core_info){.hardware_id = core};
}

bool machine_node_memory(size_t i, struct machine_node_memory *memory)
{
	return false;
}

size_t machine_node_count(void)
{
	return 0;
}

unsigned machine_node_distance(size_t from, size_t to)
{
	panic("machine_node_distance from node %zu to %zu of 0 (called from %pS)", from, to,
		__builtin_return_address(0));
}
