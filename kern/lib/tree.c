/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Balanced search trees with augmented values.
 *
 * Concepts.  A height-balanced (AVL) tree: G. M. Adelson-Velsky and E. M. Landis, 1962; Knuth,
 * TAOCP vol. 3, 6.2.3.  The height of a node is the number of nodes on the longest path down from
 * it.  If one subtree of a node is higher, the node is heavy on that side.  A node's augmented
 * value is a function of the node and of its children's values.
 *
 * Representation.  Nodes are aligned to at least four bytes, so the two low bits of `parent` are
 * free for the balance: EVEN, or the side that is heavy.  A side is a bool, false for left and true
 * for right, so that one function serves both sides.
 *
 * Invariants.
 *  1. In order, no node stands before the one it follows.
 *  2. A child's parent link leads back to its parent; the root's is NULL.
 *  3. The heights of a node's two subtrees differ by one at most, and the balance says which is
 *     higher.
 *  4. ops->update(n) finds nothing to change, for every n.
 *
 * When a node has been linked or unlinked, values are corrected first and the shape second.
 *
 * Values: update runs upward from that place.  At the first node whose value doesn't change it
 * stops, since no value above depends on anything that did.  There is one exception.  A node that
 * took the place of a removed one brought a value from elsewhere, and so may find its value
 * unchanged though it differs from the removed node's.  Update never stops there.
 *
 * Shape: rotations restore the balance.  Each recomputes the values of the nodes it moved, lower
 * ones first.  If values depend on the shape, it then runs update upward from there by the same
 * rule.  Maxima and sums don't depend on it; their ops say so by `shapeless`.
 *
 * Cost.  The height is at most 1.44 log2(n + 2), 29 for a million nodes.  An insertion makes at
 * most one rotation, single or double.  A removal makes at most one at each level, and a quarter of
 * one on average.  The way up stops at the first subtree whose height didn't change: for random
 * keys, after a constant number of levels on average.
 */
#include "lib/tree.h"

#define EVEN ((uintptr_t)0)

#define HEIGHT_MAX 92 /* 1.44 * 64: of a tree with as many nodes as fit into memory */

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

/* The link that points to n, which is a child of `parent` or, if that is NULL, the root. */
static inline struct tree_node **link_to(
	struct tree *tree, struct tree_node *parent, const struct tree_node *n)
{
	return parent ? child(parent, parent->right == n) : &tree->root;
}

static inline void update_upward(struct tree_node *n, const struct tree_ops *ops)
{
	while (n && ops->update(ops, n))
		n = tree_parent(n);
}

/* Puts top's child on `side` in top's place, makes top that child's child on the other side, and
 * returns the child.  Balances and values are left to the caller. */
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

/* For a top whose child on `side` is heavy on the same side or, after a removal, even.  If it is
 * even, the height of the whole doesn't change. */
static struct tree_node *rotate_once(struct tree *tree, struct tree_node *top, bool side)
{
	struct tree_node *rising = rotate(tree, top, side);
	bool was_even = balance(rising) == EVEN;

	set_balance(top, was_even ? heavy(side) : EVEN);
	set_balance(rising, was_even ? heavy(!side) : EVEN);
	return rising;
}

/* For a top whose child on `side`, `below`, is heavy on the other side: below's child on that side
 * rises over both. */
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

/* For a top that is higher by two on `side`: restores invariants 3 and 4 and returns the node that
 * is now in top's place.  If that node is even, the height there is one less than before. */
static struct tree_node *rebalance(
	struct tree *tree, struct tree_node *top, bool side, const struct tree_ops *ops)
{
	struct tree_node *below = *child(top, side);
	bool twice = balance(below) == heavy(!side);
	struct tree_node *rising =
		twice ? rotate_twice(tree, top, below, side) : rotate_once(tree, top, side);

	if (ops->update) {
		ops->update(ops, top);
		if (twice)
			ops->update(ops, below);
		ops->update(ops, rising);
		if (!ops->shapeless)
			update_upward(tree_parent(rising), ops);
	}
	return rising;
}

/* Goes upward from n, whose subtree has become one higher, and restores balances. */
static inline void retrace_higher(
	struct tree *tree, struct tree_node *n, const struct tree_ops *ops)
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

/* Goes upward from n, whose subtree on `side` has become one lower, and restores balances. */
static void retrace_lower(
	struct tree *tree, struct tree_node *n, bool side, const struct tree_ops *ops)
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
		ops->update(ops, node);
		update_upward(parent, ops);
	}
	retrace_higher(tree, node, ops);
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
	retrace_lower(tree, parent, side, ops);
}

/* For a node with two children: the next node, which has no left child, takes its place.  `lowered`
 * is the node that lost height on `side`. */
static __attribute__((noinline)) void remove_inner(
	struct tree *tree, struct tree_node *node, const struct tree_ops *ops)
{
	struct tree_node *next = tree_next(node), *lowered = tree_parent(next);
	bool side = lowered == node;

	splice_out(tree, next);
	tree_replace(tree, node, next);
	if (lowered == node)
		lowered = next;
	if (ops->update) {
		for (struct tree_node *n = lowered; n != next && ops->update(ops, n);)
			n = tree_parent(n);
		ops->update(ops, next);
		update_upward(tree_parent(next), ops);
	}
	retrace_lower(tree, lowered, side, ops);
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

/* n's neighbour on `side`: the nearest node in its subtree there or, if that is empty, the first
 * ancestor on that side. */
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
	const char *wrong;                /* the first error found, or NULL */
};

static void expect(struct check *check, bool holds, const char *error)
{
	if (!holds && !check->wrong)
		check->wrong = error;
}

/* Checks the balance of n, whose subtrees have these heights. */
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
		expect(check, !check->ops->update(check->ops, n), "invariant 4: an augmented value is wrong");
	return 1 + (left > right ? left : right);
}

const char *tree_check(const struct tree *tree, const struct tree_ops *ops)
{
	struct check check = {.ops = ops};

	check_subtree(&check, tree->root, NULL, 0);
	return check.wrong;
}
