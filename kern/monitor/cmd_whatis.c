/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: what lies at an address: the part of the address space, the symbol of the kernel's image, the
 * stack, the table that the machine or the kernel keeps there, segments from the root of the tree down to
 * the arena that handed it out, and the object.
 */
#include "monitor_impl.h"

#include "kthread.h"
#include "lib/array.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "lib/symbol.h"
#include "machine.h"
#include "table.h"

#define INDENT 2

struct whatis_row {
	const char *name, *indented, *state;
	uint64_t start, end, offset;
};

static const struct table_column columns[] = {
	TABLE_COLUMN(struct whatis_row, indented, "arena", "arena", -17, TABLE_STRING,
		TABLE_PEOPLE_ONLY,
		"an arena that has the address, below its source"),
	TABLE_COLUMN(struct whatis_row, name, "arena", "arena", -24, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct whatis_row, state, "state", "state", -5, TABLE_STRING, 0,
		"of the segment there: used or free"),
	TABLE_COLUMN(struct whatis_row, start, "start", "start", 18, TABLE_HEX, 0,
		"the segment's first address"),
	TABLE_COLUMN(struct whatis_row, end, "end", "end", 18, TABLE_HEX, 0,
		"the address behind its last"),
	TABLE_COLUMN(struct whatis_row, offset, "offset", "offset", 14, TABLE_HEX, 0,
		"how far into the segment the address lies"),
};
static const struct table table = {"segment", columns, ARRAY_SIZE(columns)};
static const struct table *const tables[] = {&table, NULL};

/* The segments that contain an address. */
struct segments {
	const struct command_call *call;
	struct table_printer printer;
	uintptr_t address;
	size_t found;
};

static void print_segment(struct segments *s, const struct arena_stats *arena,
	const struct arena_segment *segment)
{
	char indented[ARENA_NAME_MAX + 8 * INDENT];
	struct whatis_row row = {
		.name = arena->name,
		.indented = indented,
		.state = segment->kind == ARENA_SEGMENT_USED ? "used" : "free",
		.start = segment->start,
		.end = segment->start + segment->size,
		.offset = s->address - segment->start,
	};

	ksnprintf(indented, sizeof(indented), "%*s%s", (int)arena->depth * INDENT, "", arena->name);
	if (s->found++ == 0)
		table_begin(&s->printer, &table, s->call->sink, s->call->keys);
	table_row(&s->printer, &row);
}

static void look_in_arena(const struct arena_stats *arena, void *segments)
{
	struct segments *s = segments;
	struct arena_segment segment;

	if (arena_find_segment((struct arena *)arena->arena, s->address, &segment))
		print_segment(s, arena, &segment);
}

/* Prints the segment that contains the address in every arena that has one, sources before their
 * importers; returns how many. */
