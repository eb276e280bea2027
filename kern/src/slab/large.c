/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Large kmalloc in mode full: the zone behind it.
 *
 *	| bytes asked for | zone ...            | struct large_end |	up to the end of the last page
 *
 * What is known of the memory lies at the zone's end, so that nothing is looked up and no allocation fails
 * for it.  A sum says whether it is whole.
 */
#include "kmem_debug.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "slab_impl.h"

struct large_end {
	size_t size; /* that was asked for */
	struct kmem_event alloc;
	uint64_t sum; /* of the words before it */
};
_Static_assert(sizeof(struct large_end) + DEBUG_ZONE <= LARGE_ZONE, "there is a zone before the end");

static uintptr_t end_at(uintptr_t p, size_t total)
{
	return p + total - sizeof(struct large_end);
}

static uint64_t sum_of(const struct large_end *e)
{
	return ~(e->size ^ (uintptr_t)e->alloc.stack ^ e->alloc.ns ^ e->alloc.ktask ^ (uint64_t)e->alloc.core << 32);
}

/* Whether it is whole; it is hidden from callers. */
static bool read_end(uintptr_t p, size_t total, struct large_end *e)
{
	void *at = (void *)end_at(p, total);

	port_memory_show(at, sizeof(*e));
	memcpy(e, at, sizeof(*e));
	port_memory_hide(at, sizeof(*e));
	return e->sum == sum_of(e) && e->size <= total - LARGE_ZONE;
}

bool slab_large_has_zones(void)
{
	return slab_debug_flags("kmalloc-large", 0) & KMC_FULL;
}

void slab_large_set(uintptr_t p, size_t total, size_t size, void *caller)
{
	struct large_end e;

	memset(&e, 0, sizeof(e));
	e.size = size;
	e.alloc = slab_debug_now(caller);
	e.sum = sum_of(&e);
	slab_debug_fill_zone(p + size, total - size);
	port_memory_show((void *)end_at(p, total), sizeof(e));
	memcpy((void *)end_at(p, total), &e, sizeof(e));
	port_memory_hide((void *)(p + size), total - size);
}

size_t slab_large_size(uintptr_t p, size_t total)
{
	struct large_end e;

	return read_end(p, total, &e) ? e.size : total - LARGE_ZONE;
}

static void print_end(struct sink *sink, const void *history)
{
	kmem_history_print(sink, history);
	sink_puts(sink, "reported here:\n");
}

void slab_large_check(uintptr_t p, size_t total, const char *found_when, void *caller)
{
	struct large_end e;
	struct kmem_history h = {.object = p};
	uintptr_t wrong;

	if (!read_end(p, total, &e))
		panic("kmalloc: the end of the last page of %#lx, behind what was asked for, was written, seen %s "
		      "(called from %pS)",
			p, found_when, caller);
	wrong = slab_debug_find_in_zone(p + e.size, total - e.size - sizeof(e));
	h.size = e.size;
	h.alloc = e.alloc;
	if (wrong)
		panic_at(&(struct panic_site){.print = print_end, .arg = &h},
			"kmalloc: byte %zu of %#lx, of %zu bytes, was written: %#x, seen %s (called from %pS)",
			(size_t)(wrong - p), p, e.size, slab_debug_byte(wrong), found_when, caller);
}
