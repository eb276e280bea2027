/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: what lies at an address: the part of the address space, the symbol of the kernel's image, the
 * stack, the table that the machine or the kernel keeps there, segments from the root of the tree down to
 * the arena that handed it out, the object or the sample, what else uses it, and where it was allocated and freed, if a
 * debug mode knows.
 */
#include "users.h"

#include "kmalloc.h"
#include "kmem_debug.h"
#include "kmem_sample.h"
#include "kthread.h"
#include "lib/array.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "lib/symbol.h"
#include "machine.h"
#include "owner.h"
#include "table.h"
#include "vmap.h"

#define INDENT 2
#define PHYS_MAX (1ull << 46) /* the direct map has no more */

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

/* A used segment of which nothing is a span of another arena's. */
struct handed_out {
	char name[ARENA_NAME_MAX];
	unsigned depth;
	struct arena_segment segment;
};
#define HANDED_OUT_MAX 8 /* of an address, or of a number that several arenas have as an ID */

/* The segments that contain an address. */
struct segments {
	const struct command_call *call;
	struct table_printer printer;
	uintptr_t address;
	size_t found;
	char name[ARENA_NAME_MAX]; /* of the last arena that has it */
	uintptr_t start;	   /* of the last one that is used; 0: none is */
	struct handed_out out[HANDED_OUT_MAX];
	size_t out_count;
};

/* Notes a segment, which is in the span of the last one if its arena lies deeper. */
static void note_segment(struct segments *s, const struct arena_stats *arena, const struct arena_segment *segment)
{
	struct handed_out *out = &s->out[s->out_count];

	if (s->out_count > 0 && out[-1].depth < arena->depth)
		out = &s->out[--s->out_count];
	if (segment->kind != ARENA_SEGMENT_USED || s->out_count == HANDED_OUT_MAX)
		return;
	str_copy(out->name, arena->name, sizeof(out->name));
	out->depth = arena->depth;
	out->segment = *segment;
	s->out_count++;
}

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
	str_copy(s->name, arena->name, sizeof(s->name));
	s->start = segment->kind == ARENA_SEGMENT_USED ? segment->start : 0;
	note_segment(s, arena, segment);
}

/* Prints the segment that contains the address in every arena that has one, sources before their
 * importers. */
static void print_segments(struct segments *s)
{
	struct arena_segment segment;
	struct arena_stats stats;

	for (struct arena *a = arena_next(NULL); a; a = arena_next(a)) {
		arena_get_stats(a, &stats);
		if (arena_find_segment(a, s->address, &segment))
			print_segment(s, &stats, &segment);
	}
	if (s->found)
		table_end(&s->printer);
}

/* The objects that contain an address. */
struct objects {
	const struct command_call *call;
	uintptr_t address;
	size_t found, caches; /* in all caches; in those that are no arena's front */
	uintptr_t start;      /* of one that a front has handed out; 0: none is */
	bool is_idle;	      /* a front has it, and nothing else */
};

static const char *state_of(const struct kmem_object *o, bool is_idle)
{
	if (o->is_free)
		return "free object";
	return is_idle ? "free object (in a magazine)" : "used object";
}

static void print_event(struct sink *sink, const char *what, const struct kmem_history *h, const struct kmem_event *e)
{
	static char frames[USERS_WORD_MAX];

	users_word(frames, e->stack);
	sink_printf(sink, "event what=%s object=0x%zx size=%zu age_ns=%llu ktask=%llu core=%u frames=%s\n", what,
		(size_t)h->object, h->size, (unsigned long long)(port_ns() - e->ns), (unsigned long long)e->ktask,
		e->core, frames);
}

static void print_history(const struct command_call *call, const struct kmem_history *h)
{
	if (!call->keys) {
		kmem_history_print(call->sink, h);
		return;
	}
	if (h->alloc.ns)
		print_event(call->sink, "alloc", h, &h->alloc);
	if (h->free.ns)
		print_event(call->sink, "free", h, &h->free);
}

/* A sample, its page, or what guards it. */
static size_t print_sample(const struct command_call *call, uintptr_t address)
{
	struct kmem_sample s;

	if (!kmem_sample_find(address, &s))
		return 0;
	if (call->keys)
		sink_printf(call->sink, "sample cache=%s start=0x%zx size=%zu live=%d guard=%d\n", s.cache,
			(size_t)s.history.object, s.history.size, s.is_live, s.is_guard);
	else
		sink_printf(call->sink, "%s a sample of cache %s\n", s.is_guard ? "guard page beside" : "page of",
			s.cache);
	print_history(call, &s.history);
	return 1;
}

