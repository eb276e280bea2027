/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor: reads lines and runs them, also after a panic.
 */
#include "monitor.h"

#include "editor.h"
#include "lib/panic.h"
#include "monitor_impl.h"
#include "port.h"
#include "sync.h"

#define HISTORY_QUANTUM 64 /* bytes: a line of 47 characters takes one */
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

void monitor_input(void)
{
	rendez_wakeup(&input);
}

static bool has_byte(void *byte)
{
	*(int *)byte = port_console_getc(false);
	return *(int *)byte != PORT_CONSOLE_NONE;
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

static enum editor_result read_line(void)
{
	enum editor_result result;

	editor_begin(&editor);
	do {
		result = editor_feed(&editor, read_byte());
	} while (result == EDITOR_MORE);
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
