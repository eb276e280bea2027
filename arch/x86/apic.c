/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC through its memory-mapped registers (Intel SDM volume 3, chapter 11).  Each core
 * finds its own at the same address.
 */
#include "apic.h"

#include <stddef.h>

#include "clock.h"
#include "firmware.h"
#include "paging.h"
#include "port.h"
#include "refuse.h"
#include "x86.h"

#define MSR_APIC_BASE 0x1b
#define BASE_ENABLED (1u << 11)
#define BASE_X2APIC (1u << 10)
#define BASE_ADDRESS 0xffffff000ull

#define CPUID_APIC (1u << 9) /* leaf 1, edx */

#define REG_TASK_PRIORITY 0x080
#define REG_END 0x0b0
#define REG_SPURIOUS 0x0f0
#define REG_COMMAND 0x300 /* writing it sends */
#define REG_COMMAND_TARGET 0x310
#define REG_TIMER 0x320
#define REG_LINT0 0x350
#define REG_LINT1 0x360
#define REG_INITIAL_COUNT 0x380
#define REG_COUNT 0x390
#define REG_DIVIDER 0x3e0

#define SPURIOUS_ENABLE 0x100
#define LOCAL_MASKED 0x10000
#define LOCAL_NMI 0x400
#define LOCAL_8259 0x700
#define DIVIDE_BY_1 0xb

#define COMMAND_NMI 0x00400
#define COMMAND_INIT 0x00500
#define COMMAND_START 0x00600
#define COMMAND_PENDING 0x01000
#define COMMAND_ASSERT 0x04000
#define COMMAND_SELF 0x40000
#define COMMAND_OTHERS 0xc0000
#define COMMAND_POLLS_MAX 1000000 /* a send takes microseconds */

#define CALIBRATE_NS 200000
#define COUNT_MAX UINT32_MAX

static volatile uint8_t *registers;

/* counts = ns * rate >> 32 */
static uint64_t rate;

static uint32_t apic_read(unsigned reg)
{
	return *(volatile uint32_t *)(registers + reg);
}

static void apic_write(unsigned reg, uint32_t value)
{
	*(volatile uint32_t *)(registers + reg) = value;
}

static uint32_t timer_count(void)
{
	return apic_read(REG_COUNT);
}

static void measure_rate(void)
{
	struct clock_sample from, to;
	uint64_t ns;

	apic_write(REG_DIVIDER, DIVIDE_BY_1);
	apic_write(REG_TIMER, LOCAL_MASKED);
	apic_write(REG_INITIAL_COUNT, COUNT_MAX);
	from = clock_sample(timer_count);
	do {
		to = clock_sample(timer_count);
		ns = port_ticks_ns(to.ticks - from.ticks);
	} while (ns < CALIBRATE_NS);
	apic_write(REG_INITIAL_COUNT, 0);
	rate = ((uint64_t)(from.count - to.count) << 32) / ns;
}

/* x2APIC mode has other registers; it can be left only by turning the APIC off first. */
static uint64_t enable(void)
{
	uint64_t base = read_msr(MSR_APIC_BASE);

	if (base & BASE_X2APIC)
		write_msr(MSR_APIC_BASE, base & ~(uint64_t)(BASE_ENABLED | BASE_X2APIC));
	base = (base & ~(uint64_t)BASE_X2APIC) | BASE_ENABLED;
	write_msr(MSR_APIC_BASE, base);
	return base & BASE_ADDRESS;
}

void apic_init(void)
{
	uint64_t base;

	if (!(cpuid(1).edx & CPUID_APIC))
		refuse("this processor has no local APIC");
	base = enable();
	registers = paging_map_device(
		firmware.local_apics ? firmware.local_apics : base, PORT_PAGE_SIZE);
	if (!registers)
		refuse("the local APIC's registers are out of reach");
	apic_write(REG_SPURIOUS, SPURIOUS_ENABLE | APIC_SPURIOUS_VECTOR);
	measure_rate();
	if (rate == 0)
		refuse("the local APIC's timer doesn't count");
}

void apic_enter(unsigned timer_vector, unsigned nmi_lints)
{
	/* Without an I/O APIC, the 8259s interrupt core 0 through LINT0. */
	uint32_t lint0 = firmware.io_apic_count == 0 && port_core_id() == 0 ? LOCAL_8259
			 : nmi_lints & 1				     ? LOCAL_NMI
									     : LOCAL_MASKED;

	apic_write(REG_SPURIOUS, SPURIOUS_ENABLE | APIC_SPURIOUS_VECTOR);
	apic_write(REG_LINT0, lint0);
	apic_write(REG_LINT1, nmi_lints & 2 ? LOCAL_NMI : LOCAL_MASKED);
	apic_write(REG_DIVIDER, DIVIDE_BY_1);
	apic_write(REG_TIMER, timer_vector ? timer_vector : LOCAL_MASKED);
	apic_write(REG_TASK_PRIORITY, 0);
}

void apic_end(void)
{
	apic_write(REG_END, 0);
}

void apic_timer_set(uint64_t ns)
{
	unsigned __int128 counts = ((unsigned __int128)ns * rate >> 32) + (ns > 0);

	apic_write(REG_INITIAL_COUNT, counts < COUNT_MAX ? (uint32_t)counts : COUNT_MAX);
}

/* Bounded, so that an APIC that never sends can't hang a panic. */
static void send(uint32_t target, uint32_t command)
{
	for (int i = 0; i < COMMAND_POLLS_MAX && apic_read(REG_COMMAND) & COMMAND_PENDING; i++)
		port_pause();
	apic_write(REG_COMMAND_TARGET, target << 24);
	apic_write(REG_COMMAND, command | COMMAND_ASSERT);
}

void apic_send(unsigned apic, unsigned vector)
{
	send(apic, vector);
}

void apic_send_others(unsigned vector)
{
	send(0, vector | COMMAND_OTHERS);
}

/* The target register stays as it is: an NMI may have landed between its write and the command's. */
void apic_send_self(unsigned vector)
{
	apic_write(REG_COMMAND, vector | COMMAND_SELF | COMMAND_ASSERT);
}

void apic_send_nmi(unsigned apic)
{
	send(apic, COMMAND_NMI);
}

void apic_send_init(unsigned apic)
{
	send(apic, COMMAND_INIT);
}

void apic_send_start(unsigned apic, uint64_t page)
{
	send(apic, COMMAND_START | (uint32_t)(page >> 12));
}
