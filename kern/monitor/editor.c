/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The line editor.
 */
#include "editor.h"

#include "lib/array.h"
#include "lib/string.h"
#include "table.h"
#include "port.h"

#define CONTROL(letter) ((letter) - '@')
#define ESCAPE 0x1b
#define DELETE 0x7f
#define PARAMETER_MAX 99 /* of an escape sequence; greater ones mean nothing to us */

/* The screen */

/* Characters of the line that fit behind the prompt; the last column stays free, since terminals
 * differ in what they do there. */
static size_t shown_max(const struct editor *e)
{
	return EDITOR_COLUMNS - 1 - strlen(e->prompt);
}

/* Moves what is shown so that the cursor is in it; returns whether it had to. */
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
	size_t n = e->length, column;

	scroll(e);
	n = n - e->left < shown_max(e) ? n - e->left : shown_max(e);
	column = strlen(e->prompt) + e->cursor - e->left;
	sink_printf(e->sink, "\r%s", e->prompt);
	sink_write(e->sink, e->line + e->left, n);
	sink_puts(e->sink, "\x1b[K");
	if (e->cursor < e->left + n)
		sink_printf(e->sink, column ? "\r\x1b[%zuC" : "\r", column);
}

static void beep(struct editor *e)
{
	sink_puts(e->sink, "\a");
}

/* The line */

/* Every change goes through here: bytes [at, at + removed) become text[0 .. added), and the cursor
 * stands behind them. */
static void replace(struct editor *e, size_t at, size_t removed, const char *text, size_t added)
{
	memmove(e->line + at + added, e->line + at + removed, e->length - at - removed);
	memcpy(e->line + at, text, added);
	e->length += added - removed;
	e->line[e->length] = '\0';
	e->cursor = at + added;
}

static void cut(struct editor *e, size_t at, size_t n)
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

/* Inserts at the cursor what fits of text[0 .. n).  A line that only grows at its end is shown by
 * what it grew by, so that a log of the console reads like a dialogue. */
static void insert(struct editor *e, const char *text, size_t n)
{
	size_t room = MONITOR_LINE_MAX - 1 - e->length, kept = n < room ? n : room;

	if (kept < n && e->excess == 0)
		beep(e);
	e->excess += n - kept;
	replace(e, e->cursor, 0, text, kept);
	if (e->cursor < e->length || scroll(e))
		redraw(e);
	else
		sink_write(e->sink, text, kept);
}

/* Keys */

static void move_to(struct editor *e, size_t cursor)
{
	e->cursor = cursor;
	redraw(e);
}

static void go_begin(struct editor *e)
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

static void erase_before(struct editor *e)
{
	if (e->cursor > 0)
		cut(e, e->cursor - 1, 1);
}

static void erase_after(struct editor *e)
{
	if (e->cursor < e->length)
		cut(e, e->cursor, 1);
}

static void kill_before(struct editor *e)
{
	cut(e, 0, e->cursor);
}

static void kill_after(struct editor *e)
{
	cut(e, e->cursor, e->length - e->cursor);
}

static void kill_word(struct editor *e)
{
	size_t begin = e->cursor;

	while (begin > 0 && e->line[begin - 1] == ' ')
		begin--;
	while (begin > 0 && e->line[begin - 1] != ' ')
		begin--;
	cut(e, begin, e->cursor - begin);
}

static void clear_screen(struct editor *e)
{
	sink_puts(e->sink, "\x1b[H\x1b[2J");
	redraw(e);
}