static void print_object(struct objects *found, struct kmem_cache *c, const struct kmem_object *o)
{
	const struct command_call *call = found->call;
	size_t offset = found->address - (o->object ? o->object : o->slab);
	bool is_idle = o->object && !o->is_free && kmem_cache_is_idle(c, o->object);
	struct kmem_cache_stats s;
	struct kmem_history h; /* if a debug mode knows it */

	kmem_cache_get_stats(c, &s);
	found->found++;
	found->caches += !s.is_front;
	if (s.is_front) {
		found->is_idle = is_idle || o->is_free || !o->object;
		found->start = o->object;
	}
	if (call->keys)
		sink_printf(call->sink,
			"object cache=%s slab=0x%zx start=0x%zx offset=0x%zx free=%d magazine=%d\n", s.name,
			(size_t)o->slab, (size_t)o->object, offset, o->is_free || is_idle, is_idle);
	else if (o->object)
		sink_printf(call->sink, "cache %s, slab 0x%zx,\n  %s 0x%zx, offset 0x%zx\n", s.name,
			(size_t)o->slab, state_of(o, is_idle), (size_t)o->object, offset);
	else
		sink_printf(call->sink, "cache %s, slab 0x%zx, behind its objects, offset 0x%zx\n",
			s.name, (size_t)o->slab, offset);
	if (kmem_cache_history(c, found->address, &h))
		print_history(call, &h);
}

/* Prints slab and object in every cache that has the address, in the order of the arena tree. */
static void print_objects(struct objects *found)
{
	struct kmem_object where;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		if (kmem_cache_find(c, found->address, &where))
			print_object(found, c, &where);
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
			"place address=0x%zx what=%s mapped=%d phys=0x%llx direct=0x%zx image=0x%zx window=0x%zx\n",
			(size_t)address, what, place->is_mapped, (unsigned long long)place->phys,
			(size_t)place->direct, (size_t)place->image, (size_t)place->window);
		return;
	}
	sink_printf(call->sink, "0x%zx: %s", (size_t)address, what);
	if (place->has_phys)
		sink_printf(call->sink, ", physical 0x%llx", (unsigned long long)place->phys);
	sink_puts(call->sink, "\n");
	if (place->direct && place->direct != address)
		sink_printf(call->sink, "in the direct map at 0x%zx\n", (size_t)place->direct);
	if (place->window)
		sink_printf(call->sink, "mapped at 0x%zx, too\n", (size_t)place->window);
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

/* What uses memory that no line above tells the use of */

#define USER_MAX 80

/* By the page at `at` in the window, or in a core's stack.  What neither vmap() nor vmalloc() has mapped there
 * is a stack: a ktask's has a line of its own. */
static bool name_mapping(char user[USER_MAX], uintptr_t at)
{
	const char *kind = vmap_kind(at);
	struct machine_place place;

	if (kind) {
		str_copy(user, kind, USER_MAX);
		return true;
	}
	machine_place(at, &place);
	str_copy(user, place.is_plain ? "a stack that no ktask has" : place.what, USER_MAX);
	return machine_mark(at & -(uintptr_t)PORT_PAGE_SIZE) >= 0 || !place.is_plain;
}

static bool name_large(char user[USER_MAX], uintptr_t from, uintptr_t address)
{
	uintptr_t start;
	size_t size;

	if (from == 0 || !kmalloc_find_large(from, address, &start, &size))
		return false;
	ksnprintf(user, USER_MAX, "kmalloc of %zu bytes at %#zx", size, (size_t)start);
	return true;
}

/* A part of the kernel that noted its block. */
static bool name_owner(char user[USER_MAX], uintptr_t address)
{
	for (const struct arena_owner *o = arena_owner_next(NULL); o; o = arena_owner_next(o)) {
		if (!o->block || address - o->block >= o->block_size)
			continue;
		str_copy(user, o->name, USER_MAX);
		return true;
	}
	return false;
}

static bool name_arena(char user[USER_MAX], uintptr_t address)
{
	struct arena_stats stats;

	for (struct arena *a = arena_next(NULL); a; a = arena_next(a)) {
		if (address - (uintptr_t)a >= ARENA_STORAGE)
			continue;
		arena_get_stats(a, &stats);
		arena_unpin(a);
		ksnprintf(user, USER_MAX, "what arena %s is made of", stats.name);
		return true;
	}
	return false;
}

static bool name_backtraces(char user[USER_MAX], uintptr_t address)
{
	if (!stacks_find(address))
		return false;
	str_copy(user, "backtraces, which a debug mode keeps", USER_MAX);
	return true;
}

