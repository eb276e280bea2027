/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What slab caches do, line by line.
 */
#include "arena/arena_impl.h"
#include "kmalloc.h"
#include "lib/array.h"
#include "lib/string.h"
#include "table.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"
#include "modes.h"

#define MANY 1000

static struct kmem_cache *make(size_t size)
{
	struct kmem_cache *c = kmem_cache_create("test", size, 0, 0, NULL, NULL, NULL, NULL);

	CHECK(c);
	return c;
}

static struct kmem_cache_stats stats(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	return s;
}

static void destroy(struct kmem_cache *c)
{
	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("slab: objects don't overlap and are aligned")
{
	static const size_t sizes[] = {1, 8, 24, 64, 100, 256, 1000, 1024, 4096, 5000, 20000};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct kmem_cache *c = make(sizes[i]);
		static char *objects[200];

		for (size_t n = 0; n < ARRAY_SIZE(objects); n++) {
			objects[n] = kmem_cache_alloc(c, MEM_ATOMIC);
			CHECK(objects[n]);
			CHECK_EQ((uintptr_t)objects[n] % 8, 0);
			memset(objects[n], (int)n, sizes[i]);
		}
		for (size_t n = 0; n < ARRAY_SIZE(objects); n++) {
			for (size_t b = 0; b < sizes[i]; b++)
				CHECK_EQ((unsigned char)objects[n][b], (unsigned char)n);
			kmem_cache_free(c, objects[n]);
		}
		destroy(c);
	}
}

TEST("slab: an allocation and a free in turn stay on the hot path")
{
	if (!modes_leave_fronts())
		return;
	struct kmem_cache *c = make(64);
	struct kmem_cache_stats before, after;

	kmem_cache_free(c, kmem_cache_alloc(c, MEM_ATOMIC));
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
	before = stats(c);
	for (int i = 0; i < MANY; i++)
		kmem_cache_free(c, kmem_cache_alloc(c, i % 2 ? MEM_ATOMIC : MEM_ERROR));
	after = stats(c);
	CHECK_EQ(after.allocs - before.allocs, MANY);
	CHECK_EQ(after.frees - before.frees, MANY);
	CHECK_EQ(after.alloc_misses, before.alloc_misses);
	CHECK_EQ(after.free_misses, before.free_misses);
	CHECK_EQ(after.live, 0);
	destroy(c);
}

static void *held[MANY];

static void take_all(struct kmem_cache *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		CHECK((held[i] = kmem_cache_alloc(c, MEM_ATOMIC)));
}

static void give_all(struct kmem_cache *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		kmem_cache_free(c, held[i]);
}

TEST("slab: a cache with live objects refuses to be destroyed and goes on")
{
	if (!modes_leave_fronts())
		return;
	struct kmem_cache *c = make(100);
	uint64_t misses;

	take_all(c, 100);
	give_all(c, 50);
	CHECK_EQ(kmem_cache_destroy(c), -EBUSY);
	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	for (size_t i = 0; i < 50; i++)
		CHECK((held[i] = kmem_cache_alloc(c, MEM_ATOMIC)));
	CHECK_EQ(stats(c).live, 100);
	misses = stats(c).alloc_misses + stats(c).free_misses;
	for (size_t i = 0; i < MANY; i++)
		kmem_cache_free(c, kmem_cache_alloc(c, MEM_ATOMIC));
	CHECK_LE(stats(c).alloc_misses + stats(c).free_misses, misses + 2);
	give_all(c, 100);
	destroy(c);
}

TEST("slab: after a hard reap a cache without live objects holds no slab")
{
	struct kmem_cache *c = make(64);

	take_all(c, MANY);
	give_all(c, MANY);
	CHECK_LT(0, stats(c).slabs);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_EQ(stats(c).slabs, 0);
	CHECK_EQ(stats(c).out, 0);
	destroy(c);
}

TEST("slab: a double free is named when the slab layer sees it")
{
	struct kmem_cache *c = make(64);
	void *p = kmem_cache_alloc(c, MEM_ATOMIC);

	kmem_cache_free(c, p);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_PANICS((kmem_cache_free(c, p), kmem_cache_reap(c, KMEM_REAP_ALL)), "cache test: free of");
	destroy(c);
}

TEST("slab: what comes back with a mistake is taken all the same, and found again once")
{
	struct kmem_cache *c = make(64);
	char *objects[40];

	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		objects[i] = kmem_cache_alloc(c, MEM_ATOMIC);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_EQ(stats(c).out, ARRAY_SIZE(objects));
	objects[7] += 8;
	CHECK_PANICS((kmem_cache_free_bulk(c, (void **)objects, 14), kmem_cache_reap(c, KMEM_REAP_ALL)),
		"inside an object");
	CHECK_EQ(stats(c).out, ARRAY_SIZE(objects) - 13);
	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	kmem_cache_free(c, objects[7] - 8);
	kmem_cache_free_bulk(c, (void **)objects + 14, ARRAY_SIZE(objects) - 14);
	destroy(c);
}

