/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Panics: the end of a kernel that found a caller's bug or its own.
 *
 * The first line is enough by itself: what was violated, on what, with which values.  After it come
 * core and thread, a symbolised backtrace and whatever the hooks add (a short table of memory);
 * then the panic monitor if one is installed, and port_stop(PORT_STOP_PANIC).  Other cores are
 * frozen first.  A panic inside a panic stops at once.
 *
 * Context: any.  The subsystem's own panics are raised with every lock released, so that a test can
 * catch one and go on.
 */
#ifndef SPANDREL_LIB_PANIC_H
#define SPANDREL_LIB_PANIC_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/list.h"
#include "lib/printf.h"
#include "port.h"

/* Where a panic happened, when that isn't the caller of panic(): a trap. */
struct panic_site {
	uintptr_t pc;	 /* printed first in the backtrace; 0: none */
	uintptr_t frame; /* frame pointer to walk from; 0: the caller's */
	void (*print)(struct sink *sink, const void *arg); /* registers; may be NULL */
	const void *arg;
};

/* Never returns.  fmt makes the first line, without a newline. */
void panic(const char *fmt, ...) __attribute__((noreturn, cold, format(printf, 1, 2)));
void panic_at(const struct panic_site *site, const char *fmt, ...)
	__attribute__((noreturn, cold, format(printf, 2, 3)));

/* Whether this kernel has panicked: what runs now does so in the panic monitor. */
bool panic_happened(void);

/* Adds to every panic's report.  Print only what can be read without a lock. */
struct panic_hook {
	struct list link;
	void (*print)(struct sink *sink);
};
void panic_add_hook(struct panic_hook *hook);

/* Has `print` add to the report's second line who panicked, beside the core: ", ktask 7 (writer)".
 * It takes no lock. */
void panic_set_who(void (*print)(struct sink *sink));

/* Called after the report, instead of stopping; it may return. */
void panic_set_monitor(void (*monitor)(void));

/* Catching: while a thread has one set, its panic (or one in an interrupt of it) formats its first
 * line into `message` and jumps there instead of reporting.  For tests.  Catches nest;
 * panic_catch_pop(c) removes c and those set inside it. */
struct panic_catch {
	port_jump_t jump;
	char message[512];
	struct panic_catch *outer;
};
void panic_catch_push(struct panic_catch *c);
void panic_catch_pop(struct panic_catch *c);

/* Checks what must hold in our own code; the expression is the report. */
#define ASSERT(x)                                                                                  \
	do {                                                                                       \
		if (__builtin_expect(!(x), 0))                                                     \
			panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #x);              \
	} while (0)

#endif
