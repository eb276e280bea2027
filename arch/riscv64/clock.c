/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nanoseconds from the time counter.
 */
#include "clock.h"

#include "port.h"

#define NS_PER_S 1000000000ull
#define HZ_MAX (UINT32_MAX + 1ull) /* so that both factors have 64 bits */

/* ns = (ticks - start) * mult >> 32, and ticks = start + (ns * back >> 32). */
static uint64_t start;
static uint64_t mult = 1ull << 32, back = 1ull << 32;

/* A counter above HZ_MAX runs slow. */
void clock_init(uint64_t entry_ticks, uint64_t hz)
{
	hz = hz < HZ_MAX ? hz : HZ_MAX - 1;
	start = entry_ticks;
	mult = (NS_PER_S << 32) / hz;
	back = (hz << 32) / NS_PER_S;
}

uint64_t port_ticks_ns(uint64_t ticks)
{
	return (uint64_t)((unsigned __int128)ticks * mult >> 32);
}

uint64_t port_ns(void)
{
	return port_ticks_ns(port_ticks() - start);
}

/* One tick more: both factors are rounded. */
uint64_t clock_ticks_at(uint64_t ns)
{
	unsigned __int128 ticks = ((unsigned __int128)ns * back >> 32) + start + 1;

	return ticks < UINT64_MAX ? (uint64_t)ticks : UINT64_MAX;
}
