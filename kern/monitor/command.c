/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Running a line: it is split into commands, a command into words, and its row is found in the
 * tables and called.
 */
#include "monitor_impl.h"

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

/* Splits [from, end) into words; -k becomes `keys`, unless it was quoted. */
static const char *split(const char *from, const char *end, struct command_words *words)
{
	char *to = words->text, *word;
	const char *begin;

	for (;;) {
		while (from < end && *from == ' ')
			from++;
		if (from == end)
			return NULL;
		if (words->argc == MONITOR_ARGS_MAX)
			return command_error("more than %d words in one command", MONITOR_ARGS_MAX);
		begin = from;
		word = to;
		to = copy_word(&from, end, word);
		if (!to)
			return "a quote is not closed";
		if (strcmp(word, "-k") == 0 && *begin != '"')
			words->keys = true;
		else
			words->argv[words->argc++] = word;
	}
}

const char *command_split(const char **line, struct command_words *words)
{
	const char *begin = *line, *end = find_end(begin);
	const char *wrong;

	words->argc = 0;
	words->keys = false;
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

/* Compares the number of arguments with the usage: each of its words stands for one argument, a
 * word in brackets for one that may be left out, a last word with dots for any number of them. */
static const char *check_usage(const struct command *command, const struct command_words *words)
{
	int given = words->argc - count_name_words(command->name, words->argc, words->argv);
	int least = 0, most = 0;

	if (words->keys && !strstr(command->usage, "[-k]"))
		return "takes no -k";
	for (const char *word = command->usage; word && *word; word = strchr(word, ' ')) {
		word += *word == ' ';
		if (str_starts(word, "[-k]"))
			continue;
		least += *word != '[';
		most++;
	}
	if (strstr(command->usage, "..."))
		most = MONITOR_ARGS_MAX;
	if (given >= least && given <= most)
		return NULL;
	return command_error("too %s words, usage: %s%s%s", given < least ? "few" : "many",
		command->name, *command->usage ? " " : "", command->usage);
}

static const char *call(
	const struct command *command, const struct command_words *words, struct sink *sink)
{
	struct command_call call = {words->argc, (const char **)words->argv, words->keys, sink};
	const char *wrong = check_usage(command, words);

	if (wrong)
		return wrong;
	if (panic_happened() && !(command->flags & COMMAND_PANIC_SAFE))
		return "not safe after a panic";
	return command->run(&call);
}

static bool run_words(const struct command_words *words, struct sink *sink)
{
	const struct command *command = command_find(words->argc, words->argv);
	const char *wrong;

	if (words->argc == 0 && !words->keys)
		return true;
	if (!command) {
		sink_printf(sink, "%s%s%s: no such command, `help` lists them\n",
			words->argc > 0 ? words->argv[0] : "-k", words->argc > 1 ? " " : "",
			words->argc > 1 ? words->argv[1] : "");
		return false;
	}
	wrong = call(command, words, sink);
	if (wrong)
		sink_printf(sink, "%s: %s\n", command->name, wrong);
	return !wrong;
}

/* Ctrl-C at the console stops what runs for the console. */
static bool is_interrupted(const struct sink *sink)
{
	return sink == &console_sink && monitor_is_interrupted();
}

bool command_run_line(const char *line, struct sink *sink)
{
	struct command_words words;
	bool all_ran = true;

	while (*line && !is_interrupted(sink)) {
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
