/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The printf family against the C library's, where the C standard says what a conversion prints; our own
 * conversions against plain arithmetic; buffers of any size; and lines broken into rows.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"
#include "lib/printf.h"
#include "lib/string.h"

#define TEXT_MAX 2048 /* bytes of the longest text */
#define WIDTH_MAX 400 /* of a field, and of a precision */
#define STRING_MAX 64

static char wanted[TEXT_MAX];
static char terminated[STRING_MAX]; /* a string for the C library, whose checker reads on */

/* A conversion, as text, and its values. */
static struct {
	char format[64];
	unsigned stars;
	int star[2];
	char kind; /* 'd': a number of 32 bits, 'l': of 64, 's': a string, 'B': a size */
	uint64_t number;
	char *text; /* with nothing behind it, not even a zero if a precision ends it */
} one;

static void add(const char *text)
{
	size_t length = strlen(one.format);

	ASSERT(length + strlen(text) < sizeof(one.format));
	str_copy(one.format + length, text, sizeof(one.format) - length);
}

static void add_char(char c)
{
	add((char[]){c, '\0'});
}

/* A width or a precision: none, a number, or a star. */
static void take_number(struct fuzz_input *in, bool may_be_negative)
{
	unsigned how = fuzz_byte(in) % 4;
	int number = (int)fuzz_below(in, WIDTH_MAX);
	char digits[8];

	if (how == 0)
		return;
	if (how == 1) {
		add("*");
		one.star[one.stars++] = may_be_negative && fuzz_byte(in) & 1 ? -number : number;
		return;
	}
	snprintf(digits, sizeof(digits), "%d", how == 2 ? number % 32 : number);
	/* A leading 0 would be a flag. */
	if (number % 32 != 0)
		add(digits);
}

/* Flags, those in `allowed` alone. */
static void take_flags(struct fuzz_input *in, const char *allowed)
{
	unsigned chosen = fuzz_byte(in);

	for (unsigned i = 0; i < 5; i++)
		if (chosen >> i & 1 && strchr(allowed, "-+ 0#"[i]))
			add_char("-+ 0#"[i]);
}

static void take_integer(struct fuzz_input *in, char conversion)
{
	static const char *const lengths[] = {"", "hh", "h", "l", "ll", "z", "t", "j"};
	unsigned length = fuzz_byte(in) % 8;

	take_flags(in, strchr("di", conversion) ? "-+ 0" : conversion == 'u' ? "-0" : "-0#");
	take_number(in, true);
	if (fuzz_byte(in) & 1) {
		add(".");
		take_number(in, true);
	}
	add(lengths[length]);
	add_char(conversion);
	one.kind = length < 3 ? 'd' : 'l';
	one.number = fuzz_number(in, 1u << fuzz_byte(in) % 4);
	if (fuzz_byte(in) & 1)
		one.number = 0 - one.number;
}

static void take_string(struct fuzz_input *in)
{
	size_t size = fuzz_below(in, STRING_MAX);
	bool has_precision = fuzz_byte(in) & 1;

	take_flags(in, "-");
	take_number(in, true);
	if (has_precision) {
		char precision[8];

		snprintf(precision, sizeof(precision), ".%zu", size);
		add(precision);
	}
	add("s");
	one.kind = 's';
	for (size_t i = 0; i < size; i++)
		terminated[i] = (char)(1 + fuzz_byte(in) % 255);
	terminated[size] = '\0';
	one.text = fuzz_copy(terminated, size + !has_precision);
}

