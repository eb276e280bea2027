/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Balanced search trees with augmented values.
 *
 * Concepts.  A height-balanced (AVL) tree: G. M. Adelson-Velsky and E. M. Landis, 1962; the rules
 * are told in Knuth, TAOCP vol. 3, 6.2.3.  The height of a node is the length of the longest path
 * down from it, in nodes; the side of a node whose subtree is higher is its heavy side.  A node's
 * augmented value is a function of the node and of its children's values.
 *
 * Representation.  Nodes are aligned to more than four bytes, so the two low bits of `parent` are
 * free to hold the balance: EVEN, or which side is heavy.  A side is a bool, false left and true
 * right, so that each step is written once and not twice in mirror images.
 *
 * Invariants.
 *  1. In order, no node stands before the one it follows.
 *  2. A child's parent link leads back to its parent; the root's is NULL.
 *  3. The heights of a node's two subtrees differ by one at most, and the balance says which is
 *     higher.
 *  4. ops->update(n) finds nothing to change, for every n.
 *
 * Values are mended before the shape is: after a node was linked or unlinked, update runs up from
 * there.  Where it finds a value unchanged, those above are right already and it stops; with one
 * exception, the node that took over a removed node's place.  It brought a value from elsewhere,
 * and whether that changed says nothing about what stood in its place before, so it is always
 * passed. Then rotations restore the balance.  Each recomputes the nodes it moved, from below, and
 * since a value may depend on the shape, goes on upward with the same rule; for a maximum or a sum,
 * which don't, that is a single call.
 *
 * Cost.  The height is at most 1.44 log2(n + 2), 29 for a million nodes.  Inserting rotates at most
 * once (two nodes or three), removing at most once per level, and a quarter of a time on average.
 * The way up stops at the first subtree whose height stayed as it was: after a constant number of
 * levels on average, for random keys.
 */
#include "lib/tree.h"

#define EVEN ((uintptr_t)0)

#define HEIGHT_MAX 92 /* 1.44 * 64: a tree of all the nodes there can be */

_Static_assert(_Alignof(struct tree_node) > 2, "the balance needs two bits of an address");

static inline uintptr_t heavy(bool side)
{
	return side ? 2 : 1;
}

static inline uintptr_t balance(const struct tree_node *n)
{
	return n->parent & TREE_BALANCE_MASK;
}

static inline void set_balance(struct tree_node *n, uintptr_t to)
{
	n->parent = (n->parent & ~TREE_BALANCE_MASK) | to;
}

static inline void set_parent(struct tree_node *n, struct tree_node *parent)
{
	n->parent = (uintptr_t)parent | balance(n);
}

static inline struct tree_node **child(struct tree_node *n, bool side)
{
	return side ? &n->right : &n->left;
}

/* Where the link to n, a child of `parent` or the root, is kept. */
static inline struct tree_node **link_to(
	struct tree *tree, struct tree_node *parent, const struct tree_node *n)
{
	return parent ? child(parent, parent->right == n) : &tree->root;
}

static inline void update_upward(struct tree_node *n, const struct tree_ops *ops)
{
	if (n && ops->update_upward)
		ops->update_upward(n);
	else
		while (n && ops->update(n))
			n = tree_parent(n);
}

/* Puts top's child on `side` in top's place, with top as its child on the other side, and returns
 * it. Balances and values are left to the caller. */
static inline struct tree_node *rotate(struct tree *tree, struct tree_node *top, bool side)
{
	struct tree_node *rising = *child(top, side), *middle = *child(rising, !side);
	struct tree_node *above = tree_parent(top);

	*child(top, side) = middle;
	if (middle)
		set_parent(middle, top);
	*link_to(tree, above, top) = rising;
	set_parent(rising, above);
	*child(rising, !side) = top;
	set_parent(top, rising);
	return rising;
}

/* top's child on `side` is heavy on that side, too, or even (then the height stays). */
static struct tree_node *rotate_once(struct tree *tree, struct tree_node *top, bool side)
{
	struct tree_node *rising = rotate(tree, top, side);
	bool was_even = balance(rising) == EVEN;

