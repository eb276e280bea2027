/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Symbols of the image the tests run in.
 */
#include "lib/symbol.h"

#include "lib/string.h"
#include "lib/test.h"

static __attribute__((noinline)) uintptr_t landmark(void)
{
	return (uintptr_t)__builtin_return_address(0);
}

TEST("symbol: a function is found by its start and by an address inside")
{
	uintptr_t offset = 99;

	CHECK_STR(symbol_find((uintptr_t)landmark, &offset), "landmark");
	CHECK_EQ(offset, 0);
	CHECK_STR(symbol_find((uintptr_t)landmark + 1, &offset), "landmark");
	CHECK_EQ(offset, 1);
	CHECK_STR(symbol_find((uintptr_t)test_run, &offset), "test_run");
	CHECK(symbol_find((uintptr_t)landmark - 1, &offset) != NULL);
	CHECK_NE(offset, 0);
}

TEST("symbol: a function's range has all its addresses and no other's")
{
	uintptr_t from, to, offset;

	CHECK(symbol_range((uintptr_t)landmark + 1, &from, &to));
	CHECK_EQ(from, (uintptr_t)landmark);
	CHECK_STR(symbol_find(to - 1, &offset), "landmark");
	CHECK(symbol_find(to, &offset) != NULL);
	CHECK_EQ(offset, 0);
	CHECK(!symbol_range(0, &from, &to));
}

TEST("symbol: a return address lies in the function that called")
{
	uintptr_t pc = landmark(), offset;
	const char *name = symbol_find(pc, &offset);

	CHECK(name != NULL);
	CHECK(str_starts(name, "test_"));
	CHECK_LT(0, offset);
}

TEST("symbol: addresses outside of the image lie in no function")
{
	uintptr_t offset;

	CHECK(symbol_find(0, &offset) == NULL);
	CHECK(symbol_find(UINTPTR_MAX, &offset) == NULL);
}

static const int constants[2] = {1, 2};
static int variables[4] = {1, 2, 3, 4};

static void check_symbol(const void *start, const char *name)
{
	uintptr_t at, offset;

	CHECK_STR(symbol_find((uintptr_t)start + 5, &offset), name);
	CHECK_EQ(offset, 5);
	CHECK(symbol_address(name, &at));
	CHECK_EQ(at, (uintptr_t)start);
}

TEST("symbol: functions, variables, constants are found by address and by name")
{
	check_symbol(constants, "constants");
	check_symbol(variables, "variables");
	check_symbol(test_run, "test_run");
}

TEST("symbol: all of them are there in the order of addresses, one up to the next")
{
	uintptr_t start, end = 0, offset;
	size_t size, variable = 0;
	const char *name;

	for (size_t i = 0; (name = symbol_at(i, &start, &size)); i++, end = start + size) {
		CHECK(i == 0 || start == end);
		if (size > 0) {
			CHECK(symbol_find(start, &offset) == name);
			CHECK_EQ(offset, 0);
		}
		variable += start == (uintptr_t)variables && strcmp(name, "variables") == 0;
	}
	CHECK_EQ(variable, 1);
	CHECK(symbol_find(end, &offset) == NULL);
}

TEST("symbol: a name that nothing has is not found")
{
	uintptr_t at;

	CHECK(!symbol_address("nothing_has_this_name", &at));
	CHECK(!symbol_address("", &at));
}

TEST("symbol: %pS prints name and offset, or the bare address")
{
	char text[64];

	ksnprintf(text, sizeof(text), "%pS", (void *)((uintptr_t)landmark + 1));
	CHECK_STR(text, "landmark+0x1");
	ksnprintf(text, sizeof(text), "%pS", (void *)16);
	CHECK_STR(text, "0x10");
}
