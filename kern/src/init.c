/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's entry: the order in which the parts of the kernel start.
 */
#include "arena.h"
#include "block_cache.h"
#include "boot.h"
#include "cmdline.h"
#include "disk.h"
#include "irq.h"
#include "kmalloc.h"
#include "kmem_debug.h"
#include "kmem_sample.h"
#include "kthread.h"
#include "leaks.h"
#include "lib/array.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "lib/test.h"
#include "machine.h"
#include "monitor.h"
#include "physical.h"
#include "port.h"
#include "reclaim.h"
#include "vmap.h"

#define EXIT_FAILED 1 /* a test, or a command of a script */
#define KPAGES_CACHED KMALLOC_CACHED_MAX /* bytes: kpages_arena has quantum caches up to that */

/* Tests need more than an ordinary stack. */
#define FIRST_STACK (4 * MACHINE_STACK_SIZE)

/* From the command line. */
static char autorun[CMDLINE_VALUE_MAX];
static char test_filter[CMDLINE_VALUE_MAX];
static bool runs_commands, runs_tests;

static const char *set_autorun(const char *value)
{
	str_copy(autorun, value, sizeof(autorun));
	runs_commands = true;
	return NULL;
}

static const char *set_test(const char *value)
{
	str_copy(test_filter, value, sizeof(test_filter));
	runs_tests = true;
	return NULL;
}

static const char *set_test_seed(const char *value)
{
	return str_to_u64(value, &test_config.seed) ? NULL : "not a number";
}

static const char *set_test_divisor(const char *value)
{
	uint64_t divisor;

	if (!str_to_u64(value, &divisor) || divisor == 0 || divisor > UINT32_MAX)
		return "not a number above 0";
	test_config.ops_divisor = (unsigned)divisor;
	return NULL;
}

static const char *set_test_limit(const char *value)
{
	uint64_t seconds;

	if (!str_to_u64(value, &seconds) || seconds > UINT32_MAX)
		return "not a number of seconds";
	test_config.limit = (unsigned)seconds;
	return NULL;
}

static uint64_t sample_at_boot;

static const char *set_kmem_sample(const char *value)
{
	return str_to_u64(value, &sample_at_boot) ? NULL : "not a number";
}

static const char *set_terminal(const char *value)
{
	test_config.on_terminal = true;
	return monitor_set_terminal(*value ? value : "80x24");
}

static const struct cmdline_option options[] = {
	{"autorun", set_autorun},	    /* run these monitor commands, then stop */
	{"test", set_test},		    /* run the tests with this in their name, then stop */
	{"test_seed", set_test_seed},	    /* test_config.seed */
	{"test_divisor", set_test_divisor}, /* test_config.ops_divisor */
	{"terminal", set_terminal},	    /* a person reads the console, on a terminal of that size */
	{"test_limit", set_test_limit},	    /* test_config.limit */
	{"kmem_debug", kmem_debug_set},	    /* the debug mode of arenas and caches */
	{"kmem_sample", set_kmem_sample},   /* one allocation in so many is guarded */
};

static const struct boot_ram *first_big_enough(void)
{
	for (size_t i = 0; i < boot_info->ram_count; i++)
		if (boot_info->ram[i].size >= ARENA_BASE_PAGES_MIN * PORT_PAGE_SIZE)
			return &boot_info->ram[i];
	panic("no memory: none of %zu ranges has %d pages", boot_info->ram_count,
		ARENA_BASE_PAGES_MIN);
}

static void add_to_base(const struct boot_ram *ram)
{
	int error = arena_add(base_arena, (void *)ram->start, ram->size, MEM_ATOMIC);

	if (error)
		kprintf("memory at %#zx, %zu bytes, is left out: %s\n", (size_t)ram->start,
			ram->size, arena_add_strerror(error));
}

static void make_arenas(void)
{
	const struct boot_ram *first = first_big_enough();

	base_arena = arena_create_base("base", (void *)first->start, first->size);
	for (size_t i = 0; i < boot_info->ram_count; i++)
		if (&boot_info->ram[i] != first)
			add_to_base(&boot_info->ram[i]);
	kpages_arena = arena_create("kpages", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free,
		base_arena, KPAGES_CACHED, MEM_WAIT);
}

