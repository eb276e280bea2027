/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Boot information of multiboot 2, made byte by byte, whole and broken.
 */
#include "multiboot.h"

#include "acpi.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"

#define INFO_MAX 1024
#define MARGIN 0xcc /* what lies behind the boot information: read as a length, it is far too long */

#define END 0
#define CMDLINE 1
#define MODULE 3
#define MAP 6
#define RSDP_OLD 14
#define RSDP_NEW 15

static uint8_t info[INFO_MAX];
static size_t info_size;
static size_t tag_at;

static void set(size_t at, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++, value >>= 8)
		info[at + i] = (uint8_t)value;
}

static void put(uint64_t value, size_t bytes)
{
	set(info_size, value, bytes);
	info_size += bytes;
}

static void put_text(const char *text)
{
	do
		put((uint8_t)*text, 1);
	while (*text++);
}

static void begin(void)
{
	memset(info, MARGIN, sizeof(info));
	info_size = 0;
	put(0, 8);
}

static void tag(uint32_t type)
{
	info_size = (info_size + 7) & ~(size_t)7;
	tag_at = info_size;
	put(type, 4);
	put(0, 4);
}

/* Sets the last tag's length, and that of all. */
static void tag_end(void)
{
	set(tag_at + 4, info_size - tag_at, 4);
	set(0, info_size, 4);
}

static void tag_map(size_t count, uint32_t entry_size)
{
	tag(MAP);
	put(entry_size, 4);
	put(0, 4);
	for (size_t i = 0; i < count; i++) {
		put(0x100000 * i, 8);
		put(0x1000 + i, 8);
		put(i + 1, 4);
		put(0xeeeeeeee, entry_size - 20);
	}
	tag_end();
}

static void tag_module(uint32_t start, uint32_t end)
{
	tag(MODULE);
	put(start, 4);
	put(end, 4);
	put_text("initrd");
	tag_end();
}

static void tag_cmdline(const char *text)
{
	tag(CMDLINE);
	put_text(text);
	tag_end();
}

static void tag_rsdp(uint32_t type, size_t size)
{
	tag(type);
	for (size_t i = 0; i < size; i++)
		put(type, 1);
	tag_end();
}

static void end(void)
{
	tag(END);
	tag_end();
}

static const char *read(struct multiboot *m)
{
	return multiboot_read(info, multiboot_size(info), m);
}

/* One of each that is used, and one that is not. */
static void make_whole(void)
{
	begin();
	tag_cmdline("test_seed=3 autorun=\"mem\"");
	tag(2);
	put_text("a loader's name");
	tag_end();
	tag_module(0x200000, 0x200123);
	tag_map(3, 24);
	tag_rsdp(RSDP_OLD, ACPI_RSDP_SIZE_MIN);
	end();
}

TEST("multiboot: command line, modules, memory map and root pointer are found")
{
	struct multiboot m;

	make_whole();
	CHECK(read(&m) == NULL);
	CHECK_EQ(m.cmdline_size, strlen("test_seed=3 autorun=\"mem\""));
	CHECK_STR(m.cmdline, "test_seed=3 autorun=\"mem\"");
	CHECK_EQ(m.module_count, 1);
	CHECK_EQ(m.modules[0].start, 0x200000);
	CHECK_EQ(m.modules[0].size, 0x123);
	CHECK_EQ(m.map_count, 3);
	for (size_t i = 0; i < 3; i++) {
		struct memmap_entry e = multiboot_map_entry(&m, i);

		CHECK_EQ(e.start, 0x100000 * i);
		CHECK_EQ(e.size, 0x1000 + i);
		CHECK_EQ(e.type, i + 1);
	}
	CHECK_EQ(m.rsdp_size, ACPI_RSDP_SIZE_MIN);
	CHECK_EQ(info[m.rsdp - 1], 0);
	CHECK_EQ(info[m.rsdp], RSDP_OLD);
	CHECK_EQ(info[m.rsdp + m.rsdp_size - 1], RSDP_OLD);
}

