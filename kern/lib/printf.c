/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The printf family: makes text from a format and values, and writes it to a sink.
 *
 * parse_spec() reads a conversion into a struct spec.  The value is turned into a prefix (sign or
 * 0x), a number of zeros and a body; put_field() writes these, padded to the width.
 */
#include "lib/printf.h"

#include <stdbool.h>
#include <stdint.h>

#include "lib/check.h"
#include "lib/string.h"
#include "lib/symbol.h"

#define FLAG_LEFT (1u << 0)  /* - */
#define FLAG_PLUS (1u << 1)  /* + */
#define FLAG_SPACE (1u << 2) /* space */
#define FLAG_ZERO (1u << 3)  /* 0 */
#define FLAG_ALT (1u << 4)   /* # */

#define DIGITS_MAX 22   /* of 2^64 - 1 in octal */
#define SYMBOL_SUFFIX 3 /* bytes of the "+0x" in name+0x12 */

struct spec {
	unsigned flags;
	size_t width;
	bool has_precision;
	size_t precision;
	unsigned bytes; /* of an integer argument */
	char conversion;
};

struct out {
	struct sink *sink;
	size_t length; /* bytes written so far */
};

static void put(struct out *out, const char *text, size_t n)
{
	sink_write(out->sink, text, n);
	out->length += n;
}

static void put_fill(struct out *out, char c, size_t n)
{
	sink_fill(out->sink, c, n);
	out->length += n;
}

/* Writes prefix, zeros and body, padded with spaces to the width. */
static void put_field(struct out *out, const struct spec *spec, const char *prefix, size_t zeros,
	const char *body, size_t body_length)
{
	size_t prefix_length = strlen(prefix), length = prefix_length + zeros + body_length;
	size_t pad = length < spec->width ? spec->width - length : 0;

	if (!(spec->flags & FLAG_LEFT))
		put_fill(out, ' ', pad);
	put(out, prefix, prefix_length);
	put_fill(out, '0', zeros);
	put(out, body, body_length);
	if (spec->flags & FLAG_LEFT)
		put_fill(out, ' ', pad);
}

static void put_string(struct out *out, const struct spec *spec, const char *s)
{
	if (!s)
		s = "(null)";
	put_field(
		out, spec, "", 0, s, spec->has_precision ? strnlen(s, spec->precision) : strlen(s));
}

/* How many zeros stand between prefix and digits, to fill the precision or, with flag 0, the
 * width. */
static size_t leading_zeros(const struct spec *spec, size_t prefix_length, size_t digits)
{
	size_t wanted = 1;

	if (spec->has_precision)
		wanted = spec->precision;
	else if ((spec->flags & (FLAG_ZERO | FLAG_LEFT)) == FLAG_ZERO &&
		 spec->width > prefix_length)
		wanted = spec->width - prefix_length;
	return wanted > digits ? wanted - digits : 0;
}

/* Writes the digits of `value` to the end of digits[DIGITS_MAX]; returns how many.  Zero has
 * none. */
static size_t to_digits(uint64_t value, unsigned base, bool upper, char *digits)
{
	const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	size_t n = 0;

	for (; value > 0; value /= base)
		digits[DIGITS_MAX - ++n] = set[value % base];
	return n;
}

static void put_integer(
	struct out *out, const struct spec *spec, const char *prefix, uint64_t value, unsigned base)
{
	char digits[DIGITS_MAX];
	size_t n = to_digits(value, base, spec->conversion == 'X', digits);
	size_t zeros = leading_zeros(spec, strlen(prefix), n);

	if (base == 8 && spec->flags & FLAG_ALT && zeros == 0)
		zeros = 1;
	put_field(out, spec, prefix, zeros, digits + DIGITS_MAX - n, n);
}

