/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Breaking a word of the subsystem's own, and mending it.
 */
#include "broken.h"

#include "lib/string.h"
#include "lib/test.h"

void broken_check(int (*check)(struct sink *sink), void *at, size_t n, uint64_t value, int invariant, const char *what)
{
	char text[200];
	struct buffer_sink sink;
	uint64_t right;
	int found, found_silently;

	CHECK_EQ(check(&console_sink), 0);
	buffer_sink_init(&sink, text, sizeof(text));
	memcpy(&right, at, n);
	memcpy(at, &value, n);
	found = check(&sink.sink);
	found_silently = check(NULL);
	memcpy(at, &right, n);
	test_check_contains(__FILE__, __LINE__, what, found ? text : "nothing", what);
	CHECK_EQ(found, invariant);
	CHECK_EQ(found_silently, invariant);
	CHECK_EQ(check(&console_sink), 0);
}
