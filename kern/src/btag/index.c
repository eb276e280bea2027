/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index of free segments.
 *
 * CONCEPTS
 *
 * The bins find a segment by size in constant time, and that is all they can do.  What else is
 * asked, the smallest that serves, the lowest, the next above a place, one under a triple or within
 * a window, needs an order to search in.  The index is that order, for the arenas that are asked
 * such things: most never are, and have none.
 *
 * REPRESENTATION
 *
 * A node for each free segment, in a balanced tree by address and, once a best fit has been asked
 * for, in one by (size, address), too.  In the tree by address each node holds, for its subtree,
 * the largest request that any segment there can serve: under no constraint (max[0], the largest
 * size), and under each of the triples that are kept (max[1 + i]).  What the node's own segment can
 * serve under a triple is computed once, when the segment changes (own[i]); see btag_triple.c for
 * the formula and why "serves" is monotone in the size.
 *
 *	            [40, 56)                 max = 16 | the lowest that serves 12 at or above 9:
 *	           /        \                the segment that contains 9 is looked at by itself;
 *	     [8, 20)         [80, 90)        then, above it, down the first branches whose max >= 12
 *	     max = 12        max = 10
 *
 * INVARIANTS (arena_check reports any of them as number 11)
 *
 *  1. While the index is live, the nodes in the tree by address are those of the free segments that
 *     start at or below `passed`; a segment and its node point at each other.  Those that start at
 *     or below `sized` are in the tree by size, too.
 *  2. own and max are right for every triple that isn't being added; max[0] is always right.
 *  3. While a triple is being added: own is right for the segments at or below its own `passed`,
 *     and max is right in each node whose whole subtree lies there.
 *  4. 2 * nodes_held >= segments + spans while live.
 *
 * NODES.  Freeing must not need memory.  Of n segments in a row no two free ones are neighbours, so
 * at most (n + 1) / 2 of them can ever be free at once without a new tag being made; over all spans
 * that is (segments + spans) / 2.  That many nodes are held (4), which is why a free always finds
 * one in hand.  Only carving and importing make segments; they take from a margin of spare nodes,
 * and when that is below BTAG_NODES_MARGIN the index asks for care, and gets it once the arena's
 * lock is dropped, as the hash gets its pages.  Should the margin be used up all the same, because
 * memory is out, the index ends: it is a means to be fast, and nothing that is right depends on it.
 *
 * COMING INTO BEING.  btag_index_build() walks the segments in address order, a bounded step at a
 * time, and enters the free ones.  Where it stands is `passed`; changes at or below it go into the
 * trees at once, those above will be met.  Carving the front off a segment at the frontier moves
 * the frontier to what remains: there is nothing free between.  Until the walk is through nobody
 * searches in it.
 *
 * The tree by size is filled in the same way, by a walk over the tree by address, when the first
 * request needs it; `sized` is where that stands.
 *
 * ADDING A TRIPLE.  Its place among the kept is the one used least lately.  From then on own is
 * computed for whatever changes.  A walk over the tree, in steps, computes the rest.  A node's max
 * is right as soon as its whole subtree is: when the walk passes the last segment of a subtree it
 * computes max there, and in each ancestor whose last segment that is too.  A change in the tree
 * recomputes all nodes from the place up to the root while a triple is being added, whether a value
 * changed or not, so that a node whose subtree was part ahead of the frontier and no longer is gets
 * a right value, too (3).
 *
 * COST.  A search follows one path down and one up: logarithmic.  A window clips two segments at
 * most, the one that contains its first unit, which is looked at by itself, and the one that
 * contains its last: the first one found that starts above the window's first unit either serves,
 * or is clipped, and then all behind it lie outside.  That nothing serves is known as soon: from
 * the root, or from that path.  A change costs one path by address, and a removal and an insertion
 * by size if that order is kept.
 */
#include "btag.h"

#include "lib/string.h"

