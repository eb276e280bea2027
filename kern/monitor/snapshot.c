/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Snapshots of everything of a kind: arenas, caches.
 */
#include "monitor_impl.h"

#include "port.h"
#include "vmap.h"

/* Fills rows[0 .. max) and returns how many there are. */
typedef size_t (*read_fn)(void *rows, size_t max);

static size_t read_arenas(void *rows, size_t max)
{
	return arena_tree_stats(rows, max);
}

static size_t read_caches(void *rows, size_t max)
{
	return kmem_cache_rows(rows, max);
}

/* Whole pages for that many rows. */
static size_t bytes_for(size_t rows, size_t row_size)
{
	return (rows * row_size + PORT_PAGE_SIZE - 1) & ~(PORT_PAGE_SIZE - 1);
}

/* The memory is allocated before anything is read.  If there are more rows by then than it has room
 * for, it is allocated again.  Without any row it is a page all the same. */
static bool take(struct snapshot *s, size_t row_size, read_fn read)
{
	size_t room = 0;

	s->count = read(NULL, 0);
	do {
		if (room)
			snapshot_free(s);
		s->bytes = bytes_for(s->count ? s->count : 1, row_size);
		room = s->bytes / row_size;
		s->rows = vmalloc(s->bytes, MEM_ERROR);
		if (!s->rows)
			return false;
		s->count = read(s->rows, room);
	} while (s->count > room);
	return true;
}

bool snapshot_arenas(struct snapshot *s)
{
	return take(s, sizeof(*s->arena), read_arenas);
}

bool snapshot_caches(struct snapshot *s)
{
	return take(s, sizeof(*s->cache), read_caches);
}

void snapshot_free(struct snapshot *s)
{
	vfree(s->rows, s->bytes);
}
