/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's command line.
 */
#include "cmdline.h"

#include "lib/array.h"
#include "lib/string.h"
#include "table.h"
#include "lib/test.h"

static char one[CMDLINE_VALUE_MAX], two[CMDLINE_VALUE_MAX];
static char said[256];

static const char *set_one(const char *value)
{
	str_copy(one, value, sizeof(one));
	return NULL;
}

static const char *set_two(const char *value)
{
	str_copy(two, value, sizeof(two));
	return strcmp(value, "bad") == 0 ? "is bad" : NULL;
}

static const struct cmdline_option options[] = {{"one", set_one}, {"two", set_two}};

static void parse(const char *text)
{
	struct buffer_sink sink;

	str_copy(one, "unset", sizeof(one));
	str_copy(two, "unset", sizeof(two));
	buffer_sink_init(&sink, said, sizeof(said));
	cmdline_parse(text, options, ARRAY_SIZE(options), &sink.sink);
}

TEST("cmdline: words reach their options, with and without values")
{
	parse("  one=1   two ");
	CHECK_STR(one, "1");
	CHECK_STR(two, "");
	CHECK_STR(said, "");
}

TEST("cmdline: an empty line sets nothing")
{
	parse("");
	CHECK_STR(one, "unset");
	CHECK_STR(said, "");
}

TEST("cmdline: quotes keep spaces, and a backslash the next character")
{
	parse("one=\"arena tree; mem\" two=\"test \\\"a b\\\" \\\\\"x");
	CHECK_STR(one, "arena tree; mem");
	CHECK_STR(two, "test \"a b\" \\x");
	parse("one=a\\ b\\\\\\\"\\' two=\"\\");
	CHECK_STR(one, "a b\\\"'");
	CHECK_STR(two, "\\");
	parse("one=\"never ends two=2");
	CHECK_STR(one, "never ends two=2");
	CHECK_STR(two, "unset");
}

TEST("cmdline: a quote may open at any place in a word, and the first = ends the name")
{
	parse("\"one=test \\\"a b\\\"; poweroff\" t\"wo=1 =\"=2");
	CHECK_STR(one, "test \"a b\"; poweroff");
	CHECK_STR(two, "1 ==2");
	CHECK_STR(said, "");
}

TEST("cmdline: unknown and refused words get one line each and the others count")
{
	parse("three=3 two=bad onee one=1");
	CHECK_STR(one, "1");
	CHECK_STR(said, "command line: three: unknown, ignored\n"
			"command line: two: is bad\n"
			"command line: onee: unknown, ignored\n");
}

TEST("cmdline: a word too long is refused whole")
{
	static char text[CMDLINE_VALUE_MAX + 32];

	memset(text, 'x', sizeof(text) - 1);
	memcpy(text, "one=", 4);
	parse(text);
	CHECK_STR(one, "unset");
	CHECK_STR(said, "command line: one: too long, ignored\n");
	text[3] = 'x';
	parse(text);
	CHECK(strstr(said, ": unknown, ignored\n") != NULL);
}

#define NAME_OF_31 "a_name_as_long_as_a_name_may_be"

static const struct cmdline_option long_option[] = {{NAME_OF_31, set_one}};

TEST("cmdline: the longest name and value are taken, a longer name is refused whole")
{
	static char longest[CMDLINE_VALUE_MAX + 4] = "one=";
	struct buffer_sink sink;

	_Static_assert(sizeof(NAME_OF_31) == CMDLINE_NAME_MAX, "the longest name");
	memset(longest + 4, 'v', CMDLINE_VALUE_MAX - 1);
	parse(longest);
	CHECK_EQ(strlen(one), CMDLINE_VALUE_MAX - 1);
	CHECK_STR(said, "");
	buffer_sink_init(&sink, said, sizeof(said));
	cmdline_parse(NAME_OF_31 "=1 " NAME_OF_31 "x=2", long_option, 1, &sink.sink);
	CHECK_STR(one, "1");
	CHECK_STR(said, "command line: " NAME_OF_31 ": too long, ignored\n");
}
