/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Planted misuses of a cache's objects: wrong frees, and wrong writes.
 */
#include "misuse.h"

#include "alarm.h"
#include "kmalloc.h"
#include "kthread.h"
#include "lib/array.h"
#include "lib/test.h"
#include "slab.h"

#define SIZE 100 /* bytes of an object; the last of its words is half an object's own */
#define HELD 8
#define MANY 700 /* more than rest in quarantine, and are in the slabs that all this takes */

static struct kmem_cache *cache, *other;
static void *held[HELD], *of_other, *many[MANY];
static void *victim; /* one of those held, between two others in its slab */
static void *keeper; /* one of that slab, held to the end, so that the slab is */
static void *spare;  /* allocated by a row, if not NULL */
static void *from_kmalloc, *page;
static bool reusing; /* reuse() has begun */

static int construct(void *object, void *priv, unsigned flags)
{
	*(uint64_t *)object = 1;
	return 0;
}

/* The first of those held that lies between two objects of its slab or, with `of`, that lies in the slab of
 * that. */
static void *choose(void *of)
{
	struct kmem_object o, with = {.slab = 0};
	struct kmem_cache_stats s;

	kmem_cache_get_stats(cache, &s);
	CHECK(!of || kmem_cache_find(cache, (uintptr_t)of, &with));
	for (size_t i = 0; i < HELD; i++) {
		CHECK(kmem_cache_find(cache, (uintptr_t)held[i], &o));
		if (of ? held[i] != of && o.slab == with.slab : o.index > 0 && o.index < s.slab_objects - 1)
			return held[i];
	}
	return NULL;
}

/* Has it be nobody's any more, but for the row. */
static void *let_go(void *object)
{
	for (size_t i = 0; i < HELD; i++)
		if (held[i] == object)
			held[i] = NULL;
	return misuse_about(object);
}

static void begin(unsigned flags)
{
	cache = kmem_cache_create("misuse", SIZE, 0, flags, NULL, construct, NULL, NULL);
	other = kmem_cache_create("other", SIZE, 0, flags, NULL, NULL, NULL, NULL);
	CHECK(cache && other);
	for (size_t i = 0; i < HELD; i++)
		held[i] = kmem_cache_alloc(cache, MEM_WAIT);
	of_other = kmem_cache_alloc(other, MEM_WAIT);
	from_kmalloc = kmalloc(SIZE, MEM_WAIT);
	page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
	spare = NULL;
	reusing = false;
	victim = choose(NULL);
	keeper = choose(victim);
	CHECK(victim && keeper);
	let_go(keeper);
}

static __attribute__((noinline)) void free_one(struct kmem_cache *c, void **object)
{
	if (*object)
		kmem_cache_free(c, *object);
	*object = NULL;
}

static void release(void)
{
	for (size_t i = 0; i < HELD; i++)
		free_one(cache, &held[i]);
	free_one(cache, &spare);
	free_one(other, &of_other);
}

/* Others go through the quarantine, so that those freed before leave it; then every object is handed out.  The
 * one that is reported then stays out, until this is called again. */
static void reuse(void)
{
	if (reusing)
		spare = misuse_object();
	reusing = true;
	free_one(cache, &spare);
	for (int turn = 0; turn < 2; turn++) {
		for (size_t i = 0; i < MANY; i++)
			if (!many[i])
				many[i] = kmem_cache_alloc(cache, MEM_WAIT);
		for (size_t i = 0; i < MANY; i++)
			free_one(cache, &many[i]);
	}
}

static void drain(void)
{
	kmem_cache_reap(cache, KMEM_REAP_ALL);
	kmem_cache_reap(other, KMEM_REAP_ALL);
}

static bool is_broken(void)
{
	return kmem_cache_check(cache, NULL) != 0;
}

static void end(void)
{
	free_one(cache, &keeper);
	kfree(from_kmalloc);
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	CHECK_EQ(kmem_cache_destroy(other), 0);
}

/* Wrong frees */

PLANT(free_twice_in_a_row)
{
	let_go(victim);
	kmem_cache_free(cache, victim);
	kmem_cache_free(cache, victim);
}

PLANT(free_twice)
{
	let_go(victim);
	kmem_cache_free(cache, victim);
	free_one(cache, &held[HELD - 1]);
	kmem_cache_free(cache, victim);
}

PLANT(free_twice_in_an_array)
{
	void *array[] = {let_go(victim), victim};

	kmem_cache_free_bulk(cache, array, 2);
}

PLANT(free_inside)
{
	kmem_cache_free(cache, misuse_about((char *)victim + 8));
}

