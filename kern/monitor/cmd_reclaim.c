/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: what reclaim has done, which requests wait for it, and a run of it by hand.
 */
#include "monitor_impl.h"

#include "arena_print.h"
#include "lib/array.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "port.h"
#include "reclaim.h"
#include "shortage.h"
#include "table.h"

#define INDENT 2
#define NAME_SIZE (sizeof(((struct reclaim_node *)NULL)->name) + 8 * INDENT)
#define NS_PER_MS 1000000
#define LEVEL_DEFAULT 2

/* What is shown is kept in these rows, which are set aside: a shortage is looked at when no memory is left.
 * One command runs at a time.  What there is no row for is counted. */
#define ROOTS_MAX 32
#define GIVERS_MAX 128 /* nodes that gave something, and those above them */
#define WAITERS_MAX 64
static struct reclaim_root root_rows[ROOTS_MAX], root_rows_before[ROOTS_MAX];
static struct reclaim_node giver_rows[GIVERS_MAX];
static struct shortage_row waiter_rows[WAITERS_MAX];

/* Rows in use, and there would be more for `beyond` others. */
struct shown {
	size_t count, beyond;
};

static struct shown shown_of(size_t count, size_t max)
{
	return (struct shown){count < max ? count : max, count < max ? 0 : count - max};
}

static void print_beyond(const struct command_call *call, const char *object, struct shown shown)
{
	if (shown.beyond == 0)
		return;
	sink_printf(call->sink, call->keys ? "more_%ss count=%zu\n" : "more %ss, without a row: %zu\n", object,
		shown.beyond);
}

static struct shown read_roots(struct reclaim_root rows[ROOTS_MAX])
{
	return shown_of(reclaim_roots(rows, ROOTS_MAX), ROOTS_MAX);
}

/* An amount takes two columns: for people text with a unit, or without one; for scripts a number. */
#define TEXT(type, member, title, key, width, help)                                                \
	TABLE_COLUMN(type, member, title, key, width, TABLE_STRING, TABLE_PEOPLE_ONLY, help)
#define KEY(type, member, key) TABLE_COLUMN(type, member, key, key, 0, TABLE_COUNT, TABLE_KEY_ONLY)
#define BOTH(type, member, title, key, width, help)                                                \
	TABLE_COLUMN(type, member, title, key, width, TABLE_COUNT, 0, help)

/* reclaim: the summary */

static const struct table_column summary_columns[] = {
	KEY(struct reclaim_stats, pokes, "pokes"),
	KEY(struct reclaim_stats, outs, "outs"),
	KEY(struct reclaim_stats, rounds, "rounds"),
	KEY(struct reclaim_stats, tries, "tries"),
	KEY(struct reclaim_stats, sleeps, "sleeps"),
	KEY(struct reclaim_stats, served, "served"),
	KEY(struct reclaim_stats, refused, "refused"),
	KEY(struct reclaim_stats, wakeups, "wakeups"),
	KEY(struct reclaim_stats, longest_ns, "longest_ns"),
	KEY(struct reclaim_stats, waiting, "waiting"),
	KEY(struct reclaim_stats, parked, "parked"),
};
static const struct table summary_table = {"reclaim", summary_columns, ARRAY_SIZE(summary_columns)};
_Static_assert(sizeof(size_t) == sizeof(uint64_t), "a table reads numbers as uint64_t");

static void print_sentences(struct sink *sink, const struct reclaim_stats *s)
{
	char longest[TABLE_CELL_MAX];

	table_format(longest, TABLE_TIME, s->longest_ns);
	sink_printf(sink, "%llu pokes, %llu reports that memory is out\n", (unsigned long long)s->pokes,
		(unsigned long long)s->outs);
	sink_printf(sink, "server: %llu rounds, %llu tries, %llu wake-ups\n",
		(unsigned long long)s->rounds, (unsigned long long)s->tries,
		(unsigned long long)s->wakeups);
	sink_printf(sink,
		"requests: %llu slept, %llu served, after %s at most, %llu refused\n"
		"now %zu wait, %zu of them parked\n",
		(unsigned long long)s->sleeps, (unsigned long long)s->served, longest,
		(unsigned long long)s->refused, s->waiting, s->parked);
}

