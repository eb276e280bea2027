/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor's commands: lines into words, words into calls, and what they print.
 */
#include "arenas.h"
#include "boot.h"
#include "lib/array.h"
#include "monitor/editor.h"
#include "lib/string.h"
#include "table.h"
#include "monitor/monitor_impl.h"
#include "port.h"
#include "shortage.h"
#include "sleepers.h"
#include "kmalloc.h"
#include "machine.h"
#include "vmap.h"
#include "lib/test.h"
#include "modes.h"
#include "monitor_said.h"

/* The number behind ` key=` in the first line of `said` that begins with `object`. */
static uint64_t number(const char *object, const char *key)
{
	const char *line = strstr(said, object);
	char digits[24];
	uint64_t value;
	size_t n = 0;

	CHECK(line != NULL);
	line = strstr(line, key);
	CHECK(line != NULL);
	for (line += strlen(key); *line > ' ' && n < sizeof(digits) - 1; line++)
		digits[n++] = *line;
	digits[n] = '\0';
	CHECK(str_to_u64(digits, &value));
	return value;
}

TEST("command: lines split at semicolons and spaces, but not within quotes")
{
	struct command_words words;
	const char *line = "  a  \"b; c\"d -k;;e \"-k\" \"\"";

	CHECK(command_split(&line, &words) == NULL);
	CHECK_EQ(words.argc, 2);
	CHECK_STR(words.argv[0], "a");
	CHECK_STR(words.argv[1], "b; cd");
	CHECK(words.keys);
	CHECK(command_split(&line, &words) == NULL);
	CHECK_EQ(words.argc, 0);
	CHECK(command_split(&line, &words) == NULL);
	CHECK_EQ(words.argc, 3);
	CHECK_STR(words.argv[1], "-k");
	CHECK_STR(words.argv[2], "");
	CHECK(words.argv[3] == NULL);
	CHECK(!words.keys);
	CHECK_EQ(*line, 0);
}

TEST("command: nothing to run is no error")
{
	CHECK(run(""));
	CHECK(run(" ; ;; "));
	CHECK_STR(said, "");
}

TEST("command: a command that isn't there is named whole, in rows that fit")
{
	char line[MONITOR_LINE_MAX];

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	CHECK(!run(line));
	CHECK(fits_in(SINK_COLUMNS));
	CHECK(strstr(said, "lists them\n") != NULL);
}

