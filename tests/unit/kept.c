/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the console is told meanwhile.
 */
#include "kept.h"

#include "sink.h"

static char text[KEPT_MAX];
static struct buffer_sink kept;
static void (*write)(struct sink *sink, const char *bytes, size_t n);

static void keep(struct sink *sink, const char *bytes, size_t n)
{
	sink_write(&kept.sink, bytes, n);
}

void kept_begin(void)
{
	buffer_sink_init(&kept, text, sizeof(text));
	write = console_sink.write;
	__atomic_store_n(&console_sink.write, keep, __ATOMIC_RELEASE);
}

const char *kept_end(void)
{
	__atomic_store_n(&console_sink.write, write, __ATOMIC_RELEASE);
	return text;
}
