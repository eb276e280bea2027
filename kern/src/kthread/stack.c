/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stacks.  A stack is a range of vaddr_arena: a guard page, which is never mapped, and above it
 * pages of kpages_arena.
 *
 * Stacks of MACHINE_STACK_SIZE come from a slab cache.  Its constructor maps the pages and its
 * destructor unmaps them, so a free stack in a magazine stays mapped for the next ktask.
 */
#include "kthread_impl.h"

#include "owner.h"
#include "slab.h"
#include "vmap.h"

static struct kmem_cache *stacks;
static struct arena_owner owner = ARENA_OWNER("stacks", kpages_arena);

/* Unmaps and frees the pages at [low, low + size). */
static void stack_unmap(char *low, size_t size)
{
	arena_owner_sub(&owner, kpages_arena, size);
	for (size_t at = 0; at < size; at += PORT_PAGE_SIZE)
		arena_free(kpages_arena, machine_unmap((uintptr_t)low + at), PORT_PAGE_SIZE);
}

static void paint(uint64_t *page)
{
	for (size_t i = 0; i < PORT_PAGE_SIZE / sizeof(*page); i++)
		page[i] = STACK_PAINT;
}

static bool stack_map_page(uintptr_t va, unsigned flags)
{
	void *page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, flags);

	if (!page)
		return false;
	paint(page);
	if (machine_map(va, page) == 0) {
		arena_owner_add(&owner, kpages_arena, PORT_PAGE_SIZE);
		return true;
	}
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
	return false;
}

static bool stack_map(char *low, size_t size, unsigned flags)
{
	for (size_t at = 0; at < size; at += PORT_PAGE_SIZE) {
		if (!stack_map_page((uintptr_t)low + at, flags)) {
			stack_unmap(low, at);
			return false;
		}
	}
	return true;
}

/* Mapping may wait for a shootdown, so a stack is only constructed for a caller that may sleep.  A
 * refill asks for a magazine's spare stacks with MEM_ATOMIC, and goes without them. */
static int stack_ctor(void *stack, void *priv, unsigned flags)
{
	if (flags & MEM_ATOMIC)
		return -ENOMEM;
	return stack_map(stack_low(stack), MACHINE_STACK_SIZE, MEM_ERROR) ? 0 : -ENOMEM;
}

static void stack_dtor(void *stack, void *priv)
{
	stack_unmap(stack_low(stack), MACHINE_STACK_SIZE);
}

void stacks_init(void)
{
	stacks = kmem_cache_create("stack", PORT_PAGE_SIZE + MACHINE_STACK_SIZE, PORT_PAGE_SIZE,
		KMC_NOTOUCH, vaddr_arena, stack_ctor, stack_dtor, NULL);
}

size_t ktask_stacks_idle(void)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(stacks, &s);
	return s.out > s.live ? (s.out - s.live) * MACHINE_STACK_SIZE : 0;
}

void *stack_alloc(size_t size)
{
	char *stack;

	if (size == MACHINE_STACK_SIZE)
		return kmem_cache_alloc(stacks, MEM_ERROR);
	if (size > arena_amt_total(base_arena))
		return NULL;
	stack = arena_alloc(vaddr_arena, PORT_PAGE_SIZE + size, MEM_ERROR);
	if (stack && !stack_map(stack_low(stack), size, MEM_ERROR)) {
		arena_free(vaddr_arena, stack, PORT_PAGE_SIZE + size);
		return NULL;
	}
	return stack;
}

void stack_free(void *stack, size_t size)
{
	if (size == MACHINE_STACK_SIZE) {
		kmem_cache_free(stacks, stack);
		return;
	}
	stack_unmap(stack_low(stack), size);
	arena_free(vaddr_arena, stack, PORT_PAGE_SIZE + size);
}
