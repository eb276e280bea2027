/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contexts: what may sleep panics at entry where that is illegal, with the function's name, before
 * anything has changed.
 */
#include "contexts.h"

#include "disk.h"
#include "irq.h"
#include "kmem_debug.h"
#include "kmem_fail.h"
#include "kthread.h"
#include "leaks.h"
#include "reclaim.h"
#include "shortage.h"
#include "stacks.h"
#include "vmap.h"
#include "work.h"
#include "lib/test.h"

static struct arena *made;
static struct kmem_cache *cache_made;
static struct ktask *ended;
static char *pages; /* for a base arena */
static char buffer[DISK_BLOCK_SIZE] __attribute__((aligned(DISK_BLOCK_SIZE)));
static char arena_storage[ARENA_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));
static char cache_storage[KMEM_CACHE_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));

CALL(arena_create)
{
	made = arena_create("made", (void *)1, 8, 1, NULL, NULL, NULL, 0, MEM_ATOMIC);
	CHECK_EQ(arena_destroy(made), 0);
}

CALL(__arena_create)
{
	made = __arena_create((struct arena *)arena_storage, "made", (void *)1, 8, 1, NULL, NULL, NULL, 0,
		MEM_ATOMIC);
	CHECK_EQ(__arena_destroy(made), 0);
}

CALL(arena_create_base)
{
	made = arena_create_base("made", pages, ARENA_BASE_PAGES_MIN * PORT_PAGE_SIZE);
	CHECK_EQ(arena_destroy(made), 0);
}

CALL(arena_destroy)
{
	CHECK_EQ(arena_destroy(contexts.fronted), 0);
	contexts.fronted = arena_create("fronted", (void *)1, 100, 1, NULL, NULL, NULL, 4, MEM_WAIT);
}

CALL(__arena_destroy)
{
	__arena_destroy(contexts.fronted);
	contexts.fronted = NULL;
}

CALL(arena_alloc_timeout)
{
	arena_free(contexts.ids, arena_alloc_timeout(contexts.ids, 1, MEM_ERROR, 0), 1);
}

CALL(arena_reap)
{
	arena_reap(contexts.fronted, SIZE_MAX);
}

CALL(add_importing_arena)
{
	add_importing_arena(contexts.ids, contexts.loner);
	del_importing_arena(contexts.ids, contexts.loner);
}

CALL(del_importing_arena)
{
	del_importing_arena(contexts.ids, contexts.importer);
	add_importing_arena(contexts.ids, contexts.importer);
}

CALL(arena_tree_stats)
{
	struct arena_stats row;

	arena_tree_stats(&row, 1);
}

CALL(arena_next)
{
	for (struct arena *a = arena_next(NULL); a; a = arena_next(a))
		;
}

CALL(arena_unpin)
{
	arena_unpin(contexts.fronted);
}

CALL(arena_find)
{
	struct arena *found = arena_find("fronted");

	CHECK(found == contexts.fronted);
}

CALL(arena_base_balances)
{
	arena_base_balances(base_arena);
}

CALL(print_arena_stats)
{
	struct buffer_sink sink;

	buffer_sink_init(&sink, buffer, sizeof(buffer));
	print_arena_stats(NULL, &sink.sink);
}

CALL(kmem_cache_create)
{
	cache_made = kmem_cache_create("made", 64, 0, 0, NULL, NULL, NULL, NULL);
	CHECK_EQ(kmem_cache_destroy(cache_made), 0);
}

CALL(__kmem_cache_create)
{
	cache_made = __kmem_cache_create(
		(struct kmem_cache *)cache_storage, "made", 64, 0, 0, NULL, NULL, NULL, NULL);
	CHECK_EQ(__kmem_cache_destroy(cache_made), 0);
}

CALL(kmem_cache_destroy)
{
	CHECK_EQ(kmem_cache_destroy(contexts.cache), 0);
	contexts.cache = kmem_cache_create("contexts", 64, 0, 0, NULL, NULL, NULL, NULL);
}

CALL(__kmem_cache_destroy)
{
	__kmem_cache_destroy(contexts.cache);
	contexts.cache = NULL;
}

CALL(kmem_cache_reap)
{
	kmem_cache_reap(contexts.cache, KMEM_REAP_ALL);
}

CALL(kmem_reap_all)
{
	kmem_reap_all(KMEM_REAP_IDLE);
}

CALL(kmem_cache_rows)
{
	struct kmem_cache_stats row;

	kmem_cache_rows(&row, 1);
}

CALL(kmem_cache_next)
{
	kmem_cache_unpin(kmem_cache_next(NULL));
}

CALL(kmem_cache_unpin)
{
	kmem_cache_unpin(contexts.cache);
}

