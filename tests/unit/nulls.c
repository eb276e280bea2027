/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NULL where a call needs a pointer: one line names the call, what the pointer is, and the caller.
 */
#include "alarm.h"
#include "arena_print.h"
#include "arenas.h"
#include "irq.h"
#include "kmalloc.h"
#include "kmem_debug.h"
#include "kmem_fail.h"
#include "kthread.h"
#include "leaks.h"
#include "machine.h"
#include "reclaim.h"
#include "shortage.h"
#include "slab.h"
#include "stacks.h"
#include "sync.h"
#include "table.h"
#include "work.h"
#include "lib/bench.h"
#include "lib/test.h"

static struct arena *ids;
static struct kmem_cache *cache;
static struct qlock lock = QLOCK_INIT(lock);
static struct condvar cv = CONDVAR_INIT(cv);
static struct rendez rendez = RENDEZ_INIT(rendez);
static struct arena_stats arena_row;
static struct kmem_object where;
static uintptr_t start;
static size_t size;
static struct arena_segment segment;
static char arena_storage[ARENA_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));
static char cache_storage[KMEM_CACHE_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));

static void not_to_ring(struct alarm *a)
{
}

static bool never(struct shortage *s)
{
	return false;
}

static bool not_called(void *arg)
{
	return false;
}

/* In a function of this file, whose name begins so. */
#define REFUSES(what, call) CHECK_PANICS(call, what " at NULL (called from refuse_")

/* A format that isn't a literal. */
static __attribute__((noinline)) void set_route(const char *route)
{
	void (*set)(unsigned, const char *, ...) = irq_set_route;

	set(MACHINE_VECTOR_FIRST, route);
}

static __attribute__((noinline)) void refuse_sync(void)
{
	REFUSES("qlock_init of a qlock", qlock_init(NULL));
	REFUSES("qlock_lock of a qlock", qlock_lock(NULL));
	REFUSES("qlock_trylock of a qlock", qlock_trylock(NULL));
	REFUSES("qlock_unlock of a qlock", qlock_unlock(NULL));
	REFUSES("qlock_is_held_by_me of a qlock", qlock_is_held_by_me(NULL));
	REFUSES("sem_init of a semaphore", sem_init(NULL, 1));
	REFUSES("sem_down of a semaphore", sem_down(NULL, 1));
	REFUSES("sem_down_timeout of a semaphore", sem_down_timeout(NULL, 1, 0));
	REFUSES("sem_trydown of a semaphore", sem_trydown(NULL, 1));
	REFUSES("sem_up of a semaphore", sem_up(NULL, 1));
	REFUSES("sem_count of a semaphore", sem_count(NULL));
	REFUSES("cv_init of a condvar", cv_init(NULL));
	REFUSES("cv_wait of a condvar", cv_wait(NULL, &lock));
	REFUSES("cv_wait of a qlock", cv_wait(&cv, NULL));
	REFUSES("cv_wait_timeout of a condvar", cv_wait_timeout(NULL, &lock, 0));
	REFUSES("cv_wait_timeout of a qlock", cv_wait_timeout(&cv, NULL, 0));
	REFUSES("cv_signal of a condvar", cv_signal(NULL));
	REFUSES("cv_broadcast of a condvar", cv_broadcast(NULL));
	REFUSES("rendez_init of a rendez", rendez_init(NULL));
	REFUSES("rendez_sleep of a rendez", rendez_sleep(NULL, not_called, NULL));
	REFUSES("rendez_sleep of a condition", rendez_sleep(&rendez, NULL, NULL));
	REFUSES("rendez_sleep_timeout of a rendez", rendez_sleep_timeout(NULL, not_called, NULL, 0));
	REFUSES("rendez_sleep_timeout of a condition", rendez_sleep_timeout(&rendez, NULL, NULL, 0));
	REFUSES("rendez_wakeup of a rendez", rendez_wakeup(NULL));
	REFUSES("rwlock_init of a rwlock", rwlock_init(NULL));
	REFUSES("rwlock_read of a rwlock", rwlock_read(NULL));
	REFUSES("rwlock_write of a rwlock", rwlock_write(NULL));
	REFUSES("rwlock_tryread of a rwlock", rwlock_tryread(NULL));
	REFUSES("rwlock_trywrite of a rwlock", rwlock_trywrite(NULL));
	REFUSES("rwlock_read_done of a rwlock", rwlock_read_done(NULL));
	REFUSES("rwlock_write_done of a rwlock", rwlock_write_done(NULL));
}

