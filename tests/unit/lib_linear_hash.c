/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The linear hash against an array that says what is entered.
 */
#include "lib/linear_hash.h"

#include "arena.h"
#include "kmalloc.h"
#include "lib/list.h"
#include "lib/test.h"

#define THINGS 300000 /* enough for a tree of three levels */

struct thing {
	struct hash_link link;
	bool is_in; /* the model */
};

static struct linear_hash hash;
static struct thing *things;
static size_t count, in;

/* The first `n` things, none entered.  Keys are multiples of 4096, as addresses of pages are. */
static void begin(size_t n)
{
	linear_hash_init(&hash);
	count = n;
	in = 0;
	things = kzalloc(n * sizeof(*things), MEM_WAIT);
	for (size_t i = 0; i < n; i++)
		things[i].link.key = (i + 1) * 4096;
}

static void put(size_t i)
{
	linear_hash_insert(&hash, &things[i].link);
	things[i].is_in = true;
	in++;
}

static void drop(size_t i)
{
	struct hash_link **at = linear_hash_seek(&hash, things[i].link.key);

	CHECK_EQ((uintptr_t)*at, (uintptr_t)&things[i].link);
	linear_hash_remove(&hash, at);
	things[i].is_in = false;
	in--;
}

static void toggle(size_t i)
{
	if (things[i].is_in)
		drop(i);
	else
		put(i);
}

/* Gives it the page it wants, or takes one it has too many. */
static void care(void)
{
	void *page;

	if (!linear_hash_needs_care(&hash))
		return;
	if (hash.wants_page)
		linear_hash_give_page(&hash, base_alloc(NULL, PORT_PAGE_SIZE, MEM_WAIT));
	else if ((page = linear_hash_take_page(&hash, LINEAR_HASH_SPARE_MAX)))
		base_free(NULL, page, PORT_PAGE_SIZE);
}

static void care_fully(void)
{
	while (linear_hash_needs_care(&hash))
		care();
}

static void trim(size_t buckets)
{
	while (buckets-- > 0 && linear_hash_trim(&hash))
		;
}

/* Every bucket holds what belongs there, and together they hold what the model says. */
static void check_whole(void)
{
	size_t found = 0;

	CHECK_EQ(hash.entries, in);
	for (size_t i = 0; i < hash.buckets; i++) {
		for (struct hash_link *l = linear_hash_bucket(&hash, i); l; l = l->next) {
			CHECK_EQ(linear_hash_index(&hash, l->key), i);
			CHECK(container_of(l, struct thing, link)->is_in);
			found++;
		}
	}
	CHECK_EQ(found, in);
	for (size_t i = 0; i < count; i++)
		CHECK_EQ(*linear_hash_seek(&hash, things[i].link.key) != NULL, things[i].is_in);
}

static void end(void)
{
	void *page;

	trim(SIZE_MAX);
	while ((page = linear_hash_take_page(&hash, 0)))
		base_free(NULL, page, PORT_PAGE_SIZE);
	CHECK_EQ(hash.pages_held, 0);
	kfree(things);
}

/* Enters one after the other; now and then one of those before goes or comes back.  It gets a page
 * it wants once in `one_in` steps. */
static void fill(size_t one_in)
{
	for (size_t i = 0; i < count; i++) {
		put(i);
		if (i % 16 == 0)
			toggle(test_random_below(i + 1));
		if (test_random_below(one_in) == 0)
			care();
	}
}

static void drop_all(void)
{
	for (size_t i = 0; i < count; i++)
		if (things[i].is_in)
			drop(i);
}

TEST("linear hash: it finds what an array holds, grown to three levels, and trimmed")
{
	begin(test_ops(THINGS));
	for (size_t i = 0; i < count; i++) {
		put(i);
		if (i % 16 == 0)
			toggle(test_random_below(i + 1));
		care_fully();
		CHECK_LE(hash.entries, hash.buckets + 3);
	}
	if (count == THINGS)
		CHECK_EQ(hash.height, 3);
	check_whole();
	for (size_t i = 0; i < count; i++) {
		size_t at = i * 7 % count;

		if (things[at].is_in)
			drop(at);
		if (i % 16 == 0)
			trim(test_random_below(64));
		care_fully();
		CHECK_LE(hash.entries, hash.buckets + 3);
		CHECK_LE(hash.pages_spare, LINEAR_HASH_SPARE_MAX);
		if (i == count / 2)
			check_whole();
	}
	drop_all();
	trim(SIZE_MAX);
	CHECK_EQ(hash.buckets, LINEAR_HASH_SMALL);
	CHECK_EQ(hash.height, 0);
	check_whole();
	end();
}

TEST("linear hash: without pages chains get longer, and with them it catches up")
{
	begin(test_ops(20000));
	fill(2048);
	check_whole();
	if (count == 20000)
		CHECK(hash.wants_page && hash.entries > hash.buckets);
	for (size_t i = 0; i < count; i++) {
		toggle(i);
		toggle(i);
		care();
	}
	care_fully();
	CHECK_LE(hash.entries, hash.buckets + 3);
	check_whole();
	drop_all();
	end();
}

TEST("linear hash: a trim leaves as many buckets as entries, and their pages spare")
{
	size_t held;

	begin(test_ops(20000));
	fill(1);
	for (size_t i = 0; hash.entries * 3 > hash.buckets * 2; i++)
		if (things[i].is_in)
			drop(i);
	held = hash.pages_held - hash.pages_spare;
	trim(SIZE_MAX);
	CHECK_EQ(hash.buckets, hash.entries > LINEAR_HASH_SMALL ? hash.entries : LINEAR_HASH_SMALL);
	if (count == 20000)
		CHECK_LT(hash.pages_held - hash.pages_spare, held);
	check_whole();
	drop_all();
	end();
}

TEST("linear hash: links with equal keys stand in one chain, and each may go")
{
	struct hash_link **at;

	begin(100);
	for (size_t i = 0; i < count; i++) {
		things[i].link.key = i / 2;
		put(i);
		care_fully();
	}
	for (size_t i = 0; i < count; i += 2) {
		at = linear_hash_chain(&hash, i / 2);
		while (*at != &things[i].link)
			at = &(*at)->next;
		linear_hash_remove(&hash, at);
		at = linear_hash_seek(&hash, i / 2);
		CHECK_EQ((uintptr_t)*at, (uintptr_t)&things[i + 1].link);
		linear_hash_remove(&hash, at);
		CHECK_EQ((uintptr_t)*linear_hash_seek(&hash, i / 2), 0);
	}
	end();
}

TEST("linear hash: of equal keys the last one is found, and only spare pages are taken")
{
	begin(100);
	CHECK(!linear_hash_needs_care(&hash) && !linear_hash_is_overfull(&hash));
	CHECK(!linear_hash_trim(&hash));
	CHECK(!linear_hash_take_page(&hash, 0));
	for (size_t i = 0; i < 3; i++) {
		things[i].link.key = 7;
		put(i);
		CHECK_EQ((uintptr_t)*linear_hash_seek(&hash, 7), (uintptr_t)&things[i].link);
	}
	for (size_t i = 0; i < 3; i++)
		linear_hash_give_page(&hash, base_alloc(NULL, PORT_PAGE_SIZE, MEM_WAIT));
	CHECK(!linear_hash_take_page(&hash, hash.pages_spare));
	for (size_t i = 3; i-- > 0;)
		drop(i);
	end();
}