CALL(del_importing_slab)
{
	del_importing_slab(kpages_arena, contexts.cache);
	add_importing_slab(kpages_arena, contexts.cache);
}

CALL(add_importing_slab)
{
	add_importing_slab(kpages_arena, contexts.cache);
}

static bool is_true(void *arg)
{
	return true;
}

CALL(qlock_lock)
{
	qlock_lock(&contexts.lock);
	qlock_unlock(&contexts.lock);
}

CALL(sem_down)
{
	sem_down(&contexts.sem, 1);
	sem_up(&contexts.sem, 1);
}

CALL(sem_down_timeout)
{
	CHECK(sem_down_timeout(&contexts.sem, 1, 0));
	sem_up(&contexts.sem, 1);
}

CALL(cv_wait)
{
	cv_wait(&contexts.cv, &contexts.lock);
}

CALL(cv_wait_timeout)
{
	cv_wait_timeout(&contexts.cv, &contexts.lock, 0);
}

CALL(rendez_sleep)
{
	rendez_sleep(&contexts.rendez, is_true, NULL);
}

CALL(rendez_sleep_timeout)
{
	CHECK(rendez_sleep_timeout(&contexts.rendez, is_true, NULL, 0));
}

CALL(rwlock_read)
{
	rwlock_read(&contexts.rw);
	rwlock_read_done(&contexts.rw);
}

CALL(rwlock_write)
{
	rwlock_write(&contexts.rw);
	rwlock_write_done(&contexts.rw);
}

static void nothing(void *arg)
{
}

CALL(ktask)
{
	ktask_join(ktask("made", nothing, NULL));
}

CALL(ktask_pinned)
{
	ktask_join(ktask_pinned("made", nothing, NULL, 0));
}

CALL(ktask_create)
{
	struct ktask_plan plan = {.name = "made", .fn = nothing, .core = KTASK_ANY_CORE};

	ktask_join(ktask_create(&plan));
}

CALL(ktask_detached)
{
	size_t before = ktask_count();

	CHECK(ktask_detached("made", nothing, NULL));
	while (ktask_count() > before)
		kthread_yield();
}

CALL(ktask_join)
{
	ktask_join(ended);
	ended = ktask("ended", nothing, NULL);
}

CALL(ktask_exit)
{
	ktask_exit();
}

CALL(kthread_yield)
{
	kthread_yield();
}

CALL(kthread_usleep)
{
	kthread_usleep(1);
}

CALL(reclaim_run)
{
	reclaim_run(1);
}

CALL(reclaim_roots)
{
	struct reclaim_root row;

	reclaim_roots(&row, 1);
}

CALL(reclaim_nodes)
{
	struct reclaim_node row = {0};

	reclaim_nodes(&row, 1);
}

CALL(shortage_rows)
{
	struct shortage_row row;

	shortage_rows(&row, 1);
}

CALL(shortage_check)
{
	CHECK_EQ(shortage_check(NULL), 0);
}

CALL(disk_read)
{
	CHECK_EQ(disk_read(&contexts.fake->disk, 0, 1, pages), 0);
}

CALL(disk_write)
{
	CHECK_EQ(disk_write(&contexts.fake->disk, 0, 1, pages), 0);
}

CALL(disk_flush)
{
	CHECK_EQ(disk_flush(&contexts.fake->disk), 0);
}

CALL(disk_add)
{
	static struct disk d;

	d = (struct disk){.kind = "none", .blocks = 1, .blocks_max = 1, .submit = contexts.fake->disk.submit};
	disk_add(&d);
	disk_remove(&d);
}

CALL(disk_remove)
{
	disk_remove(&contexts.fake->disk);
	disk_add(&contexts.fake->disk);
}

CALL(block_cache_create)
{
	struct disk other = fake_disk_void();

	CHECK_EQ(block_cache_destroy(block_cache_create(&other)), 0);
}

CALL(block_get)
{
	struct block *b;

	CHECK_EQ(block_get(contexts.blocks, 0, MEM_ATOMIC, &b), 0);
	block_put(b);
}

CALL(block_cache_sync)
{
	CHECK_EQ(block_cache_sync(contexts.blocks), 0);
}

CALL(block_cache_next)
{
	block_cache_next(NULL);
}

CALL(block_cache_check)
{
	CHECK_EQ(block_cache_check(contexts.blocks), 0);
}

CALL(block_cache_destroy)
{
	CHECK_EQ(block_cache_destroy(contexts.blocks), -EBUSY);
}

/* The vector is handed out where that is legal. */
static unsigned vector;

static void no_interrupt(void *arg)
{
}

CALL(irq_alloc)
{
	irq_free(irq_alloc("made", no_interrupt, NULL));
}

