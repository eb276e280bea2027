/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal: keys that come while a line is read, and while one runs; and the output of a typed
 * line, which stops at the end of a page, where the terminal's size is known.
 */
#include "monitor_impl.h"

#include "editor.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "machine.h"
#include "port.h"
#include "spinlock.h"
#include "sync.h"

#define SEQUENCE_NS 50000000ull /* from a byte of an escape sequence to the next, at most */
#define AHEAD_MAX 1024 /* keys that are read ahead */
#define SIDE_MIN 10 /* rows or columns of the smallest terminal */
#define SIDE_MAX 1000

static struct terminal terminal; /* rows 0: none is known */

/* Keys */

static struct rendez input = RENDEZ_INIT(input);
static int last_byte; /* taken */

/* While no line is read, the input's interrupts read keys ahead, so that Ctrl-C is seen. */
static struct {
	struct spinlock lock;
	char bytes[AHEAD_MAX];
	size_t head, tail;   /* counts of bytes ever put in and taken out */
	bool is_reading;     /* a line is read */
	bool is_interrupted; /* Ctrl-C came since the last line was read; atomic */
} ahead = {.lock = SPINLOCK_INIT(SPIN_LEAF)};

static void set_interrupted(bool is_interrupted)
{
	/* Relaxed: the flag publishes nothing else. */
	__atomic_store_n(&ahead.is_interrupted, is_interrupted, __ATOMIC_RELAXED);
}

bool monitor_is_interrupted(void)
{
	return __atomic_load_n(&ahead.is_interrupted, __ATOMIC_RELAXED);
}

/* Lock held. */
static void read_ahead(void) SPANDREL_REQUIRES(&ahead.lock)
{
	int byte;

	while (ahead.head - ahead.tail < AHEAD_MAX && (byte = machine_console_getc(false)) >= 0) {
		ahead.bytes[ahead.head++ % AHEAD_MAX] = (char)byte;
		if (byte == EDITOR_KEY_INTERRUPT) {
			ahead.tail = ahead.head;
			set_interrupted(true);
		}
	}
}

void monitor_input(void)
{
	port_irq_t irq = spin_lock(&ahead.lock);

	if (!ahead.is_reading)
		read_ahead();
	spin_unlock(&ahead.lock, irq);
	rendez_wakeup(&input);
}

static int take_byte(void)
{
	port_irq_t irq = spin_lock(&ahead.lock);
	int byte;

	if (ahead.head != ahead.tail)
		byte = (unsigned char)ahead.bytes[ahead.tail++ % AHEAD_MAX];
	else if (!ahead.is_reading && monitor_is_interrupted())
		byte = EDITOR_KEY_INTERRUPT;
	else
		byte = machine_console_getc(false);
	spin_unlock(&ahead.lock, irq);
	return byte;
}

/* Some terminals send two bytes for Enter: the second one is no key. */
static bool has_byte(void *byte)
{
	int taken = take_byte();

	if (taken == '\n' && last_byte == '\r')
		taken = take_byte();
	if (taken != MACHINE_CONSOLE_NONE)
		last_byte = taken;
	*(int *)byte = taken;
	return taken != MACHINE_CONSOLE_NONE;
}

/* After a panic no lock is taken. */
void terminal_begin_reading(void)
{
	port_irq_t irq;

	if (panic_happened())
		return;
	irq = spin_lock(&ahead.lock);
	ahead.is_reading = true;
	set_interrupted(false);
	spin_unlock(&ahead.lock, irq);
}

void terminal_end_reading(void)
{
	port_irq_t irq;

	if (panic_happened())
		return;
	irq = spin_lock(&ahead.lock);
	ahead.is_reading = false;
	read_ahead();
	spin_unlock(&ahead.lock, irq);
}

/* After a panic there is no switching to another ktask, so the core itself waits for input. */
int terminal_read(void)
{
	int byte;

	if (panic_happened())
		return machine_console_getc(true);
	rendez_sleep(&input, has_byte, &byte);
	return byte;
}

/* An arrow or a function key sends ESC and, at once, [ or O, parameters and a letter or ~: they are
 * one key. */
static void skip_sequence(void)
{
	int byte;

	do {
		if (!rendez_sleep_timeout(&input, has_byte, &byte, port_ns() + SEQUENCE_NS))
			return;
	} while (byte == '[' || byte == 'O' || (byte >= ' ' && byte < '@'));
}

/* The rest of the key that began with `byte` is skipped. */
static void end_key(int byte)
{
	if (byte == EDITOR_KEY_ESC && !panic_happened())
		skip_sequence();
}

/* Output of a typed line, page by page */

