/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stretches with interrupts off: where each began, and the longest of each site.
 */
#include "../core.h"
#include "irqoff.h"
#include "lib/hash.h"
#include "lib/panic.h"
#include "port.h"

/* Sites are places in the image, and a function reaches few of them: few slots are used. */
#define SLOTS 16384

struct irqoff_stretch irqoff_table[SLOTS];
const size_t irqoff_slots = SLOTS;
uint64_t irqoff_function;

/* The stretch each core is in; site 0: none. */
static struct {
	uint64_t begin;
	uintptr_t site;
} open[CORES_MAX];

/* The counter is read last here and first in irqoff_end(). */
void irqoff_begin(void)
{
	unsigned core = port_core_id();

	open[core].site = (uintptr_t)__builtin_return_address(0);
	open[core].begin = port_ticks();
}

/* Cores run one at a time where instructions are counted, but others may share the table. */
static char lock;

static struct irqoff_stretch *slot_of(uintptr_t site, uint64_t function)
{
	size_t i = hash_u64(site ^ function << 32) % SLOTS;

	for (size_t n = 0; n < SLOTS; n++, i = (i + 1) % SLOTS) {
		struct irqoff_stretch *s = &irqoff_table[i];

		if (s->site == 0)
			*s = (struct irqoff_stretch){site, function, 0, 0};
		if (s->site == site && s->function == function)
			return s;
	}
	return NULL;
}

static void count_stretch(uintptr_t site, uint64_t ticks)
{
	struct irqoff_stretch *s;

	while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE))
		port_pause();
	s = slot_of(site, irqoff_function);
	if (s) {
		s->count++;
		if (ticks > s->max)
			s->max = ticks;
	}
	__atomic_clear(&lock, __ATOMIC_RELEASE);
	if (!s)
		panic("irqoff: more than %u sites", SLOTS);
}

/* Also called without an open stretch, where interrupts first come on. */
void irqoff_end(void)
{
	uint64_t end = port_ticks();
	unsigned core = port_core_id();
	uintptr_t site = open[core].site;

	open[core].site = 0;
	if (site)
		count_stretch(site, end - open[core].begin);
}

/* The length of an empty stretch. */
uint64_t irqoff_overhead(void)
{
	static uint64_t overhead;

	if (!overhead) {
		port_irq_t irq = port_irq_save();
		uint64_t end;

		irqoff_begin();
		end = port_ticks();
		overhead = end - open[port_core_id()].begin;
		open[port_core_id()].site = 0;
		port_irq_restore(irq);
	}
	return overhead;
}
