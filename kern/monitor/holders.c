/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who holds the machine's memory: a row for each holder, which add up to all RAM to the byte.
 *
 * The walk goes along the tree of base_arena.  What an arena has handed out is its importers', its
 * caches', its owners' (owner.h), and what remains is that of other callers; so the rows of an arena
 * add up to what its source counts as handed out to it.
 *
 * The walk holds arenas_and_slabs_lock and needs no memory, so that it works when none is left.  Nothing
 * else stands still meanwhile: what changes between two looks would make a row negative, or the sum wrong,
 * and is taken off the largest row, or added to it.
 */
#include "holders.h"

#include "boot.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "monitor_impl.h"
#include "owner.h"
#include "port.h"
#include "sync.h"

struct walk {
	struct holders *h;
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

/* Holders beyond the room for rows share the last one. */
static void add(struct walk *w, const char *name, const char *kind, const char *in, uint64_t bytes)
{
	struct holder *row = &w->h->row[w->h->count];

	if (bytes == 0)
		return;
	if (w->h->count == HOLDERS_MAX) {
		row[-1].bytes += (int64_t)bytes;
		row[-1].kind = "rest";
		str_copy(row[-1].name, "the rest", sizeof(row->name));
		str_copy(row[-1].in, "", sizeof(row->in));
		return;
	}
	*row = (struct holder){.bytes = (int64_t)bytes, .kind = kind};
	str_copy(row->name, name, sizeof(row->name));
	str_copy(row->in, in, sizeof(row->in));
	w->h->count++;
}

static void add_cache(const struct kmem_cache_stats *c, void *arg)
{
	struct share *s = arg;

	if (c->is_front) {
		s->idle += c->total - c->used;
		return;
	}
	add(s->walk, c->name, "cache", s->arena->name, c->total);
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

static void add_owners(struct share *s)
{
	for (const struct arena_owner *o = arena_owner_next(NULL); o; o = arena_owner_next(o)) {
		uint64_t held = __atomic_load_n(&o->held, __ATOMIC_RELAXED);

		if (*o->arena != s->arena->arena)
			continue;
		add(s->walk, o->name, "kernel", s->arena->name, held);
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
		add(w, "arena tags and hashes", "kernel", a->name, s.taken);
		w->h->total += a->total;
	}
	add_owners(&s);
	kmem_cache_peek(a->arena, add_cache, &s);
	arena_tree_peek(add_importer, &s);
	add(w, is_base ? "free" : a->name, is_base ? "free" : "idle", a->name, a->free + s.idle);
	add(w, a->name, "callers", a->name, a->used - s.idle - s.taken);
}

/* Most first. */
static void sort(struct holders *h)
{
	for (size_t i = 1; i < h->count; i++) {
		struct holder row = h->row[i];
		size_t at = i;

		for (; at > 0 && h->row[at - 1].bytes < row.bytes; at--)
			h->row[at] = h->row[at - 1];
		h->row[at] = row;
	}
}

/* What changed meanwhile is the largest row's. */
static void settle(struct holders *h)
{
	int64_t sum = 0;

	for (size_t i = 0; i < h->count; i++) {
		if (h->row[i].bytes < 0)
			h->row[i].bytes = 0;
		sum += h->row[i].bytes;
	}
	sort(h);
	h->row[0].bytes += (int64_t)h->total - sum;
}

/* Changes */

/* NULL: it isn't there. */
static const struct holder *find(const struct holders *h, const struct holder *row)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->row[i].kind == row->kind && strcmp(h->row[i].name, row->name) == 0 &&
			strcmp(h->row[i].in, row->in) == 0)
			return &h->row[i];
	return NULL;
}

static void note_changes(struct holders *h, const struct holders *last)
{
	size_t count = h->count;

	for (size_t i = 0; i < count; i++) {
		const struct holder *before = find(last, &h->row[i]);

		h->row[i].change = h->row[i].bytes - (before ? before->bytes : 0);
	}
	for (size_t i = 0; i < last->count && h->count < HOLDERS_MAX; i++) {
		const struct holder *gone = &last->row[i];

		if (gone->bytes == 0 || find(h, gone))
			continue;
		h->row[h->count] = *gone;
		h->row[h->count].bytes = 0;
		h->row[h->count++].change = -gone->bytes;
	}
}

/* Nobody holds what is free. */
static void free_last(struct holders *h)
{
	struct holder row;
	size_t at = 0;

	while (at < h->count && strcmp(h->row[at].kind, "free") != 0)
		at++;
	if (at == h->count)
		return;
	row = h->row[at];
	for (; at + 1 < h->count; at++)
		h->row[at] = h->row[at + 1];
	h->row[at] = row;
}

void holders_take(struct holders *h, const struct holders *last)
{
	struct walk w = {.h = h};

	h->count = 0;
	h->total = 0;
	for (size_t i = 0; i < boot_info->account_count; i++) {
		const struct boot_account *account = &boot_info->account[i];

		if (!account->is_ram)
			continue;
		add(&w, account->what, "boot", "ram", account->bytes);
		h->total += account->bytes;
	}
	monitor_lock_tree();
	arena_tree_peek(visit_arena, &w);
	monitor_unlock_tree();
	settle(h);
	if (last)
		note_changes(h, last);
	free_last(h);
}
