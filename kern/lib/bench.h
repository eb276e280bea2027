/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Benchmarks that run inside the kernel and print rows for scripts.
 *
 *	BENCH("arena_pair")
 *	{
 *		uint64_t start = port_ticks();
 *		...
 *		bench_row("arena_pair", 1000, bench_per(port_ticks() - start, operations), "instr");
 *	}
 *
 * A benchmark is a function of its own, in a file of tests/bench; the macro links it into the set
 * of benchmarks in the image.  port_ticks() counts instructions under scripts/qemu --icount.
 * Elsewhere it counts time, and a row is good only for comparison with the same row on the same
 * machine.  BENCH_CLOCK("arena_pair") defines a benchmark for that: it prints its rows several
 * times, in unit `ticks`, and runs only when asked for.
 */
#ifndef SPANDREL_BENCH_H
#define SPANDREL_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "sink.h"
#include "port.h"

struct bench {
	const char *name; /* of its first row; a filter is looked for in it */
	void (*run)(void);
	bool by_clock; /* defined by BENCH_CLOCK */
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

/* total / count, rounded to the nearest. */
static inline uint64_t bench_per(uint64_t total, uint64_t count)
{
	return (total + count / 2) / count;
}

/* Runs the benchmarks with this `by_clock` and with `filter` in their name (NULL or "": all);
 * returns how many.  Ctrl-C ends the run after the one that runs.  Context: a thread, interrupts on. */
unsigned bench_run(const char *filter, bool by_clock, struct sink *sink);

#endif
