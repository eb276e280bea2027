/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim looked at: roots, and what each arena and cache gave.
 */
#include "reclaim_impl.h"

#include "lib/check.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "port.h"
#include "sync.h"

static bool is_below(const struct arena *a, const struct arena *root)
{
	while (a && a != root)
		a = arena_source(a);
	return a;
}

static bool depends_on(const struct shortage *s, const struct arena *root)
{
	bool depends = s->has_tag_part && is_below(s->tag_part.arena, root);

	for (unsigned i = 0; !depends && i < s->part_count; i++)
		depends = is_below(s->parts[i].arena, root);
	return depends;
}

/* Each record once, however many of its parts lie below the root.  No record comes or goes. */
static void count_records(const struct arena *root, struct reclaim_root *row)
	SPANDREL_REQUIRES(&shortage_marks_lock)
{
	for (struct shortage *s = shortage_after(NULL); s; s = shortage_after(s)) {
		if (!depends_on(s, root))
			continue;
		row->waiting++;
		row->parked += s->is_parked;
	}
}

static void fill_root(struct arena *root, struct reclaim_root *row)
{
	struct arena_account *a = arena_account(root);
	size_t low, high;

	memset(row, 0, sizeof(*row));
	str_copy(row->name, arena_name(root), sizeof(row->name));
	row->in_bytes = arena_in_bytes(root);
	row->free = arena_amt_free(root);
	row->total = arena_amt_total(root);
	arena_watermarks(root, &low, &high);
	row->low = low;
	row->high = high;
	qlock_lock(&shortage_marks_lock);
	row->pause_ns = deadline_has_passed(a->next_pass) ? 0 : a->next_pass - port_ns();
	row->wanted = shortage_wants_of(root).amount;
	count_records(root, row);
	qlock_unlock(&shortage_marks_lock);
}

size_t reclaim_roots(struct reclaim_root *rows, size_t max)
{
	size_t n = 0;

	if (max > 0)
		check_given("reclaim_roots", "list of rows", rows, __builtin_return_address(0));
	sync_check_may_sleep("reclaim_roots", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	for (struct arena *a = arena_root_next(NULL); a; a = arena_root_next(a), n++)
		if (n < max)
			fill_root(a, &rows[n]);
	qlock_unlock(&arenas_and_slabs_lock);
	return n;
}

static uint64_t get(const uint64_t *field)
{
	return __atomic_load_n(field, __ATOMIC_RELAXED);
}

static struct reclaim_node node_of(const struct reclaim_account *r)
{
	return (struct reclaim_node){
		.last_given = get(&r->last_given),
		.last_instr = get(&r->last_instr),
		.last_level = (unsigned)get(&r->last_level),
		.given = get(&r->given),
		.asked = get(&r->asked),
		.slow = get(&r->slow),
		.is_skipped = get(&r->skip_until) > port_ns(),
	};
}

static struct reclaim_node arena_node(struct arena *a, unsigned depth)
{
	struct reclaim_node n = node_of(arena_reclaim_account(a));
	void *priv;

	str_copy(n.name, arena_name(a), sizeof(n.name));
	n.depth = depth;
	n.in_bytes = arena_in_bytes(a);
	n.has_owner = arena_owner(a, &priv) != NULL;
	return n;
}

static struct reclaim_node cache_node(struct kmem_cache *c, unsigned depth)
{
	struct reclaim_node n = node_of(slab_reclaim_account(c));
	void *priv;

	str_copy(n.name, slab_name(c), sizeof(n.name));
	n.depth = depth;
	n.is_cache = true;
	n.in_bytes = slab_in_bytes(c);
	n.has_owner = slab_owner(c, &priv) != NULL;
	return n;
}

void reclaim_peek_nodes(void (*fn)(const struct reclaim_node *row, void *arg), void *arg) SPANDREL_UNANALYSED
{
	for (struct arena *a = arena_tree_next(NULL); a; a = arena_tree_next(a)) {
		unsigned depth = arena_tree_depth(a);
		struct reclaim_node row = arena_node(a, depth);

		fn(&row, arg);
		for (struct kmem_cache *c = slab_walk_next(a, NULL); c; c = slab_walk_next(a, c)) {
			row = cache_node(c, depth + 1);
			fn(&row, arg);
		}
	}
}

/* Rows that nodes are copied to. */
struct node_rows {
	struct reclaim_node *row;
	size_t max, count;
};

static void copy_node(const struct reclaim_node *row, void *arg)
{
	struct node_rows *rows = arg;

	if (rows->count < rows->max)
		rows->row[rows->count] = *row;
	rows->count++;
}

size_t reclaim_nodes(struct reclaim_node *rows, size_t max)
{
	struct node_rows to = {rows, max, 0};

	if (max > 0)
		check_given("reclaim_nodes", "list of rows", rows, __builtin_return_address(0));
	sync_check_may_sleep("reclaim_nodes", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	reclaim_peek_nodes(copy_node, &to);
	qlock_unlock(&arenas_and_slabs_lock);
	return to.count;
}
