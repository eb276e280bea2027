/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's command line.  The model finds the end of each word first, and takes the word apart then.
 */
#include "cmdline.h"

#include <stdlib.h>

#include "fuzz.h"
#include "lib/array.h"
#include "lib/printf.h"
#include "lib/string.h"

#define LOG_MAX ((size_t)1 << 16)
#define WORD_MAX ((size_t)1 << 13)

/* What options got and the sink was told, one after the other; and what the model says of that. */
static char got[LOG_MAX], wanted[LOG_MAX];
static struct buffer_sink got_sink, wanted_sink;

static const char *set_one(const char *value)
{
	sink_printf(&got_sink.sink, "one<%s>", value);
	return NULL;
}

static const char *set_two(const char *value)
{
	sink_printf(&got_sink.sink, "two<%s>", value);
	return *value ? NULL : "refused";
}

static const char *set_long(const char *value)
{
	sink_printf(&got_sink.sink, "long<%s>", value);
	return NULL;
}

#define LONG_NAME "a_name_as_long_as_a_name_may_be"
_Static_assert(sizeof(LONG_NAME) == CMDLINE_NAME_MAX, "the longest name");

static const struct cmdline_option options[] = {{"one", set_one}, {"t", set_two}, {LONG_NAME, set_long}};

/* The model */

static bool is_escape(const char *c)
{
	return c[0] == '\\' && c[1];
}

static size_t word_length(const char *word)
{
	size_t quotes = 0, i = 0;

	while (word[i] && (word[i] != ' ' || quotes % 2)) {
		quotes += word[i] == '"';
		i += is_escape(word + i) ? 2 : 1;
	}
	return i;
}

/* Copies word[0 .. length) without quotes and backslashes; *split: where the first `=` outside of these stood,
 * which isn't copied, or the end. */
static size_t unquote(const char *word, size_t length, char *to, size_t *split)
{
	size_t n = 0;

	*split = SIZE_MAX;
	for (size_t i = 0; i < length; i++) {
		if (word[i] == '"')
			continue;
		if (word[i] == '=' && *split == SIZE_MAX) {
			*split = n;
			continue;
		}
		if (is_escape(word + i))
			i++;
		to[n++] = word[i];
	}
	if (*split == SIZE_MAX)
		*split = n;
	to[n] = '\0';
	return n;
}

static void expect_word(const char *word, size_t length)
{
	static char text[WORD_MAX];
	size_t split, n = unquote(word, length, text, &split);
	const char *value = text + split, *wrong = NULL;
	char name[CMDLINE_NAME_MAX];

	str_copy(name, text, split < sizeof(name) ? split + 1 : sizeof(name));
	if (strcmp(name, "one") != 0 && strcmp(name, "t") != 0 && strcmp(name, LONG_NAME) != 0)
		wrong = "unknown, ignored";
	else if (split >= CMDLINE_NAME_MAX || n - split >= CMDLINE_VALUE_MAX)
		wrong = "too long, ignored";
	else
		sink_printf(&wanted_sink.sink, "%s<%s>",
			*name == 'o' ? "one" : *name == 't' ? "two" : "long", value);
	if (!wrong && *name == 't' && !*value)
		wrong = "refused";
	if (wrong)
		sink_printf(&wanted_sink.sink, "command line: %s: %s\n", name, wrong);
}

static void expect(const char *text)
{
	size_t length;

	for (; *text; text += length) {
		length = *text == ' ' ? 1 : word_length(text);
		if (*text != ' ')
			expect_word(text, length);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	ASSERT(text);
	if (size >= WORD_MAX)
		size = WORD_MAX - 1;
	for (size_t i = 0; i < size; i++)
		text[i] = (char)data[i];
	text[size] = '\0';
	buffer_sink_init(&got_sink, got, sizeof(got));
	buffer_sink_init(&wanted_sink, wanted, sizeof(wanted));
	cmdline_parse(text, options, ARRAY_SIZE(options), &got_sink.sink);
	expect(text);
	ASSERT(got_sink.length == wanted_sink.length && strcmp(got, wanted) == 0);
	free(text);
	return 0;
}
