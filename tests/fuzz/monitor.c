/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor.  The input is keys, typed at a line editor, whose screen a terminal of one row follows; a line that
 * is entered runs, if its commands are among those below: what they print has rows of 80 characters at most.
 */
#include "monitor/monitor_impl.h"

#include "fuzz.h"
#include "lib/array.h"
#include "lib/string.h"
#include "machine.h"
#include "monitor/editor.h"

#define KEYS_MAX 1000
#define NARROW_KEYS_MAX 60

/* Commands that end, and leave the kernel as it is, but for what end() takes back. */
static const char *const allowed[] = {"?", "alloc", "arena check", "arena map", "arena segs", "arena show",
	"arena tree", "cache", "clear", "cores", "debug", "disk", "fail", "free", "help", "history", "initrd", "irq",
	"leaks", "mem", "ps", "reclaim", "slab", "symbols", "top", "trace", "whatis", "who", "work kinds",
	"work list"};

static struct editor editor;
static struct history history;

/* The screen */

#define ROW_MAX 256

static struct {
	char row[ROW_MAX]; /* what the cursor's row shows; behind it, spaces */
	size_t column;	   /* the cursor's */
	enum { PLAIN, ESCAPE, SEQUENCE } state;
	size_t number;
} screen;

static size_t columns(void)
{
	return editor.columns ? editor.columns : EDITOR_COLUMNS;
}

static void screen_clear(size_t from)
{
	memset(screen.row + from, ' ', sizeof(screen.row) - from);
}

static void end_sequence(char c)
{
	screen.state = PLAIN;
	switch (c) {
	case 'C':
		screen.column += screen.number;
		break;
	case 'K':
		screen_clear(screen.column);
		break;
	case 'J':
		screen_clear(0);
		break;
	case 'H':
		screen.column = 0;
		break;
	default:
		panic("the editor writes a sequence that ends with %c", c);
	}
}

static void show(char c)
{
	if (screen.state == ESCAPE) {
		ASSERT(c == '[');
		screen.state = SEQUENCE;
		screen.number = 0;
	} else if (screen.state == SEQUENCE && c >= '0' && c <= '9') {
		screen.number = screen.number * 10 + (size_t)(c - '0');
	} else if (screen.state == SEQUENCE) {
		end_sequence(c);
	} else if (c == '\x1b') {
		screen.state = ESCAPE;
	} else if (c == '\r') {
		screen.column = 0;
	} else if (c == '\n') {
		screen.column = 0;
		screen_clear(0);
	} else if (c != '\a') {
		ASSERT(c >= ' ' && c <= '~' && screen.column < columns() - 1);
		screen.row[screen.column++] = c;
	}
	ASSERT(screen.column < columns());
}

static void write_screen(struct sink *sink, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		show(text[i]);
}

static struct sink screen_sink = {.write = write_screen};

/* The row shows a prompt and a part of the line, and the cursor stands where the next character goes. */
static void check_row(void)
{
	size_t shown = editor.length - editor.left, prompt = screen.column + editor.left - editor.cursor;

	ASSERT(editor.cursor <= editor.length && editor.left <= editor.cursor);
	ASSERT(editor.length < MONITOR_LINE_MAX && strlen(editor.line) == editor.length);
	ASSERT(prompt >= 2 && prompt < columns() && screen.row[prompt - 1] == ' ');
	if (shown > columns() - 1 - prompt)
		shown = columns() - 1 - prompt;
	ASSERT(memcmp(screen.row + prompt, editor.line + editor.left, shown) == 0);
	for (size_t i = prompt + shown; i < sizeof(screen.row); i++)
		ASSERT(screen.row[i] == ' ');
}

/* Lines */

static size_t width; /* of the row that a command prints */
static bool is_for_programs; /* it was called with -k */

static void write_rows(struct sink *sink, const char *text, size_t n)
{
	static char row[ROW_MAX];

	for (size_t i = 0; i < n; i++) {
		width = text[i] == '\n' ? 0 : width + 1;
		if (width > 0 && width < sizeof(row))
			row[width - 1] = text[i];
		if (width > SINK_COLUMNS && !is_for_programs)
			panic("a row of more than %d characters: %.*s", SINK_COLUMNS, (int)width, row);
	}
}

static struct sink row_sink = {.write = write_rows};

static bool is_allowed(const struct command *command)
{
	if (!command)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (strcmp(command->name, allowed[i]) == 0)
			return true;
	return false;
}

static bool may_run(const char *line)
{
	struct command_words words;

	is_for_programs = false;
	while (*line) {
		command_split(&line, &words);
		is_for_programs |= words.keys;
		if (!is_allowed(command_find(words.argc, words.argv)))
			return false;
	}
	return true;
}

static void run_line(void)
{
	history_add(&history, editor.line);
	width = 0;
	if (may_run(editor.line))
		command_run_line(editor.line, &row_sink);
}

static void type_keys(struct fuzz_input *in)
{
	for (unsigned n = 0; in->left > 0 && n < KEYS_MAX; n++) {
		switch (editor_feed(&editor, fuzz_byte(in))) {
		case EDITOR_LINE:
			run_line();
			editor_begin(&editor);
			break;
		case EDITOR_CLOSED:
			ASSERT(editor.length == 0);
			return;
		default:
			break;
		}
		check_row();
	}
	ASSERT(editor_feed(&editor, MACHINE_CONSOLE_CLOSED) != EDITOR_MORE || editor.excess > 0);
}

static void begin(struct fuzz_input *in)
{
	static const unsigned widths[] = {0, 10, 11, 20, 40, 80, 132, 200};
	struct arena *arena = arena_create(
		"fuzz-history", NULL, 0, 64, arena_alloc, arena_free, kpages_arena, 0, MEM_WAIT);

	history_init(&history, arena);
	memset(&editor, 0, sizeof(editor));
	editor.sink = &screen_sink;
	editor.prompt = "spandrel> ";
	editor.history = &history;
	editor.complete = command_complete;
	editor.columns = widths[fuzz_byte(in) % ARRAY_SIZE(widths)];
	/* What says that a line is too long isn't made for narrow ones. */
	if (in->left > NARROW_KEYS_MAX && editor.columns < EDITOR_COLUMNS)
		editor.columns = 0;
	memset(&screen, 0, sizeof(screen));
	screen_clear(0);
	editor_begin(&editor);
}

static void end(void)
{
	is_for_programs = true;
	command_run_line("free; leaks -c", &row_sink);
	history_clear(&history);
	ASSERT(arena_destroy(history.arena) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};

	fuzz_begin();
	begin(&in);
	type_keys(&in);
	end();
	fuzz_end();
	return 0;
}
