/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Callers' bugs outside of arenas (arena_bugs.c): each report names the function that made the call, and
 * no lock is held after it, since each is made twice.
 */
#include "alarm.h"
#include "arenas.h"
#include "block_cache.h"
#include "cmdline.h"
#include "fake_disk.h"
#include "irq.h"
#include "kmalloc.h"
#include "kthread.h"
#include "machine.h"
#include "physical.h"
#include "reclaim.h"
#include "shortage.h"
#include "slab.h"
#include "sync.h"
#include "vmap.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"
#include "modes.h"

static struct arena *ids, *importer;
static struct kmem_cache *cache, *readied, *kmallocs, *front;
static struct fake_disk *fake;
static struct block_cache *blocks;
static struct block *put; /* no caller has it, and it stays */
static struct alarm alarm, unready;
static char *page, *live;
static struct qlock lock = QLOCK_INIT(lock), held = QLOCK_INIT(held);
static struct condvar cv = CONDVAR_INIT(cv);
static struct rwlock rw = RWLOCK_INIT(rw);

static int make_ready(void *object, void *priv, unsigned flags)
{
	return 0;
}

static void nothing(void *arg)
{
}

static void not_to_ring(struct alarm *a)
{
}

/* The call isn't the function's last, which would be a jump and leave no trace of it. */
#define BUG(name, call)                                                                            \
	static __attribute__((noinline)) void name(void)                                           \
	{                                                                                          \
		call;                                                                              \
		__asm__ volatile("");                                                              \
	}

BUG(create_arena, arena_create("no quantum", NULL, 0, 0, NULL, NULL, NULL, 0, MEM_WAIT))
BUG(create_base, arena_create_base("crooked", page + 1, 100 * PORT_PAGE_SIZE))
BUG(add_span, arena_add(ids, (void *)5000, 1, 0))
BUG(link_arena, add_importing_arena(ids, importer))
BUG(unlink_arena, del_importing_arena(importer, ids))
BUG(take_memory, base_alloc(ids, PORT_PAGE_SIZE, 0))
BUG(take_zeroed, base_zalloc(NULL, PORT_PAGE_SIZE, MEM_WAIT | MEM_ATOMIC))
BUG(give_memory, base_free(NULL, page + 1, PORT_PAGE_SIZE))
BUG(take_low_memory, arena_alloc(dma32_arena, 0, MEM_WAIT))

BUG(run_no_level, reclaim_run(0))
BUG(run_beyond, reclaim_run(RECLAIM_LEVELS + 1))

BUG(create_cache, kmem_cache_create("of nothing", 0, 0, 0, NULL, NULL, NULL, NULL))
BUG(alloc_object, kmem_cache_alloc(cache, 0))
BUG(alloc_zeroed, kmem_cache_zalloc(cache, MEM_WAIT | MEM_ERROR))
BUG(alloc_zeroed_readied, kmem_cache_zalloc(readied, MEM_WAIT))
BUG(alloc_many, kmem_cache_alloc_bulk(cache, NULL, 5, 0))
static bool never(struct shortage *s)
{
	return false;
}

BUG(wait_by_no_flag,
	shortage_wait(&(struct shortage){.try = never,
		.parts = &(struct shortage_part){ids, 1, 1, NULL},
		.part_count = 1}))
BUG(reserve_some, kmem_cache_reserve(cache, 1, 0))
BUG(destroy_kmallocs, kmem_cache_destroy(kmallocs))
BUG(destroy_front, kmem_cache_destroy(front))
BUG(destroy_placed, __kmem_cache_destroy(cache))
BUG(link_cache, add_importing_slab(kpages_arena, cache))
BUG(unlink_cache, del_importing_slab(ids, cache))

BUG(kmalloc_small, kmalloc(1, 0))
BUG(kmalloc_large, kmalloc(9000, MEM_WAIT | MEM_ERROR))
BUG(kzalloc_some, kzalloc(1, 0))
BUG(kmalloc_some_array, kmalloc_array(1, 1, 0))
BUG(kmalloc_aligned, kmalloc_align(1, 8, 0))
BUG(kmalloc_crooked, kmalloc_align(1, 3, MEM_WAIT))
BUG(krealloc_some, krealloc(NULL, 1, 0))
BUG(krealloc_foreign, krealloc(&page, 1, MEM_WAIT))
BUG(ask_size, ksize(&page))
BUG(ask_size_inside, ksize(live + 8))
BUG(krealloc_inside, krealloc(live + 8, 1000, MEM_WAIT))
BUG(free_foreign, kfree(&page))

