/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Panics where the subsystem is linked into another kernel: the port is told, in one line, and ends it.  Its
 * report is its own, so nothing is frozen, and no panic has happened before.
 */
#include "lib/panic.h"

static __attribute__((noreturn, format(printf, 1, 0))) void tell(const char *fmt, va_list ap)
{
	char line[PANIC_LINE_MAX];

	kvsnprintf(line, sizeof(line), fmt, ap);
	port_bug(line);
}

void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(fmt, ap);
}

/* What is known of an object goes to the console, if the port has one. */
void panic_at(const struct panic_site *site, const char *fmt, ...)
{
	va_list ap;

	if (site->print)
		site->print(&console_sink, site->arg);
	va_start(ap, fmt);
	tell(fmt, ap);
}

bool panic_happened(void)
{
	return false;
}

bool panic_is_mine(void)
{
	return false;
}