TEST("command: what can't be run gets one plain line that names the problem")
{
	check_refused("bogus", "bogus: no such command, `help` lists them\n");
	check_refused("arena bogus x", "arena bogus: no such command, `help` lists them\n");
	check_refused("-k", "-k: no such command, `help` lists them\n");
	check_refused("help \"x", "a quote is not closed\n");
	check_refused("arena map", "arena map: too few words, usage: arena map [-k] [-a] NAME\n");
	check_refused("mem now", "mem: now is not -w\n");
	check_refused("mem -w -w", "mem: too many words, usage: mem [-k] [-w]\n");
	check_refused("reclaim now", "reclaim: too many words, usage: reclaim [-k]\n");
	check_refused("reclaim run 0", "reclaim run: 0 is not a level from 1 to 3\n");
	check_refused("reclaim run 4", "reclaim run: 4 is not a level from 1 to 3\n");
	check_refused("reclaim run hard", "reclaim run: hard is not a level from 1 to 3\n");
	check_refused("reboot now", "reboot: too many words, usage: reboot\n");
	check_refused("reboot -k", "reboot: takes no -k\n");
	check_refused("arena show nobody", "arena show: no arena nobody\n");
	check_refused("arena show base -x", "arena show: -x is not -v\n");
	check_refused("poweroff 100", "poweroff: 100 is not a number from 0 to 99\n");
	check_refused("poweroff two", "poweroff: two is not a number from 0 to 99\n");
	check_refused("whatis here", "whatis: here is neither an address nor a symbol\n");
	check_refused("work start", "work start: too few words, usage: work start [-k] NAME [ARG...]\n");
	check_refused("work start nothing 1 2 3", "work start: no such workload: nothing\n");
	check_refused("work stop all", "work stop: no number: all\n");
	check_refused("work stop 99999", "work stop: no workload has the id 99999\n");
	check_refused("help nothing", "help: no command nothing\n");
	check_refused(
		"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "more than 16 words in one command\n");
}

TEST("command: one too long is refused, and what stands behind it still runs")
{
	static char line[MONITOR_LINE_MAX + 32];

	memset(line, 'x', MONITOR_LINE_MAX);
	str_copy(line + MONITOR_LINE_MAX, "; bogus", 32);
	check_refused(line, "command too long, at most 511 bytes\n"
			    "bogus: no such command, `help` lists them\n");
}

TEST("command: a failure does not stop the line, but it is remembered")
{
	CHECK(!run("bogus; help mem"));
	CHECK(strstr(said, "example: mem\n") != NULL);
}

TEST("help: lists every command, and shows usage and example of one or a family")
{
	check_says("help", "\narena show NAME [-v] ");
	check_says("help -k", "command name=mem usage=[-k]_[-w] ");
	check_says("help arena tree", "arena tree [-k] [-a]\n");
	CHECK(strstr(said, "example: arena tree\n") != NULL);
	CHECK(strstr(said, "arena show") == NULL);
	check_says("help arena", "example: arena show base -v\n");
}

TEST("help: tells what the words mean that many commands take, where they do")
{
	check_says("help arena", "\n  -k: for scripts, a line of key=value for each row, bytes as exact numbers\n"
				 "  -a: leaves nothing out, neither what is empty nor rows beyond the first\n");
	CHECK(strstr(strstr(said, "  -k: ") + 1, "  -k: ") == NULL);
	CHECK(fits_in(80));
	check_says("help mem", "\n  -k: ");
	CHECK(strstr(said, "\n  -a: ") == NULL);
	check_says("help arena check", "\n  -s COLUMN: sorts by it, numbers from the greatest\n");
	check_says("help arena map", "\n  -a: ");
	CHECK(strstr(said, "\n  -s COLUMN: ") == NULL);
	check_says("help poweroff", "example");
	CHECK(strstr(said, "\n  -k: ") == NULL);
}

TEST("help: the list of commands fits in 80 columns, and nothing of it is cut")
{
	CHECK(run("help"));
	CHECK(fits_in(80));
	CHECK(strchr(said, '~') == NULL);
	CHECK(run("work kinds"));
	CHECK(strchr(said, '~') == NULL);
}

/* Every column that people see has its words, in a line of `help` that fits. */
static void check_columns_of(const struct table *table)
{
	for (size_t i = 0; i < table->column_count; i++) {
		const struct table_column *column = &table->columns[i];

		if (!(column->flags & TABLE_KEY_ONLY) && *column->title)
			CHECK_NE(strlen(column->help), 0);
		CHECK_LE(4 + 14 + 1 + strlen(column->help), 80);
		CHECK_LE(strlen(column->title), 14);
	}
}

static bool check_columns(const struct command_table *table, const struct command *command, void *arg)
{
	/* These print no table for people, but a line or a picture. */
	static const char *const lines[] = {"arena map", "cache read", "cache verify", "cache fill",
		"work start", "work stop", "free", "watch"};
	bool has_table = str_starts(command->usage, "[-k]");

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		has_table &= strcmp(command->name, lines[i]) != 0;
	if (has_table != (command->tables != NULL))
		test_fail(__FILE__, __LINE__, "%s: tables", command->name);
	for (const struct table *const *t = command->tables; t && *t; t++)
		check_columns_of(*t);
	return true;
}

TEST("help: explains each column of a command's tables, and the keys")
{
	command_for_each(check_columns, NULL);
	check_says("help slab", "\n    wasted         ");
	check_says("? arena segs", "\n    start          ");
	check_says("help ps", "\n    -k: guard=     address of its stack's guard page");
	CHECK(strstr(said, "\n    stack          the most of its stack") != NULL);
	check_says("help keys", "\nCtrl-R          searches ");
}

static const char *next_line(const char *line)
{
	line = strchr(line, '\n');
	return line ? line + 1 : NULL;
}

TEST("help slab: explains each field of one cache, too")
{
	static char rows[4096];
	char wanted[40];
	int fields = 0;

	CHECK(run("slab kmalloc-64"));
	ksnprintf(rows, sizeof(rows), "%s", said);
	CHECK(run("help slab"));
	CHECK(fits_in(80));
	/* Of rows with fields: a label of 14, a gap, a value of 10, and two between. */
	for (const char *row = rows; row && *row; row = next_line(row)) {
		size_t length = (size_t)(strchr(row, '\n') - row);

		for (size_t at = 0; length % 27 == 25 && at < length; at += 27) {
			ksnprintf(wanted, sizeof(wanted), "\n    %.14s ", row + at);
			test_check_contains(__FILE__, __LINE__, "help slab", said, wanted);
			fields++;
		}
	}
	CHECK_EQ(fields, 36);
}

TEST("-s: sorts a table by a column, numbers from the greatest, texts by the alphabet")
{
	struct kmem_cache *small = kmem_cache_create("test-b", 24, 0, 0, NULL, NULL, NULL, NULL);
	struct kmem_cache *large = kmem_cache_create("test-a", 4096, 0, 0, NULL, NULL, NULL, NULL);
	uint64_t last = UINT64_MAX, rows = 0;

	CHECK(run("slab -k -s size"));
	for (const char *line = said; line && *line; line = next_line(line), rows++) {
		uint64_t size = number(line, " size=");

		CHECK_LE(size, last);
		last = size;
	}
	CHECK_LE(10, rows);
	CHECK(strstr(said, "name=test-a ") < strstr(said, "name=test-b "));
	CHECK(run("slab -k -s name"));
	for (const char *line = said, *next; (next = next_line(line)) && *next; line = next)
		CHECK(strncmp(line, next, 40) < 0);
	CHECK_EQ(kmem_cache_destroy(small), 0);
	CHECK_EQ(kmem_cache_destroy(large), 0);
}

TEST("-s: an amount with a unit is sorted by its number, a sorted tree isn't indented")
{
	check_says("arena tree -s total", "\nkpages ");
	CHECK(strstr(said, "\nbase ") < strstr(said, "\nkpages "));
	CHECK(strstr(said, " left out, -a shows all\n") != NULL);
	check_says("arena tree -s largest", "\nkpages ");
	check_says("arena tree -s frag", "\nkpages ");
	check_refused("arena check -k -s nothing base",
		"arena check: no column nothing: `help arena check` lists them\n");
	check_refused("watch ps -s nope", "watch: no column nope: `help ps` lists them\n");
	check_refused("free -s id", "free: takes no -s\n");
	check_refused("slab -s", "-s: the name of a column must follow\n");
	check_refused("reboot -s name", "reboot: takes no -s\n");
}

TEST("-a: shows what is empty, too")
{
	struct arena *empty = arena_create("test-empty", NULL, 0, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct kmem_cache *c = kmem_cache_create("test-idle", 1, 0, 0, empty, NULL, NULL, NULL);

	check_says("arena tree", " left out, -a shows all\n");
	CHECK(!strstr(said, "test-empty") && !strstr(said, "test-idle"));
	check_says("arena tree -a", "\ntest-empty ");
	CHECK(strstr(said, "\n  test-idle ") != NULL);
	check_says("arena tree -k", " name=test-empty ");
	check_says("slab", " left out, -a shows all\n");
	CHECK(!strstr(said, "test-idle"));
	check_says("slab -a", "\ntest-idle ");
	check_says("slab -k", " name=test-idle ");
	check_refused("arena show -a base", "arena show: takes no -a\n");
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_destroy(empty), 0);
}

TEST("command: an arena's name where a cache's should be, and the other way, is told")
{
	check_refused("arena map kmalloc-64", "arena map: kmalloc-64 is a cache: `slab kmalloc-64` shows it\n");
	check_refused("slab base", "slab: base is an arena: `arena show base` shows it\n");
}

static bool check_row(const struct command_table *table, const struct command *command, void *arg)
{
	const char *line = command->example;
	struct command_words words;

	CHECK(command_split(&line, &words) == NULL);
	CHECK_EQ((uintptr_t)command_find(words.argc, words.argv), (uintptr_t)command);
	CHECK(*command->summary != '\0');
	CHECK_LE(strlen(command->summary), 55);
	++*(size_t *)arg;
	return true;
}

TEST("help: every example is a call of its command")
{
	size_t count = 0;

	command_for_each(check_row, &count);
	CHECK_LE(12, count);
}

/* Completion */

static char offered[1024];

static void collect(void *arg, const char *word)
{
	size_t length = strlen(offered);

	ksnprintf(offered + length, sizeof(offered) - length, "%s,", word);
}

static const char *complete(const char *text)
{
	offered[0] = '\0';
	command_complete(text, strlen(text), collect, NULL);
	return offered;
}

TEST("complete: first words once each, second words of a family, a command's offers")
{
	CHECK(strstr(complete(""), ",arena,") != NULL);
	CHECK(strstr(strstr(offered, ",arena,") + 1, ",arena,") == NULL);
	CHECK(strstr(offered, ",whatis,") != NULL);
	CHECK_STR(complete("arena t"), "tree,show,segs,map,check,");
	CHECK(str_starts(complete("arena show "), "base,kpages,"));
	CHECK(strstr(complete("arena show "), ",monitor,") != NULL);
	CHECK(str_starts(complete("mem; arena map b"), "base,kpages,"));
	CHECK(strstr(complete("mem;"), ",arena,") != NULL);
	CHECK_STR(complete("mem "), "");
	CHECK_STR(complete("bogus "), "");
	CHECK_STR(complete("mem \"x "), "");
}

/* Arenas */

TEST("arena tree: every arena stands under its source, in 80 columns")
{
	check_says("arena tree -a", "\nbase ");
	CHECK(strstr(said, "\n  kpages ") != NULL);
	CHECK(strstr(said, "\n    monitor ") != NULL);
	CHECK(fits_in(80));
}

TEST("arena tree: -k gives numbers that add up")
{
	CHECK(run("arena tree -k"));
	test_check_contains(
		__FILE__, __LINE__, "said", said, "arena name=base source=- quantum=4096 ");
	CHECK(strstr(said, "arena name=kpages source=base ") != NULL);
	CHECK_EQ(number("name=base ", " total="), arena_amt_total(base_arena));
	CHECK_EQ(number("name=base ", " used=") + number("name=base ", " free="),
		arena_amt_total(base_arena));
}

TEST("arena tree: what is no memory is counted, not measured in bytes")
{
	struct arena *ids =
		arena_create("test-ids", (void *)1, 4096, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	void *id = arena_alloc(ids, 1, MEM_WAIT);

	check_says("arena tree", "\ntest-ids ");
	CHECK(strstr(strstr(said, "\ntest-ids "), " 4096 ") != NULL);
	check_says("arena show test-ids", "\ntotal                4096 ");
	check_says("arena segs test-ids", "\n  used   ");
	check_says("arena segs -k test-ids", "segment kind=free start=0x2 end=0x1001 size=4095\n");
	arena_free(ids, id, 1);
	CHECK_EQ(arena_destroy(ids), 0);
}

TEST("arena show: -v adds the machinery, -k is a line of it and one for each class")
{
	check_says("arena show kpages", "arena kpages, source base\n");
	CHECK(strstr(said, "hash buckets") == NULL);
	check_says("arena show kpages -v", "hash buckets");
	check_says("arena show -k kpages", "arena name=kpages source=base quantum=4096 ");
	for (const char *line = strchr(said, '\n'); line[1]; line = strchr(line + 1, '\n'))
		CHECK(str_starts(line, "\nfree name=kpages from="));
}

TEST("arena show: everything an arena counts, and a bar for each size that is free")
{
	struct arena *ids = arena_create("test-ids", (void *)1, 127, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	void *a = arena_alloc(ids, 1, MEM_WAIT | ARENA_BESTFIT), *b = arena_alloc(ids, 1, MEM_WAIT);
	void *c = arena_xalloc(ids, 28, 64, 36, 0, 0, 0, MEM_WAIT), *d = arena_alloc(ids, 64, MEM_ATOMIC);

	CHECK_EQ((uintptr_t)c, 36);
	CHECK_EQ((uintptr_t)d, 64);
	arena_free(ids, d, 64);
	CHECK(!arena_alloc(ids, 65, MEM_ATOMIC));
	arena_free(ids, a, 1);
	check_says("arena show -k test-ids", " total=127 used=29 ");
	CHECK_EQ(number("name=test-ids ", " peak="), 94);
	CHECK_EQ(number("name=test-ids ", " free="), 98);
	CHECK_EQ(number("name=test-ids ", " largest_free="), 64);
	CHECK_EQ(number("name=test-ids ", " fragmentation="), 346);
	CHECK_EQ(number("name=test-ids ", " best="), 1);
	CHECK_EQ(number("name=test-ids ", " constrained="), 1);
	CHECK_EQ(number("name=test-ids ", " fails_shortage="), 1);
	check_says("arena show -k test-ids", "\nfree name=test-ids from=1 segments=1 units=1\n");
	check_says("arena show -k test-ids", "\nfree name=test-ids from=32 segments=1 units=33\n");
	check_says("arena show -k test-ids", "\nfree name=test-ids from=64 segments=1 units=64\n");
	check_says("arena show test-ids -v", "fragmentation       34.6%");
	CHECK(strstr(said, "\n            32          1         33 ####") != NULL);
	CHECK(fits_in(80));
	arena_free(ids, b, 1);
	arena_xfree(ids, c, 28);
	CHECK_EQ(arena_destroy(ids), 0);
}

TEST("print_arena_stats: one arena with its machinery, or all")
{
	struct buffer_sink sink;

	buffer_sink_init(&sink, said, SAID_MAX);
	print_arena_stats(base_arena, &sink.sink);
	CHECK(strstr(said, "arena base, without a source\n") && strstr(said, "hash buckets"));
	buffer_sink_init(&sink, said, SAID_MAX);
	print_arena_stats(NULL, &sink.sink);
	CHECK(str_starts(said, "arena ") && strstr(said, "\nbase ") && strstr(said, "\n  kpages "));
}

TEST("arena check: all hold, by name or for all")
{
	check_says("arena check", "base                     all hold\n");
	check_says("arena check -k monitor", "check name=monitor broken=0\n");
	CHECK(strstr(said, "base") == NULL);
}

/* An arena over four spans far apart: [4096k, 4096k + 56), k = 1 to 4. */
static struct arena *make_gapped(void)
{
	struct arena *ids =
		arena_create("test-gapped", (void *)4096, 56, 1, NULL, NULL, NULL, 0, MEM_WAIT);

	for (uintptr_t k = 2; k <= 4; k++)
		CHECK_EQ(arena_add(ids, (void *)(4096 * k), 56, MEM_WAIT), 0);
	return ids;
}

#define ROW_OF_USED "########################################################"
#define ROW_OF_FREE "........................................................"

TEST("arena map: tells of gaps between spans, and -a shows each slice")
{
	struct arena *ids = make_gapped();
	void *first = arena_alloc(ids, 56, MEM_WAIT | ARENA_NEXTFIT);

	check_says("arena map -a test-gapped", "a character is 1\n");
	CHECK(strstr(said, "            0x1000  " ROW_OF_USED "\n"
			   "            0x1038  (no span for 4040)\n"
			   "            0x2000  " ROW_OF_FREE "\n"
			   "            0x2038  (no span for 4040)\n"
			   "            0x3000  ..") != NULL);
	CHECK(strstr(said, "gaps between spans") == NULL);
	CHECK(fits_in(80));
	arena_free(ids, first, 56);
	CHECK_EQ(arena_destroy(ids), 0);
}

TEST("arena map: shows the ranges that hold anything, and what is free between them")
{
	struct arena *ids = make_gapped();
	void *all[4];

	for (int i = 0; i < 4; i++)
		all[i] = arena_alloc(ids, 56, MEM_WAIT | ARENA_NEXTFIT);
	arena_free(ids, all[1], 56);
	arena_free(ids, all[2], 56);
	check_says("arena map test-gapped", "            0x1000  " ROW_OF_USED "\n"
			"            0x1038  (no span for 4040)\n"
			"            0x2000  (56 free)\n"
			"            0x2038  (no span for 4040)\n"
			"            0x3000  (56 free)\n"
			"            0x3038  (no span for 4040)\n"
			"            0x4000  " ROW_OF_USED "\n");
	check_says("arena map -k test-gapped", "slice start=0x1000 size=1 used=1\n");
	CHECK(strstr(said, "slice start=0x2000 ") == NULL);
	CHECK(strstr(said, "slice start=0x4037 size=1 used=1\n") != NULL);
	check_says("arena map -k -a test-gapped", "slice start=0x2000 size=1 used=0\n");
	arena_free(ids, all[0], 56);
	arena_free(ids, all[3], 56);
	check_says("arena map test-gapped", "            0x1000  (56 free)\n"
			"            0x1038  (no span for 4040)\n");
	CHECK_EQ(arena_destroy(ids), 0);
}

TEST("arena map: gaps that are small, or many, are counted below it")
{
	struct arena *ids =
		arena_create("test-gaps", (void *)1, 1000, 1, NULL, NULL, NULL, 0, MEM_WAIT);

	CHECK_EQ(arena_add(ids, (void *)1011, 10, MEM_WAIT), 0);
	for (uintptr_t k = 1; k <= 10; k++)
		CHECK_EQ(arena_add(ids, (void *)(k * 4096), 1, MEM_WAIT), 0);
	check_says("arena map test-gaps", "             0x3fd  (no span for 3075)\n");
	CHECK(strstr(said, "            0x7001  (no span for 4095)\n") != NULL);
	CHECK(strstr(said, "            0x8001  (no span") == NULL);
	CHECK(strstr(said, "\n  not shown: 3 gaps between spans, 8200 in all\n") != NULL);
	CHECK_EQ(arena_destroy(ids), 0);
}

TEST("arena map: a free piece of more than a sixteenth makes no slice coarser")
{
	struct arena *ids =
		arena_create("test-map", (void *)1, (size_t)1 << 40, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	void *some = arena_alloc(ids, 10, MEM_WAIT | ARENA_NEXTFIT);

	check_says("arena map test-map", "               0x1  ##########\n"
					 "               0xb  (1099511627766 free)\n");
	CHECK(strstr(said, "a character is 1\n") != NULL);
	arena_free(ids, some, 10);
	CHECK_EQ(arena_destroy(ids), 0);
}

TEST("arena map: slices are shaded by quarters and spans inside a row are listed")
{
	struct arena *ids =
		arena_create("test-map", (void *)1, 8, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	void *some;

	CHECK_EQ(arena_add(ids, (void *)100, 4088, MEM_WAIT), 0);
	some = arena_alloc(ids, 10, MEM_WAIT | ARENA_NEXTFIT);
	check_says("arena map -a test-map", "               0x1  .-#-...");
	CHECK(strstr(said, "spans begin at 1: 0x64\n") != NULL);
	CHECK(strstr(said, "  not shown: 1 gap between spans, 91 in all\n") != NULL);
	CHECK(strstr(said, "a character is 5\n") != NULL);
	CHECK(fits_in(80));
	arena_free(ids, some, 10);
	CHECK_EQ(arena_destroy(ids), 0);
}

TEST("arena map: an arena without spans says so")
{
	struct arena *empty = arena_create("test-empty", NULL, 0, 1, NULL, NULL, NULL, 0, MEM_WAIT);

	check_refused("arena map test-empty", "arena map: test-empty has no spans\n");
	CHECK_EQ(arena_destroy(empty), 0);
}

/* Caches */

TEST("slab: a table in 80 columns, and under -k and for one cache every counter")
{
	check_says("slab -a", "\nkmalloc-64 ");
	CHECK(fits_in(80));
	check_says("slab -k kmalloc-64", "cache name=kmalloc-64 source=kpages size=64 ");
	CHECK(strstr(said, " ctor_failures=0 hash_buckets=0 ") != NULL);
	check_says("slab kmalloc-64", "  ctor fails              -\n");
	CHECK(strstr(said, "\nslab size         4.0 KiB  ") != NULL && fits_in(80));
	check_refused("slab nothing", "slab: no cache nothing\n");
}

/* Memory */

TEST("mem: the base arena and the accounts make up the memory map's RAM")
{
	CHECK(run("mem -k"));
	CHECK_EQ(number("ram ", " total="), boot_info->ram_total);
	CHECK_EQ(number("ram ", " accounted="), boot_info->ram_total);
	check_says("mem", "that is all RAM of the memory map");
	CHECK(fits_in(80));
}

/* Has `objects` of the cache made at once, and frees them: they stay in magazines or empty slabs. */
static void leave_idle(struct kmem_cache *c, void **objects, size_t n)
{
	CHECK_EQ(kmem_cache_alloc_bulk(c, objects, n, MEM_WAIT), n);
	kmem_cache_free_bulk(c, objects, n);
}

TEST("mem: idle objects and free spans are reclaimable, on the arena that they hang on")
{
	if (!modes_leave_fronts())
		return;
	struct arena *heap = arenas_importer("test-heap", kpages_arena, PORT_PAGE_SIZE);
	struct kmem_cache *c = kmem_cache_create("test-idle", 256, 0, 0, heap, NULL, NULL, NULL);
	struct kmem_cache_stats s;
	void *objects[40];
	uint64_t idle;

	leave_idle(c, objects, 40);
	kmem_cache_get_stats(c, &s);
	idle = s.total;
	CHECK_LE(40 * 256, idle);
	CHECK(run("mem -k"));
	CHECK_EQ(number("reclaimable arena=test-heap source=kpages ", " objects="), idle);
	CHECK_EQ(number("arena=test-heap ", " spans="), arenas_stats(heap).retained);
	CHECK_LE(idle, number("memory what=handed_out ", " reclaimable="));
	check_says("mem", "\n    test-heap ");
	CHECK(fits_in(80));
	kmem_cache_reap(c, KMEM_REAP_ALL);
	arena_reap(heap, SIZE_MAX);
	CHECK(run("mem -k"));
	CHECK(strstr(said, "arena=test-heap ") == NULL);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(heap);
}

TEST("mem: objects that are live, and arenas that are no memory, are not reclaimable")
{
	struct arena *ids = arenas_ids(1, 1000);
	struct kmem_cache *c = kmem_cache_create("test-idle", 1, 0, 0, ids, NULL, NULL, NULL);
	struct arena *heap = arenas_importer("test-heap", kpages_arena, PORT_PAGE_SIZE);
	void *page = arena_alloc(heap, PORT_PAGE_SIZE, MEM_WAIT), *id;

	leave_idle(c, &id, 1);
	CHECK(run("mem -k"));
	CHECK(strstr(said, "arena=ids ") == NULL);
	CHECK(strstr(said, "arena=test-heap ") == NULL);
	arena_free(heap, page, PORT_PAGE_SIZE);
	arenas_end(heap);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(ids);
}

TEST("mem: -w shows it once where there is no key to press")
{
	const char *first;

	check_says("mem -w", "that is all RAM of the memory map");
	first = strstr(said, "that is all RAM");
	CHECK(strstr(first + 1, "that is all RAM") == NULL);
	check_says("mem -w -k", "ram total=");
}

/* Reclaim */

TEST("reclaim: passes, roots and watermarks, in 80 columns")
{
	check_says("reclaim", "\nlevel ");
	CHECK(strstr(said, "\nbase ") != NULL);
	CHECK(fits_in(80));
	CHECK(run("reclaim -k"));
	CHECK(str_starts(said, "reclaim pokes="));
	CHECK(strstr(said, "\npass level=3 passes=") != NULL);
	CHECK_EQ(number("root name=base ", " total="), arena_amt_total(base_arena));
	CHECK_LE(number("root name=base ", " low="), number("root name=base ", " high="));
}

/* Two parts of one root: one request. */

static bool try_parts(struct shortage *s)
{
	if (arena_amt_free(s->parts[0].arena) < 2)
		return false;
	for (unsigned i = 0; i < s->part_count; i++)
		arena_alloc(s->parts[i].arena, 1, MEM_ATOMIC);
	return true;
}

static void ask_for_parts(struct sleeper *s)
{
	struct shortage_part parts[] = {{s->arena, 1, 1, NULL}, {s->arena, 1, 1, NULL}};
	struct shortage record = {
		.try = try_parts, .parts = parts, .part_count = 2, .flags = MEM_WAIT, .caller = ask_for_parts};

	CHECK(shortage_wait(&record));
	s->got = s->arena;
}

TEST("reclaim: a request with several parts of a root waits there once")
{
	struct arena *ids = arenas_full(2);
	struct sleeper s = {.arena = ids, .ask = ask_for_parts};

	sleeper_begin(&s);
	threads_await_waiting(ids, 1);
	CHECK(run("reclaim -k"));
	CHECK_EQ(number("reclaim pokes=", " waiting="), 1);
	CHECK_EQ(number("waiter arena=ids ", " parts="), 2);
	CHECK_EQ(number("root name=ids ", " waiting="), 1);
	CHECK_EQ(number("root name=ids ", " wanted="), 2);
	arena_free(ids, (void *)1, 1);
	arena_free(ids, (void *)2, 1);
	CHECK(sleeper_is_served(&s));
	ktask_join(s.task);
	arena_free(ids, (void *)1, 1);
	arena_free(ids, (void *)2, 1);
	arenas_end(ids);
}

static void ask_for_two(struct sleeper *s)
{
	s->got = arena_alloc(s->arena, 2, MEM_WAIT);
}

TEST("reclaim: shows a request that sleeps, and what its root lacks, until served")
{
	struct arena *ids = arenas_full(4);
	struct sleeper s = {.arena = ids, .ask = ask_for_two};

	sleeper_start(&s, 1);
	CHECK(run("reclaim -k"));
	CHECK(strstr(said, "waiter arena=ids piece=2 amount=2 parts=1 flag=MEM_WAIT ") != NULL);
	CHECK_EQ(number("waiter arena=ids ", " parked="), 0);
	test_check_contains(__FILE__, __LINE__, "said", said, " caller=ask_for_two+0x");
	CHECK_EQ(number("root name=ids ", " wanted="), 2);
	CHECK_EQ(number("root name=ids ", " waiting="), 1);
	check_says("reclaim", "\nids ");
	CHECK(fits_in(80));
	arena_free(ids, (void *)1, 1);
	arena_free(ids, (void *)2, 1);
	sleeper_end(&s);
	CHECK(run("reclaim -k"));
	CHECK(strstr(said, "waiter arena=ids ") == NULL);
	arena_free(ids, s.got, 2);
	arena_free(ids, (void *)3, 1);
	arena_free(ids, (void *)4, 1);
	arenas_end(ids);
}

TEST("reclaim run: gives back what is idle, says what came free where, what gave it")
{
	struct arena *ids = arenas_ids(1, 1000);
	struct kmem_cache *c = kmem_cache_create("test-idle", 1, 0, 0, ids, NULL, NULL, NULL);
	uint64_t held;
	void *object;

	leave_idle(c, &object, 1);
	held = 1000 - arena_amt_free(ids);
	CHECK_LE(1, held);
	check_says("reclaim run -k 3", "run level=3 units=");
	CHECK_EQ(number("freed name=ids ", " units="), held);
	CHECK_EQ(number("freed name=ids ", " free="), 1000);
	CHECK(run("reclaim -k"));
	CHECK_EQ(number("node name=ids depth=0 ", " cache="), 0);
	CHECK_EQ(number("node name=test-idle depth=1 ", " given="), held);
	check_says("reclaim", "\n  test-idle ");
	CHECK(fits_in(80));
	check_says("reclaim run", "free");
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(ids);
}

TEST("whatis: names the segment in every arena from base to the deepest, and the cache")
{
	if (!modes_leave_fronts())
		return;
	void *page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
	char line[64];

	ksnprintf(line, sizeof(line), "whatis %#zx", (size_t)(uintptr_t)page + 8);
	check_says(line, "\nbase ");
	CHECK(strstr(said, "\n  kpages          used ") != NULL);
	CHECK(strstr(said, "\ncache kpages-1, slab ") != NULL && fits_in(80));
	CHECK(strstr(said, "\n  used object ") && strstr(said, ", offset 0x8\n"));
	ksnprintf(line, sizeof(line), "whatis -k %#zx", (size_t)(uintptr_t)page);
	check_says(line, "segment arena=kpages state=used ");
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
}

static void whatis(const void *at)
{
	char line[64];

	ksnprintf(line, sizeof(line), "whatis -k %#zx", (size_t)(uintptr_t)at);
	CHECK(run(line));
}

/* Enough that some lie in magazines of the depot. */
#define MANY 2000

TEST("whatis: a freed object is free, in a magazine or not, and a live one is used")
{
	if (!modes_leave_fronts())
		return;
	static void *objects[MANY];
	struct kmem_cache *c = kmem_cache_create("test-idle", 64, 0, 0, NULL, NULL, NULL, NULL);
	void *live = kmem_cache_alloc(c, MEM_WAIT);

	for (size_t i = 0; i < MANY; i++)
		objects[i] = kmem_cache_alloc(c, MEM_WAIT);
	for (size_t i = 0; i < MANY; i++)
		kmem_cache_free(c, objects[i]);
	for (size_t i = 0; i < MANY; i += 37) {
		whatis(objects[i]);
		CHECK_EQ(number("object cache=test-idle ", " free="), 1);
	}
	whatis(objects[MANY - 1]);
	CHECK_EQ(number("object cache=test-idle ", " magazine="), 1);
	whatis(live);
	CHECK_EQ(number("object cache=test-idle ", " free="), 0);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	whatis((char *)live + 64);
	CHECK_EQ(number("object cache=test-idle ", " magazine="), 0);
	kmem_cache_free(c, live);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("whatis: names what uses a page: large kmalloc, an arena, its caller, or none")
{
	if (!modes_leave_fronts())
		return;
	char *p = kmalloc(20 * PORT_PAGE_SIZE, MEM_WAIT), *q = kmalloc(17 * PORT_PAGE_SIZE, MEM_WAIT);
	void *page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
	char *mapped = vmalloc(PORT_PAGE_SIZE, MEM_WAIT);
	char name[80];

	ksnprintf(name, sizeof(name), "\nuser name=kmalloc_of_81920_bytes_at_%#zx\n", (size_t)(uintptr_t)p);
	whatis(p + 5 * PORT_PAGE_SIZE);
	CHECK(strstr(said, name) != NULL);
	whatis(q + PORT_PAGE_SIZE);
	CHECK(strstr(said, "\nuser name=kmalloc_of_69632_bytes_at_") != NULL);
	whatis(base_arena);
	CHECK(strstr(said, "\nuser name=what_arena_base_is_made_of\n") != NULL);
	whatis(mapped);
	CHECK(strstr(said, "\nuser name=vmalloc\n") != NULL);
	whatis(page);
	CHECK(strstr(said, "\nuser name=a_caller_of_kpages\n") != NULL);
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
	whatis(page);
	CHECK(strstr(said, "\nuser name=none:_kpages_keeps_it_for_its_next_caller\n") != NULL);
	vfree(mapped, PORT_PAGE_SIZE);
	kfree(q);
	kfree(p);
}

TEST("whatis: names functions, and says so when there is nothing")
{
	char line[64];

	ksnprintf(line, sizeof(line), "whatis %#zx", (size_t)(uintptr_t)arena_find);
	check_says(line, ": kernel text");
	check_says(line, "\nsymbol arena_find+0x0\n");
	check_says("whatis arena_find+3", "\nsymbol arena_find+0x3\n");
	check_says("whatis base_arena", "\nsymbol base_arena+0x0\n");
	check_refused("whatis base_arena+x", "whatis: base_arena+x is neither an address nor a symbol\n");
	check_says("whatis 0xfff0000000000000", "\nno arena has it\n");
}

/* Workloads */

TEST("symbols: shows the parts of the image, one behind the other")
{
	uintptr_t end = 0;
	struct machine_section s;

	check_says("symbols", "\ntext ");
	CHECK(fits_in(80));
	CHECK(strstr(said, "\nread-only data ") != NULL);
	CHECK(strstr(said, "\nbss ") != NULL);
	CHECK(strstr(said, "\ntotal ") != NULL);
	check_says("symbols -k", "section name=text start=0x");
	for (size_t i = 0; machine_section(i, &s); i++, end = s.start + s.size) {
		CHECK_LE(end, s.start);
		if (strcmp(s.name, "text") == 0)
			CHECK_LT((uintptr_t)symbols_offer - s.start, s.size);
		if (strcmp(s.name, "bss") == 0)
			CHECK_LT((uintptr_t)said - s.start, s.size);
	}
}

TEST("symbols: finds them by a part of the name")
{
	char line[64];

	ksnprintf(line, sizeof(line), "%#18zx ", (size_t)(uintptr_t)symbols_offer);
	check_says("symbols bols_off", line);
	CHECK(strstr(said, " symbols_offer\n") != NULL);
	CHECK(strstr(said, "kernel_main") == NULL);
	check_says("symbols -k symbols_off", "symbol start=0x");
	check_says("symbols -s bytes command_", " command_");
	CHECK(fits_in(80));
	check_refused("symbols nothing_has_this", "symbols: no symbol has \"nothing_has_this\" in its name\n");
}

TEST("work: what runs is listed until it is stopped, in 80 columns")
{
	check_says("work kinds", "\nhog ");
	CHECK(fits_in(80));
	check_says("work start -k alloc 1 2", "started id=");
	check_says("work list -k", " name=alloc args=1_2 state=running ktasks=2 ops=");
	check_says("work list", " alloc   1 2 ");
	CHECK(fits_in(80));
	check_says("work stop -k", "stopped count=1\n");
	CHECK(run("work list -k"));
	CHECK_STR(said, "");
	CHECK_STR(complete("work start a"), "alloc,bursts,disk,hog,ids,maps,replay,");
}

/* To look at */

TEST("alloc: takes pieces of an arena or objects of a cache, until free frees them")
{
	struct arena *ids = arenas_ids(1, 100);
	struct kmem_cache *c = kmem_cache_create("test-objects", 64, 0, 0, NULL, NULL, NULL, NULL);
	struct kmem_cache_stats s;

	check_says("alloc -k ids 2 10", " from=ids size=2 pieces=10 sum=20 first=0x");
	CHECK_EQ(arena_amt_free(ids), 80);
	check_says("alloc -k test-objects 60 7", " from=test-objects size=60 pieces=7 sum=420 ");
	kmem_cache_get_stats(c, &s);
	CHECK_EQ(s.live, 7);
	check_says("alloc -k test-objects", " size=64 pieces=1 ");
	check_says("alloc", "ids ");
	CHECK(fits_in(80));
	CHECK(!run("alloc ids 30 4"));
	test_check_contains(__FILE__, __LINE__, "said", said, "alloc: 2 of 4 pieces: no more can be had\n");
	check_says("free -k", "freed pieces=20\n");
	CHECK_EQ(arena_amt_free(ids), 100);
	check_says("alloc", "nothing is held\n");
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(ids);
}

TEST("alloc: one line of what it holds can be freed by its id")
{
	struct arena *ids = arenas_ids(1, 100);
	uint64_t id;
	char line[40];

	check_says("alloc -k ids 2 10", "held id=");
	id = number("held", " id=");
	CHECK(run("alloc -k ids 3"));
	ksnprintf(line, sizeof(line), "free %llu", (unsigned long long)id);
	check_says(line, "10 pieces freed\n");
	CHECK_EQ(arena_amt_free(ids), 97);
	check_says("free", "1 pieces freed\n");
	arenas_end(ids);
}

TEST("alloc: what can't be asked for is refused, and nothing is held")
{
	check_refused("alloc nobody 1", "alloc: no arena and no cache nobody\n");
	check_refused("alloc base 0", "alloc: 0 is not a size above 0\n");
	check_refused("alloc base much", "alloc: much is not a size above 0\n");
	check_refused("alloc base 0xffffffffffffffff", "alloc: no arena has pieces of that size\n");
	check_refused("alloc base 1 0", "alloc: 0 is not a number from 1 to 1000000\n");
	check_refused("alloc base 1 1000001", "alloc: 1000001 is not a number from 1 to 1000000\n");
	check_refused("alloc kmalloc-64 65", "alloc: objects of kmalloc-64 have a size of 64\n");
	check_refused("alloc base 1000T", "alloc: 0 of 1 pieces: no more can be had\n");
	check_refused("alloc slab-headers", "alloc: slab-headers has what caches are made of, which isn't for callers\n");
	check_refused("free 0", "free: 0 is not an id: `alloc` lists them\n");
	check_refused("free 12345678", "free: nothing is held under the id 12345678\n");
	check_says("alloc -k", "");
	CHECK_STR(said, "");
}

TEST("watch: runs a command, once where no key can be pressed, with its quotes and -k")
{
	check_says("watch -k arena check \"monitor\"", "check name=monitor broken=0\n");
	CHECK(strchr(said, '\n')[1] == '\0');
	check_refused("watch watch mem", "watch: a watch isn't watched\n");
	CHECK(run("watch bogus \"a; b\""));
	CHECK_STR(said, "bogus a; b: no such command, `help` lists them\n");
}

TEST("terminal: shows and sets the size, and refuses one that no terminal has")
{
	struct terminal before = *terminal_size();
	char size[24] = "none";

	check_says("terminal 132x43", "132 columns, 43 rows");
	CHECK_EQ(terminal_size()->columns, 132);
	check_says("terminal none", "output never stops\n");
	CHECK_EQ(terminal_size()->rows, 0);
	for (const char *bad = "9x24\0" "80x9\0" "80\0" "80x\0" "x24\0" "80x24x\0" "1001x24\0"
			       "18446744073709551696x24\0" "-80x24\0"; *bad; bad += strlen(bad) + 1)
		CHECK(monitor_set_terminal(bad) != NULL);
	if (before.rows)
		ksnprintf(size, sizeof(size), "%ux%u", before.columns, before.rows);
	CHECK(monitor_set_terminal(size) == NULL);
}

TEST("misuse: lists callers' bugs, and when each mode reports them")
{
	check_says("misuse", "\nfree_twice                          at drain at once  at once\n");
	CHECK(fits_in(80));
	check_says("misuse -k", "misuse name=free_inside of=objects,_frees what=a_pointer_into_one off=at_drain ");
	check_refused("misuse nothing", "misuse: no misuse nothing: `misuse` lists them\n");
}