struct pass_row {
	uint64_t level, passes, given, is_running;
	const char *state;
};

static const struct table_column pass_columns[] = {
	TABLE_COLUMN(struct pass_row, level, "level", "level", 5, TABLE_NUMBER, 0,
		"how hard a pass asks: 1 to 3"),
	BOTH(struct pass_row, passes, "passes", "passes", 10, "since boot"),
	BOTH(struct pass_row, given, "units given", "given", 18, "in all of them, over all roots"),
	TEXT(struct pass_row, state, "under way", "running", 10, "whether such a pass runs now"),
	KEY(struct pass_row, is_running, "running"),
};
static const struct table pass_table = {"pass", pass_columns, ARRAY_SIZE(pass_columns)};

static void print_passes(const struct command_call *call, const struct reclaim_stats *s)
{
	struct table_printer printer;

	table_begin(&printer, &pass_table, call->sink, call->keys);
	for (unsigned level = 1; level <= RECLAIM_LEVELS; level++) {
		struct pass_row row = {level, s->passes[level], s->given[level], s->level == level,
			s->level == level ? "yes" : "no"};

		table_row(&printer, &row);
	}
	table_end(&printer);
}

static void print_summary(const struct command_call *call, const struct reclaim_stats *stats)
{
	struct table_printer printer;

	if (call->keys) {
		table_begin(&printer, &summary_table, call->sink, true);
		table_row(&printer, stats);
		table_end(&printer);
	} else {
		print_sentences(call->sink, stats);
		sink_puts(call->sink, "\n");
	}
	print_passes(call, stats);
}

/* reclaim: roots */

enum { ROOT_FREE, ROOT_TOTAL, ROOT_LOW, ROOT_HIGH, ROOT_WANTED, ROOT_AMOUNTS };

struct root_row {
	const char *name, *text[ROOT_AMOUNTS];
	uint64_t amount[ROOT_AMOUNTS];
	uint64_t waiting, parked, pause_ns;
};

#define ROOT_TEXT(i, title, width, help) TEXT(struct root_row, text[i], title, title, width, help)
#define ROOT_KEY(i, key) KEY(struct root_row, amount[i], key)

static const struct table_column root_columns[] = {
	TABLE_COLUMN(struct root_row, name, "root", "name", -11, TABLE_STRING, 0,
		"an arena without a source"),
	ROOT_TEXT(ROOT_FREE, "free", 10, "of what it has"),
	ROOT_TEXT(ROOT_TOTAL, "total", 10, "what it has"),
	ROOT_TEXT(ROOT_LOW, "low", 9, "with less free, reclaim begins"),
	ROOT_TEXT(ROOT_HIGH, "high", 9, "with so much free, it ends"),
	ROOT_TEXT(ROOT_WANTED, "wanted", 9, "by requests that sleep and aren't parked"),
	ROOT_KEY(ROOT_FREE, "free"),
	ROOT_KEY(ROOT_TOTAL, "total"),
	ROOT_KEY(ROOT_LOW, "low"),
	ROOT_KEY(ROOT_HIGH, "high"),
	ROOT_KEY(ROOT_WANTED, "wanted"),
	BOTH(struct root_row, waiting, "waiting", "waiting", 7, "requests that sleep"),
	KEY(struct root_row, parked, "parked"),
	TABLE_COLUMN(struct root_row, pause_ns, "pause", "pause_ns", 8, TABLE_TIME, 0,
		"until the next pass, after one that gave little"),
};
static const struct table root_table = {"root", root_columns, ARRAY_SIZE(root_columns)};

static void print_root(struct table_printer *printer, const struct reclaim_root *r)
{
	char text[ROOT_AMOUNTS][TABLE_CELL_MAX];
	struct root_row row = {
		.name = r->name,
		.amount = {r->free, r->total, r->low, r->high, r->wanted},
		.waiting = r->waiting,
		.parked = r->parked,
		.pause_ns = r->pause_ns,
	};

	for (int i = 0; i < ROOT_AMOUNTS; i++) {
		arena_format_amount(text[i], row.amount[i], r->in_bytes);
		row.text[i] = text[i];
	}
	table_row(printer, &row);
}

