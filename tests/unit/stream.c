/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Recorded streams: what is read of one, and what is refused.
 */
#include "work/stream.h"

#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"

#include "unit/streams.h"

#define CAPACITY ((size_t)16 << 10)
#define OBJECTS_MAX 64
#define PAGE STREAM_PAGE

/* One of each: 4 allocations, of which 2 are freed. */
static void add_one_of_each(struct streams *s)
{
	streams_begin(s);
	streams_cache(s, "small", 24, 0);
	streams_cache(s, "aligned", 256, 256);
	streams_record(s, STREAM_KMALLOC, 0, 100, 0);
	streams_record(s, STREAM_CACHE_ALLOC, 1, 256, 1);
	streams_record(s, STREAM_PAGE_ALLOC, 2, 4 * PAGE, 0x4002);
	streams_record(s, STREAM_CACHE_FREE, 1, 0, 1);
	streams_record(s, STREAM_RANGE_ALLOC, 3, 7 * PAGE, 0x20);
	streams_record(s, STREAM_PAGE_FREE, 2, 0, 0x4002);
}

/* All that is wrong with the stream, or NULL. */
static const char *check_all(struct stream *s, const void *bytes, size_t size)
{
	struct stream_object objects[OBJECTS_MAX];
	struct stream_counts counts;
	struct stream_peak peak;
	const char *wrong = stream_open(s, bytes, size);

	if (!wrong)
		wrong = stream_count(s, &counts);
	if (!wrong) {
		CHECK_LE(counts.objects, OBJECTS_MAX);
		wrong = stream_check(s, objects, &peak);
	}
	return wrong;
}

TEST("stream: caches, records and each object's fate are read as they were written")
{
	struct streams s = streams_new(CAPACITY);
	struct stream_object objects[OBJECTS_MAX];
	struct stream_counts counts;
	struct stream_cache cache;
	struct stream_peak peak;
	struct stream stream;

	add_one_of_each(&s);
	CHECK(!stream_open(&stream, s.bytes, s.size));
	CHECK_EQ(stream.size, s.size);
	CHECK_EQ(stream.cache_count, 2);
	cache = stream_cache_at(&stream, 1);
	CHECK_STR(cache.name, "aligned");
	CHECK(cache.size == 256 && cache.align == 256);
	CHECK(!stream_count(&stream, &counts));
	CHECK_EQ(counts.objects, 4);
	CHECK_EQ(counts.ops[STREAM_PAGE_FREE], 1);
	CHECK_EQ(counts.bytes, 356 + 11 * PAGE);
	CHECK(!stream_check(&stream, objects, &peak));
	CHECK(objects[0].op == STREAM_KMALLOC && objects[0].bytes == 100 && !objects[0].is_freed);
	CHECK(objects[1].op == STREAM_CACHE_ALLOC && objects[1].class == 1 && objects[1].is_freed);
	CHECK_EQ(peak.memory, 356 + 4 * PAGE);
	CHECK_EQ(peak.memory_at, 3);
	CHECK_EQ(peak.ranges, 7 * PAGE);
	streams_free(&s);
}

TEST("stream: several follow one another, and behind the last there is none")
{
	struct streams s = streams_new(CAPACITY);
	struct stream stream;

	add_one_of_each(&s);
	streams_begin(&s);
	add_one_of_each(&s);
	CHECK(!stream_open_nth(&stream, s.bytes, s.size, 0));
	CHECK_EQ(stream.record_count, 6);
	CHECK(!stream_open_nth(&stream, s.bytes, s.size, 1));
	CHECK_EQ(stream.record_count, 0);
	CHECK(!stream_open_nth(&stream, s.bytes, s.size, 2));
	CHECK_EQ(stream.record_count, 6);
	CHECK_STR(stream_open_nth(&stream, s.bytes, s.size, 3), "there is no such stream");
	CHECK_STR(stream_open_nth(&stream, s.bytes, s.size - 1, 2),
		"it is shorter than its header says");
	CHECK_STR(stream_open_nth(&stream, NULL, 0, 0), "there is no such stream");
	streams_free(&s);
}

TEST("stream: one that is cut off anywhere is refused")
{
	struct streams s = streams_new(CAPACITY);
	struct stream stream;

	add_one_of_each(&s);
	for (size_t size = 0; size < s.size; size++) {
		/* At the end of a mapping, so that what is read behind it is likely to fault. */
		struct streams cut = streams_new(CAPACITY);
		uint8_t *at = cut.bytes + CAPACITY - size;

		memcpy(at, s.bytes, size);
		CHECK_STR(stream_open(&stream, at, size), size < 16 ?
			"it is shorter than a stream's header" : "it is shorter than its header says");
		streams_free(&cut);
	}
	streams_free(&s);
}

static void refuse_header(size_t offset, uint8_t byte, const char *wrong)
{
	struct streams s = streams_new(CAPACITY);
	struct stream stream;
	char line[96];

	add_one_of_each(&s);
	s.bytes[offset] = byte;
	CHECK_STR(stream_open(&stream, s.bytes, s.size), wrong);
	stream_explain(&stream, wrong, line, sizeof(line));
	CHECK_STR(line, wrong);
	streams_free(&s);
}

TEST("stream: a wrong header is refused")
{
	refuse_header(0, 's', "it doesn't begin like a stream");
	refuse_header(4, 2, "its version is unknown");
	refuse_header(8, 3, "it is shorter than its header says");
	refuse_header(11, 0xff, "it is shorter than its header says");
	refuse_header(15, 0xff, "it is shorter than its header says");
}

