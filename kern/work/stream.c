/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads and checks recorded streams.
 */
#include "stream.h"

#include "lib/printf.h"
#include "lib/string.h"

#define MAGIC "SPTR"
#define VERSION 1
#define ORDER_MASK 0xff /* of the class of pages; the bits above are marks */

struct header {
	char magic[4];
	uint32_t version, cache_count, record_count;
};

/* These are as they lie in memory: numbers in the byte order of the stream. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "streams are little endian");
_Static_assert(sizeof(struct header) == 16, "bytes of a header");
_Static_assert(sizeof(struct stream_cache) == 48, "bytes of a cache");
_Static_assert(sizeof(struct stream_record) == 12, "bytes of a record");

/* Open */

/* A name is not empty, ends within its field, and has no bytes that a terminal would act on, nor
 * spaces. */
static bool is_name(const char *name)
{
	size_t length = strnlen(name, STREAM_NAME_MAX);

	for (size_t i = 0; i < length; i++)
		if (name[i] <= ' ' || name[i] > '~')
			return false;
	return length > 0 && length < STREAM_NAME_MAX;
}

static const char *check_cache(const struct stream_cache *c)
{
	if (!is_name(c->name))
		return "its name isn't one";
	if (c->size == 0 || c->size > STREAM_MEMORY_MAX)
		return "its objects have no bytes, or more than the largest memory";
	if (c->align > STREAM_PAGE || (c->align & (c->align - 1)) != 0)
		return "its alignment is no power of two, or above a page";
	return NULL;
}

struct stream_cache stream_cache_at(const struct stream *s, uint32_t number)
{
	struct stream_cache c;

	memcpy(&c, s->caches + (size_t)number * sizeof(c), sizeof(c));
	return c;
}

static const char *check_caches(struct stream *s)
{
	for (uint32_t i = 0; i < s->cache_count; i++) {
		struct stream_cache c = stream_cache_at(s, i);
		const char *wrong = check_cache(&c);

		if (wrong) {
			s->wrong_in = "cache";
			s->wrong_at = i;
			return wrong;
		}
	}
	return NULL;
}

const char *stream_open(struct stream *s, const void *bytes, size_t size)
{
	struct header h;

	*s = (struct stream){0};
	if (size < sizeof(h))
		return "it is shorter than a stream's header";
	memcpy(&h, bytes, sizeof(h));
	if (memcmp(h.magic, MAGIC, sizeof(h.magic)) != 0)
		return "it doesn't begin like a stream";
	if (h.version != VERSION)
		return "its version is unknown";
	/* At most 2^32 * (48 + 12) + 16: no overflow. */
	s->size = sizeof(h) + (size_t)h.cache_count * sizeof(struct stream_cache) +
		  (size_t)h.record_count * sizeof(struct stream_record);
	if (s->size > size)
		return "it is shorter than its header says";
	s->cache_count = h.cache_count;
	s->record_count = h.record_count;
	s->caches = (const uint8_t *)bytes + sizeof(h);
	s->records = s->caches + (size_t)h.cache_count * sizeof(struct stream_cache);
	return check_caches(s);
}

const char *stream_open_nth(struct stream *s, const void *bytes, size_t size, unsigned number)
{
	const uint8_t *from = bytes;
	const char *wrong = NULL;

	*s = (struct stream){0};
	for (unsigned n = 0; n <= number && !wrong; n++) {
		from += s->size;
		size -= s->size;
		wrong = size > 0 ? stream_open(s, from, size) : "there is no such stream";
	}
	return wrong;
}

/* Records */

bool stream_is_alloc(uint8_t op)
{
	return op % 2 == 1;
}

static const char *check_kmalloc(const struct stream_record *r)
{
	if (r->class != 0)
		return "a kmalloc with a class";
	return r->bytes <= STREAM_MEMORY_MAX ? NULL : "a kmalloc above the largest memory";
}

static const char *check_cache_alloc(const struct stream *s, const struct stream_record *r)
{
	if (r->class >= s->cache_count)
		return "it names no cache";
	if (r->bytes != stream_cache_at(s, r->class).size)
		return "its bytes aren't those of its cache's objects";
	return NULL;
}

static const char *check_page_alloc(const struct stream_record *r)
{
	unsigned order = r->class & ORDER_MASK;

	if (order > STREAM_ORDER_MAX || r->bytes != STREAM_PAGE << order)
		return "its order doesn't agree with its bytes";
	return NULL;
}

