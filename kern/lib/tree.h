/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An intrusive balanced binary search tree that can be augmented: each node may carry a value
 * computed from itself and its children (the largest size in its subtree, say), and the tree keeps
 * those values right through every insertion, removal and rotation.
 *
 *	static bool before(const struct tree_node *a, const struct tree_node *b) { ... }
 *	static const struct tree_ops by_start = { .before = before };
 *	tree_insert(&tree, &thing->node, &by_start);
 *
 * Searching is left to the caller, who walks root, left and right; that is what makes pruning by an
 * augmented value possible.  Nodes are the caller's storage; nothing is allocated; no locks.
 * Cost: insert, remove, first, last, next, prev and update are logarithmic in the nodes.
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
	/* Whether a stands before b; of equals the one inserted later stands later. */
	bool (*before)(const struct tree_node *a, const struct tree_node *b);
	/* Recomputes n's augmented value from n and its children (their values are right); returns
	 * whether it changed.  NULL for a tree without augmentation.  `ops` is what the caller gave:
	 * it may be a part of a larger struct. */
	bool (*update)(const struct tree_ops *ops, struct tree_node *n);
	/* The value depends on which nodes the subtree has and not on its shape: no rotation
	 * changes one above it, and none is recomputed. */
	bool shapeless;
};

/* The low bits of `parent` that hold the balance. */
#define TREE_BALANCE_MASK ((uintptr_t)3)

static inline struct tree_node *tree_parent(const struct tree_node *n)
{
	return (struct tree_node *)(n->parent & ~TREE_BALANCE_MASK);
}

void tree_insert(struct tree *tree, struct tree_node *node, const struct tree_ops *ops);
/* The same where the caller knows the place: `node` becomes a child of `parent`, which has none on
 * that side (the right one, if `right`); of an empty tree it becomes the root, parent being
 * NULL. */
void tree_insert_at(struct tree *tree, struct tree_node *parent, bool right, struct tree_node *node,
	const struct tree_ops *ops);
void tree_remove(struct tree *tree, struct tree_node *node, const struct tree_ops *ops);

/* Has `node`, equal to `old` in order and value, take its place.  Constant. */
void tree_replace(struct tree *tree, struct tree_node *old, struct tree_node *node);

/* Call after what n's augmented value is computed from has changed, its place in the order not. */
void tree_update(struct tree_node *n, const struct tree_ops *ops);

/* In order; NULL where there is none. */
struct tree_node *tree_first(const struct tree *tree);
struct tree_node *tree_last(const struct tree *tree);
struct tree_node *tree_next(const struct tree_node *n);
struct tree_node *tree_prev(const struct tree_node *n);

/* Checks order, links, balance and augmented values; returns NULL, or what is wrong in a few words.
 * Linear.  It calls ops->update on every node, which must find nothing to change. */
const char *tree_check(const struct tree *tree, const struct tree_ops *ops);

#endif