static __attribute__((noinline)) void refuse_threads(void)
{
	REFUSES("alarm_init of an alarm", alarm_init(NULL, not_to_ring));
	REFUSES("alarm_set of an alarm", alarm_set(NULL, 0));
	REFUSES("alarm_cancel of an alarm", alarm_cancel(NULL));
	REFUSES("ktask_create of a plan", ktask_create(NULL));
	REFUSES("ktask_join of a ktask", ktask_join(NULL));
	REFUSES("ktask_id of a ktask", ktask_id(NULL));
	REFUSES("ktask_name of a ktask", ktask_name(NULL));
	REFUSES("ktask_stats of a list of rows", ktask_stats(0, NULL, 1));
	REFUSES("work_start of a name", work_start(NULL, 0, NULL, &console_sink));
	REFUSES("work_start of a sink", work_start("ids", 0, NULL, NULL));
	REFUSES("work_start of a list of arguments", work_start("ids", 1, NULL, &console_sink));
	REFUSES("work_kinds of an info", work_kinds(0, NULL));
	REFUSES("work_list of a list of rows", work_list(0, NULL, 1));
	REFUSES("reclaim_get_stats of a place for statistics", reclaim_get_stats(NULL));
	REFUSES("reclaim_roots of a list of rows", reclaim_roots(NULL, 1));
	REFUSES("reclaim_nodes of a list of rows", reclaim_nodes(NULL, 1));
	REFUSES("shortage_wait of a record", shortage_wait(NULL));
	REFUSES("shortage_wait of a try", shortage_wait(&(struct shortage){.flags = MEM_WAIT}));
	REFUSES("shortage_wait of a list of parts",
		shortage_wait(&(struct shortage){.try = never, .flags = MEM_WAIT}));
	REFUSES("shortage_rows of a list of rows", shortage_rows(NULL, 1));
	REFUSES("shortage_chain_free of an arena", shortage_chain_free(NULL));
	REFUSES("irq_next of an info", irq_next(0, NULL));
}

static __attribute__((noinline)) void refuse_caches(void)
{
	REFUSES("kmem_cache_create of a name", kmem_cache_create(NULL, 8, 0, 0, NULL, NULL, NULL, NULL));
	REFUSES("__kmem_cache_create of a storage",
		__kmem_cache_create(NULL, "x", 8, 0, 0, NULL, NULL, NULL, NULL));
	REFUSES("__kmem_cache_create of a name",
		__kmem_cache_create((struct kmem_cache *)cache_storage, NULL, 8, 0, 0, NULL, NULL, NULL, NULL));
	REFUSES("kmem_cache_zalloc of a cache", kmem_cache_zalloc(NULL, MEM_WAIT));
	REFUSES("kmem_cache_alloc_bulk of a list of objects",
		kmem_cache_alloc_bulk(cache, NULL, 5, MEM_WAIT));
	REFUSES("kmem_cache_free_bulk of a list of objects", kmem_cache_free_bulk(cache, NULL, 5));
	REFUSES("kmem_cache_reserve of a cache", kmem_cache_reserve(NULL, 1, MEM_WAIT));
	REFUSES("kmem_cache_set_reclaim of a cache", kmem_cache_set_reclaim(NULL, NULL, NULL));
	REFUSES("kmem_cache_reap of a cache", kmem_cache_reap(NULL, KMEM_REAP_ALL));
	REFUSES("kmem_cache_get_stats of a cache",
		kmem_cache_get_stats(NULL, &(struct kmem_cache_stats){0}));
	REFUSES("kmem_cache_get_stats of a place for statistics", kmem_cache_get_stats(cache, NULL));
	REFUSES("kmem_cache_get_fullness of a cache",
		kmem_cache_get_fullness(NULL, (uint64_t[KMEM_FULLNESS]){0}));
	REFUSES("kmem_cache_get_fullness of a list of counts", kmem_cache_get_fullness(cache, NULL));
	REFUSES("kmem_cache_rows of a list of rows", kmem_cache_rows(NULL, 1));
	REFUSES("kmem_cache_unpin of a cache", kmem_cache_unpin(NULL));
	REFUSES("kmem_cache_find of a cache", kmem_cache_find(NULL, 1, &where));
	REFUSES("kmem_cache_find of a place for an object", kmem_cache_find(cache, 1, NULL));
	REFUSES("kmem_cache_is_idle of a cache", kmem_cache_is_idle(NULL, 1));
	REFUSES("kmalloc_find_large of a place for an address", kmalloc_find_large(1, 1, NULL, &size));
	REFUSES("kmalloc_find_large of a place for a size", kmalloc_find_large(1, 1, &start, NULL));
	REFUSES("kmem_cache_check of a cache", kmem_cache_check(NULL, NULL));
	REFUSES("kmem_table_find of a place for an address", kmem_table_find(0, NULL));
	REFUSES("kmem_cache_destroy of a cache", kmem_cache_destroy(NULL));
	REFUSES("__kmem_cache_destroy of a cache", __kmem_cache_destroy(NULL));
	REFUSES("add_importing_slab of a source", add_importing_slab(NULL, cache));
	REFUSES("add_importing_slab of a cache", add_importing_slab(ids, NULL));
	REFUSES("del_importing_slab of a source", del_importing_slab(NULL, cache));
	REFUSES("del_importing_slab of a cache", del_importing_slab(ids, NULL));
}

