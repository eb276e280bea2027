/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Benchmarks that run inside the kernel, and print rows for scripts.
 *
 *	BENCH("arena_pair")
 *	{
 *		uint64_t start = port_ticks();
 *		...
 *		bench_row("arena_pair", 1000, bench_per(port_ticks() - start, operations), "instr");
 *	}
 *
 * A benchmark is a function of its own; the macro links it into the image's set of them, from
 * whatever file of tests/bench it stands in.  port_ticks() counts instructions under scripts/qemu
 * --icount; elsewhere what it counts is time, and the rows are good for comparing only.  One that
 * is meant for that, BENCH_CLOCK("arena_pair"), prints the same rows again and again, in unit
 * ticks; it runs only when asked for.
 */
#ifndef SPANDREL_BENCH_H
#define SPANDREL_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "sink.h"
#include "port.h"

struct bench {
	const char *name; /* the first row's; what a filter is held against */
	void (*run)(void);
	bool by_clock;
};

#define BENCH_JOIN_(a, b) a##b
#define BENCH_JOIN(a, b) BENCH_JOIN_(a, b)

#define BENCH(text) BENCH_NAMED(text, false, BENCH_JOIN(bench_, __LINE__))
#define BENCH_CLOCK(text) BENCH_NAMED(text, true, BENCH_JOIN(bench_, __LINE__))
#define BENCH_NAMED(text, by_clock, id)                                                            \
	static void BENCH_JOIN(id, _run)(void);                                                    \
	static const struct bench id = {text, BENCH_JOIN(id, _run), by_clock};                     \
	static const struct bench *const BENCH_JOIN(id, _link)                                     \
		__attribute__((section("bench_set"), used)) = &id;                                 \
	static void BENCH_JOIN(id, _run)(void)

/* Prints a row of the running benchmark: `name,n,value,unit`. */
void bench_row(const char *name, uint64_t n, uint64_t value, const char *unit);

/* What one of `count` took, rounded to the nearest. */
static inline uint64_t bench_per(uint64_t total, uint64_t count)
{
	return (total + count / 2) / count;
}

/* Runs the benchmarks whose names contain `filter` (NULL or "": all), those by the clock or the
 * others; returns how many.  Context: a thread, interrupts on. */
unsigned bench_run(const char *filter, bool by_clock, struct sink *sink);

#endif
