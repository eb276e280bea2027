/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Planted misuses of kmalloc's memory: wrong frees, and wrong writes.
 */
#include "misuse.h"

#include "kmalloc.h"
#include "kmem_debug.h"
#include "lib/array.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "lib/test.h"
#include "slab.h"
#include "vmap.h"

#define SIZE 1700 /* bytes, of a class that little else is in */
#define CLASS 1792
#define HELD 6
#define MANY 120 /* more than rest in quarantine, and are in the slabs that all this takes */
#define LARGE 100000	   /* bytes: of whole pages, a part of the last is left */
#define LARGE_EVEN 131072 /* none is left; by arena_xalloc() */

static char *held[HELD], *large, *even; /* the last of those held to the end, so that its slab is */
static void *many[MANY];
static char *small; /* of 18 bytes */
static void *page, *mapped;
static bool reusing; /* reuse() has begun */

static void begin(unsigned flags)
{
	for (size_t i = 0; i < HELD; i++)
		held[i] = kmalloc(SIZE, MEM_WAIT);
	small = kmalloc(18, MEM_WAIT);
	large = kmalloc(LARGE, MEM_WAIT);
	even = kmalloc(LARGE_EVEN, MEM_WAIT);
	page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
	mapped = vmalloc(PORT_PAGE_SIZE, MEM_WAIT);
	reusing = false;
}

static __attribute__((noinline)) void free_one(char **p)
{
	kfree(*p);
	*p = NULL;
}

static void release(void)
{
	for (size_t i = 0; i < HELD - 1; i++)
		free_one(&held[i]);
	free_one(&small);
	free_one(&large);
	free_one(&even);
}

/* As that of objects; one that is reported then stays out until this is called again. */
static void reuse(void)
{
	if (reusing)
		kfree(misuse_object());
	reusing = true;
	for (int turn = 0; turn < 2; turn++) {
		for (size_t i = 0; i < MANY; i++)
			if (!many[i])
				many[i] = kmalloc(SIZE, MEM_WAIT);
		for (size_t i = 0; i < MANY; i++) {
			kfree(many[i]);
			many[i] = NULL;
		}
	}
}

static void drain(void)
{
	kmem_reap_all(KMEM_REAP_ALL);
}

static bool is_broken(void)
{
	bool broken = false;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		broken |= kmem_cache_check(c, NULL) != 0;
	return broken;
}

static void end(void)
{
	free_one(&held[HELD - 1]);
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
	vfree(mapped, PORT_PAGE_SIZE);
}

/* Wrong frees */

/* The row frees it. */
static void *take(char **p)
{
	void *taken = misuse_about(*p);

	*p = NULL;
	return taken;
}

PLANT(kfree_twice_in_a_row)
{
	void *p = take(&held[0]);

	kfree(p);
	kfree(p);
}

PLANT(kfree_twice)
{
	void *p = take(&held[0]);

	kfree(p);
	free_one(&held[1]);
	kfree(p);
}

PLANT(kfree_inside)
{
	kfree(misuse_about(held[0] + 8));
}

PLANT(kfree_one_byte_on)
{
	kfree(misuse_about(held[0] + 1));
}

PLANT(kfree_before)
{
	kfree(misuse_about(held[1] - 8));
}

PLANT(kfree_of_the_stack)
{
	char local[64] = "";

	kfree(misuse_about(local));
}

PLANT(kfree_of_data)
{
	static char data[64];

	kfree(misuse_about(data));
}

PLANT(kfree_of_text)
{
	kfree(misuse_about("text"));
}

PLANT(kfree_of_a_number)
{
	kfree(misuse_about_number(0xdeadbeef));
}

PLANT(kfree_of_a_page)
{
	kfree(misuse_about(page));
}

PLANT(kfree_of_a_mapping)
{
	kfree(misuse_about(mapped));
}

PLANT(kfree_large_twice)
{
	void *p = take(&large);

	kfree(p);
	kfree(p);
}

PLANT(kfree_even_twice)
{
	void *p = take(&even);

	kfree(p);
	kfree(p);
}

PLANT(kfree_large_inside)
{
	kfree(misuse_about(large + PORT_PAGE_SIZE));
}

PLANT(kfree_large_one_byte_on)
{
	kfree(misuse_about(large + 1));
}

PLANT(ksize_inside)
{
	ksize(misuse_about(held[0] + 8));
}

PLANT(krealloc_inside)
{
	(void)!krealloc(misuse_about(held[0] + 8), 2 * SIZE, MEM_WAIT);
}

PLANT(krealloc_of_freed)
{
	void *p = take(&held[0]);

	kfree(p);
	(void)!krealloc(p, SIZE - 100, MEM_WAIT);
}

PLANT(ksize_of_freed)
{
	void *p = take(&held[0]);

	kfree(p);
	ksize(p);
}