struct btag_node {
	struct tree_node by_address, by_size;
	struct btag *tag;
	size_t own[BTAG_TRIPLES];
	size_t max[1 + BTAG_TRIPLES];
};
_Static_assert(sizeof(struct btag_node) <= BTAG_NODE_SIZE, "a node fits in two cache lines");

static inline struct btag_node *addressed(const struct tree_node *n)
{
	return n ? container_of(n, struct btag_node, by_address) : NULL;
}

static inline struct btag_node *sized(const struct tree_node *n)
{
	return n ? container_of(n, struct btag_node, by_size) : NULL;
}

/* Orders, and the values of the tree by address */

static bool address_before(const struct tree_node *a, const struct tree_node *b)
{
	return addressed(a)->tag->start < addressed(b)->tag->start;
}

static bool size_before(const struct tree_node *a, const struct tree_node *b)
{
	const struct btag *x = sized(a)->tag, *y = sized(b)->tag;

	return x->size != y->size ? x->size < y->size : x->start < y->start;
}

static const struct tree_ops size_order = {.before = size_before};

/* Stands for a child that isn't there. */
static const struct btag_node none;

static inline size_t greater(size_t a, size_t b)
{
	return a > b ? a : b;
}

static inline size_t own_value(const struct btag_node *n, unsigned slot)
{
	return slot == 0 ? n->tag->size : n->own[slot - 1];
}

/* Recomputes one maximum; what it differs in. */
static inline size_t update_slot(struct btag_node *n, const struct btag_node *left,
	const struct btag_node *right, unsigned i)
{
	size_t max = greater(own_value(n, i), greater(left->max[i], right->max[i]));
	size_t changed = max ^ n->max[i];

	n->max[i] = max;
	return changed;
}

/* Recomputes max of the first `slots` values, a constant, without a loop; whether one changed. */
static inline __attribute__((always_inline)) bool update_slots(
	struct tree_node *tn, unsigned slots)
{
	struct btag_node *n = addressed(tn);
	const struct btag_node *left = tn->left ? addressed(tn->left) : &none;
	const struct btag_node *right = tn->right ? addressed(tn->right) : &none;
	size_t changed = update_slot(n, left, right, 0);

	_Static_assert(BTAG_TRIPLES == 4, "a line for each");
	if (slots > 1)
		changed |= update_slot(n, left, right, 1);
	if (slots > 2)
		changed |= update_slot(n, left, right, 2);
	if (slots > 3)
		changed |= update_slot(n, left, right, 3);
	if (slots > 4)
		changed |= update_slot(n, left, right, 4);
	return changed;
}

static inline __attribute__((always_inline)) void update_slots_upward(
	struct tree_node *n, unsigned slots)
{
	while (n && update_slots(n, slots))
		n = tree_parent(n);
}

/* Functions for each number of triples, and those that never let the way up end early. */
#define UPDATES(slots)                                          \
	static bool update_##slots(struct tree_node *n)         \
	{                                                       \
		return update_slots(n, slots);                  \
	}                                                       \
	static void update_##slots##_upward(struct tree_node *n) \
	{                                                       \
		update_slots_upward(n, slots);                  \
	}
UPDATES(1)
UPDATES(2)
UPDATES(3)
UPDATES(4)
UPDATES(5)

static bool update_adding(struct tree_node *n)
{
	update_slots(n, 1 + BTAG_TRIPLES);
	return true;
}

static const struct tree_ops address_orders[] = {
	{address_before, update_1, true, update_1_upward},
	{address_before, update_2, true, update_2_upward},
	{address_before, update_3, true, update_3_upward},
	{address_before, update_4, true, update_4_upward},
	{address_before, update_5, true, update_5_upward},
	{address_before, update_adding, true, NULL},
};
_Static_assert(sizeof(address_orders) / sizeof(address_orders[0]) == BTAG_TRIPLES + 2, "one for each");

static inline const struct tree_ops *address_order(const struct btag_index *x)
{
	return &address_orders[__builtin_expect(x->adding, 0) ? BTAG_TRIPLES + 1 : x->triples];
}

