/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What several headers promise alike: names are copied and cut, rows are filled as far as there is
 * room, what can't be made for want of memory is NULL and leaves nothing behind.
 */
#include "arenas.h"
#include "block_cache.h"
#include "fake_disk.h"
#include "kmalloc.h"
#include "kthread.h"
#include "reclaim.h"
#include "shortage.h"
#include "sleepers.h"
#include "slab.h"
#include "vmap.h"
#include "work.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"

/* Names */

static char long_name[64];

static void name_write(void)
{
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
}

static void check_name(const char *kept, size_t max)
{
	CHECK_EQ(strlen(kept), max - 1);
	for (size_t i = 0; i < max - 1; i++)
		CHECK_EQ(kept[i], 'x');
}

static void nothing(void *arg)
{
}

TEST("names: they are copied, and cut where no more is kept")
{
	struct kmem_cache_stats cache_stats;
	struct kmem_cache *cache;
	struct arena *arena;
	struct ktask *t;

	name_write();
	arena = arena_create(long_name, (void *)1, 8, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	cache = kmem_cache_create(long_name, 64, 0, 0, NULL, NULL, NULL, NULL);
	t = ktask(long_name, nothing, NULL);
	memset(long_name, 'y', sizeof(long_name));
	check_name(arenas_stats(arena).name, ARENA_NAME_MAX);
	kmem_cache_get_stats(cache, &cache_stats);
	check_name(cache_stats.name, KMEM_NAME_MAX);
	check_name(ktask_name(t), KTASK_NAME_MAX);
	ktask_join(t);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	arenas_end(arena);
}

/* Rows */

#define ROWS(name)                                                                                 \
	static size_t rows_of_##name(void *rows, size_t max)                                       \
	{                                                                                          \
		return name(rows, max);                                                            \
	}

ROWS(arena_tree_stats)
ROWS(kmem_cache_rows)
ROWS(reclaim_roots)
ROWS(reclaim_nodes)
ROWS(shortage_rows)

static const struct {
	size_t (*rows)(void *rows, size_t max);
	size_t size;
} tables[] = {
	{rows_of_arena_tree_stats, sizeof(struct arena_stats)},
	{rows_of_kmem_cache_rows, sizeof(struct kmem_cache_stats)},
	{rows_of_reclaim_roots, sizeof(struct reclaim_root)},
	{rows_of_reclaim_nodes, sizeof(struct reclaim_node)},
	{rows_of_shortage_rows, sizeof(struct shortage_row)},
};

#define ROW_SIZE_MAX 1024

/* There are two of each at least. */
static void check_rows(size_t (*rows)(void *rows, size_t max), size_t size)
{
	static unsigned char two[2 * ROW_SIZE_MAX];
	size_t n = rows(NULL, 0), i;

	CHECK_LE(size, ROW_SIZE_MAX);
	CHECK_LE(2, n);
	memset(two, 0xa5, sizeof(two));
	CHECK_EQ(rows(two, 1), n);
	for (i = 0; i < size && two[i] == 0xa5; i++)
		;
	CHECK_LT(i, size);
	for (i = size; i < sizeof(two); i++)
		CHECK_EQ(two[i], 0xa5);
}

TEST("rows: those that there is room for are filled in, no others, and all are counted")
{
	struct arena *full = arenas_full(2);
	struct sleeper s[2] = {{.arena = full, .size = 1}, {.arena = full, .size = 1}};
	struct ktask_stats of_ktask;
	struct work_stats of_work;

	sleeper_start(&s[0], 1);
	sleeper_start(&s[1], 2);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		check_rows(tables[i].rows, tables[i].size);
	CHECK_EQ(ktask_stats(0, NULL, 0), 0);
	CHECK_EQ(ktask_stats(0, &of_ktask, 1), 1);
	CHECK_EQ(work_list(0, &of_work, 1), 0);
	arena_free(full, (void *)1, 1);
	arena_free(full, (void *)2, 1);
	sleeper_end(&s[0]);
	sleeper_end(&s[1]);
	arenas_end(full);
}

/* Memory that is out */

static struct arena *ids;

static void *make_arena(void)
{
	return arena_create("made", (void *)1, 8, 1, NULL, NULL, NULL, 0, MEM_ATOMIC);
}

static void *make_arena_by_error(void)
{
	return arena_create("made", NULL, 0, 1, arena_alloc, arena_free, ids, 4, MEM_ERROR);
}

static void end_arena(void *made)
{
	CHECK_EQ(arena_destroy(made), 0);
}

static void *make_cache(void)
{
	return kmem_cache_create("made", 64, 0, 0, NULL, NULL, NULL, NULL);
}

static void end_cache(void *made)
{
	CHECK_EQ(kmem_cache_destroy(made), 0);
}

static void *make_ktask(void)
{
	return ktask("made", nothing, NULL);
}

static void end_ktask(void *made)
{
	ktask_join(made);
}

static void *make_mapping(void)
{
	return vmalloc(3 * PORT_PAGE_SIZE, MEM_ERROR);
}

static void end_mapping(void *made)
{
	vfree(made, 3 * PORT_PAGE_SIZE);
}

static void *make_large(void)
{
	return kmalloc(KMALLOC_CACHED_MAX + 1, MEM_ERROR);
}

static void *make_array(void)
{
	return kmalloc_array(1000, 3, MEM_ATOMIC);
}

static void *make_aligned(void)
{
	return kmalloc_align(100, 4 * PORT_PAGE_SIZE, MEM_ATOMIC);
}

/* A disk has one cache. */
static struct disk *disks;
static size_t disk_count;

static void *make_block_cache(void)
{
	disks[disk_count] = fake_disk_void();
	return block_cache_create(&disks[disk_count++]);
}

static void end_block_cache(void *made)
{
	CHECK_EQ(block_cache_destroy(made), 0);
}

static const struct {
	const char *name;
	void *(*make)(void);
	void (*end)(void *made);
} makers[] = {
	{"arena_create", make_arena, end_arena},
	{"arena_create by MEM_ERROR", make_arena_by_error, end_arena},
	{"kmem_cache_create", make_cache, end_cache},
	{"ktask", make_ktask, end_ktask},
	{"vmalloc", make_mapping, end_mapping},
	{"kmalloc", make_large, kfree},
	{"kmalloc_array", make_array, kfree},
	{"kmalloc_align", make_aligned, kfree},
	{"block_cache_create", make_block_cache, end_block_cache},
};

/* Where memory is out, what others hold idle may serve some; so many it doesn't. */
#define MADE_MAX 1000

static void make_until_null(size_t i)
{
	static void *made[MADE_MAX];
	struct piece *taken = pieces_take_all(
		base_arena, arena_amt_total(base_arena), PORT_PAGE_SIZE, MEM_ATOMIC);
	size_t n = 0;

	while (n < MADE_MAX && (made[n] = makers[i].make()))
		n++;
	pieces_give(base_arena, taken, SIZE_MAX);
	if (n == MADE_MAX)
		test_fail(__FILE__, __LINE__, "%s: still made without memory", makers[i].name);
	while (n > 0)
		makers[i].end(made[--n]);
}

/* The leak check finds what isn't freed. */
TEST("shortage: what makes something is NULL where memory is out, and leaves nothing")
{
	ids = arenas_ids(1, 100000);
	disks = kmalloc(MADE_MAX * sizeof(*disks), MEM_WAIT);
	disk_count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(makers); i++)
		make_until_null(i);
	kfree(disks);
	arenas_end(ids);
}

