/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes streams.
 */
#include "streams.h"

#include "../data/ranges.h"

#include "lib/string.h"
#include "lib/test.h"
#include "vmap.h"

#define CACHE_COUNT 8 /* offsets in the header */
#define RECORD_COUNT 12

#define RANGE_ALLOC 7
#define RANGE_FREE 8
#define PAGE 4096

struct streams streams_new(size_t capacity)
{
	return (struct streams){.bytes = vmalloc(capacity, MEM_WAIT), .capacity = capacity};
}

void streams_free(struct streams *s)
{
	vfree(s->bytes, s->capacity);
}

static void add(struct streams *s, const void *from, size_t n)
{
	CHECK_LE(n, s->capacity - s->size);
	memcpy(s->bytes + s->size, from, n);
	s->size += n;
}

static void add_number(struct streams *s, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		uint8_t byte = (uint8_t)(value >> 8 * i);

		add(s, &byte, 1);
	}
}

/* Adds 1 to a number of the last stream's header. */
static void count(struct streams *s, size_t offset)
{
	for (uint8_t *byte = s->bytes + s->start + offset; ++*byte == 0; byte++)
		;
}

void streams_begin(struct streams *s)
{
	s->start = s->size;
	add(s, "SPTR", 4);
	add_number(s, 1, 4);
	add_number(s, 0, 4);
	add_number(s, 0, 4);
}

void streams_cache(struct streams *s, const char *name, uint32_t size, uint32_t align)
{
	char field[40] = {0};

	memcpy(field, name, strnlen(name, sizeof(field)));
	add(s, field, sizeof(field));
	add_number(s, size, 4);
	add_number(s, align, 4);
	count(s, CACHE_COUNT);
}

void streams_record(struct streams *s, unsigned op, uint32_t id, uint32_t bytes, unsigned class)
{
	add_number(s, id, 4);
	add_number(s, bytes, 4);
	add_number(s, class, 2);
	add_number(s, 0, 1);
	add_number(s, op, 1);
	count(s, RECORD_COUNT);
}

void streams_add_gcc(struct streams *s, size_t records)
{
	uint32_t born = 0;

	for (size_t i = 0; i < records; i++) {
		uint32_t word = gcc_ranges_words[i];

		if (word & RANGES_FREED)
			streams_record(s, RANGE_FREE, word - RANGES_FREED, 0, 0);
		else
			streams_record(s, RANGE_ALLOC, born++, (word & 0xffffff) * PAGE, 0);
	}
}
