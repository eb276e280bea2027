/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas under a real program's requests: what the processes of a compilation mapped and unmapped.
 */
#include "../data/ranges.h"

#include "arena.h"
#include "lib/string.h"
#include "port.h"
#include "lib/test.h"

/* Who has each page of the source: a process's number plus 1, or 0. */
struct pages {
	uint8_t *owner;
	size_t live, peak;
};

static void pages_pass(struct pages *p, const struct range *range, unsigned from, unsigned to)
{
	size_t first = (range->at - RANGES_START) / PORT_PAGE_SIZE;

	CHECK_EQ(range->at % PORT_PAGE_SIZE, 0);
	CHECK(first < RANGES_PAGES && range->pages <= RANGES_PAGES - first);
	for (size_t i = first; i < first + range->pages; i++) {
		CHECK_EQ(p->owner[i], from);
		p->owner[i] = (uint8_t)to;
	}
}

static void step(struct ranges *r, uint32_t word, struct pages *p)
{
	struct range range;

	if (ranges_step(r, word, &range)) {
		pages_pass(p, &range, 0, range.process + 1);
		p->live += range.pages;
		p->peak = p->live > p->peak ? p->live : p->peak;
	} else {
		pages_pass(p, &range, range.process + 1, 0);
		p->live -= range.pages;
	}
}

/* What the arenas say of themselves, against the stream. */
static void check_counts(const struct ranges *r, const struct pages *p)
{
	struct arena_stats s;
	size_t used = 0;

	for (size_t i = 0; i < RANGES_PROCESSES; i++) {
		if (!r->arena[i])
			continue;
		CHECK_EQ(arena_check(r->arena[i], &console_sink), 0);
		arena_get_stats(r->arena[i], &s);
		used += s.used;
		if (r->qcache_max == 0)
			CHECK_EQ(s.segments_used, r->live[i]);
	}
	if (r->qcache_max == 0)
		CHECK_EQ(used, p->live * PORT_PAGE_SIZE);
	CHECK_EQ(arena_check(r->source, &console_sink), 0);
	arena_get_stats(r->source, &s);
	CHECK_LE(used, s.used);
	CHECK_LE(p->peak * PORT_PAGE_SIZE, s.used_peak);
}

static void play(unsigned fit, size_t qcache_max)
{
	size_t records = test_ops(gcc_ranges_count), half = records / 2;
	struct pages p = {.owner = base_zalloc(NULL, RANGES_PAGES, MEM_WAIT)};
	struct ranges r;

	ranges_begin(&r, fit, qcache_max);
	for (size_t i = 0; i < half; i++)
		step(&r, gcc_ranges_words[i], &p);
	check_counts(&r, &p);
	for (size_t i = half; i < records; i++)
		step(&r, gcc_ranges_words[i], &p);
	check_counts(&r, &p);
	CHECK_EQ(ranges_end(&r), 0);
	base_free(NULL, p.owner, RANGES_PAGES);
}

TEST("ranges: a compilation's processes map by instant fit, and all of it goes home")
{
	play(ARENA_INSTANTFIT, 0);
}

TEST("ranges: the same by best fit")
{
	play(ARENA_BESTFIT, 0);
}

TEST("ranges: the same by next fit")
{
	play(ARENA_NEXTFIT, 0);
}

TEST("ranges: the same through fronts")
{
	play(ARENA_INSTANTFIT, 8 * PORT_PAGE_SIZE);
}
