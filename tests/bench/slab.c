/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cost of caches, kmalloc and pages: hot pairs, and batches that reach the slab layer.
 */
#include "lib/array.h"
#include "lib/bench.h"
#include "kmalloc.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "slab.h"
#include "slab_bench.h"

#define PAIRS 100000
#define ROUNDS 16
#define PAGES 1024
#define BULK 64

static void *objects[BENCH_BATCH];
static unsigned order[BENCH_BATCH];

/* The same order each time: a xorshift (Marsaglia, J. Stat. Software 8(14), 2003) shuffles. */
void bench_shuffle(unsigned n)
{
	uint64_t x = 88172645463325252u;

	for (unsigned i = 0; i < n; i++)
		order[i] = i;
	for (unsigned i = n - 1; i > 0; i--) {
		unsigned j, other;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		j = (unsigned)(x % (i + 1));
		other = order[j];
		order[j] = order[i];
		order[i] = other;
	}
}

struct kmem_cache *bench_cache(size_t size)
{
	struct kmem_cache *c = kmem_cache_create("bench", size, 0, 0, NULL, NULL, NULL, NULL);

	if (!c)
		panic("bench: no memory for a cache");
	return c;
}

uint64_t bench_pairs(struct kmem_cache *c, unsigned flags, unsigned n)
{
	uint64_t start = port_ticks();

	for (unsigned i = 0; i < n; i++)
		kmem_cache_free(c, kmem_cache_alloc(c, flags));
	return port_ticks() - start;
}

BENCH("kmem_pair_64")
{
	struct kmem_cache *c = bench_cache(64);

	bench_pairs(c, MEM_ATOMIC, 2);
	bench_row("kmem_pair_64", 1, bench_per(bench_pairs(c, MEM_WAIT, PAIRS), PAIRS), "instr");
	bench_row("kmem_pair_64.atomic", 1, bench_per(bench_pairs(c, MEM_ATOMIC, PAIRS), PAIRS), "instr");
	kmem_cache_destroy(c);
}

uint64_t bench_batch(struct kmem_cache *c)
{
	uint64_t start = port_ticks();

	for (unsigned i = 0; i < BENCH_BATCH; i++)
		objects[i] = kmem_cache_alloc(c, MEM_ATOMIC);
	for (unsigned i = 0; i < BENCH_BATCH; i++)
		kmem_cache_free(c, objects[order[i]]);
	kmem_cache_reap(c, KMEM_REAP_DEPOT);
	return port_ticks() - start;
}

/* The value includes the emptying of the depot. */
BENCH("kmem_batch_4096")
{
	struct kmem_cache *c = bench_cache(64);
	uint64_t ticks = 0;

	bench_shuffle(BENCH_BATCH);
	bench_batch(c);
	for (unsigned i = 0; i < ROUNDS; i++)
		ticks += bench_batch(c);
	bench_row("kmem_batch_4096", BENCH_BATCH, bench_per(ticks, ROUNDS * BENCH_BATCH), "instr");
	kmem_cache_destroy(c);
}

BENCH("kmem_bulk_64")
{
	struct kmem_cache *c = bench_cache(64);
	uint64_t start = 0;

	for (unsigned i = 0; i <= PAIRS / BULK; i++) {
		if (i == 1)
			start = port_ticks();
		kmem_cache_alloc_bulk(c, objects, BULK, MEM_ATOMIC);
		kmem_cache_free_bulk(c, objects, BULK);
	}
	bench_row("kmem_bulk_64", BULK, bench_per(port_ticks() - start, PAIRS / BULK * BULK), "instr");
	kmem_cache_destroy(c);
}

static uint64_t kmalloc_pairs(size_t size, unsigned flags, unsigned n)
{
	uint64_t start = port_ticks();

	for (unsigned i = 0; i < n; i++) {
		void *p = kmalloc(size, flags);

		/* Hides p from the compiler, which could remove the pair. */
		__asm__ volatile("" : "+r"(p));
		kfree(p);
	}
	return port_ticks() - start;
}

static void kmalloc_large_pairs(const char *row, size_t size)
{
	kmalloc_pairs(size, MEM_ATOMIC, 2);
	bench_row(row, 1, bench_per(kmalloc_pairs(size, MEM_WAIT, PAIRS), PAIRS), "instr");
}

