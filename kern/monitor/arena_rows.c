/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A snapshot of all arenas.
 */
#include "monitor_impl.h"

#include "port.h"
#include "vmap.h"

/* The memory is taken before anything is read, and may itself bring an arena more into sight, so it
 * goes around until all fit. */
bool arena_rows_take(struct arena_rows *r)
{
	size_t fit = 0;

	r->count = arena_tree_stats(NULL, 0);
	do {
		if (fit)
			arena_rows_drop(r);
		r->bytes =
			(r->count * sizeof(*r->rows) + PORT_PAGE_SIZE - 1) & ~(PORT_PAGE_SIZE - 1);
		fit = r->bytes / sizeof(*r->rows);
		r->rows = vmalloc(r->bytes, MEM_ERROR);
		if (!r->rows)
			return false;
		r->count = arena_tree_stats(r->rows, fit);
	} while (r->count > fit);
	return true;
}

void arena_rows_drop(struct arena_rows *r)
{
	vfree(r->rows, r->bytes);
}
