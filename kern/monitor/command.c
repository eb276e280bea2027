/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Running a line: it is split into commands, a command into words, and its row is found in the
 * tables and called.
 */
#include "monitor_impl.h"

#include "lib/catch.h"
#include "lib/panic.h"
#include "lib/string.h"

#define ERROR_MAX 160 /* bytes of a plain line, its end included */

static struct command_table *tables; /* in the order in which they were added */

const char *command_error(const char *fmt, ...)
{
	static char line[ERROR_MAX];
	va_list ap;

	va_start(ap, fmt);
	kvsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	return line;
}

void command_left_out(const struct command_call *call, size_t count)
{
	if (count > 0 && !call->keys)
		sink_printf(call->sink, "%zu that %s empty left out, -a shows all\n", count,
			count == 1 ? "is" : "are");
}

struct arena *command_arena(const char *name)
{
	struct arena_stats stats;

	for (struct arena *a = arena_next(NULL); a; a = arena_next(a)) {
		arena_get_stats(a, &stats);
		if (strcmp(stats.name, name) == 0)
			return a;
	}
	return NULL;
}

struct kmem_cache *command_cache(const char *name)
{
	struct kmem_cache_stats stats;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &stats);
		if (strcmp(stats.name, name) == 0)
			return c;
	}
	return NULL;
}

const char *command_no_arena(const char *name)
{
	struct kmem_cache *cache = command_cache(name);

	if (!cache)
		return command_error("no arena %s", name);
	kmem_cache_unpin(cache);
	return command_error("%s is a cache: `slab %s` shows it", name, name);
}

const char *command_no_cache(const char *name)
{
	return command_error(arena_find(name) ? "%s is an arena: `arena show %s` shows it" : "no cache %s", name,
		name);
}

void monitor_add_commands(struct command_table *table)
{
	struct command_table **end = &tables;

	while (*end)
		end = &(*end)->next;
	table->next = NULL;
	*end = table;
}

void command_for_each(
	bool (*fn)(const struct command_table *table, const struct command *command, void *arg),
	void *arg)
{
	for (const struct command_table *table = tables; table; table = table->next)
		for (size_t i = 0; i < table->count; i++)
			if (!fn(table, &table->commands[i], arg))
				return;
}

/* From a line to words */

/* The end of the command that begins at `line`: the `;` after it, or the zero byte. */
static const char *find_end(const char *line)
{
	bool quoted = false;

	for (; *line && (quoted || *line != ';'); line++)
		quoted ^= *line == '"';
	return line;
}

/* Copies the word at *from to `to` without its quotes, and moves *from to its end.  Returns the
 * byte after the copy's zero byte, or NULL if a quote isn't closed. */
static char *copy_word(const char **from, const char *end, char *to)
{
	bool quoted = false;

	for (; *from < end && (quoted || **from != ' '); ++*from) {
		if (**from == '"')
			quoted = !quoted;
		else
			*to++ = **from;
	}
	*to++ = '\0';
	return quoted ? NULL : to;
}

/* Takes a word that is meant for every command; returns whether it is one, if it wasn't quoted. */
static bool take_common(struct command_words *words, const char *word)
{
	if (words->awaits_column) {
		words->sort = word;
		words->awaits_column = false;
	} else if (strcmp(word, "-k") == 0) {
		words->keys = true;
	} else if (strcmp(word, "-a") == 0) {
		words->all = true;
	} else if (strcmp(word, "-s") == 0) {
		words->awaits_column = true;
	} else {
		return false;
	}
	return true;
}

/* Splits [from, end) into words; those for every command aren't kept, unless they were quoted. */
static const char *split(const char *from, const char *end, struct command_words *words)
{
	char *to = words->text, *word;
	const char *begin;

	for (;;) {
		while (from < end && *from == ' ')
			from++;
		if (from == end)
			return words->awaits_column ? "-s: the name of a column must follow" : NULL;
		begin = from;
		word = to;
		to = copy_word(&from, end, word);
		if (!to)
			return "a quote is not closed";
		if ((*begin != '"' || words->awaits_column) && take_common(words, word))
			continue;
		if (words->argc == MONITOR_ARGS_MAX)
			return command_error("more than %d words in one command", MONITOR_ARGS_MAX);
		words->argv[words->argc++] = word;
	}
}

const char *command_split(const char **line, struct command_words *words)
{
	const char *begin = *line, *end = find_end(begin);
	const char *wrong;

	words->argc = 0;
	words->keys = words->all = words->awaits_column = false;
	words->sort = NULL;
	*line = *end ? end + 1 : end;
	if (end - begin >= MONITOR_LINE_MAX)
		wrong = command_error("command too long, at most %d bytes", MONITOR_LINE_MAX - 1);
	else
		wrong = split(begin, end, words);
	words->argv[words->argc] = NULL;
	return wrong;
}

/* From words to a call */

/* If argv begins with the one or two words of `name`, how many they are; else 0. */
static int count_name_words(const char *name, int argc, const char *const *argv)
{
	const char *space = strchr(name, ' ');
	size_t first = space ? (size_t)(space - name) : strlen(name);

	if (argc < 1 || strlen(argv[0]) != first || strncmp(argv[0], name, first) != 0)
		return 0;
	if (!space)
		return 1;
	return argc > 1 && strcmp(argv[1], space + 1) == 0 ? 2 : 0;
}

