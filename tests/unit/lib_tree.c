/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trees against a sorted array, with augmented values that do and don't depend on the shape.
 */
#include "lib/tree.h"

#include "lib/list.h"
#include "lib/string.h"
#include "lib/test.h"

#define ITEMS 512
#define CHECK_EVERY 16 /* operations between two full comparisons */

struct item {
	struct tree_node node;
	uint64_t key;
	uint64_t weight;
	uint64_t max;   /* weight in the subtree */
	uint64_t shape; /* a number that depends on the subtree's shape */
	bool is_in;
};

static struct item items[ITEMS];
static struct item *sorted[ITEMS]; /* the model: what is in the tree, in order */
static size_t sorted_count;
static struct tree tree;

static struct item *item_of(const struct tree_node *n)
{
	return n ? container_of((uintptr_t)n, struct item, node) : NULL;
}

static bool before(const struct tree_node *a, const struct tree_node *b)
{
	return item_of(a)->key < item_of(b)->key;
}

static uint64_t max_of(const struct tree_node *n)
{
	return n ? item_of(n)->max : 0;
}

static bool update_max(const struct tree_ops *ops, struct tree_node *n)
{
	struct item *item = item_of(n);
	uint64_t was = item->max, max = item->weight;

	if (max_of(n->left) > max)
		max = max_of(n->left);
	if (max_of(n->right) > max)
		max = max_of(n->right);
	item->max = max;
	return max != was;
}

static uint64_t shape_of(const struct tree_node *n)
{
	return n ? item_of(n)->shape : 0;
}

/* Different for every shape: what a subtree holds and how. */
static bool update_shape(const struct tree_ops *ops, struct tree_node *n)
{
	struct item *item = item_of(n);
	uint64_t was = item->shape;

	item->shape = (shape_of(n->left) * 31 + item->weight) * 37 + shape_of(n->right) * 41 + 1;
	return item->shape != was;
}

static const struct tree_ops plain_ops = {before, NULL, false};
static const struct tree_ops max_ops = {before, update_max, true};
static const struct tree_ops shape_ops = {before, update_shape, false};

static void reset(void)
{
	memset(items, 0, sizeof(items));
	sorted_count = 0;
	tree = (struct tree)TREE_INIT;
}

/* After all that are not greater: among equals the later one stands later. */
static void model_insert(struct item *item)
{
	size_t at = sorted_count++;

	for (; at > 0 && sorted[at - 1]->key > item->key; at--)
		sorted[at] = sorted[at - 1];
	sorted[at] = item;
}

static void model_remove(const struct item *item)
{
	size_t at = 0;

	while (sorted[at] != item)
		at++;
	for (sorted_count--; at < sorted_count; at++)
		sorted[at] = sorted[at + 1];
}

static void insert(struct item *item, const struct tree_ops *ops)
{
	item->is_in = true;
	model_insert(item);
	tree_insert(&tree, &item->node, ops);
}

static void remove(struct item *item, const struct tree_ops *ops)
{
	item->is_in = false;
	model_remove(item);
	tree_remove(&tree, &item->node, ops);
	memset(&item->node, 0xa5, sizeof(item->node));
}

static void reweigh(struct item *item, const struct tree_ops *ops)
{
	item->weight = test_random_below(1000);
	tree_update(&item->node, ops);
}

static void check_order(void)
{
	struct tree_node *n = tree_first(&tree);

	for (size_t i = 0; i < sorted_count; i++, n = tree_next(n))
		CHECK(item_of(n) == sorted[i]);
	CHECK(n == NULL);
	n = tree_last(&tree);
	for (size_t i = sorted_count; i-- > 0; n = tree_prev(n))
		CHECK(item_of(n) == sorted[i]);
	CHECK(n == NULL);
}

static void check_max(void)
{
	uint64_t max = 0;

	for (size_t i = 0; i < sorted_count; i++) {
		if (sorted[i]->weight > max)
			max = sorted[i]->weight;
	}
	CHECK_EQ(max_of(tree.root), max);
}

static void check_all(const struct tree_ops *ops)
{
	CHECK_STR(tree_check(&tree, ops), NULL);
	check_order();
	if (ops == &max_ops)
		check_max();
}

/* Grows to about `target` items and hovers there. */
static void random_step(size_t target, const struct tree_ops *ops)
{
	struct item *item = &items[test_random_below(2 * target)];

	if (!item->is_in) {
		item->key = test_random_below(target);
		item->weight = test_random_below(1000);
		insert(item, ops);
	} else if (test_random_below(4) == 0) {
		reweigh(item, ops);
	} else {
		remove(item, ops);
	}
}

static void random_ops(size_t ops_count, const struct tree_ops *ops)
{
	size_t target = 1;

	reset();
	for (size_t i = 0; i < ops_count; i++) {
		if (i % 4096 == 0) {
			while (sorted_count > 0)
				remove(sorted[test_random_below(sorted_count)], ops);
			target = 1 + test_random_below(i % 8192 ? 12 : ITEMS / 2);
		}
		random_step(target, ops);
		if (i % CHECK_EVERY == 0)
			check_all(ops);
	}
	while (sorted_count > 0) {
		remove(sorted[test_random_below(sorted_count)], ops);
		check_all(ops);
	}
}

