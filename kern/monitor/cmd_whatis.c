/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: what lies at an address, from the arena down to the object.
 */
#include "monitor_impl.h"

#include "lib/array.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "lib/symbol.h"
#include "table.h"

#define INDENT 2

struct whatis_row {
	const char *name, *indented, *state;
	uint64_t start, end, offset;
};

static const struct table_column columns[] = {
	TABLE_COLUMN(struct whatis_row, indented, "arena", "arena", -17, TABLE_STRING,
		TABLE_PEOPLE_ONLY),
	TABLE_COLUMN(struct whatis_row, name, "arena", "arena", -24, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct whatis_row, state, "state", "state", -5, TABLE_STRING, 0),
	TABLE_COLUMN(struct whatis_row, start, "start", "start", 18, TABLE_HEX, 0),
	TABLE_COLUMN(struct whatis_row, end, "end", "end", 18, TABLE_HEX, 0),
	TABLE_COLUMN(struct whatis_row, offset, "offset", "offset", 18, TABLE_HEX, 0),
};
static const struct table table = {"segment", columns, ARRAY_SIZE(columns)};

static void print_segment(struct table_printer *printer, const struct arena_stats *arena,
	const struct arena_segment *segment, uintptr_t address)
{
	char indented[ARENA_NAME_MAX + 8 * INDENT];
	struct whatis_row row = {
		.name = arena->name,
		.indented = indented,
		.state = segment->kind == ARENA_SEGMENT_USED ? "used" : "free",
		.start = segment->start,
		.end = segment->start + segment->size,
		.offset = address - segment->start,
	};

	ksnprintf(indented, sizeof(indented), "%*s%s", (int)arena->depth * INDENT, "", arena->name);
	table_row(printer, &row);
}

/* Prints the segment that contains the address in every arena that has one, sources before their
 * importers; returns how many. */
static size_t print_segments(
	const struct command_call *call, const struct snapshot *arenas, uintptr_t address)
{
	struct table_printer printer;
	struct arena_segment segment;
	size_t found = 0;

	for (size_t i = 0; i < arenas->count; i++) {
		if (!arena_find_segment((struct arena *)arenas->arena[i].arena, address, &segment))
			continue;
		if (found++ == 0)
			table_begin(&printer, &table, call->sink, call->keys);
		print_segment(&printer, &arenas->arena[i], &segment, address);
	}
	if (found)
		table_end(&printer);
	return found;
}

static void print_object(const struct command_call *call, struct kmem_cache *c,
	const struct kmem_object *o, uintptr_t address)
{
	size_t offset = address - (o->object ? o->object : o->slab);
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	if (call->keys)
		sink_printf(call->sink,
			"object cache=%s slab=0x%zx start=0x%zx offset=0x%zx free=%d\n", s.name,
			(size_t)o->slab, (size_t)o->object, offset, o->is_free);
	else if (o->object)
		sink_printf(call->sink, "cache %s, slab 0x%zx, %s object 0x%zx, offset 0x%zx\n",
			s.name, (size_t)o->slab, o->is_free ? "free" : "used", (size_t)o->object,
			offset);
	else
		sink_printf(call->sink, "cache %s, slab 0x%zx, behind its objects, offset 0x%zx\n",
			s.name, (size_t)o->slab, offset);
}

/* Prints slab and object in every cache that has the address, in the order of the arena tree;
 * returns how many. */
static size_t print_objects(const struct command_call *call, uintptr_t address)
{
	struct kmem_object where;
	size_t found = 0;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		if (!kmem_cache_find(c, address, &where))
			continue;
		print_object(call, c, &where, address);
		found++;
	}
	return found;
}

static bool print_function(const struct command_call *call, uintptr_t address)
{
	uintptr_t offset;
	const char *name = symbol_find(address, &offset);

	if (!name)
		return false;
	sink_printf(call->sink,
		call->keys ? "function name=%s offset=0x%zx\n" : "function %s+0x%zx\n", name,
		(size_t)offset);
	return true;
}

static const char *whatis_command(const struct command_call *call)
{
	struct snapshot arenas;
	uint64_t address;
	size_t found;

	if (!str_to_u64(call->argv[1], &address))
		return command_error("%s is not an address", call->argv[1]);
	found = print_function(call, (uintptr_t)address);
	/* Segments and objects are found under locks, which a panic may have left held. */
	if (panic_happened())
		return found ? NULL : "not in a function; arenas can't be searched after a panic";
	if (!snapshot_arenas(&arenas))
		return "no memory for a list of arenas";
	found += print_segments(call, &arenas, (uintptr_t)address);
	snapshot_free(&arenas);
	found += print_objects(call, (uintptr_t)address);
	if (!found)
		sink_printf(call->sink, "%#llx is in no arena and no function of the kernel\n",
			(unsigned long long)address);
	return NULL;
}

static const struct command commands[] = {
	{"whatis", "[-k] ADDR", "the function, segments, slab and object at an address",
		"whatis 0xffffffff80100000", whatis_command, COMMAND_PANIC_SAFE, NULL, NULL},
};

struct command_table whatis_commands = COMMAND_TABLE("whatis", commands);
