/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stacks: ranges of vaddr_arena, a guard page that is never mapped and above it pages of
 * kpages_arena.
 *
 * A stack of the usual size is an object of a slab cache whose constructor maps the pages and whose
 * destructor takes them back, so that one that is put back stays mapped while it lies in a
 * magazine, ready for the next ktask.
 */
#include "kthread_impl.h"

#include "arena.h"
#include "errors.h"
#include "lib/panic.h"
#include "slab.h"
#include "vmap.h"

static char storage[KMEM_CACHE_STORAGE] __attribute__((aligned(PORT_LINE_SIZE)));
static struct kmem_cache *stacks;

/* Takes back the pages mapped at [low, low + size). */
static void stack_unmap(char *low, size_t size)
{
	for (size_t at = 0; at < size; at += PORT_PAGE_SIZE)
		arena_free(kpages_arena, machine_unmap((uintptr_t)low + at), PORT_PAGE_SIZE);
}

static bool stack_map_page(uintptr_t va, unsigned flags)
{
	void *page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, flags);

	if (page && machine_map(va, page) == 0)
		return true;
	if (page)
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

/* Mapping may wait for other cores to forget what was mapped there before, so a stack is only ever
 * made for a caller who may sleep: those to be laid up are left unmade. */
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
	stacks = __kmem_cache_create((struct kmem_cache *)storage, "stack",
		PORT_PAGE_SIZE + MACHINE_STACK_SIZE, PORT_PAGE_SIZE, KMC_NOTOUCH, vaddr_arena, stack_ctor,
		stack_dtor, NULL);
	if (!stacks)
		panic("kthread: no memory for the cache of stacks");
}

void *stack_take(size_t size)
{
	char *stack;

	if (size == MACHINE_STACK_SIZE)
		return kmem_cache_alloc(stacks, MEM_ERROR);
	stack = arena_alloc(vaddr_arena, PORT_PAGE_SIZE + size, MEM_ERROR);
	if (stack && !stack_map(stack_low(stack), size, MEM_ERROR)) {
		arena_free(vaddr_arena, stack, PORT_PAGE_SIZE + size);
		return NULL;
	}
	return stack;
}

void stack_put(void *stack, size_t size)
{
	if (size == MACHINE_STACK_SIZE) {
		kmem_cache_free(stacks, stack);
		return;
	}
	stack_unmap(stack_low(stack), size);
	arena_free(vaddr_arena, stack, PORT_PAGE_SIZE + size);
}
