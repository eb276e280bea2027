/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: the streams of the initrd.
 */
#include "monitor_impl.h"

#include "boot.h"
#include "lib/array.h"
#include "table.h"
#include "work/stream.h"

#define WRONG_MAX 96 /* bytes of the line that refuses a stream */

struct stream_row {
	const char *kind; /* of its allocations */
	uint64_t number, caches, records, objects, bytes, live;
};

static const struct table_column stream_columns[] = {
	TABLE_COLUMN(struct stream_row, number, "stream", "number", 6, TABLE_NUMBER, 0,
		"its place in the initrd"),
	TABLE_COLUMN(struct stream_row, kind, "of", "kind", -7, TABLE_STRING, 0,
		"what it allocates"),
	TABLE_COLUMN(struct stream_row, caches, "caches", "caches", 6, TABLE_COUNT, 0,
		"that it allocates from"),
	TABLE_COLUMN(struct stream_row, records, "records", "records", 10, TABLE_COUNT, TABLE_TOTAL,
		"allocations and frees"),
	TABLE_COLUMN(struct stream_row, objects, "objects", "objects", 10, TABLE_COUNT, TABLE_TOTAL,
		"allocations"),
	TABLE_COLUMN(struct stream_row, live, "never freed", "live", 11, TABLE_COUNT, TABLE_TOTAL,
		"of them, those that the stream doesn't free"),
	TABLE_COLUMN(struct stream_row, bytes, "allocated", "bytes", 10, TABLE_BYTES, TABLE_TOTAL,
		"memory of all allocations together"),
};
static const struct table stream_table = {"stream", stream_columns, ARRAY_SIZE(stream_columns)};
static const struct table *const tables[] = {&stream_table, NULL};

/* "objects" are those of the slab layer: of caches and of kmalloc. */
static const char *kind_of(const struct stream_counts *c)
{
	bool slab = c->ops[STREAM_KMALLOC] + c->ops[STREAM_CACHE_ALLOC] > 0;
	bool pages = c->ops[STREAM_PAGE_ALLOC] > 0, ranges = c->ops[STREAM_RANGE_ALLOC] > 0;

	if (slab + pages + ranges > 1)
		return "several";
	if (slab || pages)
		return slab ? "objects" : "pages";
	return ranges ? "ranges" : NULL;
}

static void print_stream(struct table_printer *printer, const struct stream *s,
	const struct stream_counts *counts, unsigned number)
{
	struct stream_row row = {kind_of(counts), number, s->cache_count, s->record_count,
		counts->objects, counts->bytes, 2 * (uint64_t)counts->objects - s->record_count};

	table_row(printer, &row);
}

/* Prints the streams up to the first that is wrong; returns NULL, or what is wrong with it. */
static const char *print_streams(struct table_printer *printer)
{
	const uint8_t *at = boot_info->initrd, *end = at + boot_info->initrd_size;

	for (unsigned number = 0; at < end; number++) {
		struct stream_counts counts;
		struct stream s;
		const char *wrong = stream_open(&s, at, (size_t)(end - at));
		char line[WRONG_MAX];

		if (!wrong)
			wrong = stream_count(&s, &counts);
		if (wrong) {
			stream_explain(&s, wrong, line, sizeof(line));
			return command_error("stream %u is refused: %s", number, line);
		}
		print_stream(printer, &s, &counts, number);
		at += s.size;
	}
	return NULL;
}

static const char *initrd_command(const struct command_call *call)
{
	struct table_printer printer;
	const char *wrong;

	if (boot_info->initrd_size == 0)
		return "there is no initrd: --initrd FILE gives one";
	table_begin(&printer, &stream_table, call->sink, call->keys);
	wrong = print_streams(&printer);
	table_end(&printer);
	return wrong;
}

static const struct command commands[] = {
	{"initrd", "[-k]", "the recorded streams of allocations in the initrd", "initrd",
		initrd_command, COMMAND_PANIC_SAFE, NULL, tables},
};

struct command_table initrd_commands = COMMAND_TABLE("initrd", commands);