static const struct misuse rows[] = {
	MISUSE(kfree_twice_in_a_row, "freed twice in a row", "freed twice", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(kfree_twice, "freed twice, another between", "freed twice", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(kfree_inside, "a pointer into it", "inside an object", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(kfree_one_byte_on, "a pointer one byte on", "inside an object", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(kfree_before, "a pointer before it", "inside an object", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(kfree_of_the_stack, "a variable on the stack", "no memory of", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(kfree_of_data, "a static variable", "no memory of", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(kfree_of_text, "a string that is constant", "no memory of", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(kfree_of_a_number, "a number", "no memory of", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(kfree_of_a_page, "a page of an arena", "no memory of", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(kfree_of_a_mapping, "memory of vmalloc()", "no memory of", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(kfree_large_twice, "a large one twice", "no memory of", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(kfree_even_twice, "a large one of a power of two twice", "no memory of", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(kfree_large_inside, "the second page of a large one", "no memory of", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(kfree_large_one_byte_on, "one byte into a large one", "no memory of", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(ksize_inside, "ksize() of a pointer into it", "inside an object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(krealloc_inside, "krealloc() of a pointer into it", "inside an object", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(ksize_of_freed, "ksize() of what is free", "not allocated", NEVER, AT_ONCE, AT_ONCE),
	MISUSE(krealloc_of_freed, "krealloc() of what is free", "not allocated", NEVER, AT_ONCE, AT_ONCE),
};

const struct misuse_family misuse_kmalloc = {"kmalloc, frees", "", "%#lx", false, begin, release, NULL, drain,
	NULL, end, rows, ARRAY_SIZE(rows)};

/* Wrong writes */

PLANT(kmalloc_18_byte_18)
{
	misuse_write((char *)misuse_about(small) + 18, 1, 'x');
}

PLANT(kmalloc_18_byte_24)
{
	misuse_write((char *)misuse_about(small) + 24, 1, 'x');
}

PLANT(kmalloc_byte_before)
{
	misuse_write((char *)misuse_about(held[1]) - 1, 1, 'x');
}

PLANT(kmalloc_byte_behind)
{
	misuse_write((char *)misuse_about(held[1]) + SIZE, 1, 'x');
}

PLANT(kmalloc_class_behind)
{
	misuse_write((char *)misuse_about(held[1]) + CLASS, 1, 'x');
}

/* What krealloc() left where it is. */
PLANT(krealloc_byte_behind)
{
	held[1] = krealloc(held[1], SIZE - 100, MEM_WAIT);
	misuse_write((char *)misuse_about(held[1]) + SIZE - 100, 1, 'x');
}

PLANT(kmalloc_large_byte_behind)
{
	misuse_write((char *)misuse_about(large) + LARGE, 1, 'x');
}

PLANT(kmalloc_large_words_behind)
{
	misuse_write((char *)misuse_about(large) + LARGE, 64, 'x');
}

PLANT(kmalloc_even_byte_behind)
{
	misuse_write((char *)misuse_about(even) + LARGE_EVEN, 1, 'x');
}

PLANT(kmalloc_even_last_byte)
{
	misuse_write((char *)misuse_about(even) + LARGE_EVEN + PORT_PAGE_SIZE - 1, 1, 'x');
}

PLANT(krealloc_large_byte_behind)
{
	large = krealloc(large, LARGE - 5000, MEM_WAIT);
	misuse_write((char *)misuse_about(large) + LARGE - 5000, 1, 'x');
}

PLANT(kmalloc_first_byte_of_freed)
{
	char *p = take(&held[1]);

	kfree(p);
	misuse_write(p, 1, 'x');
}

PLANT(kmalloc_last_byte_of_freed)
{
	char *p = take(&held[1]);

	kfree(p);
	misuse_write(p + SIZE - 1, 1, 'x');
}

static const struct misuse byte_rows[] = {
	MISUSE(kmalloc_18_byte_18, "byte 18 of kmalloc(18)", "byte 18 of", NEVER, NEVER, AT_FREE),
	MISUSE(kmalloc_18_byte_24, "byte 24 of kmalloc(18)", "byte 24 of", NEVER, NEVER, AT_FREE),
	MISUSE(kmalloc_byte_before, "the byte before", "memory 1 bytes before", NEVER, NEVER, AT_FREE),
	MISUSE(kmalloc_byte_behind, "the byte behind", "byte 1700 of", NEVER, NEVER, AT_FREE),
	MISUSE(kmalloc_class_behind, "the byte behind its class", "byte 1792 of", NEVER, NEVER, AT_FREE),
	MISUSE(krealloc_byte_behind, "the byte behind, made smaller", "byte 1600 of", NEVER, NEVER, AT_FREE),
	MISUSE(kmalloc_first_byte_of_freed, "the first byte of a freed one", "byte 0 of free object", NEVER, NEVER,
		AT_ALLOC),
	MISUSE(kmalloc_last_byte_of_freed, "the last byte of a freed one", "byte 1699 of free object", NEVER, NEVER,
		AT_ALLOC),
};

const struct misuse_family misuse_kmalloc_bytes = {"kmalloc, writes", "kmalloc", "%#lx", false, begin, release,
	reuse, drain, is_broken, end, byte_rows, ARRAY_SIZE(byte_rows)};

static const struct misuse large_rows[] = {
	MISUSE(kmalloc_large_byte_behind, "the byte behind a large one", "byte 100000 of", NEVER, NEVER, AT_FREE),
	MISUSE(kmalloc_large_words_behind, "64 bytes behind a large one", "byte 100000 of", NEVER, NEVER, AT_FREE),
	MISUSE(kmalloc_even_byte_behind, "the byte behind whole pages", "byte 131072 of", NEVER, NEVER, AT_FREE),
	MISUSE(kmalloc_even_last_byte, "the last byte of the page behind those", "was written", NEVER, NEVER, AT_FREE),
	MISUSE(krealloc_large_byte_behind, "the byte behind a large one, made smaller", "byte 95000 of", NEVER,
		NEVER, AT_FREE),
};

const struct misuse_family misuse_kmalloc_large = {"large kmalloc, writes", "kmalloc", "%#lx", false,
	begin, release, NULL, drain, NULL, end, large_rows, ARRAY_SIZE(large_rows)};

/* Every class */

static size_t class_next(size_t size)
{
	size_t top = (size_t)1 << (63 - __builtin_clzll(size));

	return size < 64 ? size + 8 : size + top / 4;
}

static __attribute__((noinline)) void free_twice(size_t size)
{
	char says[KMEM_NAME_MAX + 32];
	void *p = kmalloc(size, MEM_WAIT);

	ksnprintf(says, sizeof(says), "cache kmalloc-%zu: free of %#lx", size, (unsigned long)(uintptr_t)p);
	kfree(p);
	CHECK_PANICS(kfree(p), says);
}

static __attribute__((noinline)) void free_inside(size_t size)
{
	char says[KMEM_NAME_MAX + 32];
	char *p = kmalloc(size, MEM_WAIT);

	ksnprintf(says, sizeof(says), "cache kmalloc-%zu: free of %#lx", size, (unsigned long)(uintptr_t)(p + 1));
	CHECK_PANICS(kfree(p + 1), says);
	CHECK_PANICS(kfree(p + size / 2), "inside an object");
	CHECK_PANICS(kfree(p + size - 1), "inside an object");
	kfree(p);
}

TEST("misuse: kmalloc of every class, freed twice")
{
	for (size_t size = 8; size <= KMALLOC_CACHED_MAX; size = class_next(size))
		free_twice(size);
}

TEST("misuse: kmalloc of every class, a free inside it, where that is looked up")
{
	for (size_t size = 8; size <= KMALLOC_CACHED_MAX && kmem_debug_checks(); size = class_next(size))
		free_inside(size);
}

/* Writes a byte beside what is `size` bytes, which its free sees. */
static __attribute__((noinline)) void write_beside(size_t size, bool is_before)
{
	char *p = kmalloc(size, MEM_WAIT), says[64];

	ksnprintf(says, sizeof(says), is_before ? "memory %zu bytes before" : "byte %zu of ", is_before ? 1 : size);
	misuse_write(is_before ? p - 1 : p + size, 1, 'x');
	CHECK_PANICS(kfree(p), says);
	misuse_mend();
	kfree(p);
}

TEST("misuse: kmalloc of every size near a class's, a byte beside it, in mode full")
{
	bool is_full = strcmp(kmem_debug_mode(), "full") == 0;

	for (size_t class = 8; class <= KMALLOC_CACHED_MAX && is_full; class = class_next(class)) {
		for (size_t size = class - 1; size <= class + 1; size++) {
			write_beside(size, false);
			if (size <= KMALLOC_CACHED_MAX)
				write_beside(size, true);
		}
	}
}

/* Made another size, where it is or elsewhere: all of that may be used, and nothing behind it. */
static __attribute__((noinline)) void resize_and_write(size_t from, size_t to)
{
	char *p = krealloc(kmalloc(from, MEM_WAIT), to, MEM_WAIT), says[64];

	memset(p, 1, to);
	ksnprintf(says, sizeof(says), "byte %zu of ", to);
	misuse_write(p + to, 1, 'x');
	CHECK_PANICS(kfree(p), says);
	misuse_mend();
	kfree(p);
}

TEST("misuse: after krealloc() the zone begins where the new size ends, in mode full")
{
	static const size_t sizes[] = {18, 24, 60, 100, 111, 65536, 70000, 81919, 81920, 131072, 200000};

	if (strcmp(kmem_debug_mode(), "full") != 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (size_t k = 0; k < ARRAY_SIZE(sizes); k++)
			resize_and_write(sizes[i], sizes[k]);
}

/* Memory that nobody frees isn't lost: the cache isn't destroyed, and names itself. */
TEST("misuse: a cache with objects that were never freed isn't destroyed, in any mode")
{
	static const unsigned flags[] = {0, KMC_CHECK, KMC_FULL};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct kmem_cache *c = kmem_cache_create("leaky", 64, 0, flags[i], NULL, NULL, NULL, NULL);
		void *object = kmem_cache_alloc(c, MEM_WAIT);

		CHECK_EQ(kmem_cache_destroy(c), -EBUSY);
		kmem_cache_free(c, object);
		CHECK_EQ(kmem_cache_destroy(c), 0);
	}
}