TEST("tree: an empty tree has no first and no last and is in order")
{
	reset();
	CHECK(tree_first(&tree) == NULL);
	CHECK(tree_last(&tree) == NULL);
	CHECK_STR(tree_check(&tree, &max_ops), NULL);
}

TEST("tree: inserting and removing keep order and balance")
{
	random_ops(test_ops(100000), &plain_ops);
}

TEST("tree: inserting, removing and updating keep augmented maxima")
{
	random_ops(test_ops(100000), &max_ops);
}

TEST("tree: augmented values may depend on the shape")
{
	random_ops(test_ops(100000), &shape_ops);
}

#define SMALL 6

/* Fills order[] with the permutation of SMALL numbers whose index is given. */
static void permutation(size_t index, size_t *order)
{
	for (size_t i = 0; i < SMALL; i++) {
		size_t at = index % (i + 1);

		index /= i + 1;
		order[i] = order[at];
		order[at] = i;
	}
}

static void build_permutation(const size_t *order)
{
	reset();
	for (size_t i = 0; i < SMALL; i++) {
		items[order[i]].key = order[i];
		items[order[i]].weight = order[i] * 7 % SMALL;
		insert(&items[order[i]], &shape_ops);
	}
}

TEST("tree: every small tree survives the removal of every node")
{
	size_t order[SMALL];

	for (size_t index = 0; index < 720; index++) {
		permutation(index, order);
		for (size_t victim = 0; victim < SMALL; victim++) {
			build_permutation(order);
			check_all(&shape_ops);
			remove(&items[victim], &shape_ops);
			check_all(&shape_ops);
		}
	}
}

TEST("tree: of equals the one inserted later stands later")
{
	reset();
	for (size_t i = 0; i < 100; i++) {
		items[i].key = i % 3;
		insert(&items[i], &max_ops);
	}
	check_all(&max_ops);
	CHECK(item_of(tree_first(&tree)) == &items[0]);
	CHECK(item_of(tree_next(tree_first(&tree))) == &items[3]);
	CHECK(item_of(tree_last(&tree)) == &items[98]);
}

static size_t height(const struct tree_node *n)
{
	size_t left, right;

	if (!n)
		return 0;
	left = height(n->left);
	right = height(n->right);
	return 1 + (left > right ? left : right);
}

TEST("tree: keys in rising and in falling order make no high tree")
{
	for (size_t falling = 0; falling < 2; falling++) {
		reset();
		for (size_t i = 0; i < ITEMS; i++) {
			items[i].key = falling ? ITEMS - i : i;
			insert(&items[i], &max_ops);
		}
		check_all(&max_ops);
		CHECK_LE(height(tree.root), 12); /* 1.44 * log2(514) = 12.97 */
		CHECK(tree_parent(tree.root) == NULL);
	}
}

TEST("tree: a node goes where its caller says, and another may take its place")
{
	struct item other;

	reset();
	for (size_t i = 0; i < 3; i++)
		items[i].key = items[i].weight = i;
	tree_insert_at(&tree, NULL, false, &items[1].node, &max_ops);
	tree_insert_at(&tree, &items[1].node, true, &items[2].node, &max_ops);
	tree_insert_at(&tree, &items[1].node, false, &items[0].node, &max_ops);
	for (size_t i = 0; i < 3; i++)
		sorted[sorted_count++] = &items[i];
	check_all(&max_ops);
	for (size_t i = 0; i < 3; i++) {
		other = items[i];
		tree_replace(&tree, &items[i].node, &other.node);
		sorted[i] = &other;
		check_all(&max_ops);
		tree_replace(&tree, &other.node, &items[i].node);
		sorted[i] = &items[i];
	}
	check_all(&max_ops);
}

static size_t updates;

static bool count_update(const struct tree_ops *ops, struct tree_node *n)
{
	updates++;
	return update_max(ops, n);
}

TEST("tree: an update that changes nothing above stops there")
{
	static const struct tree_ops counting = {before, count_update, false};

	reset();
	for (size_t i = 0; i < ITEMS; i++) {
		items[i].key = i;
		items[i].weight = ITEMS;
		insert(&items[i], &counting);
	}
	updates = 0;
	items[0].weight = 1;
	tree_update(&items[0].node, &counting);
	CHECK_LE(updates, 2);
	CHECK_STR(tree_check(&tree, &counting), NULL);
}

static void build_for_damage(void)
{
	reset();
	for (size_t i = 0; i < 100; i++) {
		items[i].key = i * 2;
		items[i].weight = i;
		insert(&items[i], &max_ops);
	}
}

static void check_finds(const char *part)
{
	const char *wrong = tree_check(&tree, &max_ops);

	CHECK(wrong != NULL);
	test_check_contains(__FILE__, __LINE__, "tree_check", wrong, part);
}

TEST("tree: the checker names the invariant that is broken")
{
	build_for_damage();
	items[40].key = 7;
	check_finds("invariant 1");
	build_for_damage();
	tree.root->left->parent = (uintptr_t)tree.root->right;
	check_finds("invariant 2");
	build_for_damage();
	tree.root->parent ^= 3;
	check_finds("invariant 3");
	build_for_damage();
	tree.root->left->left = NULL;
	check_finds("invariant 3");
	build_for_damage();
	items[40].weight = 100;
	check_finds("invariant 4");
}