static void drop_line(struct editor *e)
{
	sink_puts(e->sink, "^C\n");
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

static void go_back(struct editor *e)
{
	if (e->history)
		show_history(e, e->back + 1);
}

static void go_forth(struct editor *e)
{
	if (e->history && e->back > 0)
		show_history(e, e->back - 1);
}

/* Completion */

/* What the offered words that begin with `word` have in common. */
struct matches {
	const char *word;
	size_t word_length;
	size_t count;
	char common[MONITOR_LINE_MAX];
	struct sink *list; /* they are listed there if not NULL */
};

static void match(void *arg, const char *word)
{
	struct matches *m = arg;
	size_t n = 0;

	if (strncmp(word, m->word, m->word_length) != 0)
		return;
	if (m->list)
		sink_printf(m->list, "  %s", word);
	if (m->count++ == 0) {
		str_copy(m->common, word, sizeof(m->common));
		return;
	}
	while (m->common[n] && m->common[n] == word[n])
		n++;
	m->common[n] = '\0';
}

static void list_matches(struct editor *e, const struct matches *m)
{
	struct matches listing = {m->word, m->word_length, 0, "", e->sink};

	sink_puts(e->sink, "\n");
	e->complete(e->line, e->cursor, match, &listing);
	sink_puts(e->sink, "\n");
	redraw(e);
}

static void complete(struct editor *e)
{
	struct matches m = {NULL, 0, 0, "", NULL};
	size_t begin = e->cursor, known;

	if (!e->complete)
		return;
	while (begin > 0 && !strchr(" ;", e->line[begin - 1]))
		begin--;
	m.word = e->line + begin;
	known = m.word_length = e->cursor - begin;
	e->complete(e->line, e->cursor, match, &m);
	if (m.count == 0) {
		beep(e);
		return;
	}
	if (m.count > 1 && !m.common[known]) {
		list_matches(e, &m);
		return;
	}
	insert(e, m.common + known, strlen(m.common + known));
	if (m.count == 1)
		insert(e, " ", 1);
}

/* Bytes */

static const struct {
	uint8_t byte;
	void (*act)(struct editor *e);
} keys[] = {
	{CONTROL('A'), go_begin},
	{CONTROL('B'), go_left},
	{CONTROL('C'), drop_line},
	{CONTROL('E'), go_end},
	{CONTROL('F'), go_right},
	{CONTROL('H'), erase_before},
	{DELETE, erase_before},
	{CONTROL('I'), complete},
	{CONTROL('K'), kill_after},
	{CONTROL('L'), clear_screen},
	{CONTROL('N'), go_forth},
	{CONTROL('P'), go_back},
	{CONTROL('U'), kill_before},
	{CONTROL('W'), kill_word},
};

/* How escape sequences end.  Parameter 0: whatever it is. */
static const struct {
	uint8_t last;
	unsigned parameter;
	void (*act)(struct editor *e);
} sequences[] = {
	{'A', 0, go_back},
	{'B', 0, go_forth},
	{'C', 0, go_right},
	{'D', 0, go_left},
	{'H', 0, go_begin},
	{'F', 0, go_end},
	{'~', 1, go_begin},
	{'~', 3, erase_after},
	{'~', 4, go_end},
	{'~', 7, go_begin},
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
		e->escape = EDITOR_PLAIN; /* Alt and a key: not ours */
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

static enum editor_result end_input(struct editor *e)
{
	sink_puts(e->sink, "\n");
	return EDITOR_CLOSED;
}

void editor_begin(struct editor *e)
{
	e->length = e->cursor = e->left = e->excess = 0;
	e->line[0] = '\0';
	e->back = 0;
	e->escape = EDITOR_PLAIN;
	sink_puts(e->sink, e->prompt);
}

enum editor_result editor_feed(struct editor *e, int byte)
{
	bool after_return = e->after_return;
	char c = (char)byte;

	e->after_return = byte == '\r';
	if (byte == PORT_CONSOLE_CLOSED)
		return end_input(e);
	if (byte < 0 || byte > DELETE || (byte == '\n' && after_return))
		return EDITOR_MORE;
	if (byte < ' ')
		e->escape = EDITOR_PLAIN; /* a control key cuts a sequence short */
	if (byte == ESCAPE)
		begin_escape(e);
	else if (e->escape != EDITOR_PLAIN)
		feed_escape(e, (uint8_t)byte);
	else if (byte == '\r' || byte == '\n')
		return end_line(e);
	else if (byte == CONTROL('D') && e->length == 0)
		return end_input(e);
	else if (byte == CONTROL('D'))
		erase_after(e);
	else if (byte >= ' ' && byte < DELETE)
		insert(e, &c, 1);
	else
		feed_key(e, (uint8_t)byte);
	return EDITOR_MORE;
}
