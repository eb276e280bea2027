/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The printf functions that write to the console and into buffers.
 *
 *	kprintf("%zu pages free\n", n);
 *	ksnprintf(buf, sizeof(buf), "core %u", id);
 *
 * Formats are those of sink.h.  Nothing here allocates or takes a lock; any context may call it.
 * Cost: linear in the text.
 */
#ifndef SPANDREL_LIB_PRINTF_H
#define SPANDREL_LIB_PRINTF_H

#include <stdarg.h>
#include <stddef.h>

#include "sink.h"

/* To the console.  Returns the number of bytes. */
size_t kprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Into buf[0 .. size), cut if it doesn't fit, always terminated unless size is 0.  Each returns the
 * number of bytes of the whole text, without the terminating zero. */
size_t ksnprintf(char *buf, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
size_t kvsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

#endif
