/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port on a Linux process, functions out of line: backtrace, stop and reboot.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

#include "host.h"
#include "machine.h"
#include "port.h"

static char **arguments;

void host_port_init(char **argv)
{
	arguments = argv;
	host_clock_init();
}

static bool is_frame(uintptr_t low, uintptr_t high, uintptr_t frame, uintptr_t above)
{
	return frame > above && frame >= low && frame % sizeof(uintptr_t) == 0 && frame < high &&
	       high - frame >= 2 * sizeof(uintptr_t);
}

/* On x86-64 and AArch64 alike, a frame pointer points to the caller's, and the return address
 * follows.  Frames ascend, so the walk ends. */
__attribute__((no_sanitize("address", "thread"))) size_t host_walk(
	uintptr_t low, uintptr_t high, uintptr_t frame, uintptr_t *pcs, size_t max)
{
	uintptr_t above = 0;
	size_t n = 0;

	while (n < max && is_frame(low, high, frame, above)) {
		const uintptr_t *words = (const uintptr_t *)frame;

		if (!words[1])
			break;
		pcs[n++] = words[1];
		above = frame;
		frame = words[0];
	}
	return n;
}

__attribute__((no_sanitize("address", "thread"), noinline)) size_t port_backtrace(
	uintptr_t frame, uintptr_t *pcs, size_t max)
{
	const struct host_core *c = host_self();

	if (!frame)
		frame = *(uintptr_t *)__builtin_frame_address(0);
	return host_walk(c->stack_low, c->stack_high, frame, pcs, max);
}

size_t machine_core_backtrace(unsigned core, uintptr_t *pcs, size_t max)
{
	uintptr_t pc, frame;
	const struct host_core *c = host_frozen_at(core, &pc, &frame);

	if (!pc || max == 0)
		return 0;
	pcs[0] = pc;
	return 1 + host_walk(c->stack_low, c->stack_high, frame, pcs + 1, max - 1);
}

void machine_longjmp(machine_jump_t *jump, int value)
{
	struct host_core *c = host_self();

	c->irq_off = jump->irq_off;
	c->irq_depth = jump->irq_depth;
	_longjmp(jump->registers, value);
}

/* The first caller ends the process; later callers wait for that. */
void machine_stop(int code)
{
	static bool stopping;

	while (__atomic_exchange_n(&stopping, true, __ATOMIC_RELAXED))
		pause();
	host_ending(code);
	host_console_flush();
	host_console_restore();
	exit(code);
}

void machine_reboot(void)
{
	host_console_flush();
	host_console_restore();
	execv("/proc/self/exe", arguments);
	_exit(MACHINE_STOP_PANIC);
}

uint64_t machine_stack_restarts(unsigned core)
{
	return 0;
}
