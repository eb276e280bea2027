/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The line editor.
 */
#include "editor.h"

#include "lib/array.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "machine.h"
#include "port.h"
#include "table.h"

#define CONTROL(letter) ((letter) - '@')
#define DELETE 0x7f
#define UTF8_LEAD 0xc0 /* a byte from here on begins a character that isn't ASCII */
#define PROMPT_MAX 80  /* bytes of a prompt, its end included */
#define LINE_MIN 6     /* characters of the line that a prompt leaves room for */
#define PARAMETER_MAX 99 /* of an escape sequence; no key has a greater one */

/* The screen */

static size_t columns(const struct editor *e)
{
	return e->columns ? e->columns : EDITOR_COLUMNS;
}

/* A prompt that would leave the line less than a few characters is shortened. */
static void make_prompt(const struct editor *e, char prompt[PROMPT_MAX])
{
	size_t length;

	if (e->is_searching)
		length = ksnprintf(prompt, PROMPT_MAX, "search `%s`: ", e->sought);
	else
		length = str_copy(prompt, e->prompt, PROMPT_MAX);
	if (length + LINE_MIN >= columns(e) || length >= PROMPT_MAX)
		str_copy(prompt, e->is_searching ? "? " : "> ", PROMPT_MAX);
}

/* How many characters of the line fit behind the prompt.  The last column stays free: terminals
 * differ in where the cursor goes from there. */
static size_t shown_max(const struct editor *e)
{
	char prompt[PROMPT_MAX];

	make_prompt(e, prompt);
	return columns(e) - 1 - strlen(prompt);
}

/* Moves the part of the line that is shown so that it has the cursor; returns whether it moved. */
static bool scroll(struct editor *e)
{
	size_t left = e->left;

	if (e->cursor < left)
		left = e->cursor;
	if (e->cursor > left + shown_max(e))
		left = e->cursor - shown_max(e);
	if (left == e->left)
		return false;
	e->left = left;
	return true;
}

static void redraw(struct editor *e)
{
	char prompt[PROMPT_MAX];
	size_t shown, column;

	make_prompt(e, prompt);
	scroll(e);
	shown = e->length - e->left < shown_max(e) ? e->length - e->left : shown_max(e);
	column = strlen(prompt) + e->cursor - e->left;
	sink_printf(e->sink, "\r%s", prompt);
	sink_write(e->sink, e->line + e->left, shown);
	sink_puts(e->sink, "\x1b[K");
	if (e->cursor < e->left + shown)
		sink_printf(e->sink, column ? "\r\x1b[%zuC" : "\r", column);
}

static void beep(struct editor *e)
{
	sink_puts(e->sink, "\a");
}

/* The line */

/* Every change of the line: replaces bytes [at, at + removed) by text[0 .. added) and puts the
 * cursor behind them. */
static void replace(struct editor *e, size_t at, size_t removed, const char *text, size_t added)
{
	memmove(e->line + at + added, e->line + at + removed, e->length - at - removed);
	memcpy(e->line + at, text, added);
	e->length += added - removed;
	e->line[e->length] = '\0';
	e->cursor = at + added;
}

static void delete(struct editor *e, size_t at, size_t n)
{
	replace(e, at, n, "", 0);
	e->excess = 0;
	redraw(e);
}

static void set_line(struct editor *e, const char *text)
{
	replace(e, 0, e->length, text, strlen(text));
	e->left = 0;
	e->excess = 0;
	redraw(e);
}

/* Inserts at the cursor as much of text[0 .. n) as fits.  At the end of the line only the new bytes
 * are written, so that a log of the console has no redrawn lines. */
static void insert(struct editor *e, const char *text, size_t n)
{
	size_t room = MONITOR_LINE_MAX - 1 - e->length, fits = n < room ? n : room;

	if (fits < n && e->excess == 0)
		beep(e);
	e->excess += n - fits;
	replace(e, e->cursor, 0, text, fits);
	if (e->cursor < e->length || scroll(e))
		redraw(e);
	else
		sink_write(e->sink, text, fits);
}

/* Keys */

static void move_to(struct editor *e, size_t cursor)
{
	e->cursor = cursor;
	redraw(e);
}

static void go_start(struct editor *e)
{
	move_to(e, 0);
}