static void put_signed(struct out *out, const struct spec *spec, int64_t value)
{
	const char *sign = "";

	if (value < 0)
		sign = "-";
	else if (spec->flags & FLAG_PLUS)
		sign = "+";
	else if (spec->flags & FLAG_SPACE)
		sign = " ";
	put_integer(out, spec, sign, value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
}

static void put_hex(struct out *out, const struct spec *spec, uint64_t value)
{
	const char *prefix = spec->conversion == 'X' ? "0X" : "0x";

	put_integer(out, spec, spec->flags & FLAG_ALT && value > 0 ? prefix : "", value, 16);
}

static void put_symbol(struct out *out, const struct spec *spec, uintptr_t pc)
{
	uintptr_t offset;
	const char *name = symbol_find(pc, &offset);
	char text[128];

	if (name)
		ksnprintf(text, sizeof(text), "%.*s+0x%zx",
			(int)(sizeof(text) - 1 - SYMBOL_SUFFIX - 2 * sizeof(offset)), name, offset);
	else
		ksnprintf(text, sizeof(text), "0x%zx", pc);
	put_string(out, spec, text);
}

/* In the largest unit that gives at least 1, rounded to the nearest tenth.  What is rounded up to
 * 1024.0 is 1.0 of the next unit: 1023.96 KiB is 1.0 MiB. */
static void put_bytes(struct out *out, const struct spec *spec, uint64_t bytes)
{
	static const char prefixes[] = "KMGTPE";
	unsigned unit = bytes ? (63 - (unsigned)__builtin_clzll(bytes)) / 10 : 0, shift = 10 * unit;
	uint64_t whole = bytes >> shift, rest = bytes - (whole << shift), tenths;
	char text[16];

	if (unit == 0) {
		ksnprintf(text, sizeof(text), "%u B", (unsigned)bytes);
	} else {
		tenths = whole * 10 + ((rest * 10 + ((uint64_t)1 << (shift - 1))) >> shift);
		if (tenths == 10240 && unit < sizeof(prefixes) - 1) {
			tenths = 10;
			unit++;
		}
		ksnprintf(text, sizeof(text), "%u.%u %ciB", (unsigned)(tenths / 10),
			(unsigned)(tenths % 10), prefixes[unit - 1]);
	}
	put_string(out, spec, text);
}

/* %p, %pS, %pB.  `after` is the format behind the p; returns how many bytes of it belong to the
 * conversion. */
static size_t put_pointer(
	struct out *out, const struct spec *spec, const void *value, const char *after)
{
	if (*after == 'S') {
		put_symbol(out, spec, (uintptr_t)value);
		return 1;
	}
	if (*after == 'B') {
		put_bytes(out, spec, *(const uint64_t *)value);
		return 1;
	}
	put_integer(out, spec, "0x", (uintptr_t)value, 16);
	return 0;
}

static unsigned flag_of(char c)
{
	switch (c) {
	case '-':
		return FLAG_LEFT;
	case '+':
		return FLAG_PLUS;
	case ' ':
		return FLAG_SPACE;
	case '0':
		return FLAG_ZERO;
	case '#':
		return FLAG_ALT;
	default:
		return 0;
	}
}

static const char *parse_number(const char *f, size_t *number)
{
	for (*number = 0; *f >= '0' && *f <= '9'; f++)
		*number = *number * 10 + (size_t)(*f - '0');
	return f;
}

static const char *parse_length(const char *f, unsigned *bytes)
{
	*bytes = sizeof(int);
	if (*f == 'h') {
		*bytes = f[1] == 'h' ? sizeof(char) : sizeof(short);
		return f + (f[1] == 'h' ? 2 : 1);
	}
	if (*f == 'l' || *f == 'z' || *f == 't' || *f == 'j') {
		*bytes = sizeof(uint64_t);
		return f + (f[0] == 'l' && f[1] == 'l' ? 2 : 1);
	}
	return f;
}

/* A va_list may be an array, which changes type as a parameter.  In a struct it can be passed by
 * address. */
struct values {
	va_list ap;
};

static void set_star_width(struct spec *spec, int width)
{
	if (width < 0)
		spec->flags |= FLAG_LEFT;
	spec->width = width < 0 ? 0 - (size_t)width : (size_t)width;
}

/* Reads the conversion that begins at f, behind the %, into *spec; returns its end. */
static const char *parse_spec(const char *f, struct spec *spec, struct values *values)
{
	unsigned flag;

	*spec = (struct spec){0};
	for (; (flag = flag_of(*f)) != 0; f++)
		spec->flags |= flag;
	if (*f == '*') {
		set_star_width(spec, va_arg(values->ap, int));
		f++;
	} else {
		f = parse_number(f, &spec->width);
	}
	if (*f == '.') {
		spec->has_precision = true;
		if (*++f == '*') {
			int precision = va_arg(values->ap, int);

			spec->has_precision = precision >= 0;
			spec->precision = precision >= 0 ? (size_t)precision : 0;
			f++;
		} else {
			f = parse_number(f, &spec->precision);
		}
	}
	f = parse_length(f, &spec->bytes);
	spec->conversion = *f;
	return *f ? f + 1 : f;
}

static uint64_t next_unsigned(const struct spec *spec, struct values *values)
{
	if (spec->bytes == sizeof(uint64_t))
		return va_arg(values->ap, uint64_t);
	return va_arg(values->ap, unsigned) & (UINT32_MAX >> (32 - 8 * spec->bytes));
}

static int64_t next_signed(const struct spec *spec, struct values *values)
{
	if (spec->bytes == sizeof(int64_t))
		return va_arg(values->ap, int64_t);
	switch (spec->bytes) {
	case sizeof(char):
		return (signed char)va_arg(values->ap, int);
	case sizeof(short):
		return (short)va_arg(values->ap, int);
	default:
		return va_arg(values->ap, int);
	}
}

/* Prints the conversion in [f, after); returns where the format goes on.  An unknown conversion is
 * printed as it stands. */
static const char *convert(struct out *out, const struct spec *spec, const char *f,
	const char *after, struct values *values)
{
	char c;

	switch (spec->conversion) {
	case 'd':
	case 'i':
		put_signed(out, spec, next_signed(spec, values));
		break;
	case 'u':
		put_integer(out, spec, "", next_unsigned(spec, values), 10);
		break;
	case 'x':
	case 'X':
		put_hex(out, spec, next_unsigned(spec, values));
		break;
	case 'o':
		put_integer(out, spec, "", next_unsigned(spec, values), 8);
		break;
	case 'c':
		c = (char)va_arg(values->ap, int);
		put_field(out, spec, "", 0, &c, 1);
		break;
	case 's':
		put_string(out, spec, va_arg(values->ap, const char *));
		break;
	case 'p':
		after += put_pointer(out, spec, va_arg(values->ap, const void *), after);
		break;
	case '%':
		put(out, "%", 1);
		break;
	default:
		put(out, f, (size_t)(after - f));
	}
	return after;
}

size_t sink_vprintf(struct sink *sink, const char *fmt, va_list ap)
{
	struct out out = {sink, 0};
	struct values values;
	struct spec spec;

	check_given("sink_vprintf", "sink", sink, __builtin_return_address(0));
	va_copy(values.ap, ap);
	while (*fmt) {
		const char *plain = fmt, *percent;

		while (*fmt && *fmt != '%')
			fmt++;
		put(&out, plain, (size_t)(fmt - plain));
		if (!*fmt)
			break;
		percent = fmt;
		fmt = parse_spec(fmt + 1, &spec, &values);
		fmt = convert(&out, &spec, percent, fmt, &values);
	}
	va_end(values.ap);
	return out.length;
}

size_t sink_printf(struct sink *sink, const char *fmt, ...)
{
	va_list ap;
	size_t length;

	check_given("sink_printf", "sink", sink, __builtin_return_address(0));
	va_start(ap, fmt);
	length = sink_vprintf(sink, fmt, ap);
	va_end(ap);
	return length;
}

size_t kprintf(const char *fmt, ...)
{
	va_list ap;
	size_t length;

	va_start(ap, fmt);
	length = sink_vprintf(&console_sink, fmt, ap);
	va_end(ap);
	return length;
}

size_t kvsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct buffer_sink b;

	buffer_sink_init(&b, buf, size);
	return sink_vprintf(&b.sink, fmt, ap);
}

size_t ksnprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	size_t length;

	va_start(ap, fmt);
	length = kvsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return length;
}
