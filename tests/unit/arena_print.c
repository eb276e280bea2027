/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas as text, against literal texts.
 */
#include "arena_print.h"

#include "arenas.h"
#include "lib/string.h"
#include "lib/test.h"

static char text[4096];
static struct buffer_sink out;

static struct table_printer begin(bool keys)
{
	struct table_printer printer;

	buffer_sink_init(&out, text, sizeof(text));
	arena_tree_begin(&printer, &out.sink, keys);
	return printer;
}

TEST("arena print: an amount has a unit if it is in bytes")
{
	char cell[TABLE_CELL_MAX];

	arena_format_amount(cell, 1536, true);
	CHECK_STR(cell, "1.5 KiB");
	arena_format_amount(cell, 1536, false);
	CHECK_STR(cell, "1536");
	arena_format_amount(cell, 0, true);
	CHECK_STR(cell, "-");
}

static const struct arena_tree_line line = {"leaf", "root", 1, true, 4096, 8192, 4096, 4096, 3072, 250, 1, 3, 0};

TEST("arena print: a line of the tree is indented for people, plain for scripts")
{
	struct table_printer printer = begin(false);

	arena_tree_line(&line, &printer);
	table_end(&printer);
	CHECK_STR(strstr(text, "\n") + 1,
		"  leaf            4.0 KiB   8.0 KiB   4.0 KiB  50.0%   3.0 KiB  25%      3     -\n");
	printer = begin(true);
	arena_tree_line(&line, &printer);
	table_end(&printer);
	CHECK_STR(text, "arena name=leaf source=root quantum=4096 total=8192 used=4096 free=4096 "
			"largest_free=3072 fragmentation=250 spans=1 allocs=3 fails=0\n");
}

TEST("arena print: an arena's line is that of its statistics")
{
	struct arena *a = arenas_root(16, 10);
	struct table_printer printer = begin(true);
	struct arena_stats stats;

	arena_alloc(a, 30, MEM_ATOMIC);
	stats = arenas_stats(a);
	arena_tree_row(&stats, &printer);
	CHECK(strstr(text, " quantum=16 total=160 used=32 free=128 largest_free=128 fragmentation=0 spans=1 allocs=1 fails=0\n"));
	arena_free(a, (void *)16, 30);
	arenas_end(a);
}

static void show(struct arena *a, bool full, bool keys)
{
	buffer_sink_init(&out, text, sizeof(text));
	arena_show(a, full, keys, &out.sink);
	CHECK_LT(out.length, sizeof(text));
}

TEST("arena print: an arena is shown with its free pieces, in full with tags and hash")
{
	struct arena *a = arenas_ids(1, 100);

	show(a, false, false);
	CHECK(strstr(text, "free pieces of") && strstr(text, "longest search"));
	CHECK(!strstr(text, "spare tags") && !strstr(text, "hash buckets"));
	show(a, true, false);
	CHECK(strstr(text, "spare tags") && strstr(text, "hash buckets"));
	show(a, false, true);
	CHECK(strstr(text, " total=100 ") && strstr(text, "\nfree name=") && strstr(text, " from=64 segments=1 units=100\n"));
	CHECK(!strstr(text, "hash_buckets"));
	show(a, true, true);
	CHECK(strstr(text, " hash_buckets=16 "));
	arenas_end(a);
}