/* Begins a table, for people behind an empty line. */
static void begin_table(
	struct table_printer *printer, const struct table *table, const struct command_call *call)
{
	if (!call->keys)
		sink_puts(call->sink, "\n");
	table_begin(printer, table, call->sink, call->keys);
}

static void print_roots(const struct command_call *call, struct shown roots)
{
	struct table_printer printer;

	begin_table(&printer, &root_table, call);
	for (size_t i = 0; i < roots.count; i++)
		print_root(&printer, &root_rows[i]);
	table_end(&printer);
	print_beyond(call, "root", roots);
}

/* reclaim: nodes */

struct node_row {
	const char *indented, *name, *last_text, *given_text, *skipped_text;
	uint64_t depth, is_cache, has_owner, level, last, ticks, given, asked, slow, is_skipped;
};

static const struct table_column node_columns[] = {
	TEXT(struct node_row, indented, "gave", "name", -20, "an arena or a cache that was asked to give"),
	TABLE_COLUMN(struct node_row, name, "name", "name", 0, TABLE_STRING, TABLE_KEY_ONLY),
	KEY(struct node_row, depth, "depth"),
	KEY(struct node_row, is_cache, "cache"),
	KEY(struct node_row, has_owner, "owner"),
	BOTH(struct node_row, level, "level", "level", 5, "of the last pass that it gave something in"),
	TEXT(struct node_row, last_text, "last", "last", 10, "what it gave then"),
	KEY(struct node_row, last, "last"),
	BOTH(struct node_row, ticks, "ticks", "ticks", 8, "of the finest clock that this took"),
	TEXT(struct node_row, given_text, "in all", "given", 10, "what it gave since boot"),
	KEY(struct node_row, given, "given"),
	BOTH(struct node_row, asked, "asked", "asked", 6, "how often it was asked"),
	BOTH(struct node_row, slow, "slow", "slow", 5, "how often its owner's callback took too long"),
	TEXT(struct node_row, skipped_text, "left out", "skipped", 8, "whether it isn't asked for a while, for that"),
	KEY(struct node_row, is_skipped, "skipped"),
};
static const struct table node_table = {"node", node_columns, ARRAY_SIZE(node_columns)};

static void print_node(struct table_printer *printer, const struct reclaim_node *n)
{
	char indented[NAME_SIZE], last[TABLE_CELL_MAX], given[TABLE_CELL_MAX];
	struct node_row row = {indented, n->name, last, given, n->is_skipped ? "yes" : "no", n->depth,
		n->is_cache, n->has_owner, n->last_level, n->last_given, n->last_instr, n->given,
		n->asked, n->slow, n->is_skipped};

	ksnprintf(indented, sizeof(indented), "%*s%s", (int)n->depth * INDENT, "", n->name);
	arena_format_amount(last, n->last_given, n->in_bytes);
	arena_format_amount(given, n->given, n->in_bytes);
	table_row(printer, &row);
}

/* Nodes that gave something or were slow, and those above them.  The walk passes those above a node before
 * it, each less deep than the next: they stand behind the rows that are kept until it is known. */
struct givers {
	struct shown kept;
	size_t above; /* rows behind those */
};

static void keep_giver(const struct reclaim_node *n, void *arg)
{
	struct givers *g = arg;
	bool gives = n->given > 0 || n->slow > 0;
	size_t end;

	while (g->above > 0 && giver_rows[g->kept.count + g->above - 1].depth >= n->depth)
		g->above--;
	end = g->kept.count + g->above;
	if (end == GIVERS_MAX) {
		g->kept.beyond += gives;
		return;
	}
	giver_rows[end] = *n;
	g->above = gives ? 0 : g->above + 1;
	if (gives)
		g->kept.count = end + 1;
}