BUG(lock_again, qlock_lock(&held))
BUG(unlock_free, qlock_unlock(&lock))
BUG(wait_unlocked, cv_wait(&cv, &lock))
BUG(wait_unlocked_until, cv_wait_timeout(&cv, &lock, 0))
BUG(read_done, rwlock_read_done(&rw))
BUG(write_done, rwlock_write_done(&rw))

BUG(join_myself, ktask_join(ktask_self()))
BUG(pin_nowhere, ktask_pinned("nowhere", nothing, NULL, port_core_count()))
BUG(pin_to_none, ktask_pinned("to none", nothing, NULL, KTASK_ANY_CORE))

BUG(map_by_no_flag, vmap((void *const *)&page, 1, 0))
BUG(unmap_nothing, vunmap(page, 1))
BUG(allocate_by_no_flag, vmalloc(1, 0))
BUG(free_nothing, vfree(page, 1))

BUG(alloc_vector, irq_alloc("no handler", NULL, NULL))
BUG(alloc_vectors, irq_alloc_block(NULL, 3))
BUG(free_vector, irq_free(0))
BUG(free_vectors, irq_free_block(0, 3))
BUG(set_route, irq_set_route(0, "nowhere"))
BUG(count_core, irq_core_count(port_core_max()))
BUG(set_again, alarm_set(&alarm, 0))
BUG(set_unready, alarm_set(&unready, 0))

BUG(read_beyond, disk_read(&fake->disk, 8, 1, page))
BUG(write_beyond, disk_write(&fake->disk, 7, 2, page))
BUG(write_too_many, disk_write(&fake->disk, 0, ((size_t)1 << 52) + 1, page))

static __attribute__((noinline)) void submit_none(void)
{
	struct disk_request r = {.operation = DISK_READ, .count = 0, .data = page};

	disk_submit(&fake->disk, &r);
	__asm__ volatile("");
}

BUG(put_again, block_put(put))
BUG(dirty_unused, block_dirty(put))
BUG(get_by_no_flag, block_get(blocks, 0, 0, &(struct block *){NULL}))
BUG(make_second, block_cache_create(&fake->disk))

/* NULL, by the noun that the report has. */
static struct block *none;
static struct disk_stats stats_of_disk;
static struct block_cache_stats stats_of_blocks;

BUG(name_no_disk, disk_name(NULL))
BUG(size_no_disk, disk_blocks(NULL))
BUG(look_at_no_disk, disk_get_stats(NULL, &stats_of_disk))
BUG(read_no_disk, disk_read(NULL, 0, 1, page))
BUG(write_no_disk, disk_write(NULL, 0, 1, page))
BUG(flush_no_disk, disk_flush(NULL))
BUG(submit_to_no_disk, disk_submit(NULL, &(struct disk_request){.operation = DISK_FLUSH}))
BUG(submit_nothing, disk_submit(&fake->disk, NULL))
BUG(add_no_disk, disk_add(NULL))
BUG(cache_no_disk, block_cache_create(NULL))
BUG(get_from_none, block_get(NULL, 0, MEM_WAIT, &none))
BUG(get_to_none, block_get(blocks, 0, MEM_WAIT, NULL))
BUG(dirty_none, block_dirty(none))
BUG(put_none, block_put(none))
BUG(sync_none, block_cache_sync(NULL))
BUG(give_up_of_none, block_cache_give_up(NULL, 1))
BUG(ask_disk_of_none, block_cache_disk(NULL))
BUG(look_at_none, block_cache_get_stats(NULL, &stats_of_blocks))
BUG(check_none, block_cache_check(NULL))
BUG(destroy_none, block_cache_destroy(NULL))
BUG(parse_none, cmdline_parse(NULL, NULL, 0, &console_sink))
BUG(parse_to_none, cmdline_parse("", NULL, 0, NULL))

BUG(info_of_no_core, machine_core_info(port_core_count(), &(struct machine_core_info){0}))
BUG(message_to_no_core, machine_message(MACHINE_VECTOR_FIRST, port_core_count(), &(struct machine_message){0}))
BUG(distance_to_no_node, machine_node_distance(0, machine_node_count()))
BUG(distance_from_no_node, machine_node_distance(SIZE_MAX, 0))