BENCH("kmalloc_pair")
{
	kmalloc_pairs(64, MEM_ATOMIC, 2);
	kmalloc_pairs(PORT_PAGE_SIZE, MEM_ATOMIC, 2);
	bench_row("kmalloc_pair_64", 1, bench_per(kmalloc_pairs(64, MEM_WAIT, PAIRS), PAIRS), "instr");
	bench_row("kmalloc_pair_4096", 1,
		bench_per(kmalloc_pairs(PORT_PAGE_SIZE, MEM_WAIT, PAIRS), PAIRS), "instr");
	kmalloc_large_pairs("kmalloc_pair_8192", 2 * PORT_PAGE_SIZE);
	kmalloc_large_pairs("kmalloc_pair_16384", 4 * PORT_PAGE_SIZE);
	kmalloc_large_pairs("kmalloc_pair_65536", 16 * PORT_PAGE_SIZE);
}

static uint64_t page_pairs(unsigned flags, unsigned n)
{
	uint64_t start = port_ticks();

	for (unsigned i = 0; i < n; i++)
		arena_free(kpages_arena, arena_alloc(kpages_arena, PORT_PAGE_SIZE, flags),
			PORT_PAGE_SIZE);
	return port_ticks() - start;
}

BENCH("page_pair")
{
	page_pairs(MEM_ATOMIC, 2);
	bench_row("page_pair", 1, bench_per(page_pairs(MEM_WAIT, PAIRS), PAIRS), "instr");
}

static uint64_t block_pairs(size_t size, unsigned n)
{
	uint64_t start = port_ticks();

	for (unsigned i = 0; i < n; i++)
		arena_xfree(kpages_arena,
			arena_xalloc(kpages_arena, size, size, 0, 0, 0, 0, MEM_WAIT), size);
	return port_ticks() - start;
}

/* Aligned to their size, of an arena in which every other page of 1,024 is used. */
BENCH("page_block")
{
	static const struct {
		const char *row;
		size_t pages;
	} rows[] = {
		{"page_block_2", 2},
		{"page_block_4", 4},
		{"page_block_8", 8},
		{"page_block_16", 16},
	};

	for (unsigned i = 0; i < PAGES; i++)
		objects[i] = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
	for (unsigned i = 0; i < PAGES; i += 2)
		arena_free(kpages_arena, objects[i], PORT_PAGE_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t size = rows[i].pages * PORT_PAGE_SIZE;

		block_pairs(size, 2);
		bench_row(rows[i].row, 1, bench_per(block_pairs(size, PAIRS), PAIRS), "instr");
	}
	for (unsigned i = 1; i < PAGES; i += 2)
		arena_free(kpages_arena, objects[i], PORT_PAGE_SIZE);
}

struct kmem_cache *bench_find_cache(const char *name)
{
	struct kmem_cache *c = kmem_cache_next(NULL);

	for (struct kmem_cache_stats s; c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &s);
		if (strcmp(s.name, name) == 0)
			break;
	}
	if (!c)
		panic("bench: no cache %s", name);
	kmem_cache_unpin(c);
	return c;
}

static uint64_t page_batch(struct kmem_cache *c)
{
	uint64_t start = port_ticks();

	for (unsigned i = 0; i < PAGES; i++)
		objects[i] = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_ATOMIC);
	for (unsigned i = 0; i < PAGES; i++)
		arena_free(kpages_arena, objects[order[i]], PORT_PAGE_SIZE);
	kmem_cache_reap(c, KMEM_REAP_DEPOT);
	return port_ticks() - start;
}

BENCH("page_batch_1024")
{
	struct kmem_cache *c = bench_find_cache("kpages-1");
	uint64_t ticks = 0;

	bench_shuffle(PAGES);
	page_batch(c);
	for (unsigned i = 0; i < ROUNDS; i++)
		ticks += page_batch(c);
	bench_row("page_batch_1024", PAGES, bench_per(ticks, ROUNDS * PAGES), "instr");
}

/* The memory of a cache of 64-byte objects beyond the objects, all live, with its part of the frame
 * table. */
BENCH("slab64_meta_permille")
{
	struct kmem_cache *c = bench_cache(64);
	struct kmem_cache_stats s;
	uint64_t payload, entries;

	for (unsigned i = 0; i < BENCH_BATCH; i++)
		objects[i] = kmem_cache_alloc(c, MEM_ATOMIC);
	kmem_cache_get_stats(c, &s);
	payload = s.objects * 64;
	entries = s.total / PORT_PAGE_SIZE * sizeof(uintptr_t);
	bench_row("slab64_meta_permille", 1, bench_per((s.total + entries - payload) * 1000, payload),
		"permille");
	for (unsigned i = 0; i < BENCH_BATCH; i++)
		kmem_cache_free(c, objects[i]);
	kmem_cache_destroy(c);
}

/* All of RAM in slabs. */
BENCH("frame_table_permille")
{
	size_t ram = arena_amt_total(base_arena);
	size_t bytes = kmem_table_pages_max() * PORT_PAGE_SIZE;

	bench_row("frame_table_permille", 1, bench_per(bytes * 1000, ram), "permille");
}
