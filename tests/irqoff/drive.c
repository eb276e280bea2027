/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The drive's parts one after the other, and the rows of what was measured.
 */
#include "drive.h"

#include "irqoff.h"
#include "lib/symbol.h"
#include "lib/test.h"
#include "port.h"

static void null_write(struct sink *sink, const char *text, size_t n)
{
}

struct sink null_sink = {null_write, NULL};

static uint64_t net(const struct irqoff_stretch *s)
{
	uint64_t overhead = irqoff_overhead();

	return s->max > overhead ? s->max - overhead : 0;
}

static const char *function_name(uint64_t function)
{
	if (function == IRQOFF_CONTENDED)
		return "contended";
	return function ? irqoff_names[function - 1] : "boot";
}

static uint64_t print_function(uint64_t function)
{
	uint64_t most = 0, begun = 0;

	for (size_t i = 0; i < irqoff_slots; i++) {
		const struct irqoff_stretch *s = &irqoff_table[i];
		uintptr_t offset;
		const char *site;

		if (!s->site || s->function != function)
			continue;
		site = symbol_find(s->site, &offset);
		kprintf("irqoff_max.%s.%s+%#zx,%llu,%llu,instr\n", function_name(function),
			site ? site : "?", offset, (unsigned long long)s->count,
			(unsigned long long)net(s));
		most = net(s) > most ? net(s) : most;
		begun += s->count;
	}
	kprintf("irqoff_max.%s,%llu,%llu,instr\n", function_name(function), (unsigned long long)begun,
		(unsigned long long)most);
	return most;
}

uint64_t drive_print(void)
{
	uint64_t most = 0;

	for (uint64_t f = 0; f <= IRQOFF_CONTENDED; f++) {
		uint64_t m = print_function(f);

		most = m > most ? m : most;
	}
	kprintf("irqoff_max,%u,%llu,instr\n", port_core_count(), (unsigned long long)most);
	return most;
}

static size_t print_missed(void)
{
	size_t missed = 0;

	for (uint64_t i = 0; i < irqoff_count; i++) {
		if (irqoff_calls[i] > 0)
			continue;
		kprintf("irqoff: nothing drives %s\n", irqoff_names[i]);
		missed++;
	}
	return missed;
}

TEST("irqoff: every public function is driven, no stretch is longer than its budget")
{
	uint64_t most;

	drive_threads();
	drive_waiters();
	drive_shortage();
	drive_devices();
	drive_disks();
	drive_caches();
	drive_debug();
	drive_arenas();
	drive_unindexed();
	drive_reclaim();
	drive_works();
	drive_segments();
	most = drive_print();
	CHECK_EQ(print_missed(), 0);
	CHECK_LE(most, DRIVE_BUDGET);
}