/* A workload: the reason, in one line without its end. */
TEST("shortage: a workload for which memory is short isn't started, and says why")
{
	struct piece *taken = pieces_take_all(
		base_arena, arena_amt_total(base_arena), PORT_PAGE_SIZE, MEM_ATOMIC);
	struct buffer_sink why;
	static uint64_t started[MADE_MAX];
	char text[200];
	size_t n = 0;

	do
		buffer_sink_init(&why, text, sizeof(text));
	while (n < MADE_MAX && (started[n] = work_start("ids", 0, NULL, &why.sink)) && ++n);
	pieces_give(base_arena, taken, SIZE_MAX);
	CHECK_LT(n, MADE_MAX);
	CHECK_LT(0, strlen(text));
	CHECK(!strstr(text, "\n"));
	while (n > 0)
		CHECK(work_stop(started[--n]));
}

/* A record where its sleeper can't sleep */

static unsigned tries;

static bool try_in_vain(struct shortage *s)
{
	tries++;
	return false;
}

TEST("shortage: without threads a record by MEM_ERROR isn't served, by MEM_WAIT a bug")
{
	struct arena *full = arenas_full(2);
	struct shortage_part part = {full, 1, 1, NULL};
	struct shortage s = {.try = try_in_vain, .parts = &part, .part_count = 1, .flags = MEM_ERROR};
	port_irq_t irq = port_irq_save();

	tries = 0;
	CHECK(!shortage_wait(&s));
	CHECK_EQ(tries, 0);
	s.flags = MEM_WAIT;
	CHECK_PANICS(shortage_wait(&s), "MEM_WAIT with interrupts off");
	CHECK_EQ(tries, 0);
	port_irq_restore(irq);
	/* Nothing hangs on the arena that could give back. */
	s.flags = MEM_ERROR;
	CHECK(!shortage_wait(&s));
	CHECK_EQ(tries, 1);
	arena_free(full, (void *)1, 1);
	arena_free(full, (void *)2, 1);
	arenas_end(full);
}

TEST("work: each kind has a name, arguments and help, and behind the last is none")
{
	struct work_info info;
	size_t n = 0;

	for (; work_kinds(n, &info); n++)
		CHECK(strlen(info.name) > 0 && strlen(info.name) < WORK_NAME_MAX && info.args &&
			strlen(info.help) > 0);
	CHECK_LT(0, n);
	CHECK(!work_kinds(n + 1, &info));
	CHECK(!work_kinds(SIZE_MAX, &info));
}

TEST("errors: they have the values that Linux gives them")
{
	CHECK_EQ(EIO, 5);
	CHECK_EQ(ENOMEM, 12);
	CHECK_EQ(EBUSY, 16);
	CHECK_EQ(EEXIST, 17);
	CHECK_EQ(EINVAL, 22);
	CHECK_EQ(EDOM, 33);
	CHECK_EQ(ERANGE, 34);
}

TEST("disk: that it goes offline is noted once")
{
	struct fake_disk *f = fake_disk_create(1);
	struct disk_stats stats;

	disk_get_stats(&f->disk, &stats);
	CHECK_STR(stats.state, "online");
	CHECK(disk_set_offline(&f->disk, "told to by its test"));
	CHECK(!disk_set_offline(&f->disk, "told to by its test"));
	disk_get_stats(&f->disk, &stats);
	CHECK_STR(stats.state, "offline");
	fake_disk_destroy(f);
}