static void compute_own(const struct btag_index *x, struct btag_node *n)
{
	for (unsigned i = 0; i < x->triples; i++)
		n->own[i] = btag_triple_largest(&x->kept[i].triple, n->tag->start, btag_last(n->tag));
}

/* Nodes */

static size_t segments_of(const struct btag_store *s)
{
	return s->segments_free + btag_hash_used(&s->hash) + s->spans;
}

/* What it must hold to be live. */
static inline size_t nodes_needed(const struct btag_store *s)
{
	return (segments_of(s) + 1) / 2;
}

static void care_update(struct btag_store *s)
{
	struct btag_index *x = &s->index;
	size_t needed = nodes_needed(s);
	bool cares = x->live ? x->nodes_held < needed + BTAG_NODES_MARGIN ||
				       x->nodes_held > needed + BTAG_NODES_SPARE_MAX :
			       x->builders == 0 && x->nodes_held > 0;

	__atomic_store_n(&x->needs_care, cares, __ATOMIC_RELAXED);
}

void btag_index_begin(struct btag_store *s)
{
	s->index.builders++;
	__atomic_store_n(&s->index.wanted, false, __ATOMIC_RELAXED);
	care_update(s);
}

void btag_index_end(struct btag_store *s)
{
	s->index.builders--;
	care_update(s);
}

size_t btag_index_lacks(const struct btag_store *s)
{
	size_t least = nodes_needed(s) + BTAG_NODES_MARGIN;

	return s->index.nodes_held < least ? least - s->index.nodes_held : 0;
}

void btag_index_give(struct btag_store *s, struct btag_chain *nodes)
{
	s->index.nodes_held += nodes->count;
	while (nodes->head)
		btag_chain_push(&s->index.nodes, btag_chain_pop(nodes));
	care_update(s);
}

/* Unlinks the lowest node of the dead tree, whose shape no longer matters. */
static void dead_pop(struct btag_index *x)
{
	struct tree_node **link = &x->dead.root;
	struct btag_node *n;

	while ((*link)->left)
		link = &(*link)->left;
	n = addressed(*link);
	*link = (*link)->right;
	btag_chain_push(&x->nodes, (struct btag *)n);
}

void btag_index_take(struct btag_store *s, struct btag_chain *nodes)
{
	struct btag_index *x = &s->index;
	size_t keep = x->live || x->builders > 0 ?
			      nodes_needed(s) + (BTAG_NODES_MARGIN + BTAG_NODES_SPARE_MAX) / 2 :
			      0;

	for (int i = 0; i < BTAG_DROP_STEP && x->dead.root; i++)
		dead_pop(x);
	for (int i = 0; i < BTAG_DROP_STEP && x->nodes.count > 0 && x->nodes_held > keep; i++) {
		btag_chain_push(nodes, btag_chain_pop(&x->nodes));
		x->nodes_held--;
	}
	care_update(s);
}

void btag_index_drop(struct btag_store *s)
{
	struct btag_index *x = &s->index;

	if (!x->live)
		return;
	if (!x->stands)
		btag_cursor_close(s, &x->build);
	x->dead = x->by_address;
	x->by_address.root = x->by_size.root = NULL;
	x->live = x->stands = x->adding = false;
	x->triples = 0;
	btag_detour_update(s);
	care_update(s);
}

/* Changes */

static inline bool is_indexed(const struct btag_index *x, const struct btag *f)
{
	return f->start <= x->passed;
}

/* In the parent link of a node that isn't in the tree by size. */
#define UNSIZED UINTPTR_MAX

static inline bool is_sized(const struct btag_node *n)
{
	return n->by_size.parent != UNSIZED;
}

/* The other end of f becomes a segment by itself: where f stands before a frontier it does, too,
 * for between them is nothing free. */
static inline void pass(struct btag_index *x, const struct btag *f, const struct btag *rest)
{
	if (rest->start > x->passed)
		x->passed = rest->start;
	if (rest->start > x->sized && is_sized(f->node))
		x->sized = rest->start;
}

