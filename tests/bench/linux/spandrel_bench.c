// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Measures Linux' allocators in the way in which tests/bench/ measures Spandrel's: the same requests in the same
 * numbers and orders, the mean after a warm-up, in rows of the same names.
 *
 * The benchmarks run as the module is loaded.  The counter counts instructions under scripts/qemu --icount.
 * Interrupts are off while it runs, but for vmap() and vmalloc(), which may sleep, and for objects in bulk, whose
 * calls enable them: what the timer's interrupts take is in these rows, about 1 in 1,000.
 */
#include <linux/genalloc.h>
#include <linux/gfp.h>
#include <linux/idr.h>
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/utsname.h>
#include <linux/vmalloc.h>
#include <asm/msr.h>

#define PAIRS 100000
#define WARM_PAIRS 1000
#define ROUNDS 16
#define BATCH 4096
#define BULK 64
#define PAGES 1024
#define MAPPINGS 65536
#define FEW 1000
#define MANY 1000000

static void *objects[BATCH];
static unsigned int order[BATCH];
static u64 seed;

static void row(const char *name, u64 n, u64 ticks, u64 count)
{
	printk(KERN_EMERG "spandrel: %s,%llu,%llu,instr\n", name, n, (ticks + count / 2) / count);
}

/* Knuth's MMIX generator; its high bits are the random ones.  Returns a number below n. */
static unsigned int chance(unsigned int n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 32) * n >> 32;
}

static void shuffle(unsigned int n)
{
	unsigned int i, j;

	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n - 1; i > 0; i--) {
		j = chance(i + 1);
		swap(order[i], order[j]);
	}
}

/* The instructions that `count` calls of once(with) take, with interrupts off.  Inline, so that no call is indirect. */
static __always_inline u64 ticks(unsigned int count, void (*once)(void *with), void *with)
{
	unsigned long irq;
	u64 start;

	local_irq_save(irq);
	start = rdtsc();
	while (count--)
		once(with);
	start = rdtsc() - start;
	local_irq_restore(irq);
	return start;
}

/* Rows of pairs, and of batches of `size`, by the mean for one. */

static __always_inline void pair_row(const char *name, u64 n, void (*pair)(void *with), void *with)
{
	ticks(WARM_PAIRS, pair, with);
	row(name, n, ticks(PAIRS, pair, with), PAIRS);
}

static __always_inline void batch_row(const char *name, unsigned int size, void (*batch)(void *with), void *with)
{
	shuffle(size);
	ticks(1, batch, with);
	row(name, size, ticks(ROUNDS, batch, with), ROUNDS * size);
}

/* Objects of a cache */

static void object_pair(void *cache)
{
	kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_ATOMIC));
}

static void object_batch(void *cache)
{
	unsigned int i;

	for (i = 0; i < BATCH; i++)
		objects[i] = kmem_cache_alloc(cache, GFP_ATOMIC);
	for (i = 0; i < BATCH; i++)
		kmem_cache_free(cache, objects[order[i]]);
}

static void object_bulk(void *cache)
{
	kmem_cache_alloc_bulk(cache, GFP_ATOMIC, BULK, objects);
	kmem_cache_free_bulk(cache, BULK, objects);
}

static int cache_rows(void)
{
	struct kmem_cache *cache = kmem_cache_create("spandrel_bench", 64, 0, 0, NULL);

	if (!cache)
		return -ENOMEM;
	pair_row("kmem_pair_64", 1, object_pair, cache);
	batch_row("kmem_batch_4096", BATCH, object_batch, cache);
	ticks(1, object_bulk, cache);
	row("kmem_bulk_64", BULK, ticks(PAIRS / BULK, object_bulk, cache), PAIRS / BULK * BULK);
	kmem_cache_destroy(cache);
	return 0;
}

/* kmalloc() */

static __always_inline void kmalloc_pair(void *size)
{
	void *p = kmalloc((uintptr_t)size, GFP_ATOMIC);

	/* Hides p from the compiler, which could remove the pair. */
	OPTIMIZER_HIDE_VAR(p);
	kfree(p);
}

/* The cache is chosen at run time, as by Spandrel's kmalloc(). */
static void kmalloc_unknown_pair(void *size)
{
	OPTIMIZER_HIDE_VAR(size);
	kmalloc_pair(size);
}

static void kmalloc_rows(void)
{
	pair_row("kmalloc_pair_64.constant", 1, kmalloc_pair, (void *)64);
	pair_row("kmalloc_pair_64", 1, kmalloc_unknown_pair, (void *)64);
	pair_row("kmalloc_pair_4096", 1, kmalloc_unknown_pair, (void *)4096);
	pair_row("kmalloc_pair_8192", 1, kmalloc_unknown_pair, (void *)8192);
	pair_row("kmalloc_pair_16384", 1, kmalloc_unknown_pair, (void *)16384);
	pair_row("kmalloc_pair_65536", 1, kmalloc_unknown_pair, (void *)65536);
}

/* Pages */

