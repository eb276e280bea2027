/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs benchmarks.
 */
#include "lib/bench.h"

#include "lib/check.h"
#include "lib/string.h"
#include "lib/test.h"

/* The benchmarks in the image: the linker defines these two from the section's name. */
extern const struct bench *const __start_bench_set[];
extern const struct bench *const __stop_bench_set[];

static struct sink *rows;

void bench_row(const char *name, uint64_t n, uint64_t value, const char *unit)
{
	sink_printf(rows, "%s,%llu,%llu,%s\n", name, (unsigned long long)n,
		(unsigned long long)value, unit);
}

unsigned bench_run(const char *filter, bool by_clock, struct sink *sink)
{
	unsigned ran = 0;

	check_given("bench_run", "sink", sink, __builtin_return_address(0));
	rows = sink;
	sink_puts(sink, "name,n,value,unit\n");
	for (const struct bench *const *b = __start_bench_set; b < __stop_bench_set; b++) {
		if ((*b)->by_clock != by_clock || (filter && !strstr((*b)->name, filter)))
			continue;
		(*b)->run();
		ran++;
		if (test_config.is_interrupted && test_config.is_interrupted())
			break;
	}
	return ran;
}