static const char *check_alloc(const struct stream_cursor *c, const struct stream_record *r)
{
	if (r->id != c->born)
		return "an allocation with a number out of order";
	if (r->bytes == 0)
		return "an allocation of 0 bytes";
	switch (r->op) {
	case STREAM_KMALLOC:
		return check_kmalloc(r);
	case STREAM_CACHE_ALLOC:
		return check_cache_alloc(c->stream, r);
	case STREAM_PAGE_ALLOC:
		return check_page_alloc(r);
	default:
		return r->bytes % STREAM_PAGE ? "a range that isn't whole pages" : NULL;
	}
}

static const char *check_free(const struct stream_cursor *c, const struct stream_record *r)
{
	if (r->bytes != 0)
		return "a free with bytes";
	if (r->id >= c->born)
		return "a free of what was never allocated";
	return c->freed < c->born ? NULL : "a free while nothing is live";
}

static const char *check_record(const struct stream_cursor *c, const struct stream_record *r)
{
	if (r->op < STREAM_KMALLOC || r->op >= STREAM_OPS)
		return "an unknown operation";
	return stream_is_alloc(r->op) ? check_alloc(c, r) : check_free(c, r);
}

void stream_begin(struct stream_cursor *c, const struct stream *s)
{
	*c = (struct stream_cursor){.stream = s};
}

bool stream_next(struct stream_cursor *c, struct stream_record *record)
{
	if (c->wrong || c->at == c->stream->record_count)
		return false;
	memcpy(record, c->stream->records + (size_t)c->at * sizeof(*record), sizeof(*record));
	c->wrong = check_record(c, record);
	if (c->wrong)
		return false;
	c->at++;
	if (stream_is_alloc(record->op))
		c->born++;
	else
		c->freed++;
	return true;
}

/* Whole streams */

static const char *refuse(struct stream *s, uint32_t record, const char *wrong)
{
	if (!wrong)
		return NULL;
	s->wrong_in = "record";
	s->wrong_at = record;
	return wrong;
}

const char *stream_count(struct stream *s, struct stream_counts *counts)
{
	struct stream_cursor c;
	struct stream_record r;

	*counts = (struct stream_counts){0};
	for (stream_begin(&c, s); stream_next(&c, &r);) {
		counts->ops[r.op]++;
		counts->bytes += r.bytes;
	}
	counts->objects = c.born;
	return refuse(s, c.at, c.wrong);
}

/* What is live during stream_check(). */
struct lives {
	struct stream_object *objects;
	struct stream_peak now, *peak;
};

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t *live_bytes(struct lives *l, uint8_t alloc_op)
{
	return alloc_op == STREAM_RANGE_ALLOC ? &l->now.ranges : &l->now.memory;
}

/* `at`: records so far, with this one. */
static void begin_life(struct lives *l, const struct stream_record *r, uint32_t at)
{
	l->objects[r->id] = (struct stream_object){r->bytes, r->class, r->op, false};
	*live_bytes(l, r->op) += r->bytes;
	if (l->now.memory > l->peak->memory)
		l->peak->memory_at = at;
	l->peak->memory = max_u64(l->peak->memory, l->now.memory);
	l->peak->ranges = max_u64(l->peak->ranges, l->now.ranges);
}

static const char *end_life(struct lives *l, const struct stream_record *r)
{
	struct stream_object *o = &l->objects[r->id];

	if (o->is_freed)
		return "a free of what was freed before";
	if (r->op != o->op + 1 || r->class != o->class)
		return "a free that doesn't agree with its allocation";
	o->is_freed = true;
	*live_bytes(l, o->op) -= o->bytes;
	return NULL;
}

const char *stream_check(struct stream *s, struct stream_object *objects, struct stream_peak *peak)
{
	struct lives lives = {.objects = objects, .peak = peak};
	const char *wrong = NULL;
	struct stream_cursor c;
	struct stream_record r;

	*peak = (struct stream_peak){0};
	for (stream_begin(&c, s); !wrong && stream_next(&c, &r);) {
		if (stream_is_alloc(r.op))
			begin_life(&lives, &r, c.at);
		else
			wrong = end_life(&lives, &r);
	}
	return wrong ? refuse(s, c.at - 1, wrong) : refuse(s, c.at, c.wrong);
}

void stream_explain(const struct stream *s, const char *wrong, char *buf, size_t size)
{
	if (s->wrong_in)
		ksnprintf(buf, size, "%s %u: %s", s->wrong_in, s->wrong_at, wrong);
	else
		ksnprintf(buf, size, "%s", wrong);
}
