/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The line editor and its history, typed at.
 */
#include "monitor/editor.h"

#include "arena.h"
#include "lib/string.h"
#include "machine.h"
#include "port.h"
#include "lib/test.h"

#define LEFT "\x1b[D"
#define RIGHT "\x1b[C"
#define UP "\x1b[A"
#define DOWN "\x1b[B"

static struct editor editor;
static struct history history;
static struct buffer_sink screen;
static char screen_text[8192];

static void offer_fruit(
	const char *text, size_t length, void (*offer)(void *arg, const char *word), void *arg)
{
	offer(arg, "apple");
	offer(arg, "apricot");
	offer(arg, "banana");
}

static void begin(void)
{
	buffer_sink_init(&screen, screen_text, sizeof(screen_text));
	memset(&editor, 0, sizeof(editor));
	editor.sink = &screen.sink;
	editor.prompt = "> ";
	editor.complete = offer_fruit;
	editor_begin(&editor);
}

static enum editor_result type(const char *text)
{
	enum editor_result result = EDITOR_MORE;

	while (*text && result == EDITOR_MORE)
		result = editor_feed(&editor, (unsigned char)*text++);
	CHECK(*text == '\0');
	return result;
}

/* Types `text` on a fresh line; Enter must give `line`. */
static void check_line(const char *text, const char *line)
{
	begin();
	CHECK_EQ(type(text), EDITOR_MORE);
	CHECK_EQ(type("\r"), EDITOR_LINE);
	CHECK_STR(editor.line, line);
}

TEST("editor: what is typed is the line, and is echoed")
{
	check_line("arena tree", "arena tree");
	CHECK_STR(screen_text, "> arena tree\n");
}

TEST("editor: arrows, Home and End move, and typing inserts there")
{
	check_line("ac" LEFT "b", "abc");
	check_line("bc" LEFT LEFT LEFT "a" RIGHT RIGHT RIGHT "d", "abcd");
	check_line("bc\x1b[Ha\x1b[Fd", "abcd");
	check_line("bc\x1bOHa\x1bOFd", "abcd");
	check_line("bc\x1b[1~a\x1b[4~d", "abcd");
	check_line("bc\x01"
		   "a\x05"
		   "d",
		"abcd");
}

TEST("editor: backspace erases before the cursor")
{
	check_line("abx\x7f"
		   "c",
		"abc");
	check_line("abx\b"
		   "c",
		"abc");
	check_line("\b\x7fx\x7f"
		   "a",
		"a");
}

TEST("editor: Delete and ^D erase under the cursor")
{
	check_line("axb" LEFT LEFT "\x1b[3~", "ab");
	check_line("axb" LEFT LEFT "\x04", "ab");
	check_line("ab\x1b[3~", "ab");
}

TEST("editor: ^U, ^K and ^W kill to the begin, to the end and the word before")
{
	check_line("abcd" LEFT LEFT "\x15", "cd");
	check_line("abcd" LEFT LEFT "\x0b", "ab");
	check_line("arena  show  \x17x", "arena  x");
	check_line("\x15\x0b\x17", "");
}

TEST("editor: an escape sequence may come in pieces, and an unknown one does nothing")
{
	begin();
	type("ab");
	CHECK_EQ(editor_feed(&editor, 0x1b), EDITOR_MORE);
	CHECK_EQ(editor_feed(&editor, MACHINE_CONSOLE_NONE), EDITOR_MORE);
	CHECK_EQ(editor_feed(&editor, '['), EDITOR_MORE);
	CHECK_EQ(editor_feed(&editor, 'D'), EDITOR_MORE);
	CHECK_EQ(editor.cursor, 1);
	check_line("a\x1b[99;1;2xb\x1bzc\x1b[1;5Dd\x1bOqe", "abdec");
}

TEST("editor: a control key cuts an escape sequence short")
{
	check_line("ab\x1b[1\x01"
		   "D",
		"Dab");
}

TEST("editor: control and non-ASCII garbage is passed over")
{
	check_line("a\x02\xc3\xa9\x1c\xff"
		   "b\x10\x0e",
		"ba");
}