static void go_end(struct editor *e)
{
	move_to(e, e->length);
}

static void go_left(struct editor *e)
{
	if (e->cursor > 0)
		move_to(e, e->cursor - 1);
}

static void go_right(struct editor *e)
{
	if (e->cursor < e->length)
		move_to(e, e->cursor + 1);
}

static void delete_before(struct editor *e)
{
	if (e->cursor > 0)
		delete(e, e->cursor - 1, 1);
}

static void delete_under(struct editor *e)
{
	if (e->cursor < e->length)
		delete(e, e->cursor, 1);
}

static void delete_to_start(struct editor *e)
{
	delete(e, 0, e->cursor);
}

static void delete_to_end(struct editor *e)
{
	delete(e, e->cursor, e->length - e->cursor);
}

static void delete_word(struct editor *e)
{
	size_t begin = e->cursor;

	while (begin > 0 && e->line[begin - 1] == ' ')
		begin--;
	while (begin > 0 && e->line[begin - 1] != ' ')
		begin--;
	delete(e, begin, e->cursor - begin);
}

static void clear_screen(struct editor *e)
{
	sink_puts(e->sink, "\x1b[H\x1b[2J");
	redraw(e);
}

static void drop_line(struct editor *e)
{
	/* Where the row is full there is no room for it. */
	bool fits = e->cursor - e->left + strlen("^C") <= shown_max(e);

	sink_puts(e->sink, fits ? "^C\n" : "\n");
	editor_begin(e);
}

static void show_history(struct editor *e, unsigned back)
{
	const char *text = back ? history_get(e->history, back) : e->draft;

	if (!text) {
		beep(e);
		return;
	}
	if (e->back == 0)
		str_copy(e->draft, e->line, sizeof(e->draft));
	e->back = back;
	set_line(e, text);
}

static void go_earlier(struct editor *e)
{
	if (e->history)
		show_history(e, e->back + 1);
}

static void go_later(struct editor *e)
{
	if (e->history && e->back > 0)
		show_history(e, e->back - 1);
}

/* Searching the history: lines that contain what is sought, the latest first */

/* Shows the line of the history that contains what is sought, from the one `back` lines ago on. */
static void search(struct editor *e, unsigned back)
{
	const char *text, *found = NULL;

	for (; (text = history_get(e->history, back)); back++)
		if ((found = strstr(text, e->sought)))
			break;
	if (!found) {
		beep(e);
		redraw(e);
		return;
	}
	e->back = back;
	replace(e, 0, e->length, text, strlen(text));
	e->excess = 0;
	move_to(e, (size_t)(found - text));
}

static void begin_search(struct editor *e)
{
	if (!e->history) {
		beep(e);
		return;
	}
	if (e->back == 0)
		str_copy(e->draft, e->line, sizeof(e->draft));
	e->is_searching = true;
	e->sought_length = 0;
	e->sought[0] = '\0';
	redraw(e);
}

static void seek(struct editor *e, char c)
{
	if (e->sought_length == SOUGHT_MAX - 1) {
		beep(e);
		return;
	}
	e->sought[e->sought_length++] = c;
	e->sought[e->sought_length] = '\0';
	search(e, e->back ? e->back : 1);
}

static void seek_less(struct editor *e)
{
	if (e->sought_length > 0)
		e->sought[--e->sought_length] = '\0';
	search(e, 1);
}

/* Takes a byte while the history is searched.  Returns false for one that ends the search and then does
 * what it always does; with ^G the line is as before. */
static bool feed_search(struct editor *e, uint8_t byte)
{
	if (byte >= ' ' && byte < DELETE) {
		seek(e, (char)byte);
	} else if (byte == CONTROL('R')) {
		search(e, e->back + 1);
	} else if (byte == CONTROL('H') || byte == DELETE) {
		seek_less(e);
	} else {
		e->is_searching = false;
		if (byte == CONTROL('G'))
			show_history(e, 0);
		else
			redraw(e);
		return false;
	}
	return true;
}

/* Completion */

/* The offered words that begin with word[0 .. word_length). */
struct matches {
	const char *word;
	size_t word_length;
	size_t count;
	char common[MONITOR_LINE_MAX]; /* what all of them begin with */
	struct sink *list;	       /* prints them; NULL: doesn't */
	size_t columns, column;	       /* of the terminal; where the list stands */
};

