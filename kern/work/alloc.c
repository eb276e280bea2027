/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workload: allocators of memory of all sorts and sizes, with random lifetimes.
 *
 * A piece of memory is noted in a record, which lies in one of a ktask's drawers.  A new record
 * goes to either end of a random drawer, and what is freed comes from the front of a random one: so
 * some pieces go at once, and some stay for long.  A ktask allocates until what it holds comes to
 * its share, then frees one for each that it allocates; now and then it frees half of all.
 *
 * It asks by MEM_WAIT while all shares leave enough room.  Beyond that ktasks that all sleep for large
 * pieces may hold what lies between, for ever: so they ask by MEM_ERROR then, and one that is refused
 * frees a piece instead.
 */
#include "work_impl.h"

#include "kmalloc.h"
#include "kthread.h"
#include "owner.h"
#include "port.h"
#include "slab.h"
#include "stamp.h"

#define PERCENT_MAX 90 /* the rest is for pages that aren't full, and for the kernel */
#define PERCENT_WAITS 70 /* up to this by MEM_WAIT */
#define DRAWERS 32
#define LULL 8192 /* one step in so many frees half of all */

#define OBJECT_WORDS 25 /* an object: as many don't fill a slab evenly */
#define CONSTRUCTED 3   /* words that a constructor fills and nothing else changes */
#define CONSTRUCTED_WORD(i) (0x636f6e7374727563 + (i))

#define SMALL_SIZE 8      /* kmalloc()ed memory, bytes: from this */
#define SIZE_DOUBLINGS 12 /* to 32 KiB */
#define PAGES_MAX 8       /* of one piece */

struct alloc_work {
	struct kmem_cache *records, *objects;
	uint64_t share; /* bytes, of a ktask */
	unsigned flags; /* by which it asks */
};

enum sort { SORT_KMALLOC, SORT_PAGES, SORT_OBJECT };

struct record {
	struct list link; /* in a drawer */
	void *at;
	size_t size; /* bytes; those that the stamp covers */
	uint64_t stamp;
	enum sort sort;
};

struct holder {
	struct work_task *task;
	struct alloc_work *work;
	struct list drawers[DRAWERS];
	uint64_t held, records; /* bytes, records' included; and how many */
};

/* Objects */

struct object {
	uint64_t constructed[CONSTRUCTED];
	uint64_t words[OBJECT_WORDS - CONSTRUCTED];
};

static int construct(void *object, void *priv, unsigned flags)
{
	struct object *o = object;

	for (size_t i = 0; i < CONSTRUCTED; i++)
		o->constructed[i] = CONSTRUCTED_WORD(i);
	return 0;
}

static bool is_constructed(const struct object *o)
{
	for (size_t i = 0; i < CONSTRUCTED; i++)
		if (o->constructed[i] != CONSTRUCTED_WORD(i))
			return false;
	return true;
}

static struct object *object_alloc(struct work_task *t, struct alloc_work *a)
{
	struct object *o = kmem_cache_alloc(a->objects, a->flags);

	if (o && !is_constructed(o))
		work_wrong(t, "object %p isn't as it was constructed", (void *)o);
	return o;
}

/* Takes and gives */

/* Of all pieces three in four are kmalloc()ed. */
static enum sort choose_sort(struct work_task *t)
{
	uint64_t n = work_below(t, 8);

	return n == 0 ? SORT_PAGES : n == 1 ? SORT_OBJECT : SORT_KMALLOC;
}

static struct arena_owner owner = ARENA_OWNER("work alloc", kpages_arena);

static void pages_free(void *at, size_t size)
{
	arena_owner_sub(&owner, kpages_arena, size);
	arena_free(kpages_arena, at, size);
}

/* Notes if a request that waits was refused. */
static bool got(struct holder *h, void *p)
{
	return h->work->flags == MEM_WAIT ? work_got(h->task, p) != NULL : p != NULL;
}

/* Allocates a piece for the record; returns false if it was refused. */
static bool record_fill(struct holder *h, struct record *r)
{
	struct work_task *t = h->task;
	unsigned flags = h->work->flags;

	r->sort = choose_sort(t);
	switch (r->sort) {
	case SORT_KMALLOC:
		r->size = work_random_size(t, SMALL_SIZE, SIZE_DOUBLINGS);
		r->at = kmalloc(r->size, flags);
		break;
	case SORT_PAGES:
		r->size = (1 + work_below(t, PAGES_MAX)) * PORT_PAGE_SIZE;
		r->at = arena_alloc(kpages_arena, r->size, flags);
		if (r->at)
			arena_owner_add(&owner, kpages_arena, r->size);
		break;
	case SORT_OBJECT:
		r->size = sizeof(struct object) - offsetof(struct object, words);
		r->at = object_alloc(t, h->work);
		break;
	}
	return got(h, r->at);
}

