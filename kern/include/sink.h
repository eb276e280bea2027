/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sinks and the printf family: where text goes, and how it gets there.
 *
 * Whatever shows something takes a sink, so the serial console, a panic, a host terminal and a test
 * share one code path.
 *
 *	kprintf("%zu pages free\n", n);                  to the console
 *	sink_printf(sink, "%-16s %5u\n", name, n);       wherever the caller wants it
 *	ksnprintf(buf, sizeof(buf), "core %u", id);      into a buffer
 *
 * Conversions: %d %i %u %x %X %o %c %s %p %% with flags - + space 0 #, width and precision (also
 * *), and lengths hh h l ll z t j.  No floating point.  Two of our own ride on %p, as the
 * compiler's format check passes over what follows it:
 *	%pS  the symbol an address lies in: name+0x12
 *	%pB  a size in bytes, const uint64_t *, in IEC units with one decimal: 12.3 MiB, 4.0 KiB, 17 B
 *
 * Nothing here allocates or takes a lock; any context may call it.  Cost: linear in the text.
 */
#ifndef SPANDREL_LIB_SINK_H
#define SPANDREL_LIB_SINK_H

#include <stdarg.h>
#include <stddef.h>

struct sink {
	void (*write)(struct sink *sink, const char *text, size_t n);
};

/* The console of the port. */
extern struct sink console_sink;

/* A sink over a caller's buffer: keeps the first size - 1 bytes and a terminating zero, counts all. */
struct buffer_sink {
	struct sink sink;
	char *buf;
	size_t size;
	size_t length; /* bytes written to it so far, kept or not */
};

/* Readies `b` to write into buf[0 .. size); size may be 0, then it only counts. */
void buffer_sink_init(struct buffer_sink *b, char *buf, size_t size);

void sink_write(struct sink *sink, const char *text, size_t n);
void sink_puts(struct sink *sink, const char *text); /* no newline added */
void sink_fill(struct sink *sink, char c, size_t n); /* c, n times */

/* Each returns the number of bytes the whole text has, whether or not it fit. */
size_t sink_vprintf(struct sink *sink, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
size_t sink_printf(struct sink *sink, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
