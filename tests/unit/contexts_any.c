/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contexts: what any context but an NMI may call works in each of them.
 */
#include "contexts.h"

#include "alarm.h"
#include "disk.h"
#include "kmalloc.h"
#include "kmem_debug.h"
#include "kmem_fail.h"
#include "kthread.h"
#include "physical.h"
#include "reclaim.h"
#include "shortage.h"
#include "vmap.h"
#include "lib/string.h"
#include "lib/test.h"

CALL(arena_alloc)
{
	arena_free(contexts.ids, arena_alloc(contexts.ids, 1, MEM_ATOMIC), 1);
	arena_free(contexts.fronted, arena_alloc(contexts.fronted, 2, MEM_ATOMIC), 2);
	arena_free(contexts.fronted, arena_alloc(contexts.fronted, 9, MEM_ATOMIC | ARENA_BESTFIT), 9);
	/* More than a quantum: an import, and the end of one. */
	arena_free(contexts.importer, arena_alloc(contexts.importer, 40, MEM_ATOMIC), 40);
	arena_free(contexts.importer, arena_alloc(contexts.importer, 1, MEM_ERROR), 1);
}

CALL(arena_xalloc)
{
	arena_xfree(contexts.ids, arena_xalloc(contexts.ids, 3, 4, 1, 0, 9, 99, MEM_ATOMIC), 3);
	arena_xfree(contexts.importer, arena_xalloc(contexts.importer, 3, 4, 1, 8, 0, 0, MEM_ATOMIC | ARENA_HIGHFIT), 3);
}

CALL(arena_add)
{
	CHECK_EQ(arena_add(contexts.ids, (void *)1, 1, MEM_ATOMIC), -EEXIST);
	CHECK_STR(arena_add_strerror(-EEXIST), "the range overlaps a span");
}

CALL(arena_amounts)
{
	CHECK_LE(arena_amt_free(contexts.fronted), arena_amt_total(contexts.fronted));
	arena_index(contexts.ids);
	arena_set_reclaim(contexts.ids, NULL, NULL);
}

CALL(base_alloc)
{
	base_free(contexts.ids, base_alloc(contexts.ids, PORT_PAGE_SIZE, MEM_ATOMIC), PORT_PAGE_SIZE);
	base_free(NULL, base_zalloc(NULL, PORT_PAGE_SIZE, MEM_ATOMIC), PORT_PAGE_SIZE);
}

static bool count_one(const struct arena_segment *s, void *arg)
{
	++*(size_t *)arg;
	return true;
}

static bool at_once(void *arg)
{
	return true;
}

CALL(arena_looks)
{
	struct arena_free_class classes[ARENA_FREE_CLASSES];
	struct arena_segment s;
	struct arena_stats stats;
	size_t n = 0;

	arena_get_stats(contexts.fronted, &stats);
	arena_walk(contexts.fronted, count_one, &n);
	CHECK_EQ(n, stats.spans + stats.segments_used + stats.segments_free);
	arena_free_histogram(contexts.fronted, classes);
	CHECK(arena_find_segment(contexts.fronted, 50, &s));
	CHECK_EQ(arena_check(contexts.fronted, NULL), 0);
	CHECK_EQ(arena_check_until(contexts.fronted, NULL, at_once, NULL), -EINTR);
}

CALL(kmem_cache_alloc)
{
	void *objects[80];

	kmem_cache_free(contexts.cache, kmem_cache_alloc(contexts.cache, MEM_ATOMIC));
	kmem_cache_free(contexts.cache, kmem_cache_zalloc(contexts.cache, MEM_ERROR));
	/* More than a core has in its magazines: a slab. */
	CHECK_EQ(kmem_cache_alloc_bulk(contexts.cache, objects, 80, MEM_ATOMIC), 80);
	kmem_cache_free_bulk(contexts.cache, objects, 80);
	CHECK_EQ(kmem_cache_reserve(contexts.cache, 200, MEM_ATOMIC), 0);
	CHECK_EQ(kmem_cache_reserve(contexts.cache, 0, MEM_ATOMIC), 0);
}