TEST("slab: a free to the wrong cache, inside an object, or of no object, is named")
{
	struct kmem_cache *c = make(64), *other = make(64);
	char *p = kmem_cache_alloc(other, MEM_ATOMIC), *q = kmem_cache_alloc(c, MEM_ATOMIC);

	CHECK_PANICS((kmem_cache_free(c, p), kmem_cache_reap(c, KMEM_REAP_ALL)), "belongs to cache test");
	CHECK_PANICS((kmem_cache_free(c, q + 8), kmem_cache_reap(c, KMEM_REAP_ALL)), "inside an object");
	CHECK_PANICS((kmem_cache_free(c, (void *)8), kmem_cache_reap(c, KMEM_REAP_ALL)), "lies in no slab");
	kmem_cache_free(c, q);
	kmem_cache_free(other, p);
	destroy(c);
	destroy(other);
}

TEST("slab: flags are one memory flag, and MEM_WAIT needs interrupts on")
{
	struct kmem_cache *c = make(64);
	port_irq_t irq;

	CHECK_PANICS(kmem_cache_alloc(c, 0), "not exactly one memory flag");
	CHECK_PANICS(kmem_cache_alloc(c, MEM_ATOMIC | MEM_WAIT), "not exactly one memory flag");
	CHECK_PANICS(kmalloc(8, 0), "not exactly one memory flag");
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
	irq = port_irq_save();
	CHECK_PANICS(kmem_cache_alloc(c, MEM_WAIT), "can't sleep");
	port_irq_restore(irq);
	destroy(c);
}

#if SPANDREL_DEBUG
TEST("slab: MEM_WAIT under arenas_and_slabs_lock is reported, however little it takes")
{
	struct kmem_cache *c = make(64);
	void *p[2];

	kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
	kfree(kmalloc(64, MEM_WAIT));
	qlock_lock(&arenas_and_slabs_lock);
	CHECK_PANICS(kmem_cache_alloc(c, MEM_WAIT), "under arenas_and_slabs_lock");
	CHECK_PANICS(kmem_cache_alloc_bulk(c, p, 2, MEM_WAIT), "under arenas_and_slabs_lock");
	CHECK_PANICS(kmem_cache_reserve(c, 1, MEM_WAIT), "under arenas_and_slabs_lock");
	CHECK_PANICS(kmalloc(64, MEM_WAIT), "under arenas_and_slabs_lock");
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_ATOMIC));
	qlock_unlock(&arenas_and_slabs_lock);
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
	destroy(c);
}
#endif

TEST("slab: a cache can't be created with nonsense")
{
	CHECK_PANICS(kmem_cache_create("bad", 0, 0, 0, NULL, NULL, NULL, NULL), "size 0");
	CHECK_PANICS(kmem_cache_create("bad", 8, 3, 0, NULL, NULL, NULL, NULL), "power of two");
	CHECK_PANICS(kmem_cache_create("bad", 8, 2 * PORT_PAGE_SIZE, 0, NULL, NULL, NULL, NULL), "can't meet");
	CHECK_PANICS(kmem_cache_create("bad", 8, 0, 1u << 30, NULL, NULL, NULL, NULL), "unknown flag");
	CHECK_PANICS(kmem_cache_create("bad", SIZE_MAX, 0, 0, NULL, NULL, NULL, NULL), "larger than");
	CHECK_PANICS(kmem_cache_create("bad", KMEM_SIZE_MAX + 1, 0, 0, NULL, NULL, NULL, NULL), "larger than");
}

