/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cost of arenas: pairs of allocation and free, imports, mappings, and hard requests in
 * adversarial layouts (arena_layout.h).
 *
 * Rows are measured at 10^3, 10^4, 10^5 and 10^6 segments, as far as memory suffices.
 */
#include "arena.h"

#include "arena/arena_impl.h"
#include "arena_layout.h"
#include "lib/bench.h"
#include "lib/panic.h"
#include "vmap.h"

static const size_t sizes[] = {1000, 10000, 100000, 1000000};

static void at_each_size(void (*rows_at)(size_t n, const struct hard_rows *kind), const struct hard_rows *kind)
{
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && bench_has_room(sizes[i]); i++)
		rows_at(sizes[i], kind);
}

/* Hard requests */

static void hard_at(size_t n, const struct hard_rows *kind)
{
	struct layout l;

	layout_make(&l, kind, n);
	bench_row(kind->name, n, layout_pair(&l, true), "instr");
	bench_row(kind->name_fail, n, layout_pair(&l, false), "instr");
	layout_end(&l);
}

BENCH("bestfit")
{
	at_each_size(hard_at, &hard_bestfit);
}

BENCH("nextfit")
{
	at_each_size(hard_at, &hard_nextfit);
}

BENCH("xalloc_align")
{
	at_each_size(hard_at, &hard_align);
}

BENCH("xalloc_nocross")
{
	at_each_size(hard_at, &hard_nocross);
}

BENCH("xalloc_window")
{
	at_each_size(hard_at, &hard_window);
}

static void build_at(size_t n, const struct hard_rows *kind)
{
	struct layout l;
	uint64_t start;

	layout_make(&l, kind, n);
	start = port_ticks();
	if (!arena_index_build(l.arena))
		panic("bench: no memory for an index");
	bench_row("index_build", n, port_ticks() - start, "instr");
	layout_end(&l);
}

BENCH("index_build")
{
	at_each_size(build_at, &hard_bestfit);
}

/* Pairs without an index */

static void cycles_at(size_t n, const struct hard_rows *kind)
{
	struct row r;

	row_make(&r, n);
	bench_row("arena_pair", n, bench_pair(r.arena, 1, MEM_WAIT), "instr");
	bench_row("arena_pair.atomic", n, bench_pair(r.arena, 1, MEM_ATOMIC), "instr");
	bench_row("arena_random", n, row_random(&r, MEM_WAIT), "instr");
	bench_row("arena_random.atomic", n, row_random(&r, MEM_ATOMIC), "instr");
	row_end(&r);
}

BENCH("arena_pair")
{
	at_each_size(cycles_at, NULL);
}

/* Imports and mappings */

#define IMPORT_SIZE (16 * PORT_PAGE_SIZE)
#define MAPPINGS 65536

/* The span of the first import is retained. */
BENCH("import_pair")
{
	bench_row("import_pair", 1, bench_pair(kpages_arena, IMPORT_SIZE, MEM_WAIT), "instr");
	bench_row("import_pair.atomic", 1, bench_pair(kpages_arena, IMPORT_SIZE, MEM_ATOMIC), "instr");
}

/* An arena like kpages_arena that retains nothing. */
BENCH("import_forced")
{
	struct arena *a = bench_must(arena_create("bench", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free,
		base_arena, 0, MEM_ERROR));

	a->retain_max = 0;
	bench_row("import_forced", 1, bench_pair(a, IMPORT_SIZE, MEM_WAIT), "instr");
	bench_row("import_forced.atomic", 1, bench_pair(a, IMPORT_SIZE, MEM_ATOMIC), "instr");
	arena_destroy(a);
}

BENCH("vmap_pair")
{
	void *page = bench_must(arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_ERROR));
	uint64_t start = 0;

	/* The first mapping allocates the page tables. */
	for (int i = -1; i < MAPPINGS; i++) {
		if (i == 0)
			start = port_ticks();
		vunmap(bench_must(vmap(&page, 1, MEM_WAIT)), 1);
	}
	bench_row("vmap_pair", 1, bench_per(port_ticks() - start, MAPPINGS), "instr");
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
}

BENCH("tag_bytes")
{
	bench_row("tag_bytes", 1, sizeof(struct btag), "bytes");
}
