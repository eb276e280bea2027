/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Catching panics, for tests and for the monitor after a panic.
 */
#ifndef SPANDREL_LIB_CATCH_H
#define SPANDREL_LIB_CATCH_H

#include "lib/panic.h"
#include "machine.h"

/* While a thread has a catch set, a panic of that thread, or of a handler that
 * interrupted it, prints nothing; it writes its first line into `message` and jumps to `jump`.
 * Catches nest: a panic jumps to the one that was pushed last.  panic_catch_pop(c) removes c and
 * those pushed after it. */
struct panic_catch {
	machine_jump_t jump;
	char message[PANIC_LINE_MAX];
	struct panic_catch *outer;
};
void panic_catch_push(struct panic_catch *c);
void panic_catch_pop(struct panic_catch *c);

#endif