	set_balance(top, was_even ? heavy(side) : EVEN);
	set_balance(rising, was_even ? heavy(!side) : EVEN);
	return rising;
}

/* top's child on `side` is heavy on the other side: its child there rises over both. */
static struct tree_node *rotate_twice(
	struct tree *tree, struct tree_node *top, struct tree_node *below, bool side)
{
	struct tree_node *rising = rotate(tree, below, !side);
	uintptr_t was = balance(rising);

	rotate(tree, top, side);
	set_balance(top, was == heavy(side) ? heavy(!side) : EVEN);
	set_balance(below, was == heavy(!side) ? heavy(side) : EVEN);
	set_balance(rising, EVEN);
	return rising;
}

/* `side` of top is higher by two: restores invariants 3 and 4, returns what now stands in top's
 * place.  The height of that is one less, unless it isn't even. */
static struct tree_node *rebalance(
	struct tree *tree, struct tree_node *top, bool side, const struct tree_ops *ops)
{
	struct tree_node *below = *child(top, side);
	bool twice = balance(below) == heavy(!side);
	struct tree_node *rising =
		twice ? rotate_twice(tree, top, below, side) : rotate_once(tree, top, side);

	if (ops->update) {
		ops->update(top);
		if (twice)
			ops->update(below);
		ops->update(rising);
		if (!ops->shapeless)
			update_upward(tree_parent(rising), ops);
	}
	return rising;
}

/* The subtree at n has become one higher. */
static inline void grown(struct tree *tree, struct tree_node *n, const struct tree_ops *ops)
{
	struct tree_node *parent;

	for (; (parent = tree_parent(n)) != NULL; n = parent) {
		bool side = parent->right == n;

		if (balance(parent) == heavy(side)) {
			rebalance(tree, parent, side, ops);
			return;
		}
		if (balance(parent) != EVEN) {
			set_balance(parent, EVEN);
			return;
		}
		set_balance(parent, heavy(side));
	}
}

/* The subtree on `side` of n has become one lower. */
static void shrunk(struct tree *tree, struct tree_node *n, bool side, const struct tree_ops *ops)
{
	while (n) {
		struct tree_node *above = tree_parent(n);
		bool side_above = above && above->right == n;

		if (balance(n) == EVEN) {
			set_balance(n, heavy(!side));
			return;
		}
		if (balance(n) == heavy(side))
			set_balance(n, EVEN);
		else if (balance(rebalance(tree, n, !side, ops)) != EVEN)
			return;
		n = above;
		side = side_above;
	}
}

void tree_insert_at(struct tree *tree, struct tree_node *parent, bool right, struct tree_node *node,
	const struct tree_ops *ops)
{
	*node = (struct tree_node){NULL, NULL, (uintptr_t)parent | EVEN};
	*(parent ? child(parent, right) : &tree->root) = node;
	if (ops->update) {
		ops->update(node);
		update_upward(parent, ops);
	}
	grown(tree, node, ops);
}

void tree_insert(struct tree *tree, struct tree_node *node, const struct tree_ops *ops)
{
	struct tree_node *n = tree->root, *parent = NULL;
	bool right = false;

	while (n) {
		parent = n;
		right = !ops->before(node, parent);
		n = *child(parent, right);
	}
	tree_insert_at(tree, parent, right, node, ops);
}

void tree_replace(struct tree *tree, struct tree_node *old, struct tree_node *node)
{
	*link_to(tree, tree_parent(old), old) = node;
	*node = *old;
	if (node->left)
		set_parent(node->left, node);
	if (node->right)
		set_parent(node->right, node);
}

/* Unlinks n, which has at most one child. */
static inline void splice_out(struct tree *tree, struct tree_node *n)
{
	struct tree_node *only = n->left ? n->left : n->right, *parent = tree_parent(n);

	*link_to(tree, parent, n) = only;
	if (only)
		set_parent(only, parent);
}