static const struct {
	const char *name;
	void (*make)(void);
	const char *part; /* of the report */
} bugs[] = {
#define ROW(name) {#name, name, "called from "}
	ROW(create_arena), ROW(create_base), ROW(add_span), ROW(link_arena), ROW(unlink_arena),
	ROW(take_memory), ROW(take_zeroed), ROW(give_memory), ROW(take_low_memory), ROW(run_no_level), ROW(run_beyond), ROW(create_cache),
	ROW(alloc_object), ROW(alloc_zeroed), ROW(alloc_zeroed_readied), ROW(alloc_many), ROW(reserve_some),
	ROW(link_cache), ROW(unlink_cache), ROW(kmalloc_small), ROW(kmalloc_large), ROW(kzalloc_some),
	ROW(kmalloc_some_array), ROW(kmalloc_aligned), ROW(kmalloc_crooked), ROW(krealloc_some),
	ROW(krealloc_foreign), ROW(ask_size), ROW(free_foreign), ROW(lock_again), ROW(unlock_free),
	ROW(wait_unlocked), ROW(wait_unlocked_until), ROW(read_done), ROW(write_done), ROW(join_myself),
	ROW(pin_nowhere), ROW(map_by_no_flag), ROW(unmap_nothing), ROW(allocate_by_no_flag),
	ROW(free_nothing), ROW(alloc_vector), ROW(alloc_vectors), ROW(free_vector), ROW(free_vectors),
	ROW(set_route), ROW(count_core), ROW(set_again), ROW(read_beyond), ROW(write_beyond),
	ROW(wait_by_no_flag), ROW(destroy_kmallocs), ROW(destroy_front), ROW(destroy_placed), ROW(ask_size_inside),
	ROW(krealloc_inside), ROW(set_unready), ROW(pin_to_none), ROW(write_too_many),
	ROW(submit_none), ROW(put_again), ROW(dirty_unused), ROW(get_by_no_flag), ROW(make_second),
	ROW(info_of_no_core), ROW(message_to_no_core), ROW(distance_to_no_node), ROW(distance_from_no_node),
#define NULL_ROW(name, noun) {#name, name, " of a " noun " at NULL (called from "}
	NULL_ROW(name_no_disk, "disk"), NULL_ROW(size_no_disk, "disk"),
	NULL_ROW(look_at_no_disk, "disk"), NULL_ROW(read_no_disk, "disk"),
	NULL_ROW(write_no_disk, "disk"), NULL_ROW(flush_no_disk, "disk"),
	NULL_ROW(submit_to_no_disk, "disk"), NULL_ROW(submit_nothing, "request"),
	NULL_ROW(add_no_disk, "disk"), NULL_ROW(cache_no_disk, "disk"),
	NULL_ROW(get_from_none, "cache"), NULL_ROW(get_to_none, "place for the block"),
	NULL_ROW(dirty_none, "block"), NULL_ROW(put_none, "block"), NULL_ROW(sync_none, "cache"),
	NULL_ROW(give_up_of_none, "cache"), NULL_ROW(ask_disk_of_none, "cache"),
	NULL_ROW(look_at_none, "cache"), NULL_ROW(check_none, "cache"),
	NULL_ROW(destroy_none, "cache"), NULL_ROW(parse_none, "text"), NULL_ROW(parse_to_none, "sink"),
};

static struct kmem_cache *cache_named(const char *name)
{
	struct kmem_cache_stats stats;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &stats);
		if (strcmp(stats.name, name) == 0) {
			kmem_cache_unpin(c);
			return c;
		}
	}
	test_fail(__FILE__, __LINE__, "no cache %s", name);
	return NULL;
}

static void begin(void)
{
	ids = arenas_ids(1, 1000);
	importer = arenas_importer("importer", ids, 1);
	cache = kmem_cache_create("bugs", 64, 0, 0, NULL, NULL, NULL, NULL);
	readied = kmem_cache_create("readied", 64, 0, 0, NULL, make_ready, NULL, NULL);
	kmallocs = cache_named("kmalloc-64");
	front = cache_named("kpages-1");
	page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
	live = kmalloc(64, MEM_WAIT);
	fake = fake_disk_create(8);
	blocks = block_cache_create(&fake->disk);
	CHECK_EQ(block_get(blocks, 1, MEM_WAIT, &put), 0);
	block_put(put);
	alarm_init(&alarm, not_to_ring);
	alarm_set(&alarm, PORT_FOREVER);
	qlock_lock(&held);
}

static void end(void)
{
	qlock_unlock(&held);
	CHECK(alarm_cancel(&alarm));
	CHECK_EQ(block_cache_check(blocks), 0);
	CHECK_EQ(block_cache_destroy(blocks), 0);
	fake_disk_destroy(fake);
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
	kfree(live);
	CHECK_EQ(kmem_cache_destroy(readied), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	arenas_end(importer);
	arenas_end(ids);
}

static void check_bug(size_t i)
{
	CHECK_PANICS(bugs[i].make(), bugs[i].part);
	CHECK_PANICS(bugs[i].make(), bugs[i].name);
}

TEST("callers: each bug's report names the calling function, and leaves no lock held")
{
	if (!modes_leave_fronts())
		return;
	begin();
	for (int turn = 0; turn < 2; turn++)
		for (size_t i = 0; i < ARRAY_SIZE(bugs); i++)
			check_bug(i);
	end();
}
