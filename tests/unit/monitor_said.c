/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs lines of the monitor and keeps what they say.
 */
#include "monitor_said.h"

#include "lib/printf.h"
#include "lib/string.h"
#include "lib/test.h"
#include "monitor/monitor_impl.h"

char said[SAID_MAX];

bool run(const char *line)
{
	struct buffer_sink sink;

	buffer_sink_init(&sink, said, sizeof(said));
	return command_run_line(line, &sink.sink);
}

void check_refused(const char *line, const char *words)
{
	CHECK(!run(line));
	CHECK_STR(said, words);
}

void check_says(const char *line, const char *part)
{
	CHECK(run(line));
	test_check_contains(__FILE__, __LINE__, line, said, part);
}

bool fits_in(size_t columns)
{
	const char *line = said, *end;

	for (; (end = strchr(line, '\n')); line = end + 1)
		if ((size_t)(end - line) > columns) {
			kprintf("%.*s\n", (int)(end - line), line);
			return false;
		}
	return true;
}