static size_t count_bells(void)
{
	size_t bells = 0;

	for (const char *c = screen_text; *c; c++)
		bells += *c == '\a';
	return bells;
}

TEST("editor: a character in UTF-8 is refused with one bell")
{
	check_line("a\xc3\xa9"
		   "b\xe2\x82\xac\xf0\x9f\x98\x80"
		   "c",
		"abc");
	CHECK_EQ(count_bells(), 3);
	CHECK_STR(screen_text, "> a\a"
			       "b\a\a"
			       "c\n");
}

/* Follows the screen and checks that nothing was written in the last column, or beyond; returns the
 * cursor's column. */
static size_t check_screen(size_t columns)
{
	size_t column = 0, n;

	for (const char *c = screen_text; *c; c++) {
		if (*c == '\r' || *c == '\n') {
			column = 0;
		} else if (*c == '\x1b') {
			for (n = 0, c += 2; *c >= '0' && *c <= '9'; c++)
				n = n * 10 + (size_t)(*c - '0');
			column += *c == 'C' ? n : 0;
		} else if (*c >= ' ') {
			column++;
		}
		CHECK_LE(column, columns - 1);
	}
	return column;
}

static void begin_narrow(unsigned columns)
{
	begin();
	buffer_sink_init(&screen, screen_text, sizeof(screen_text));
	editor.columns = columns;
	editor.prompt = "spandrel> ";
	editor_begin(&editor);
}

TEST("editor: on a terminal of any width nothing passes its last column")
{
	for (unsigned columns = 10; columns <= 100; columns += 15) {
		begin_narrow(columns);
		for (unsigned i = 0; i < 120; i++)
			type(i % 7 ? "x" : " ");
		check_screen(columns);
		type(LEFT LEFT LEFT "yy\x01" RIGHT "z\x05 ap\t\t");
		CHECK_LE(2, check_screen(columns));
	}
}

TEST("editor: ^C is shown where there is room for it, and never passes the last column")
{
	for (size_t typed = 0; typed < 40; typed++) {
		begin_narrow(40);
		for (size_t i = 0; i < typed; i++)
			type("x");
		type("\x03y");
		check_screen(40);
		CHECK_EQ(strstr(screen_text, "^C\n") != NULL, typed <= 27);
		CHECK_STR(editor.line, "y");
	}
}

TEST("editor: a prompt that would leave no room is shortened")
{
	begin_narrow(12);
	CHECK_STR(screen_text, "> ");
	begin_narrow(40);
	CHECK_STR(screen_text, "spandrel> ");
}

static void offer_many(
	const char *text, size_t length, void (*offer)(void *arg, const char *word), void *arg)
{
	for (char word[] = "a-word-a"; word[7] <= 'z'; word[7]++)
		offer(arg, word);
}

TEST("editor: words that Tab lists are broken into lines")
{
	begin_narrow(40);
	editor.complete = offer_many;
	type("a\t\t");
	CHECK(strstr(screen_text, "\n  a-word-a  a-word-b  a-word-c\n  a-word-d  ") != NULL);
	check_screen(40);
}

static void offer_long(
	const char *text, size_t length, void (*offer)(void *arg, const char *word), void *arg)
{
	offer(arg, "seven-1");
	offer(arg, "seven-78");
	offer(arg, "seven-seven");
}

TEST("editor: a word that Tab lists and that is wider than the terminal is cut")
{
	begin_narrow(10);
	editor.complete = offer_long;
	type("seven-\t");
	CHECK(strstr(screen_text, "\n  seven-1\n  seven-~\n  seven-~\n") != NULL);
	check_screen(10);
}

static void offer_hundreds(
	const char *text, size_t length, void (*offer)(void *arg, const char *word), void *arg)
{
	for (int i = 0; i < 10; i++)
		offer_many(text, length, offer, arg);
}

TEST("editor: of more than 200 words Tab tells how many there are")
{
	begin_narrow(40);
	editor.complete = offer_hundreds;
	type("a-\tw\b\t");
	CHECK(strstr(screen_text, "\n  260 words\n") != NULL);
	check_screen(40);
}

