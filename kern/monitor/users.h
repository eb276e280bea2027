/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Users of an arena or a cache, by backtrace: what `who` and `trace` print.
 *
 *	stacks_tally_begin();
 *	stacks_tally_add(...);
 *	users_print(call, &of, USERS_ROWS);
 *	stacks_tally_end();
 */
#ifndef SPANDREL_USERS_H
#define SPANDREL_USERS_H

#include "monitor_impl.h"
#include "stacks.h"

#define USERS_ROWS 6 /* of a screen of 24 lines, of up to three lines each */

/* Whose users they are, and what has no backtrace. */
struct users {
	const char *name;
	bool in_bytes;
	bool is_oldest_first; /* else those with the most units are */
	uint64_t unknown_count, unknown_units;
};

/* Adds the segments of an arena that are in use to the tally, and to *of. */
void users_add_arena(struct users *of, struct arena *arena);

/* Why the users of an arena aren't known. */
extern const char users_not_noted[];

/* Prints the tally in its order: `most` backtraces, or under -k or -a all, and what remains in one row. */
void users_print(const struct command_call *call, const struct users *of, size_t most);

/* The table of users, for help. */
extern const struct table users_table;

/* The N of a call's argv[at], or USERS_ROWS if there is none; 0: that is no number above 0. */
size_t users_rows(const struct command_call *call, int at);

/* The frames of a backtrace without those that are the allocator's own; returns how many. */
size_t users_frames(const struct stack *stack, uintptr_t pcs[STACKS_DEPTH]);

/* All of a backtrace in one word: name+0x1,name+0x2; "-" of NULL. */
#define USERS_WORD_MAX (STACKS_DEPTH * 64)
void users_word(char text[USERS_WORD_MAX], const struct stack *stack);

#endif
