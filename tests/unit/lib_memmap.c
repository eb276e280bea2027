/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory maps against a model that marks every byte, and explicit cases.
 */
#include "memmap.h"

#include "lib/string.h"
#include "lib/test.h"

#define ENTRIES_MAX 48
#define RESERVED_MAX 16
#define BYTES 1024 /* in the model's window of addresses */
#define TYPE_OTHER 2

#define MARK_RAM 1u
#define MARK_OTHER 2u
#define MARK_RESERVED 4u

static struct memmap_entry entries[ENTRIES_MAX];
static struct memmap_range reserved[RESERVED_MAX];
static struct memmap_edge work[2 * (ENTRIES_MAX + RESERVED_MAX)];
static struct memmap_range ranges[ENTRIES_MAX + RESERVED_MAX + 1];
static struct memmap_result result;
static size_t entry_count, reserved_count;

static unsigned char marks[BYTES];
static struct memmap_result model;

static const char *normalize(uint64_t page)
{
	return memmap_normalize(entries, entry_count, reserved, reserved_count, page, work, ranges,
		entry_count + reserved_count + 1, &result);
}

/* A random piece of the window at `base`.  Some are empty; with `wild`, some leave the window,
 * which is the last one before 2^64. */
static void random_piece(uint64_t base, bool wild, uint64_t *start, uint64_t *size)
{
	uint64_t from = test_random_below(BYTES), most = BYTES - from;

	*start = base + from;
	*size = test_random_below(most + 1);
	if (test_random_below(4) == 0)
		*size = test_random_below(most < 40 ? most + 1 : 40);
	if (test_random_below(8) == 0)
		*size = most;
	if (wild && test_random_below(8) == 0)
		*size = most + 1 + test_random() % (UINT64_MAX - most);
}

static void random_map(uint64_t base, bool wild)
{
	entry_count = test_random_below(ENTRIES_MAX + 1);
	reserved_count = test_random_below(RESERVED_MAX + 1);
	if (test_random_below(2)) {
		entry_count %= 6;
		reserved_count %= 3;
	}
	for (size_t i = 0; i < entry_count; i++) {
		random_piece(base, wild, &entries[i].start, &entries[i].size);
		entries[i].type =
			test_random_below(4) ? MEMMAP_RAM : (uint32_t)test_random_below(9);
	}
	for (size_t i = 0; i < reserved_count; i++)
		random_piece(base, wild, &reserved[i].start, &reserved[i].size);
}

static void mark(uint64_t base, uint64_t start, uint64_t size, unsigned char how)
{
	for (uint64_t at = start - base; at < BYTES && size > 0; at++, size--)
		marks[at] |= how;
}

static void mark_all(uint64_t base)
{
	model = (struct memmap_result){0};
	memset(marks, 0, sizeof(marks));
	for (size_t i = 0; i < entry_count; i++) {
		const struct memmap_entry *e = &entries[i];

		if (e->size == 0)
			model.dropped_empty++;
		else if (e->start - base + e->size > BYTES || e->size > BYTES)
			model.dropped_wrapping++;
		else
			mark(base, e->start, e->size,
				e->type == MEMMAP_RAM ? MARK_RAM : MARK_OTHER);
	}
	for (size_t i = 0; i < reserved_count; i++)
		mark(base, reserved[i].start, reserved[i].size, MARK_RESERVED);
}

static void count_marks(void)
{
	for (size_t i = 0; i < BYTES; i++) {
		if ((marks[i] & (MARK_RAM | MARK_OTHER)) == (MARK_RAM | MARK_OTHER))
			model.conflicting++;
		else if (marks[i] & MARK_RAM)
			model.ram++;
		if ((marks[i] & ~MARK_OTHER) == (MARK_RAM | MARK_RESERVED) &&
			!(marks[i] & MARK_OTHER))
			model.reserved++;
	}
}

static bool page_is_usable(uint64_t first, uint64_t page)
{
	for (uint64_t i = first; i < first + page; i++) {
		if (marks[i] != MARK_RAM)
			return false;
	}
	return true;
}

