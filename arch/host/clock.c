/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The clock of the Linux process.
 */
#define _GNU_SOURCE
#include <time.h>

#include "host.h"
#include "port.h"

static uint64_t start_ns, start_ticks;

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void host_clock_init(void)
{
	start_ns = clock_ns();
	start_ticks = port_ticks();
}

uint64_t port_ns(void)
{
	return clock_ns() - start_ns;
}

/* By the mean rate of ticks since the process began. */
uint64_t port_ticks_ns(uint64_t ticks)
{
	uint64_t passed = port_ticks() - start_ticks;

	return passed ? (uint64_t)((unsigned __int128)ticks * port_ns() / passed) : 0;
}