CALL(kmem_cache_looks)
{
	void *object = kmem_cache_alloc(contexts.cache, MEM_ATOMIC);
	struct kmem_cache_stats stats;
	struct kmem_object where;

	kmem_cache_set_reclaim(contexts.cache, NULL, NULL);
	kmem_cache_get_stats(contexts.cache, &stats);
	CHECK(kmem_cache_find(contexts.cache, (uintptr_t)object, &where));
	CHECK_EQ(where.object, (uintptr_t)object);
	CHECK_EQ(kmem_cache_check(contexts.cache, NULL), 0);
	CHECK_LE(kmem_table_pages(), kmem_table_pages_max());
	kmem_cache_free(contexts.cache, object);
}

CALL(kmalloc)
{
	char *p = kmalloc(100, MEM_ATOMIC);
	uintptr_t start;
	size_t size;

	p = krealloc(p, KMALLOC_CACHED_MAX + PORT_PAGE_SIZE, MEM_ATOMIC);
	CHECK_EQ(ksize(p), KMALLOC_CACHED_MAX + PORT_PAGE_SIZE);
	CHECK(kmalloc_find_large((uintptr_t)p, (uintptr_t)p + 1, &start, &size));
	CHECK_LE(KMALLOC_CACHED_MAX + PORT_PAGE_SIZE, size);
	kfree(p);
	kfree(kzalloc(4 * PORT_PAGE_SIZE, MEM_ERROR));
	kfree(kmalloc_array(3, 5, MEM_ATOMIC));
	kfree(kmalloc_align(100, 2 * PORT_PAGE_SIZE, MEM_ATOMIC));
	kfree(NULL);
}

CALL(sync_any)
{
	CHECK(!qlock_is_held_by_me(&contexts.lock));
	CHECK(sem_trydown(&contexts.sem, 1));
	sem_up(&contexts.sem, 1);
	CHECK_EQ(sem_count(&contexts.sem), 1);
	cv_signal(&contexts.cv);
	cv_broadcast(&contexts.cv);
	CHECK(!rendez_wakeup(&contexts.rendez));
}

/* What a thread does without sleeping, and an interrupt may not: it holds no lock. */

CALL(qlock_trylock)
{
	CHECK(qlock_trylock(&contexts.lock) && qlock_is_held_by_me(&contexts.lock));
	qlock_unlock(&contexts.lock);
}

CALL(rwlock_tryread)
{
	CHECK(rwlock_tryread(&contexts.rw));
	rwlock_read_done(&contexts.rw);
}

CALL(rwlock_trywrite)
{
	CHECK(rwlock_trywrite(&contexts.rw));
	rwlock_write_done(&contexts.rw);
}

CALL(qlock_unlock)
{
	qlock_unlock(&contexts.lock);
}

CALL(rwlock_read_done)
{
	rwlock_read_done(&contexts.rw);
}

CALL(rwlock_write_done)
{
	rwlock_write_done(&contexts.rw);
}

CALL(ktask_looks)
{
	struct ktask_stats row;

	CHECK_EQ(ktask_stats(ktask_id(ktask_self()), &row, 1), 1);
	CHECK_EQ(row.id, ktask_id(ktask_self()));
	CHECK_STR(row.name, ktask_name(ktask_self()));
	CHECK_LE(1, ktask_count());
	ktask_stacks_idle();
	kthread_steals();
}

static void not_to_ring(struct alarm *a)
{
}

CALL(alarm)
{
	struct alarm a;

	alarm_init(&a, not_to_ring);
	CHECK(!alarm_cancel(&a));
	alarm_set(&a, PORT_FOREVER);
	CHECK(alarm_cancel(&a));
	CHECK(!alarm_cancel(&a));
}

CALL(reclaim_any)
{
	struct reclaim_stats stats;

	reclaim_poke();
	reclaim_progress();
	reclaim_get_stats(&stats);
	CHECK(reclaim_is_running());
	shortage_poke();
	CHECK(!shortage_is_short(contexts.ids));
	CHECK_LE(arena_amt_free(contexts.importer), shortage_chain_free(contexts.importer));
	CHECK_EQ(physical_of(physical_at(PORT_PAGE_SIZE)), PORT_PAGE_SIZE);
}

CALL(block_any)
{
	struct block_cache_stats stats;
	struct disk_stats of_disk;

	block_cache_get_stats(contexts.blocks, &stats);
	CHECK_EQ(stats.in_use, 1);
	block_dirty(contexts.block);
	block_cache_give_up(contexts.blocks, PORT_PAGE_SIZE);
	disk_get_stats(block_cache_disk(contexts.blocks), &of_disk);
	CHECK_EQ(of_disk.blocks, disk_blocks(&contexts.fake->disk));
}

