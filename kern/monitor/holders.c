/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who holds the machine's memory: a row for each holder, which add up to all RAM to the byte.
 *
 * The walk goes along the tree of base_arena.  What an arena has handed out is its importers', its
 * caches', its owners' (owner.h), and what remains is that of other callers; so the rows of an arena
 * add up to what its source counts as handed out to it.
 *
 * Nothing stands still meanwhile: what changes between two looks would make a row negative, or the
 * sum wrong, and is taken off the largest row, or added to it.
 */
#include "holders.h"

#include "boot.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "monitor_impl.h"
#include "owner.h"
#include "port.h"
#include "vmap.h"

#define SPARE_ROWS 16 /* for owners that are listed between the count and the walk */

struct walk {
	const struct holders *h;
	void (*emit)(struct walk *w, const struct holder *row);
	void *arg;
	bool is_in_base; /* the root passed last is base_arena */
};

/* One arena's share. */
struct share {
	struct walk *walk;
	const struct arena_stats *arena;
	uint64_t idle;	/* in its quantum caches, and not handed out */
	uint64_t taken; /* by holders that have a row, and by importers */
	bool is_below;	/* the rows of its importers are passing */
};

static void emit(struct walk *w, const char *name, const char *kind, const char *in, uint64_t bytes)
{
	struct holder row = {.bytes = (int64_t)bytes, .kind = kind};

	str_copy(row.name, name, sizeof(row.name));
	str_copy(row.in, in, sizeof(row.in));
	w->emit(w, &row);
}

static void add_cache(const struct kmem_cache_stats *c, void *arg)
{
	struct share *s = arg;

	if (c->is_front) {
		s->idle += c->total - c->used;
		return;
	}
	emit(s->walk, c->name, "cache", s->arena->name, c->total);
	s->taken += c->total;
}

/* In the order of the walk, the importers of an arena, and theirs, come next to it. */
static void add_importer(const struct arena_stats *a, void *arg)
{
	struct share *s = arg;

	if (a->arena == s->arena->arena)
		s->is_below = true;
	else if (a->depth <= s->arena->depth)
		s->is_below = false;
	else if (s->is_below && a->depth == s->arena->depth + 1)
		s->taken += a->total;
}

/* After a panic there are no snapshots: nothing changes then, and each arena and cache is read where
 * it is. */
static void each_arena(
	const struct holders *h, void (*fn)(const struct arena_stats *a, void *arg), void *arg)
{
	if (panic_happened())
		arena_tree_peek(fn, arg);
	for (size_t i = 0; i < h->arenas.count; i++)
		fn(&h->arenas.arena[i], arg);
}

static void add_caches(struct share *s)
{
	const struct snapshot *caches = &s->walk->h->caches;

	if (panic_happened())
		kmem_cache_peek(s->arena->arena, add_cache, s);
	for (size_t i = 0; i < caches->count; i++)
		if (caches->cache[i].source == s->arena->arena)
			add_cache(&caches->cache[i], s);
}

static void add_owners(struct share *s)
{
	for (const struct arena_owner *o = arena_owner_next(NULL); o; o = arena_owner_next(o)) {
		uint64_t held = __atomic_load_n(&o->held, __ATOMIC_RELAXED);

		if (*o->arena != s->arena->arena)
			continue;
		emit(s->walk, o->name, "kernel", s->arena->name, held);
		s->taken += held;
	}
}

static void visit_arena(const struct arena_stats *a, void *arg)
{
	struct walk *w = arg;
	struct share s = {.walk = w, .arena = a};
	bool is_base = a->arena == base_arena;

	if (a->depth == 0)
		w->is_in_base = is_base;
	if (!w->is_in_base)
		return;
	if (is_base) {
		s.taken = a->tag_pages * PORT_PAGE_SIZE;
		emit(w, "arena tags and hashes", "kernel", a->name, s.taken);
	}
	add_owners(&s);
	add_caches(&s);
	each_arena(w->h, add_importer, &s);
	emit(w, is_base ? "free" : a->name, is_base ? "free" : "idle", a->name, a->free + s.idle);
	emit(w, a->name, "callers", a->name, a->used - s.idle - s.taken);
}

