/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port on a Linux process, the half out of line: cores, time, backtrace, the end.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "host.h"
#include "port.h"

static char **arguments;
static uint64_t start_ns;
static uintptr_t stack_low, stack_high; /* of the main thread: [low, high) */

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void host_port_init(char **argv)
{
	pthread_attr_t attributes;
	void *low;
	size_t size;

	arguments = argv;
	start_ns = clock_ns();
	if (pthread_getattr_np(pthread_self(), &attributes) != 0)
		return; /* without bounds there are no backtraces, that's all */
	if (pthread_attr_getstack(&attributes, &low, &size) == 0) {
		stack_low = (uintptr_t)low;
		stack_high = stack_low + size;
	}
	pthread_attr_destroy(&attributes);
}

unsigned port_core_count(void)
{
	return 1;
}

/* The one core runs whoever pokes it, and its port_halt() never waits. */
void port_core_poke(unsigned core)
{
}

void port_core_run(unsigned core, void (*fn)(void *arg), void *arg)
{
	fn(arg);
}

void port_halt(void)
{
	port_pause();
}

uint64_t port_ns(void)
{
	return clock_ns() - start_ns;
}

static bool is_frame(uintptr_t frame, uintptr_t above)
{
	return frame > above && frame >= stack_low && frame % sizeof(uintptr_t) == 0 &&
	       frame < stack_high && stack_high - frame >= 2 * sizeof(uintptr_t);
}

/* x86-64 and AArch64 agree: a frame pointer points to the caller's, and the return address follows.
 * Frames ascend, so the walk ends. */
__attribute__((no_sanitize("address"), noinline)) size_t port_backtrace(
	uintptr_t frame, uintptr_t *pcs, size_t max)
{
	uintptr_t above = 0;
	size_t n = 0;

	if (!frame)
		frame = *(uintptr_t *)__builtin_frame_address(0);
	while (n < max && is_frame(frame, above)) {
		const uintptr_t *words = (const uintptr_t *)frame;

		if (!words[1])
			break;
		pcs[n++] = words[1];
		above = frame;
		frame = words[0];
	}
	return n;
}

void port_longjmp(port_jump_t *jump, int value)
{
	_longjmp(jump->registers, value);
}

void port_stop(int code)
{
	host_console_flush();
	host_console_restore();
	exit(code);
}

void port_reboot(void)
{
	host_console_flush();
	host_console_restore();
	execv("/proc/self/exe", arguments);
	_exit(PORT_STOP_PANIC);
}
