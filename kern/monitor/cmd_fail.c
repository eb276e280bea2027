/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: allocations that are made to fail.
 */
#include "monitor_impl.h"

#include "kmem_fail.h"
#include "lib/array.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "lib/symbol.h"
#include "table.h"

/* fail */

struct fail_row {
	uint64_t number;
	const char *name, *site;
	struct kmem_fail_stats s;
};

#define COUNT(member, title, width, help)                                                          \
	TABLE_COLUMN(struct fail_row, s.member, title, #member, width, TABLE_COUNT, 0, help)

static const struct table_column columns[] = {
	TABLE_COLUMN(struct fail_row, number, "rule", "rule", 4, TABLE_NUMBER, 0, "for `fail stop`"),
	TABLE_COLUMN(struct fail_row, name, "of", "of", -20, TABLE_STRING, 0,
		"the arena or cache whose allocations it is about"),
	TABLE_COLUMN(struct fail_row, site, "beneath", "site", -17, TABLE_STRING, 0,
		"the function that makes them, itself or by what it calls"),
	COUNT(after, "after", 6, "so many don't fail"),
	COUNT(one_in, "one in", 6, "of those behind, as many fail; -: each does"),
	COUNT(times, "times", 5, "it makes some fail; -: without end"),
	COUNT(matched, "met", 8, "allocations that it was about"),
	COUNT(failed, "failed", 7, "of these"),
	TABLE_COLUMN(struct fail_row, s.seed, "seed", "seed", 0, TABLE_NUMBER, TABLE_KEY_ONLY,
		"which ones of them fail"),
};
static const struct table table = {"fail", columns, ARRAY_SIZE(columns)};
static const struct table *const tables[] = {&table, NULL};

static const char *fail_command(const struct command_call *call)
{
	struct table_printer printer;
	struct fail_row row;
	uintptr_t offset;
	bool any = false;

	for (int number = kmem_fail_next(0); number; number = kmem_fail_next(number)) {
		if (!kmem_fail_get_stats(number, &row.s))
			continue;
		row.number = (uint64_t)number;
		row.name = row.s.name[0] ? row.s.name : "all";
		row.site = row.s.to ? symbol_find(row.s.from, &offset) : "all";
		if (!any)
			table_begin(&printer, &table, call->sink, call->keys);
		any = true;
		table_row(&printer, &row);
	}
	if (any)
		table_end(&printer);
	else if (!call->keys)
		sink_puts(call->sink, "no allocation is made to fail\n");
	return NULL;
}

/* fail start */

/* NULL, or what is wrong: no arena and no cache has the name. */
static const char *check_name(const char *name)
{
	struct kmem_cache *cache = command_cache(name);

	if (!cache && !arena_find(name))
		return command_error("no arena and no cache %s", name);
	if (cache)
		kmem_cache_unpin(cache);
	return NULL;
}

static const char *set_site(struct kmem_fail_rule *rule, const char *function)
{
	uintptr_t start;

	if (!symbol_address(function, &start))
		return command_error("no function %s", function);
	symbol_range(start, &rule->from, &rule->to);
	return NULL;
}

/* One `name=value`. */
static const char *set(struct kmem_fail_rule *rule, const char *word)
{
	const struct {
		const char *name;
		uint64_t *value;
	} numbers[] = {
		{"after=", &rule->after},
		{"one_in=", &rule->one_in},
		{"times=", &rule->times},
		{"seed=", &rule->seed},
	};

	if (str_starts(word, "site="))
		return set_site(rule, word + strlen("site="));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (str_starts(word, numbers[i].name))
			return str_to_u64(word + strlen(numbers[i].name), numbers[i].value) ?
				       NULL :
				       command_error("%s: not a number", word);
	return command_error("%s: neither site=, after=, one_in=, times= nor seed=", word);
}

static const char *start_command(const struct command_call *call)
{
	struct kmem_fail_rule rule = {.name = call->argv[2]};
	const char *wrong = NULL;
	int number;

	if (strcmp(rule.name, "all") == 0)
		rule.name = NULL;
	else
		wrong = check_name(rule.name);
	for (int i = 3; i < call->argc && !wrong; i++)
		wrong = set(&rule, call->argv[i]);
	if (wrong)
		return wrong;
	number = kmem_fail_start(&rule);
	if (number < 0)
		return "no memory";
	sink_printf(call->sink, call->keys ? "fail rule=%d\n" : "rule %d: `fail` shows what it does\n", number);
	return NULL;
}

/* fail stop */

static void stop_all(void)
{
	for (int number = kmem_fail_next(0); number; number = kmem_fail_next(0))
		kmem_fail_stop(number);
}

static const char *stop_command(const struct command_call *call)
{
	struct kmem_fail_stats stats;
	const char *word = call->argv[2];
	uint64_t number;

	if (strcmp(word, "all") == 0) {
		stop_all();
		return NULL;
	}
	if (!str_to_u64(word, &number) || number > INT32_MAX || !kmem_fail_get_stats((int)number, &stats))
		return command_error("no rule %s", word);
	kmem_fail_stop((int)number);
	if (!call->keys)
		sink_printf(call->sink, "it was about %llu allocations, and %llu failed\n",
			(unsigned long long)stats.matched, (unsigned long long)stats.failed);
	return NULL;
}

/* Completion */

static void offer_rules(void (*offer)(void *arg, const char *word), void *arg)
{
	char word[TABLE_CELL_MAX];

	offer(arg, "all");
	for (int number = kmem_fail_next(0); number; number = kmem_fail_next(number)) {
		ksnprintf(word, sizeof(word), "%d", number);
		offer(arg, word);
	}
}

static void offer_words(void (*offer)(void *arg, const char *word), void *arg)
{
	static const char *const words[] = {"all", "site=", "after=", "one_in=", "times=", "seed="};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		offer(arg, words[i]);
	command_offer_names(offer, arg);
}

static const struct command commands[] = {
	{"fail start", "NAME [HOW=VALUE...]",
		"makes it fail: site after one_in times seed", "fail start kpages after=2 times=1", start_command,
		0, offer_words, NULL},
	{"fail stop", "RULE|all", "ends that", "fail stop all", stop_command, 0, offer_rules, NULL},
	{"fail", "[-k]", "which allocations are made to fail, and how many were", "fail", fail_command, 0, NULL,
		tables},
};

struct command_table fail_commands = COMMAND_TABLE("debugging", commands);
