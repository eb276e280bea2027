/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The line editor: fed with the bytes a terminal sends, it shows a line and answers when it is
 *done.
 *
 *	editor_begin(&editor);
 *	while ((result = editor_feed(&editor, port_console_getc(true))) == EDITOR_MORE)
 *		;
 *	if (result == EDITOR_LINE)
 *		monitor_run_line(editor.line);
 *
 * Keys: left, right, Home, End, Delete, backspace; ^A ^E begin and end, ^U ^K ^W kill to the begin,
 *to the end, the word before; ^C drops the line, ^D deletes or, on an empty line, ends the input;
 *^L clears the screen; up, down, ^P, ^N walk the history; Tab completes.  Bytes that are neither
 *these nor printable ASCII are passed over.  A line that is too long beeps, and is refused when it
 *ends.
 *
 * The terminal understands ANSI's cursor sequences and is EDITOR_COLUMNS wide; a longer line
 *scrolls.
 *
 * One caller at a time.  Nothing is allocated but by history_add().
 */
#ifndef SPANDREL_EDITOR_H
#define SPANDREL_EDITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "lib/list.h"
#include "sink.h"
#include "monitor.h"

#define EDITOR_COLUMNS 80
#define HISTORY_MAX 64 /* lines kept */

/* Lines as they were entered, oldest first, each in as many bytes of `arena` as it needs. */
struct history {
	struct arena *arena;
	struct list lines;
	unsigned count;
};

/* Readies an empty history that takes its memory from `arena`. */
void history_init(struct history *h, struct arena *arena);

/* Keeps a copy of `line` unless it is blank or the same as the last one.  The oldest make room for
 * it, and if even that doesn't help it is forgotten.  Context: not in an interrupt. */
void history_add(struct history *h, const char *line);

/* The line that was added `back` lines ago, 1 being the last one; NULL if there is none. */
const char *history_get(const struct history *h, unsigned back);

/* Forgets all lines and gives their memory back. */
void history_clear(struct history *h);

/* Offers every word that could stand at the end of text[0 .. length), whether or not it begins with
 * what is there. */
typedef void (*editor_complete_fn)(
	const char *text, size_t length, void (*offer)(void *arg, const char *word), void *arg);

enum editor_result {
	EDITOR_MORE,   /* the line goes on */
	EDITOR_LINE,   /* `line` is what was entered */
	EDITOR_CLOSED, /* no line will come again */
};

/* What part of an escape sequence has come; it may come a byte at a time. */
enum editor_escape {
	EDITOR_PLAIN,
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

	char line[MONITOR_LINE_MAX]; /* always terminated */
	size_t length, cursor;       /* cursor <= length */
	size_t left;                 /* where what is shown begins, <= cursor */
	size_t excess;               /* bytes refused since the line was last changed */

	enum editor_escape escape;
	unsigned parameter;   /* the first of the sequence */
	bool parameter_ended; /* a `;` came */
	bool after_return;    /* a newline now belongs to the carriage return before it */

	unsigned back;                /* 0: the line being written; else history_get(back) */
	char draft[MONITOR_LINE_MAX]; /* the line being written, while history is shown */
};

/* Begins a line: empties it and shows the prompt. */
void editor_begin(struct editor *e);

/* Takes what port_console_getc() gave. */
enum editor_result editor_feed(struct editor *e, int byte);

#endif