/* tree_insert() with the comparison in place: half the cost. */
static void tree_by_size_insert(struct btag_index *x, struct btag_node *n)
{
	const struct btag *f = n->tag;
	struct tree_node *at = x->by_size.root, *parent = NULL;
	bool right = false;

	while (at) {
		const struct btag *t = sized(at)->tag;

		parent = at;
		right = f->size > t->size || (f->size == t->size && f->start > t->start);
		at = right ? at->right : at->left;
	}
	tree_insert_at(&x->by_size, parent, right, &n->by_size, &size_order);
}

static inline void enter_by_size(struct btag_index *x, struct btag_node *n)
{
	if (n->tag->start <= x->sized)
		tree_by_size_insert(x, n);
	else
		n->by_size.parent = UNSIZED;
}

static inline void leave_by_size(struct btag_index *x, struct btag_node *n)
{
	if (is_sized(n))
		tree_remove(&x->by_size, &n->by_size, &size_order);
}

/* The node goes just behind `before`, or in front of all others. */
static void enter_by_address(struct btag_index *x, struct btag_node *before, struct btag_node *n)
{
	struct tree_node *parent = before ? &before->by_address : NULL;
	struct tree_node *down = parent ? parent->right : x->by_address.root;
	bool right = parent && !down;

	for (; down; down = down->left)
		parent = down;
	tree_insert_at(&x->by_address, parent, right, &n->by_address, address_order(x));
}

/* The node with the greatest start at or below addr. */
static inline struct btag_node *node_at(struct btag_store *s, uintptr_t addr)
{
	struct tree_node *n = s->index.by_address.root, *best = NULL;
	size_t k = 0;

	for (; n; k++) {
		bool below = addressed(n)->tag->start <= addr;

		best = below ? n : best;
		n = below ? n->right : n->left;
	}
	s->looks += k;
	return addressed(best);
}

/* Enters f, behind the node `before`. */
static void add(struct btag_store *s, struct btag_node *before, struct btag *f)
{
	struct btag_index *x = &s->index;
	struct btag_node *n = (struct btag_node *)btag_chain_pop(&x->nodes);

	n->tag = f;
	f->node = n;
	compute_own(x, n);
	enter_by_size(x, n);
	enter_by_address(x, before, n);
}

static void take_out(struct btag_store *s, struct btag *f)
{
	struct btag_index *x = &s->index;
	struct btag_node *n = f->node;

	leave_by_size(x, n);
	tree_remove(&x->by_address, &n->by_address, address_order(x));
	btag_chain_push(&x->nodes, (struct btag *)n);
}

/* Node n, which is in the tree by address alone, stands for f from now on, whose extent is another
 * than n's segment had, but not its place in the order. */
static void renew(struct btag_store *s, struct btag_node *n, struct btag *f)
{
	struct btag_index *x = &s->index;

	n->tag = f;
	f->node = n;
	compute_own(x, n);
	enter_by_size(x, n);
	tree_update(&n->by_address, address_order(x));
}

static void restate(struct btag_store *s, struct btag_node *n, struct btag *f)
{
	leave_by_size(&s->index, n);
	renew(s, n, f);
}

/*
 * Two changes at once take one way up to the root, not two.  Of neighbours in the order one lies
 * above the other, and of a segment and its part the part serves less: so while the whole stands in
 * the tree, what happens to the part changes no maximum above both.
 */

/* f has been cut, and `rest` is its other end.  f is whole again until that has come in: were it
 * less, a rotation could hide it from those above. */
static void split(struct btag_store *s, struct btag *f, struct btag *rest)
{
	size_t part = f->size;

	leave_by_size(&s->index, f->node);
	f->size = btag_last(rest) - f->start + 1;
	add(s, f->node, rest);
	f->size = part;
	renew(s, f->node, f);
}

/* f has taken in `next`, the free segment behind it. */
static void merge(struct btag_store *s, struct btag *f, struct btag *next)
{
	struct btag_index *x = &s->index;
	struct btag_node *n = next->node;

	leave_by_size(x, n);
	restate(s, f->node, f);
	tree_remove(&x->by_address, &n->by_address, address_order(x));
	btag_chain_push(&x->nodes, (struct btag *)n);
}

