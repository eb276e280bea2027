/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Planted misuses of samples: each is reported in the same way in every debug mode.
 */
#include "misuse.h"

#include "kmalloc.h"
#include "kmem_sample.h"
#include "lib/array.h"
#include "lib/test.h"
#include "slab.h"

#define SIZE 100 /* bytes of an object, which take 104 */
#define TAKEN 104
#define SMALL 18 /* of kmalloc-24 */
#define SMALL_TAKEN 24
#define TRIES 64

static struct kmem_cache *cache, *other;
static char *at_start, *at_end; /* of their pages; NULL: the row has freed it */
static char *small;		/* of kmalloc, at the end of its page */
static uint64_t before;

static bool is_at_end(const void *p, size_t taken)
{
	return ((uintptr_t)p + taken) % PORT_PAGE_SIZE == 0;
}

static void *take(struct kmem_cache *c)
{
	return c ? kmem_cache_alloc(c, MEM_WAIT) : kmalloc(SMALL, MEM_WAIT);
}

static __attribute__((noinline)) void give(struct kmem_cache *c, char **p)
{
	if (*p && c)
		kmem_cache_free(c, *p);
	else
		kfree(*p);
	*p = NULL;
}

/* An object of c, or (NULL) of kmalloc's, that is a sample at that place; others are given back. */
static char *sampled(struct kmem_cache *c, size_t taken, bool wants_end)
{
	struct kmem_sample s;
	char *p;

	for (int i = 0; i < TRIES; i++) {
		p = take(c);
		if (kmem_sample_find((uintptr_t)p, &s) && is_at_end(p, taken) == wants_end)
			return p;
		give(c, &p);
	}
	return NULL;
}

static void begin(unsigned flags)
{
	before = kmem_sample();
	CHECK_EQ(kmem_sample_set(1), 0);
	cache = kmem_cache_create("misuse", SIZE, 0, 0, NULL, NULL, NULL, NULL);
	other = kmem_cache_create("other", SIZE, 0, 0, NULL, NULL, NULL, NULL);
	CHECK(cache && other);
	at_start = sampled(cache, TAKEN, false);
	at_end = sampled(cache, TAKEN, true);
	small = sampled(NULL, SMALL_TAKEN, true);
	CHECK(at_start && at_end && small);
	CHECK_EQ(kmem_sample_set(before), 0);
}

static void release(void)
{
	give(cache, &at_start);
	give(cache, &at_end);
	give(NULL, &small);
}

static void end(void)
{
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	CHECK_EQ(kmem_cache_destroy(other), 0);
}

/* The row frees it. */
static char *let_go(char **p)
{
	char *taken = misuse_about(*p);

	*p = NULL;
	return taken;
}

static __attribute__((noinline)) char *freed(struct kmem_cache *c, char **p)
{
	char *taken = let_go(p);

	if (c)
		kmem_cache_free(c, taken);
	else
		kfree(taken);
	return taken;
}

/* Wrong frees */

PLANT(sample_free_twice_in_a_row)
{
	kmem_cache_free(cache, freed(cache, &at_end));
}

PLANT(sample_free_twice)
{
	char *p = freed(cache, &at_end);

	give(cache, &at_start);
	kmem_cache_free(cache, p);
}

PLANT(sample_free_twice_in_an_array)
{
	void *array[] = {let_go(&at_end), NULL};

	array[1] = array[0];
	kmem_cache_free_bulk(cache, array, 2);
}

PLANT(sample_free_inside)
{
	kmem_cache_free(cache, misuse_about(at_end + 8));
}

PLANT(sample_free_one_byte_on)
{
	kmem_cache_free(cache, misuse_about(at_start + 1));
}

PLANT(sample_free_before)
{
	kmem_cache_free(cache, misuse_about(at_end - 8));
}

PLANT(sample_free_of_a_guard)
{
	kmem_cache_free(cache, misuse_about(at_end + TAKEN));
}

PLANT(sample_free_of_another_cache)
{
	kmem_cache_free(other, misuse_about(at_end));
}