TEST("multiboot: all but the memory map may be missing")
{
	struct multiboot m;

	begin();
	tag_map(1, 24);
	end();
	CHECK(read(&m) == NULL);
	CHECK_STR(m.cmdline, "");
	CHECK_EQ(m.cmdline_size, 0);
	CHECK_EQ(m.module_count, 0);
	CHECK_EQ(m.rsdp, 0);
	CHECK_EQ(m.map_count, 1);
	CHECK_PANICS(multiboot_map_entry(&m, 1), "entry 1 of 1 is asked for");
}

TEST("multiboot: entries of the memory map may be longer than today's, but not shorter")
{
	struct multiboot m;

	begin();
	tag_map(2, 40);
	end();
	CHECK(read(&m) == NULL);
	CHECK_EQ(m.map_count, 2);
	CHECK_EQ(multiboot_map_entry(&m, 1).start, 0x100000);
	CHECK_EQ(multiboot_map_entry(&m, 1).type, 2);
	begin();
	tag_map(2, 23);
	end();
	CHECK_STR(read(&m), "the memory map's entries are too short");
	set(16, 0, 4);
	CHECK_STR(read(&m), "the memory map's entries are too short");
	set(16, UINT32_MAX, 4);
	CHECK_STR(read(&m), "the memory map is cut off");
}

TEST("multiboot: the new root pointer counts before the old, in any order")
{
	struct multiboot m;

	for (unsigned old_first = 0; old_first < 2; old_first++) {
		begin();
		tag_map(1, 24);
		tag_rsdp(old_first ? RSDP_OLD : RSDP_NEW, ACPI_RSDP_SIZE);
		tag_rsdp(old_first ? RSDP_NEW : RSDP_OLD, ACPI_RSDP_SIZE);
		end();
		CHECK(read(&m) == NULL);
		CHECK_EQ(info[m.rsdp], RSDP_NEW);
		CHECK_EQ(m.rsdp_size, ACPI_RSDP_SIZE);
	}
}

/* What is said of boot information that has a map and this last tag of `type`, with `size` zero bytes. */
static const char *said_of(uint32_t type, size_t size)
{
	struct multiboot m;

	begin();
	tag_map(1, 24);
	tag(type);
	for (size_t i = 0; i < size; i++)
		put(0, 1);
	tag_end();
	end();
	return read(&m);
}

TEST("multiboot: a tag too short for its type is refused")
{
	CHECK_STR(said_of(CMDLINE, 0), "the command line has no end");
	CHECK(said_of(CMDLINE, 1) == NULL);
	CHECK_STR(said_of(MODULE, 7), "a module is cut off");
	CHECK(said_of(MODULE, 8) == NULL);
	CHECK_STR(said_of(MAP, 7), "the memory map is cut off");
	CHECK_STR(said_of(RSDP_OLD, ACPI_RSDP_SIZE_MIN - 1), "the root pointer is cut off");
	CHECK(said_of(RSDP_OLD, ACPI_RSDP_SIZE_MIN) == NULL);
	CHECK_STR(said_of(RSDP_NEW, ACPI_RSDP_SIZE - 1), "the root pointer is cut off");
	CHECK(said_of(RSDP_NEW, ACPI_RSDP_SIZE) == NULL);
	CHECK(said_of(99, 0) == NULL);
}

TEST("multiboot: a command line without an end, a map cut off and none are refused")
{
	struct multiboot m;

	begin();
	tag_map(1, 24);
	tag_cmdline("abc");
	end();
	set(tag_at - 5, 'd', 1);
	CHECK_STR(read(&m), "the command line has no end");
	begin();
	tag_map(2, 24);
	set(tag_at + 4, 16 + 2 * 24 - 1, 4);
	end();
	CHECK_STR(read(&m), "the memory map is cut off");
	begin();
	tag_map(0, 24);
	end();
	CHECK_STR(read(&m), "it has no memory map");
	begin();
	end();
	CHECK_STR(read(&m), "it has no memory map");
}

