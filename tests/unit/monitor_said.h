/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a line of the monitor says: for tests of commands.
 */
#ifndef SPANDREL_TESTS_MONITOR_SAID_H
#define SPANDREL_TESTS_MONITOR_SAID_H

#include <stdbool.h>
#include <stddef.h>

#define SAID_MAX 65536

extern char said[SAID_MAX]; /* by the last line */

/* Runs a line; whether its commands did what they were asked for. */
bool run(const char *line);

/* The line must be refused in just these words. */
void check_refused(const char *line, const char *words);

/* It must do what it is asked for, and say `part` among other things. */
void check_says(const char *line, const char *part);

/* Whether no line of what was said is wider than `columns`. */
bool fits_in(size_t columns);

#endif
