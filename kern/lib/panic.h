/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Panics: how the kernel ends when it has found a bug, a caller's or its own.
 *
 * A panic first freezes the other cores.  Then it prints a report: a first line that is enough by
 * itself (what was violated, on what, with which values), in rows as sink_put_line() has them; core and
 * thread, a symbolised backtrace, and what the hooks add (a short table of memory).  Then it runs the panic monitor, if one is
 * installed, and calls machine_stop(MACHINE_STOP_PANIC).  A panic during a panic prints one line and
 * stops.
 *
 * Context: any.  The subsystem panics with every lock released, so that a test can catch the panic
 * and go on.
 */
#ifndef SPANDREL_LIB_PANIC_H
#define SPANDREL_LIB_PANIC_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/list.h"
#include "lib/printf.h"
#include "port.h"

#define PANIC_LINE_MAX 512 /* bytes of a first line, its end included */

/* Where a panic happened, if that isn't where panic() was called: a trap. */
struct panic_site {
	uintptr_t pc;	 /* printed first in the backtrace; 0: none */
	uintptr_t frame; /* frame pointer to walk from; 0: the caller's */
	void (*print)(struct sink *sink, const void *arg); /* prints registers; may be NULL */
	const void *arg;
	bool shows_all; /* the report has backtraces of every core and thread, not only of what panicked */
};

/* Never return.  `fmt` and its values are the first line, without the newline. */
void panic(const char *fmt, ...) __attribute__((noreturn, cold, format(printf, 1, 2)));
void panic_at(const struct panic_site *site, const char *fmt, ...)
	__attribute__((noreturn, cold, format(printf, 2, 3)));

/* Whether this kernel has panicked: then only the panic monitor runs. */
bool panic_happened(void);

/* Whether the caller's core is the one that reports a panic.  Nothing else runs then: what was locked
 * stays locked for good, so spinlocks and qlocks let it pass. */
bool panic_is_mine(void);

/* A hook prints at the end of every panic's report.  It may only read what needs no lock. */
struct panic_hook {
	struct list link;
	void (*print)(struct sink *sink);
};
void panic_add_hook(struct panic_hook *hook);

/* Has `print` name the running thread in the report's second line, behind the core's number:
 * ", ktask 7 (writer)".  It may only read what needs no lock. */
void panic_set_who(void (*print)(struct sink *sink));

/* Has `print` print the backtraces of threads that don't run, for a report that shows all. */
void panic_set_threads(void (*print)(struct sink *sink));

/* Has `monitor` called after the report; if it returns, the kernel stops. */
void panic_set_monitor(void (*monitor)(void));

/* Checks what must hold in the kernel's own code; the panic prints the expression. */
#define ASSERT(x)                                                                                  \
	do {                                                                                       \
		if (__builtin_expect(!(x), 0))                                                     \
			panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #x);              \
	} while (0)

#endif
