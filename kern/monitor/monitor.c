/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor: reads lines and runs them, also after a panic.
 */
#include "monitor.h"

#include "editor.h"
#include "lib/panic.h"
#include "lib/test.h"
#include "monitor_impl.h"
#include "port.h"
#include "spinlock.h"
#include "sync.h"

#define HISTORY_QUANTUM 64 /* bytes: a line of 47 characters takes one */
#define AHEAD_MAX 1024     /* keys that are read ahead */
#define SEQUENCE_NS 50000000ull /* from a byte of an escape sequence to the next, at most */

static struct history history;

static struct editor editor = {
	.sink = &console_sink,
	.prompt = "spandrel> ",
	.history = &history,
	.complete = command_complete,
};

static struct rendez input = RENDEZ_INIT(input);
static bool is_typed; /* the line that runs was read from the console */

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
static void read_ahead(void)
{
	int byte;

	while (ahead.head - ahead.tail < AHEAD_MAX && (byte = port_console_getc(false)) >= 0) {
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
		byte = port_console_getc(false);
	spin_unlock(&ahead.lock, irq);
	return byte;
}

static bool has_byte(void *byte)
{
	*(int *)byte = take_byte();
	return *(int *)byte != PORT_CONSOLE_NONE;
}

/* From here on Ctrl-C is a key of the line; afterward it interrupts what runs. */
static void begin_reading(void)
{
	port_irq_t irq = spin_lock(&ahead.lock);

	ahead.is_reading = true;
	set_interrupted(false);
	spin_unlock(&ahead.lock, irq);
}

static void end_reading(void)
{
	port_irq_t irq = spin_lock(&ahead.lock);

	ahead.is_reading = false;
	read_ahead();
	spin_unlock(&ahead.lock, irq);
}

/* After a panic there is no switching to another ktask, so the core itself waits for input. */
static int read_byte(void)
{
	int byte;

	if (panic_happened())
		return port_console_getc(true);
	rendez_sleep(&input, has_byte, &byte);
	return byte;
}

/* Some terminals send two bytes for Enter: the second one is no key. */
static bool ends_return(int byte)
{
	bool after_return = editor.after_return;

	editor.after_return = byte == '\r';
	return byte == '\n' && after_return;
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

bool monitor_pause(struct sink *sink, uint64_t ns)
{
	uint64_t deadline = port_ns() + ns;
	int byte;

	if (!is_typed || sink != &console_sink || panic_happened())
		return false;
	do {
		if (!rendez_sleep_timeout(&input, has_byte, &byte, deadline))
			return true;
	} while (ends_return(byte));
	if (byte == EDITOR_KEY_ESC)
		skip_sequence();
	return false;
}

static void print_tree(struct sink *sink)
{
	arena_tree_print(sink, false);
}

static struct panic_hook panic_hook = {.print = print_tree};

void monitor_init(void)
{
	struct arena *arena = arena_create("monitor", NULL, 0, HISTORY_QUANTUM, arena_alloc,
		arena_free, kpages_arena, 0, MEM_WAIT);

	history_init(&history, arena);
	test_config.is_interrupted = monitor_is_interrupted;
	monitor_add_commands(&system_commands);
	monitor_add_commands(&initrd_commands);
	monitor_add_commands(&memory_commands);
	monitor_add_commands(&top_commands);
	monitor_add_commands(&arena_commands);
	monitor_add_commands(&slab_commands);
	monitor_add_commands(&reclaim_commands);
	monitor_add_commands(&whatis_commands);
	monitor_add_commands(&ktask_commands);
	monitor_add_commands(&irq_commands);
	monitor_add_commands(&disk_commands);
	monitor_add_commands(&cache_commands);
	monitor_add_commands(&work_commands);
	panic_add_hook(&panic_hook);
}

/* After a panic no lock is taken. */
static enum editor_result read_line(void)
{
	enum editor_result result;

	if (!panic_happened())
		begin_reading();
	editor_begin(&editor);
	do {
		result = editor_feed(&editor, read_byte());
	} while (result == EDITOR_MORE);
	if (!panic_happened())
		end_reading();
	return result;
}

/* After a panic the history is only read, since adding a line allocates. */
void monitor_run(void)
{
	while (read_line() == EDITOR_LINE) {
		if (!panic_happened())
			history_add(&history, editor.line);
		is_typed = true;
		monitor_run_line(editor.line);
		is_typed = false;
	}
}

static void run_after_panic(void)
{
	kprintf("after a panic some commands are still safe: `help` lists them\n");
	editor.prompt = "panic> ";
	monitor_run();
}

void monitor_stay_after_panic(void)
{
	panic_set_monitor(run_after_panic);
}
