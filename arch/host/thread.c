/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What cores are made of: threads.  A core that halts sets the bit HOST_SLEEPING in its `pending`, and waits
 * for a change of that word (a futex).
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
#include <unistd.h>

#include "host.h"
#include "machine.h"
#include "port.h"
#include "lib/panic.h"

#define PAUSES_PER_YIELD 32

#define FREEZE_SIGNAL SIGUSR1
#define LATE_SIGNAL SIGUSR2
#define FREEZE_NS 5000000000ull /* the wait for cores to stop; a busy machine may hold some up */

/* A core's thread. */
struct thread {
	pthread_t id;
	uintptr_t frozen_pc, frozen_frame; /* where a freeze stopped it; 0: it hasn't */
};

static struct thread *threads; /* by core */
static unsigned frozen; /* cores stopped for good */

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
static void enter(unsigned core)
{
	host_core_enter(host_core(core));
	note_stack(host_core(core));
}

static void freeze_here(int number, siginfo_t *info, void *context)
{
	struct thread *thread = &threads[port_core_id()];
	uintptr_t pc;

	host_interrupted_at(context, &pc, &thread->frozen_frame);
	/* Release: pairs with the acquire in host_frozen_at(). */
	__atomic_store_n(&thread->frozen_pc, pc, __ATOMIC_RELEASE);
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
	pthread_kill(threads[0].id, LATE_SIGNAL);
}

const struct host_core *host_frozen_at(unsigned core, uintptr_t *pc, uintptr_t *frame)
{
	*pc = __atomic_load_n(&threads[core].frozen_pc, __ATOMIC_ACQUIRE);
	*frame = threads[core].frozen_frame;
	return host_core(core);
}

void host_cores_init(unsigned count)
{
	struct sigaction on_freeze = {.sa_flags = SA_SIGINFO};
	struct sigaction on_late = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

	host_cores_make(count);
	threads = calloc(count, sizeof(*threads));
	if (!threads)
		host_refuse("--cores", strerror(errno));
	threads[0].id = pthread_self();
	enter(0);
	on_freeze.sa_sigaction = freeze_here;
	sigaction(FREEZE_SIGNAL, &on_freeze, NULL);
	on_late.sa_sigaction = late_here;
	sigaction(LATE_SIGNAL, &on_late, NULL);
}

static void *core_thread(void *arg)
{
	unsigned core = (unsigned)((struct thread *)arg - threads);

	enter(core);
	host_signals_stack();
	while (port_core_count() <= core)
		sched_yield();
	kernel_core_main();
}

/* Linux gives each thread a stack: stack_alloc isn't called. */
unsigned machine_cores_start(void *(*stack_alloc)(void))
{
	for (unsigned i = 1; i < port_core_max(); i++) {
		int error = pthread_create(&threads[i].id, NULL, core_thread, &threads[i]);

		if (error) {
			kprintf("core %u is left out: %s\n", i, strerror(error));
			break;
		}
		host_core_started(i);
	}
	return port_core_count();
}

void host_run(void (*fn)(void *arg), void *arg)
{
	fn(arg);
	abort();
}

/* Wait */

static long futex(uint32_t *word, int operation, uint32_t value)
{
	return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

void host_wake(struct host_core *c)
{
	futex(&c->pending, FUTEX_WAKE, 1);
}

void host_sleep(struct host_core *c)
{
	uint32_t nothing = 0;

	if (__atomic_compare_exchange_n(&c->pending, &nothing, HOST_SLEEPING, false, __ATOMIC_SEQ_CST,
		    __ATOMIC_SEQ_CST))
		futex(&c->pending, FUTEX_WAIT, HOST_SLEEPING);
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

/* The end */

void host_seed(uint64_t seed)
{
}

void host_ending(int code)
{
}

/* A signal stops a thread wherever it is.  ThreadSanitizer may delay it, so the wait is bounded. */
void machine_freeze(void)
{
	uint64_t end = port_ns() + FREEZE_NS;
	unsigned n = port_core_count();

	for (unsigned i = 0; i < n; i++)
		if (i != port_core_id())
			pthread_kill(threads[i].id, FREEZE_SIGNAL);
	while (__atomic_load_n(&frozen, __ATOMIC_RELAXED) < n - 1 && port_ns() < end)
		sched_yield();
}