TEST("slab: objects as large as can be are a NULL where there is no room for one")
{
	struct arena *ids = arena_create("ids", (void *)1, 1000, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct kmem_cache *c = make(KMEM_SIZE_MAX);
	struct kmem_cache *of_ids = kmem_cache_create("test", KMEM_SIZE_MAX, 0, 0, ids, NULL, NULL, NULL);

	CHECK_EQ((uintptr_t)kmem_cache_alloc(c, MEM_ATOMIC), 0);
	CHECK_EQ((uintptr_t)kmem_cache_alloc(of_ids, MEM_ATOMIC), 0);
	destroy(c);
	destroy(of_ids);
	CHECK_EQ(arena_destroy(ids), 0);
}

/* Objects that count how often they were made and unmade. */
struct counted {
	size_t made, unmade, fail_after;
};

#define MADE 0x11223344u

static int counted_ctor(void *object, void *priv, unsigned flags)
{
	struct counted *n = priv;

	if (n->fail_after && n->made - n->unmade >= n->fail_after)
		return -ENOMEM;
	n->made++;
	*(uint32_t *)object = MADE;
	return 0;
}

static void counted_dtor(void *object, void *priv)
{
	struct counted *n = priv;

	CHECK_EQ(*(uint32_t *)object, MADE);
	*(uint32_t *)object = 0;
	n->unmade++;
}

static struct kmem_cache *make_counted(struct counted *n)
{
	struct kmem_cache *c =
		kmem_cache_create("counted", 40, 0, 0, NULL, counted_ctor, counted_dtor, n);

	CHECK(c);
	return c;
}

TEST("slab: every object handed out is constructed, and destructed once, going back")
{
	struct counted n = {0, 0, 0};
	struct kmem_cache *c = make_counted(&n);

	for (int round = 0; round < 3; round++) {
		take_all(c, MANY);
		for (size_t i = 0; i < MANY; i++)
			CHECK_EQ(*(uint32_t *)held[i], MADE);
		CHECK_LE(MANY, n.made - n.unmade);
		give_all(c, MANY);
		kmem_cache_reap(c, KMEM_REAP_ALL);
		CHECK_EQ(n.made, n.unmade);
	}
	destroy(c);
}

TEST("slab: what isn't an object is named before a destructor sees it")
{
	struct counted n = {0, 0, 0};
	struct kmem_cache *c = make_counted(&n);
	char *p = kmem_cache_alloc(c, MEM_ATOMIC);
	size_t unmade;

	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_EQ(n.made - n.unmade, 1);
	unmade = n.unmade;
	CHECK_PANICS((kmem_cache_free(c, p + 8), kmem_cache_reap(c, KMEM_REAP_ALL)), "inside an object");
	CHECK_PANICS((kmem_cache_free(c, &n), kmem_cache_reap(c, KMEM_REAP_ALL)), "lies in no slab");
	CHECK_EQ(n.unmade, unmade);
	kmem_cache_free(c, p);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_PANICS((kmem_cache_free(c, p), kmem_cache_reap(c, KMEM_REAP_ALL)), "free of");
	CHECK_EQ(n.unmade, unmade + 1);
	destroy(c);
}

TEST("slab: a constructor that fails is a failed allocation, and a bug under MEM_WAIT")
{
	struct counted n = {0, 0, 100};
	struct kmem_cache *c = make_counted(&n);

	take_all(c, 100);
	CHECK_EQ((uintptr_t)kmem_cache_alloc(c, MEM_ATOMIC), 0);
	CHECK_LT(0, stats(c).ctor_failures);
	CHECK_PANICS(kmem_cache_alloc(c, MEM_WAIT), "constructor failed");
	give_all(c, 100);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_EQ(n.made, n.unmade);
	destroy(c);
}

/* How many objects were constructed under MEM_ERROR, and under others. */
struct flagged {
	size_t wanted, others;
};

static int flagged_ctor(void *object, void *priv, unsigned flags)
{
	struct flagged *f = priv;

	if (flags == MEM_ERROR)
		f->wanted++;
	else if (flags == MEM_ATOMIC)
		f->others++;
	return 0;
}

TEST("slab: only those that are wanted are constructed by the caller's flags")
{
	if (!modes_leave_fronts())
		return;
	struct flagged f = {0, 0};
	struct kmem_cache *c = kmem_cache_create("flagged", 64, 0, 0, NULL, flagged_ctor, NULL, &f);
	size_t wanted;

	/* From then on there is a magazine for more than what is asked for. */
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_ERROR));
	CHECK_EQ(f.wanted + f.others, 1);
	for (size_t i = 0; i < 40; i++)
		CHECK((held[i] = kmem_cache_alloc(c, MEM_ERROR)));
	CHECK_LT(0, f.others);
	CHECK_LE(f.wanted, stats(c).alloc_misses);
	CHECK_LE(40, f.wanted + f.others);
	wanted = f.wanted;
	CHECK_EQ(kmem_cache_alloc_bulk(c, held + 40, MANY - 40, MEM_ERROR), MANY - 40);
	CHECK_LE(f.wanted - wanted, MANY - 40);
	CHECK_LE(MANY, f.wanted + f.others);
	give_all(c, MANY);
	destroy(c);
}

TEST("slab: a soft reap leaves the magazines that were needed since the last one")
{
	if (!modes_leave_fronts())
		return;
	struct kmem_cache *c = make(64);
	uint64_t all, least;

	take_all(c, MANY);
	give_all(c, MANY);
	all = stats(c).depot_full;
	kmem_cache_reap(c, KMEM_REAP_IDLE);
	CHECK_EQ(stats(c).depot_full, all);
	take_all(c, MANY / 2);
	least = stats(c).depot_full;
	CHECK(0 < least && least < all);
	give_all(c, MANY / 2);
	CHECK_EQ(stats(c).depot_full, all);
	kmem_cache_reap(c, KMEM_REAP_IDLE);
	CHECK_EQ(stats(c).depot_full, all - least);
	kmem_cache_reap(c, KMEM_REAP_IDLE);
	CHECK_EQ(stats(c).depot_full, 0);
	destroy(c);
}

