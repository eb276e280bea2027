/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An intrusive balanced binary search tree that can be augmented: each node may have a value that
 * is computed from the node and its children (for example the largest size in its subtree), and the
 * tree keeps these values right through every insertion, removal and rotation.
 *
 *	static bool before(const struct tree_node *a, const struct tree_node *b) { ... }
 *	static const struct tree_ops by_start = { .before = before };
 *	tree_insert(&tree, &thing->node, &by_start);
 *
 * There is no search function: a caller follows `root`, `left` and `right` itself, and so can skip
 * subtrees by their augmented values.  Nodes are the caller's storage; nothing is allocated; no
 * locks.  Cost: insert, remove, first, last, next, prev and update are logarithmic in the nodes.
 */
#ifndef SPANDREL_LIB_TREE_H
#define SPANDREL_LIB_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tree_node {
	struct tree_node *left, *right;
	uintptr_t parent; /* and the balance, in its low bits: use tree_parent() */
};

struct tree {
	struct tree_node *root;
};

#define TREE_INIT {NULL}

struct tree_ops {
	/* Whether a stands before b.  Among equal nodes, one inserted later stands later. */
	bool (*before)(const struct tree_node *a, const struct tree_node *b);
	/* Recomputes n's augmented value from n and its children, whose values are right; returns
	 * whether it changed.  NULL for a tree without augmentation.  `ops` is what the caller gave:
	 * it may be part of a larger struct. */
	bool (*update)(const struct tree_ops *ops, struct tree_node *n);
	/* The value depends only on which nodes are in the subtree, not on its shape: then a
	 * rotation changes no value above it, and none is recomputed. */
	bool shapeless;
};

/* The low bits of `parent` that hold the balance. */
#define TREE_BALANCE_MASK ((uintptr_t)3)

static inline struct tree_node *tree_parent(const struct tree_node *n)
{
	return (struct tree_node *)(n->parent & ~TREE_BALANCE_MASK);
}

void tree_insert(struct tree *tree, struct tree_node *node, const struct tree_ops *ops);
/* The same for a caller that knows the place: `node` becomes the right (if `right`) or left child
 * of `parent`, which has none there; in an empty tree, where `parent` is NULL, the root. */
void tree_insert_at(struct tree *tree, struct tree_node *parent, bool right, struct tree_node *node,
	const struct tree_ops *ops);
void tree_remove(struct tree *tree, struct tree_node *node, const struct tree_ops *ops);

/* Puts `node` in the place of `old`; both must be equal in order and value.  Constant. */
void tree_replace(struct tree *tree, struct tree_node *old, struct tree_node *node);

/* Corrects the values of n and the nodes above it, after a change of n that left its place in the
 * order as it was. */
void tree_update(struct tree_node *n, const struct tree_ops *ops);

/* The first, last, next and previous node in order; NULL if there is none. */
struct tree_node *tree_first(const struct tree *tree);
struct tree_node *tree_last(const struct tree *tree);
struct tree_node *tree_next(const struct tree_node *n);
struct tree_node *tree_prev(const struct tree_node *n);

/* Checks order, links, balance and augmented values (by ops->update); returns NULL, or in a few
 * words what is wrong.  Linear. */
const char *tree_check(const struct tree *tree, const struct tree_ops *ops);

#endif
