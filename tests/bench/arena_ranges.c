/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cost of a real program's requests: the ranges that the processes of a compilation mapped and
 * unmapped.  The value is per allocation with its free; it includes imports, returns, and the
 * creation of the processes' arenas.
 */
#include "../data/ranges.h"

#include "lib/bench.h"
#include "lib/panic.h"

static void row(const char *name, unsigned fit)
{
	struct range range;
	struct ranges r;
	uint64_t start;

	ranges_begin(&r, fit, 0);
	start = port_ticks();
	for (size_t i = 0; i < gcc_ranges_count; i++)
		ranges_step(&r, gcc_ranges_words[i], &range);
	bench_row(name, r.born, bench_per(port_ticks() - start, r.born), "instr");
	if (ranges_end(&r) != 0)
		panic("bench: ranges are left");
}

BENCH("ranges_instant")
{
	row("ranges_instant", ARENA_INSTANTFIT);
}

BENCH("ranges_best")
{
	row("ranges_best", ARENA_BESTFIT);
}

BENCH("ranges_next")
{
	row("ranges_next", ARENA_NEXTFIT);
}
