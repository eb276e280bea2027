/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many records in the queue: looked at, of several parts, by each flag, and while memory is out.
 */
#include "shortage.h"

#include "drive.h"
#include "kmalloc.h"
#include "kthread.h"
#include "reclaim.h"
#include "slab.h"
#include "sync.h"
#include "lib/test.h"

#define SLEEPERS 1000
#define ROWS 2000
#define PIECE_MAX 8 /* pages */
#define BASE_PAGES 4000
#define GROWS 50000 /* segments, and slabs, that come while memory is short */
#define GROWN (64 * PORT_PAGE_SIZE) /* what a sleeper wants in one piece meanwhile */

static struct ktask *tasks[SLEEPERS];
static struct shortage_row rows[ROWS];

/* What all sleepers want: an ID and a page, or pages. */
static struct arena *ids, *pages;
static struct semaphore gate; /* they go to sleep when it is open */
static size_t started;

static size_t records(void)
{
	struct reclaim_stats s;

	reclaim_get_stats(&s);
	return s.waiting;
}

static void ignore_node(const struct reclaim_node *row, void *arg)
{
}

static void look(size_t wanted)
{
	static struct reclaim_root roots[ROWS];
	static struct reclaim_node nodes[ROWS];

	CHECK_LE(wanted, shortage_rows(rows, ROWS));
	CHECK_EQ(shortage_check(&null_sink), 0);
	shortage_chain_free(kpages_arena);
	CHECK(reclaim_roots(roots, ROWS) > 0);
	CHECK(reclaim_nodes(nodes, ROWS) > 0);
	qlock_lock(&arenas_and_slabs_lock);
	reclaim_peek_nodes(ignore_node, NULL);
	qlock_unlock(&arenas_and_slabs_lock);
}

static void crowd(void (*fn)(void *arg))
{
	sem_init(&gate, 0);
	started = 0;
	for (size_t i = 0; i < SLEEPERS; i++)
		CHECK(tasks[i] = ktask("sleeper", fn, (void *)i));
	while (started < SLEEPERS)
		kthread_yield();
}

static void open_gate(void)
{
	sem_up(&gate, SLEEPERS);
	while (records() < SLEEPERS)
		kthread_yield();
}

static void await_gate(void)
{
	started++;
	sem_down(&gate, 1);
}

static void join(void)
{
	for (size_t i = 0; i < SLEEPERS; i++)
		ktask_join(tasks[i]);
}

/* Records of two parts */

struct both {
	struct shortage record; /* first */
	void *id, *page;
};

static bool try_both(struct shortage *s)
{
	struct both *b = (struct both *)s;

	b->id = arena_alloc(ids, 1, MEM_ATOMIC);
	b->page = b->id ? arena_alloc(pages, PORT_PAGE_SIZE, MEM_ATOMIC) : NULL;
	if (b->id && !b->page)
		arena_free(ids, b->id, 1);
	return b->page != NULL;
}

static void sleep_for_both(void *arg)
{
	struct shortage_part parts[] = {{ids, 1, 1, NULL}, {pages, PORT_PAGE_SIZE, PORT_PAGE_SIZE, NULL}};
	struct both b = {.record = {.try = try_both, .parts = parts, .part_count = 2, .flags = MEM_WAIT}};

	await_gate();
	CHECK(shortage_wait(&b.record));
	arena_free(pages, b.page, PORT_PAGE_SIZE);
	arena_free(ids, b.id, 1);
}