/* The memory of a piece that a stamp may cover. */
static void *stamped_part(const struct record *r)
{
	return r->sort == SORT_OBJECT ? ((struct object *)r->at)->words : r->at;
}

/* What a piece takes of memory. */
static uint64_t weight(const struct record *r)
{
	return (r->sort == SORT_KMALLOC ? ksize(r->at) : r->size) + sizeof(*r);
}

/* Returns false if it was refused. */
static bool take(struct holder *h)
{
	struct work_task *t = h->task;
	struct record *r = kmem_cache_alloc(h->work->records, h->work->flags);
	struct list *drawer = &h->drawers[work_below(t, DRAWERS)];

	if (!got(h, r))
		return false;
	if (!record_fill(h, r)) {
		kmem_cache_free(h->work->records, r);
		return false;
	}
	r->stamp = work_random(t);
	stamp_put(stamped_part(r), r->size, r->stamp);
	h->held += weight(r);
	h->records++;
	if (work_random(t) & 1)
		list_add(drawer, &r->link);
	else
		list_add_tail(drawer, &r->link);
	return true;
}

static void record_check(struct work_task *t, const struct record *r)
{
	size_t good = stamp_check(stamped_part(r), r->size, r->stamp);

	if (good != r->size)
		work_wrong(t, "%p, %zu bytes, is wrong at %zu", stamped_part(r), r->size, good);
	if (r->sort == SORT_OBJECT && !is_constructed(r->at))
		work_wrong(t, "object %p has lost what was constructed", r->at);
}

static void record_free(struct holder *h, struct record *r)
{
	record_check(h->task, r);
	h->held -= weight(r);
	h->records--;
	list_del(&r->link);
	if (r->sort == SORT_KMALLOC)
		kfree(r->at);
	else if (r->sort == SORT_PAGES)
		pages_free(r->at, r->size);
	else
		kmem_cache_free(h->work->objects, r->at);
	kmem_cache_free(h->work->records, r);
}

/* Frees the first of a random drawer, or of one behind it; of one piece at least. */
static void give(struct holder *h)
{
	size_t i = work_below(h->task, DRAWERS);

	while (list_empty(&h->drawers[i]))
		i = (i + 1) % DRAWERS;
	record_free(h, list_first_entry(&h->drawers[i], struct record, link));
}

static void give_until(struct holder *h, uint64_t records)
{
	while (h->records > records) {
		give(h);
		if (h->records % DRAWERS == 0)
			kthread_yield();
	}
}

static void allocate(struct work_task *t)
{
	struct holder h = {.task = t, .work = t->work->data};

	for (size_t i = 0; i < DRAWERS; i++)
		list_init(&h.drawers[i]);
	do {
		if ((h.held >= h.work->share || !take(&h)) && h.records > 0)
			give(&h);
		if (work_below(t, LULL) == 0)
			give_until(&h, h.records / 2);
	} while (work_step(t));
	give_until(&h, 0);
}

/* Start and end */

static void end(struct work *w)
{
	struct alloc_work *a = w->data;

	work_end_cache(a->objects);
	work_end_cache(a->records);
	kfree(a);
}

static bool make_caches(struct alloc_work *a)
{
	a->records = kmem_cache_create(
		"work-records", sizeof(struct record), 0, 0, NULL, NULL, NULL, NULL);
	a->objects = kmem_cache_create(
		"work-objects", sizeof(struct object), 0, 0, NULL, construct, NULL, NULL);
	return a->records && a->objects;
}

bool work_start_alloc(struct work *w, const struct work_args *args)
{
	uint64_t percent = 0, ktasks = 4;
	struct alloc_work *a;

	if (!work_number(args, 0, 1, PERCENT_MAX, &percent) ||
		!work_number(args, 1, 1, WORK_TASKS_MAX, &ktasks) ||
		!work_add_tasks(w, args, ktasks, allocate))
		return false;
	a = kzalloc(sizeof(*a), MEM_ERROR);
	if (!a)
		return work_no_memory(args);
	w->data = a;
	w->end = end;
	a->share = arena_amt_total(base_arena) / 100 * percent / ktasks;
	a->flags = percent <= PERCENT_WAITS ? MEM_WAIT : MEM_ERROR;
	if (make_caches(a))
		return true;
	end(w);
	return work_no_memory(args);
}