PLANT(sample_free_of_another_in_an_array)
{
	void *array[] = {kmem_cache_alloc(other, MEM_WAIT), misuse_about(at_start)};

	kmem_cache_free_bulk(other, array, 2);
}

PLANT(sample_kfree_of_an_object)
{
	kfree(misuse_about(at_end));
}

static const struct misuse rows[] = {
	MISUSE(sample_free_twice_in_a_row, "freed twice in a row", "freed twice", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_free_twice, "freed twice, another between", "freed twice", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_free_twice_in_an_array, "twice in an array", "freed twice", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_free_inside, "a pointer into one", "inside an object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_free_one_byte_on, "a pointer one byte on", "inside an object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_free_before, "a pointer before one", "or beside it", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_free_of_a_guard, "a pointer behind its page", "or beside it", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_free_of_another_cache, "another cache's", "belongs to cache misuse", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_free_of_another_in_an_array, "another cache's, in an array", "belongs to cache misuse", AT_ONCE,
		AT_ONCE, AT_ONCE),
	MISUSE(sample_kfree_of_an_object, "kfree() of an object", "no memory of kmalloc's", AT_ONCE, AT_ONCE, AT_ONCE),
};

const struct misuse_family misuse_samples = {"samples, frees", "cache misuse", "%#lx", false, begin, release, NULL,
	NULL, NULL, end, rows, ARRAY_SIZE(rows)};

/* Reads and writes.  A fault is reported as of the function that makes it. */

#define READ(at) ((void)*(const volatile char *)(at))
#define WRITE(at) (*(volatile char *)(at) = 'x')

PLANT(sample_read_behind)
{
	misuse_about(at_end);
	READ(at_end + TAKEN);
}

PLANT(sample_write_behind)
{
	misuse_about(at_end);
	WRITE(at_end + TAKEN);
}

PLANT(sample_write_page_behind)
{
	misuse_about(at_end);
	WRITE(at_end + TAKEN + PORT_PAGE_SIZE - 1);
}

PLANT(sample_read_before)
{
	misuse_about(at_start);
	READ(at_start - 1);
}

PLANT(sample_write_before)
{
	misuse_about(at_start);
	WRITE(at_start - 1);
}

PLANT(sample_write_slack)
{
	misuse_write((char *)misuse_about(at_end) + SIZE, 1, 'x');
}

PLANT(sample_write_zero_in_slack)
{
	misuse_write((char *)misuse_about(at_end) + TAKEN - 1, 1, 0);
}

PLANT(sample_write_behind_at_start)
{
	misuse_write((char *)misuse_about(at_start) + SIZE, 1, 'x');
}

PLANT(sample_write_end_of_page)
{
	misuse_write((char *)misuse_about(at_start) + PORT_PAGE_SIZE - 1, 1, 'x');
}

PLANT(sample_write_before_at_end)
{
	misuse_write((char *)misuse_about(at_end) - 1, 1, 'x');
}

PLANT(sample_read_of_freed)
{
	READ(freed(cache, &at_end));
}

PLANT(sample_read_last_byte_of_freed)
{
	READ(freed(cache, &at_start) + SIZE - 1);
}

PLANT(sample_write_of_freed)
{
	WRITE(freed(cache, &at_end) + 50);
}

PLANT(sample_write_behind_freed)
{
	WRITE(freed(cache, &at_start) + SIZE);
}