/* Compares ranges[] with the pages that are wholly usable, in order. */
static void check_ranges(uint64_t base, uint64_t page)
{
	size_t range = 0;
	bool inside = false;

	for (uint64_t at = 0; at <= BYTES; at += page) {
		bool usable = at < BYTES && page_is_usable(at, page);

		if (usable && !inside)
			CHECK_EQ(ranges[range].start, base + at);
		if (!usable && inside) {
			CHECK_EQ(ranges[range].start + ranges[range].size, base + at);
			range++;
		}
		model.usable += usable ? page : 0;
		inside = usable;
	}
	CHECK_EQ(result.count, range);
}

static void check_map(uint64_t base, uint64_t page)
{
	const char *refused = normalize(page);

	mark_all(base);
	count_marks();
	check_ranges(base, page);
	CHECK_EQ(result.usable, model.usable);
	CHECK_EQ(result.ram, model.ram);
	CHECK_EQ(result.reserved, model.reserved);
	CHECK_EQ(result.conflicting, model.conflicting);
	CHECK_EQ(result.dropped_empty, model.dropped_empty);
	CHECK_EQ(result.dropped_wrapping, model.dropped_wrapping);
	CHECK_EQ(result.ram, result.usable + result.reserved + result.ragged);
	if (result.count == 0)
		test_check_contains(__FILE__, __LINE__, "refusal", refused, "no usable page");
	else
		CHECK_STR(refused, NULL);
}

static void check_random_maps(uint64_t base, bool wild)
{
	for (size_t ops = test_ops(5000); ops > 0; ops--) {
		random_map(base, wild);
		check_map(base, (uint64_t)1 << test_random_below(8));
	}
}

TEST("memmap: random maps at address 0 match a model of every byte")
{
	check_random_maps(0, false);
}

TEST("memmap: random maps in the middle match a model of every byte")
{
	check_random_maps((uint64_t)1 << 40, false);
}

TEST("memmap: random maps that reach and pass 2^64 match a model of every byte")
{
	check_random_maps(-(uint64_t)BYTES, true);
}

static void set_map(const struct memmap_entry *map, size_t n)
{
	memcpy(entries, map, n * sizeof(*map));
	entry_count = n;
	reserved_count = 0;
}
#define SET_MAP(...)                                                                               \
	set_map((const struct memmap_entry[]){__VA_ARGS__},                                        \
		sizeof((const struct memmap_entry[]){__VA_ARGS__}) / sizeof(struct memmap_entry))

static void check_range(size_t i, uint64_t start, uint64_t size)
{
	CHECK_LT(i, result.count);
	CHECK_EQ(ranges[i].start, start);
	CHECK_EQ(ranges[i].size, size);
}

TEST("memmap: a plain map with kernel and modules reserved")
{
	SET_MAP({0, 0x9fc00, 1}, {0x9fc00, 0x400, 2}, {0xf0000, 0x10000, 2},
		{0x100000, 0xfee0000, 1}, {0xffe0000, 0x20000, 3}, {0xfffc0000, 0x40000, 2});
	reserved[0] = (struct memmap_range){0x100000, 0x54321};
	reserved_count = 1;
	CHECK_STR(normalize(4096), NULL);
	CHECK_EQ(result.count, 2);
	check_range(0, 0, 0x9f000);
	check_range(1, 0x155000, 0xffe0000 - 0x155000);
	CHECK_EQ(result.ram, 0x9fc00 + 0xfee0000);
	CHECK_EQ(result.reserved, 0x54321);
	CHECK_EQ(result.ragged, 0xc00 + (0x155000 - 0x154321));
	CHECK_EQ(result.conflicting, 0);
}

TEST("memmap: adjacent and overlapping RAM is one range, a page may be made of pieces")
{
	SET_MAP({0x2800, 0x1800, 1}, {0x1000, 0x1000, 1}, {0x2000, 0x800, 1}, {0x1800, 0x1000, 1});
	CHECK_STR(normalize(4096), NULL);
	CHECK_EQ(result.count, 1);
	check_range(0, 0x1000, 0x3000);
	CHECK_EQ(result.ram, 0x3000);
}

