/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: interrupt vectors and cores.
 */
#include "monitor_impl.h"

#include "boot.h"
#include "irq.h"
#include "kthread.h"
#include "lib/array.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "machine.h"
#include "port.h"
#include "table.h"

#define KTASKS_STEP 16 /* ktasks read at a time */

/* irq */

struct irq_row {
	const char *name, *route;
	uint64_t vector, count;
};

static const struct table_column irq_columns[] = {
	TABLE_COLUMN(struct irq_row, vector, "vector", "vector", 6, TABLE_NUMBER, 0,
		"its number, of those that the arena `vectors` hands out"),
	TABLE_COLUMN(struct irq_row, name, "name", "name", -16, TABLE_STRING, 0, "what it was handed out for"),
	TABLE_COLUMN(struct irq_row, count, "interrupts", "count", 12, TABLE_COUNT, 0,
		"handled, on all cores"),
	TABLE_COLUMN(struct irq_row, route, "from", "route", -40, TABLE_STRING, 0,
		"the device's pin or message that raises it"),
};
static const struct table irq_table = {"irq", irq_columns, ARRAY_SIZE(irq_columns)};
static const struct table *const irq_tables[] = {&irq_table, NULL};

static const char *irq_command(const struct command_call *call)
{
	struct table_printer printer;
	struct irq_info info;

	table_begin(&printer, &irq_table, call->sink, call->keys);
	for (unsigned vector = 0; irq_next(vector, &info); vector = info.vector + 1) {
		struct irq_row row = {info.name, info.route, info.vector, info.count};

		table_row(&printer, &row);
	}
	table_end(&printer);
	return NULL;
}

/* cores */

struct core_row {
	uint64_t id, hardware_id;
	const char *node; /* text, since there may be none */
	const char *state, *ktask;
	uint64_t irqs, nmis, spurious, restarts;
};

static const struct table_column core_columns[] = {
	TABLE_COLUMN(struct core_row, id, "core", "id", 4, TABLE_NUMBER, 0,
		"its number"),
	TABLE_COLUMN(struct core_row, hardware_id, "apic", "apic", 4, TABLE_NUMBER, 0,
		"the number of its local APIC"),
	TABLE_COLUMN(struct core_row, node, "node", "node", 4, TABLE_STRING, 0,
		"the node of memory that it is next to; blank: not known"),
	TABLE_COLUMN(struct core_row, state, "state", "state", -6, TABLE_STRING, 0,
		"whether it runs"),
	TABLE_COLUMN(struct core_row, irqs, "interrupts", "irqs", 10, TABLE_COUNT, TABLE_TOTAL,
		"handled by it"),
	TABLE_COLUMN(struct core_row, nmis, "NMIs", "nmis", 5, TABLE_COUNT, TABLE_TOTAL,
		"NMIs that it took"),
	TABLE_COLUMN(
		struct core_row, spurious, "spurious", "spurious", 8, TABLE_COUNT, TABLE_TOTAL,
		"interrupts that no handler had asked for"),
	TABLE_COLUMN(
		struct core_row, restarts, "restarts", "restarts", 8, TABLE_COUNT, TABLE_TOTAL,
		"sequences on its stacks of pointers that were restarted"),
	TABLE_COLUMN(struct core_row, ktask, "runs", "ktask", -23, TABLE_STRING, 0,
		"the ktask that runs on it"),
};
static const struct table core_table = {"core", core_columns, ARRAY_SIZE(core_columns)};

/* The names of the ktasks that run, one for each core; "": not known. */
struct running {
	char (*names)[KTASK_NAME_MAX];
	unsigned cores;
	size_t bytes;
};

static void note_if_running(struct running *r, const struct ktask_stats *t)
{
	if (strcmp(t->state, "running") == 0 && t->core < r->cores)
		str_copy(r->names[t->core], t->name, KTASK_NAME_MAX);
}

/* Goes through all ktasks once.  After a panic, and without memory for the names, none is known. */
static void running_init(struct running *r)
{
	struct ktask_stats rows[KTASKS_STEP];
	uint64_t from = 0;
	size_t n;

	r->cores = port_core_count();
	r->bytes = (r->cores * sizeof(r->names[0]) + PORT_PAGE_SIZE - 1) & ~(PORT_PAGE_SIZE - 1);
	r->names = panic_happened() ? NULL : base_zalloc(NULL, r->bytes, MEM_ATOMIC);
	while (r->names && (n = ktask_stats(from, rows, KTASKS_STEP)) > 0) {
		for (size_t i = 0; i < n; i++)
			note_if_running(r, &rows[i]);
		from = rows[n - 1].id + 1;
	}
}

static void running_free(struct running *r)
{
	if (r->names)
		base_free(NULL, r->names, r->bytes);
}

static void print_core(struct table_printer *printer, unsigned id, const struct running *running)
{
	struct machine_core_info info;
	struct core_row row = {.id = id, .state = "online"};
	char node[12];

	machine_core_info(id, &info);
	ksnprintf(node, sizeof(node), "%u", info.node);
	row.hardware_id = info.hardware_id;
	row.node = info.has_node ? node : NULL;
	row.ktask = running->names ? running->names[id] : NULL;
	row.irqs = irq_core_count(id);
	row.nmis = info.nmis;
	row.spurious = info.spurious;
	row.restarts = machine_stack_restarts(id);
	table_row(printer, &row);
}

static const char *cores_command(const struct command_call *call)
{
	struct table_printer printer;
	struct running running;

	running_init(&running);
	table_begin(&printer, &core_table, call->sink, call->keys);
	for (unsigned id = 0; id < running.cores; id++)
		print_core(&printer, id, &running);
	table_end(&printer);
	running_free(&running);
	nodes_print(call);
	if (call->keys)
		sink_printf(call->sink, "boot ticks=%llu\n", (unsigned long long)boot_ticks);
	return NULL;
}

static const struct table *const core_tables[] = {&core_table, &nodes_table, NULL};

static const struct command commands[] = {
	{"irq", "[-k]", "interrupt vectors in use, and where they come from",
		"irq", irq_command, COMMAND_PANIC_SAFE, NULL, irq_tables},
	{"cores", "[-k]", "the cores, and the memory nodes", "cores",
		cores_command, COMMAND_PANIC_SAFE, NULL, core_tables},
};

struct command_table irq_commands = COMMAND_TABLE("irq", commands);