/* Of two slabs one keeps a single object, the other all but one. */
TEST("slab: objects come from the fullest slab, so that others become empty")
{
	struct kmem_cache *c = make(256);
	size_t each = stats(c).slab_objects;
	struct kmem_object where;
	uintptr_t fuller;

	CHECK_EQ(kmem_cache_alloc_bulk(c, held, 2 * each, MEM_ATOMIC), 2 * each);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_EQ(stats(c).slabs, 2);
	CHECK(kmem_cache_find(c, (uintptr_t)held[0], &where));
	fuller = where.slab;
	kmem_cache_free(c, held[0]);
	kmem_cache_free_bulk(c, held + each, each - 1);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_EQ(stats(c).slabs, 2);
	CHECK_EQ(kmem_cache_alloc_bulk(c, held, 1, MEM_ATOMIC), 1);
	CHECK(kmem_cache_find(c, (uintptr_t)held[0], &where));
	CHECK_EQ(where.slab, fuller);
	kmem_cache_free(c, held[2 * each - 1]);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_EQ(stats(c).slabs, 1);
	kmem_cache_free_bulk(c, held, each);
	destroy(c);
}

TEST("slab: bulk forms hand out each object once")
{
	struct kmem_cache *c = make(48);

	for (size_t n = 1; n <= MANY; n = n * 3 + 1) {
		CHECK_EQ(kmem_cache_alloc_bulk(c, held, n, MEM_ATOMIC), n);
		for (size_t i = 0; i < n; i++)
			memset(held[i], 0, 48);
		for (size_t i = 0; i < n; i++) {
			CHECK_EQ(*(uint64_t *)held[i], 0);
			*(uint64_t *)held[i] = 1;
		}
		kmem_cache_free_bulk(c, held, n);
	}
	CHECK_EQ(stats(c).live, 0);
	destroy(c);
}

TEST("slab: zeroed objects are zero")
{
	struct kmem_cache *c = make(72);
	char *p = kmem_cache_alloc(c, MEM_ATOMIC);

	memset(p, 1, 72);
	kmem_cache_free(c, p);
	p = kmem_cache_zalloc(c, MEM_ATOMIC);
	for (int i = 0; i < 72; i++)
		CHECK_EQ(p[i], 0);
	kmem_cache_free(c, p);
	destroy(c);
}

TEST("slab: a reserve is kept through a hard reap")
{
	struct kmem_cache *c = make(256);
	uint64_t grows;

	CHECK_EQ(kmem_cache_reserve(c, 500, MEM_ATOMIC), 0);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_LE(500, stats(c).objects);
	grows = stats(c).grows;
	take_all(c, 500);
	CHECK_EQ(stats(c).grows, grows);
	give_all(c, 500);
	CHECK_EQ(kmem_cache_reserve(c, 0, MEM_ATOMIC), 0);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_EQ(stats(c).slabs, 0);
	destroy(c);
}

TEST("slab: a reserve that can't be had leaves the source what it had")
{
	const size_t size = 64 * PORT_PAGE_SIZE;
	void *memory = arena_alloc(kpages_arena, size, MEM_WAIT);
	struct arena *a = arena_create("small", memory, size, PORT_PAGE_SIZE, NULL, NULL, NULL, 0, MEM_WAIT);
	struct kmem_cache *c = kmem_cache_create("test", 256, 0, 0, a, NULL, NULL, NULL);

	CHECK_EQ(kmem_cache_reserve(c, SIZE_MAX, MEM_ATOMIC), -ENOMEM);
	CHECK_LE(size / 2, arena_amt_free(a));
	CHECK_EQ(kmem_cache_reserve(c, 100, MEM_ATOMIC), 0);
	CHECK_EQ(kmem_cache_reserve(c, SIZE_MAX, MEM_ERROR), -ENOMEM);
	CHECK_LE(size / 2, arena_amt_free(a));
	destroy(c);
	CHECK_EQ(arena_destroy(a), 0);
	arena_free(kpages_arena, memory, size);
}

TEST("slab: a reserve beyond all memory is refused, and what was reserved stays")
{
	struct kmem_cache *c = make(256);
	uint64_t grows;

	CHECK_EQ(kmem_cache_reserve(c, 300, MEM_ATOMIC), 0);
	grows = stats(c).grows;
	CHECK_EQ(kmem_cache_reserve(c, SIZE_MAX, MEM_ATOMIC), -ENOMEM);
	CHECK_EQ(kmem_cache_reserve(c, (size_t)1 << 63, MEM_ERROR), -ENOMEM);
	CHECK_EQ(kmem_cache_reserve(c, (size_t)1 << 45, MEM_ERROR), -ENOMEM);
	CHECK_PANICS(kmem_cache_reserve(c, SIZE_MAX, MEM_WAIT), "a reserve of 18446744073709551615 by MEM_WAIT");
	CHECK_EQ(stats(c).grows, grows);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_LE(300, stats(c).objects);
	CHECK_EQ(kmem_cache_reserve(c, 0, MEM_ATOMIC), 0);
	destroy(c);
}

static size_t asked;

static size_t note_asked(void *priv, size_t bytes)
{
	asked++;
	return 0;
}

TEST("slab: the owner is asked first when a cache gives back")
{
	struct kmem_cache *c = make(64);

	asked = 0;
	kmem_cache_set_reclaim(c, note_asked, NULL);
	kmem_cache_reap(c, KMEM_REAP_IDLE);
	CHECK_EQ(asked, 1);
	destroy(c);
}

