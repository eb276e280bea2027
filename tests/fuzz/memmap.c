/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory maps.  The model cuts the addresses at every place where something begins or ends, and asks for each
 * piece all entries and all reservations.
 */
#include "memmap.h"

#include <stdlib.h>

#include "fuzz.h"
#include "lib/string.h"

#define ENTRIES_MAX 12
#define RESERVED_MAX 6
#define ALL_MAX (ENTRIES_MAX + RESERVED_MAX)
#define CUTS_MAX (2 * ALL_MAX + 2)
#define END ((wide)1 << 64)

typedef unsigned __int128 wide;

static struct memmap_entry entries[ENTRIES_MAX];
static struct memmap_range reserved[RESERVED_MAX];
static size_t entry_count, reserved_count;
static wide cuts[CUTS_MAX];
static size_t cut_count;

/* What the model says. */
static struct {
	wide ram, reserved, ragged, usable, conflicting;
	size_t empty, wrapping, count;
	struct memmap_range ranges[ALL_MAX + 1];
} model;

/* Decoding */

/* Near the beginning of all addresses, near their end, or anywhere. */
static uint64_t take_address(struct fuzz_input *in)
{
	switch (fuzz_below(in, 3)) {
	case 0:
		return fuzz_number(in, 2);
	case 1:
		return 0 - fuzz_number(in, 2);
	default:
		return fuzz_number(in, 8);
	}
}

static void take_map(struct fuzz_input *in)
{
	entry_count = fuzz_below(in, ENTRIES_MAX + 1);
	reserved_count = fuzz_below(in, RESERVED_MAX + 1);
	for (size_t i = 0; i < entry_count; i++) {
		entries[i].type = (uint32_t)fuzz_below(in, 4);
		entries[i].start = take_address(in);
		entries[i].size = take_address(in);
	}
	for (size_t i = 0; i < reserved_count; i++) {
		reserved[i].start = take_address(in);
		reserved[i].size = take_address(in);
	}
}

/* The model */

static void cut(wide at)
{
	size_t i = cut_count++;

	ASSERT(cut_count <= CUTS_MAX);
	for (; i > 0 && cuts[i - 1] > at; i--)
		cuts[i] = cuts[i - 1];
	cuts[i] = at;
}

static wide end_of(uint64_t start, uint64_t size)
{
	return (wide)start + size;
}

static void make_cuts(void)
{
	cut_count = 0;
	cut(0);
	cut(END);
	for (size_t i = 0; i < entry_count; i++) {
		if (end_of(entries[i].start, entries[i].size) > END)
			continue;
		cut(entries[i].start);
		cut(end_of(entries[i].start, entries[i].size));
	}
	for (size_t i = 0; i < reserved_count; i++) {
		wide end = end_of(reserved[i].start, reserved[i].size);

		cut(reserved[i].start);
		cut(end < END ? end : END);
	}
}

static bool is_called(wide at, bool ram)
{
	for (size_t i = 0; i < entry_count; i++) {
		wide end = end_of(entries[i].start, entries[i].size);

		if (end <= END && at >= entries[i].start && at < end && (entries[i].type == MEMMAP_RAM) == ram)
			return true;
	}
	return false;
}

static bool is_reserved(wide at)
{
	for (size_t i = 0; i < reserved_count; i++)
		if (at >= reserved[i].start && at < end_of(reserved[i].start, reserved[i].size))
			return true;
	return false;
}

/* Adds the usable [start, end), which touches no other one. */
static void add_run(wide start, wide end, uint64_t page)
{
	wide first = (start + page - 1) / page * page, last = end / page * page;

	if (first >= last) {
		model.ragged += end - start;
		return;
	}
	model.ragged += (first - start) + (end - last);
	model.usable += last - first;
	ASSERT(model.count <= ALL_MAX);
	model.ranges[model.count++] = (struct memmap_range){(uint64_t)first, (uint64_t)(last - first)};
}

static void make_model(uint64_t page)
{
	wide run = 0, run_end = 0;

	make_cuts();
	memset(&model, 0, sizeof(model));
	for (size_t i = 0; i < entry_count; i++) {
		model.empty += entries[i].size == 0;
		model.wrapping += entries[i].size > 0 && end_of(entries[i].start, entries[i].size) > END;
	}
	for (size_t i = 0; i + 1 < cut_count; i++) {
		wide at = cuts[i], size = cuts[i + 1] - at;
		bool ram = is_called(at, true), other = is_called(at, false);

		if (size == 0)
			continue;
		model.conflicting += ram && other ? size : 0;
		model.ram += ram && !other ? size : 0;
		model.reserved += ram && !other && is_reserved(at) ? size : 0;
		if (!ram || other || is_reserved(at))
			continue;
		if (run_end != at || run == run_end) {
			if (run != run_end)
				add_run(run, run_end, page);
			run = at;
		}
		run_end = at + size;
	}
	if (run != run_end)
		add_run(run, run_end, page);
}

static void compare(const struct memmap_result *result, const struct memmap_range *ranges)
{
	ASSERT(result->ram == model.ram);
	ASSERT(result->reserved == model.reserved);
	ASSERT(result->ragged == model.ragged);
	ASSERT(result->usable == model.usable);
	ASSERT(result->ram == result->usable + result->reserved + result->ragged);
	ASSERT(result->conflicting == (uint64_t)model.conflicting);
	ASSERT(result->dropped_empty == model.empty);
	ASSERT(result->dropped_wrapping == model.wrapping);
	ASSERT(result->count == model.count);
	for (size_t i = 0; i < model.count; i++) {
		ASSERT(ranges[i].start == model.ranges[i].start);
		ASSERT(ranges[i].size == model.ranges[i].size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint64_t page = (uint64_t)1 << fuzz_below(&in, 64);
	size_t room = fuzz_below(&in, ALL_MAX + 2);
	struct memmap_result result;
	struct memmap_range *ranges;
	struct memmap_edge *work;
	const char *wrong;

	take_map(&in);
	if (room == 0)
		room = entry_count + reserved_count + 1;
	ranges = malloc(room * sizeof(*ranges));
	work = malloc(2 * (entry_count + reserved_count) * sizeof(*work));
	wrong = memmap_normalize(
		entries, entry_count, reserved, reserved_count, page, work, ranges, room, &result);
	make_model(page);
	if (!wrong)
		compare(&result, ranges);
	else
		ASSERT(fuzz_is_plain(wrong));
	/* All of 2^64 bytes may be usable, too, but for what no number holds. */
	ASSERT(!wrong == (model.count > 0 && model.count <= room && model.ram < END));
	free(work);
	free(ranges);
	return 0;
}