CALL(irq_alloc_block)
{
	struct irq_request request = {"made", no_interrupt, NULL};

	irq_free_block(irq_alloc_block(&request, 1), 1);
}

CALL(irq_free)
{
	irq_free(vector);
	vector = irq_alloc("made", nothing, NULL);
}

CALL(irq_free_block)
{
	irq_free_block(vector, 1);
	vector = irq_alloc("made", nothing, NULL);
}

CALL(kmem_debug_get_stats)
{
	struct kmem_debug_stats stats;

	kmem_debug_get_stats(&stats);
}

CALL(kmem_debug_walk)
{
	kmem_debug_walk();
}

CALL(kmem_trace_start)
{
	CHECK_EQ(kmem_trace_start(contexts.cache), 0);
	kmem_trace_stop(contexts.cache);
}

CALL(kmem_trace_stop)
{
	kmem_trace_stop(contexts.cache);
}

CALL(kmem_trace_reset)
{
	kmem_trace_reset(contexts.cache);
}

CALL(kmem_trace_print)
{
	kmem_trace_print(contexts.cache, 1, &console_sink);
}

CALL(stacks_tally_begin)
{
	stacks_tally_begin();
	stacks_tally_end();
}

CALL(stacks_tally_next)
{
	struct stacks_tally row;

	stacks_tally_next(&row);
}

static bool ignore_leak(const struct leak *leak, void *arg)
{
	return true;
}

CALL(leaks_scan)
{
	CHECK_EQ(leaks_scan(), 0);
	leaks_clear();
}

CALL(leaks_report)
{
	leaks_report(ignore_leak, NULL);
}

CALL(leaks_get_stats)
{
	struct leaks_stats stats;

	leaks_get_stats(&stats);
}

CALL(leaks_clear)
{
	leaks_clear();
}

CALL(kmem_fail_start)
{
	struct kmem_fail_rule rule = {.name = "nothing of that name"};

	kmem_fail_stop(kmem_fail_start(&rule));
}

CALL(kmem_fail_stop)
{
	kmem_fail_stop(1);
}

CALL(work_start)
{
	struct buffer_sink why;

	buffer_sink_init(&why, buffer, sizeof(buffer));
	CHECK_EQ(work_start("no such kind", 0, NULL, &why.sink), 0);
}

CALL(work_stop)
{
	CHECK(!work_stop(UINT64_MAX));
}

CALL(work_stop_all)
{
	work_stop_all();
}

CALL(work_list)
{
	struct work_stats row;

	CHECK_EQ(work_list(UINT64_MAX, &row, 1), 0);
}

/* Those that wait for other cores: callbacks may call them. */

CALL(vmap)
{
	vunmap(vmap((void *const *)&pages, 1, MEM_ATOMIC), 1);
}

CALL(vmalloc)
{
	vfree(vmalloc(1, MEM_ATOMIC), 1);
}

CALL(vmap_drain)
{
	vmap_drain();
}

static const struct contexts_row for_threads[] = {
	CONTEXTS_ROW(vmap),
	CONTEXTS_ROW(vmalloc),
	CONTEXTS_ROW(vmap_drain),
};