static size_t print_segments(const struct command_call *call, uintptr_t address)
{
	struct segments s = {.call = call, .address = address};
	struct snapshot arenas = {.count = 0};

	if (panic_happened())
		arena_tree_peek(look_in_arena, &s);
	else if (!snapshot_arenas(&arenas))
		sink_puts(call->sink, "no memory for a list of arenas\n");
	for (size_t i = 0; i < arenas.count; i++)
		look_in_arena(&arenas.arena[i], &s);
	if (arenas.rows)
		snapshot_free(&arenas);
	if (s.found)
		table_end(&s.printer);
	return s.found;
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

/* A symbol of the image: of the address, or of the one at which the image has the same memory. */
static size_t print_symbol(const struct command_call *call, const struct machine_place *place)
{
	uintptr_t offset;
	const char *name = place->image ? symbol_find(place->image, &offset) : NULL;

	if (!name)
		return 0;
	sink_printf(call->sink, call->keys ? "symbol name=%s offset=0x%zx\n" : "symbol %s+0x%zx\n", name,
		(size_t)offset);
	return 1;
}

/* The part of the address space. */
static void print_place(
	const struct command_call *call, uintptr_t address, const struct machine_place *place)
{
	char what[sizeof(place->what)];

	str_copy(what, place->what, sizeof(what));
	for (char *c = what; call->keys && *c; c++)
		if (*c == ' ')
			*c = '_';
	if (call->keys) {
		sink_printf(call->sink,
			"place address=0x%zx what=%s mapped=%d phys=0x%llx direct=0x%zx image=0x%zx\n",
			(size_t)address, what, place->is_mapped, (unsigned long long)place->phys,
			(size_t)place->direct, (size_t)place->image);
		return;
	}
	sink_printf(call->sink, "0x%zx: %s", (size_t)address, what);
	if (place->has_phys)
		sink_printf(call->sink, ", physical 0x%llx", (unsigned long long)place->phys);
	sink_puts(call->sink, "\n");
	if (place->direct && place->direct != address)
		sink_printf(call->sink, "in the direct map at 0x%zx\n", (size_t)place->direct);
	if (place->image && place->image != address)
		sink_printf(call->sink, "in the kernel image at 0x%zx\n", (size_t)place->image);
}

static void print_stack(
	const struct command_call *call, const struct ktask_stats *t, uintptr_t address)
{
	uintptr_t end = t->stack + PORT_PAGE_SIZE + t->stack_size;
	bool is_guard = address - t->stack < PORT_PAGE_SIZE;

	if (call->keys)
		sink_printf(call->sink, "stack ktask=%llu name=%s guard=%d end=0x%zx\n",
			(unsigned long long)t->id, t->name, is_guard, (size_t)end);
	else
		sink_printf(call->sink, "%s of ktask %llu (%s), 0x%zx below its top\n",
			is_guard ? "guard page of the stack" : "stack", (unsigned long long)t->id, t->name,
			(size_t)(end - address));
}

/* The stack of a ktask, its guard page included. */
static size_t print_stacks(const struct command_call *call, uintptr_t address)
{
	struct ktask_stats rows[KTASK_STATS_STEP / 2];
	uint64_t from = 0;
	size_t n, found = 0;

	while ((n = ktask_stats(from, rows, ARRAY_SIZE(rows)))) {
		for (size_t i = 0; i < n; i++) {
			if (!rows[i].stack ||
				address - rows[i].stack >= PORT_PAGE_SIZE + rows[i].stack_size)
				continue;
			print_stack(call, &rows[i], address);
			found++;
		}
		from = rows[n - 1].id + 1;
	}
	return found;
}

static size_t print_frame_table(const struct command_call *call, uintptr_t address)
{
	uintptr_t first;

	if (!kmem_table_find(address, &first))
		return 0;
	if (call->keys)
		sink_printf(call->sink, "frames first=0x%zx\n", (size_t)first);
	else if (first)
		sink_printf(call->sink, "page frame table, for pages from 0x%zx on\n", (size_t)first);
	else
		sink_puts(call->sink, "page frame table, its root\n");
	return 1;
}

/* An address, or a symbol with or without an offset: name+0x12. */
static bool parse(const char *word, uint64_t *address)
{
	const char *plus = strchr(word, '+');
	char name[64];
	uint64_t offset = 0;
	uintptr_t start;

	if (str_to_u64(word, address))
		return true;
	if (plus && !str_to_u64(plus + 1, &offset))
		return false;
	str_copy(name, word, sizeof(name));
	if (plus && (size_t)(plus - word) < sizeof(name))
		name[plus - word] = '\0';
	if (!symbol_address(name, &start))
		return false;
	*address = start + offset;
	return true;
}

static const char *whatis_command(const struct command_call *call)
{
	struct machine_place place;
	uint64_t word;
	uintptr_t address;
	size_t found;

	if (!parse(call->argv[1], &word))
		return command_error("%s is neither an address nor a symbol", call->argv[1]);
	address = (uintptr_t)word;
	machine_place(address, &place);
	print_place(call, address, &place);
	found = print_symbol(call, &place);
	found += print_stacks(call, address);
	found += print_frame_table(call, address);
	found += print_segments(call, address);
	found += print_objects(call, address);
	if (!found && !call->keys)
		sink_puts(call->sink, "no arena has it\n");
	return NULL;
}

static const struct command commands[] = {
	{"whatis", "[-k] ADDR", "what lies at an address, or at a symbol (NAME+OFFSET)",
		"whatis kernel_main+0x10", whatis_command, COMMAND_PANIC_SAFE, NULL, tables},
};

struct command_table whatis_commands = COMMAND_TABLE("whatis", commands);
