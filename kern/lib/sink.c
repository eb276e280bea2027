/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sinks: the console and buffers.
 */
#include "sink.h"

#include "lib/check.h"
#include "lib/list.h"
#include "lib/string.h"
#include "port.h"

static void console_write(struct sink *sink, const char *text, size_t n)
{
	port_console_write(text, n);
}

struct sink console_sink = {console_write, NULL};

static void buffer_write(struct sink *sink, const char *text, size_t n)
{
	struct buffer_sink *b = container_of(sink, struct buffer_sink, sink);
	size_t room = b->length + 1 < b->size ? b->size - 1 - b->length : 0;
	size_t kept = n < room ? n : room;

	if (kept > 0) {
		memcpy(b->buf + b->length, text, kept);
		b->buf[b->length + kept] = '\0';
	}
	b->length += n;
}

void buffer_sink_init(struct buffer_sink *b, char *buf, size_t size)
{
	check_given("buffer_sink_init", "sink", b, __builtin_return_address(0));
	*b = (struct buffer_sink){{buffer_write, NULL}, buf, size, 0};
	if (size > 0)
		buf[0] = '\0';
}

void sink_write(struct sink *sink, const char *text, size_t n)
{
	check_given("sink_write", "sink", sink, __builtin_return_address(0));
	if (n > 0)
		sink->write(sink, text, n);
}

void sink_puts(struct sink *sink, const char *text)
{
	check_given("sink_puts", "sink", sink, __builtin_return_address(0));
	sink_write(sink, text, strlen(text));
}

/* How much of a line fits in a row of `room` characters; it is longer than that. */
static size_t row_length(const char *line, size_t room)
{
	for (size_t n = room; n > 0; n--)
		if (line[n] == ' ')
			return n;
	return room;
}

void sink_put_line(struct sink *sink, const char *line)
{
	size_t left = strlen(line), room = SINK_COLUMNS;

	check_given("sink_put_line", "sink", sink, __builtin_return_address(0));
	while (left > room) {
		size_t n = row_length(line, room), used = n + (line[n] == ' ');

		sink_write(sink, line, n);
		sink_puts(sink, "\n    ");
		line += used;
		left -= used;
		room = SINK_COLUMNS - 4;
	}
	sink_puts(sink, line);
	sink_puts(sink, "\n");
}

void sink_fill(struct sink *sink, char c, size_t n)
{
	char run[32];

	check_given("sink_fill", "sink", sink, __builtin_return_address(0));
	memset(run, c, n < sizeof(run) ? n : sizeof(run));
	for (; n > sizeof(run); n -= sizeof(run))
		sink_write(sink, run, sizeof(run));
	sink_write(sink, run, n);
}
