/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's command line: words between spaces, each `name`, `name=value` or `name="a value"`.
 * Within quotes, the character behind a backslash is taken as it is.
 *
 *	static const struct cmdline_option options[] = {{"test_seed", set_seed}};
 *	cmdline_parse(boot_info->cmdline, options, ARRAY_SIZE(options), &console_sink);
 *
 * Nothing is allocated.  Context: one caller at a time, since the value lies in a static buffer
 * (boot stacks are small).  Cost: linear in the text times the options.
 */
#ifndef SPANDREL_CMDLINE_H
#define SPANDREL_CMDLINE_H

#include <stddef.h>

#include "sink.h"

#define CMDLINE_NAME_MAX 32    /* bytes of a word's name, the terminating zero included */
#define CMDLINE_VALUE_MAX 2048 /* the same of its value */

struct cmdline_option {
	const char *name;
	/* Takes the value, "" if there is none.  The text is valid only during the call.  Returns
	 * NULL, or what is wrong with the value. */
	const char *(*set)(const char *value);
};

/* Hands every word to its option.  A word that is unknown, too long, or refused by its option is
 * ignored, and one plain line on `sink` says so. */
void cmdline_parse(
	const char *text, const struct cmdline_option *options, size_t count, struct sink *sink);

#endif
