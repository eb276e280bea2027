/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A recorded stream of address ranges that processes mapped and unmapped, played to arenas: one for
 * each process while it has ranges, which imports from one for all (README.md, scripts/ranges).
 *
 *	struct ranges r;
 *
 *	ranges_begin(&r, ARENA_BESTFIT, 0);
 *	for (size_t i = 0; i < gcc_ranges_count; i++)
 *		ranges_step(&r, gcc_ranges_words[i], &range);
 *	ranges_end(&r);
 */
#ifndef SPANDREL_TESTS_RANGES_H
#define SPANDREL_TESTS_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

/* A record is a word: an allocation's process and pages, or this bit and the number of the range that
 * is freed. */
#define RANGES_FREED ((uint32_t)1 << 31)

extern const uint32_t gcc_ranges_words[];
extern const size_t gcc_ranges_count;

#define RANGES_START ((uintptr_t)1 << 40)
#define RANGES_PAGES ((size_t)1 << 20) /* what there is for all processes */
#define RANGES_PROCESSES 128

struct range {
	uintptr_t at; /* 0: freed */
	size_t pages;
	unsigned process;
};

struct ranges {
	struct arena *source;
	unsigned fit;
	size_t qcache_max;
	struct arena *arena[RANGES_PROCESSES];
	size_t live[RANGES_PROCESSES]; /* ranges */
	struct range *ranges; /* by number */
	size_t born;
};

/* By that fit, processes' arenas with that qcache_max. */
void ranges_begin(struct ranges *r, unsigned fit, size_t qcache_max);

/* Plays a record; returns whether it was an allocation, and fills in what was allocated or freed:
 * of an allocation that failed, at 0. */
bool ranges_step(struct ranges *r, uint32_t word, struct range *range);

/* Frees what is live, ends the arenas; returns how much of the source isn't free. */
size_t ranges_end(struct ranges *r);

#endif
