/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sinks, which take text, and the printf family, which writes to them.
 *
 * Each function that shows something takes a sink, so the serial console, a panic, a host terminal
 * and a test share one code path.
 *
 *	sink_printf(&console_sink, "%zu pages free\n", n);     to the console
 *	sink_printf(sink, "%-16s %5u\n", name, n);             to a sink
 *	buffer_sink_init(&b, buf, sizeof(buf));                 to a buffer
 *	sink_printf(&b.sink, "core %u", id);
 *
 * Conversions: %d %i %u %x %X %o %c %s %p %% with flags - + space 0 #, width and precision (also
 * *), and lengths hh h l ll z t j.  No floating point.  There are two more.  They begin with %p, so
 * that the compiler's format check accepts them:
 *	%pS  the symbol an address lies in: name+0x12
 *	%pB  a size in bytes, const uint64_t *, in IEC units with one decimal: 12.3 MiB, 17 B
 *
 * Nothing here allocates or takes a lock; any context may call it.  Cost: linear in the text.  Panics if a
 * sink is NULL.
 */
#ifndef SPANDREL_LIB_SINK_H
#define SPANDREL_LIB_SINK_H

#include <stdarg.h>
#include <stddef.h>

struct table_order;

struct sink {
	void (*write)(struct sink *sink, const char *text, size_t n);
	struct table_order *order; /* NULL, or what puts rows of tables in order (table.h) */
};

/* The console of the port. */
extern struct sink console_sink;

#define SINK_COLUMNS 80 /* characters of the longest row for people */

/* A sink over a caller's buffer: keeps the first size - 1 bytes and a terminating zero, and counts
 * every byte. */
struct buffer_sink {
	struct sink sink;
	char *buf;
	size_t size;
	size_t length; /* bytes written to it so far, kept or not */
};

/* Makes `b` a sink over buf[0 .. size).  If size is 0, it only counts. */
void buffer_sink_init(struct buffer_sink *b, char *buf, size_t size);

void sink_write(struct sink *sink, const char *text, size_t n);
void sink_puts(struct sink *sink, const char *text); /* no newline added */
void sink_fill(struct sink *sink, char c, size_t n); /* c, n times */

/* A line and its newline, in rows of at most SINK_COLUMNS: it is broken at spaces, and rows after the
 * first begin with four.  A word that fits in no row is broken too. */
void sink_put_line(struct sink *sink, const char *line);

/* Each returns the number of bytes of the whole text, also if not all of it fitted. */
size_t sink_vprintf(struct sink *sink, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
size_t sink_printf(struct sink *sink, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
