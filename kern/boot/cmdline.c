/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's command line.
 */
#include "cmdline.h"

#include <stdbool.h>

#include "lib/check.h"
#include "lib/string.h"

/* A text that is read byte by byte.  Bytes that don't fit are only counted. */
struct text {
	char *bytes;
	size_t size, length;
};

static void text_add(struct text *t, char c)
{
	if (t->length < t->size)
		t->bytes[t->length] = c;
	t->length++;
}

/* Terminates the text; returns whether all of it fitted. */
static bool text_end(struct text *t)
{
	bool fits = t->length < t->size;

	t->bytes[fits ? t->length : t->size - 1] = '\0';
	return fits;
}

/* Reads a word, which ends before a space outside of quotes; its name ends before the first `=`.
 * Returns the word's end. */
static const char *read_word(const char *from, struct text *name, struct text *value)
{
	struct text *part = name;
	bool quoted = false;

	for (; *from && (quoted || *from != ' '); from++) {
		if (*from == '"')
			quoted = !quoted;
		else if (*from == '\\' && from[1])
			text_add(part, *++from);
		else if (*from == '=' && part == name)
			part = value;
		else
			text_add(part, *from);
	}
	return from;
}

static const struct cmdline_option *find_option(
	const char *name, const struct cmdline_option *options, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

/* Hands a word to its option; returns NULL, or what is wrong with it. */
static const char *set_option(const char *name, const char *value, bool fits,
	const struct cmdline_option *options, size_t count)
{
	const struct cmdline_option *option = find_option(name, options, count);

	if (!option)
		return "unknown, ignored";
	return fits ? option->set(value) : "too long, ignored";
}

void cmdline_parse(
	const char *text, const struct cmdline_option *options, size_t count, struct sink *sink)
{
	static char value_bytes[CMDLINE_VALUE_MAX];
	char name_bytes[CMDLINE_NAME_MAX];

	check_given("cmdline_parse", "text", text, __builtin_return_address(0));
	check_given("cmdline_parse", "sink", sink, __builtin_return_address(0));
	for (;;) {
		struct text name = {name_bytes, sizeof(name_bytes), 0};
		struct text value = {value_bytes, sizeof(value_bytes), 0};
		const char *wrong;
		bool fits;

		while (*text == ' ')
			text++;
		if (!*text)
			return;
		text = read_word(text, &name, &value);
		fits = text_end(&name);
		fits = text_end(&value) && fits;
		wrong = set_option(name_bytes, value_bytes, fits, options, count);
		if (wrong)
			sink_printf(sink, "command line: %s: %s\n", name_bytes, wrong);
	}
}
