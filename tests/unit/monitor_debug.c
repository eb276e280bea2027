/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor's commands for debugging: who, trace, debug, and what whatis and slab say more for it.
 *
 * They hold in every mode: what a mode doesn't note is said in a line.
 */
#include "arenas.h"
#include "kmalloc.h"
#include "kmem_debug.h"
#include "kmem_sample.h"
#include "lib/array.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "lib/test.h"
#include "monitor/monitor_impl.h"
#include "monitor_said.h"

#define FEW 3
#define MANY 40

static void *objects[MANY];

static bool is_full(void)
{
	return kmem_debug_checks() && strcmp(kmem_debug_mode(), "full") == 0;
}

static struct kmem_cache *create(const char *name)
{
	struct kmem_cache *c = kmem_cache_create(name, 64, 0, 0, NULL, NULL, NULL, NULL);

	CHECK(c);
	return c;
}

static void begin_trace(const char *line)
{
	CHECK_EQ(run(line), !is_full());
}

static __attribute__((noinline)) void *alloc_one_of_few(struct kmem_cache *c)
{
	void *object = kmem_cache_alloc(c, MEM_WAIT);

	return object;
}

static __attribute__((noinline)) void *alloc_one_of_many(struct kmem_cache *c)
{
	void *object = kmem_cache_alloc(c, MEM_WAIT);

	return object;
}

/* One call for all, however loops are unrolled. */
static __attribute__((noinline)) void alloc_some(
	void *(*alloc)(struct kmem_cache *c), struct kmem_cache *c, int from, int to)
{
	for (int i = from; i < to; i++)
		objects[i] = alloc(c);
}

