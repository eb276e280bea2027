/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: interrupt vectors and cores.
 */
#include "irq.h"
#include "lib/panic.h"
#include "lib/table.h"
#include "machine.h"
#include "monitor_impl.h"
#include "port.h"

/* irq */

struct irq_row {
	const char *name, *route;
	uint64_t vector, count;
};

static const struct table_column irq_columns[] = {
	TABLE_COLUMN(struct irq_row, vector, "vector", "vector", 6, TABLE_COUNT, 0),
	TABLE_COLUMN(struct irq_row, name, "name", "name", -16, TABLE_STRING, 0),
	TABLE_COLUMN(struct irq_row, count, "interrupts", "count", 12, TABLE_COUNT, 0),
	TABLE_COLUMN(struct irq_row, route, "from", "route", -40, TABLE_STRING, 0),
};
static const struct table irq_table = {"irq", irq_columns, ARRAY_SIZE(irq_columns)};

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
	const char *id, *hardware_id, *node, *state; /* a core's number may be 0, which isn't nothing */
	uint64_t irqs, nmis, spurious, restarts;
};

static const struct table_column core_columns[] = {
	TABLE_COLUMN(struct core_row, id, "core", "id", 4, TABLE_STRING, 0),
	TABLE_COLUMN(struct core_row, hardware_id, "apic", "apic", 4, TABLE_STRING, 0),
	TABLE_COLUMN(struct core_row, node, "node", "node", 4, TABLE_STRING, 0),
	TABLE_COLUMN(struct core_row, state, "state", "state", -7, TABLE_STRING, 0),
	TABLE_COLUMN(struct core_row, irqs, "interrupts", "irqs", 12, TABLE_COUNT, TABLE_TOTAL),
	TABLE_COLUMN(struct core_row, nmis, "NMIs", "nmis", 6, TABLE_COUNT, TABLE_TOTAL),
	TABLE_COLUMN(struct core_row, spurious, "spurious", "spurious", 8, TABLE_COUNT, TABLE_TOTAL),
	TABLE_COLUMN(struct core_row, restarts, "restarts", "restarts", 10, TABLE_COUNT, TABLE_TOTAL),
};
static const struct table core_table = {"core", core_columns, ARRAY_SIZE(core_columns)};

static void print_core(struct table_printer *printer, unsigned id)
{
	struct machine_core_info info;
	char number[12], hardware_id[12], node[12];
	struct core_row row = {number, hardware_id, NULL, "online", 0, 0, 0, 0};

	machine_core_info(id, &info);
	ksnprintf(number, sizeof(number), "%u", id);
	ksnprintf(hardware_id, sizeof(hardware_id), "%u", info.hardware_id);
	ksnprintf(node, sizeof(node), "%u", info.node);
	row.node = info.has_node ? node : NULL;
	row.irqs = irq_core_count(id);
	row.nmis = info.nmis;
	row.spurious = info.spurious;
	row.restarts = port_stack_restarts(id);
	table_row(printer, &row);
}

static void print_distances(const struct command_call *call)
{
	size_t nodes = machine_node_count();

	for (size_t from = 0; from < nodes; from++) {
		sink_printf(call->sink, call->keys ? "node id=%zu distances=" : "node %zu, distances:",
			from);
		for (size_t to = 0; to < nodes; to++)
			sink_printf(call->sink, "%s%u", !call->keys ? " " : to ? "," : "",
				machine_node_distance(from, to));
		sink_puts(call->sink, "\n");
	}
}

static const char *cores_command(const struct command_call *call)
{
	struct table_printer printer;

	table_begin(&printer, &core_table, call->sink, call->keys);
	for (unsigned id = 0; id < port_core_count(); id++)
		print_core(&printer, id);
	table_end(&printer);
	print_distances(call);
	return NULL;
}

static const struct command commands[] = {
	{"irq", "[-k]", "interrupt vectors: who has each, where it comes from, how often", "irq",
		irq_command, COMMAND_PANIC_SAFE, NULL},
	{"cores", "[-k]", "the cores that run, and how far memory nodes are apart", "cores",
		cores_command, COMMAND_PANIC_SAFE, NULL},
};

struct command_table irq_commands = COMMAND_TABLE("irq", commands);
