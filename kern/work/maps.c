/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workload: mappings of pages.
 *
 * A mapping is of memory that vmalloc() makes, or of pages that the ktask allocates one by one and
 * maps by vmap(): what is written through the mapping must then be in the pages.
 */
#include "work_impl.h"

#include "arena.h"
#include "owner.h"
#include "port.h"
#include "stamp.h"
#include "vmap.h"

#define PAGES_MAX 12 /* of a mapping */
#define HELD_MAX 8   /* mappings of a ktask */

struct mapping {
	char *at; /* NULL: there is none */
	size_t pages;
	uint64_t stamp;
	void *page[PAGES_MAX]; /* those that are mapped; NULL: they are vmalloc()'s */
};

static struct arena_owner owner = ARENA_OWNER("work maps", kpages_arena);

static void pages_free(struct mapping *m)
{
	for (size_t i = 0; i < m->pages && m->page[i]; i++) {
		arena_owner_sub(&owner, kpages_arena, PORT_PAGE_SIZE);
		arena_free(kpages_arena, m->page[i], PORT_PAGE_SIZE);
		m->page[i] = NULL;
	}
}

/* Allocates the pages of a mapping; frees them again if one is refused. */
static bool pages_alloc(struct work_task *t, struct mapping *m)
{
	for (size_t i = 0; i < m->pages; i++) {
		m->page[i] = work_got(t, arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT));
		if (!m->page[i]) {
			pages_free(m);
			return false;
		}
		arena_owner_add(&owner, kpages_arena, PORT_PAGE_SIZE);
	}
	return true;
}

static void map_pages(struct work_task *t, struct mapping *m)
{
	if (!pages_alloc(t, m))
		return;
	m->at = work_got(t, vmap(m->page, m->pages, MEM_WAIT));
	if (!m->at)
		pages_free(m);
}

static void mapping_begin(struct work_task *t, struct mapping *m)
{
	*m = (struct mapping){.pages = 1 + work_below(t, PAGES_MAX), .stamp = work_random(t)};
	if (work_random(t) & 1)
		map_pages(t, m);
	else
		m->at = work_got(t, vmalloc(m->pages * PORT_PAGE_SIZE, MEM_WAIT));
	for (size_t i = 0; m->at && i < m->pages; i++)
		stamp_put(m->at + i * PORT_PAGE_SIZE, PORT_PAGE_SIZE, m->stamp + i);
}

static void check_page(struct work_task *t, const struct mapping *m, const void *page, size_t i)
{
	size_t good = stamp_check(page, PORT_PAGE_SIZE, m->stamp + i);

	if (good != PORT_PAGE_SIZE)
		work_wrong(t, "page %zu of %zu at %p, read at %p, is wrong at %zu", i, m->pages,
			(void *)m->at, page, good);
}

static void mapping_end(struct work_task *t, struct mapping *m)
{
	for (size_t i = 0; i < m->pages; i++) {
		check_page(t, m, m->at + i * PORT_PAGE_SIZE, i);
		if (m->page[i])
			check_page(t, m, m->page[i], i);
	}
	if (m->page[0])
		vunmap(m->at, m->pages);
	else
		vfree(m->at, m->pages * PORT_PAGE_SIZE);
	pages_free(m);
	m->at = NULL;
}

static void churn(struct work_task *t)
{
	struct mapping mappings[HELD_MAX] = {{0}};

	do {
		struct mapping *m = &mappings[work_below(t, HELD_MAX)];

		if (m->at)
			mapping_end(t, m);
		else
			mapping_begin(t, m);
	} while (work_step(t));
	for (size_t i = 0; i < HELD_MAX; i++)
		if (mappings[i].at)
			mapping_end(t, &mappings[i]);
}

bool work_start_maps(struct work *w, const struct work_args *args)
{
	uint64_t ktasks = 2;

	return work_number(args, 0, 1, WORK_TASKS_MAX, &ktasks) &&
	       work_add_tasks(w, args, ktasks, churn);
}