static void list_word(struct matches *m, const char *word)
{
	size_t length = strlen(word), most = m->columns - 1 - 2;
	bool is_cut = length > most;

	if (is_cut)
		length = most - 1;
	if (m->column > 0 && m->column + 2 + length >= m->columns) {
		sink_puts(m->list, "\n");
		m->column = 0;
	}
	sink_printf(m->list, "  %.*s%s", (int)length, word, is_cut ? "~" : "");
	m->column += 2 + length + is_cut;
}

static void match(void *arg, const char *word)
{
	struct matches *m = arg;
	size_t n = 0;

	if (strncmp(word, m->word, m->word_length) != 0)
		return;
	if (m->list)
		list_word(m, word);
	if (m->count++ == 0) {
		str_copy(m->common, word, sizeof(m->common));
		return;
	}
	while (m->common[n] && m->common[n] == word[n])
		n++;
	m->common[n] = '\0';
}

#define LISTED_MAX 200 /* more are only counted */

static void list_matches(struct editor *e, const struct matches *m)
{
	struct matches listing = {m->word, m->word_length, 0, "", e->sink, columns(e), 0};

	sink_puts(e->sink, "\n");
	if (m->count > LISTED_MAX)
		sink_printf(e->sink, "  %zu words", m->count);
	else
		e->complete(e->line, e->cursor, match, &listing);
	sink_puts(e->sink, "\n");
	redraw(e);
}

static void complete(struct editor *e)
{
	struct matches m = {NULL, 0, 0, "", NULL, 0, 0};
	size_t begin = e->cursor, typed;

	if (!e->complete)
		return;
	while (begin > 0 && !strchr(" ;", e->line[begin - 1]))
		begin--;
	m.word = e->line + begin;
	typed = m.word_length = e->cursor - begin;
	e->complete(e->line, e->cursor, match, &m);
	if (m.count == 0) {
		beep(e);
		return;
	}
	if (m.count > 1 && !m.common[typed]) {
		list_matches(e, &m);
		return;
	}
	insert(e, m.common + typed, strlen(m.common + typed));
	if (m.count == 1)
		insert(e, " ", 1);
}

/* Bytes */

/* What each does is said once, where several do the same. */
static const struct {
	uint8_t byte;
	void (*act)(struct editor *e);
	const char *name, *help;
} keys[] = {
	{CONTROL('B'), go_left, "left, Ctrl-B", "one character back"},
	{CONTROL('F'), go_right, "right, Ctrl-F", "one character forward"},
	{CONTROL('A'), go_start, "Home, Ctrl-A", "to the start of the line"},
	{CONTROL('E'), go_end, "End, Ctrl-E", "to its end"},
	{CONTROL('H'), delete_before, "backspace", "deletes the character before the cursor"},
	{DELETE, delete_before, NULL, NULL},
	{CONTROL('D'), delete_under, "Delete, Ctrl-D",
		"deletes the one under it; Ctrl-D on an empty line ends the input"},
	{CONTROL('U'), delete_to_start, "Ctrl-U", "deletes all before the cursor"},
	{CONTROL('K'), delete_to_end, "Ctrl-K", "deletes all behind it"},
	{CONTROL('W'), delete_word, "Ctrl-W", "deletes the word before it"},
	{CONTROL('P'), go_earlier, "up, Ctrl-P", "the line entered before; `history` lists them"},
	{CONTROL('N'), go_later, "down, Ctrl-N", "the line entered after it"},
	{CONTROL('R'), begin_search, "Ctrl-R",
		"searches them for what is typed next; again: an earlier one"},
	{CONTROL('I'), complete, "Tab", "completes the word, or lists what it may become"},
	{CONTROL('L'), clear_screen, "Ctrl-L", "clears the screen"},
	{CONTROL('C'), drop_line, "Ctrl-C", "drops the line; ends the one that runs"},
};

void editor_list_keys(struct sink *sink)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].name)
			sink_printf(sink, "%-15s %s\n", keys[i].name, keys[i].help);
}

