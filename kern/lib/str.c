/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * String functions that the C standard lacks: bounded copies, prefixes, checked numbers.
 */
#include "lib/string.h"

size_t str_copy(char *to, const char *from, size_t size)
{
	size_t length = strlen(from), kept = length < size ? length : size - 1;

	memcpy(to, from, kept);
	to[kept] = '\0';
	return length;
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

#define NO_DIGIT 16u

static unsigned digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	c |= 'a' - 'A';
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : NO_DIGIT;
}

/* Reads the digits at *s and moves *s behind them; false if there are none or they don't fit. */
static bool parse_digits(const char **s, unsigned base, uint64_t *value)
{
	const char *first = *s;
	unsigned digit;

	for (*value = 0; (digit = digit_value(**s)) < base; ++*s) {
		if (__builtin_mul_overflow(*value, (uint64_t)base, value) ||
			__builtin_add_overflow(*value, (uint64_t)digit, value))
			return false;
	}
	return *s != first;
}

/* Reads the unit at *s, moves *s behind it and returns how far it shifts left; 0 without a unit. */
static unsigned parse_unit(const char **s)
{
	static const char units[] = "KkMmGgTt";
	const char *unit = **s ? strchr(units, **s) : NULL;

	if (!unit)
		return 0;
	++*s;
	return 10 * ((unsigned)(unit - units) / 2 + 1);
}

bool str_to_u64(const char *s, uint64_t *value)
{
	bool hex = str_starts(s, "0x");
	uint64_t number;
	unsigned shift;

	if (hex)
		s += 2;
	if (!parse_digits(&s, hex ? 16 : 10, &number))
		return false;
	shift = parse_unit(&s);
	if (*s || number << shift >> shift != number)
		return false;
	*value = number << shift;
	return true;
}