/* After segments were made: invariant 4, or the end. */
static void grown(struct btag_store *s)
{
	struct btag_index *x = &s->index;

	if (__builtin_expect(x->nodes_held < nodes_needed(s), 0))
		btag_index_drop(s);
	else
		care_update(s);
}

void btag_index_carved(struct btag_store *s, struct btag *f, struct btag *used, struct btag *rest)
{
	struct btag_index *x = &s->index;

	if (!is_indexed(x, f))
		return grown(s);
	if (rest)
		pass(x, f, rest);
	if (used == f && rest) {
		restate(s, f->node, rest);
	} else if (used == f) {
		take_out(s, f);
	} else if (rest) {
		split(s, f, rest);
	} else {
		restate(s, f->node, f);
	}
	grown(s);
}

void btag_index_joined(
	struct btag_store *s, struct btag *prev, struct btag *t, struct btag *next)
{
	struct btag_index *x = &s->index;

	if (prev && next && is_indexed(x, prev) && is_indexed(x, next)) {
		merge(s, prev, next);
	} else if (prev && is_indexed(x, prev)) {
		restate(s, prev->node, prev);
	} else if (!prev && next && is_indexed(x, next)) {
		restate(s, next->node, t);
	} else if (!prev && is_indexed(x, t)) {
		add(s, node_at(s, t->start), t);
	}
	grown(s);
}

void btag_index_removed(struct btag_store *s, struct btag *f)
{
	if (is_indexed(&s->index, f))
		take_out(s, f);
	care_update(s);
}

void btag_index_moved(struct btag_store *s, struct btag *to)
{
	if (is_indexed(&s->index, to))
		to->node->tag = to;
}

/* Building */

static void build_begin(struct btag_store *s)
{
	struct btag_index *x = &s->index;

	x->live = true;
	x->passed = x->sized = 0;
	x->triples = 0;
	btag_cursor_open(s, &x->build);
}

static void build_end(struct btag_store *s)
{
	struct btag_index *x = &s->index;

	btag_cursor_close(s, &x->build);
	x->passed = UINTPTR_MAX;
	x->stands = true;
}

/* The cursor passes a segment, and what is free there and starts behind the frontier is entered. */
bool btag_index_build(struct btag_store *s)
{
	struct btag_index *x = &s->index;
	int entered = 0;

	if (!x->live)
		build_begin(s);
	for (int i = 0; i < BTAG_BUILD_WALK && entered < BTAG_BUILD_STEP && !x->stands; i++) {
		uintptr_t start;
		struct btag *t = btag_cursor_next(s, &x->build, &start);

		if (!t) {
			build_end(s);
			continue;
		}
		if (t->kind == BTAG_SPAN || is_indexed(x, t))
			continue;
		x->passed = t->start;
		if (t->kind == BTAG_FREE) {
			add(s, addressed(tree_last(&x->by_address)), t);
			entered++;
		}
	}
	care_update(s);
	return x->stands;
}

/* Triples */

static struct btag_kept *kept_find(struct btag_index *x, const struct btag_triple *t)
{
	for (unsigned i = 0; i < x->triples; i++)
		if (btag_triple_equal(&x->kept[i].triple, t))
			return &x->kept[i];
	return NULL;
}

static void adding_update(struct btag_index *x)
{
	x->adding = false;
	for (unsigned i = 0; i < x->triples; i++)
		x->adding |= x->kept[i].adding;
}

/* A new place, or that of the triple used least lately.  One that is being added isn't put out,
 * lest two do that to each other for ever: if all are, the oldest is helped along instead. */
static struct btag_kept *kept_begin(struct btag_index *x, const struct btag_triple *t)
{
	struct btag_kept *k = &x->kept[0];