static void page_pair(void *doublings)
{
	unsigned int block = (uintptr_t)doublings;

	__free_pages(alloc_pages(GFP_ATOMIC, block), block);
}

static void page_batch(void *with)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		objects[i] = alloc_page(GFP_ATOMIC);
	for (i = 0; i < PAGES; i++)
		__free_page(objects[order[i]]);
}

/* Every other page of 1,024 is used. */
static void block_rows(void)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		objects[i] = alloc_page(GFP_KERNEL);
	for (i = 0; i < PAGES; i += 2)
		__free_page(objects[i]);
	pair_row("page_block_2", 1, page_pair, (void *)1);
	pair_row("page_block_4", 1, page_pair, (void *)2);
	pair_row("page_block_8", 1, page_pair, (void *)3);
	pair_row("page_block_16", 1, page_pair, (void *)4);
	for (i = 1; i < PAGES; i += 2)
		__free_page(objects[i]);
}

static void page_rows(void)
{
	pair_row("page_pair", 1, page_pair, (void *)0);
	block_rows();
	batch_row("page_batch_1024", PAGES, page_batch, NULL);
}

/* Numbers of an ida.  It gives the lowest that is free, so the live ones are 0 to n - 1. */

static DEFINE_IDA(ida);

static void ida_pair(void *with)
{
	ida_free(&ida, ida_alloc(&ida, GFP_ATOMIC));
}

static void ida_random(void *n)
{
	ida_free(&ida, chance((uintptr_t)n));
	ida_alloc(&ida, GFP_ATOMIC);
}

static void ida_batch(void *with)
{
	unsigned int i;

	for (i = 0; i < BATCH; i++)
		ida_free(&ida, order[i]);
	for (i = 0; i < BATCH; i++)
		ida_alloc(&ida, GFP_ATOMIC);
}

static int ida_take(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (ida_alloc(&ida, GFP_KERNEL) != i)
			return -ENOMEM;
	return 0;
}

static int ida_rows(unsigned int n)
{
	int error = ida_take(n);

	if (!error) {
		pair_row("arena_pair", n, ida_pair, NULL);
		pair_row("arena_random", n, ida_random, (void *)(uintptr_t)n);
	}
	ida_destroy(&ida);
	return error;
}

static int ida_deep_row(void)
{
	int error = ida_take(BATCH);

	if (!error)
		batch_row("arena_deep_4096", BATCH, ida_batch, NULL);
	ida_destroy(&ida);
	return error;
}

/* Units of a gen_pool, which has room for twice as many as are live.  It gives the lowest that is free, too. */

#define POOL_START PAGE_SIZE

static void pool_pair(void *pool)
{
	gen_pool_free(pool, gen_pool_alloc(pool, 1), 1);
}

static int pool_row(unsigned int n)
{
	struct gen_pool *pool = gen_pool_create(0, NUMA_NO_NODE);

	if (!pool)
		return -ENOMEM;
	if (gen_pool_add(pool, POOL_START, 2 * n, NUMA_NO_NODE) != 0) {
		gen_pool_destroy(pool);
		return -ENOMEM;
	}
	gen_pool_alloc(pool, n);
	pair_row("arena_pair.gen_pool", n, pool_pair, pool);
	gen_pool_free(pool, POOL_START, n);
	gen_pool_destroy(pool);
	return 0;
}

/* Mappings.  What comes of freed ones is left to a thread, which runs in between. */

static u64 map_ticks(struct page *page, unsigned int n)
{
	u64 start = rdtsc();

	while (n--) {
		vunmap(vmap(&page, 1, VM_MAP, PAGE_KERNEL));
		cond_resched();
	}
	return rdtsc() - start;
}

static u64 vmalloc_ticks(unsigned int n)
{
	u64 start = rdtsc();

	while (n--) {
		vfree(vmalloc(PAGE_SIZE));
		cond_resched();
	}
	return rdtsc() - start;
}

static int mapping_rows(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	if (!page)
		return -ENOMEM;
	map_ticks(page, MAPPINGS);
	row("vmap_pair", 1, map_ticks(page, MAPPINGS), MAPPINGS);
	vmalloc_ticks(MAPPINGS);
	row("vmalloc_pair", 1, vmalloc_ticks(MAPPINGS), MAPPINGS);
	__free_page(page);
	return 0;
}

static int __init spandrel_bench(void)
{
	int error = cache_rows();

	printk(KERN_EMERG "spandrel: Linux %s %s\n", utsname()->release, utsname()->version);
	kmalloc_rows();
	page_rows();
	error = error ?: ida_rows(1) ?: ida_rows(FEW) ?: ida_rows(MANY) ?: ida_deep_row();
	error = error ?: pool_row(1) ?: pool_row(FEW);
	return error ?: mapping_rows();
}

static void __exit spandrel_bench_end(void)
{
}

module_init(spandrel_bench);
module_exit(spandrel_bench_end);
MODULE_DESCRIPTION("Measures Linux' allocators");
MODULE_LICENSE("Dual BSD/GPL");
