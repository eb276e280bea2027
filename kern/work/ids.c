/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workload: ranges of IDs from an arena with quantum caches.
 *
 * A byte for each ID says whether a ktask has it, so one that two ktasks have at once is found.  The
 * ktasks together never hold more than half of the arena.
 */
#include "work_impl.h"

#include "arena.h"
#include "kmalloc.h"
#include "lib/string.h"
#include "vmap.h"

#define CACHED_MAX 8                     /* IDs of a range that a quantum cache serves */
#define RANGE_MAX 16                     /* IDs of the longest range */
#define HELD_MAX 128                     /* ranges of a ktask */
#define SHARE (2 * HELD_MAX * RANGE_MAX) /* IDs in the arena for each ktask */

struct ids_work {
	struct arena *arena;
	size_t count;   /* of IDs: 1 .. count */
	uint8_t *taken; /* by ID, atomic; taken[0] is for none */
};

struct range {
	uintptr_t first;
	size_t size; /* 0: there is none */
};

static void note(struct work_task *t, struct ids_work *ids, const struct range *r, bool taken)
{
	for (uintptr_t id = r->first; id < r->first + r->size; id++)
		if (id == 0 || id > ids->count ||
			__atomic_exchange_n(&ids->taken[id], taken, __ATOMIC_RELAXED) == taken)
			work_wrong(t, "ID %zu, of %zu from %zu, is %s", (size_t)id, r->size,
				(size_t)r->first, taken ? "another's already" : "no longer taken");
}

static void take(struct work_task *t, struct ids_work *ids, struct range *r)
{
	size_t size = 1 + work_below(t, RANGE_MAX);
	void *first = work_got(t, arena_alloc(ids->arena, size, MEM_WAIT));

	if (!first)
		return;
	*r = (struct range){(uintptr_t)first, size};
	note(t, ids, r, true);
}

static void give(struct work_task *t, struct ids_work *ids, struct range *r)
{
	note(t, ids, r, false);
	arena_free(ids->arena, (void *)r->first, r->size);
	r->size = 0;
}

static void churn(struct work_task *t)
{
	struct ids_work *ids = t->work->data;
	struct range ranges[HELD_MAX] = {{0}};

	do {
		struct range *r = &ranges[work_below(t, HELD_MAX)];

		if (r->size)
			give(t, ids, r);
		else
			take(t, ids, r);
	} while (work_step(t));
	for (size_t i = 0; i < HELD_MAX; i++)
		if (ranges[i].size)
			give(t, ids, &ranges[i]);
}

/* Start and end */

static void end(struct work *w)
{
	struct ids_work *ids = w->data;

	work_end_arena(ids->arena);
	if (ids->taken)
		vfree(ids->taken, ids->count + 1);
	kfree(ids);
}

static bool make_arena(struct ids_work *ids)
{
	ids->arena = arena_create(
		"work-ids", (void *)1, ids->count, 1, NULL, NULL, NULL, CACHED_MAX, MEM_ERROR);
	ids->taken = vmalloc(ids->count + 1, MEM_ERROR);
	if (ids->taken)
		memset(ids->taken, 0, ids->count + 1);
	return ids->arena && ids->taken;
}

bool work_start_ids(struct work *w, const struct work_args *args)
{
	uint64_t ktasks = 4;
	struct ids_work *ids;

	if (!work_number(args, 0, 1, WORK_TASKS_MAX, &ktasks) ||
		!work_add_tasks(w, args, ktasks, churn))
		return false;
	ids = kzalloc(sizeof(*ids), MEM_ERROR);
	if (!ids)
		return work_no_memory(args);
	ids->count = ktasks * SHARE;
	w->data = ids;
	w->end = end;
	if (make_arena(ids))
		return true;
	end(w);
	return work_no_memory(args);
}