TEST("who: users of a cache by backtrace, most units first, the others in one row")
{
	struct kmem_cache *c = create("test-who");

	begin_trace("trace start test-who");
	check_says("who test-who", "nothing of test-who is in use\n");
	alloc_some(alloc_one_of_few, c, 0, FEW);
	alloc_some(alloc_one_of_many, c, FEW, MANY);
	check_says("who -k test-who", "user of=test-who count=37 units=2368 age_ns=");
	CHECK(strstr(said, "\nuser of=test-who count=3 units=192 age_ns=") != NULL);
	CHECK(strstr(said, " frames=alloc_one_of_many+0x") < strstr(said, " frames=alloc_one_of_few+0x"));
	check_says("who test-who", "\n     37    2.3 KiB ");
	CHECK(strstr(said, " alloc_one_of_few+0x") != NULL && fits_in(80));
	check_says("who test-who 1", "\n      3      192 B ");
	CHECK(strstr(said, " 1 others\n") && !strstr(said, "of_few"));
	check_says("who -a test-who 1", " alloc_one_of_few+0x");
	for (int i = 0; i < MANY; i++)
		kmem_cache_free(c, objects[i]);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

static __attribute__((noinline)) void alloc_ids(struct arena *a)
{
	for (int i = 0; i < MANY; i++)
		objects[i] = arena_alloc(a, 2, MEM_WAIT);
}

TEST("who: users of an arena of IDs, whom nothing points to, where frees are looked up")
{
	struct arena *a = arena_create("test-ids", (void *)1, 100, 1, NULL, NULL, NULL, 0, MEM_WAIT);

	alloc_ids(a);
	if (kmem_debug_checks()) {
		check_says("who -k test-ids", "user of=test-ids count=40 units=80 age_ns=");
		CHECK(strstr(said, " frames=alloc_ids+0x") != NULL);
	} else {
		check_refused("who test-ids",
			"who: users aren't noted: boot by scripts/qemu --append kmem_debug=check\n");
	}
	for (int i = 0; i < MANY; i++)
		arena_free(a, objects[i], 2);
	arenas_end(a);
}

static __attribute__((noinline)) void alloc_young_id(struct arena *a, int i)
{
	objects[i] = arena_alloc(a, 2, MEM_WAIT);
	__asm__ volatile(""); /* no tail call */
}

static __attribute__((noinline)) void alloc_old_id(struct arena *a)
{
	objects[MANY - 1] = arena_alloc(a, 1, MEM_WAIT);
	__asm__ volatile(""); /* no tail call */
}

TEST("leaks: IDs, to which no pointer leads, are listed by backtrace, oldest first")
{
	struct arena *a = arena_create("test-ids", (void *)1, 100, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	uint64_t began;

	if (!kmem_debug_checks()) {
		check_refused("leaks -i",
			"leaks: users aren't noted: boot by scripts/qemu --append kmem_debug=check\n");
		arenas_end(a);
		return;
	}
	alloc_old_id(a);
	for (began = port_ns(); port_ns() == began;)
		;
	for (int i = 0; i < MANY - 1; i++)
		alloc_young_id(a, i);
	check_says("leaks -i", "users of test-ids, oldest first:\n");
	CHECK(strstr(said, "users of vaddr, oldest first:\n") && !strstr(said, "users of base,") && fits_in(80));
	check_says("leaks -i -k", "user of=test-ids count=1 units=1 age_ns=");
	CHECK(strstr(strstr(said, " frames=alloc_old_id+0x"), "\nuser of=test-ids count=39 units=78 age_ns="));
	for (int i = 0; i < MANY; i++)
		arena_free(a, objects[i], i == MANY - 1 ? 1 : 2);
	check_says("leaks -i -k", "user of=");
	CHECK(!strstr(said, "of=test-ids"));
	arenas_end(a);
}

TEST("who: what names nothing, or no number, is refused")
{
	check_refused("who nothing", "who: no arena and no cache nothing\n");
	check_refused("who base 0", "who: 0 is not a number of rows above 0\n");
	check_refused("trace nothing", "trace: no cache nothing\n");
	check_refused("trace base", "trace: base is an arena: `arena show base` shows it\n");
	check_refused("trace start nothing", "trace start: no cache nothing\n");
	check_refused("trace start caches",
		"trace start: caches has what caches are made of, which isn't traced\n");
}

TEST("trace: notes from its start on, is reset and stopped")
{
	struct kmem_cache *c = create("test-trace");

	if (is_full()) {
		check_refused("trace start test-trace",
			"trace start: test-trace is in mode full, `who test-trace` shows its users\n");
		check_says("trace -k", "trace name=test-trace by=full ");
		CHECK_EQ(kmem_cache_destroy(c), 0);
		return;
	}
	check_refused("trace test-trace", "trace: test-trace isn't traced: `trace start test-trace` notes users\n");
	check_refused("trace stop test-trace", "trace stop: test-trace isn't traced\n");
	check_refused("trace reset test-trace", "trace reset: test-trace isn't traced\n");
	objects[0] = alloc_one_of_few(c);
	CHECK(run("trace start test-trace"));
	alloc_some(alloc_one_of_few, c, 1, FEW);
	check_says("trace -k test-trace", "user of=test-trace count=2 units=128 ");
	CHECK(strstr(said, "\nuser of=test-trace count=1 units=64 age_ns=0 frames=no_backtrace_is_known\n"));
	check_says("trace", "\ntest-trace                      trace         3        2        -\n");
	CHECK(fits_in(80));
	CHECK(run("trace reset test-trace"));
	check_says("trace test-trace", "\n      3      192 B         - no backtrace is known\n");
	CHECK(run("trace stop test-trace"));
	CHECK(run("trace -k"));
	CHECK(!strstr(said, "test-trace"));
	for (int i = 0; i < FEW; i++)
		kmem_cache_free(c, objects[i]);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

struct offered {
	const char *word;
	bool found;
};

static void note(void *arg, const char *word)
{
	struct offered *o = arg;

	o->found = o->found || strcmp(word, o->word) == 0;
}

static bool offers(const char *line, const char *word)
{
	struct offered o = {word, false};

	command_complete(line, strlen(line), note, &o);
	return o.found;
}

TEST("complete: arenas and caches behind who, caches behind trace and its words")
{
	CHECK(offers("who ", "base") && offers("who ", "kmalloc-64"));
	CHECK(offers("trace ", "start") && offers("trace ", "kmalloc-64") && !offers("trace ", "base"));
	CHECK(offers("trace start ", "kmalloc-64"));
}

/* whatis */

static void whatis(const char *keys, const void *at)
{
	char line[64];

	ksnprintf(line, sizeof(line), "whatis %s %#zx", keys, (size_t)(uintptr_t)at);
	CHECK(run(line));
}

/* Whether a line of what was said begins and goes on so, with anything between. */
static bool has_line(const char *begin, const char *then)
{
	const char *at = said, *end;

	for (; (at = strstr(at, begin)); at = end) {
		const char *found = strstr(at, then);

		end = strchr(at + 1, '\n');
		if (found && found < end)
			return true;
	}
	return false;
}

static __attribute__((noinline)) void free_one(struct kmem_cache *c, void *object)
{
	kmem_cache_free(c, object);
	__asm__ volatile("" ::: "memory"); /* no jump, which would leave no frame */
}

TEST("whatis: an object's allocation and its free, in mode full; a traced one's alone")
{
	struct kmem_cache *c = kmem_cache_create("test-what", 40, 0, KMC_FULL, NULL, NULL, NULL, NULL);
	struct kmem_cache *traced = create("test-traced");
	void *object = alloc_one_of_few(c), *other;

	whatis("-k", (char *)object + 39);
	CHECK(has_line("\nevent what=alloc object=", " frames=alloc_one_of_few+0x"));
	CHECK(strstr(said, " size=40 ") && !strstr(said, "what=free"));
	whatis("", object);
	CHECK(strstr(said, " of 40 bytes is allocated\nallocated ") && strstr(said, " alloc_one_of_few+0x"));
	CHECK(fits_in(80));
	free_one(c, object);
	whatis("-k", object);
	CHECK(has_line("\nevent what=free object=", " frames=free_one"));
	CHECK(has_line("\nevent what=alloc object=", " frames=alloc_one_of_few+0x"));
	begin_trace("trace start test-traced");
	other = alloc_one_of_many(traced);
	whatis("-k", other);
	CHECK(has_line("\nevent what=alloc object=", " frames=alloc_one_of_many+0x"));
	free_one(traced, other);
	CHECK_EQ(kmem_cache_destroy(traced), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

static __attribute__((noinline)) void *alloc_large(size_t size)
{
	void *p = kmalloc(size, MEM_WAIT);

	return p;
}

TEST("whatis: where a segment was allocated, if noted: pages, IDs, a large kmalloc")
{
	struct arena *a = arena_create("test-ids", (void *)7777, 10, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	void *p = alloc_large(20 * PORT_PAGE_SIZE), *id = arena_alloc(a, 3, MEM_WAIT);

	whatis("-k", (char *)p + 5 * PORT_PAGE_SIZE);
	CHECK_EQ(has_line("\nallocation arena=kpages start=", ",alloc_large"), kmem_debug_checks());
	whatis("", p);
	CHECK_EQ(strstr(said, "\nallocated from kpages ") != NULL, kmem_debug_checks());
	CHECK(fits_in(80));
	whatis("-k", (char *)id + 2);
	CHECK_EQ(has_line("\nallocation arena=test-ids start=", " size=3 age_ns="), kmem_debug_checks());
	arena_free(a, id, 3);
	kfree(p);
	arenas_end(a);
}

/* slab NAME */

static uint64_t number(const char *object, const char *key)
{
	const char *line = strstr(said, object), *at = line ? strstr(line, key) : NULL;
	uint64_t value = 0;

	CHECK(at != NULL);
	for (at += strlen(key); *at >= '0' && *at <= '9'; at++)
		value = 10 * value + (uint64_t)(*at - '0');
	return value;
}

TEST("slab: of one cache slabs by how much is free, layout, mode, and what is closed")
{
	static void *all[200];
	struct kmem_cache *c = kmem_cache_create("test-depth", 500, 0, KMC_FULL, NULL, NULL, NULL, NULL);
	struct kmem_cache_stats s;
	size_t n = 0;

	kmem_cache_get_stats(c, &s);
	for (; n < 4 * s.slab_objects; n++)
		all[n] = kmem_cache_alloc(c, MEM_WAIT);
	check_says("slab -k test-depth", "\nslabs name=test-depth mode=full full=4 quarter=0 half=0 ");
	CHECK_EQ(number("cache name=test-depth", " tracked="), n);
	CHECK_EQ(number("cache name=test-depth", " slabs="), 4);
	CHECK_EQ(number("cache name=test-depth", " lead="), s.lead);
	CHECK_LE(n * 32, number("cache name=test-depth", " zones="));
	check_says("slab test-depth", "cache test-depth, source kpages\nmemory; slabs found by ");
	CHECK(strstr(said, "\ndebug mode full, magazines closed\n") && fits_in(80));
	while (n > 0)
		kmem_cache_free(c, all[--n]);
	check_says("slab -k test-depth", "cache name=test-depth ");
	CHECK_LE(1, number("cache name=test-depth", " quarantined="));
	kmem_cache_reap(c, KMEM_REAP_ALL);
	check_says("slab -k test-depth", " mode=full full=0 quarter=0 half=0 three_quarters=0 more=0 all=0\n");
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("slab: slabs partly free are counted by quarters, those of magazines as used")
{
	static void *all[200];
	struct kmem_cache *c = create("test-quarters");
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	CHECK_LE(s.slab_objects, ARRAY_SIZE(all));
	for (size_t i = 0; i < s.slab_objects; i++)
		all[i] = kmem_cache_alloc(c, MEM_WAIT);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	check_says("slab -k test-quarters", " full=1 quarter=0 half=0 three_quarters=0 more=0 all=0\n");
	for (size_t i = 0; i < s.slab_objects; i++) {
		kmem_cache_free(c, all[i]);
		kmem_cache_reap(c, KMEM_REAP_ALL);
		if (i == s.slab_objects / 2 - 2)
			check_says("slab -k test-quarters", " half=1 three_quarters=0 more=0 all=0\n");
		if (i == s.slab_objects - 2)
			check_says("slab -k test-quarters", " three_quarters=0 more=1 all=0\n");
	}
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* debug */

TEST("debug: the mode, what is known and its bytes, and the caches that are closed")
{
	struct kmem_cache *c = kmem_cache_create("test-closed", 64, 0, KMC_FULL, NULL, NULL, NULL, NULL);
	struct kmem_cache *traced = create("test-traced");
	void *object = kmem_cache_alloc(c, MEM_WAIT);
	char mode[160];

	ksnprintf(mode, sizeof(mode), "debug mode=%s closed=", kmem_debug_mode());
	check_says("debug -k", mode);
	CHECK_LE(1, number("debug mode=", " full="));
	CHECK_LE(1, number("debug mode=", " tracked="));
	CHECK_LE(PORT_PAGE_SIZE, number("debug mode=", " bytes="));
	CHECK_LE(32, number("debug mode=", " zones="));
	CHECK(strstr(said, "\nclosed name=test-closed mode=full live=1 tracked=1 quarantined=0 zones="));
	begin_trace("trace start test-traced");
	CHECK(run("debug -a"));
	CHECK(has_line("\ntest-traced", is_full() ? " full " : kmem_debug_checks() ? " check, trace " : " trace "));
	CHECK(has_line("\ntest-closed", " full ") && fits_in(80));
	check_says("debug", "\nclosed cache ");
	kmem_cache_free(c, object);
	CHECK_EQ(kmem_cache_destroy(traced), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* debug sample */

TEST("debug: samples are turned on and off; debug, slab, whatis and who show them")
{
	struct kmem_cache *c = create("test-sampled");
	uint64_t before = kmem_sample();
	char line[64], says[160];
	char *p;

	check_says("debug sample 1", "");
	p = kmem_cache_alloc(c, MEM_ATOMIC);
	check_says("debug -k", " sample=1 sample_live=");
	CHECK_LE(1, number("debug mode=", " sample_live="));
	CHECK_LE(1, number("debug mode=", " sample_taken="));
	CHECK_LE(64 * PORT_PAGE_SIZE / 4, number("debug mode=", " sample_bytes="));
	check_says("debug sample 0", "");
	check_says("slab -k test-sampled", " samples=1\n");
	CHECK_EQ(number("cache name=test-sampled", " live="), 1);
	ksnprintf(line, sizeof(line), "whatis -k %#zx", (size_t)p + 5);
	ksnprintf(says, sizeof(says), "\nsample cache=test-sampled start=%#zx size=64 live=1 guard=0\nevent what=alloc ",
		(size_t)p);
	check_says(line, says);
	ksnprintf(line, sizeof(line), "whatis %#zx", ((size_t)p & -PORT_PAGE_SIZE) - 1);
	check_says(line, "\nguard page beside a sample of cache test-sampled\n");
	CHECK(fits_in(80));
	begin_trace("trace start test-sampled");
	check_says("who -k test-sampled", "user of=test-sampled count=1 units=64 ");
	kmem_cache_free(c, p);
	ksnprintf(line, sizeof(line), "whatis %#zx", (size_t)p);
	check_says(line, "\npage of a sample of cache test-sampled\n");
	CHECK(strstr(said, " of 64 bytes is free\n") && strstr(said, "\nfreed 0."));
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(kmem_sample_set(before), 0);
}

TEST("debug: what is no number of allocations to a sample is refused")
{
	check_refused("debug sample x", "debug sample: x is not a number of allocations\n");
	check_refused("debug sample", "debug sample: too few words, usage: debug sample N\n");
}
