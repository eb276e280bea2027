/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The line editor: takes the bytes that a terminal sends, one by one, and shows the line they make.
 *
 *	editor_begin(&editor);
 *	while ((result = editor_feed(&editor, machine_console_getc(true))) == EDITOR_MORE)
 *		;
 *	if (result == EDITOR_LINE)
 *		monitor_run_line(editor.line);
 *
 * editor_list_keys() lists the keys.
 *
 * A line is ASCII: a character that isn't, in UTF-8, beeps, and so does one more where the line is full;
 * such a line is refused at its end, unless it was made shorter.  Other bytes are ignored.  The terminal
 * understands ANSI's cursor sequences; a line that is wider than it scrolls.
 *
 * One caller at a time.  Only history_add() allocates.
 */
#ifndef SPANDREL_EDITOR_H
#define SPANDREL_EDITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "lib/list.h"
#include "monitor.h"
#include "sink.h"

#define EDITOR_COLUMNS 80
#define SOUGHT_MAX 64 /* bytes of what the history is searched for, its end included */
#define HISTORY_MAX 64 /* lines kept */
#define EDITOR_KEY_INTERRUPT 0x03 /* Ctrl-C */
#define EDITOR_KEY_ESC 0x1b /* the byte that the Escape key sends, and other keys begin with */

/* The lines that were entered, oldest first, each in memory of `arena`. */
struct history {
	struct arena *arena;
	struct list lines;
	unsigned count;
};

/* Makes an empty history that takes its memory from `arena`. */
void history_init(struct history *h, struct arena *arena);

/* Adds a copy of `line`, unless it is blank or the same as the last one.  If there is no memory for
 * it, the oldest lines are freed until there is; if that isn't enough, the line isn't added.
 * Context: not in an interrupt. */
void history_add(struct history *h, const char *line);

/* The line that was added `back` lines ago, 1 being the last one; NULL if there is none. */
const char *history_get(const struct history *h, unsigned back);

/* Frees all lines. */
void history_clear(struct history *h);

/* Calls offer() with every word that could stand where the last word of text[0 .. length) stands.
 * The editor picks those that begin with what has been typed of it. */
typedef void (*editor_complete_fn)(
	const char *text, size_t length, void (*offer)(void *arg, const char *word), void *arg);

enum editor_result {
	EDITOR_MORE,   /* the line isn't complete */
	EDITOR_LINE,   /* `line` was entered */
	EDITOR_CLOSED, /* the input has ended */
};

/* How much of an escape sequence has come. */
enum editor_escape {
	EDITOR_PLAIN,    /* nothing */
	EDITOR_ESCAPE,   /* ESC */
	EDITOR_SEQUENCE, /* ESC [ and any parameters */
	EDITOR_SINGLE,   /* ESC O */
};

struct editor {
	/* The caller's; fixed while a line is read. */
	struct sink *sink;
	const char *prompt;
	struct history *history;     /* NULL: none */
	editor_complete_fn complete; /* NULL: none */
	unsigned columns;	     /* of the terminal; 0: EDITOR_COLUMNS */

	char line[MONITOR_LINE_MAX]; /* always terminated */
	size_t length, cursor;       /* cursor <= length */
	size_t left;                 /* index of the first byte shown, <= cursor */
	size_t excess;               /* bytes that didn't fit; 0 again once something is deleted */

	enum editor_escape escape;
	unsigned parameter;   /* the sequence's first parameter */
	bool parameter_ended; /* a byte other than a digit came after it */
	bool after_return;    /* the last byte was a carriage return: a newline is ignored now */

	unsigned back;                /* 0: a new line is shown; else history_get(back) */
	char draft[MONITOR_LINE_MAX]; /* the new line, while one of the history is shown */

	bool is_searching;	 /* the history, for `sought` */
	char sought[SOUGHT_MAX]; /* always terminated */
	size_t sought_length;
};

/* Empties the line and shows the prompt. */
void editor_begin(struct editor *e);

/* Writes what each key does, a line for each. */
void editor_list_keys(struct sink *sink);

/* Takes what machine_console_getc() returned. */
enum editor_result editor_feed(struct editor *e, int byte);

#endif