static const struct misuse byte_rows[] = {
	MISUSE(sample_read_behind, "a read behind its page", "read of byte 104 of object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_write_behind, "a write behind its page", "of byte 104 of object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_write_page_behind, "a write a page behind its page", "of byte 4199 of object", AT_ONCE, AT_ONCE,
		AT_ONCE),
	MISUSE(sample_read_before, "a read before its page", "1 bytes before object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_write_before, "a write before its page", "1 bytes before object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_read_of_freed, "a read of a freed one", "of byte 0 of free object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_read_last_byte_of_freed, "a read of its last byte", "of byte 99 of free object", AT_ONCE, AT_ONCE,
		AT_ONCE),
	MISUSE(sample_write_of_freed, "a write to a freed one", "of byte 50 of free object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_write_behind_freed, "a write behind a freed one", "of byte 100 of free object", AT_ONCE, AT_ONCE,
		AT_ONCE),
	MISUSE(sample_write_slack, "the byte behind one, in its page", "byte 100 of object", AT_FREE, AT_FREE, AT_FREE),
	MISUSE(sample_write_zero_in_slack, "a zero in the page's last byte", "byte 103 of object", AT_FREE, AT_FREE,
		AT_FREE),
	MISUSE(sample_write_behind_at_start, "the byte behind one at the page's start", "byte 100 of object", AT_FREE,
		AT_FREE, AT_FREE),
	MISUSE(sample_write_end_of_page, "the last byte of the page", "byte 4095 of object", AT_FREE, AT_FREE, AT_FREE),
	MISUSE(sample_write_before_at_end, "the byte before one at the page's end", "memory 1 bytes before", AT_FREE,
		AT_FREE, AT_FREE),
};

const struct misuse_family misuse_sample_bytes = {"samples, reads and writes", "cache misuse", "%#lx", false, begin,
	release, NULL, NULL, NULL, end, byte_rows, ARRAY_SIZE(byte_rows)};

/* kmalloc */

PLANT(sample_kfree_twice)
{
	kfree(freed(NULL, &small));
}

PLANT(sample_kfree_inside)
{
	kfree(misuse_about(small + 8));
}

PLANT(sample_ksize_of_freed)
{
	ksize(freed(NULL, &small));
}

PLANT(sample_krealloc_of_freed)
{
	(void)!krealloc(freed(NULL, &small), 2 * SMALL, MEM_WAIT);
}

PLANT(sample_krealloc_inside)
{
	(void)!krealloc(misuse_about(small + 1), 2 * SMALL, MEM_WAIT);
}

PLANT(sample_free_of_kmalloc)
{
	kmem_cache_free(cache, misuse_about(small));
}

PLANT(sample_18_byte_18)
{
	misuse_write((char *)misuse_about(small) + SMALL, 1, 'x');
}

PLANT(sample_18_byte_24)
{
	misuse_about(small);
	WRITE(small + SMALL_TAKEN);
}

PLANT(sample_krealloc_byte_behind)
{
	small = krealloc(small, SMALL - 2, MEM_WAIT);
	misuse_write((char *)misuse_about(small) + SMALL - 2, 1, 'x');
}

PLANT(sample_read_of_kfreed)
{
	READ(freed(NULL, &small));
}

static const struct misuse kmalloc_rows[] = {
	MISUSE(sample_kfree_twice, "freed twice in a row", "freed twice", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_kfree_inside, "a pointer into it", "inside an object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_ksize_of_freed, "ksize() of what is free", "not allocated", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_krealloc_of_freed, "krealloc() of what is free", "not allocated", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_krealloc_inside, "krealloc() of a pointer into it", "inside an object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_free_of_kmalloc, "freed as an object of another cache", "belongs to cache kmalloc-24", AT_ONCE,
		AT_ONCE, AT_ONCE),
	MISUSE(sample_18_byte_24, "byte 24 of kmalloc(18)", "of byte 24 of object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_read_of_kfreed, "a read of what is free", "of byte 0 of free object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(sample_18_byte_18, "byte 18 of kmalloc(18)", "byte 18 of object", AT_FREE, AT_FREE, AT_FREE),
	MISUSE(sample_krealloc_byte_behind, "the byte behind, made smaller", "byte 16 of object", AT_FREE, AT_FREE,
		AT_FREE),
};

const struct misuse_family misuse_kmalloc_samples = {"kmalloc's samples", "kmalloc-24", "%#lx", false, begin, release,
	NULL, NULL, NULL, end, kmalloc_rows, ARRAY_SIZE(kmalloc_rows)};