static void print_nodes(const struct command_call *call)
{
	struct table_printer printer;
	struct givers g = {0};

	monitor_lock_tree();
	reclaim_peek_nodes(keep_giver, &g);
	monitor_unlock_tree();
	if (g.kept.count == 0)
		return;
	begin_table(&printer, &node_table, call);
	for (size_t i = 0; i < g.kept.count; i++)
		print_node(&printer, &giver_rows[i]);
	table_end(&printer);
	print_beyond(call, "node", g.kept);
}

/* reclaim: requests that sleep */

struct waiter_row {
	const char *arena, *piece_text, *flag, *parked_text, *caller;
	uint64_t piece, amount, parts, since_ns, since_ms, passed, is_parked;
};

static const struct table_column waiter_columns[] = {
	TABLE_COLUMN(struct waiter_row, arena, "waits for", "arena", -12, TABLE_STRING, 0,
		"the arena that a request sleeps for"),
	TEXT(struct waiter_row, piece_text, "piece", "piece", 10, "what it asks for, in one piece"),
	KEY(struct waiter_row, piece, "piece"),
	KEY(struct waiter_row, amount, "amount"),
	KEY(struct waiter_row, parts, "parts"),
	TABLE_COLUMN(struct waiter_row, flag, "by", "flag", -9, TABLE_STRING, 0, "its memory flag"),
	TABLE_COLUMN(struct waiter_row, since_ns, "for", "since_ns", 8, TABLE_TIME,
		TABLE_PEOPLE_ONLY, "how long it has slept"),
	KEY(struct waiter_row, since_ms, "since_ms"),
	BOTH(struct waiter_row, passed, "passed", "passed", 6, "later requests that were served before"),
	TEXT(struct waiter_row, parked_text, "parked", "parked", 6,
		"whether it is left for large room to come free"),
	KEY(struct waiter_row, is_parked, "parked"),
	TABLE_COLUMN(struct waiter_row, caller, "caller", "caller", -22, TABLE_STRING, 0,
		"the function that asked"),
};
static const struct table waiter_table = {"waiter", waiter_columns, ARRAY_SIZE(waiter_columns)};

static void print_waiter(struct table_printer *printer, const struct shortage_row *s)
{
	uint64_t now = port_ns(), since_ns = now > s->since ? now - s->since : 0;
	char piece[TABLE_CELL_MAX], caller[64];
	struct waiter_row row = {
		.arena = s->arena,
		.piece_text = piece,
		.flag = s->flags & MEM_ERROR ? "MEM_ERROR" : "MEM_WAIT",
		.parked_text = s->is_parked ? "yes" : "no",
		.caller = caller,
		.piece = s->piece,
		.amount = s->amount,
		.parts = s->parts,
		.since_ns = since_ns,
		.since_ms = since_ns / NS_PER_MS,
		.passed = s->passed,
		.is_parked = s->is_parked,
	};

	arena_format_amount(piece, s->piece, s->in_bytes);
	ksnprintf(caller, sizeof(caller), "%pS", s->caller);
	table_row(printer, &row);
}

static void print_waiters(const struct command_call *call, struct shown waiters)
{
	struct table_printer printer;

	if (waiters.count == 0)
		return;
	begin_table(&printer, &waiter_table, call);
	for (size_t i = 0; i < waiters.count; i++)
		print_waiter(&printer, &waiter_rows[i]);
	table_end(&printer);
	print_beyond(call, "waiter", waiters);
}

/* One moment */

#define LOOKS 16

struct moment {
	struct reclaim_stats stats;
	struct shown roots, waiters;
};

static bool is_same_moment(const struct reclaim_stats *a, const struct reclaim_stats *b)
{
	return a->sleeps == b->sleeps && a->waiting == b->waiting && a->parked == b->parked;
}

/* What waits is counted in three places.  They are read again, a few times, if a request came, left or was
 * parked meanwhile, so that they agree. */
static void read_moment(struct moment *m)
{
	struct reclaim_stats after;
	int looks = 0;

	reclaim_get_stats(&after);
	do {
		m->stats = after;
		m->roots = read_roots(root_rows);
		m->waiters = shown_of(shortage_rows(waiter_rows, WAITERS_MAX), WAITERS_MAX);
		reclaim_get_stats(&after);
	} while (!is_same_moment(&m->stats, &after) && ++looks < LOOKS);
}

