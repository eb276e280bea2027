/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cores that take the locks of the same arenas and caches from one another.
 *
 * An alarm's deadline has QEMU go on to another core wherever the one that runs stands, a lock held
 * or not; what waits for that lock then pauses, which lets the holder run.
 */
#include "alarm.h"
#include "arena.h"
#include "drive.h"
#include "irqoff.h"
#include "kmalloc.h"
#include "kthread.h"
#include "lib/test.h"
#include "port.h"
#include "slab.h"

#define CORES 4
#define STEPS 60000 /* of each core */
#define HELD 512    /* by each core at most, of each kind */
#define BULK 32
#define IDS 4000 /* fewer than all cores may hold: they run out */
#define BEAT_MIN 20000u /* ns between two cuts: far longer than a core goes without a stretch */
#define BEAT_RANGE 20000u
#define WAITS_MIN 1000
#define CUT_PART_MIN 10 /* one stretch in so many may be cut */

static struct arena *ids, *spans, *importer;
static struct kmem_cache *objects, *numbers;
static bool over;

static uint64_t chance(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void beat(struct alarm *a)
{
	static uint64_t state = 1;

	if (!__atomic_load_n(&over, __ATOMIC_RELAXED))
		alarm_set(a, port_ns() + BEAT_MIN + chance(&state) % BEAT_RANGE);
}

/* A kind of thing to hold, and how to get and free one. */
struct kind {
	void *(*get)(size_t size);
	void (*put)(void *p, size_t size);
};

static void *id_get(size_t size)
{
	return arena_alloc(ids, size, size & 1 ? MEM_ERROR : MEM_ATOMIC);
}

static void id_put(void *p, size_t size)
{
	arena_free(ids, p, size);
}

static void *aligned_get(size_t size)
{
	return arena_xalloc(ids, size, 4, 0, 0, 0, 0, MEM_ATOMIC);
}

static void aligned_put(void *p, size_t size)
{
	arena_xfree(ids, p, size);
}

static void *import_get(size_t size)
{
	return arena_alloc(importer, size * 64, MEM_ATOMIC);
}

static void import_put(void *p, size_t size)
{
	arena_free(importer, p, size * 64);
}

static void *object_get(size_t size)
{
	return kmem_cache_alloc(objects, MEM_WAIT);
}

static void object_put(void *p, size_t size)
{
	kmem_cache_free(objects, p);
}

static void *number_get(size_t size)
{
	return kmem_cache_alloc(numbers, MEM_ATOMIC);
}

static void number_put(void *p, size_t size)
{
	kmem_cache_free(numbers, p);
}

static void *block_get(size_t size)
{
	return kmalloc(size * 3000, MEM_WAIT);
}

static void block_put(void *p, size_t size)
{
	kfree(p);
}

static const struct kind kinds[] = {
	{id_get, id_put}, {aligned_get, aligned_put}, {import_get, import_put},
	{object_get, object_put}, {number_get, number_put}, {block_get, block_put},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void *held[CORES][KINDS][HELD];

/* The size of what lies in slot i. */
static size_t size_of(size_t i)
{
	return 1 + i % 7;
}

static void turn(const struct kind *kind, void **slot, size_t i)
{
	if (*slot) {
		kind->put(*slot, size_of(i));
		*slot = NULL;
	} else {
		*slot = kind->get(size_of(i));
	}
}

static void bulk(void)
{
	void *some[BULK];

	kmem_cache_free_bulk(objects, some, kmem_cache_alloc_bulk(objects, some, BULK, MEM_ATOMIC));
}

static void reap(uint64_t random)
{
	static const unsigned levels[] = {KMEM_REAP_DEPOT, KMEM_REAP_IDLE, KMEM_REAP_ALL};

	kmem_cache_reap(random & 1 ? objects : numbers, levels[random / 2 % 3]);
	arena_reap(random & 1 ? importer : ids, SIZE_MAX);
}

static void work(void *arg)
{
	uint64_t state = 0x9e3779b9 * (port_core_id() + 1);
	unsigned core = port_core_id();

	for (size_t n = 0; n < STEPS; n++) {
		uint64_t random = chance(&state);
		size_t kind = random % KINDS, i = (random >> 8) % HELD;

		turn(&kinds[kind], &held[core][kind][i], i);
		if (random >> 32 & 1)
			port_pause();
		if (n % 64 == 0)
			bulk();
		if (n % 1024 == 0)
			reap(random >> 40);
		if (n % 16 == 0)
			kthread_yield();
	}
	for (size_t kind = 0; kind < KINDS; kind++)
		for (size_t i = 0; i < HELD; i++)
			if (held[core][kind][i])
				turn(&kinds[kind], &held[core][kind][i], i);
}

static void begin(void)
{
	ids = arena_create("ids", (void *)4, IDS, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	spans = arena_create("spans", (void *)4096, 1 << 20, 64, NULL, NULL, NULL, 0, MEM_WAIT);
	importer = arena_create("importer", NULL, 0, 64, arena_alloc, arena_free, spans, 0, MEM_WAIT);
	objects = kmem_cache_create("contended", 64, 0, 0, NULL, NULL, NULL, NULL);
	numbers = kmem_cache_create("numbers", 1, 0, KMC_NOTOUCH, ids, NULL, NULL, NULL);
	CHECK(ids && spans && importer && objects && numbers);
}

static void end(void)
{
	CHECK_EQ(kmem_cache_destroy(numbers), 0);
	CHECK_EQ(kmem_cache_destroy(objects), 0);
	CHECK_EQ(arena_destroy(importer), 0);
	CHECK_EQ(arena_destroy(spans), 0);
	CHECK_EQ(arena_destroy(ids), 0);
}

static void contend(void)
{
	struct ktask *tasks[CORES];
	struct alarm bell;

	alarm_init(&bell, beat);
	alarm_set(&bell, port_ns() + BEAT_MIN);
	for (unsigned i = 0; i < CORES; i++)
		CHECK(tasks[i] = ktask_pinned("contender", work, NULL, i));
	for (unsigned i = 0; i < CORES; i++)
		ktask_join(tasks[i]);
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	alarm_cancel(&bell);
}

/* Prints how many stretches were measured and how many were not, and the sites none of whose
 * stretches was.  Returns whether nearly all were. */
static bool print_cut(void)
{
	uint64_t count = 0, cut = 0;

	for (size_t i = 0; i < irqoff_slots; i++) {
		const struct irqoff_stretch *s = &irqoff_table[i];

		if (!s->site || s->function != IRQOFF_CONTENDED)
			continue;
		count += s->count;
		cut += s->cut;
		if (s->count == 0)
			kprintf("irqoff: another core ran in all %llu stretches of %pS\n",
				(unsigned long long)s->cut, (void *)s->site);
	}
	kprintf("irqoff: %llu stretches on %u cores, and %llu left out as another core ran in them; "
		"%llu waits for a lock\n",
		(unsigned long long)count, CORES, (unsigned long long)cut,
		(unsigned long long)irqoff_waits);
	return cut * CUT_PART_MIN <= count;
}

TEST("contended: on cores that wait for locks no stretch is longer than its budget")
{
	uint64_t most;

	CHECK_EQ(port_core_count(), CORES);
	irqoff_waits = 0;
	irqoff_contended = true;
	begin();
	contend();
	end();
	irqoff_contended = false;
	most = drive_print();
	CHECK(print_cut());
	CHECK_LE(WAITS_MIN, irqoff_waits);
	CHECK_LE(most, DRIVE_BUDGET);
}
