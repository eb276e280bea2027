/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stacks: ranges of virtual addresses out of the arena "vaddr", a guard page that is never mapped and above
 * it pages of kpages_arena.
 *
 * A stack of the usual size is an object that stays constructed (mapped) while nobody uses it: those put
 * back are kept for reuse, linked through their own first words, until kthread_reap().
 */
#include "arena.h"
#include "kthread_impl.h"
#include "lib/sink.h"

static struct arena *vaddr;

static struct {
	struct spinlock lock;
	struct list idle; /* linked through their lowest words */
} kept = {SPINLOCK_INIT(SPIN_LEAF), LIST_INIT(kept.idle)};

static uintptr_t va_start;
static size_t va_size;

void stacks_init(void)
{
	machine_va_range(&va_start, &va_size);
	vaddr = arena_create("vaddr", (void *)va_start, va_size, PORT_PAGE_SIZE, NULL, NULL, NULL, 0,
		MEM_WAIT);
}

/* Destruction and construction */

/* Takes back the pages mapped at [low, low + size). */
static void stack_unmap(void *low, size_t size)
{
	for (size_t at = 0; at < size; at += PORT_PAGE_SIZE) {
		void *page = machine_unmap((uintptr_t)low + at);

		arena_free(kpages_arena, page, PORT_PAGE_SIZE);
	}
}

static bool stack_map_page(uintptr_t va)
{
	void *page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_ERROR);

	if (page && machine_map(va, page) == 0)
		return true;
	if (page)
		arena_free(kpages_arena, page, PORT_PAGE_SIZE);
	return false;
}

static bool stack_map(void *low, size_t size)
{
	for (size_t at = 0; at < size; at += PORT_PAGE_SIZE) {
		if (!stack_map_page((uintptr_t)low + at)) {
			stack_unmap(low, at);
			return false;
		}
	}
	return true;
}

static void *stack_construct(size_t size)
{
	void *stack = arena_alloc(vaddr, PORT_PAGE_SIZE + size, MEM_ERROR);

	if (stack && !stack_map(stack_low(stack), size)) {
		arena_free(vaddr, stack, PORT_PAGE_SIZE + size);
		return NULL;
	}
	return stack;
}

static void stack_destruct(void *stack, size_t size)
{
	stack_unmap(stack_low(stack), size);
	arena_free(vaddr, stack, PORT_PAGE_SIZE + size);
}

/* Those kept for reuse */

static void *kept_take(void)
{
	port_irq_t irq = spin_lock(&kept.lock);
	struct list *link = list_empty(&kept.idle) ? NULL : kept.idle.next;

	if (link)
		list_del(link);
	spin_unlock(&kept.lock, irq);
	return link ? (char *)link - PORT_PAGE_SIZE : NULL;
}

static void kept_put(void *stack)
{
	port_irq_t irq = spin_lock(&kept.lock);

	list_add(&kept.idle, stack_low(stack));
	spin_unlock(&kept.lock, irq);
}

void *stack_take(size_t size)
{
	void *stack = size == MACHINE_STACK_SIZE ? kept_take() : NULL;

	return stack ? stack : stack_construct(size);
}

void stack_put(void *stack, size_t size)
{
	if (size == MACHINE_STACK_SIZE)
		kept_put(stack);
	else
		stack_destruct(stack, size);
}

size_t kthread_reap(void)
{
	size_t bytes = 0;
	void *stack;

	while ((stack = kept_take())) {
		stack_destruct(stack, MACHINE_STACK_SIZE);
		bytes += MACHINE_STACK_SIZE;
	}
	return bytes;
}