static __attribute__((noinline)) void refuse_arenas(void)
{
	REFUSES("arena_create of a name", arena_create(NULL, NULL, 0, 1, NULL, NULL, NULL, 0, MEM_WAIT));
	REFUSES("__arena_create of a storage",
		__arena_create(NULL, "x", NULL, 0, 1, NULL, NULL, NULL, 0, MEM_WAIT));
	REFUSES("__arena_create of a name",
		__arena_create((struct arena *)arena_storage, NULL, NULL, 0, 1, NULL, NULL, NULL, 0, MEM_WAIT));
	REFUSES("arena_create_base of a name", arena_create_base(NULL, NULL, 0));
	REFUSES("arena_add of an arena", arena_add(NULL, (void *)1, 1, MEM_WAIT));
	REFUSES("arena_alloc_timeout of an arena", arena_alloc_timeout(NULL, 1, MEM_ERROR, 0));
	REFUSES("arena_xalloc of an arena", arena_xalloc(NULL, 1, 0, 0, 0, 0, 0, MEM_WAIT));
	REFUSES("arena_xfree of an arena", arena_xfree(NULL, (void *)1, 1));
	REFUSES("arena_amt_free of an arena", arena_amt_free(NULL));
	REFUSES("arena_amt_total of an arena", arena_amt_total(NULL));
	REFUSES("arena_reap of an arena", arena_reap(NULL, 1));
	REFUSES("arena_index of an arena", arena_index(NULL));
	REFUSES("arena_set_reclaim of an arena", arena_set_reclaim(NULL, NULL, NULL));
	REFUSES("add_importing_arena of a source", add_importing_arena(NULL, ids));
	REFUSES("add_importing_arena of an importer", add_importing_arena(ids, NULL));
	REFUSES("del_importing_arena of a source", del_importing_arena(NULL, ids));
	REFUSES("del_importing_arena of an importer", del_importing_arena(ids, NULL));
	REFUSES("arena_get_stats of an arena", arena_get_stats(NULL, &arena_row));
	REFUSES("arena_get_stats of a place for statistics", arena_get_stats(ids, NULL));
	REFUSES("arena_tree_stats of a list of rows", arena_tree_stats(NULL, 1));
	REFUSES("arena_walk of an arena", arena_walk(NULL, NULL, NULL));
	REFUSES("arena_walk of a function", arena_walk(ids, NULL, NULL));
	REFUSES("arena_free_histogram of an arena", arena_free_histogram(NULL, NULL));
	REFUSES("arena_free_histogram of a list of classes", arena_free_histogram(ids, NULL));
	REFUSES("arena_find_segment of an arena", arena_find_segment(NULL, 1, &segment));
	REFUSES("arena_find_segment of a place for a segment", arena_find_segment(ids, 1, NULL));
	REFUSES("arena_name_at of a place for a name", arena_name_at(ids, NULL));
	REFUSES("arena_find of a name", arena_find(NULL));
	REFUSES("arena_unpin of an arena", arena_unpin(NULL));
	REFUSES("arena_check of an arena", arena_check(NULL, NULL));
	REFUSES("arena_check_until of an arena", arena_check_until(NULL, NULL, NULL, NULL));
	REFUSES("arena_check_until of a function", arena_check_until(ids, NULL, NULL, NULL));
	REFUSES("arena_base_balances of an arena", arena_base_balances(NULL));
	REFUSES("print_arena_stats of a sink", print_arena_stats(ids, NULL));
	REFUSES("arena_destroy of an arena", arena_destroy(NULL));
	REFUSES("__arena_destroy of an arena", __arena_destroy(NULL));
	CHECK_PANICS(set_route(NULL), "irq_set_route of a route at NULL (called from set_route");
}

