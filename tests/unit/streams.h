/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes streams as kern/work reads them, right or wrong.
 *
 *	struct streams s = streams_new(64 * 1024);
 *
 *	streams_begin(&s);
 *	streams_cache(&s, "things", 96, 8);
 *	streams_record(&s, STREAM_CACHE_ALLOC, 0, 96, 0);
 *	... s.bytes[0 .. s.size) ...
 *	streams_free(&s);
 */
#ifndef SPANDREL_TESTS_STREAMS_H
#define SPANDREL_TESTS_STREAMS_H

#include <stddef.h>
#include <stdint.h>

struct streams {
	uint8_t *bytes; /* one stream after the other */
	size_t size, capacity;
	size_t start; /* of the last one */
};

struct streams streams_new(size_t capacity);
void streams_free(struct streams *s);

/* Begins another stream: a header, whose counts follow what is added.  All caches come before the
 * first record. */
void streams_begin(struct streams *s);
void streams_cache(struct streams *s, const char *name, uint32_t size, uint32_t align);
void streams_record(struct streams *s, unsigned op, uint32_t id, uint32_t bytes, unsigned class);

/* The same stream of address ranges as tests/data/ranges.h has: `records` of it, from the first on. */
void streams_add_gcc(struct streams *s, size_t records);

#endif
