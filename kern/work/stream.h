/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Recorded streams of allocations and frees, as bytes from outside the kernel.
 *
 *	struct stream stream;
 *	struct stream_cursor c;
 *	struct stream_record record;
 *	const char *wrong = stream_open(&stream, info->initrd, info->initrd_size);
 *
 *	for (stream_begin(&c, &stream); !wrong && stream_next(&c, &record);)
 *		...
 *
 * A stream is a header of 16 bytes, a table of caches and records of 12 bytes, little endian
 * (tests/data/README.md).  Several may follow one another: each says how long it is.  Nothing in
 * them is believed: what is wrong is refused with one plain line, and nothing outside of the bytes
 * that were given is read.
 *
 * Nothing here allocates, keeps or locks anything.  Context: any, as long as the bytes don't change.
 */
#ifndef SPANDREL_WORK_STREAM_H
#define SPANDREL_WORK_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_NAME_MAX 40 /* bytes of a cache's name, the zero at its end included */

/* Pages of order STREAM_ORDER_MAX are the largest, and no other memory is larger than they are. */
#define STREAM_PAGE ((uint32_t)4096)
#define STREAM_ORDER_MAX 10
#define STREAM_MEMORY_MAX (STREAM_PAGE << STREAM_ORDER_MAX)

/* What a record does.  A free's number is its allocation's plus 1. */
enum stream_op {
	STREAM_KMALLOC = 1,
	STREAM_KFREE,
	STREAM_CACHE_ALLOC,
	STREAM_CACHE_FREE,
	STREAM_PAGE_ALLOC,
	STREAM_PAGE_FREE,
	STREAM_RANGE_ALLOC,
	STREAM_RANGE_FREE,
	STREAM_OPS
};

struct stream_record {
	uint32_t id;	/* of the object: the number of allocations before its own */
	uint32_t bytes; /* of an allocation */
	uint16_t class; /* the number of the cache; or of pages the order, and marks; or marks */
	uint8_t cpu;	/* that recorded it; of a range: its address space */
	uint8_t op;	/* enum stream_op */
};

struct stream_cache {
	char name[STREAM_NAME_MAX];
	uint32_t size;	/* bytes of an object */
	uint32_t align; /* a power of two, at most a page; 0: none asked for */
};

struct stream {
	const uint8_t *caches, *records;
	uint32_t cache_count, record_count;
	size_t size;	      /* bytes, the header included: what follows is the next stream */
	const char *wrong_in; /* what the last refusal is about: "cache" or "record"; NULL: the header */
	uint32_t wrong_at;    /* and the number of it */
};

/* What a stream holds, as stream_count() sums it up. */
struct stream_counts {
	uint32_t objects; /* allocations */
	uint32_t ops[STREAM_OPS]; /* records of each kind */
	uint64_t bytes;	  /* of all allocations */
};

/* What becomes of an object, as stream_check() finds out. */
struct stream_object {
	uint32_t bytes;
	uint16_t class;
	uint8_t op;	  /* of its allocation */
	bool is_freed;	  /* by a later record; else it is live at the end */
};

/* Reads the header and the cache table of the stream at bytes[0 .. size), behind which others may
 * follow.  Cost: linear in caches.  Returns NULL, or what is wrong. */
const char *stream_open(struct stream *s, const void *bytes, size_t size);

/* Opens stream `number`, from 0 on, of those that follow one another in bytes[0 .. size).  Cost:
 * linear in the caches of it and of those before it.  Returns as stream_open(). */
const char *stream_open_nth(struct stream *s, const void *bytes, size_t size, unsigned number);

/* Cache `number`, below cache_count. */
struct stream_cache stream_cache_at(const struct stream *s, uint32_t number);

/* A walk over the records. */
struct stream_cursor {
	const struct stream *stream;
	uint32_t at;	   /* the next record */
	uint32_t born, freed; /* allocations and frees so far */
	const char *wrong; /* why the walk ended before the last record, or NULL */
};

void stream_begin(struct stream_cursor *c, const struct stream *s);

/* The next record.  What it says by itself is checked, that ids are given in order, and that no more
 * is freed than was allocated; not whether what it frees is live.  Returns false at the end, and at
 * a record that is wrong: `wrong` says why.  Cost: constant. */
bool stream_next(struct stream_cursor *c, struct stream_record *record);

/* Whether a record with this op allocates; else it frees. */
bool stream_is_alloc(uint8_t op);

/* Checks every record as stream_next() does, and counts.  Cost: linear in records.  Returns NULL,
 * or what is wrong with record wrong_at. */
const char *stream_count(struct stream *s, struct stream_counts *counts);

/* The most bytes that are live at once: of memory, and of address ranges. */
struct stream_peak {
	uint64_t memory, ranges;
	uint32_t memory_at; /* records up to where so much memory is live for the first time */
};

/* Checks also that every free names a live object and agrees with its allocation; fills in objects[],
 * an element for each of the objects that stream_count() counted, and *peak.  Cost: linear in
 * records.  Returns as stream_count(). */
const char *stream_check(struct stream *s, struct stream_object *objects, struct stream_peak *peak);

/* Writes the line that refuses the stream into buf[0 .. size), where `wrong` is what one of these
 * functions returned: "record 17: an allocation of 0 bytes". */
void stream_explain(const struct stream *s, const char *wrong, char *buf, size_t size);

#endif
