/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Boots a kernel under a fuzzer.  The process begins here, not in libFuzzer: the kernel's script is one command,
 * `fuzz`, whose ktask hands this process's arguments to libFuzzer, or to replay.c.
 *
 * This stands in the place of arch/host/main.c, and leaves out the terminal and the handlers of signals: faults
 * are the sanitizers'.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../arch/host/host.h"
#include "boot.h"
#include "fuzz.h"
#include "kthread.h"
#include "lib/bench.h"
#include "lib/test.h"
#include "machine.h"
#include "monitor.h"

#define RAM_SIZE ((size_t)32 << 20)
#define STACK_SIZE ((size_t)1 << 20) /* libFuzzer's frames, and the sanitizers' */

static struct boot_ram ram = {.size = RAM_SIZE};
static struct boot_info info = {
	.cmdline = "autorun=fuzz",
	.ram = &ram,
	.ram_count = 1,
	.ram_total = RAM_SIZE,
	.machine = "a fuzzer",
};

static int argument_count;
static char **arguments;
static int result;

void host_refuse(const char *word, const char *why)
{
	fprintf(stderr, "fuzz: %s: %s\n", word, why);
	exit(MACHINE_STOP_REFUSED);
}

/* What the fuzzers share */

void *fuzz_copy(const void *data, size_t size)
{
	void *copy = malloc(size);

	ASSERT(copy);
	if (size > 0)
		memcpy(copy, data, size);
	return copy;
}

unsigned fuzz_period = 64;
static unsigned inputs; /* that have ended */

void fuzz_begin(void)
{
	if (inputs % fuzz_period == 0)
		test_fence.begin();
}

void fuzz_end(void)
{
	const char *wrong = inputs++ % fuzz_period == 0 ? test_fence.end() : NULL;

	if (wrong)
		panic("after the input: %s", wrong);
}

int fuzz_run(const struct fuzz_operations *o, const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};

	fuzz_begin();
	o->begin(&in);
	for (size_t n = 1; in.left > 0; n++) {
		o->operate(&in);
		if (n % FUZZ_CHECK_PERIOD == 0)
			o->check();
	}
	o->end();
	fuzz_end();
	return 0;
}

bool fuzz_is_plain(const char *line)
{
	if (!*line)
		return false;
	for (; *line; line++)
		if (*line < ' ' || *line > '~')
			return false;
	return true;
}

/* The start */

/* A panic's report is out: libFuzzer, which handles SIGABRT, keeps the input. */
static void end_by_abort(struct sink *sink)
{
	abort();
}

static struct panic_hook panic_hook = {.print = end_by_abort};

static void run_driver(void *arg)
{
	result = LLVMFuzzerRunDriver(&argument_count, &arguments, LLVMFuzzerTestOneInput);
}

static const char *fuzz_command(const struct command_call *call)
{
	const struct ktask_plan plan = {
		.name = "fuzz", .fn = run_driver, .core = KTASK_ANY_CORE, .stack_size = STACK_SIZE};

	panic_add_hook(&panic_hook);
	ktask_join(ktask_create(&plan));
	return result == 0 ? NULL : "failed";
}

static const struct command commands[] = {
	{"fuzz", "", "runs the fuzzer that is linked in", "fuzz", fuzz_command, 0, NULL, NULL},
};
static struct command_table table = COMMAND_TABLE("fuzz", commands);

/* The image needs one of each. */
TEST("fuzz: an image without other tests links")
{
}

BENCH("fuzz")
{
}

int main(int argc, char **argv)
{
	info.entry_ticks = port_ticks();
	argument_count = argc;
	arguments = argv;
	host_port_init(argv);
	ram.start = (uintptr_t)host_ram_map(RAM_SIZE);
	if (!ram.start)
		host_refuse("memory", "Linux won't map that much");
	host_cores_init(1);
	host_keeper_start(1);
	monitor_add_commands(&table);
	kernel_main(&info);
}