/* IDs come free one by one. */
static void two_parts(void)
{
	ids = arena_create("ids", (void *)1, SLEEPERS, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	pages = kpages_arena;
	for (size_t i = 0; i < SLEEPERS; i++)
		CHECK(arena_alloc(ids, 1, MEM_ATOMIC));
	crowd(sleep_for_both);
	open_gate();
	CHECK(shortage_is_short(ids));
	shortage_poke();
	look(SLEEPERS);
	for (uintptr_t i = 1; i <= SLEEPERS; i++)
		arena_free(ids, (void *)i, 1);
	join();
	CHECK_EQ(arena_destroy(ids), 0);
}

/* Memory that is out */

static void **take_all(struct arena *a, unsigned flags)
{
	void **head = NULL, **page;

	while ((page = arena_alloc(a, PORT_PAGE_SIZE, flags))) {
		*page = head;
		head = page;
	}
	return head;
}

/* Frees every n-th of a list; returns the others. */
static void **give_some(struct arena *a, void **head, size_t n)
{
	void **left = NULL, **next;

	for (size_t i = 1; head; head = next, i++) {
		next = *head;
		if (i % n == 0) {
			arena_free(a, head, PORT_PAGE_SIZE);
		} else {
			*head = left;
			left = head;
		}
	}
	return left;
}

static void sleep_for_pages(void *arg)
{
	size_t i = (size_t)arg, size = (1 + i % PIECE_MAX) * PORT_PAGE_SIZE;
	void *p;

	await_gate();
	p = arena_alloc(pages, size, i % 16 == 1 ? MEM_ERROR : MEM_WAIT);
	if (p)
		arena_free(pages, p, size);
}

static void sleep_for_objects(void *arg)
{
	void *p;

	await_gate();
	p = kmalloc(((size_t)arg % 64 + 1) * 128, MEM_WAIT);
	kfree(p);
}

/* All pages are taken, reclaim's too, or sleepers would be served from these; sleepers come; a few pages that
 * touch no other come free, then all. */
static void run_out(struct arena *a, void (*fn)(void *arg))
{
	void **all;

	pages = a;
	crowd(fn);
	all = take_all(a, MEM_ERROR);
	sem_up(&gate, SLEEPERS);
	for (int i = 0; i < 4 * SLEEPERS; i++)
		kthread_yield();
	look(1);
	all = give_some(a, all, 100);
	look(0);
	give_some(a, all, 1);
	join();
}

/* Of a base arena of its own. */
static void little_base(void)
{
	void *memory = base_alloc(NULL, BASE_PAGES * PORT_PAGE_SIZE, MEM_WAIT);
	struct arena *base = arena_create_base("little", memory, BASE_PAGES * PORT_PAGE_SIZE);

	run_out(base, sleep_for_pages);
	CHECK_EQ(arena_destroy(base), 0);
	base_free(NULL, memory, BASE_PAGES * PORT_PAGE_SIZE);
}

/* Growth while memory is short, which has hashes do without pages */

static void sleep_for_piece(void *arg)
{
	void *p = arena_alloc(base_arena, GROWN, MEM_WAIT);

	arena_free(base_arena, p, GROWN);
}

/* IDs, and slabs of addresses: what they need of memory is single pages. */
static void grow(void)
{
	struct arena *a = arena_create("grown", (void *)1, GROWS, 1, NULL, NULL, NULL, 0, MEM_ERROR);
	struct arena *b = arena_create("source", (void *)PORT_PAGE_SIZE, 2 * GROWS * PORT_PAGE_SIZE, PORT_PAGE_SIZE,
		NULL, NULL, NULL, 0, MEM_ERROR);
	struct kmem_cache *c = kmem_cache_create("grown", PORT_PAGE_SIZE, 0, KMC_NOTOUCH, b, NULL, NULL, NULL);
	static void *objects[GROWS];

	CHECK(a && b && c);
	for (size_t i = 0; i < GROWS; i++)
		CHECK(arena_alloc(a, 1, MEM_ATOMIC) && (objects[i] = kmem_cache_alloc(c, MEM_ATOMIC)));
	for (size_t i = 0; i < GROWS; i++)
		kmem_cache_free(c, objects[i]);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_destroy(b), 0);
	for (uintptr_t i = 1; i <= GROWS; i++)
		arena_free(a, (void *)i, 1);
	CHECK_EQ(arena_destroy(a), 0);
}

static void grow_while_short(void)
{
	void **all = take_all(base_arena, MEM_ATOMIC);
	struct ktask *sleeper;

	all = give_some(base_arena, all, 2);
	CHECK(sleeper = ktask("sleeper", sleep_for_piece, NULL));
	while (records() == 0)
		kthread_yield();
	grow();
	CHECK_EQ(records(), 1);
	give_some(base_arena, all, 1);
	ktask_join(sleeper);
}

void drive_shortage(void)
{
	two_parts();
	little_base();
	run_out(kpages_arena, sleep_for_pages);
	run_out(kpages_arena, sleep_for_objects);
	grow_while_short();
}