static void print_boot_line(void)
{
	uint64_t total = arena_amt_total(base_arena);
	uint64_t tenths = port_ticks_ns(port_ticks() - boot_info->entry_ticks) / 100000; /* of a ms */
	unsigned cores = port_core_count();

	kprintf("spandrel: %s, %u core%s, %pB of memory, booted in %llu.%u ms\n", boot_info->machine,
		cores, cores == 1 ? "" : "s", (const void *)&total,
		(unsigned long long)(tenths / 10), (unsigned)(tenths % 10));
}

/* Whether a script runs this kernel: then a panic ends the run, without the panic monitor. */
static bool is_scripted(void)
{
	return runs_commands || runs_tests;
}

static void start(const char *name, void (*fn)(void *arg), bool is_urgent)
{
	struct ktask_plan plan = {
		.name = name, .fn = fn, .core = KTASK_ANY_CORE, .detached = true, .is_urgent = is_urgent};

	if (!ktask_create(&plan))
		panic("no memory for ktask %s", name);
}

static bool run_tests(void)
{
	struct test_result result = test_run(test_filter, false, &console_sink);

	if (result.passed + result.failed == 0)
		kprintf("no test has \"%s\" in its name\n", test_filter);
	return result.passed > 0 && result.failed == 0 && !result.is_interrupted;
}

/* Runs what the command line asks for; returns the code to stop with. */
static int run_script(void)
{
	bool passed = true;

	if (runs_tests)
		passed = run_tests();
	if (runs_commands)
		passed = monitor_run_line(autorun) && passed;
	return block_cache_sync_all() && passed ? 0 : EXIT_FAILED;
}

/* The first ktask: a script, or the monitor. */
static void run_first(void *arg)
{
	print_boot_line();
	start("serve", serve_main, true);
	start("reclaim", reclaim_main, false);
	/* What comes next may be short, and is to sleep then. */
	while (!reclaim_is_running())
		kthread_yield();
	if (kmem_sample_set(sample_at_boot) != 0)
		kprintf("no memory for samples\n");
	disk_init();
	block_cache_init();
	test_config.set_watch = machine_watch_set;
	monitor_input();
	if (is_scripted())
		machine_stop(run_script());
	monitor_run();
	block_cache_sync_all();
	machine_stop(0);
}

static const struct ktask_plan first_ktask = {
	.name = "monitor",
	.fn = run_first,
	.core = KTASK_ANY_CORE,
	.stack_size = FIRST_STACK,
	.detached = true,
};

void kernel_poked(void)
{
	reclaim_poked();
}

void kernel_late(uintptr_t pc, uintptr_t frame)
{
	test_late(pc, frame);
}

void kernel_fault(uintptr_t address, const char *access, const struct panic_site *site)
{
	kmem_sample_fault(address, access, site);
}

void kernel_input(void)
{
	monitor_input();
}

static void look_between(uintptr_t from, uintptr_t to)
{
	if (from < to)
		leaks_look((const void *)from, to - from);
}

/* But for boot's list of RAM: where a range of it begins an object may. */
static void look_at_data(uintptr_t stack)
{
	uintptr_t list = (uintptr_t)boot_info->ram, list_end = (uintptr_t)&boot_info->ram[boot_info->ram_count], start;
	size_t size;

	for (size_t i = 0; machine_data(i, &start, &size); i++) {
		uintptr_t end = start + size;

		look_between(start, end < list ? end : list);
		look_between(start > list_end ? start : list_end, end);
	}
}

static struct leaks_root data_root = {.name = "kernel data", .look = look_at_data};

void kernel_main(const struct boot_info *info)
{
	boot_info = info;
	cmdline_parse(boot_info->cmdline, options, ARRAY_SIZE(options), &console_sink);
	make_arenas();
	kmem_cache_init();
	physical_init();
	vmap_init();
	kmem_sample_init(vaddr_arena, machine_map_marked, machine_unmap_marked);
	irq_init();
	kthread_init();
	leaks_add_root(&data_root);
	leaks_add_root(&ktask_leaks_root);
	monitor_init();
	if (!is_scripted())
		monitor_stay_after_panic();
	boot_ticks = port_ticks() - boot_info->entry_ticks;
	kthread_run(&first_ktask);
}