static void refuse_cache(const char *name, uint32_t size, uint32_t align, const char *wrong)
{
	struct streams s = streams_new(CAPACITY);
	struct stream stream;
	char line[96];

	streams_begin(&s);
	streams_cache(&s, "good", STREAM_MEMORY_MAX, PAGE);
	streams_cache(&s, name, size, align);
	CHECK_STR(stream_open(&stream, s.bytes, s.size), wrong);
	stream_explain(&stream, wrong, line, sizeof(line));
	CHECK(str_starts(line, "cache 1: its "));
	streams_free(&s);
}

TEST("stream: a wrong cache is refused")
{
	refuse_cache("", 8, 0, "its name isn't one");
	refuse_cache("two words", 8, 0, "its name isn't one");
	refuse_cache("bell\a", 8, 0, "its name isn't one");
	refuse_cache("0123456789012345678901234567890123456789", 8, 0, "its name isn't one");
	refuse_cache("none", 0, 0, "its objects have no bytes, or more than the largest memory");
	refuse_cache("huge", STREAM_MEMORY_MAX + 1, 0,
		"its objects have no bytes, or more than the largest memory");
	refuse_cache("odd", 8, 24, "its alignment is no power of two, or above a page");
	refuse_cache("far", 8, 2 * PAGE, "its alignment is no power of two, or above a page");
}

/* Behind one of each, of which 0 (kmalloc) and 3 (a range) are live. */
static const struct broken {
	unsigned op;
	uint32_t id, bytes;
	unsigned class;
	const char *wrong;
} broken[] = {
	{0, 4, 8, 0, "an unknown operation"},
	{9, 4, 8, 0, "an unknown operation"},
	{255, 4, 8, 0, "an unknown operation"},
	{STREAM_KMALLOC, 5, 8, 0, "an allocation with a number out of order"},
	{STREAM_KMALLOC, 0, 8, 0, "an allocation with a number out of order"},
	{STREAM_KMALLOC, 4, 0, 0, "an allocation of 0 bytes"},
	{STREAM_RANGE_ALLOC, 4, 0, 0, "an allocation of 0 bytes"},
	{STREAM_KMALLOC, 4, 8, 1, "a kmalloc with a class"},
	{STREAM_KMALLOC, 4, STREAM_MEMORY_MAX + 1, 0, "a kmalloc above the largest memory"},
	{STREAM_CACHE_ALLOC, 4, 24, 2, "it names no cache"},
	{STREAM_CACHE_ALLOC, 4, 24, 1, "its bytes aren't those of its cache's objects"},
	{STREAM_PAGE_ALLOC, 4, PAGE, 1, "its order doesn't agree with its bytes"},
	{STREAM_PAGE_ALLOC, 4, STREAM_MEMORY_MAX * 2, 11, "its order doesn't agree with its bytes"},
	{STREAM_PAGE_ALLOC, 4, PAGE, 0x20, "its order doesn't agree with its bytes"},
	{STREAM_RANGE_ALLOC, 4, PAGE + 1, 0, "a range that isn't whole pages"},
	{STREAM_KFREE, 0, 100, 0, "a free with bytes"},
	{STREAM_KFREE, 4, 0, 0, "a free of what was never allocated"},
	{STREAM_KFREE, UINT32_MAX, 0, 0, "a free of what was never allocated"},
	{STREAM_CACHE_FREE, 1, 0, 1, "a free of what was freed before"},
	{STREAM_CACHE_FREE, 0, 0, 0, "a free that doesn't agree with its allocation"},
	{STREAM_KFREE, 0, 0, 1, "a free that doesn't agree with its allocation"},
	{STREAM_RANGE_FREE, 3, 0, 0, "a free that doesn't agree with its allocation"},
};

static void refuse_record(const struct broken *b)
{
	struct streams s = streams_new(CAPACITY);
	struct stream stream;
	char line[96];

	add_one_of_each(&s);
	streams_record(&s, b->op, b->id, b->bytes, b->class);
	streams_record(&s, STREAM_KFREE, 0, 0, 0);
	CHECK_STR(check_all(&stream, s.bytes, s.size), b->wrong);
	stream_explain(&stream, b->wrong, line, sizeof(line));
	CHECK(str_starts(line, "record 6: "));
	streams_free(&s);
}

TEST("stream: a wrong record is refused, with its number")
{
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
		refuse_record(&broken[i]);
}

TEST("stream: more frees than allocations are refused while they are counted")
{
	struct streams s = streams_new(CAPACITY);
	struct stream_counts counts;
	struct stream stream;

	streams_begin(&s);
	streams_record(&s, STREAM_KMALLOC, 0, 8, 0);
	streams_record(&s, STREAM_KFREE, 0, 0, 0);
	streams_record(&s, STREAM_KFREE, 0, 0, 0);
	CHECK(!stream_open(&stream, s.bytes, s.size));
	CHECK_STR(stream_count(&stream, &counts), "a free while nothing is live");
	CHECK_EQ(stream.wrong_at, 2);
	streams_free(&s);
}

TEST("stream: bytes changed at random are refused or read, and nothing else happens")
{
	struct streams s = streams_new(CAPACITY);
	size_t rounds = test_ops(100000), refused = 0;
	struct stream stream;

	add_one_of_each(&s);
	for (size_t n = 0; n < rounds; n++) {
		size_t at = test_random_below(s.size);
		uint8_t was = s.bytes[at];

		s.bytes[at] = (uint8_t)test_random();
		refused += check_all(&stream, s.bytes, s.size) != NULL;
		s.bytes[at] = was;
	}
	CHECK_LT(0, refused);
	CHECK(!check_all(&stream, s.bytes, s.size));
	streams_free(&s);
}
