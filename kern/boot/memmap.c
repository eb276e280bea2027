/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes usable ranges out of the firmware's memory map.
 *
 * Each entry or reservation has two edges: where it begins and where it ends.  The edges are
 * sorted.  Then one sweep goes from edge to edge and counts how many entries call the piece between
 * two edges RAM, how many call it something else, and how many reservations cover it.  Adjacent
 * usable pieces are joined to a run; a run is rounded inward when it ends.
 *
 * The address 2^64 can't be represented.  So an entry that ends there has only its first edge, and
 * is still open after the last edge.  A piece that ends there has 0 - start bytes; that is never 0,
 * since no entry has 2^64 bytes.
 */
#include "memmap.h"

#include <stdbool.h>

struct sweep {
	uint64_t page;
	struct memmap_range *ranges;
	size_t capacity;
	struct memmap_result *result;
	struct memmap_edge depth; /* entries and reservations that are open: the sum of the edges */
	struct memmap_range run;  /* usable bytes that end here; size 0: none */
	const char *refused;	  /* why the map is refused, or NULL */
};

/* Appends the edges of [start, start + size), which may end at 2^64, but not beyond. */
static size_t add_edges(struct memmap_edge *edges, size_t count, uint64_t start, uint64_t size,
	struct memmap_edge edge)
{
	edge.at = start;
	edges[count++] = edge;
	if (start + size != 0)
		edges[count++] =
			(struct memmap_edge){start + size, -edge.ram, -edge.other, -edge.reserved};
	return count;
}

/* For size > 0. */
static bool is_wrapping(uint64_t start, uint64_t size)
{
	return size - 1 > UINT64_MAX - start;
}

static size_t entry_edges(const struct memmap_entry *entries, size_t n, struct memmap_edge *edges,
	struct memmap_result *result)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		const struct memmap_entry *e = &entries[i];
		bool ram = e->type == MEMMAP_RAM;

		if (e->size == 0)
			result->dropped_empty++;
		else if (is_wrapping(e->start, e->size))
			result->dropped_wrapping++;
		else
			count = add_edges(edges, count, e->start, e->size,
				(struct memmap_edge){.ram = ram, .other = !ram});
	}
	return count;
}

/* A reservation that wraps is kept as far as 2^64, since reserving too little does harm. */
static size_t reservation_edges(
	const struct memmap_range *reserved, size_t r, struct memmap_edge *edges, size_t count)
{
	for (size_t i = 0; i < r; i++) {
		uint64_t start = reserved[i].start, size = reserved[i].size;

		if (size > 0)
			count = add_edges(edges, count, start,
				is_wrapping(start, size) ? 0 - start : size,
				(struct memmap_edge){.reserved = 1});
	}
	return count;
}

/* Restores the order of the heap edges[0 .. n), the latest edge on top, where only edges[i] may be
 * too high up. */
static void sift_down(struct memmap_edge *edges, size_t i, size_t n)
{
	struct memmap_edge sinking = edges[i];
	size_t below;

	while ((below = 2 * i + 1) < n) {
		if (below + 1 < n && edges[below + 1].at > edges[below].at)
			below++;
		if (edges[below].at <= sinking.at)
			break;
		edges[i] = edges[below];
		i = below;
	}
	edges[i] = sinking;
}

/* Heap sort: in place, and n log n for any order of entries. */
static void sort_edges(struct memmap_edge *edges, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift_down(edges, i, n);
	for (size_t last = n; last-- > 1;) {
		struct memmap_edge latest = edges[0];

		edges[0] = edges[last];
		edges[last] = latest;
		sift_down(edges, 0, last);
	}
}

/* Ends the run, if there is one: rounds it inward and adds it to the ranges. */
static void end_run(struct sweep *s)
{
	uint64_t head = -s->run.start & (s->page - 1), size, tail;

	if (head > s->run.size)
		head = s->run.size;
	tail = (s->run.size - head) & (s->page - 1);
	size = s->run.size - head - tail;
	s->result->ragged += head + tail;
	if (size > 0 && s->result->count == s->capacity) {
		s->refused = "the memory map has more usable ranges than there is room for";
	} else if (size > 0) {
		s->ranges[s->result->count++] = (struct memmap_range){s->run.start + head, size};
		s->result->usable += size;
	}
	s->run.size = 0;
}

/* Counts the piece [start, start + size) and, if it is usable, adds it to the run. */
static void sweep_piece(struct sweep *s, uint64_t start, uint64_t size)
{
	struct memmap_result *result = s->result;
	bool ram = s->depth.ram > 0 && s->depth.other == 0;

	if (s->depth.ram > 0 && s->depth.other > 0)
		result->conflicting += size;
	if (ram && __builtin_add_overflow(result->ram, size, &result->ram))
		s->refused = "the memory map calls all 2^64 bytes RAM";
	if (ram && s->depth.reserved > 0)
		result->reserved += size;
	if (!ram || s->depth.reserved > 0) {
		end_run(s);
		return;
	}
	if (s->run.size == 0)
		s->run.start = start;
	s->run.size += size;
}

static void sweep_edges(struct sweep *s, const struct memmap_edge *edges, size_t n)
{
	for (size_t i = 0; i < n && !s->refused;) {
		uint64_t at = edges[i].at;

		for (; i < n && edges[i].at == at; i++) {
			s->depth.ram += edges[i].ram;
			s->depth.other += edges[i].other;
			s->depth.reserved += edges[i].reserved;
		}
		sweep_piece(s, at, (i < n ? edges[i].at : 0) - at);
	}
	end_run(s);
}

const char *memmap_normalize(const struct memmap_entry *entries, size_t n,
	const struct memmap_range *reserved, size_t r, uint64_t page, struct memmap_edge *work,
	struct memmap_range *ranges, size_t capacity, struct memmap_result *result)
{
	struct sweep sweep = {
		.page = page, .ranges = ranges, .capacity = capacity, .result = result};
	size_t edges;

	*result = (struct memmap_result){0};
	if (page == 0 || (page & (page - 1)) != 0)
		return "the page isn't a power of two";
	edges = entry_edges(entries, n, work, result);
	edges = reservation_edges(reserved, r, work, edges);
	sort_edges(work, edges);
	sweep_edges(&sweep, work, edges);
	if (!sweep.refused && result->count == 0)
		return "the memory map has no usable page";
	return sweep.refused;
}