static const char *reclaim_command(const struct command_call *call)
{
	struct moment m;

	read_moment(&m);
	print_summary(call, &m.stats);
	print_roots(call, m.roots);
	print_nodes(call);
	print_waiters(call, m.waiters);
	return NULL;
}

/* reclaim run */

struct freed_row {
	const char *name, *units_text, *free_text;
	uint64_t units, free;
};

static const struct table_column freed_columns[] = {
	TABLE_COLUMN(struct freed_row, name, "root", "name", -16, TABLE_STRING, 0,
		"an arena that has more free than before"),
	TEXT(struct freed_row, units_text, "came free", "units", 11, "how much more"),
	TEXT(struct freed_row, free_text, "free now", "free", 11, "how much in all"),
	KEY(struct freed_row, units, "units"),
	KEY(struct freed_row, free, "free"),
};
static const struct table freed_table = {"freed", freed_columns, ARRAY_SIZE(freed_columns)};

static void print_freed(struct table_printer *printer, const struct reclaim_root *r, uint64_t units)
{
	char text[2][TABLE_CELL_MAX];
	struct freed_row row = {r->name, text[0], text[1], units, r->free};

	arena_format_amount(text[0], units, r->in_bytes);
	arena_format_amount(text[1], r->free, r->in_bytes);
	table_row(printer, &row);
}

/* How much was free at the root of that name; `now` if it is new. */
static uint64_t free_before(struct shown before, const char *name, uint64_t now)
{
	for (size_t i = 0; i < before.count; i++)
		if (strcmp(root_rows_before[i].name, name) == 0)
			return root_rows_before[i].free;
	return now;
}

/* Prints the roots that have more free than before; returns how many. */
static size_t print_gains(const struct command_call *call, struct shown before, struct shown after)
{
	struct table_printer printer;
	size_t printed = 0;

	for (size_t i = 0; i < after.count; i++) {
		const struct reclaim_root *r = &root_rows[i];
		uint64_t free = free_before(before, r->name, r->free);

		if (r->free <= free)
			continue;
		if (printed++ == 0)
			table_begin(&printer, &freed_table, call->sink, call->keys);
		print_freed(&printer, r, r->free - free);
	}
	if (printed)
		table_end(&printer);
	return printed;
}

struct run {
	unsigned level;
	size_t units;
};

static void run(void *arg)
{
	struct run *r = arg;

	r->units = reclaim_run(r->level);
}

static const char *run_level(const struct command_call *call, unsigned level)
{
	struct run r = {level, 0};
	struct shown before = read_roots(root_rows_before);

	if (!command_job(call, run, &r, sizeof(r)))
		return "interrupted: the run goes on by itself";
	if (call->keys)
		sink_printf(call->sink, "run level=%u units=%zu\n", level, r.units);
	if (print_gains(call, before, read_roots(root_rows)) == 0 && !call->keys)
		sink_puts(call->sink, "nothing came free\n");
	return NULL;
}

static const char *run_command(const struct command_call *call)
{
	uint64_t level = LEVEL_DEFAULT;
	const char *word = call->argv[2];

	if (word && (!str_to_u64(word, &level) || level < 1 || level > RECLAIM_LEVELS))
		return command_error("%s is not a level from 1 to %d", word, RECLAIM_LEVELS);
	return run_level(call, (unsigned)level);
}

static const struct table *const freed_tables[] = {&freed_table, NULL};
static const struct table *const tables[] = {&pass_table, &root_table, &node_table, &waiter_table, NULL};

static const struct command commands[] = {
	{"reclaim run", "[-k] [LEVEL]", "all give back what is idle, level 1 to 3, Ctrl-C or not",
		"reclaim run 3", run_command, 0, NULL, freed_tables},
	/* Last: the name above begins with its name. */
	{"reclaim", "[-k]", "passes of reclaim, what they gave, who waits for it",
		"reclaim", reclaim_command, 0, NULL, tables},
};

struct command_table reclaim_commands = COMMAND_TABLE("reclaim", commands);