PLANT(free_one_byte_on)
{
	kmem_cache_free(cache, misuse_about((char *)victim + 1));
}

PLANT(free_before)
{
	kmem_cache_free(cache, misuse_about((char *)victim - 8));
}

PLANT(free_last_byte)
{
	kmem_cache_free(cache, misuse_about((char *)victim + SIZE - 1));
}

PLANT(free_of_another_cache)
{
	kmem_cache_free(cache, misuse_about(of_other));
}

PLANT(free_of_another_in_an_array)
{
	void *array[] = {let_go(victim), of_other};

	misuse_about(of_other);
	kmem_cache_free_bulk(cache, array, 2);
}

PLANT(free_of_the_stack)
{
	uint64_t local[16] = {0};

	kmem_cache_free(cache, misuse_about(local));
}

PLANT(free_of_data)
{
	static uint64_t data[16];

	kmem_cache_free(cache, misuse_about(data));
}

PLANT(free_of_a_number)
{
	kmem_cache_free(cache, misuse_about_number(0xdeadbeef));
}

PLANT(free_of_kmalloc)
{
	kmem_cache_free(cache, misuse_about(from_kmalloc));
}

PLANT(free_of_a_page)
{
	kmem_cache_free(cache, misuse_about(page));
}

PLANT(kfree_of_an_object)
{
	kfree(misuse_about(victim));
}

/* Its slab went back to the source. */
PLANT(free_in_a_slab_that_is_gone)
{
	release();
	free_one(cache, &keeper);
	kmem_cache_reap(cache, KMEM_REAP_ALL);
	kmem_cache_free(cache, misuse_about(victim));
}

static bool rang;

static void alloc_in_interrupt(struct alarm *a)
{
	spare = kmem_cache_alloc(cache, MEM_ATOMIC);
	__atomic_store_n(&rang, true, __ATOMIC_RELEASE);
}

/* The second free is of what the interrupt has allocated, unless that got another object since this one rests;
 * then the interrupt's free is the second. */
PLANT(free_twice_around_an_interrupt)
{
	struct alarm a = {.handler = NULL};
	void *of_interrupt;

	let_go(victim);
	rang = false;
	alarm_init(&a, alloc_in_interrupt);
	kmem_cache_free(cache, victim);
	alarm_set(&a, 0);
	while (!__atomic_load_n(&rang, __ATOMIC_ACQUIRE))
		kthread_yield();
	alarm_cancel(&a);
	kmem_cache_free(cache, victim);
	of_interrupt = spare;
	spare = NULL;
	kmem_cache_free(cache, of_interrupt);
}