/* One that fronts an arena has whole pages, with others of that arena. */
static bool name_cache(char user[USER_MAX], uintptr_t address)
{
	struct kmem_cache_stats stats;
	uintptr_t page = address & -(uintptr_t)PORT_PAGE_SIZE;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		if (page + PORT_PAGE_SIZE <= (uintptr_t)c || (uintptr_t)c + KMEM_CACHE_STORAGE <= page)
			continue;
		kmem_cache_get_stats(c, &stats);
		kmem_cache_unpin(c);
		ksnprintf(user, USER_MAX, "what cache %s is made of", stats.name);
		return true;
	}
	return false;
}

/* The arena that handed it out is known, at least, or that keeps it. */
static bool name_arena_of(char user[USER_MAX], const struct segments *s, const struct objects *o)
{
	if (s->start == 0)
		return false;
	if (o->is_idle)
		ksnprintf(user, USER_MAX, "none: %s keeps it for its next caller", s->name);
	else
		ksnprintf(user, USER_MAX, "a caller of %s%s", s->name,
			strcmp(s->name, "base") == 0 ? ", or its tags and hashes" : "");
	return true;
}

static void print_user(const struct machine_place *place, const struct segments *s, const struct objects *o)
{
	uintptr_t at = s->address, from = o->start ? o->start : s->start;
	const struct command_call *call = s->call;
	char user[USER_MAX];

	if (!name_mapping(user, place->window ? place->window : at) && !name_large(user, from, at) &&
		!name_owner(user, at) && !name_arena(user, at) && !name_cache(user, at) &&
		!name_backtraces(user, at) && !name_arena_of(user, s, o))
		return;
	for (char *c = user; call->keys && *c; c++)
		if (*c == ' ')
			*c = '_';
	sink_printf(call->sink, call->keys ? "user name=%s\n" : "used by %s\n", user);
}

/* Where a segment was allocated, if its arena has noted that.  Of one that is a slab it is how the slab came, so
 * only without an object it is told. */
static void print_allocation(const struct command_call *call, const struct handed_out *out)
{
	uint64_t age = port_ns() - out->segment.since, ms = age / 1000000;
	static char frames[USERS_WORD_MAX];

	if (!out->segment.user)
		return;
	if (call->keys) {
		users_word(frames, out->segment.user);
		sink_printf(call->sink, "allocation arena=%s start=0x%zx size=%zu age_ns=%llu frames=%s\n", out->name,
			(size_t)out->segment.start, out->segment.size, (unsigned long long)age, frames);
		return;
	}
	sink_printf(call->sink, "allocated from %s %llu.%03llu s ago by:\n", out->name,
		(unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000));
	stacks_print(call->sink, out->segment.user);
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

static const char *show(const struct command_call *call, uintptr_t address)
{
	static struct segments segments; /* too large for a stack; one line runs at a time */
	struct objects objects = {.call = call, .address = address};
	struct machine_place place;
	size_t named;

	segments = (struct segments){.call = call, .address = address};
	machine_place(address, &place);
	print_place(call, address, &place);
	named = print_symbol(call, &place);
	named += print_stacks(call, place.window ? place.window : address);
	named += print_frame_table(call, address);
	named += print_sample(call, place.window ? place.window : address);
	print_segments(&segments);
	print_objects(&objects);
	if (place.is_plain && !named && !objects.caches)
		print_user(&place, &segments, &objects);
	for (size_t i = 0; i < segments.out_count && !objects.caches; i++)
		print_allocation(call, &segments.out[i]);
	if (!named && !segments.found && !objects.found && !call->keys)
		sink_puts(call->sink, "no arena has it\n");
	return NULL;
}

static const char *whatis_command(const struct command_call *call)
{
	bool is_phys = call->argc > 2;
	const char *word = call->argv[call->argc - 1];
	uint64_t address;

	if (is_phys && strcmp(call->argv[1], "-p") != 0)
		return command_error("%s is not -p", call->argv[1]);
	if (!is_phys)
		return parse(word, &address) ? show(call, (uintptr_t)address)
					     : command_error("%s is neither an address nor a symbol", word);
	if (!str_to_u64(word, &address) || address >= PHYS_MAX)
		return command_error("%s is no physical address", word);
	return show(call, machine_direct_base() + address);
}

static const struct command commands[] = {
	{"whatis", "[-k] [-p] ADDR", "what is at an address or symbol; -p: a physical one",
		"whatis kernel_main+0x10", whatis_command, COMMAND_PANIC_SAFE, symbols_offer, tables},
};

struct command_table whatis_commands = COMMAND_TABLE("whatis", commands);