static void take_conversion(struct fuzz_input *in)
{
	static const char conversions[] = "diuxXoscB%";
	char c = conversions[fuzz_byte(in) % (sizeof(conversions) - 1)];

	memset(&one, 0, sizeof(one));
	add(fuzz_byte(in) & 1 ? "a%" : "%");
	one.kind = 'd';
	if (c == 's') {
		take_string(in);
	} else if (c == '%') {
		add("%");
	} else if (c == 'c' || c == 'B') {
		take_flags(in, "-");
		take_number(in, true);
		add(c == 'c' ? "c" : "pB");
		one.kind = c == 'c' ? 'd' : 'B';
		one.number = fuzz_number(in, 1u << fuzz_byte(in) % 4);
	} else {
		take_integer(in, c);
	}
	add(fuzz_byte(in) & 1 ? "z" : "");
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

/* Calls print(to, size, format, stars..., value). */
#define PRINT(print, to, size, value)                                                              \
	(one.stars == 0 ? print(to, size, one.format, value) :                                     \
	 one.stars == 1 ? print(to, size, one.format, one.star[0], value) :                        \
			  print(to, size, one.format, one.star[0], one.star[1], value))
#define PRINT_ONE(print, to, size)                                                                 \
	(one.kind == 'd' ? PRINT(print, to, size, (int)one.number) :                               \
	 one.kind == 'l' ? PRINT(print, to, size, one.number) :                                    \
	 one.kind == 's' ? PRINT(print, to, size, one.text) :                                      \
			   PRINT(print, to, size, (void *)&one.number))

/* In the largest unit that gives at least 1, to the nearest tenth, which may be 1 of the next unit. */
static int expect_size(void)
{
	unsigned __int128 bytes = one.number, unit = 1, tenths = bytes * 10;
	const char *prefix = "KMGTPE";
	char text[24], *at = strstr(one.format, "pB"), after[8];
	int length;

	snprintf(text, sizeof(text), "%u B", (unsigned)one.number);
	for (; bytes >= 1024 * unit || tenths >= 10240; prefix++) {
		unit *= 1024;
		tenths = (bytes * 10 + unit / 2) / unit;
		snprintf(text, sizeof(text), "%u.%u %ciB", (unsigned)(tenths / 10), (unsigned)(tenths % 10),
			*prefix);
		if (unit > (unsigned __int128)1 << 59)
			break;
	}
	str_copy(after, at + 2, sizeof(after));
	str_copy(at, "s", 2);
	str_copy(at + 1, after, sizeof(after));
	length = PRINT(snprintf, wanted, sizeof(wanted), text);
	str_copy(at, "pB", 3);
	str_copy(at + 2, after, sizeof(after));
	return length;
}

static void compare(struct fuzz_input *in)
{
	size_t length, size, kept;
	char *got;

	if (one.kind == 'B')
		length = (size_t)expect_size();
	else if (one.kind == 's')
		length = (size_t)PRINT(snprintf, wanted, sizeof(wanted), terminated);
	else
		length = (size_t)PRINT_ONE(snprintf, wanted, sizeof(wanted));
	size = fuzz_below(in, 2) ? fuzz_below(in, TEXT_MAX) : fuzz_below(in, 16);
	got = malloc(size);
	ASSERT(got || size == 0);
	kept = length < size ? length : size - 1;
	if (PRINT_ONE(ksnprintf, got, size) != length ||
		(size > 0 && (memcmp(got, wanted, kept) != 0 || got[kept] != '\0')))
		panic("\"%s\" with %d, %d, %#llx: wanted \"%.64s\", got \"%.64s\"", one.format, one.star[0],
			one.star[1], (unsigned long long)one.number, wanted, size ? got : "");
	free(got);
}
#pragma GCC diagnostic pop

/* Rows have at most SINK_COLUMNS characters, and without their breaks they are the line. */
static void break_line(struct fuzz_input *in)
{
	static char line[TEXT_MAX], rows[4 * TEXT_MAX];
	struct buffer_sink sink;
	size_t n = 0, column = 0, at = 0;

	while (in->left > 0 && n < sizeof(line) - 1)
		line[n++] = (char)(' ' + fuzz_byte(in) % ('~' - ' '));
	line[n] = '\0';
	buffer_sink_init(&sink, rows, sizeof(rows));
	sink_put_line(&sink.sink, line);
	ASSERT(sink.length < sizeof(rows) && sink.length > 0 && rows[sink.length - 1] == '\n');
	for (const char *c = rows; *c; c++) {
		column = *c == '\n' ? 0 : column + 1;
		ASSERT(column <= SINK_COLUMNS);
		if (*c == ' ' || *c == '\n')
			continue;
		while (line[at] == ' ')
			at++;
		ASSERT(line[at++] == *c);
	}
	while (line[at] == ' ')
		at++;
	ASSERT(line[at] == '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};

	if (fuzz_byte(&in) % 8 == 0) {
		break_line(&in);
		return 0;
	}
	while (in.left > 0) {
		take_conversion(&in);
		compare(&in);
		free(one.text);
	}
	return 0;
}