static const struct contexts_row may_sleep[] = {
	CONTEXTS_ROW(arena_create),
	CONTEXTS_ROW(__arena_create),
	CONTEXTS_ROW(arena_create_base),
	CONTEXTS_ROW(arena_destroy),
	CONTEXTS_ROW_WRONG(__arena_destroy),
	CONTEXTS_ROW(arena_alloc_timeout),
	CONTEXTS_ROW(arena_reap),
	CONTEXTS_ROW(add_importing_arena),
	CONTEXTS_ROW(del_importing_arena),
	CONTEXTS_ROW(arena_tree_stats),
	CONTEXTS_ROW(arena_next),
	CONTEXTS_ROW(arena_find),
	CONTEXTS_ROW(arena_base_balances),
	CONTEXTS_ROW(print_arena_stats),
	CONTEXTS_ROW(kmem_cache_create),
	CONTEXTS_ROW(__kmem_cache_create),
	CONTEXTS_ROW(kmem_cache_destroy),
	CONTEXTS_ROW_WRONG(__kmem_cache_destroy),
	CONTEXTS_ROW(kmem_cache_reap),
	CONTEXTS_ROW(kmem_reap_all),
	CONTEXTS_ROW(kmem_cache_rows),
	CONTEXTS_ROW(kmem_cache_next),
	CONTEXTS_ROW_WRONG(arena_unpin),
	CONTEXTS_ROW_WRONG(kmem_cache_unpin),
	CONTEXTS_ROW(del_importing_slab),
	CONTEXTS_ROW_WRONG(add_importing_slab),
	CONTEXTS_ROW(qlock_lock),
	CONTEXTS_ROW(sem_down),
	CONTEXTS_ROW(sem_down_timeout),
	CONTEXTS_ROW_WRONG(cv_wait),
	CONTEXTS_ROW_WRONG(cv_wait_timeout),
	CONTEXTS_ROW(rendez_sleep),
	CONTEXTS_ROW(rendez_sleep_timeout),
	CONTEXTS_ROW(rwlock_read),
	CONTEXTS_ROW(rwlock_write),
	CONTEXTS_ROW(ktask),
	CONTEXTS_ROW(ktask_pinned),
	CONTEXTS_ROW(ktask_create),
	CONTEXTS_ROW(ktask_detached),
	CONTEXTS_ROW(ktask_join),
	CONTEXTS_ROW_WRONG(ktask_exit),
	CONTEXTS_ROW(kthread_yield),
	CONTEXTS_ROW(kthread_usleep),
	CONTEXTS_ROW(irq_alloc),
	CONTEXTS_ROW(irq_alloc_block),
	CONTEXTS_ROW(reclaim_run),
	CONTEXTS_ROW(reclaim_roots),
	CONTEXTS_ROW(reclaim_nodes),
	CONTEXTS_ROW(shortage_rows),
	CONTEXTS_ROW(shortage_check),
	CONTEXTS_ROW(disk_read),
	CONTEXTS_ROW(disk_write),
	CONTEXTS_ROW(disk_flush),
	CONTEXTS_ROW(disk_add),
	CONTEXTS_ROW(disk_remove),
	CONTEXTS_ROW(block_cache_create),
	CONTEXTS_ROW(block_get),
	CONTEXTS_ROW(block_cache_sync),
	CONTEXTS_ROW(block_cache_next),
	CONTEXTS_ROW(block_cache_check),
	CONTEXTS_ROW(block_cache_destroy),
	CONTEXTS_ROW(irq_free),
	CONTEXTS_ROW(irq_free_block),
	CONTEXTS_ROW(kmem_debug_get_stats),
	CONTEXTS_ROW(kmem_debug_walk),
	CONTEXTS_ROW(kmem_trace_start),
	CONTEXTS_ROW(kmem_trace_stop),
	CONTEXTS_ROW(kmem_trace_reset),
	CONTEXTS_ROW(kmem_trace_print),
	CONTEXTS_ROW(stacks_tally_begin),
	CONTEXTS_ROW_WRONG(stacks_tally_next),
	CONTEXTS_ROW(leaks_scan),
	CONTEXTS_ROW(leaks_report),
	CONTEXTS_ROW(leaks_get_stats),
	CONTEXTS_ROW(leaks_clear),
	CONTEXTS_ROW(kmem_fail_start),
	CONTEXTS_ROW_WRONG(kmem_fail_stop),
	CONTEXTS_ROW(work_start),
	CONTEXTS_ROW(work_stop),
	CONTEXTS_ROW(work_stop_all),
	CONTEXTS_ROW(work_list),
};

static void begin(void)
{
	contexts_begin();
	pages = base_alloc(NULL, ARENA_BASE_PAGES_MIN * PORT_PAGE_SIZE, MEM_WAIT);
	ended = ktask("ended", nothing, NULL);
	vector = irq_alloc("made", nothing, NULL);
}

static void end(void)
{
	irq_free(vector);
	ktask_join(ended);
	base_free(NULL, pages, ARENA_BASE_PAGES_MIN * PORT_PAGE_SIZE);
	contexts_end();
}

TEST("contexts: what may sleep panics in interrupts, callbacks, under a spinlock")
{
	begin();
	for (size_t i = 0; i < sizeof(may_sleep) / sizeof(*may_sleep); i++) {
		for (enum context where = CONTEXT_IRQ_OFF; where < CONTEXTS; where++)
			contexts_refuses(where, &may_sleep[i]);
		if (!may_sleep[i].only_wrong)
			contexts_serves(CONTEXT_THREAD, &may_sleep[i]);
	}
	end();
}

TEST("contexts: what waits for other cores panics at entry with interrupts off")
{
	begin();
	for (size_t i = 0; i < sizeof(for_threads) / sizeof(*for_threads); i++) {
		contexts_refuses(CONTEXT_IRQ_OFF, &for_threads[i]);
		contexts_refuses(CONTEXT_SPINLOCK, &for_threads[i]);
		contexts_refuses(CONTEXT_INTERRUPT, &for_threads[i]);
		contexts_serves(CONTEXT_THREAD, &for_threads[i]);
		contexts_serves(CONTEXT_CALLBACK, &for_threads[i]);
	}
	end();
}
