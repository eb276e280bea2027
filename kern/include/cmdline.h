/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's command line: words between spaces, each `name`, `name=value`, or `name="a value"` or
 * `"name=a value"`, as GRUB writes it.  A backslash takes the next character as it is.  A quote that isn't
 * closed holds all the rest of the line.
 *
 *	static const struct cmdline_option options[] = {{"test_seed", set_seed}};
 *	cmdline_parse(boot_info->cmdline, options, 1, &console_sink);
 *
 * Nothing is allocated and nothing is locked.
 */
#ifndef SPANDREL_CMDLINE_H
#define SPANDREL_CMDLINE_H

#include <stddef.h>

#include "sink.h"

#define CMDLINE_NAME_MAX 32    /* bytes of a word's name, its end included */
#define CMDLINE_VALUE_MAX 4096 /* and of its value: as many as a whole line may have */

struct cmdline_option {
	const char *name;
	/* Takes the value, "" if the word has none; it is gone after the call.  Returns NULL, or what
	 * is wrong with the value. */
	const char *(*set)(const char *value);
};

/* Calls for each word of `text` the set() of the option, among options[0 .. count), that has its
 * name.  A word that is unknown, too long, or refused by its option gets one plain line on `sink`;
 * the words after it are still read.  Context: as set() and the sink; one call at a time.  Cost: linear in
 * the text times the options.  Panics on a text or a sink at NULL. */
void cmdline_parse(
	const char *text, const struct cmdline_option *options, size_t count, struct sink *sink);

#endif