TEST("editor: every key is listed, in lines that fit")
{
	buffer_sink_init(&screen, screen_text, sizeof(screen_text));
	editor_list_keys(&screen.sink);
	CHECK(str_starts(screen_text, "left, Ctrl-B    one character back\n"));
	CHECK(strstr(screen_text, "\nCtrl-R          ") != NULL);
	CHECK(strstr(screen_text, "\nCtrl-C          ") != NULL);
	check_screen(81);
}

TEST("editor: a carriage return and its newline end one line")
{
	begin();
	CHECK_EQ(type("a\r"), EDITOR_LINE);
	editor_begin(&editor);
	CHECK_EQ(type("\n"), EDITOR_MORE);
	CHECK_EQ(type("b\n"), EDITOR_LINE);
	CHECK_STR(editor.line, "b");
}

TEST("editor: ^C drops the line, ^D on an empty one closes")
{
	check_line("abc\x03"
		   "d",
		"d");
	begin();
	CHECK_EQ(type("\x04"), EDITOR_CLOSED);
}

TEST("editor: the end of input ends the line, and closes when there is none")
{
	begin();
	type("abc");
	CHECK_EQ(editor_feed(&editor, MACHINE_CONSOLE_CLOSED), EDITOR_LINE);
	CHECK_STR(editor.line, "abc");
	editor_begin(&editor);
	CHECK_EQ(editor_feed(&editor, MACHINE_CONSOLE_CLOSED), EDITOR_CLOSED);
}

TEST("editor: ^L clears the screen and shows the line again")
{
	check_line("abc\x0c", "abc");
	CHECK(strstr(screen_text, "\x1b[2J\r> abc") != NULL);
}

TEST("editor: a line too long beeps and is refused with one line")
{
	begin();
	for (size_t i = 0; i < MONITOR_LINE_MAX - 1; i++)
		type("x");
	buffer_sink_init(&screen, screen_text, sizeof(screen_text));
	for (size_t i = 0; i < 11; i++)
		type("x");
	CHECK_STR(screen_text, "\a");
	CHECK_EQ(editor.length, MONITOR_LINE_MAX - 1);
	CHECK_EQ(type("\r"), EDITOR_MORE);
	CHECK(strstr(screen_text, "line too long by 11, at most 511 bytes\n> ") != NULL);
	CHECK_EQ(type("y\r"), EDITOR_LINE);
	CHECK_STR(editor.line, "y");
}

TEST("editor: a line made shorter after the beep is taken")
{
	begin();
	for (size_t i = 0; i < MONITOR_LINE_MAX; i++)
		type("x");
	CHECK_EQ(type("\x7f\r"), EDITOR_LINE);
	CHECK_EQ(strlen(editor.line), MONITOR_LINE_MAX - 2);
}

TEST("editor: a line wider than the screen scrolls and keeps the cursor in sight")
{
	begin();
	for (size_t i = 0; i < 200; i++) {
		type("x");
		CHECK_LE(editor.cursor - editor.left, EDITOR_COLUMNS - 1 - strlen("> "));
	}
	CHECK_NE(editor.left, 0);
	type("\x01");
	CHECK_EQ(editor.left, 0);
}

TEST("editor: Tab completes what is unique, extends what is common, lists the rest")
{
	check_line("b\t", "banana ");
	check_line("x ap\tp\t", "x apple ");
	begin();
	type("ap\t");
	CHECK_STR(editor.line, "ap");
	CHECK(strstr(screen_text, "\n  apple  apricot\n\r> ap") != NULL);
	check_line("a\t", "ap");
	check_line("x\t", "x");
	CHECK(strchr(screen_text, '\a') != NULL);
	check_line("b x" LEFT LEFT "\t", "banana  x");
}

static void begin_history(void)
{
	struct arena *arena = arena_create(
		"test-history", NULL, 0, 64, arena_alloc, arena_free, kpages_arena, 0, MEM_WAIT);

	history_init(&history, arena);
	begin();
	editor.history = &history;
}

static void end_history(void)
{
	history_clear(&history);
	CHECK_EQ(arena_destroy(history.arena), 0);
}