	if (x->triples < BTAG_TRIPLES) {
		k = &x->kept[x->triples++];
	} else {
		for (unsigned i = 1; i < BTAG_TRIPLES; i++)
			if (x->kept[i].adding < k->adding ||
				(x->kept[i].adding == k->adding && x->kept[i].used_at < k->used_at))
				k = &x->kept[i];
		if (k->adding)
			return k;
	}
	*k = (struct btag_kept){.triple = *t, .adding = true};
	adding_update(x);
	return k;
}

/* The node with the least start above addr. */
static struct btag_node *node_above(const struct btag_index *x, uintptr_t addr)
{
	struct tree_node *n = x->by_address.root, *best = NULL;

	while (n) {
		bool above = addressed(n)->tag->start > addr;

		best = above ? n : best;
		n = above ? n->left : n->right;
	}
	return addressed(best);
}

/* The walk passes n: its own value, and the maxima of the subtrees that end with it. */
static void kept_pass(struct btag_index *x, struct btag_kept *k, struct btag_node *n)
{
	struct tree_node *t = &n->by_address, *above;

	n->own[k - x->kept] = btag_triple_largest(&k->triple, n->tag->start, btag_last(n->tag));
	k->passed = n->tag->start;
	if (t->right)
		return;
	address_order(x)->update(t);
	while ((above = tree_parent(t)) != NULL && above->right == t) {
		t = above;
		address_order(x)->update(t);
	}
}

static bool keep_triple(struct btag_index *x, const struct btag_triple *triple)
{
	struct btag_kept *k = kept_find(x, triple);
	struct btag_node *n;

	k = k ? k : kept_begin(x, triple);
	k->used_at = ++x->clock;
	if (!k->adding)
		return true;
	n = node_above(x, k->passed);
	for (int i = 0; i < BTAG_KEEP_STEP && n; i++) {
		kept_pass(x, k, n);
		n = addressed(tree_next(&n->by_address));
	}
	k->adding = n != NULL;
	adding_update(x);
	return !k->adding && btag_triple_equal(&k->triple, triple);
}

/* The tree by size, from the first best fit on */

static bool keep_sizes(struct btag_index *x)
{
	for (int i = 0; i < BTAG_SIZE_STEP && x->sized != UINTPTR_MAX; i++) {
		struct btag_node *n = node_above(x, x->sized);

		x->sized = n ? n->tag->start : UINTPTR_MAX;
		if (n)
			enter_by_size(x, n);
	}
	return x->sized == UINTPTR_MAX;
}

static inline bool is_by_size(const struct btag_request *rq)
{
	return rq->fit == BTAG_FIT_ANY || rq->fit == BTAG_FIT_BEST;
}

bool btag_index_keep(struct btag_store *s, const struct btag_request *rq)
{
	return is_by_size(rq) ? keep_sizes(&s->index) : keep_triple(&s->index, &rq->triple);
}

/* Searching */

/* The smallest segment that serves, the lowest among equals. */
static struct btag *search_best(struct btag_store *s, size_t size)
{
	struct tree_node *n = s->index.by_size.root, *best = NULL;
	size_t k = 0;

	for (; n; k++) {
		bool serves = sized(n)->tag->size >= size;

		best = serves ? n : best;
		n = serves ? n->left : n->right;
	}
	s->looks += k;
	return best ? sized(best)->tag : NULL;
}

static inline bool subtree_serves(const struct tree_node *n, unsigned slot, size_t size)
{
	return n && addressed(n)->max[slot] >= size;
}

/* The lowest node in a subtree that serves, which has one. */
static struct btag_node *lowest_in(
	struct btag_store *s, struct tree_node *n, unsigned slot, size_t size)
{
	for (size_t k = 1;; k++) {
		if (subtree_serves(n->left, slot, size)) {
			n = n->left;
		} else if (own_value(addressed(n), slot) >= size) {
			s->looks += k;
			return addressed(n);
		} else {
			n = n->right;
		}
	}
}

