/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stretches with interrupts off: where each began, and the longest of each site.
 */
#include "../core.h"
#include "irqoff.h"
#include "lib/hash.h"
#include "lib/panic.h"
#include "machine.h"
#include "port.h"
#include "spinlock.h"

/* Sites are places in the image, and a function reaches few of them: few slots are used. */
#define SLOTS 16384

struct irqoff_stretch irqoff_table[SLOTS];
const size_t irqoff_slots = SLOTS;
uint64_t irqoff_function;

bool irqoff_contended;
uint64_t irqoff_waits;

/* What a core is in; site 0: in none. */
static struct open {
	uint64_t begin;
	uintptr_t site;
	bool is_cut;
} open[CORES_MAX];

static unsigned last; /* the core that came last to an end of a stretch or of a wait */

/* The counter is read last here and first in irqoff_end(). */
void irqoff_begin(void)
{
	unsigned core = port_core_id();

	last = core;
	open[core].is_cut = false;
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
			*s = (struct irqoff_stretch){.site = site, .function = function};
		if (s->site == site && s->function == function)
			return s;
	}
	return NULL;
}

static void book(uintptr_t site, uint64_t ticks, bool cut)
{
	struct irqoff_stretch *s;

	while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE))
		port_pause();
	s = slot_of(site, irqoff_contended ? IRQOFF_CONTENDED : irqoff_function);
	if (s && cut) {
		s->cut++;
	} else if (s) {
		s->count++;
		if (ticks > s->max)
			s->max = ticks;
	}
	__atomic_clear(&lock, __ATOMIC_RELEASE);
	if (!s)
		panic("irqoff: more than %u sites", SLOTS);
}

static bool is_cut(unsigned core)
{
	return open[core].is_cut || last != core;
}

/* Also reached, with nothing open, where interrupts first come on. */
void irqoff_end(void)
{
	uint64_t end = port_ticks();
	unsigned core = port_core_id();
	uintptr_t site = open[core].site;
	bool cut = is_cut(core);

	last = core;
	open[core].site = 0;
	if (site)
		book(site, end - open[core].begin, cut);
}

void __real_spin_wait(struct spinlock *l, port_irq_t irq);
void __wrap_spin_wait(struct spinlock *l, port_irq_t irq);

/* The linker puts it in front of spin_wait().  The stretch goes on behind the wait as if there had
 * been none; where interrupts were on meanwhile it begins anew, of the same site. */
void __wrap_spin_wait(struct spinlock *l, port_irq_t irq)
{
	uint64_t now = port_ticks();
	unsigned core = port_core_id();
	struct open before = open[core];
	bool was_on = machine_irq_were_enabled(irq), cut = is_cut(core);

	__atomic_fetch_add(&irqoff_waits, 1, __ATOMIC_RELAXED);
	last = core;
	open[core].is_cut = cut; /* of what ends where interrupts come on in the wait */
	__real_spin_wait(l, irq);
	core = port_core_id();
	last = core;
	open[core].site = before.site;
	open[core].is_cut = !was_on && cut;
	open[core].begin = port_ticks() - (was_on ? 0 : now - before.begin);
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