/* Escape sequences by their last byte and, unless it is 0 here, their first parameter. */
static const struct {
	uint8_t last;
	unsigned parameter;
	void (*act)(struct editor *e);
} sequences[] = {
	{'A', 0, go_earlier},
	{'B', 0, go_later},
	{'C', 0, go_right},
	{'D', 0, go_left},
	{'H', 0, go_start},
	{'F', 0, go_end},
	{'~', 1, go_start},
	{'~', 3, delete_under},
	{'~', 4, go_end},
	{'~', 7, go_start},
	{'~', 8, go_end},
};

static void feed_key(struct editor *e, uint8_t byte)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].byte == byte)
			keys[i].act(e);
}

static void end_sequence(struct editor *e, uint8_t last)
{
	e->escape = EDITOR_PLAIN;
	for (size_t i = 0; i < ARRAY_SIZE(sequences); i++)
		if (sequences[i].last == last &&
			(!sequences[i].parameter || sequences[i].parameter == e->parameter))
			sequences[i].act(e);
}

static void begin_escape(struct editor *e)
{
	e->escape = EDITOR_ESCAPE;
	e->parameter = 0;
	e->parameter_ended = false;
}

static void feed_parameter(struct editor *e, uint8_t byte)
{
	if (byte < '0' || byte > '9')
		e->parameter_ended = true;
	else if (!e->parameter_ended && e->parameter <= PARAMETER_MAX)
		e->parameter = e->parameter * 10 + (byte - '0');
}

/* A byte inside an escape sequence. */
static void feed_escape(struct editor *e, uint8_t byte)
{
	if (e->escape == EDITOR_ESCAPE && byte == '[')
		e->escape = EDITOR_SEQUENCE;
	else if (e->escape == EDITOR_ESCAPE && byte == 'O')
		e->escape = EDITOR_SINGLE;
	else if (e->escape == EDITOR_ESCAPE)
		e->escape = EDITOR_PLAIN; /* Alt and a key: ignored */
	else if (e->escape == EDITOR_SEQUENCE && byte < '@')
		feed_parameter(e, byte);
	else
		end_sequence(e, byte);
}

static enum editor_result end_line(struct editor *e)
{
	sink_puts(e->sink, "\n");
	if (e->excess == 0)
		return EDITOR_LINE;
	sink_printf(e->sink, "line too long by %zu, at most %u bytes\n", e->excess,
		MONITOR_LINE_MAX - 1);
	editor_begin(e);
	return EDITOR_MORE;
}

/* A line that no Enter ended is a line too; the next byte then says again that there are no more. */
static enum editor_result end_input(struct editor *e)
{
	if (e->length > 0)
		return end_line(e);
	sink_puts(e->sink, "\n");
	return EDITOR_CLOSED;
}

void editor_begin(struct editor *e)
{
	char prompt[PROMPT_MAX];

	e->length = e->cursor = e->left = e->excess = 0;
	e->line[0] = '\0';
	e->back = 0;
	e->escape = EDITOR_PLAIN;
	e->is_searching = false;
	make_prompt(e, prompt);
	sink_puts(e->sink, prompt);
}

enum editor_result editor_feed(struct editor *e, int byte)
{
	bool after_return = e->after_return;
	char c = (char)byte;

	e->after_return = byte == '\r';
	if (byte == MACHINE_CONSOLE_CLOSED)
		return end_input(e);
	if (byte >= UTF8_LEAD)
		beep(e); /* lines are ASCII */
	if (byte < 0 || byte > DELETE || (byte == '\n' && after_return))
		return EDITOR_MORE;
	if (e->is_searching && feed_search(e, (uint8_t)byte))
		return EDITOR_MORE;
	if (byte < ' ')
		e->escape = EDITOR_PLAIN; /* a control key cuts a sequence short */
	if (byte == EDITOR_KEY_ESC)
		begin_escape(e);
	else if (e->escape != EDITOR_PLAIN)
		feed_escape(e, (uint8_t)byte);
	else if (byte == '\r' || byte == '\n')
		return end_line(e);
	else if (byte == CONTROL('D') && e->length == 0)
		return end_input(e);
	else if (byte >= ' ' && byte < DELETE)
		insert(e, &c, 1);
	else
		feed_key(e, (uint8_t)byte);
	return EDITOR_MORE;
}