static __attribute__((noinline)) void refuse_debug(void)
{
	struct kmem_history history = {.object = 0};

	REFUSES("kmem_debug_set of a value", kmem_debug_set(NULL));
	REFUSES("kmem_debug_get_stats of a place for statistics", kmem_debug_get_stats(NULL));
	REFUSES("kmem_cache_history of a cache", kmem_cache_history(NULL, 1, &history));
	REFUSES("kmem_cache_history of a place for a history", kmem_cache_history(cache, 1, NULL));
	REFUSES("kmem_history_print of a sink", kmem_history_print(NULL, &history));
	REFUSES("kmem_history_print of a history", kmem_history_print(&console_sink, NULL));
	REFUSES("kmem_trace_start of a cache", kmem_trace_start(NULL));
	REFUSES("kmem_trace_stop of a cache", kmem_trace_stop(NULL));
	REFUSES("kmem_trace_reset of a cache", kmem_trace_reset(NULL));
	REFUSES("kmem_trace_tally of a cache", kmem_trace_tally(NULL));
	REFUSES("kmem_trace_print of a cache", kmem_trace_print(NULL, 1, &console_sink));
	REFUSES("kmem_trace_print of a sink", kmem_trace_print(cache, 1, NULL));
	REFUSES("kmem_fail_start of a rule", kmem_fail_start(NULL));
	REFUSES("kmem_fail_get_stats of a place for statistics", kmem_fail_get_stats(1, NULL));
	REFUSES("stacks_get of a list of addresses", stacks_get(NULL, NULL, 1));
	REFUSES("stacks_print of a sink", stacks_print(NULL, NULL));
	REFUSES("stacks_tally_add of a backtrace", stacks_tally_add(NULL, 1, 1));
	REFUSES("stacks_tally_next of a place for a row", stacks_tally_next(NULL));
	REFUSES("leaks_report of a function", leaks_report(NULL, NULL));
	REFUSES("leaks_get_stats of a place for statistics", leaks_get_stats(NULL));
	REFUSES("leaks_add_root of a root", leaks_add_root(NULL));
}

static __attribute__((format(printf, 1, 2))) void format_nothing(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sink_vprintf(NULL, fmt, ap);
	va_end(ap);
}

static __attribute__((noinline)) void refuse_sinks(void)
{
	struct table_printer printer;

	REFUSES("buffer_sink_init of a sink", buffer_sink_init(NULL, NULL, 0));
	REFUSES("sink_write of a sink", sink_write(NULL, "", 0));
	REFUSES("sink_puts of a sink", sink_puts(NULL, "text"));
	REFUSES("sink_fill of a sink", sink_fill(NULL, ' ', 0));
	REFUSES("sink_put_line of a sink", sink_put_line(NULL, "line"));
	REFUSES("sink_printf of a sink", sink_printf(NULL, "%d", 1));
	CHECK_PANICS(format_nothing("%d", 1), "sink_vprintf of a sink at NULL (called from format_nothing");
	REFUSES("table_begin of a sink", table_begin(&printer, &arena_tree_table, NULL, true));
	REFUSES("arena_tree_begin of a sink", arena_tree_begin(&printer, NULL, true));
	REFUSES("arena_show of a sink", arena_show(ids, true, true, NULL));
	REFUSES("arena_show of an arena", arena_show(NULL, true, true, &console_sink));
	REFUSES("test_run of a sink", test_run("no such test", false, NULL));
	REFUSES("test_list of a sink", test_list("no such test", NULL));
	REFUSES("bench_run of a sink", bench_run("no such benchmark", false, NULL));
}

/* The hot ways, on which only debug builds look. */
static __attribute__((noinline)) void refuse_hot(void)
{
	REFUSES("arena_alloc of an arena", arena_alloc(NULL, 1, MEM_WAIT));
	REFUSES("arena_free of an arena", arena_free(NULL, (void *)1, 1));
	REFUSES("kmem_cache_alloc of a cache", kmem_cache_alloc(NULL, MEM_WAIT));
	REFUSES("kmem_cache_free of a cache", kmem_cache_free(NULL, &cache));
	REFUSES("spin_lock of a spinlock", spin_lock(NULL));
}

TEST("mistakes: each call that needs a pointer names NULL, and leaves no lock held")
{
	ids = arenas_ids(1, 10);
	cache = kmem_cache_create("nulls", 64, 0, 0, NULL, NULL, NULL, NULL);
	for (int times = 0; times < 2; times++) {
		refuse_sync();
		refuse_threads();
		refuse_caches();
		refuse_arenas();
		refuse_debug();
		refuse_sinks();
		if (SPANDREL_DEBUG)
			refuse_hot();
	}
	CHECK_EQ(kmem_cache_destroy(cache), 0);
	arenas_end(ids);
}

TEST("mistakes: a list of none may be NULL")
{
	cache = kmem_cache_create("nulls", 64, 0, 0, NULL, NULL, NULL, NULL);
	CHECK_EQ(kmem_cache_alloc_bulk(cache, NULL, 0, MEM_WAIT), 0);
	kmem_cache_free_bulk(cache, NULL, 0);
	CHECK_LE(1, arena_tree_stats(NULL, 0) + reclaim_roots(NULL, 0) + reclaim_nodes(NULL, 0));
	CHECK_LE(1, kmem_cache_rows(NULL, 0));
	CHECK_EQ(ktask_stats(0, NULL, 0) + work_list(0, NULL, 0), 0);
	shortage_rows(NULL, 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}
