/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Planted misuses of mappings and of interrupt vectors.
 */
#include "misuse.h"

#include "arena.h"
#include "irq.h"
#include "kmalloc.h"
#include "lib/array.h"
#include "lib/test.h"
#include "vmap.h"

#define PAGE PORT_PAGE_SIZE
#define PAGES 4
#define BYTES (3 * PAGE)

static void *pages[PAGES];
static char *mapped, *memory; /* of vmap() and vmalloc() */

static void begin(unsigned flags)
{
	for (size_t i = 0; i < PAGES; i++)
		pages[i] = arena_alloc(kpages_arena, PAGE, MEM_WAIT);
	mapped = vmap(pages, PAGES, MEM_WAIT);
	memory = vmalloc(BYTES, MEM_WAIT);
}

static void end(void)
{
	if (mapped)
		vunmap(mapped, PAGES);
	if (memory)
		vfree(memory, BYTES);
	for (size_t i = 0; i < PAGES; i++)
		arena_free(kpages_arena, pages[i], PAGE);
}

/* The row frees it. */
static void *take(char **p)
{
	void *taken = misuse_about(*p);

	*p = NULL;
	return taken;
}

PLANT(vunmap_twice)
{
	void *p = take(&mapped);

	vunmap(p, PAGES);
	vunmap(p, PAGES);
}

PLANT(vunmap_inside)
{
	vunmap(misuse_about(mapped + PAGE), PAGES - 1);
}

PLANT(vunmap_off_page)
{
	vunmap(misuse_about(mapped + 8), PAGES);
}

PLANT(vunmap_too_few)
{
	vunmap(misuse_about(mapped), PAGES - 1);
}

PLANT(vunmap_too_many)
{
	vunmap(misuse_about(mapped), PAGES + 1);
}

PLANT(vunmap_of_vmalloc)
{
	vunmap(misuse_about(memory), BYTES / PAGE);
}

PLANT(vunmap_of_a_page)
{
	vunmap(misuse_about(pages[0]), 1);
}

PLANT(vfree_twice)
{
	void *p = take(&memory);

	vfree(p, BYTES);
	vfree(p, BYTES);
}

PLANT(vfree_inside)
{
	vfree(misuse_about(memory + PAGE), BYTES - PAGE);
}

PLANT(vfree_too_small)
{
	vfree(misuse_about(memory), PAGE);
}

PLANT(vfree_too_large)
{
	vfree(misuse_about(memory), BYTES + 1);
}

PLANT(vfree_of_vmap)
{
	vfree(misuse_about(mapped), PAGES * PAGE);
}

PLANT(vfree_of_a_page)
{
	vfree(misuse_about(pages[0]), PAGE);
}

PLANT(vfree_of_a_number)
{
	vfree(misuse_about_number(0xdeadb000), PAGE);
}

static const struct misuse rows[] = {
	MISUSE(vunmap_twice, "unmapped twice", "nothing is mapped there", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vunmap_inside, "from its second page on", "inside a mapping", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vunmap_off_page, "from inside a page on", "inside a page", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vunmap_too_few, "a page less", "the mapping has 4", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vunmap_too_many, "a page more", "the mapping has 4", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vunmap_of_vmalloc, "vunmap() of vmalloc()'s", "that is vmalloc()'s", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vunmap_of_a_page, "a page of the direct map", "vunmap of 1 pages", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vfree_twice, "freed twice", "nothing is mapped there", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vfree_inside, "vfree() from its second page on", "inside a mapping", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vfree_too_small, "vfree() with a smaller size", "the mapping has 3", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vfree_too_large, "vfree() with a larger size", "the mapping has 3", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vfree_of_vmap, "vfree() of vmap()'s", "that is vmap()'s", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vfree_of_a_page, "vfree() of a page of the direct map", "vfree of 1 pages", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vfree_of_a_number, "vfree() of a number", "vfree of 1 pages", AT_ONCE, AT_ONCE, AT_ONCE),
};

const struct misuse_family misuse_mappings = {"mappings, their ends", "v", "%#lx", false, begin, NULL, NULL, NULL, NULL, end, rows,
	ARRAY_SIZE(rows)};

/* Vectors */

#define BLOCK 4

static unsigned vector, block;

static void do_nothing(void *arg)
{
}

static void vectors_begin(unsigned flags)
{
	struct irq_request requests[BLOCK];

	for (size_t i = 0; i < BLOCK; i++)
		requests[i] = (struct irq_request){"misuse", do_nothing, NULL};
	vector = irq_alloc("misuse", do_nothing, NULL);
	block = irq_alloc_block(requests, BLOCK);
	CHECK(vector && block);
}

static void vectors_end(void)
{
	if (vector)
		irq_free(vector);
	if (block)
		irq_free_block(block, BLOCK);
}

static unsigned take_number(unsigned *number)
{
	unsigned taken = *number;

	misuse_about_number(taken);
	*number = 0;
	return taken;
}

PLANT(vector_twice)
{
	unsigned v = take_number(&vector);

	irq_free(v);
	irq_free(v);
}

PLANT(vectors_twice)
{
	unsigned v = take_number(&block);

	irq_free_block(v, BLOCK);
	irq_free_block(v, BLOCK);
}

PLANT(vector_of_a_block)
{
	misuse_about_number(block + 1);
	irq_free(block + 1);
}

PLANT(vector_first_of_a_block)
{
	misuse_about_number(block);
	irq_free(block);
}

PLANT(vectors_too_few)
{
	misuse_about_number(block);
	irq_free_block(block, BLOCK - 1);
}

PLANT(vectors_too_many)
{
	misuse_about_number(block);
	irq_free_block(block, BLOCK + 1);
}

PLANT(vectors_of_one)
{
	misuse_about_number(vector);
	irq_free_block(vector, 2);
}

PLANT(vector_that_is_none)
{
	misuse_about_number(5);
	irq_free(5);
}

static const struct misuse vector_rows[] = {
	MISUSE(vector_twice, "freed twice", "isn't allocated", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vectors_twice, "a block freed twice", "isn't allocated", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vector_of_a_block, "one of a block", "inside a block", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vector_first_of_a_block, "the first of a block", "but it has 4", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vectors_too_few, "a part of a block", "but it has 4", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vectors_too_many, "more than a block", "but it has 4", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vectors_of_one, "one as a block", "but it has 1", AT_ONCE, AT_ONCE, AT_ONCE),
	MISUSE(vector_that_is_none, "a number that is none", "irq_free", AT_ONCE, AT_ONCE, AT_ONCE),
};

const struct misuse_family misuse_vectors = {"interrupt vectors, frees", "irq", "%lu", false, vectors_begin, NULL, NULL, NULL,
	NULL, vectors_end, vector_rows, ARRAY_SIZE(vector_rows)};