/* The mappings are made where that is legal. */

#define MAPPINGS (2 * CONTEXTS)
static void *mapped[MAPPINGS], *allocated[MAPPINGS];
static size_t mapped_count;

CALL(vunmap)
{
	vunmap(mapped[--mapped_count], 1);
	vfree(allocated[mapped_count], 20 * PORT_PAGE_SIZE);
}

static void map_some(void *page)
{
	for (mapped_count = 0; mapped_count < MAPPINGS; mapped_count++) {
		mapped[mapped_count] = vmap(&page, 1, MEM_WAIT);
		allocated[mapped_count] = vmalloc(20 * PORT_PAGE_SIZE, MEM_WAIT);
	}
}

CALL(debug_any)
{
	const struct stack *stack = stacks_keep(__builtin_return_address(0));
	void *object = kmem_cache_alloc(contexts.cache, MEM_ATOMIC);
	struct kmem_history history;
	struct kmem_fail_stats stats;
	uintptr_t pc;

	CHECK(stack && stacks_get(stack, &pc, 1) == 1);
	CHECK(stacks_count() > 0 && stacks_pages() > 0);
	CHECK(stacks_find((uintptr_t)stack) && !stacks_find((uintptr_t)object));
	stacks_print(&console_sink, stack);
	if (kmem_cache_history(contexts.cache, (uintptr_t)object, &history))
		kmem_history_print(&console_sink, &history);
	kmem_cache_free(contexts.cache, object);
	CHECK_EQ(kmem_debug_checks(), kmem_debug_mode()[0] != 'o' && !strchr(kmem_debug_mode(), ':'));
	CHECK(kmem_fail_next(0) == 0 && !kmem_fail_get_stats(1, &stats));
}

static const struct contexts_row rows[] = {
	CONTEXTS_ROW(arena_alloc),
	CONTEXTS_ROW(arena_xalloc),
	CONTEXTS_ROW(arena_add),
	CONTEXTS_ROW(arena_amounts),
	CONTEXTS_ROW(base_alloc),
	CONTEXTS_ROW(arena_looks),
	CONTEXTS_ROW(kmem_cache_alloc),
	CONTEXTS_ROW(kmem_cache_looks),
	CONTEXTS_ROW(kmalloc),
	CONTEXTS_ROW(debug_any),
	CONTEXTS_ROW(sync_any),
	CONTEXTS_ROW(ktask_looks),
	CONTEXTS_ROW(alarm),
	CONTEXTS_ROW(reclaim_any),
};

static const struct contexts_row thread_rows[] = {
	CONTEXTS_ROW(qlock_trylock),
	CONTEXTS_ROW(rwlock_tryread),
	CONTEXTS_ROW(rwlock_trywrite),
	CONTEXTS_ROW_WRONG(qlock_unlock),
	CONTEXTS_ROW_WRONG(rwlock_read_done),
	CONTEXTS_ROW_WRONG(rwlock_write_done),
};

static void serves_anywhere(const struct contexts_row *row, bool under_spinlocks)
{
	for (enum context where = CONTEXT_THREAD; where < CONTEXTS; where++)
		if (where != CONTEXT_SPINLOCK || under_spinlocks)
			contexts_serves(where, row);
}

TEST("contexts: what any context may call works in interrupts, callbacks, under a lock")
{
	contexts_begin();
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		serves_anywhere(&rows[i], true);
	serves_anywhere(&(struct contexts_row)CONTEXTS_ROW(block_any), false);
	map_some(contexts.block->data);
	while (mapped_count > 0)
		contexts_serves(mapped_count % CONTEXTS, &(struct contexts_row)CONTEXTS_ROW(vunmap));
	contexts_end();
}

TEST("contexts: locks are tried and released by threads anywhere, not in interrupts")
{
	contexts_begin();
	for (size_t i = 0; i < sizeof(thread_rows) / sizeof(*thread_rows); i++) {
		for (enum context where = CONTEXT_THREAD; where < CONTEXTS; where++)
			if (where != CONTEXT_INTERRUPT && !thread_rows[i].only_wrong)
				contexts_serves(where, &thread_rows[i]);
		contexts_refuses(CONTEXT_INTERRUPT, &thread_rows[i]);
	}
	contexts_end();
}