TEST("multiboot: a module that ends before it starts, and too many, are refused")
{
	struct multiboot m;

	begin();
	tag_map(1, 24);
	for (uint32_t i = 0; i < MULTIBOOT_MODULES_MAX; i++)
		tag_module(0x1000 * i, 0x1000 * i + i);
	end();
	CHECK(read(&m) == NULL);
	CHECK_EQ(m.module_count, MULTIBOOT_MODULES_MAX);
	CHECK_EQ(m.modules[7].start, 0x7000);
	CHECK_EQ(m.modules[7].size, 7);
	info_size -= 8;
	tag_module(0, 1);
	end();
	CHECK_STR(read(&m), "there are too many modules");
	begin();
	tag_map(1, 24);
	tag_module(0x2000, 0x1fff);
	end();
	CHECK_STR(read(&m), "a module ends before it starts");
}

TEST("multiboot: a tag's length is at least that of its head, and within the whole")
{
	static const uint32_t wrong[] = {0, 1, 7, 0x7fffffff, UINT32_MAX - 7, UINT32_MAX};
	struct multiboot m;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		make_whole();
		set(12, wrong[i], 4);
		CHECK_STR(read(&m), "a tag's length is wrong");
		make_whole();
		set(tag_at + 4, wrong[i], 4);
		CHECK_STR(read(&m), "a tag's length is wrong");
	}
	/* A tag that reaches to the end leaves no room for the last one. */
	make_whole();
	set(12, info_size - 8, 4);
	set(8, 99, 4);
	CHECK_STR(read(&m), "its last tag is missing");
	set(12, info_size - 8 - 3, 4);
	CHECK_STR(read(&m), "its last tag is missing");
}

/* Copies the first `size` bytes to the end of an array, so that ASan sees a read behind them. */
static uint8_t *copy_of(size_t size)
{
	static uint8_t copies[INFO_MAX];

	return memcpy(copies + sizeof(copies) - size, info, size);
}

TEST("multiboot: what is cut off anywhere is refused")
{
	struct multiboot m;
	size_t whole;

	make_whole();
	whole = info_size;
	for (size_t size = 0; size < whole; size++) {
		CHECK_STR(multiboot_read(copy_of(size), size, &m), "it is longer than what can be read");
		set(0, size, 4);
		CHECK(multiboot_read(copy_of(size), size, &m) != NULL);
		set(0, whole, 4);
	}
	CHECK(multiboot_read(copy_of(whole), whole, &m) == NULL);
}

/* Whether [at, at + size) lies among the first `whole` bytes. */
static bool is_inside(const void *at, size_t size, const uint8_t *bytes, size_t whole)
{
	size_t offset = (size_t)((const uint8_t *)at - bytes);

	return offset <= whole && size <= whole - offset;
}

static void check_found(const uint8_t *bytes, size_t size)
{
	struct multiboot m;

	if (multiboot_read(bytes, size, &m))
		return;
	CHECK(m.map_count > 0);
	for (size_t i = 0; i < m.map_count; i++)
		multiboot_map_entry(&m, i);
	CHECK(is_inside(m.map, m.map_count * m.map_entry_size, bytes, size));
	CHECK(m.cmdline_size == 0 || is_inside(m.cmdline, m.cmdline_size + 1, bytes, size));
	CHECK_EQ(strlen(m.cmdline), m.cmdline_size);
	CHECK(m.rsdp <= size && m.rsdp_size <= size - m.rsdp);
	CHECK(m.module_count <= MULTIBOOT_MODULES_MAX);
}

TEST("multiboot: random damage is refused, or what is found lies within the bytes")
{
	size_t size;

	make_whole();
	size = info_size;
	for (size_t left = test_ops(20000); left > 0; left--) {
		uint8_t *bytes = copy_of(size);

		for (uint64_t n = test_random_below(4) + 1; n > 0; n--)
			bytes[test_random_below(size)] = (uint8_t)test_random();
		check_found(bytes, size);
	}
}
