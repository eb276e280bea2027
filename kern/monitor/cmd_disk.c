/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: the disks.
 */
#include "monitor_impl.h"

#include "disk.h"
#include "lib/array.h"
#include "table.h"

struct disk_row {
	struct disk_stats s;
	uint64_t bytes;
};

#define COLUMN(member, title, width, help)                                                         \
	TABLE_COLUMN(struct disk_row, s.member, title, #member, width, TABLE_COUNT, 0, help)

static const struct table_column columns[] = {
	TABLE_COLUMN(struct disk_row, s.name, "disk", "name", -6, TABLE_STRING, 0, "its name"),
	TABLE_COLUMN(struct disk_row, s.kind, "kind", "kind", -6, TABLE_STRING, 0, "its driver"),
	TABLE_COLUMN(struct disk_row, s.state, "state", "state", -7, TABLE_STRING, 0,
		"whether it takes requests"),
	TABLE_COLUMN(struct disk_row, bytes, "size", "bytes", 9, TABLE_BYTES, 0, "of all its blocks"),
	TABLE_COLUMN(
		struct disk_row, s.blocks, "blocks", "blocks", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(queues, "queues", 6, "of requests, for cores to share"),
	COLUMN(vectors, "vectors", 7, "interrupt vectors"),
	COLUMN(in_flight, "under way", 9, "requests that haven't ended"),
	COLUMN(reads, "reads", 6, "that have ended"),
	COLUMN(writes, "writes", 6, "that have ended"),
	COLUMN(errors, "errors", 6, "requests that failed"),
	TABLE_COLUMN(
		struct disk_row, s.flushes, "flushes", "flushes", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct disk_row, s.blocks_read, "blocks read", "blocks_read", 0, TABLE_COUNT,
		TABLE_KEY_ONLY),
	TABLE_COLUMN(struct disk_row, s.blocks_written, "blocks written", "blocks_written", 0,
		TABLE_COUNT, TABLE_KEY_ONLY),
};
static const struct table table = {"disk", columns, ARRAY_SIZE(columns)};
static const struct table *const tables[] = {&table, NULL};

static const char *disk_command(const struct command_call *call)
{
	struct table_printer printer;
	struct disk_row row;

	if (!disk_next(NULL) && !call->keys) {
		sink_puts(call->sink, "there is no disk\n");
		return NULL;
	}
	table_begin(&printer, &table, call->sink, call->keys);
	for (struct disk *d = disk_next(NULL); d; d = disk_next(d)) {
		disk_get_stats(d, &row.s);
		row.bytes = row.s.blocks * DISK_BLOCK_SIZE;
		table_row(&printer, &row);
	}
	table_end(&printer);
	return NULL;
}

static const struct command commands[] = {
	{"disk", "[-k]", "the disks: size, queues, requests, errors", "disk",
		disk_command, COMMAND_PANIC_SAFE, NULL, tables},
};

struct command_table disk_commands = COMMAND_TABLE("disks", commands);