TEST("memmap: what anything else claims isn't RAM, whichever entry comes first")
{
	SET_MAP({0x2000, 0x1000, 7}, {0, 0x10000, 1}, {0x5800, 1, 0});
	CHECK_STR(normalize(4096), NULL);
	CHECK_EQ(result.count, 3);
	check_range(0, 0, 0x2000);
	check_range(1, 0x3000, 0x2000);
	check_range(2, 0x6000, 0xa000);
	CHECK_EQ(result.conflicting, 0x1001);
	CHECK_EQ(result.ragged, 0xfff);
}

TEST("memmap: RAM may end at 2^64, and an entry that passes it is dropped")
{
	SET_MAP({-(uint64_t)0x2800, 0x2800, 1}, {-(uint64_t)0x1000, 0x1001, 2}, {2, UINT64_MAX, 2},
		{0x1000, 0, 2});
	CHECK_STR(normalize(4096), NULL);
	CHECK_EQ(result.count, 1);
	check_range(0, -(uint64_t)0x2000, 0x2000);
	CHECK_EQ(result.dropped_wrapping, 2);
	CHECK_EQ(result.dropped_empty, 1);
	CHECK_EQ(result.conflicting, 0);
}

TEST("memmap: a reservation that passes 2^64 holds up to there")
{
	SET_MAP({-(uint64_t)0x4000, 0x4000, 1});
	reserved[0] = (struct memmap_range){-(uint64_t)0x1000, UINT64_MAX};
	reserved_count = 1;
	CHECK_STR(normalize(4096), NULL);
	CHECK_EQ(result.count, 1);
	check_range(0, -(uint64_t)0x4000, 0x3000);
	CHECK_EQ(result.reserved, 0x1000);
}

TEST("memmap: as many bytes as a size can hold are taken, 2^64 are refused")
{
	SET_MAP({0, UINT64_MAX, 1});
	CHECK_STR(normalize(4096), NULL);
	check_range(0, 0, -(uint64_t)4096);
	CHECK_EQ(result.ram, UINT64_MAX);
	CHECK_EQ(result.ragged, 4095);
	SET_MAP({0, UINT64_MAX, 1}, {1, UINT64_MAX, 1});
	test_check_contains(__FILE__, __LINE__, "refusal", normalize(4096), "2^64");
}

TEST("memmap: no entries, no RAM and no whole page are refused")
{
	entry_count = reserved_count = 0;
	test_check_contains(__FILE__, __LINE__, "refusal", normalize(4096), "no usable page");
	SET_MAP({0x1000, 0x1000, 2});
	test_check_contains(__FILE__, __LINE__, "refusal", normalize(4096), "no usable page");
	SET_MAP({0x1001, 0x1ffe, 1});
	test_check_contains(__FILE__, __LINE__, "refusal", normalize(4096), "no usable page");
	CHECK_EQ(result.ragged, 0x1ffe);
}

TEST("memmap: more ranges than there is room for are refused, just enough are not")
{
	for (size_t i = 0; i < ENTRIES_MAX; i++)
		entries[i] = (struct memmap_entry){i * 0x2000, 0x1000, MEMMAP_RAM};
	for (size_t capacity = 0; capacity <= ENTRIES_MAX; capacity++) {
		const char *refused = memmap_normalize(
			entries, ENTRIES_MAX, NULL, 0, 4096, work, ranges, capacity, &result);

		if (capacity < ENTRIES_MAX)
			test_check_contains(
				__FILE__, __LINE__, "refusal", refused, "more usable ranges");
		else
			CHECK_STR(refused, NULL);
	}
}

TEST("memmap: nothing is written beyond the arrays, whatever the map")
{
	static const struct memmap_edge mark = {0x5a5a, 1, 2, 3};

	for (size_t ops = test_ops(2000); ops > 0; ops--) {
		size_t edges, most;

		random_map(-(uint64_t)BYTES, true);
		edges = 2 * (entry_count + reserved_count);
		most = test_random_below(entry_count + reserved_count + 1);
		if (edges == 2 * (ENTRIES_MAX + RESERVED_MAX))
			continue;
		work[edges] = mark;
		ranges[most] = (struct memmap_range){1, 2};
		memmap_normalize(entries, entry_count, reserved, reserved_count, 1, work, ranges, most, &result);
		CHECK_EQ(memcmp(&work[edges], &mark, sizeof(mark)), 0);
		CHECK(ranges[most].start == 1 && ranges[most].size == 2);
	}
}
