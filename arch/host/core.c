/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cores: a thread each.  Interrupts are cooperative: other threads set bits in a core's `pending`,
 * and the core handles them where it turns interrupts on, pauses or steps a stack with them on, halts
 * or idles.  A core that halts sets the bit SLEEPING in `pending`, and waits for a change of that word (a
 * futex).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "host.h"
#include "lib/check.h"
#include "sink.h"
#include "machine.h"
#include "port.h"

#define SLEEPING (1u << 31) /* in `pending`: the core waits for a futex wake-up */

#define PAUSES_PER_YIELD 32

#define FREEZE_SIGNAL SIGUSR1
#define LATE_SIGNAL SIGUSR2
#define FREEZE_NS 5000000000ull /* the wait for cores to stop; a busy machine may hold some up */

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
	pthread_t thread;
	struct {
		uintptr_t pc, frame; /* where a freeze stopped it; 0: it hasn't */
	} frozen;
} __attribute__((aligned(PORT_LINE_SIZE)));

static struct core *cores;
static unsigned core_max, core_count;
static unsigned frozen; /* cores stopped for good */

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

static void note_stack(struct host_core *c)
{
	pthread_attr_t attributes;
	void *low;
	size_t size;

	if (pthread_getattr_np(pthread_self(), &attributes) != 0)
		return; /* without bounds there are only no backtraces */
	if (pthread_attr_getstack(&attributes, &low, &size) == 0) {
		c->stack_low = (uintptr_t)low;
		c->stack_high = c->stack_low + size;
	}
	pthread_attr_destroy(&attributes);
}

/* Makes the calling thread `core`. */
static void core_enter(struct core *core)
{
	host_core_self = &core->host;
	note_stack(&core->host);
}

static void freeze_here(int number, siginfo_t *info, void *context)
{
	struct core *core = (struct core *)host_self();
	uintptr_t pc;

	host_interrupted_at(context, &pc, &core->frozen.frame);
	/* Release: pairs with the acquire in host_frozen_at(). */
	__atomic_store_n(&core->frozen.pc, pc, __ATOMIC_RELEASE);
	__atomic_fetch_add(&frozen, 1, __ATOMIC_RELAXED);
	for (;;)
		pause();
}

static void late_here(int number, siginfo_t *info, void *context)
{
	uintptr_t pc, frame;

	host_interrupted_at(context, &pc, &frame);
	kernel_late(pc, frame);
}

void host_raise_late(void)
{
	pthread_kill(cores[0].thread, LATE_SIGNAL);
}

const struct host_core *host_frozen_at(unsigned core, uintptr_t *pc, uintptr_t *frame)
{
	*pc = __atomic_load_n(&cores[core].frozen.pc, __ATOMIC_ACQUIRE);
	*frame = cores[core].frozen.frame;
	return &cores[core].host;
}

void host_cores_init(unsigned count)
{
	struct sigaction on_freeze = {.sa_flags = SA_SIGINFO};
	struct sigaction on_late = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

	cores = aligned_alloc(PORT_LINE_SIZE, count * sizeof(*cores));
	if (!cores)
		host_refuse("--cores", strerror(errno));
	memset(cores, 0, count * sizeof(*cores));
	core_max = count;
	core_count = 1;
	for (unsigned i = 0; i < count; i++)
		cores[i].host.id = i;
	cores[0].thread = pthread_self();
	core_enter(&cores[0]);
	on_freeze.sa_sigaction = freeze_here;
	sigaction(FREEZE_SIGNAL, &on_freeze, NULL);
	on_late.sa_sigaction = late_here;
	sigaction(LATE_SIGNAL, &on_late, NULL);
}

unsigned port_core_count(void)
{
	return __atomic_load_n(&core_count, __ATOMIC_ACQUIRE);
}

unsigned port_core_max(void)
{
	return core_max;
}

static void *core_thread(void *arg)
{
	struct core *core = arg;

	core_enter(core);
	host_signals_stack();
	while (port_core_count() <= core->host.id)
		sched_yield();
	kernel_core_main();
}

/* Linux gives each thread a stack: stack_alloc isn't called. */
unsigned machine_cores_start(void *(*stack_alloc)(void))
{
	for (unsigned i = 1; i < core_max; i++) {
		int error = pthread_create(&cores[i].thread, NULL, core_thread, &cores[i]);

		if (error) {
			kprintf("core %u is left out: %s\n", i, strerror(error));
			break;
		}
		/* Release: pairs with the acquire in port_core_count(). */
		__atomic_store_n(&core_count, i + 1, __ATOMIC_RELEASE);
	}
	return core_count;
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

static long futex(uint32_t *word, int operation, uint32_t value)
{
	return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

/* Seq_cst: the handler sees all that was stored before, and a core that goes to sleep either finds
 * the bit or is found SLEEPING. */
void host_raise(unsigned core, uint32_t interrupt)
{
	uint32_t *pending = &cores[core].host.pending;

	if (__atomic_fetch_or(pending, interrupt, __ATOMIC_SEQ_CST) & SLEEPING)
		futex(pending, FUTEX_WAKE, 1);
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

void host_pause(void)
{
	struct host_core *c = host_self();

	host_poll();
	if (++c->pauses % PAUSES_PER_YIELD == 0)
		sched_yield();
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Waits until an interrupt is raised. */
static void sleep_here(struct host_core *c)
{
	uint32_t nothing = 0;

	if (__atomic_compare_exchange_n(&c->pending, &nothing, SLEEPING, false, __ATOMIC_SEQ_CST,
		    __ATOMIC_SEQ_CST))
		futex(&c->pending, FUTEX_WAIT, SLEEPING);
}

void machine_idle(const bool *idle)
{
	struct host_core *c = host_self();

	if (__atomic_load_n(idle, __ATOMIC_RELAXED))
		sleep_here(c);
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

/* A signal stops a thread wherever it is.  ThreadSanitizer may delay it, so the wait is bounded. */
void machine_freeze(void)
{
	uint64_t end = port_ns() + FREEZE_NS;
	unsigned n = port_core_count();

	for (unsigned i = 0; i < n; i++)
		if (i != port_core_id())
			pthread_kill(cores[i].thread, FREEZE_SIGNAL);
	while (__atomic_load_n(&frozen, __ATOMIC_RELAXED) < n - 1 && port_ns() < end)
		sched_yield();
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
