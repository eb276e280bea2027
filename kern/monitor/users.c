/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Users by backtrace.
 */
#include "users.h"

#include "arena_print.h"
#include "lib/array.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "lib/symbol.h"
#include "port.h"
#include "table.h"

#define FRAMES_SHOWN 3
#define FRAMES_INDENT 29 /* of the last column */
#define FRAME_MAX 52

struct user_row {
	const char *name, *units_text, *frames;
	uint64_t count, units, age;
};

static const struct table_column columns[] = {
	TABLE_COLUMN(struct user_row, name, "of", "of", 0, TABLE_STRING, TABLE_KEY_ONLY,
		"the arena or cache"),
	TABLE_COLUMN(struct user_row, count, "count", "count", 7, TABLE_COUNT, 0,
		"segments or objects that it has allocated, and not freed"),
	TABLE_COLUMN(struct user_row, units_text, "in all", "units", 10, TABLE_STRING, TABLE_PEOPLE_ONLY,
		"how much that is"),
	TABLE_COLUMN(struct user_row, units, "in all", "units", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct user_row, age, "oldest", "age_ns", 9, TABLE_TIME, 0, "time since the first of them"),
	TABLE_COLUMN(struct user_row, frames, "allocated by", "frames", -50, TABLE_STRING, 0,
		"innermost first; what is the allocator's own is left out"),
};
const struct table users_table = {"user", columns, ARRAY_SIZE(columns)};

/* Backtraces */

/* The allocator's functions by which its callers come in, and those that these end with a call of, which leaves
 * no frame of theirs.  One that ends with _ stands for all that begin so. */
static const char *const own[] = {"arena_", "kmem_", "slab_", "base_alloc", "base_zalloc", "kmalloc",
	"kmalloc_align", "kmalloc_array", "krealloc", "kzalloc", "vmalloc", "alloc", "alloc_from", "alloc_plain",
	"alloc_slow", "class_alloc_slow", "large_alloc", "xalloc", "zalloc_from"};

/* The compiler's name of a part of it is one, too: alloc.constprop.0. */
static bool is_named(const char *function, const char *name)
{
	size_t n = strlen(name);

	return str_starts(function, name) && (name[n - 1] == '_' || !function[n] || function[n] == '.');
}

static bool is_own(uintptr_t pc)
{
	uintptr_t offset;
	const char *function = symbol_find(pc - 1, &offset);

	for (size_t i = 0; function && i < ARRAY_SIZE(own); i++)
		if (is_named(function, own[i]))
			return true;
	return false;
}

/* What lies inside of the outermost that is the allocator's own is so, too, whatever its name. */
size_t users_frames(const struct stack *stack, uintptr_t pcs[STACKS_DEPTH])
{
	size_t n = stacks_get(stack, pcs, STACKS_DEPTH), from = n;

	while (from > 0 && !is_own(pcs[from - 1]))
		from--;
	if (from == n)
		return n;
	memmove(pcs, pcs + from, (n - from) * sizeof(*pcs));
	return n - from;
}

/* They are return addresses: of a call that doesn't return the next function begins there. */
static size_t format_frame(char *text, size_t size, uintptr_t pc)
{
	uintptr_t offset;
	const char *name = symbol_find(pc - 1, &offset);

	return name ? ksnprintf(text, size, "%s+0x%zx", name, (size_t)offset + 1) :
		      ksnprintf(text, size, "0x%zx", (size_t)pc);
}

void users_word(char text[USERS_WORD_MAX], const struct stack *stack)
{
	uintptr_t pcs[STACKS_DEPTH];
	size_t n = stacks_get(stack, pcs, STACKS_DEPTH), at = 0;

	str_copy(text, "-", USERS_WORD_MAX);
	for (size_t i = 0; i < n && at < USERS_WORD_MAX - 1; i++) {
		if (i > 0)
			text[at++] = ',';
		at += format_frame(text + at, USERS_WORD_MAX - at, pcs[i]);
	}
}

/* Segments of arenas, by their tags */

const char users_not_noted[] = "users aren't noted: boot by scripts/qemu --append kmem_debug=check";

static bool add_segment(const struct arena_segment *s, void *arg)
{
	struct users *of = arg;

	if (s->kind != ARENA_SEGMENT_USED)
		return true;
	if (s->user) {
		stacks_tally_add(s->user, s->size, s->since);
		return true;
	}
	of->unknown_count++;
	of->unknown_units += s->size;
	return true;
}

void users_add_arena(struct users *of, struct arena *arena)
{
	arena_walk(arena, add_segment, of);
}

/* Rows */

static bool take(const struct users *of, struct stacks_tally *row)
{
	return of->is_oldest_first ? stacks_tally_oldest(row) : stacks_tally_next(row);
}

static char word[USERS_WORD_MAX]; /* of the row that is printed: one line runs at a time */

static void print_row(struct table_printer *t, const struct users *of, struct user_row *row)
{
	char units[TABLE_CELL_MAX];

	arena_format_amount(units, row->units, of->in_bytes);
	row->name = of->name;
	row->units_text = units;
	table_row(t, row);
}

static void print_user(struct table_printer *t, const struct users *of, const struct stacks_tally *tally,
	uint64_t now)
{
	struct user_row row = {
		.count = tally->count, .units = tally->units, .age = now - tally->oldest, .frames = word};
	uintptr_t pcs[STACKS_DEPTH];
	char frame[FRAME_MAX];
	size_t n = t->keys ? 0 : users_frames(tally->stack, pcs);

	if (t->keys)
		users_word(word, tally->stack);
	else
		format_frame(word, FRAME_MAX, pcs[0]);
	print_row(t, of, &row);
	for (size_t i = 1; i < n && i < FRAMES_SHOWN; i++) {
		format_frame(frame, sizeof(frame), pcs[i]);
		sink_printf(t->sink, "%*s%s\n", FRAMES_INDENT, "", frame);
	}
}

/* What no row of its own has. */
static void print_others(struct table_printer *t, const struct users *of, uint64_t now)
{
	struct user_row row = {.frames = word};
	struct stacks_tally tally;
	size_t others = 0;

	for (; take(of, &tally); others++) {
		uint64_t age = now - tally.oldest;

		row.count += tally.count;
		row.units += tally.units;
		row.age = age > row.age ? age : row.age;
	}
	ksnprintf(word, sizeof(word), "%zu others", others);
	if (others > 0)
		print_row(t, of, &row);
}

void users_print(const struct command_call *call, const struct users *of, size_t most)
{
	struct user_row unknown = {
		.count = of->unknown_count, .units = of->unknown_units, .frames = "no backtrace is known"};
	size_t rows = call->keys || call->all ? SIZE_MAX : most;
	uint64_t now = port_ns(); /* printing takes time */
	struct table_printer printer;
	struct stacks_tally tally;
	bool more = take(of, &tally);

	if (!more && unknown.count == 0 && !call->keys) {
		sink_printf(call->sink, "nothing of %s is in use\n", of->name);
		return;
	}
	table_begin(&printer, &users_table, call->sink, call->keys);
	for (; more && !monitor_interrupted(call->sink); more = --rows > 0 && take(of, &tally))
		print_user(&printer, of, &tally, now);
	print_others(&printer, of, now);
	if (unknown.count > 0)
		print_row(&printer, of, &unknown);
	table_end(&printer);
}

size_t users_rows(const struct command_call *call, int at)
{
	uint64_t rows;

	if (call->argc <= at)
		return USERS_ROWS;
	return str_to_u64(call->argv[at], &rows) && rows <= SIZE_MAX ? (size_t)rows : 0;
}
