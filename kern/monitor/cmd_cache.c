/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: block caches.
 */
#include "monitor_impl.h"

#include "block_cache.h"
#include "disk_pattern.h"
#include "lib/array.h"
#include "lib/string.h"
#include "table.h"

/* cache */

#define COLUMN(member, title, width, flags, help)                                                  \
	TABLE_COLUMN(struct block_cache_stats, member, title, #member, width, TABLE_COUNT, flags, help)

static const struct table_column columns[] = {
	TABLE_COLUMN(struct block_cache_stats, disk, "disk", "disk", -8, TABLE_STRING, 0,
		"the disk whose blocks it has"),
	COLUMN(blocks, "blocks", 8, 0, "that it has, of 4 KiB"),
	COLUMN(in_use, "in use", 7, 0, "of them, those that callers have"),
	COLUMN(dirty, "dirty", 7, 0, "of them, those that the disk doesn't have yet"),
	COLUMN(hits, "hits", 9, 0, "requests for a block that was there"),
	COLUMN(misses, "misses", 9, 0, "and for one that was read from the disk"),
	COLUMN(written, "written", 9, 0, "blocks written to the disk"),
	COLUMN(given_up, "given up", 9, 0, "blocks whose memory went back"),
	COLUMN(read_errors, "read errors", 0, TABLE_KEY_ONLY, ""),
	COLUMN(write_errors, "write errors", 0, TABLE_KEY_ONLY, ""),
};
static const struct table table = {"block_cache", columns, ARRAY_SIZE(columns)};
static const struct table *const tables[] = {&table, NULL};

static const char *cache_command(const struct command_call *call)
{
	struct block_cache_stats stats;
	struct table_printer printer;

	if (!block_cache_next(NULL) && !call->keys) {
		sink_puts(call->sink, "there is no disk\n");
		return NULL;
	}
	table_begin(&printer, &table, call->sink, call->keys);
	for (struct block_cache *c = block_cache_next(NULL); c; c = block_cache_next(c)) {
		block_cache_get_stats(c, &stats);
		table_row(&printer, &stats);
	}
	table_end(&printer);
	return NULL;
}

/* cache read, verify, fill: a walk along blocks of the first disk's cache */

#define BAD_LINES_MAX 8 /* bad blocks that get a line each */

struct walk {
	const struct command_call *call;
	struct block_cache *cache;
	uint64_t first, last; /* blocks, both included */
	uint64_t generation;  /* to fill with */
	uint64_t oldest, newest; /* generations found */
	uint64_t done, bad;
};

/* Reads "7", "0-99" or "all".  Returns NULL, or what is wrong. */
static const char *parse_range(struct walk *w, const char *text)
{
	uint64_t blocks = disk_blocks(block_cache_disk(w->cache));
	char first[24]; /* an uint64_t has at most 20 digits */
	const char *dash = strchr(text, '-');

	w->first = 0;
	w->last = blocks - 1;
	if (blocks > 0 && strcmp(text, "all") == 0)
		return NULL;
	str_copy(first, text, sizeof(first));
	if (dash && (size_t)(dash - text) < sizeof(first))
		first[dash - text] = '\0';
	if (!str_to_u64(first, &w->first) || !str_to_u64(dash ? dash + 1 : first, &w->last))
		return command_error("no range of blocks: %s (as 7, 0-99 or all)", text);
	if (w->first > w->last || w->last >= blocks)
		return command_error("no such blocks: the disk has %llu", (unsigned long long)blocks);
	return NULL;
}

static void note_bad(struct walk *w, uint64_t number, const char *why)
{
	if (w->bad++ < BAD_LINES_MAX)
		sink_printf(w->call->sink, "block %llu: %s\n", (unsigned long long)number, why);
}

/* Calls each() for every block of the range, up to Ctrl-C.  A block whose flags have BLOCK_NEW isn't read. */
static void walk_blocks(struct walk *w, unsigned flags,
	void (*each)(struct walk *w, uint64_t number, struct block *block))
{
	for (uint64_t number = w->first; number <= w->last; number++) {
		struct block *block;

		if (monitor_interrupted(w->call->sink))
			return;
		w->done++;
		if (block_get(w->cache, number, MEM_WAIT | flags, &block) != 0) {
			note_bad(w, number, "the disk can't read it");
			continue;
		}
		each(w, number, block);
		block_put(block);
	}
}

static void print_walk(const struct walk *w, const char *what)
{
	sink_printf(w->call->sink,
		w->call->keys ? "%s blocks=%llu bad=%llu" : "%s: %llu blocks, %llu bad", what,
		(unsigned long long)w->done, (unsigned long long)w->bad);
}

/* NULL, or what a command returns whose walk Ctrl-C has ended: no more than a line is shown after that. */
static const char *walk_cut(const struct walk *w)
{
	if (w->done > w->last - w->first)
		return NULL;
	return command_error("interrupted after %llu blocks, %llu bad", (unsigned long long)w->done,
		(unsigned long long)w->bad);
}

/* Begins a walk along the range that the call names, as its first argument. */
static const char *walk_begin(struct walk *w, const struct command_call *call)
{
	*w = (struct walk){.call = call, .cache = block_cache_next(NULL), .oldest = UINT64_MAX};
	return w->cache ? parse_range(w, call->argv[2]) : "there is no disk";
}

static void read_block(struct walk *w, uint64_t number, struct block *block)
{
}

static const char *read_command(const struct command_call *call)
{
	struct walk w;
	const char *wrong = walk_begin(&w, call);

	if (wrong)
		return wrong;
	walk_blocks(&w, 0, read_block);
	wrong = walk_cut(&w);
	if (wrong)
		return wrong;
	print_walk(&w, "read");
	sink_puts(call->sink, "\n");
	return NULL;
}

static void verify_block(struct walk *w, uint64_t number, struct block *block)
{
	uint64_t generation;

	if (!disk_pattern_check(block->data, number, &generation)) {
		note_bad(w, number, "not as it was filled");
		return;
	}
	if (generation < w->oldest)
		w->oldest = generation;
	if (generation > w->newest)
		w->newest = generation;
}

static const char *verify_command(const struct command_call *call)
{
	struct walk w;
	const char *wrong = walk_begin(&w, call);

	if (wrong)
		return wrong;
	walk_blocks(&w, 0, verify_block);
	wrong = walk_cut(&w);
	if (wrong)
		return wrong;
	print_walk(&w, "verify");
	if (w.oldest <= w.newest)
		sink_printf(call->sink,
			call->keys ? " oldest=%llu newest=%llu" : ", generations %llu to %llu",
			(unsigned long long)w.oldest, (unsigned long long)w.newest);
	sink_puts(call->sink, "\n");
	return NULL;
}

static void fill_block(struct walk *w, uint64_t number, struct block *block)
{
	disk_pattern_fill(block->data, number, w->generation);
	block_dirty(block);
}

static const char *fill_command(const struct command_call *call)
{
	struct walk w;
	const char *wrong = walk_begin(&w, call);

	if (wrong)
		return wrong;
	if (call->argc > 3 && !str_to_u64(call->argv[3], &w.generation))
		return command_error("no number: %s", call->argv[3]);
	walk_blocks(&w, BLOCK_NEW, fill_block);
	wrong = walk_cut(&w);
	if (wrong)
		return wrong;
	print_walk(&w, "fill");
	sink_puts(call->sink, "\n");
	return NULL;
}

/* Up to the first disk that failed. */
static void sync_all(void *failed)
{
	struct block_cache *c = block_cache_next(NULL);

	while (c && block_cache_sync(c) == 0)
		c = block_cache_next(c);
	*(struct block_cache **)failed = c;
}

static const char *sync_command(const struct command_call *call)
{
	struct block_cache *failed;

	if (!command_job(call, sync_all, &failed, sizeof(failed)))
		return "interrupted: what is dirty is still being written";
	if (failed)
		return command_error("%s: blocks couldn't be written, and are lost",
			disk_name(block_cache_disk(failed)));
	return NULL;
}

static const struct command commands[] = {
	{"cache read", "[-k] RANGE", "gets blocks of the first disk: 7, 0-99 or all",
		"cache read all", read_command, 0, NULL, NULL},
	{"cache verify", "[-k] RANGE", "the same, and checks that they are as filled",
		"cache verify 0-99", verify_command, 0, NULL, NULL},
	{"cache fill", "[-k] RANGE [COUNT]",
		"overwrites blocks with a pattern that has COUNT in it",
		"cache fill 0-99 1", fill_command, 0, NULL, NULL},
	{"cache sync", "", "writes what is dirty to the disks, Ctrl-C or not", "cache sync",
		sync_command, 0, NULL, NULL},
	/* Last: the names above begin with its name. */
	{"cache", "[-k]", "blocks in memory of disks (scripts/qemu --disk FILE)",
		"cache", cache_command, 0, NULL, tables},
};

struct command_table cache_commands = COMMAND_TABLE("block caches", commands);