TEST("history: up and down walk it, and the line being written comes back")
{
	begin_history();
	history_add(&history, "one");
	history_add(&history, "two");
	type("thr" UP);
	CHECK_STR(editor.line, "two");
	type("\x10");
	CHECK_STR(editor.line, "one");
	type(UP);
	CHECK_STR(editor.line, "one");
	type(DOWN "\x0e");
	CHECK_STR(editor.line, "thr");
	type(DOWN "ee");
	CHECK_STR(editor.line, "three");
	end_history();
}

TEST("history: ^R finds the latest line with what is typed, and again an earlier one")
{
	begin_history();
	history_add(&history, "arena map base");
	history_add(&history, "slab");
	history_add(&history, "arena show kpages");
	history_add(&history, "mem");
	type("new\x12"
	     "are");
	CHECK_STR(editor.line, "arena show kpages");
	CHECK_EQ(editor.cursor, 0);
	CHECK(strstr(screen_text, "\rsearch `are`: arena show kpages") != NULL);
	type("\x12");
	CHECK_STR(editor.line, "arena map base");
	type("\x12");
	CHECK_STR(editor.line, "arena map base");
	CHECK_EQ(count_bells(), 1);
	/* Less is sought from the latest line on. */
	type("\x7f\x7f\x7fkp");
	CHECK_STR(editor.line, "arena show kpages");
	CHECK_EQ(type("\r"), EDITOR_LINE);
	CHECK_STR(editor.line, "arena show kpages");
	end_history();
}

TEST("history: a search ends at another key, which does its work, and ^G takes it back")
{
	begin_history();
	history_add(&history, "one");
	history_add(&history, "two");
	history_add(&history, "three");
	type("new\x12"
	     "w\x05"
	     "!");
	CHECK_STR(editor.line, "two!");
	type(DOWN);
	CHECK_STR(editor.line, "three");
	type(DOWN);
	CHECK_STR(editor.line, "new");
	type("\x12"
	     "o\x07"
	     "er");
	CHECK_STR(editor.line, "newer");
	type("\x12"
	     "zzz");
	CHECK_STR(editor.line, "newer");
	type(LEFT "x");
	CHECK_STR(editor.line, "newexr");
	for (unsigned i = 0; i < 2 * SOUGHT_MAX; i++)
		type(i ? "y" : "\x12");
	type("\x03z");
	CHECK_STR(editor.line, "z");
	editor.history = NULL;
	type("\x12w");
	CHECK_STR(editor.line, "zw");
	end_history();
}

TEST("history: a line from it can be edited without changing it")
{
	begin_history();
	history_add(&history, "one");
	CHECK_EQ(type(UP " more\r"), EDITOR_LINE);
	CHECK_STR(editor.line, "one more");
	CHECK_STR(history_get(&history, 1), "one");
	end_history();
}

TEST("history: blank lines and repetitions are not kept")
{
	begin_history();
	history_add(&history, "");
	history_add(&history, "  ");
	history_add(&history, "one");
	history_add(&history, "one");
	CHECK_EQ(history.count, 1);
	CHECK(history_get(&history, 0) == NULL);
	CHECK(history_get(&history, 2) == NULL);
	end_history();
}

TEST("history: the oldest is dropped beyond the maximum")
{
	char line[16];

	begin_history();
	for (unsigned i = 0; i < HISTORY_MAX + 10; i++) {
		ksnprintf(line, sizeof(line), "line %u", i);
		history_add(&history, line);
	}
	CHECK_EQ(history.count, HISTORY_MAX);
	CHECK_STR(history_get(&history, HISTORY_MAX), "line 10");
	CHECK_STR(history_get(&history, 1), "line 73");
	end_history();
}

TEST("history: without memory the oldest make room, a line too long is forgotten")
{
	char line[MONITOR_LINE_MAX];
	void *page = base_alloc(NULL, PORT_PAGE_SIZE, MEM_WAIT);
	struct arena *arena =
		arena_create("test-history", page, 256, 64, NULL, NULL, NULL, 0, MEM_WAIT);

	history_init(&history, arena);
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	for (unsigned i = 0; i < 6; i++)
		history_add(&history, i % 2 ? "odd" : "even");
	CHECK_EQ(history.count, 4);
	history_add(&history, line);
	CHECK_EQ(history.count, 0);
	end_history();
	base_free(NULL, page, PORT_PAGE_SIZE);
}
