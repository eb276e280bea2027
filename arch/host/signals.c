/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Signals on the host: the faults of a program become panics, like traps in the kernel.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "host.h"
#include "lib/array.h"
#include "lib/panic.h"
#include "table.h"
#include "machine.h"

#define FAULT_WRITE 2 /* of an x86 processor's error number */
#define OWNER_MAX 64 /* bytes of a ktask's number and name */

static const struct {
	int number;
	const char *name;
} faults[] = {
	{SIGSEGV, "SIGSEGV"},
	{SIGBUS, "SIGBUS"},
	{SIGILL, "SIGILL"},
	{SIGFPE, "SIGFPE"},
};

static const int ends[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGABRT};

/* Handlers run on a stack of their own, so that a stack overflow can be reported too.  The panic
 * monitor runs in a handler: its calls must fit, with the sanitizers' frames, which are three times
 * as large. */
#define HANDLER_STACK_SIZE ((size_t)256 * 1024)

static const char *fault_name(int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		if (faults[i].number == number)
			return faults[i].name;
	return "signal";
}

void host_interrupted_at(const void *context, uintptr_t *pc, uintptr_t *frame)
{
#if defined(__x86_64__)
	const ucontext_t *c = context;

	*pc = (uintptr_t)c->uc_mcontext.gregs[REG_RIP];
	*frame = (uintptr_t)c->uc_mcontext.gregs[REG_RBP];
#elif defined(__aarch64__)
	const ucontext_t *c = context;

	*pc = c->uc_mcontext.pc;
	*frame = c->uc_mcontext.regs[29];
#else
	*pc = *frame = 0;
#endif
}

/* Of a page fault, as far as the processor tells. */
static const char *access_of(const ucontext_t *c)
{
#if defined(__x86_64__)
	return c->uc_mcontext.gregs[REG_ERR] & FAULT_WRITE ? "write" : "read";
#else
	return "access";
#endif
}

static struct panic_site site_of(const void *context)
{
	struct panic_site site = {0};

	host_interrupted_at(context, &site.pc, &site.frame);
	return site;
}

/* A test catches the panic and jumps out of the handler, so nothing may be blocked in it: a sanitizer's
 * handler, from which this one is called, blocks all signals. */
static void fault(int number, siginfo_t *info, void *context)
{
	const ucontext_t *interrupted = context;
	struct panic_site site = site_of(context);
	char owner[OWNER_MAX];

	pthread_sigmask(SIG_SETMASK, &interrupted->uc_sigmask, NULL);
	if (number == SIGSEGV && kernel_stack_guard((uintptr_t)info->si_addr, owner, sizeof(owner)))
		panic_at(&site, "stack overflow of %s at %p, in %pS", owner, info->si_addr,
			(void *)site.pc);
	if (number == SIGSEGV)
		kernel_fault((uintptr_t)info->si_addr, access_of(interrupted), &site);
	panic_at(&site, "%s at %p, in %pS", fault_name(number), info->si_addr,
		(void *)site.pc);
}

/* The disposition is back to the default (SA_RESETHAND) and the signal isn't blocked. */
static void end(int number)
{
	host_console_restore();
	raise(number);
}

void host_signals_stack(void)
{
	char *memory = mmap(NULL, PORT_PAGE_SIZE + HANDLER_STACK_SIZE, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	stack_t stack = {.ss_sp = memory + PORT_PAGE_SIZE, .ss_size = HANDLER_STACK_SIZE};

	/* The page below stays a guard. */
	if (memory != MAP_FAILED &&
		mprotect(stack.ss_sp, HANDLER_STACK_SIZE, PROT_READ | PROT_WRITE) == 0)
		sigaltstack(&stack, NULL);
}

void host_signals_init(void)
{
	struct sigaction on_fault = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	struct sigaction on_end = {.sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};

	host_signals_stack();
	on_fault.sa_sigaction = fault;
	on_end.sa_handler = end;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigaction(faults[i].number, &on_fault, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		sigaction(ends[i], &on_end, NULL);
}