static const struct misuse rows[] = {
	MISUSE(free_twice_in_a_row, "freed twice in a row", "freed twice", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(free_twice, "freed twice, another between", "freed twice", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(free_twice_in_an_array, "twice in an array", "freed twice", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(free_inside, "a pointer into one", "inside an object", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(free_one_byte_on, "a pointer one byte on", "inside an object", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(free_before, "a pointer before one", "inside an object", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(free_last_byte, "its last byte", "inside an object", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(free_of_another_cache, "another cache's", "belongs to cache other", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(free_of_another_in_an_array, "another cache's, in an array", "belongs to cache other", AT_DRAIN,
		AT_ONCE, AT_ONCE),
	MISUSE(free_of_the_stack, "a variable on the stack", "lies in no slab", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(free_of_data, "a static variable", "lies in no slab", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(free_of_a_number, "a number", "lies in no slab", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(free_of_kmalloc, "memory of kmalloc()", "belongs to cache kmalloc-112", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(free_of_a_page, "a page of an arena", "lies in no slab", AT_DRAIN, AT_ONCE, AT_ONCE),
	MISUSE(kfree_of_an_object, "kfree() of an object", "belongs to cache misuse", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(free_in_a_slab_that_is_gone, "freed, and its slab is gone", "lies in no slab", AT_DRAIN, AT_ONCE,
		AT_ONCE),
	MISUSE(free_twice_around_an_interrupt, "freed twice, an interrupt allocates between", "freed twice", AT_ONCE,
		AT_ONCE, AT_ONCE),
};

const struct misuse_family misuse_objects = {"objects, frees", "cache misuse", "%#lx", true, begin, release,
	NULL, drain, is_broken, end, rows, ARRAY_SIZE(rows)};

/* Wrong writes */

PLANT(write_byte_behind)
{
	misuse_about(victim);
	misuse_write((char *)victim + SIZE, 1, 'x');
}

PLANT(write_byte_before)
{
	misuse_about(victim);
	misuse_write((char *)victim - 1, 1, 'x');
}

PLANT(write_zero_behind)
{
	misuse_about(victim);
	misuse_write((char *)victim + SIZE, 1, 0);
}

PLANT(write_words_behind)
{
	misuse_about(victim);
	misuse_write((char *)victim + SIZE, 16, 'x');
}

PLANT(write_words_before)
{
	misuse_about(victim);
	misuse_write((char *)victim - 16, 16, 'x');
}

static char *freed_victim(void)
{
	let_go(victim);
	kmem_cache_free(cache, victim);
	return victim;
}

PLANT(write_first_byte_of_free)
{
	misuse_write(freed_victim(), 1, 'x');
}

PLANT(write_byte_50_of_free)
{
	misuse_write(freed_victim() + 50, 1, 'x');
}

PLANT(write_last_byte_of_free)
{
	misuse_write(freed_victim() + SIZE - 1, 1, 'x');
}

/* What its zones were filled with when it was allocated, they hold when it is free. */
PLANT(write_behind_free)
{
	misuse_write(freed_victim() + SIZE, 1, 'x');
}

PLANT(write_before_free)
{
	misuse_write(freed_victim() - 1, 1, 'x');
}

/* Where a list of free objects would have its next one: the first word, and one in the middle. */
PLANT(write_pointer_in_free)
{
	misuse_write(freed_victim(), sizeof(void *), 0x10);
}

PLANT(write_pointer_in_the_middle_of_free)
{
	misuse_write(freed_victim() + SIZE / 2 / 8 * 8, sizeof(void *), 0x10);
}

PLANT(write_bit_of_free)
{
	char *p = freed_victim() + 20;

	misuse_write(p, 1, (uint8_t)*p ^ 1);
}

/* One that was never handed out, so its constructor never ran. */
PLANT(use_of_one_not_constructed)
{
	struct kmem_cache_stats s;
	struct kmem_object o;
	char *p = victim;

	kmem_cache_get_stats(cache, &s);
	while (kmem_cache_find(cache, (uintptr_t)p, &o) && !o.is_free)
		p += s.stride;
	misuse_write((char *)misuse_about(p) + 40, 1, 'x');
}

static const struct misuse byte_rows[] = {
	MISUSE(write_byte_behind, "a byte behind an object", "of 100 bytes, was written: 0x78", NEVER, NEVER, AT_FREE),
	MISUSE(write_byte_before, "a byte before it", "memory 1 bytes before", NEVER, NEVER, AT_FREE),
	MISUSE(write_zero_behind, "a zero byte behind it, as of a string", "byte 100 of object", NEVER, NEVER,
		AT_FREE),
	MISUSE(write_words_behind, "two words behind it", "byte 100 of object", NEVER, NEVER, AT_FREE),
	MISUSE(write_words_before, "two words before it", "memory 16 bytes before", NEVER, NEVER, AT_FREE),
	MISUSE(write_first_byte_of_free, "the first byte of a freed one", "byte 0 of free object", NEVER, NEVER,
		AT_ALLOC),
	MISUSE(write_byte_50_of_free, "the 50th byte of a freed one", "byte 50 of free object", NEVER, NEVER, AT_ALLOC),
	MISUSE(write_last_byte_of_free, "the last byte of a freed one", "byte 99 of free object", NEVER, NEVER,
		AT_ALLOC),
	MISUSE(write_bit_of_free, "a bit of a freed one", "byte 20 of free object", NEVER, NEVER, AT_ALLOC),
	MISUSE(write_pointer_in_free, "a pointer at the start of a freed one", "byte 0 of free object", NEVER, NEVER,
		AT_ALLOC),
	MISUSE(write_pointer_in_the_middle_of_free, "a pointer in the middle of a freed one",
		"byte 48 of free object", NEVER, NEVER, AT_ALLOC),
	MISUSE(write_behind_free, "the byte behind a freed one", "byte 100 of", NEVER, NEVER, AT_ALLOC),
	MISUSE(write_before_free, "the byte before a freed one", "memory 1 bytes before", NEVER, NEVER, AT_ALLOC),
	MISUSE(use_of_one_not_constructed, "one that was never allocated", "byte 40 of", NEVER, NEVER, AT_ALLOC),
};

const struct misuse_family misuse_bytes = {"objects, writes", "cache misuse", "%#lx", true, begin,
	release, reuse, drain, is_broken, end, byte_rows, ARRAY_SIZE(byte_rows)};
