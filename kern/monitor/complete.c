/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Completion: the words that could stand at the cursor.
 */
#include "monitor_impl.h"

#include "lib/panic.h"
#include "lib/string.h"

struct completion {
	const struct command_words *before; /* the words of the command before the cursor's word */
	const char *family;		    /* the first word offered last, to offer it once */
	size_t family_length;
	void (*offer)(void *arg, const char *word);
	void *arg;
};

static bool is_same(const char *a, size_t a_length, const char *b, size_t b_length)
{
	return a_length == b_length && strncmp(a, b, a_length) == 0;
}

/* Offers the first word of a command's name.  Rows of one family follow each other in their table,
 * so it is offered once if it isn't offered twice in a row. */
static void offer_first_word(struct completion *c, const char *name, size_t length)
{
	char word[MONITOR_LINE_MAX];

	if (c->family && is_same(name, length, c->family, c->family_length))
		return;
	c->family = name;
	c->family_length = length;
	ksnprintf(word, sizeof(word), "%.*s", (int)length, name);
	c->offer(c->arg, word);
}

static bool offer_name(const struct command_table *table, const struct command *command, void *arg)
{
	struct completion *c = arg;
	const struct command_words *before = c->before;
	const char *name = command->name, *space = strchr(name, ' ');
	size_t length = space ? (size_t)(space - name) : strlen(name);

	if (before->argc == 0)
		offer_first_word(c, name, length);
	else if (before->argc == 1 && space &&
		 is_same(name, length, before->argv[0], strlen(before->argv[0])))
		c->offer(c->arg, space + 1);
	return true;
}

/* The length of the text before the cursor's word, which begins after the last space or `;`. */
static size_t length_before_word(const char *text, size_t length)
{
	while (length > 0 && !strchr(" ;", text[length - 1]))
		length--;
	return length;
}

void command_complete(
	const char *text, size_t length, void (*offer)(void *arg, const char *word), void *arg)
{
	struct command_words words;
	struct completion completion = {&words, NULL, 0, offer, arg};
	const struct command *command;
	char before[MONITOR_LINE_MAX];
	const char *line = before;

	length = length_before_word(text, length);
	if (length >= sizeof(before))
		return;
	memcpy(before, text, length);
	before[length] = '\0';
	do {
		if (command_split(&line, &words))
			return;
	} while (*line);
	if (length > 0 && before[length - 1] == ';')
		words.argc = 0;
	command_for_each(offer_name, &completion);
	command = command_find(words.argc, words.argv);
	/* A command's words are read under locks, which a panic may have left held. */
	if (command && command->complete && !panic_happened())
		command->complete(offer, arg);
}
