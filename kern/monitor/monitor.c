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

static struct history history;

static struct editor editor = {
	.sink = &console_sink,
	.prompt = "spandrel> ",
	.history = &history,
	.complete = command_complete,
};

static struct rendez input = RENDEZ_INIT(input);

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
	monitor_add_commands(&arena_commands);
	monitor_add_commands(&slab_commands);
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
		monitor_run_line(editor.line);
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