static bool is_typed; /* the line that runs was read from the console */
static bool is_over;  /* nothing more of it is to be shown */
static bool is_paged;
static unsigned rows, column; /* shown on this page, and where the cursor is */

/* Waits until the page was read; takes a key.  Returns false for one that says nothing here. */
static bool turn_page(void)
{
	int key = terminal_read();

	end_key(key);
	switch (key) {
	case ' ':
		rows = 0;
		return true;
	case '\r':
	case '\n':
		rows--;
		return true;
	case 'q':
	case EDITOR_KEY_INTERRUPT:
		is_over = true;
		return true;
	case MACHINE_CONSOLE_CLOSED:
		is_paged = false;
		return true;
	default:
		return false;
	}
}

static void wait_for_reader(void)
{
	static const char prompt[] = "-- more: space, Enter for a row, q to stop --";

	sink_puts(&console_sink, terminal.columns > strlen(prompt) ? prompt : "-- more --");
	while (!turn_page())
		sink_puts(&console_sink, "\a");
	sink_puts(&console_sink, "\r\x1b[K");
}

/* Shows text without a newline, or with one at its end. */
static void show(const char *text, size_t n)
{
	bool ends = text[n - 1] == '\n';

	if (is_paged && terminal.rows > 0 && column == 0 && rows + 1 >= terminal.rows)
		wait_for_reader();
	if (is_over)
		return;
	sink_write(&console_sink, text, n);
	column += (unsigned)(n - ends);
	if (!ends)
		return;
	rows += 1 + (terminal.columns && column > 0 ? (column - 1) / terminal.columns : 0);
	column = 0;
	is_over |= monitor_is_interrupted();
}

static void shown_write(struct sink *sink, const char *text, size_t n)
{
	while (n > 0 && !is_over) {
		const char *newline = memchr(text, '\n', n);
		size_t part = newline ? (size_t)(newline - text) + 1 : n;

		show(text, part);
		text += part;
		n -= part;
	}
}

static struct sink shown = {shown_write, NULL};

static bool is_shown(struct sink *sink)
{
	return is_typed && sort_out(sink) == &shown;
}

struct sink *terminal_begin(void)
{
	is_typed = true;
	is_over = false;
	is_paged = terminal.rows > 0;
	rows = column = 0;
	return &shown;
}

void terminal_end(void)
{
	if (is_over)
		sink_puts(&console_sink, column ? "\n" : "");
	is_typed = false;
}

bool terminal_page(struct sink *sink, bool on)
{
	bool was = is_paged;

	if (is_shown(sink))
		is_paged = on;
	return was;
}

struct sink *monitor_live(struct sink *sink)
{
	return is_shown(sink) ? &console_sink : sink;
}

bool monitor_interrupted(struct sink *sink)
{
	if (is_shown(sink))
		return is_over || monitor_is_interrupted();
	return sort_out(sink) == &console_sink && monitor_is_interrupted();
}

bool monitor_pause(struct sink *sink, uint64_t ns)
{
	int byte;

	if (!is_shown(sink) || is_over || panic_happened())
		return false;
	rows = 0;
	if (!rendez_sleep_timeout(&input, has_byte, &byte, port_ns() + ns))
		return true;
	end_key(byte);
	return false;
}

bool monitor_ask(struct sink *sink, const char *prompt)
{
	int key;

	if (!is_shown(sink) || is_over)
		return !monitor_interrupted(sink);
	sink_puts(&console_sink, prompt);
	key = terminal_read();
	end_key(key);
	sink_puts(&console_sink, "\r\x1b[K");
	is_over |= key == EDITOR_KEY_INTERRUPT;
	return !is_over;
}

/* The terminal's size */

const struct terminal *terminal_size(void)
{
	return &terminal;
}

/* Reads one side of "80x24", up to the byte `end`; returns what follows it, or NULL. */
static const char *read_side(const char *text, char end, unsigned *side)
{
	unsigned value = 0;

	for (; *text >= '0' && *text <= '9' && value <= SIDE_MAX; text++)
		value = value * 10 + (unsigned)(*text - '0');
	if (*text != end || value < SIDE_MIN || value > SIDE_MAX)
		return NULL;
	*side = value;
	return text + (end != '\0');
}

const char *monitor_set_terminal(const char *size)
{
	struct terminal given = {0, 0};
	const char *rest;

	if (strcmp(size, "none") != 0) {
		rest = read_side(size, 'x', &given.columns);
		if (!rest || !read_side(rest, '\0', &given.rows))
			return "not a size as 80x24, with sides from 10 to 1000, nor none";
	}
	terminal = given;
	return NULL;
}
