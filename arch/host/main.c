/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel as a Linux process: options, memory, and the call of kernel_main().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot.h"
#include "host.h"
#include "lib/array.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "machine.h"
#include "table.h"
#include "port.h"

#define CORES_MAX 255

static uint64_t cores = 1;
static uint64_t ram_size = (uint64_t)256 << 20;
static char cmdline[4096];
static size_t cmdline_length;

static struct boot_ram ram;
static struct boot_info info = {
	.cmdline = cmdline,
	.ram = &ram,
	.ram_count = 1,
	.machine = "host",
};

static void append(char c)
{
	if (cmdline_length < sizeof(cmdline) - 1)
		cmdline[cmdline_length++] = c;
}

/* Adds `word="value"`, or the value alone without a word. */
static const char *cmdline_add(const char *word, const char *value)
{
	for (const char *c = word; *c; c++)
		append(*c);
	if (*word)
		append('"');
	for (const char *c = value; *c; c++) {
		if (*word && (*c == '"' || *c == '\\'))
			append('\\');
		append(*c);
	}
	if (*word)
		append('"');
	append(' ');
	return cmdline_length < sizeof(cmdline) - 1 ? NULL : "the command line is too long";
}

static const char *option_cores(const char *value)
{
	return str_to_u64(value, &cores) && cores >= 1 && cores <= CORES_MAX ? NULL :
									       "not from 1 to 255";
}

static const char *option_mem(const char *value)
{
	if (!str_to_u64(value, &ram_size))
		return "not a size";
	if (value[strspn(value, "0123456789")] == '\0')
		ram_size = ram_size <= UINT64_MAX >> 20 ? ram_size << 20 : 0;
	ram_size &= ~(uint64_t)(PORT_PAGE_SIZE - 1);
	return ram_size >= MACHINE_MEMORY_MIN ? NULL : "too little memory, it takes 2 MiB";
}

/* Maps [0, size) of a file for reading; returns NULL, or what is wrong. */
static const char *initrd_map(int file, size_t size)
{
	void *at;

	if (size == 0)
		return NULL;
	at = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
	if (at == MAP_FAILED)
		return strerror(errno);
	info.initrd = at;
	info.initrd_size = size;
	return NULL;
}

static const char *option_initrd(const char *value)
{
	int file = open(value, O_RDONLY | O_CLOEXEC);
	const char *wrong;
	struct stat status;

	if (file < 0 || fstat(file, &status) != 0)
		return strerror(errno);
	wrong = S_ISREG(status.st_mode) ? initrd_map(file, (size_t)status.st_size) : "not a file";
	close(file);
	return wrong;
}

/* A quote that isn't closed would take in the words of later options, and a last backslash the space. */
static bool is_closed(const char *text)
{
	bool quoted = false;

	for (; *text; text++) {
		if (*text == '"')
			quoted = !quoted;
		else if (*text == '\\' && !*++text)
			return false;
	}
	return !quoted;
}

static const char *option_append(const char *value)
{
	return is_closed(value) ? cmdline_add("", value) : "a quote is not closed, or a backslash is last";
}

static const char *option_autorun(const char *value)
{
	return cmdline_add("autorun=", value);
}

static const char *option_test(const char *value)
{
	return cmdline_add("test=", value);
}

static const char *option_seed(const char *value)
{
	uint64_t seed;

	if (!str_to_u64(value, &seed))
		return "not a number";
	host_seed(seed);
	return cmdline_add("test_seed=", value);
}

static const char *option_help(const char *value);

static const struct option {
	const char *name;
	const char *value; /* [VALUE]: may be left out; "": takes none */
	const char *summary;
	const char *(*set)(const char *value);
} options[] = {
	{"--cores", "N", "cores, each a thread; default 1", option_cores},
	{"--mem", "SIZE", "memory as 64M or 4G, without a unit in MiB; default 256M", option_mem},
	{"--initrd", "FILE", "a file for the kernel to read; default none", option_initrd},
	{"--append", "WORDS", "words for the kernel's command line", option_append},
	{"--autorun", "CMDS", "monitor commands to run, `;` between them, and exit", option_autorun},
	{"--test", "[FILTER]", "run the tests whose names contain FILTER, and exit", option_test},
	{"--seed", "S", "seed of the tests' random numbers", option_seed},
	{"--help", "", "print this list", option_help},
};

static const char *option_help(const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		printf("  %-9s %-9s %s\n", options[i].name, options[i].value, options[i].summary);
	exit(0);
}

static const struct option *option_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

void host_refuse(const char *word, const char *why)
{
	fprintf(stderr, "spandrel-host: %s: %s\n", word, why);
	exit(MACHINE_STOP_REFUSED);
}

/* Handles the option at argv[0] and returns what follows it. */
static char **option_take(char **argv)
{
	const struct option *option = option_find(argv[0]);
	const char *value = "", *wrong;

	if (!option)
		host_refuse(argv[0], "no such option, --help lists them");
	if (option->value[0] == '[' ? argv[1] && !str_starts(argv[1], "--") : option->value[0])
		value = *++argv;
	if (!value)
		host_refuse(option->name, "a value must follow");
	wrong = option->set(value);
	if (wrong)
		host_refuse(option->name, wrong);
	return argv + 1;
}

/* Tells the kernel that a person reads its console, and the size of the terminal, if it has one. */
static void cmdline_add_terminal(void)
{
	struct winsize size = {0};
	char word[32];

	if (!isatty(STDOUT_FILENO))
		return;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		snprintf(word, sizeof(word), "terminal=%ux%u", size.ws_col, size.ws_row);
	else
		snprintf(word, sizeof(word), "terminal");
	cmdline_add("", word);
}

static void map_ram(void)
{
	void *start = host_ram_map(ram_size);

	if (!start)
		host_refuse("--mem", "Linux won't map that much");
	ram.start = (uintptr_t)start;
	ram.size = ram_size;
	info.ram_total = ram_size;
}

/* Standard files that are closed become /dev/null: else the next file that is opened, RAM perhaps,
 * gets the number of one and is read as keys, or written to. */
static void open_standard_files(void)
{
	for (int file = STDIN_FILENO; file <= STDERR_FILENO; file++)
		if (fcntl(file, F_GETFD) < 0 && open("/dev/null", O_RDWR) != file)
			exit(MACHINE_STOP_REFUSED);
}

_Static_assert(MACHINE_MEMORY_MIN == 2 << 20, "option_mem() says so");

static void run(void *arg)
{
	kernel_main(&info);
}

int main(int argc, char **argv)
{
	unsigned enough;

	info.entry_ticks = port_ticks();
	open_standard_files();
	host_port_init(argv);
	for (argv++; *argv;)
		argv = option_take(argv);
	cmdline_add_terminal();
	map_ram();
	enough = boot_cores_for(&info, (unsigned)cores);
	host_cores_init(enough);
	host_console_init();
	host_signals_init();
	host_keeper_start(enough);
	if (enough < cores)
		kprintf("cores: memory is enough for %u of %u: the others are left out\n", enough,
			(unsigned)cores);
	host_run(run, NULL);
}
