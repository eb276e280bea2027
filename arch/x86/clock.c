/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nanoseconds from the time-stamp counter.  Its frequency comes from CPUID, where the processor or
 * the hypervisor gives it; else it is measured against channel 2 of the interval timer (PIT), in
 * about a millisecond.
 */
#include "clock.h"

#include <stdbool.h>
#include <stddef.h>

#include "lib/printf.h"
#include "sink.h"
#include "port.h"
#include "x86.h"

#define PIT_HZ 1193182
#define PIT_CHANNEL2 0x42
#define PIT_COMMAND 0x43
#define PIT_CONTROL 0x61 /* bit 0: channel 2 counts; bit 1: speaker; bit 5: it has reached 0 */

#define PIT_LATCH_CHANNEL2 0x80
#define PIT_COUNT_DOWN_CHANNEL2 0xb0 /* low byte, then high byte; mode 0: counts down once */
#define PIT_GATE 0x01
#define PIT_SPEAKER 0x02
#define PIT_REACHED_0 0x20

#define PIT_SPAN (PIT_HZ / 1000) /* counts to measure over: 1 ms */
/* A poll takes a microsecond on hardware and some 25 instructions under -icount, where an
 * instruction is a nanosecond: one span is 1,000 to 40,000 polls. */
#define PIT_POLLS_MAX 100000

#define HZ_MIN 10000000ull     /* slower than any processor with a 64-bit mode */
#define HZ_MAX 100000000000ull /* faster than any */
#define HZ_DEFAULT 1000000000ull

/* ns = (ticks - start) * mult >> 32.  10^9 << 32 fits in 64 bits, and the product has 128. */
static uint64_t start;
static uint64_t mult = 1ull << 32;

/* 0 if neither gives it. */
static uint64_t cpuid_hz(void)
{
	struct cpuid id = cpuid(0);

	if (id.eax >= 0x15) {
		id = cpuid(0x15);
		if (id.eax != 0 && id.ebx != 0 && id.ecx != 0)
			return (uint64_t)id.ecx * id.ebx / id.eax;
	}
	if (cpuid(1).ecx & 1u << 31) {
		id = cpuid(0x40000000);
		if (id.eax >= 0x40000010 && id.eax < 0x40010000)
			return cpuid(0x40000010).eax * 1000ull;
	}
	return 0;
}

static void pit_start(void)
{
	outb(PIT_CONTROL, (inb(PIT_CONTROL) & ~PIT_SPEAKER) | PIT_GATE);
	outb(PIT_COMMAND, PIT_COUNT_DOWN_CHANNEL2);
	outb(PIT_CHANNEL2, 0xff);
	outb(PIT_CHANNEL2, 0xff);
}

static uint32_t pit_count(void)
{
	uint32_t low;

	outb(PIT_COMMAND, PIT_LATCH_CHANNEL2);
	low = inb(PIT_CHANNEL2);
	return low | (uint32_t)inb(PIT_CHANNEL2) << 8;
}

struct clock_sample clock_sample(uint32_t (*read_count)(void))
{
	struct clock_sample s = {0, 0};
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 4; i++) {
		uint64_t before = port_ticks();
		uint32_t count = read_count();
		uint64_t took = port_ticks() - before;

		if (took < least) {
			least = took;
			s = (struct clock_sample){before + took / 2, count};
		}
	}
	return s;
}

/* 0 if the timer doesn't count, or reached 0 because a hypervisor ran something else. */
static uint64_t measured_hz(void)
{
	struct clock_sample from, to;
	int polls = PIT_POLLS_MAX;

	pit_start();
	from = clock_sample(pit_count);
	while (pit_count() + PIT_SPAN > from.count && --polls > 0)
		;
	to = clock_sample(pit_count);
	if (polls == 0 || (inb(PIT_CONTROL) & PIT_REACHED_0) || to.count >= from.count)
		return 0;
	return (to.ticks - from.ticks) * PIT_HZ / (from.count - to.count);
}

static bool is_sane(uint64_t hz)
{
	return hz >= HZ_MIN && hz <= HZ_MAX;
}

void clock_init(uint64_t entry_ticks)
{
	uint64_t hz = cpuid_hz();

	for (int tries = 0; !is_sane(hz) && tries < 3; tries++)
		hz = measured_hz();
	if (!is_sane(hz)) {
		kprintf("clock: no usable interval timer, assuming 1 GHz\n");
		hz = HZ_DEFAULT;
	}
	start = entry_ticks;
	mult = (1000000000ull << 32) / hz;
}

uint64_t port_ticks_ns(uint64_t ticks)
{
	return (uint64_t)((unsigned __int128)ticks * mult >> 32);
}

uint64_t port_ns(void)
{
	return port_ticks_ns(port_ticks() - start);
}