TEST("slab: integers that aren't memory come from a cache too, whatever their quantum")
{
	static const size_t quanta[] = {1, 3, 7, 16};

	for (size_t q = 0; q < ARRAY_SIZE(quanta); q++) {
		size_t quantum = quanta[q];
		struct arena *ids = arena_create("ids", (void *)(quantum * 10), quantum * 2000, quantum,
			NULL, NULL, NULL, 0, MEM_WAIT);
		struct kmem_cache *c = kmem_cache_create(
			"ids", quantum, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
		static bool seen[2010];

		memset(seen, 0, sizeof(seen));
		take_all(c, MANY);
		for (size_t i = 0; i < MANY; i++) {
			size_t id = (uintptr_t)held[i] / quantum;

			CHECK_EQ((uintptr_t)held[i] % quantum, 0);
			CHECK(id >= 10 && id < 2010 && !seen[id]);
			seen[id] = true;
		}
		CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
		give_all(c, MANY);
		destroy(c);
		CHECK_EQ(arena_destroy(ids), 0);
	}
}

TEST("slab: what must not be touched, or a constructor readies, can't be zeroed")
{
	struct counted n = {0, 0, 0};
	struct kmem_cache *counted = make_counted(&n);
	struct kmem_cache *c =
		kmem_cache_create("test", 64, 0, KMC_NOTOUCH, NULL, NULL, NULL, NULL);

	CHECK_PANICS(kmem_cache_zalloc(c, MEM_ATOMIC), "aren't memory");
	CHECK_PANICS(kmem_cache_zalloc(counted, MEM_ATOMIC), "constructor readies");
	destroy(c);
	destroy(counted);
}

TEST("slab: an address is found in its cache, slab and object")
{
	if (!modes_leave_layout())
		return;
	struct kmem_cache *c = make(100);
	struct kmem_object where;
	char *p = kmem_cache_alloc(c, MEM_ATOMIC);

	CHECK(kmem_cache_find(c, (uintptr_t)p + 99, &where));
	CHECK_EQ(where.object, (uintptr_t)p);
	CHECK(!where.is_free);
	CHECK(kmem_cache_find(c, where.slab + stats(c).slab_size - 1, &where));
	CHECK_EQ(where.object, 0);
	CHECK(!kmem_cache_find(c, (uintptr_t)&where, &where));
	kmem_cache_free(c, p);
	destroy(c);
}

TEST("slab: statistics add up, in rows behind their arenas")
{
	if (!modes_leave_layout())
		return;
	static struct kmem_cache_stats rows[128];
	struct kmem_cache *c = make(64);
	size_t n, found = 0;

	take_all(c, 10);
	n = kmem_cache_rows(rows, ARRAY_SIZE(rows));
	CHECK_LE(n, ARRAY_SIZE(rows));
	for (size_t i = 0; i < n; i++)
		if (rows[i].cache == c) {
			found++;
			CHECK_EQ(rows[i].live, 10);
			CHECK_EQ(rows[i].used, 640);
			CHECK_STR(rows[i].source_name, "kpages");
		}
	CHECK_EQ(found, 1);
	CHECK_EQ(kmem_cache_rows(NULL, 0), n);
	give_all(c, 10);
	destroy(c);
}

/* A source whose nth span from now on can't be had. */
static size_t spans_until_none;

static void *failing_alloc(struct arena *source, size_t size, unsigned flags)
{
	if (spans_until_none > 0 && --spans_until_none == 0)
		return NULL;
	return arena_alloc(source, size, flags);
}

TEST("slab: whichever span of the source fails, nothing is lost")
{
	struct arena *a = arena_create("failing", NULL, 0, PORT_PAGE_SIZE, failing_alloc, arena_free,
		kpages_arena, 0, MEM_WAIT);
	bool clean = false;

	for (size_t nth = 1; !clean; nth++) {
		struct kmem_cache *c =
			kmem_cache_create("failing", 500, 0, 0, a, NULL, NULL, NULL);
		size_t got = 0;

		spans_until_none = nth;
		while (got < 200 && (held[got] = kmem_cache_alloc(c, MEM_ATOMIC)))
			memset(held[got++], (int)nth, 500);
		clean = got == 200;
		CHECK(clean || stats(c).failures == 1);
		spans_until_none = 0;
		CHECK((held[got] = kmem_cache_alloc(c, MEM_ATOMIC)));
		give_all(c, got + 1);
		destroy(c);
	}
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("slab: a slab wastes a sixteenth at most, one of large objects an eighth")
{
	if (!modes_leave_layout())
		return;
	for (size_t size = 8; size <= 20000; size += size / 3 + 5) {
		struct kmem_cache *c = make(size);
		struct kmem_cache_stats s = stats(c);

		CHECK_LE((s.slab_size - s.slab_objects * s.stride) * (size < PORT_PAGE_SIZE ? 16 : 8), s.slab_size);
		CHECK_EQ(s.stride, (size + 7) / 8 * 8);
		destroy(c);
	}
}

/* What it hands out is no RAM, though what it takes is. */
#define ELSEWHERE ((uintptr_t)1 << 45)

static void *alloc_elsewhere(struct arena *source, size_t size, unsigned flags)
{
	void *p = arena_alloc(source, size, flags);

	return p ? (void *)((uintptr_t)p ^ ELSEWHERE) : NULL;
}

static void free_elsewhere(struct arena *source, void *p, size_t size)
{
	arena_free(source, (void *)((uintptr_t)p ^ ELSEWHERE), size);
}

TEST("slab: objects of a source that translates are no RAM, and found all the same")
{
	struct arena *a = arena_create("elsewhere", NULL, 0, PORT_PAGE_SIZE, alloc_elsewhere, free_elsewhere,
		kpages_arena, 0, MEM_WAIT);
	struct kmem_cache *c = kmem_cache_create("test", 512, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
	struct kmem_object where;

	CHECK(!stats(c).is_frames);
	take_all(c, MANY);
	for (size_t i = 0; i < MANY; i++) {
		CHECK(kmem_cache_find(c, (uintptr_t)held[i] + 511, &where));
		CHECK_EQ(where.object, (uintptr_t)held[i]);
	}
	give_all(c, MANY);
	destroy(c);
	CHECK_EQ(arena_destroy(a), 0);
}

TEST("slab: memory of another base arena serves, wherever it lies")
{
	static char memory[64 * PORT_PAGE_SIZE] __attribute__((aligned(PORT_PAGE_SIZE)));
	struct arena *a = arena_create_base("apart", memory, sizeof(memory));
	struct kmem_cache *c = kmem_cache_create("test", 256, 0, 0, a, NULL, NULL, NULL);
	struct kmem_object where;

	for (size_t i = 0; i < 200; i++) {
		CHECK((held[i] = kmem_cache_alloc(c, MEM_ATOMIC)));
		CHECK(kmem_cache_find(c, (uintptr_t)held[i], &where));
	}
	give_all(c, 200);
	destroy(c);
	CHECK_EQ(arena_destroy(a), 0);
}

/* One slab more and the table takes its first page. */
TEST("slab: a table that would grow for a slab that can't be had takes nothing")
{
	struct arena *ids = arena_create("ids", (void *)64, 64 * 16, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct kmem_cache *c = kmem_cache_create("test", 1, 0, 0, ids, NULL, NULL, NULL);
	static void *objects[64 * 16];
	size_t before;

	CHECK_EQ(stats(c).slab_size, 64);
	CHECK_EQ(kmem_cache_alloc_bulk(c, objects, ARRAY_SIZE(objects), MEM_ATOMIC), ARRAY_SIZE(objects));
	CHECK_EQ(stats(c).hash_buckets, 16);
	/* The first time it may take a slab of headers, which stays. */
	CHECK_EQ((uintptr_t)kmem_cache_alloc(c, MEM_ATOMIC), 0);
	before = arena_amt_free(base_arena);
	CHECK_EQ((uintptr_t)kmem_cache_alloc(c, MEM_ATOMIC), 0);
	CHECK_EQ(arena_amt_free(base_arena), before);
	kmem_cache_free_bulk(c, objects, ARRAY_SIZE(objects));
	destroy(c);
	CHECK_EQ(arena_destroy(ids), 0);
}

TEST("slab: a table grows with its slabs, and a reap makes it as small as they need")
{
	size_t n = 64 * 2000, rest = 64 * 100;
	struct arena *ids = arena_create("ids", (void *)64, n, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct kmem_cache *c = kmem_cache_create("test", 1, 0, 0, ids, NULL, NULL, NULL);
	void **objects = kmalloc(n * sizeof(*objects), MEM_WAIT);

	CHECK_EQ(kmem_cache_alloc_bulk(c, objects, n, MEM_ATOMIC), n);
	CHECK_LE(1990, stats(c).hash_buckets);
	kmem_cache_free_bulk(c, objects + rest, n - rest);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_LE(stats(c).hash_buckets, 100);
	kmem_cache_free_bulk(c, objects, rest);
	kmem_cache_reap(c, KMEM_REAP_ALL);
	CHECK_EQ(stats(c).hash_buckets, 16);
	kfree(objects);
	destroy(c);
	CHECK_EQ(arena_destroy(ids), 0);
}

TEST("slab: memory that runs out is a NULL, and all of it comes back")
{
	struct kmem_cache *c = make(PORT_PAGE_SIZE);
	struct page {
		struct page *next;
	} *pages = NULL, *p;
	size_t n = 0, again = 0;

	for (; (p = kmem_cache_alloc(c, MEM_ATOMIC)); pages = p, n++)
		p->next = pages;
	CHECK_EQ((uintptr_t)kmalloc(1 << 20, MEM_ATOMIC), 0);
	for (; (p = pages); kmem_cache_free(c, p))
		pages = p->next;
	kmem_reap_all(KMEM_REAP_ALL);
	for (; (p = kmem_cache_alloc(c, MEM_ATOMIC)); pages = p, again++)
		p->next = pages;
	for (; (p = pages); kmem_cache_free(c, p))
		pages = p->next;
	/* Pages of boundary tags stay. */
	CHECK_LE(n, again + n / 64);
	destroy(c);
}

/* kmalloc */

TEST("kmalloc: sizes have room, powers of two are aligned, and frees find their way")
{
	for (size_t size = 0; size <= 70000; size += size < 300 ? 1 : size / 5) {
		char *p = kmalloc(size, MEM_ATOMIC);

		CHECK(p);
		CHECK_LE(size, ksize(p));
		memset(p, 0xa5, size);
		kfree(p);
	}
	for (size_t size = 8; size <= 1 << 18; size *= 2) {
		char *p = kmalloc(size, MEM_ATOMIC), *q = kmalloc(size, MEM_ATOMIC);

		CHECK_EQ((uintptr_t)p % size, 0);
		CHECK_EQ((uintptr_t)q % size, 0);
		kfree(p);
		kfree(q);
	}
	kfree(NULL);
}

TEST("kmalloc: no more than a fifth of what a class holds is lost to rounding")
{
	for (size_t size = 64; size <= KMALLOC_CACHED_MAX; size++) {
		void *p = kmalloc(size, MEM_ATOMIC);

		CHECK_LE((ksize(p) - size) * 5, ksize(p));
		kfree(p);
	}
}

TEST("kmalloc: alignment is met at any size")
{
	for (size_t align = 1; align <= 1 << 16; align *= 2)
		for (size_t size = 1; size <= 20000; size = size * 3 + 7) {
			char *p = kmalloc_align(size, align, MEM_ATOMIC);

			CHECK(p && (uintptr_t)p % align == 0);
			CHECK_LE(size, ksize(p));
			memset(p, 1, size);
			kfree(p);
		}
}

TEST("kmalloc: an alignment is a power of two")
{
	CHECK_PANICS(kmalloc_align(8, 24, MEM_ATOMIC), "no power of two");
}

TEST("kmalloc: arrays are zero and don't overflow; krealloc keeps what fits")
{
	unsigned char *p = kmalloc_array(100, 40, MEM_ATOMIC);

	for (int i = 0; i < 4000; i++)
		CHECK_EQ(p[i], 0);
	CHECK_EQ((uintptr_t)kmalloc_array(SIZE_MAX / 2, 3, MEM_ATOMIC), 0);
	CHECK_EQ((uintptr_t)kmalloc(SIZE_MAX, MEM_ATOMIC), 0);
	for (int i = 0; i < 4000; i++)
		p[i] = (unsigned char)i;
	for (size_t size = 4000; size > 10; size = size * 2 / 3) {
		CHECK((p = krealloc(p, size, MEM_ATOMIC)));
		for (size_t i = 0; i < size; i++)
			CHECK_EQ(p[i], (unsigned char)i);
	}
	CHECK((p = krealloc(p, 50000, MEM_ATOMIC)));
	for (int i = 0; i < 10; i++)
		CHECK_EQ(p[i], (unsigned char)i);
	CHECK_EQ((uintptr_t)krealloc(p, 0, MEM_ATOMIC), 0);
	CHECK((p = krealloc(NULL, 5, MEM_ATOMIC)));
	kfree(p);
}

TEST("kmalloc: a free of what isn't its own is named")
{
	struct kmem_cache *c = make(64);
	char *p = kmem_cache_alloc(c, MEM_ATOMIC), *large = kmalloc(KMALLOC_CACHED_MAX + 1, MEM_ATOMIC);
	int on_the_stack;

	CHECK_PANICS(kfree(p), "no memory of kmalloc's");
	CHECK_PANICS(kfree(&on_the_stack), "no memory of kmalloc's");
	CHECK_PANICS(kfree(large + 1), "no memory of kmalloc's");
	CHECK_PANICS(ksize(p), "no memory of kmalloc's");
	kfree(large);
	CHECK_PANICS(kfree(large), "no memory of kmalloc's");
	kmem_cache_free(c, p);
	destroy(c);
}

/* Quantum caches */

TEST("qcache: small sizes come from caches, an arena in use refuses to end, unchanged")
{
	struct arena *a = arena_create("fronted", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free,
		kpages_arena, 4 * PORT_PAGE_SIZE, MEM_WAIT);
	void *p[5];

	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		CHECK((p[i] = arena_alloc(a, (i + 1) * PORT_PAGE_SIZE - 5, MEM_ATOMIC)));
	CHECK_EQ(arena_destroy(a), -EBUSY);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		arena_free(a, p[i], (i + 1) * PORT_PAGE_SIZE - 5);
		CHECK((p[i] = arena_alloc(a, (i + 1) * PORT_PAGE_SIZE, MEM_WAIT)));
	}
	CHECK_EQ(arena_destroy(a), -EBUSY);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		arena_free(a, p[i], (i + 1) * PORT_PAGE_SIZE);
	CHECK_EQ(arena_destroy(a), 0);
}

/* How many caches draw slabs from the arena. */
static size_t caches_of(const struct arena *a)
{
	size_t n = 0;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		n += stats(c).source == a;
	return n;
}

TEST("qcache: an arena of whose caches one is looked at keeps them all")
{
	if (!modes_leave_fronts())
		return;
	struct arena *a = arena_create("seen", (void *)1, 1000, 1, NULL, NULL, NULL, 4, MEM_WAIT);
	struct kmem_cache *c = kmem_cache_next(NULL);

	while (strcmp(stats(c).name, "seen-3") != 0)
		c = kmem_cache_next(c);
	CHECK_EQ(arena_destroy(a), -EBUSY);
	kmem_cache_unpin(c);
	CHECK_EQ(caches_of(a), 4);
	arena_free(a, arena_alloc(a, 2, MEM_WAIT), 2);
	CHECK_EQ(arena_destroy(a), 0);
}

/* Live objects of the cache of that name. */
static uint64_t live_of(const char *name)
{
	uint64_t live = 0;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		if (strcmp(stats(c).name, name) == 0)
			live += stats(c).live;
	return live;
}

TEST("qcache: when no slab can be had the arena serves by itself, and takes it back")
{
	struct arena *a = arena_create("tight", (void *)100, 50, 1, NULL, NULL, NULL, 2, MEM_WAIT);
	uintptr_t id[50];
	bool seen[50] = {false};

	for (int i = 0; i < 50; i++) {
		id[i] = (uintptr_t)arena_alloc(a, 1, MEM_ATOMIC);
		CHECK(id[i] >= 100 && id[i] < 150 && !seen[id[i] - 100]);
		seen[id[i] - 100] = true;
	}
	CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ATOMIC), 0);
	for (int i = 0; i < 50; i++)
		arena_free(a, (void *)id[i], 1);
	CHECK_EQ(live_of("tight-1"), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

static void check_fronted(struct arena *a, size_t quantum, size_t size)
{
	char name[KMEM_NAME_MAX];
	void *p = arena_alloc(a, size, MEM_ATOMIC), *q;

	CHECK(p);
	ksnprintf(name, sizeof(name), "odd-%zu", (size + quantum - 1) / quantum);
	CHECK_EQ(live_of(name), 1);
	/* What is laid up serves whatever rounds up to the same, on this core: so nothing comes in between. */
	arena_free(a, p, size);
	q = arena_alloc(a, (size + quantum - 1) / quantum * quantum, MEM_ATOMIC);
	CHECK_EQ((uintptr_t)q, (uintptr_t)p);
	arena_free(a, q, size);
	CHECK_EQ(live_of(name), 0);
}

TEST("slab: a front serves a size from the cache of as many quanta, any quantum")
{
	if (!modes_leave_fronts())
		return;
	static const size_t quanta[] = {1, 2, 3, 7, 24, 4096, 36864, 1000003, 1 << 30, 1717986917};

	for (size_t i = 0; i < ARRAY_SIZE(quanta); i++) {
		size_t quantum = quanta[i];
		struct arena *a = arena_create("odd", (void *)quantum, 1000 * quantum, quantum, NULL, NULL, NULL,
			5 * quantum, MEM_WAIT);

		CHECK(a);
		for (size_t n = 1; n <= 5; n++) {
			check_fronted(a, quantum, n * quantum);
			check_fronted(a, quantum, (n - 1) * quantum + 1);
			check_fronted(a, quantum, n * quantum - quantum / 2);
		}
		CHECK_EQ(arena_destroy(a), 0);
	}
}

TEST("slab: an arena of more small sizes than memory has caches for goes without")
{
	static const unsigned shifts[] = {24, 32, 40, 56, 58, 60, 61, 62, 63};

	for (size_t i = 0; i < ARRAY_SIZE(shifts); i++) {
		struct arena *a = arena_create("many", (void *)1, 1000, 1, NULL, NULL, NULL,
			(size_t)1 << shifts[i], MEM_WAIT);
		void *p = arena_alloc(a, 3, MEM_WAIT);

		arena_free(a, p, 3);
		CHECK_EQ(arena_amt_free(a), 1000);
		CHECK_EQ(arena_destroy(a), 0);
	}
}

TEST("slab: an arena of quanta too large for a front goes without")
{
	const size_t quantum = (size_t)1 << 40;
	struct arena *a = arena_create("odd", (void *)quantum, 100 * quantum, quantum, NULL, NULL, NULL,
		2 * quantum, MEM_WAIT);
	void *p = arena_alloc(a, quantum + 1, MEM_WAIT), *q = arena_alloc(a, 1, MEM_WAIT);

	arena_free(a, p, quantum + 1);
	arena_free(a, q, 1);
	CHECK_EQ(arena_amt_free(a), 100 * quantum);
	CHECK_EQ(arena_destroy(a), 0);
}
