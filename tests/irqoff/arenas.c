/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Importers, many spans, what is short, and looking at all of it.
 */
#include "arena.h"
#include "drive.h"
#include "lib/test.h"
#include "port.h"
#include "sync.h"

#define SPANS 20000
#define SPAN_GAP 16
#define IMPORTERS 64
#define LITTLE (2000 * PORT_PAGE_SIZE)
#define MS 1000000u /* ns */

static void many_spans(void)
{
	struct arena *a = arena_create("spans", NULL, 0, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct arena_segment segment;
	uintptr_t last = 1 + (SPANS - 1) * (uintptr_t)SPAN_GAP;

	for (uintptr_t i = 0; i < SPANS; i++)
		CHECK_EQ(arena_add(a, (void *)(1 + i * SPAN_GAP), SPAN_GAP / 2, MEM_WAIT), 0);
	CHECK(arena_add(a, (void *)last, 1, MEM_WAIT) == -EEXIST);
	arena_add_strerror(-EEXIST);
	CHECK(arena_find_segment(a, last, &segment));
	CHECK_EQ(arena_amt_free(a), arena_amt_total(a));
	CHECK(!arena_alloc(a, SPAN_GAP, MEM_ATOMIC));
	CHECK(!arena_alloc_timeout(a, SPAN_GAP, ARENA_BESTFIT | MEM_ERROR, port_ns() + MS));
	CHECK_EQ(arena_check(a, &null_sink), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

static void ignore_row(const struct arena_stats *row, void *arg)
{
}

static void inspect(void)
{
	static struct arena_stats rows[IMPORTERS];
	static struct arena_free_class classes[ARENA_FREE_CLASSES];
	char name[ARENA_NAME_MAX];

	arena_free_histogram(base_arena, classes);
	arena_tree_stats(rows, IMPORTERS);
	qlock_lock(&arenas_and_slabs_lock);
	arena_tree_peek(ignore_row, NULL);
	qlock_unlock(&arenas_and_slabs_lock);
	arena_unpin(arena_next(NULL));
	print_arena_stats(NULL, &null_sink);
	print_arena_stats(base_arena, &null_sink);
	CHECK(arena_find("base") == base_arena);
	CHECK(arena_name_at(base_arena, name));
	arena_base_balances(base_arena);
	CHECK_EQ(arena_check(base_arena, &null_sink), 0);
}

/* Spans move at each call; all importers are short of the same source at the end. */
static void importers(void)
{
	static struct arena *a[IMPORTERS];
	struct arena *source = arena_create("source", (void *)4096, 4096 * IMPORTERS * 2, 4096, NULL, NULL,
		NULL, 0, MEM_WAIT);

	for (unsigned i = 0; i < IMPORTERS; i++)
		a[i] = arena_create("importer", NULL, 0, 64, arena_alloc, arena_free, source, 0, MEM_WAIT);
	inspect();
	for (unsigned i = 0; i < IMPORTERS; i++) {
		void *p = arena_alloc(a[i], 8192, MEM_ATOMIC);
		void *q = arena_xalloc(a[i], 4096, 8192, 4096, 0, 4096, 0, MEM_ERROR);

		if (p)
			arena_free(a[i], p, 8192);
		if (q)
			arena_xfree(a[i], q, 4096);
	}
	for (unsigned i = 0; i < IMPORTERS; i++)
		arena_reap(a[i], SIZE_MAX);
	del_importing_arena(source, a[0]);
	add_importing_arena(source, a[0]);
	for (unsigned i = 0; i < IMPORTERS; i++)
		CHECK_EQ(arena_destroy(a[i]), 0);
	CHECK_EQ(arena_destroy(source), 0);
}

static void placed(void)
{
	static char storage[ARENA_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));
	struct arena *a = (struct arena *)storage;

	CHECK(__arena_create(a, "placed", (void *)1, 100, 1, NULL, NULL, NULL, 0, MEM_WAIT));
	CHECK_EQ(__arena_destroy(a), 0);
}

/* A base arena over pages of the real one, to its last page and back. */
static void little_base(void)
{
	void *memory = base_alloc(NULL, LITTLE, MEM_WAIT);
	struct arena *base = arena_create_base("little", memory, LITTLE);
	void **head = NULL, **page;

	while ((page = arena_alloc(base, PORT_PAGE_SIZE, MEM_ATOMIC))) {
		*page = head;
		head = page;
	}
	for (; head; head = page) {
		page = *head;
		arena_free(base, head, PORT_PAGE_SIZE);
	}
	arena_reap(base, SIZE_MAX);
	CHECK(arena_base_balances(base));
	CHECK_EQ(arena_destroy(base), 0);
	base_free(NULL, memory, LITTLE);
	base_free(NULL, base_zalloc(NULL, LITTLE, MEM_WAIT), LITTLE);
}

void drive_arenas(void)
{
	many_spans();
	importers();
	placed();
	little_base();
	inspect();
}
