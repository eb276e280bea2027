/* SPDX-License-Identifier: BSD-2-Clause */
#include "costs.h"

#include "lib/bench.h"
#include "lib/panic.h"
#include "lib/printf.h"
#include "port.h"

#define STEP 16 /* from one size to the next */
#define SIZES 3

static uint64_t least_of(const struct cost *c, size_t n)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < COST_TIMES; i++) {
		uint64_t start = port_ticks(), took;

		c->run(n);
		took = port_ticks() - start;
		least = took < least ? took : least;
	}
	return least;
}

void costs_count(const struct cost *costs, size_t count)
{
	for (const struct cost *c = costs; c < costs + count; c++) {
		size_t n = c->most / (STEP * STEP);
		char name[64];

		ksnprintf(name, sizeof(name), "cost.%s", c->name);
		for (int i = 0; i < SIZES; i++, n *= STEP) {
			c->make(n);
			bench_row(name, n, least_of(c, n), "instr");
			c->end(n);
		}
	}
}
