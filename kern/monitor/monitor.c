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
#include "sync.h"

#define HISTORY_QUANTUM 64 /* bytes: a line of 47 characters takes one */

static struct history history;

static struct editor editor = {
	.sink = &console_sink,
	.prompt = "spandrel> ",
	.history = &history,
	.complete = command_complete,
};

const struct history *monitor_history(void)
{
	return &history;
}

static void print_tree(struct sink *sink)
{
	arena_tree_print(sink, false);
}

void monitor_lock_tree(void) SPANDREL_UNANALYSED
{
	if (!panic_happened())
		qlock_lock(&arenas_and_slabs_lock);
}

void monitor_unlock_tree(void) SPANDREL_UNANALYSED
{
	if (!panic_happened())
		qlock_unlock(&arenas_and_slabs_lock);
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
	monitor_add_commands(&leaks_commands);
	monitor_add_commands(&reclaim_commands);
	monitor_add_commands(&whatis_commands);
	monitor_add_commands(&symbols_commands);
	monitor_add_commands(&who_commands);
	monitor_add_commands(&debug_commands);
	monitor_add_commands(&fail_commands);
	monitor_add_commands(&ktask_commands);
	monitor_add_commands(&irq_commands);
	monitor_add_commands(&disk_commands);
	monitor_add_commands(&cache_commands);
	monitor_add_commands(&work_commands);
	monitor_add_commands(&try_commands);
	monitor_add_commands(&terminal_commands);
	panic_add_hook(&panic_hook);
}

static enum editor_result read_line(void)
{
	enum editor_result result;

	if (!panic_happened())
		command_job_ready();
	terminal_begin_reading();
	editor.columns = terminal_size()->columns;
	editor_begin(&editor);
	do {
		result = editor_feed(&editor, terminal_read());
	} while (result == EDITOR_MORE);
	terminal_end_reading();
	return result;
}

/* After a panic the history is only read, since adding a line allocates. */
void monitor_run(void)
{
	while (read_line() == EDITOR_LINE) {
		if (!panic_happened())
			history_add(&history, editor.line);
		command_run_line(editor.line, terminal_begin());
		terminal_end();
	}
	kprintf("end of input: powering off\n");
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
