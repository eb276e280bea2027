/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cost of arenas: pairs of allocation and free, imports, mappings, and hard requests in
 * adversarial layouts (arena_layout.h).
 *
 * Rows are measured at 10^3, 10^4, 10^5 and 10^6 segments, as far as memory suffices.
 */
#include "arena.h"

#include "arena_layout.h"
#include "btag/btag.h"
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
	if (!arena_index(l.arena))
		panic("bench: no memory for an index");
	bench_row("index_build", n, port_ticks() - start, "instr");
	layout_end(&l);
}

BENCH("index_build")
{
	at_each_size(build_at, &hard_bestfit);
}

/* Constrained requests in turn, in a layout that isn't adversarial; `.indexed`, and
 * `.atomic`, which could be refused without one: once the arena is told to have an index */

#define MANY_HOLES 100000

BENCH("xalloc_many")
{
	struct layout l;

	layout_make(&l, &hard_many, MANY_HOLES);
	bench_row("xalloc_many", MANY_HOLES, layout_many(&l, MEM_WAIT), "instr");
	if (!arena_index(l.arena))
		panic("bench: no memory for an index");
	bench_row("xalloc_many.indexed", MANY_HOLES, layout_many(&l, MEM_WAIT), "instr");
	bench_row("xalloc_many.atomic", MANY_HOLES, layout_many(&l, MEM_ATOMIC), "instr");
	layout_end(&l);
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

#define DEEP 4096

BENCH("arena_deep")
{
	struct row r;

	row_make(&r, DEEP);
	bench_row("arena_deep_4096", DEEP, row_deep(&r, MEM_WAIT), "instr");
	bench_row("arena_deep_4096.atomic", DEEP, row_deep(&r, MEM_ATOMIC), "instr");
	row_end(&r);
}

/* Pairs after an index has gone again */

static uint64_t after_arena_pair(void)
{
	uint64_t before;
	struct row r;

	row_make(&r, AFTER_SEGMENTS);
	before = bench_pair(r.arena, 1, MEM_WAIT);
	row_index(&r);
	before = bench_per(1000 * bench_pair(r.arena, 1, MEM_WAIT), before);
	row_end(&r);
	return before;
}

static uint64_t after_import_pair(void)
{
	uint64_t before;
	struct importer i;

	importer_make(&i);
	before = bench_pair(i.arena, IMPORTER_PAIR, MEM_WAIT);
	importer_index(&i);
	before = bench_per(1000 * bench_pair(i.arena, IMPORTER_PAIR, MEM_WAIT), before);
	importer_end(&i);
	return before;
}

/* What a pair costs then, by what it cost before there was one. */
BENCH("after_index")
{
	uint64_t pair = after_arena_pair(), import = after_import_pair();

	bench_row("after_index", AFTER_SEGMENTS, pair > import ? pair : import, "permille");
	bench_row("after_index.arena_pair", AFTER_SEGMENTS, pair, "permille");
	bench_row("after_index.import_pair", AFTER_SEGMENTS, import, "permille");
}

/* Imports and mappings */

#define IMPORT_SIZE (16 * PORT_PAGE_SIZE)
#define FORCED_SIZE (33 * PORT_PAGE_SIZE) /* an arena retains no more than 32 */
#define MAPPINGS 65536

static struct arena *bench_importer(void)
{
	return bench_must(arena_create("bench", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free, base_arena,
		0, MEM_ERROR));
}

/* The span of the first import is retained. */
BENCH("import_pair")
{
	struct arena *a = bench_importer();

	bench_row("import_pair", 1, bench_pair(a, IMPORT_SIZE, MEM_WAIT), "instr");
	bench_row("import_pair.atomic", 1, bench_pair(a, IMPORT_SIZE, MEM_ATOMIC), "instr");
	arena_destroy(a);
}

/* The span is larger than what an arena retains, so each pair moves it. */
BENCH("import_forced")
{
	struct arena *a = bench_importer();

	bench_row("import_forced", 1, bench_pair(a, FORCED_SIZE, MEM_WAIT), "instr");
	bench_row("import_forced.atomic", 1, bench_pair(a, FORCED_SIZE, MEM_ATOMIC), "instr");
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
