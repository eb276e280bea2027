/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How the cost of arenas grows, by the clock.  Each row is measured at few segments and at many, in
 * turn, so that other load on the machine affects both alike.  scripts/bench-host divides the
 * second by the first.
 */
#include "arena_layout.h"
#include "lib/bench.h"
#include "lib/panic.h"

#define FEW 1000
#define MANY 1000000
#define ROUNDS 21

static void need_room(void)
{
	if (!bench_has_room(MANY))
		panic("bench: too little memory, --mem 2G is enough");
}

static void hard_round(struct layout *l)
{
	bench_row(l->rows->name, l->holes, layout_pair(l, true), "ticks");
	bench_row(l->rows->name_fail, l->holes, layout_pair(l, false), "ticks");
}

static void hard_clock(const struct hard_rows *rows)
{
	struct layout few, many;

	need_room();
	layout_make(&few, rows, FEW);
	layout_make(&many, rows, MANY);
	for (int i = 0; i < ROUNDS; i++) {
		hard_round(&few);
		hard_round(&many);
	}
	layout_end(&many);
	layout_end(&few);
}

BENCH_CLOCK("bestfit")
{
	hard_clock(&hard_bestfit);
}

BENCH_CLOCK("nextfit")
{
	hard_clock(&hard_nextfit);
}

BENCH_CLOCK("xalloc_align")
{
	hard_clock(&hard_align);
}

BENCH_CLOCK("xalloc_nocross")
{
	hard_clock(&hard_nocross);
}

BENCH_CLOCK("xalloc_window")
{
	hard_clock(&hard_window);
}

static void cycles_round(struct row *r)
{
	bench_row("arena_pair", r->n, bench_pair(r->arena, 1, MEM_WAIT), "ticks");
	bench_row("arena_pair.atomic", r->n, bench_pair(r->arena, 1, MEM_ATOMIC), "ticks");
	bench_row("arena_random", r->n, row_random(r, MEM_WAIT), "ticks");
	bench_row("arena_random.atomic", r->n, row_random(r, MEM_ATOMIC), "ticks");
}

BENCH_CLOCK("arena_pair")
{
	struct row few, many;

	need_room();
	row_make(&few, FEW);
	row_make(&many, MANY);
	for (int i = 0; i < ROUNDS; i++) {
		cycles_round(&few);
		cycles_round(&many);
	}
	row_end(&many);
	row_end(&few);
}
