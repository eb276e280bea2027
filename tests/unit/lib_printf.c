/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sinks, and the printf family against literal texts.
 */
#include "sink.h"

#include <stdint.h>

#include "lib/string.h"
#include "lib/test.h"

static char buf[256];

#define CHECK_FMT(wanted, ...)                                                                     \
	do {                                                                                       \
		CHECK_EQ(ksnprintf(buf, sizeof(buf), __VA_ARGS__), sizeof(wanted) - 1);            \
		CHECK_STR(buf, wanted);                                                            \
	} while (0)

TEST("printf: signed numbers of every length, down to the least")
{
	CHECK_FMT("0 -1 2147483647", "%d %i %d", 0, -1, INT32_MAX);
	CHECK_FMT("-2147483648", "%d", INT32_MIN);
	CHECK_FMT("-9223372036854775808", "%lld", (long long)INT64_MIN);
	CHECK_FMT("9223372036854775807 -5", "%ld %jd", INT64_MAX, (intmax_t)-5);
	CHECK_FMT("-128 -32768", "%hhd %hd", (signed char)INT8_MIN, (short)INT16_MIN);
	CHECK_FMT("-7", "%td", (ptrdiff_t)-7);
}

TEST("printf: unsigned numbers in three bases, of every length")
{
	CHECK_FMT("4294967295", "%u", UINT32_MAX);
	CHECK_FMT("18446744073709551615", "%llu", (unsigned long long)UINT64_MAX);
	CHECK_FMT("ffffffffffffffff FFFFFFFFFFFFFFFF", "%lx %zX", UINT64_MAX, SIZE_MAX);
	CHECK_FMT("1777777777777777777777", "%llo", (unsigned long long)UINT64_MAX);
	CHECK_FMT("ff ffff", "%hhx %hx", (unsigned char)UINT8_MAX, (unsigned short)UINT16_MAX);
	CHECK_FMT("80000000", "%x", (unsigned)INT32_MIN);
}

TEST("printf: flags and width pad on the side they name")
{
	CHECK_FMT("[   42][42   ][00042]", "[%5d][%-5d][%05d]", 42, 42, 42);
	CHECK_FMT("[  -42][-42  ][-0042]", "[%5d][%-5d][%05d]", -42, -42, -42);
	CHECK_FMT("[+42][ 42][ +42][+042]", "[%+d][% d][%+4d][%+04d]", 42, 42, 42, 42);
	CHECK_FMT("[123456]", "[%3d]", 123456);
	CHECK_FMT("[0x2a][0X2A][052]", "[%#x][%#X][%#o]", 42, 42, 42);
	CHECK_FMT("[  0x2a][0x2a  ][0x002a]", "[%#6x][%-#6x][%#06x]", 42, 42, 42);
	CHECK_FMT("[0][0]", "[%#x][%#o]", 0, 0);
}

TEST("printf: a precision sets the least number of digits")
{
	CHECK_FMT("[00042][-00042]", "[%.5d][%.5d]", 42, -42);
	CHECK_FMT("[   00042][00042   ]", "[%8.5d][%-8.5d]", 42, 42);
	CHECK_FMT("[][    ][+]", "[%.0d][%4.0d][%+.0d]", 0, 0, 0);
	CHECK_FMT("[0x0000002a][0][0052]", "[%#.8x][%#.0o][%#.4o]", 42, 0, 42);
	CHECK_FMT("[0000000000000000000000000000000000000042]", "[%.40d]", 42);
}

TEST("printf: width and precision come from arguments, negative ones too")
{
	CHECK_FMT("[   42][42   ][00042]", "[%*d][%*d][%.*d]", 5, 42, -5, 42, 5, 42);
	CHECK_FMT("[42]", "[%.*d]", -1, 42);
	CHECK_FMT("[0]", "[%.*d]", -1, 0);
	CHECK_FMT("[   ab][ab   ]", "[%*.*s][%-*.*s]", 5, 2, "abc", 5, 2, "abc");
}

TEST("printf: strings and characters are cut and padded, never read too far")
{
	static const char unterminated[3] = {'a', 'b', 'c'};
	const char *volatile null = NULL;

	CHECK_FMT("[abc][  abc][abc  ]", "[%s][%5s][%-5s]", "abc", "abc", "abc");
	CHECK_FMT("[abc][ab][]", "[%.3s][%.2s][%.s]", unterminated, unterminated, "abc");
	CHECK_FMT("[(null)]", "[%s]", null);
	CHECK_FMT("[x][  x][x  ]", "[%c][%3c][%-3c]", 'x', 'x', 'x');
	CHECK_EQ(ksnprintf(buf, sizeof(buf), "a%cb", '\0'), 3);
	CHECK_EQ(buf[2], 'b');
	CHECK_FMT("100%", "%d%%", 100);
}

TEST("printf: pointers are hexadecimal with a width")
{
	CHECK_FMT("0xffffffff80101234", "%p", (void *)0xffffffff80101234u);
	CHECK_FMT("[0x0][    0x10]", "[%p][%8p]", (void *)0, (void *)0x10);
}

#define CHECK_BYTES(wanted, bytes)                                                                 \
	do {                                                                                       \
		uint64_t bytes_ = (bytes);                                                         \
		CHECK_FMT(wanted, "%pB", (void *)&bytes_);                                         \
	} while (0)