/* The lowest node above n that serves: in the right subtrees of n, and of those it lies to the left of. */
static struct btag_node *lowest_behind(
	struct btag_store *s, struct tree_node *n, unsigned slot, size_t size)
{
	for (size_t k = 1;; k++) {
		struct tree_node *above;

		if (subtree_serves(n->right, slot, size)) {
			s->looks += k;
			return lowest_in(s, n->right, slot, size);
		}
		for (; (above = tree_parent(n)) != NULL && above->right == n; k++)
			n = above;
		if (!above || own_value(addressed(above), slot) >= size) {
			s->looks += k;
			return addressed(above);
		}
		n = above;
	}
}

/* The lowest place at or above `lo`. */
static bool search_lowest(struct btag_store *s, const struct btag_request *rq, unsigned slot,
	uintptr_t lo, struct btag_place *place)
{
	const struct btag_index *x = &s->index;
	struct btag_node *at = node_at(s, lo), *n;

	if (at && btag_place_in(s, rq, at->tag, lo, place))
		return true;
	if (at)
		n = lowest_behind(s, &at->by_address, slot, rq->size);
	else if (subtree_serves(x->by_address.root, slot, rq->size))
		n = lowest_in(s, x->by_address.root, slot, rq->size);
	else
		n = NULL;
	return n && btag_place_in(s, rq, n->tag, lo, place);
}

static bool search_next(struct btag_store *s, const struct btag_request *rq, unsigned slot,
	struct btag_place *place)
{
	const struct btag_cursor *c = rq->cursor;

	if (c->begun && c->last >= rq->lo && c->last < rq->hi &&
		search_lowest(s, rq, slot, c->last + 1, place))
		return true;
	return search_lowest(s, rq, slot, rq->lo, place);
}

enum btag_verdict btag_index_search(
	struct btag_store *s, const struct btag_request *rq, struct btag_place *place)
{
	struct btag_index *x = &s->index;
	unsigned slot = 0;
	bool found;

	if (is_by_size(rq)) {
		struct btag *f;

		if (x->sized != UINTPTR_MAX)
			return BTAG_WANTS_MORE;
		f = search_best(s, rq->size);
		return f && btag_place_in(s, rq, f, 0, place) ? BTAG_FOUND : BTAG_NOTHING;
	}
	if (!btag_triple_is_plain(s, &rq->triple)) {
		struct btag_kept *k = kept_find(x, &rq->triple);

		if (!k || k->adding)
			return BTAG_WANTS_MORE;
		k->used_at = ++x->clock;
		slot = 1 + (unsigned)(k - x->kept);
	}
	found = rq->fit == BTAG_FIT_NEXT ? search_next(s, rq, slot, place) :
					   search_lowest(s, rq, slot, rq->lo, place);
	return found ? BTAG_FOUND : BTAG_NOTHING;
}

size_t btag_index_largest(const struct btag_store *s)
{
	return addressed(s->index.by_address.root)->max[0];
}

/* Checks */

const char *btag_index_check_one(const struct btag_store *s, const struct btag *f)
{
	const struct btag_index *x = &s->index;

	if (!x->live || !is_indexed(x, f))
		return NULL;
	if (!f->node || f->node->tag != f)
		return "a free segment isn't in the index";
	if (is_sized(f->node) != (f->start <= x->sized))
		return "a free segment isn't in the tree by size, or shouldn't be";
	for (unsigned i = 0; i < x->triples; i++) {
		if (x->kept[i].adding && f->start > x->kept[i].passed)
			continue;
		if (f->node->own[i] != btag_triple_largest(&x->kept[i].triple, f->start, btag_last(f)))
			return "what a segment serves under a triple is wrong in the index";
	}
	return NULL;
}

const char *btag_index_check(struct btag_store *s)
{
	struct btag_index *x = &s->index;
	const char *wrong;

	if (!x->live)
		return x->by_address.root || x->by_size.root ? "an index that isn't live has nodes" : NULL;
	if (x->nodes_held < nodes_needed(s))
		return "the index holds too few nodes";
	wrong = x->adding ? NULL : tree_check(&x->by_address, address_order(x));
	return wrong ? wrong : tree_check(&x->by_size, &size_order);
}