struct search {
	int argc;
	const char *const *argv;
	const struct command *found;
};

static bool match_command(
	const struct command_table *table, const struct command *command, void *arg)
{
	struct search *search = arg;

	if (!count_name_words(command->name, search->argc, search->argv))
		return true;
	search->found = command;
	return false;
}

const struct command *command_find(int argc, const char *const *argv)
{
	struct search search = {argc, argv, NULL};

	command_for_each(match_command, &search);
	return search.found;
}

/* Returns NULL, or why the command can't be sorted by the column.  A live command has the tables of the
 * one that it runs. */
static const char *check_sort(const struct command *command, const struct command_words *words)
{
	const struct command *run = command;
	const struct table *const *t;

	if (command->flags & COMMAND_LIVE)
		run = command_find(words->argc - 1, words->argv + 1);
	if (!run || !run->tables)
		return "takes no -s";
	for (t = run->tables; *t && !table_has_column(*t, words->sort);)
		t++;
	return *t ? NULL : command_error("no column %s: `help %s` lists them", words->sort, run->name);
}

/* Compares the number of arguments with the usage: each of its words stands for one argument, a
 * word in brackets for one that may be left out, a last word with dots for any number of them. */
static const char *check_usage(const struct command *command, const struct command_words *words)
{
	int given = words->argc - count_name_words(command->name, words->argc, words->argv);
	int least = 0, most = 0;

	if (words->keys && !strstr(command->usage, "[-k]"))
		return "takes no -k";
	if (words->all && !strstr(command->usage, "[-a]"))
		return "takes no -a";
	for (const char *word = command->usage; word && *word; word = strchr(word, ' ')) {
		word += *word == ' ';
		if (str_starts(word, "[-k]") || str_starts(word, "[-a]"))
			continue;
		least += *word != '[';
		most++;
	}
	if (strstr(command->usage, "..."))
		most = MONITOR_ARGS_MAX;
	if (given >= least && given <= most)
		return words->sort ? check_sort(command, words) : NULL;
	return command_error("too %s words, usage: %s%s%s", given < least ? "few" : "many",
		command->name, *command->usage ? " " : "", command->usage);
}

static const char *run_sorted(
	const struct command *command, const struct command_call *call, const char *column)
{
	struct command_call sorted = *call;
	const char *wrong;
	struct sort sort;

	sorted.sink = sort_begin(&sort, column, call->sink);
	wrong = command->run(&sorted);
	sort_end(&sort);
	return wrong;
}

/* After a panic anything may be broken: what panics once more while it is shown ends the command. */
static const char *run_guarded(const struct command *command, const struct command_call *call)
{
	struct panic_catch catch;
	const char *wrong;

	panic_catch_push(&catch);
	if (machine_setjmp(&catch.jump) == 0)
		wrong = command->run(call);
	else
		wrong = command_error("stopped by a panic: %s", catch.message);
	panic_catch_pop(&catch);
	return wrong;
}

static const char *call(
	const struct command *command, const struct command_words *words, struct sink *sink)
{
	struct command_call call = {
		words->argc, (const char **)words->argv, words->keys, words->all, sink};
	const char *wrong = check_usage(command, words);
	bool was_paged;

	if (wrong)
		return wrong;
	if (panic_happened() && (words->sort || !(command->flags & COMMAND_PANIC_SAFE)))
		return "not safe after a panic";
	was_paged = terminal_page(sink, false);
	terminal_page(sink, was_paged && !words->keys && !(command->flags & COMMAND_LIVE));
	if (panic_happened())
		wrong = run_guarded(command, &call);
	else
		wrong = words->sort ? run_sorted(command, &call, words->sort) : command->run(&call);
	terminal_page(sink, was_paged);
	return wrong;
}

static bool run_words(const struct command_words *words, struct sink *sink)
{
	const struct command *command = command_find(words->argc, words->argv);
	char line[MONITOR_LINE_MAX + ERROR_MAX];
	const char *wrong;

	if (words->argc == 0 && !words->keys)
		return true;
	if (!command) {
		ksnprintf(line, sizeof(line), "%s%s%s: no such command, `help` lists them",
			words->argc > 0 ? words->argv[0] : "-k", words->argc > 1 ? " " : "",
			words->argc > 1 ? words->argv[1] : "");
		sink_put_line(sink, line);
		return false;
	}
	wrong = call(command, words, sink);
	if (wrong) {
		ksnprintf(line, sizeof(line), "%s: %s", command->name, wrong);
		sink_put_line(sink, line);
	}
	return !wrong;
}

bool command_run_line(const char *line, struct sink *sink)
{
	struct command_words words;
	bool all_ran = true;

	while (*line && !monitor_interrupted(sink)) {
		const char *wrong = command_split(&line, &words);

		if (wrong)
			sink_printf(sink, "%s\n", wrong);
		if (wrong || !run_words(&words, sink))
			all_ran = false;
	}
	return all_ran;
}

bool monitor_run_line(const char *line)
{
	return command_run_line(line, &console_sink);
}