TEST("printf: sizes are in IEC units, rounded to the nearest tenth")
{
	CHECK_BYTES("0 B", 0);
	CHECK_BYTES("17 B", 17);
	CHECK_BYTES("1023 B", 1023);
	CHECK_BYTES("1.0 KiB", 1024);
	CHECK_BYTES("4.0 KiB", 4096);
	CHECK_BYTES("1.5 KiB", 1536);
	CHECK_BYTES("1.0 KiB", 1024 + 51);
	CHECK_BYTES("1.1 KiB", 1024 + 52);
	CHECK_BYTES("1023.9 KiB", 1048576 - 103);
	CHECK_BYTES("1.0 MiB", 1048576 - 1);
	CHECK_BYTES("12.3 MiB", 12897485);
	CHECK_BYTES("1.0 GiB", (uint64_t)1 << 30);
	CHECK_BYTES("256.0 TiB", (uint64_t)1 << 48);
	CHECK_BYTES("1.0 PiB", (uint64_t)1 << 50);
	CHECK_BYTES("1.0 EiB", ((uint64_t)1 << 60) - 1);
	CHECK_BYTES("16.0 EiB", UINT64_MAX);
}

TEST("printf: our own conversions take a width and leave what follows")
{
	uint64_t bytes = 4096;

	CHECK_FMT("[   4.0 KiB][4.0 KiB   ]B", "[%10pB][%-10pB]B", (void *)&bytes, (void *)&bytes);
	CHECK_FMT("0x1[0x1 ]", "%pS[%-4pS]", (void *)1, (void *)1);
}

TEST("printf: mixed text keeps its order and its arguments")
{
	CHECK_FMT("core 1 of 8: base-3 at 0x1000, 18446744073709551615 left",
		"core %u of %zu: %s-%d at %#llx, %lu left", 1u, (size_t)8, "base", 3, 0x1000ull,
		UINT64_MAX);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
TEST("printf: a precision or the left flag turns the zero flag off")
{
	CHECK_FMT("[   42][42   ]", "[%05.2d][%0-5d]", 42, 42);
	CHECK_FMT("[00042]", "[%0*.*d]", 5, -3, 42);
}

TEST("printf: what isn't a conversion is printed as it stands")
{
	CHECK_FMT("a%yb", "a%yb");
	CHECK_FMT("%-5.2q!", "%-5.2q!");
	CHECK_FMT("50%", "50%");
	CHECK_FMT("%08l", "%08l");
}
#pragma GCC diagnostic pop

TEST("printf: a buffer too small keeps the beginning, the end and the count")
{
	memset(buf, 'x', sizeof(buf));
	CHECK_EQ(ksnprintf(buf, 6, "%s-%d", "abc", 12345), 9);
	CHECK_STR(buf, "abc-1");
	CHECK_EQ(buf[6], 'x');
	CHECK_EQ(ksnprintf(buf, 1, "%d", 12345), 5);
	CHECK_STR(buf, "");
	CHECK_EQ(buf[1], 'b');
	buf[0] = 'x';
	CHECK_EQ(ksnprintf(buf, 0, "%d", 12345), 5);
	CHECK_EQ(buf[0], 'x');
	CHECK_EQ(ksnprintf(NULL, 0, "%40d", 1), 40);
}

TEST("sink: a buffer sink keeps what fits and counts the rest")
{
	struct buffer_sink b;

	buffer_sink_init(&b, buf, 8);
	CHECK_STR(buf, "");
	sink_puts(&b.sink, "abc");
	sink_write(&b.sink, "defgh", 2);
	CHECK_STR(buf, "abcde");
	sink_puts(&b.sink, "fghij");
	sink_puts(&b.sink, "k");
	CHECK_STR(buf, "abcdefg");
	CHECK_EQ(b.length, 11);
}

static const char *put_line(const char *line)
{
	struct buffer_sink b;

	buffer_sink_init(&b, buf, sizeof(buf));
	sink_put_line(&b.sink, line);
	return buf;
}

#define TEN(c) c c c c c c c c c c
#define SEVENTY(c) TEN(c c c c c c c)

TEST("sink: a line is broken at spaces into rows of 80, and a longer word anywhere")
{
	CHECK_STR(put_line(""), "\n");
	CHECK_STR(put_line("two words"), "two words\n");
	CHECK_STR(put_line(SEVENTY("x") TEN("y")), SEVENTY("x") TEN("y") "\n");
	CHECK_STR(put_line(SEVENTY("x") TEN("y") " z"), SEVENTY("x") TEN("y") "\n    z\n");
	CHECK_STR(put_line(SEVENTY("x") " " TEN("y")), SEVENTY("x") "\n    " TEN("y") "\n");
	CHECK_STR(put_line("a " SEVENTY("x") " " SEVENTY("y") "123456 z"),
		"a " SEVENTY("x") "\n    " SEVENTY("y") "123456\n    z\n");
	CHECK_STR(put_line(SEVENTY("x") TEN("y") SEVENTY("z") TEN("w")),
		SEVENTY("x") TEN("y") "\n    " SEVENTY("z") "wwwwww\n    wwww\n");
}

TEST("sink: fill writes any number of one character")
{
	struct buffer_sink b;

	for (size_t n = 0; n < 200; n++) {
		buffer_sink_init(&b, buf, sizeof(buf));
		sink_fill(&b.sink, '-', n);
		CHECK_EQ(b.length, n);
		CHECK_EQ(strlen(buf), n);
		for (size_t i = 0; i < n; i++)
			CHECK_EQ(buf[i], '-');
	}
}

TEST("sink: what is printed is counted whole, to a buffer of any size or the console")
{
	struct buffer_sink b;

	buffer_sink_init(&b, NULL, 0);
	CHECK_EQ(sink_printf(&b.sink, "%5d|%s", 12, "abc"), 9);
	CHECK_EQ(b.length, 9);
	CHECK_EQ(kprintf("%s\n", "counted"), 8);
	CHECK_EQ(sink_printf(&console_sink, "%08x\n", 0x2a), 9);
}