static void remove_outer(struct tree *tree, struct tree_node *node, const struct tree_ops *ops)
{
	struct tree_node *parent = tree_parent(node);
	bool side = parent && parent->right == node;

	splice_out(tree, node);
	if (ops->update)
		update_upward(parent, ops);
	shrunk(tree, parent, side, ops);
}

/* node has two children: the next node, which has no left one, takes its place. */
static __attribute__((noinline)) void remove_inner(
	struct tree *tree, struct tree_node *node, const struct tree_ops *ops)
{
	struct tree_node *next = tree_next(node), *hollow = tree_parent(next);
	bool side = hollow == node;

	splice_out(tree, next);
	tree_replace(tree, node, next);
	if (hollow == node)
		hollow = next;
	if (ops->update) {
		for (struct tree_node *n = hollow; n != next && ops->update(n);)
			n = tree_parent(n);
		ops->update(next);
		update_upward(tree_parent(next), ops);
	}
	shrunk(tree, hollow, side, ops);
}

void tree_remove(struct tree *tree, struct tree_node *node, const struct tree_ops *ops)
{
	if (node->left && node->right)
		remove_inner(tree, node, ops);
	else
		remove_outer(tree, node, ops);
}

void tree_update(struct tree_node *n, const struct tree_ops *ops)
{
	if (ops->update)
		update_upward(n, ops);
}

static struct tree_node *outermost(struct tree_node *n, bool side)
{
	while (n && *child(n, side))
		n = *child(n, side);
	return n;
}

/* n's neighbour on `side`: the nearest below it, else the first ancestor on that side. */
static struct tree_node *neighbour(const struct tree_node *n, bool side)
{
	struct tree_node *below = side ? n->right : n->left, *above = tree_parent(n);

	if (below)
		return outermost(below, !side);
	while (above && *child(above, side) == n) {
		n = above;
		above = tree_parent(n);
	}
	return above;
}

struct tree_node *tree_first(const struct tree *tree)
{
	return outermost(tree->root, false);
}

struct tree_node *tree_last(const struct tree *tree)
{
	return outermost(tree->root, true);
}

struct tree_node *tree_next(const struct tree_node *n)
{
	return neighbour(n, true);
}

struct tree_node *tree_prev(const struct tree_node *n)
{
	return neighbour(n, false);
}

struct check {
	const struct tree_ops *ops;
	const struct tree_node *previous; /* in order */
	const char *wrong;                /* the first thing found, or NULL */
};

static void expect(struct check *check, bool holds, const char *otherwise)
{
	if (!holds && !check->wrong)
		check->wrong = otherwise;
}

/* What must hold of n whose subtrees have these heights. */
static void check_shape(struct check *check, const struct tree_node *n, int left, int right)
{
	uintptr_t wanted = left == right ? EVEN : heavy(right > left);

	expect(check, left - right <= 1 && right - left <= 1, "invariant 3: a side is too high");
	expect(check, balance(n) == wanted, "invariant 3: a balance is wrong");
}

/* Checks the subtree at n, in order, and returns its height. */
static int check_subtree(
	struct check *check, struct tree_node *n, const struct tree_node *parent, int depth)
{
	int left, right;

	if (!n || check->wrong)
		return 0;
	expect(check, depth < HEIGHT_MAX, "invariant 3: the tree is too high");
	expect(check, tree_parent(n) == parent, "invariant 2: a parent link is wrong");
	if (check->wrong)
		return 0;
	left = check_subtree(check, n->left, n, depth + 1);
	if (check->previous)
		expect(check, !check->ops->before(n, check->previous), "invariant 1: out of order");
	check->previous = n;
	right = check_subtree(check, n->right, n, depth + 1);
	check_shape(check, n, left, right);
	if (check->ops->update)
		expect(check, !check->ops->update(n), "invariant 4: an augmented value is wrong");
	return 1 + (left > right ? left : right);
}

const char *tree_check(const struct tree *tree, const struct tree_ops *ops)
{
	struct check check = {.ops = ops};

	check_subtree(&check, tree->root, NULL, 0);
	return check.wrong;
}
