/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The import tree: who imports from whom, and the list of all arenas.
 */
#include "arena_impl.h"

#include "lib/check.h"
#include "lib/panic.h"
#include "lib/string.h"

struct qlock arenas_and_slabs_lock = QLOCK_INIT(arenas_and_slabs_lock);
struct arena *all_arenas;
static struct arena *last_arena; /* the last of them */

void arena_list_add(struct arena *a)
{
	struct arena **end = last_arena ? &last_arena->all_next : &all_arenas;

	a->all_next = NULL;
	a->all_prev = last_arena;
	*end = a;
	last_arena = a;
}

void arena_list_del(struct arena *a)
{
	struct arena **to = a->all_prev ? &a->all_prev->all_next : &all_arenas;
	struct arena **back = a->all_next ? &a->all_next->all_prev : &last_arena;

	*to = a->all_next;
	*back = a->all_prev;
}

void add_importing_arena(struct arena *source, struct arena *importer)
{
	bool linked;

	check_given("add_importing_arena", "source", source, __builtin_return_address(0));
	check_given("add_importing_arena", "importer", importer, __builtin_return_address(0));
	sync_check_may_sleep("add_importing_arena", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	linked = importer->tree_source != NULL;
	if (!linked) {
		importer->tree_source = source;
		list_add_tail(&source->importers, &importer->importer_link);
	}
	qlock_unlock(&arenas_and_slabs_lock);
	if (linked)
		arena_bug(importer, __builtin_return_address(0), "already imports from %s",
			importer->tree_source->name);
}

void del_importing_arena(struct arena *source, struct arena *importer)
{
	bool linked;

	check_given("del_importing_arena", "source", source, __builtin_return_address(0));
	check_given("del_importing_arena", "importer", importer, __builtin_return_address(0));
	sync_check_may_sleep("del_importing_arena", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	linked = importer->tree_source == source;
	if (linked) {
		importer->tree_source = NULL;
		list_del(&importer->importer_link);
	}
	qlock_unlock(&arenas_and_slabs_lock);
	if (!linked)
		arena_bug(importer, __builtin_return_address(0), "does not import from %s", source->name);
}

/* The first root at or behind `a` in the list of all arenas. */
static struct arena *root_from(struct arena *a)
{
	while (a && a->tree_source)
		a = a->all_next;
	return a;
}

struct arena *arena_tree_next(const struct arena *a)
{
	if (!a)
		return root_from(all_arenas);
	if (!list_empty(&a->importers))
		return list_first_entry(&a->importers, struct arena, importer_link);
	for (; a->tree_source; a = a->tree_source)
		if (a->importer_link.next != &a->tree_source->importers)
			return list_entry(a->importer_link.next, struct arena, importer_link);
	return root_from(a->all_next);
}

/* The deepest first arena of the tree at `a`. */
static struct arena *deepest(struct arena *a)
{
	while (!list_empty(&a->importers))
		a = list_first_entry(&a->importers, struct arena, importer_link);
	return a;
}

struct arena *arena_walk_next(struct arena *root, struct arena *a)
{
	if (!a)
		return deepest(root);
	if (a == root)
		return NULL;
	if (a->importer_link.next != &a->tree_source->importers)
		return deepest(list_entry(a->importer_link.next, struct arena, importer_link));
	return a->tree_source;
}

struct arena *arena_root_next(struct arena *a)
{
	a = a ? a->all_next : all_arenas;
	while (a && arena_source(a))
		a = a->all_next;
	return a;
}

#define AWAIT_NS 1000000 /* between two looks */

void reclaim_await_refs(const struct reclaim_account *r)
{
	while (r->refs > 0) {
		qlock_unlock(&arenas_and_slabs_lock);
		port_thread_block(port_ns() + AWAIT_NS);
		qlock_lock(&arenas_and_slabs_lock);
	}
}

unsigned arena_tree_depth(const struct arena *a)
{
	unsigned depth = 0;

	for (; a->tree_source; a = a->tree_source)
		depth++;
	return depth;
}

void arena_tree_place(const struct arena *a, struct arena_stats *row)
{
	row->importers = 0;
	for (struct list *l = a->importers.next; l != &a->importers; l = l->next)
		row->importers++;
}

size_t arena_tree_stats(struct arena_stats *rows, size_t max)
{
	size_t n = 0;

	if (max > 0)
		check_given("arena_tree_stats", "list of rows", rows, __builtin_return_address(0));
	sync_check_may_sleep("arena_tree_stats", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	for (struct arena *a = arena_tree_next(NULL); a; a = arena_tree_next(a), n++) {
		if (n >= max)
			continue;
		arena_get_stats(a, &rows[n]);
		arena_tree_place(a, &rows[n]);
	}
	qlock_unlock(&arenas_and_slabs_lock);
	return n;
}

void arena_tree_peek(void (*fn)(const struct arena_stats *row, void *arg), void *arg) SPANDREL_UNANALYSED
{
	for (struct arena *a = arena_tree_next(NULL); a; a = arena_tree_next(a)) {
		struct arena_stats row;

		if (panic_happened())
			arena_read_stats(a, &row);
		else
			arena_get_stats(a, &row);
		arena_tree_place(a, &row);
		fn(&row, arg);
	}
}

static __attribute__((noreturn)) void refuse_unpinned(struct arena *a, void *caller)
{
	arena_bug(a, caller, "a walk goes on from it that doesn't stand on it, %u do", a->asked.refs);
}

/* The reference is of the kind that a pass of reclaim has. */
struct arena *arena_next(struct arena *a)
{
	struct arena *next = NULL;
	bool is_pinned;

	sync_check_may_sleep("arena_next", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	is_pinned = !a || a->asked.refs > 0;
	if (is_pinned)
		next = arena_tree_next(a);
	if (next)
		next->asked.refs++;
	if (a && is_pinned)
		a->asked.refs--;
	qlock_unlock(&arenas_and_slabs_lock);
	if (a && !is_pinned)
		refuse_unpinned(a, __builtin_return_address(0));
	return next;
}

void arena_unpin(struct arena *a)
{
	bool was_pinned;

	check_given("arena_unpin", "arena", a, __builtin_return_address(0));
	sync_check_may_sleep("arena_unpin", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	was_pinned = a->asked.refs > 0;
	a->asked.refs -= was_pinned;
	qlock_unlock(&arenas_and_slabs_lock);
	if (!was_pinned)
		refuse_unpinned(a, __builtin_return_address(0));
}

bool arena_name_at(const struct arena *arena, char name[ARENA_NAME_MAX])
{
	struct arena *a;

	check_given("arena_name_at", "place for a name", name, __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	for (a = all_arenas; a && a != arena; a = a->all_next)
		;
	if (a)
		str_copy(name, a->name, ARENA_NAME_MAX);
	qlock_unlock(&arenas_and_slabs_lock);
	return a;
}

struct arena *arena_find(const char *name)
{
	struct arena *a;

	check_given("arena_find", "name", name, __builtin_return_address(0));
	sync_check_may_sleep("arena_find", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	for (a = all_arenas; a && strcmp(a->name, name) != 0; a = a->all_next)
		;
	qlock_unlock(&arenas_and_slabs_lock);
	return a;
}

static size_t tags_held(const struct arena *a)
{
	const struct btag_store *s = &a->store;

	return s->spare.count + s->spans + s->segments_free + s->hash.entries;
}

bool arena_base_balances(struct arena *base)
{
	size_t tags, nodes, pages = 0;

	check_given("arena_base_balances", "arena", base, __builtin_return_address(0));
	sync_check_may_sleep("arena_base_balances", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	tags = base->supply->idle;
	nodes = base->node_supply->idle;
	for (struct arena *a = all_arenas; a; a = a->all_next) {
		if (a->base != base)
			continue;
		tags += tags_held(a);
		nodes += a->store.index.nodes_held;
		pages += a->store.hash.pages_held;
	}
	qlock_unlock(&arenas_and_slabs_lock);
	return tags == base->supply->pages * TAG_PAGE_TAGS &&
	       nodes == base->node_supply->pages * tag_page_tags(BTAG_NODE_SIZE) &&
	       pages == base->supply->hash_pages;
}