static void walk(const struct holders *h, void (*fn)(struct walk *w, const struct holder *row), void *arg)
{
	struct walk w = {h, fn, arg, false};

	for (size_t i = 0; i < boot_info->account_count; i++)
		if (boot_info->account[i].is_ram)
			emit(&w, boot_info->account[i].what, "boot", "ram", boot_info->account[i].bytes);
	each_arena(h, visit_arena, &w);
}

/* All RAM: what base has, and what it never had. */

static void add_base(const struct arena_stats *a, void *total)
{
	if (a->arena == base_arena)
		*(uint64_t *)total += a->total;
}

static uint64_t ram(const struct holders *h)
{
	uint64_t total = 0;

	for (size_t i = 0; i < boot_info->account_count; i++)
		if (boot_info->account[i].is_ram)
			total += boot_info->account[i].bytes;
	each_arena(h, add_base, &total);
	return total;
}

/* The rows, in memory */

static void count_row(struct walk *w, const struct holder *row)
{
	++*(size_t *)w->arg;
}

static void keep_row(struct walk *w, const struct holder *row)
{
	struct holders *h = w->arg;

	if (h->count < h->bytes / sizeof(*row))
		h->rows[h->count++] = *row;
}

/* Most first. */
static void sort(struct holders *h)
{
	for (size_t i = 1; i < h->count; i++) {
		struct holder row = h->rows[i];
		size_t at = i;

		for (; at > 0 && h->rows[at - 1].bytes < row.bytes; at--)
			h->rows[at] = h->rows[at - 1];
		h->rows[at] = row;
	}
}

/* What changed meanwhile is the largest row's. */
static void settle(struct holders *h)
{
	int64_t sum = 0;

	for (size_t i = 0; i < h->count; i++) {
		if (h->rows[i].bytes < 0)
			h->rows[i].bytes = 0;
		sum += h->rows[i].bytes;
	}
	sort(h);
	h->rows[0].bytes += (int64_t)h->total - sum;
}

static bool rows_alloc(struct holders *h)
{
	size_t rows = 0;

	walk(h, count_row, &rows);
	h->bytes = (rows + SPARE_ROWS) * sizeof(*h->rows);
	h->bytes = (h->bytes + PORT_PAGE_SIZE - 1) & ~(PORT_PAGE_SIZE - 1);
	h->rows = vmalloc(h->bytes, MEM_ERROR);
	return h->rows;
}

bool holders_take(struct holders *h)
{
	*h = (struct holders){.count = 0};
	if (!snapshot_arenas(&h->arenas))
		return false;
	if (!snapshot_caches(&h->caches)) {
		snapshot_free(&h->arenas);
		return false;
	}
	if (rows_alloc(h)) {
		/* Once more, now that all memory for it is taken. */
		snapshot_read_arenas(&h->arenas);
		snapshot_read_caches(&h->caches);
		walk(h, keep_row, h);
		h->total = ram(h);
		settle(h);
	}
	snapshot_free(&h->caches);
	snapshot_free(&h->arenas);
	return h->rows;
}

void holders_free(struct holders *h)
{
	vfree(h->rows, h->bytes);
}

/* Without memory, in a panic */

struct peek {
	void (*fn)(const struct holder *row, uint64_t total, void *arg);
	void *arg;
	uint64_t total;
};

static void peek_row(struct walk *w, const struct holder *row)
{
	const struct peek *p = w->arg;

	p->fn(row, p->total, p->arg);
}

void holders_peek(void (*fn)(const struct holder *row, uint64_t total, void *arg), void *arg)
{
	struct holders none = {.count = 0};
	struct peek p = {fn, arg, ram(&none)};

	walk(&none, peek_row, &p);
}
