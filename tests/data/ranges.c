/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Playing streams of address ranges.
 */
#include "ranges.h"

#include "lib/panic.h"
#include "lib/string.h"
#include "port.h"

/* Of the array of ranges, whole pages: no more are born than there are records. */
static size_t array_bytes(void)
{
	return (gcc_ranges_count * sizeof(struct range) + PORT_PAGE_SIZE - 1) & -PORT_PAGE_SIZE;
}

void ranges_begin(struct ranges *r, unsigned fit, size_t qcache_max)
{
	memset(r, 0, sizeof(*r));
	r->fit = fit;
	r->qcache_max = qcache_max;
	r->ranges = base_alloc(NULL, array_bytes(), MEM_WAIT);
	r->source = arena_create("ranges", (void *)RANGES_START, RANGES_PAGES * PORT_PAGE_SIZE,
		PORT_PAGE_SIZE, NULL, NULL, NULL, 0, MEM_WAIT);
}

static void process_end(struct ranges *r, unsigned process)
{
	if (arena_destroy(r->arena[process]))
		panic("ranges: a process without ranges has some");
	r->arena[process] = NULL;
}

static void range_alloc(struct ranges *r, struct range *range)
{
	struct arena **a = &r->arena[range->process];

	if (!*a)
		*a = arena_create("process", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free,
			r->source, r->qcache_max, MEM_WAIT);
	range->at = (uintptr_t)arena_alloc(*a, range->pages * PORT_PAGE_SIZE, MEM_ERROR | r->fit);
	r->live[range->process] += range->at != 0;
}

static void range_free(struct ranges *r, struct range *range)
{
	if (range->at == 0)
		return;
	arena_free(r->arena[range->process], (void *)range->at, range->pages * PORT_PAGE_SIZE);
	range->at = 0;
	if (--r->live[range->process] == 0)
		process_end(r, range->process);
}

bool ranges_step(struct ranges *r, uint32_t word, struct range *range)
{
	struct range *this = &r->ranges[word & RANGES_FREED ? word - RANGES_FREED : r->born];

	if (word & RANGES_FREED) {
		*range = *this;
		range_free(r, this);
		return false;
	}
	*this = (struct range){0, word & 0xffffff, word >> 24};
	range_alloc(r, this);
	r->born++;
	*range = *this;
	return true;
}

size_t ranges_end(struct ranges *r)
{
	size_t used;

	for (size_t i = 0; i < r->born; i++)
		range_free(r, &r->ranges[i]);
	used = arena_amt_total(r->source) - arena_amt_free(r->source);
	if (arena_destroy(r->source))
		panic("ranges: processes that ended hold some");
	base_free(NULL, r->ranges, array_bytes());
	return used;
}
