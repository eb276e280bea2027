/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Restartable sequences (Bershad, Redell and Ellis, "Fast Mutual Exclusion for Uniprocessors",
 * ASPLOS 1992): a core's steps on its own data need no lock and no atomic instruction, if a step
 * that is interrupted restarts.
 */
#include "restart.h"

#include "core.h"
#include "machine.h"
#include "port.h"

/* Defined by the linker. */
extern struct port_sequence __start_port_sequences[], __stop_port_sequences[];

/* Insertion sort, since the linker leaves the table almost sorted. */
void restart_init(void)
{
	struct port_sequence *first = __start_port_sequences, *end = __stop_port_sequences;

	for (struct port_sequence *s = first; s < end; s++) {
		struct port_sequence moved = *s;
		struct port_sequence *to = s;

		for (; to > first && to[-1].start > moved.start; to--)
			*to = to[-1];
		*to = moved;
	}
}

const struct port_sequence *restart_sequences(size_t *count)
{
	*count = (size_t)(__stop_port_sequences - __start_port_sequences);
	return __start_port_sequences;
}

/* The last sequence that starts below rip, or NULL. */
static const struct port_sequence *sequence_below(uintptr_t rip)
{
	size_t count, low = 0;
	const struct port_sequence *s = restart_sequences(&count);
	size_t high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (s[middle].start < rip)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? &s[low - 1] : NULL;
}

void restart_rewind(struct trap_frame *frame)
{
	const struct port_sequence *s = sequence_below(frame->rip);

	if (!s || frame->rip >= s->end)
		return;
	frame->rip = s->start;
	core_self()->restarts++;
}

uint64_t machine_stack_restarts(unsigned core)
{
	return __atomic_load_n(&cores[core]->restarts, __ATOMIC_RELAXED);
}
