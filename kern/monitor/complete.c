/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Completion: what could stand where the cursor is.
 */
#include "monitor_impl.h"

#include "lib/panic.h"
#include "lib/string.h"

struct offering {
	const struct command_words *before; /* the finished words of the command */
	const char *last;                   /* offered before: a family's rows stand together */
	size_t last_length;
	void (*offer)(void *arg, const char *word);
	void *arg;
};

/* Offers the word of the command's name behind the finished ones, if those are its first. */
static bool offer_name(const struct command_table *table, const struct command *command, void *arg)
{
	struct offering *o = arg;
	const char *space = strchr(command->name, ' ');
	size_t first = space ? (size_t)(space - command->name) : strlen(command->name);
	char word[MONITOR_LINE_MAX];

	if (o->before->argc == 0) {
		if (o->last && o->last_length == first &&
			strncmp(o->last, command->name, first) == 0)
			return true;
		o->last = command->name;
		o->last_length = first;
		str_copy(word, command->name, first + 1 < sizeof(word) ? first + 1 : sizeof(word));
		o->offer(o->arg, word);
	} else if (o->before->argc == 1 && space && strlen(o->before->argv[0]) == first &&
		   strncmp(o->before->argv[0], command->name, first) == 0) {
		o->offer(o->arg, space + 1);
	}
	return true;
}

/* Without its unfinished word: text up to the last space or `;`. */
static size_t finished_length(const char *text, size_t length)
{
	while (length > 0 && !strchr(" ;", text[length - 1]))
		length--;
	return length;
}

void command_complete(
	const char *text, size_t length, void (*offer)(void *arg, const char *word), void *arg)
{
	struct command_words words;
	struct offering offering = {&words, NULL, 0, offer, arg};
	const struct command *command;
	char finished[MONITOR_LINE_MAX];
	const char *line = finished;

	length = finished_length(text, length);
	if (length >= sizeof(finished))
		return;
	memcpy(finished, text, length);
	finished[length] = '\0';
	do {
		if (command_split(&line, &words))
			return;
	} while (*line);
	if (length > 0 && finished[length - 1] == ';')
		words.argc = 0;
	command_for_each(offer_name, &offering);
	command = command_find(words.argc, words.argv);
	/* What commands offer is read under locks. */
	if (command && command->complete && !panic_happened())
		command->complete(offer, arg);
}
