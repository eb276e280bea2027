/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index of free segments.
 *
 * CONCEPTS
 *
 * The bins find a segment by size in constant time, and that is all they can do.  Other requests,
 * for the smallest segment that serves, the lowest, the next above a place, one under a triple or
 * within a window, need an order to search in.  The index is that order, for the arenas that get
 * such requests: most never do, and have none.
 *
 * REPRESENTATION
 *
 * A node for each free segment, in a balanced tree by address and, from the first best fit on, in
 * one by (size, address), too.  In the tree by address each node holds, for its subtree, the
 * largest request that any segment there can serve: under no constraint (max[0], the largest size),
 * and under each of the triples that are kept (max[1 + i]).  own[1 + i] is what the node's own segment
 * can serve under triple i, own[0] its size; btag/triple.c has the formula, and says why one number is enough.
 *
 *	            [40, 56)                 max = 16 | the lowest that serves 12 at or above 9:
 *	           /        \                the segment that contains 9 is looked at by itself;
 *	     [8, 20)         [80, 90)        then, above it, down the first branches whose max >= 12
 *	     max = 12        max = 10
 *
 * BOUNDS.  own[1 + i] may be too large, never too small: it is a bound, which a search makes exact when
 * it looks at the segment.  A bound prunes as safely as the exact number, only less often.  So a
 * triple that comes to be kept needs no walk of its own over all nodes: at first every node's bound
 * is its size, and the searches under that triple, which would have looked at these segments
 * anyhow, leave exact numbers behind.  To give every node its first bound at once, each has a stamp:
 * if that is older than the triple (`since`), own stands for the size and max[1 + i] for max[0].
 * When a segment changes, its numbers become exact for all triples that are kept.
 *
 * INVARIANTS (arena_check reports any of them as number 10)
 *
 *  1. While the index is live, the nodes in the tree by address are those of the free segments that
 *     start at or below `passed`; a segment and its node point at each other.  Those that start at
 *     or below `sized` are in the tree by size, too.
 *  2. own[0] is the size of the segment, own[1 + i] at least what it can serve under triple i.
 *  3. max[j] is the largest own[j] in the subtree.
 *
 * NODES are in hand before the arena's lock is taken.  A change takes two at most, so with
 * BTAG_NODES_MIN and two for each core in hand none is missing; below that the index asks for care,
 * and gets it once the lock is dropped, as the hash gets its pages.  If a node is missing all the
 * same, because memory is out, the index ends.  It is a means to be fast: nothing that is right
 * depends on it, and freeing never needs memory.
 *
 * COMING INTO BEING.  btag_index_build() walks the segments in address order, a bounded step at a
 * time, and enters the free ones.  `passed` is the last unit it has passed; changes at or below it go
 * into the trees at once, those above will be met.  Where a segment at the frontier loses its front, the
 * frontier moves to what remains: there is nothing free between.  Until the walk is through nothing
 * searches in it.  The tree by size is filled in the same way, by a walk over the tree by address,
 * in steps of the searches that need it; `sized` is where that stands.
 *
 * EARNING ITS KEEP.  An index costs memory and slows every change, so it comes when the looks that
 * searches without it have cost add up to a quarter of the segments, which is about what building
 * it costs; and it goes when that many changes, at least IDLE_MIN, have passed without a search
 * that used it.  So what an arena pays is never much more than the better of the two ways would
 * have cost (the ski rental problem: A. Karlin, M. Manasse, L. Rudolph and D. Sleator, "Competitive
 * Snoopy Caching", Algorithmica 3, 1988).
 *
 * A triple earns its place likewise.  A search under one that isn't kept goes from segment to
 * segment by size and window alone, and counts its looks; one that is kept counts those it saved,
 * as many as such a search cost before.  Counts are halved every INTERVAL searches.  A triple that
 * isn't kept takes the place of the kept one with the smallest count when its own is twice that.
 * Every search ends by itself, whatever is kept meanwhile: it goes on from the segment it has come
 * to, so no number of triples makes one stop.
 *
 * COST.  A search under a triple that is kept, or under none, follows one path down and one up:
 * logarithmic.  A window clips two segments at most, the one that contains its first unit, which
 * is looked at by itself, and the one that contains its last: the first one found that starts above
 * the window's first unit either serves or is clipped, and then all behind it lie outside.  That
 * nothing serves is known as soon: from the root, or from that path.  A change costs one path by
 * address, and a removal and an insertion by size if that order is kept.
 */
#include "btag.h"

#include "lib/string.h"

struct btag_node {
	struct tree_node by_address, by_size;
	struct btag *tag;
	uint64_t stamp;
	size_t own[1 + BTAG_TRIPLES]; /* the first is the size */
	size_t max[1 + BTAG_TRIPLES];
};
_Static_assert(sizeof(struct btag_node) == BTAG_NODE_SIZE, "what the supply hands out");

#define IDLE_MIN 2000  /* changes that an index always outlives */
#define INTERVAL 1024  /* searches under triples, until their counts are halved */
#define SIZE_STEP 3    /* segments that enter the tree by size in one step of a search */
#define STEP_NODES 160 /* nodes that one step of a search passes, */
#define REFINE_NODES 48 /* and what making one exact counts for: a path to the root and a formula */

static inline struct btag_node *addressed(const struct tree_node *n)
{
	return n ? container_of(n, struct btag_node, by_address) : NULL;
}

static inline struct btag_node *sized(const struct tree_node *n)
{
	return container_of(n, struct btag_node, by_size);
}

/* Bounds: slot 0 is the size, slot 1 + i triple i */

static inline bool knows(const struct btag_index *x, const struct btag_node *n, unsigned slot)
{
	return slot == 0 || n->stamp >= x->kept[slot - 1].since;
}

static inline size_t own_bound(const struct btag_index *x, const struct btag_node *n, unsigned slot)
{
	return n->own[knows(x, n, slot) ? slot : 0];
}

static inline size_t max_bound(const struct btag_index *x, const struct btag_node *n, unsigned slot)
{
	return n->max[knows(x, n, slot) ? slot : 0];
}

/* Writes the bounds that the node's old stamp stands for, and stamps it anew. */
static inline void renew(const struct btag_index *x, struct btag_node *n)
{
	if (__builtin_expect(n->stamp == x->stamp, 1))
		return;
	for (unsigned slot = 1; slot <= x->triples; slot++) {
		if (knows(x, n, slot))
			continue;
		n->own[slot] = n->own[0];
		n->max[slot] = n->max[0];
	}
	n->stamp = x->stamp;
}

static inline size_t greater(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Recomputes a node's largest size; whether that changed.  While no triple is kept, that is all. */
static bool update_size(const struct tree_ops *ops, struct tree_node *tn)
{
	struct btag_node *n = addressed(tn), *left = addressed(tn->left), *right = addressed(tn->right);
	size_t max = n->own[0], was = n->max[0];

	max = left ? greater(max, left->max[0]) : max;
	max = right ? greater(max, right->max[0]) : max;
	n->max[0] = max;
	return max != was;
}

/* The same for all maxima. */
static inline bool update_all(const struct tree_ops *ops, struct tree_node *tn)
{
	static const size_t none[1 + BTAG_TRIPLES];
	const struct btag_index *x = container_of(ops, struct btag_index, order);
	struct btag_node *n = addressed(tn), *left = addressed(tn->left), *right = addressed(tn->right);
	const size_t *left_max = left ? left->max : none, *right_max = right ? right->max : none;
	size_t changed = 0;

	renew(x, n);
	if (left)
		renew(x, left);
	if (right)
		renew(x, right);
	for (unsigned slot = 0; slot <= x->triples; slot++) {
		size_t max = greater(n->own[slot], greater(left_max[slot], right_max[slot]));

		changed |= max ^ n->max[slot];
		n->max[slot] = max;
	}
	return changed != 0;
}

/* tree_update(), with the step in place for the rows `xalloc_align` and `xalloc_nocross`. */
static void update_upward(const struct btag_index *x, struct btag_node *n)
{
	struct tree_node *t = &n->by_address;

	if (x->triples == 0)
		tree_update(t, &x->order);
	else
		while (t && update_all(&x->order, t))
			t = tree_parent(t);
}

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

/* Makes the node's own numbers exact, and says nothing to those above. */
static void compute_own(const struct btag_index *x, struct btag_node *n)
{
	renew(x, n);
	n->own[0] = n->tag->size;
	for (unsigned i = 0; i < x->triples; i++)
		n->own[1 + i] = btag_triple_largest(
			&x->kept[i].rival.triple, n->tag->start, btag_last(n->tag));
}

/* Nodes */

static size_t segments_of(const struct btag_store *s)
{
	return s->segments_free + s->hash.entries;
}

static size_t spare_min(void)
{
	return BTAG_NODES_MIN + 2 * port_core_count();
}

static void care_update(struct btag_store *s)
{
	struct btag_index *x = &s->index;
	bool lacks = x->live && x->nodes.count < spare_min();
	bool has_more = x->live ? x->nodes.count > spare_min() + BTAG_NODES_MAX : x->nodes_held > 0;

	__atomic_store_n(
		&x->needs_care, lacks || (has_more && x->builders == 0), __ATOMIC_RELAXED);
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

/* To begin with, one for each free segment, so that building needs no more. */
size_t btag_index_lacks(const struct btag_store *s)
{
	const struct btag_index *x = &s->index;
	size_t needs = spare_min() + (x->live ? 0 : s->segments_free);

	return x->nodes.count < needs ? needs - x->nodes.count : 0;
}

bool btag_index_is_earned(const struct btag_store *s)
{
	return s->index.spent >= segments_of(s) / 4;
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
	size_t keep = x->builders > 0 ? SIZE_MAX : x->live ? spare_min() + BTAG_NODES_MAX / 2 : 0;

	for (int i = 0; i < BTAG_DROP_STEP && x->dead.root; i++)
		dead_pop(x);
	for (int i = 0; i < BTAG_DROP_STEP && x->nodes.count > keep; i++) {
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
	x->live = x->stands = false;
	x->triples = 0;
	memset(x->rivals, 0, sizeof(x->rivals));
	btag_watch_update(s);
	care_update(s);
}

/* Changes */

static inline bool is_indexed(const struct btag_index *x, uintptr_t start)
{
	return x->live && start <= x->passed;
}

/* In the parent link of a node that isn't in the tree by size. */
#define UNSIZED UINTPTR_MAX

static inline bool is_sized(const struct btag_node *n)
{
	return n->by_size.parent != UNSIZED;
}

/* tree_insert() with the comparison in place: half the cost, which the row `bestfit` needs. */
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

static void enter_by_address(struct btag_index *x, struct btag_node *n)
{
	uintptr_t start = n->tag->start;
	struct tree_node *at = x->by_address.root, *parent = NULL;
	bool right = false;

	while (at) {
		parent = at;
		right = addressed(at)->tag->start < start;
		at = right ? at->right : at->left;
	}
	tree_insert_at(&x->by_address, parent, right, &n->by_address, &x->order);
}

/* The index has been idle for long enough, or not. */
static void note_change(struct btag_store *s)
{
	struct btag_index *x = &s->index;
	size_t most = segments_of(s) / 4;

	if (++x->idle > (most > IDLE_MIN ? most : IDLE_MIN) && !x->is_pinned)
		btag_index_drop(s);
	else
		care_update(s);
}

static void enter(struct btag_store *s, struct btag *f)
{
	struct btag_index *x = &s->index;
	struct btag_node *n;

	if (!x->nodes.head) {
		btag_index_drop(s);
		return;
	}
	n = (struct btag_node *)btag_chain_pop(&x->nodes);
	memset(n->max, 0, sizeof(n->max));
	n->stamp = x->stamp;
	n->tag = f;
	f->node = n;
	compute_own(x, n);
	enter_by_size(x, n);
	enter_by_address(x, n);
}

static void leave(struct btag_store *s, struct btag *f)
{
	struct btag_index *x = &s->index;
	struct btag_node *n = f->node;

	leave_by_size(x, n);
	tree_remove(&x->by_address, &n->by_address, &x->order);
	btag_chain_push(&x->nodes, (struct btag *)n);
}

void btag_index_enter(struct btag_store *s, struct btag *f)
{
	if (!is_indexed(&s->index, f->start))
		return;
	enter(s, f);
	note_change(s);
}

void btag_index_leave(struct btag_store *s, struct btag *f)
{
	if (!is_indexed(&s->index, f->start))
		return;
	leave(s, f);
	note_change(s);
}

void btag_index_resize(struct btag_store *s, struct btag *f, uintptr_t old_start)
{
	struct btag_index *x = &s->index;

	if (is_indexed(x, old_start)) {
		struct btag_node *n = f->node;

		/* What lies between is used: the frontiers may pass it. */
		x->passed = f->start > x->passed ? f->start : x->passed;
		if (f->start > x->sized && is_sized(n))
			x->sized = f->start;
		leave_by_size(x, n);
		compute_own(x, n);
		enter_by_size(x, n);
		update_upward(x, n);
	} else if (is_indexed(x, f->start)) {
		enter(s, f);
	} else {
		return;
	}
	note_change(s);
}

/* Building */

static void build_begin(struct btag_store *s)
{
	struct btag_index *x = &s->index;

	x->live = true;
	x->order = (struct tree_ops){.before = address_before, .update = update_size, .shapeless = true};
	x->passed = x->sized = 0;
	x->idle = x->spent = 0;
	btag_cursor_open(s, &x->build);
}

/* The cursor passes a segment, and what is free there and starts behind the frontier is entered. */
bool btag_index_build(struct btag_store *s)
{
	struct btag_index *x = &s->index;
	int entered = 0;

	if (!x->live)
		build_begin(s);
	for (int i = 0; i < BTAG_BUILD_WALK && entered < BTAG_BUILD_STEP; i++) {
		uintptr_t start;
		struct btag *t = btag_cursor_next(s, &x->build, &start);

		if (!t) {
			btag_cursor_close(s, &x->build);
			x->passed = UINTPTR_MAX;
			x->stands = true;
			break;
		}
		if (t->kind == BTAG_SPAN || is_indexed(x, t->start))
			continue;
		x->passed = btag_last(t);
		if (t->kind == BTAG_FREE) {
			enter(s, t);
			entered++;
		}
		if (!x->live)
			return false;
	}
	care_update(s);
	return x->stands;
}

/* Triples that are kept, and their rivals */

static struct btag_kept *kept_find(struct btag_index *x, const struct btag_triple *t)
{
	for (unsigned i = 0; i < x->triples; i++)
		if (btag_triple_equal(&x->kept[i].rival.triple, t))
			return &x->kept[i];
	return NULL;
}

/* The triple's own count, or that of the rival with the smallest, which it takes over. */
static struct btag_rival *rival_find(struct btag_index *x, const struct btag_triple *t)
{
	struct btag_rival *r = &x->rivals[0];

	for (int i = 0; i < BTAG_RIVALS; i++) {
		if (x->rivals[i].searches && btag_triple_equal(&x->rivals[i].triple, t))
			return &x->rivals[i];
		if (x->rivals[i].looks < r->looks)
			r = &x->rivals[i];
	}
	*r = (struct btag_rival){.triple = *t};
	return r;
}

static void counts_halve(struct btag_index *x)
{
	for (unsigned i = 0; i < x->triples; i++)
		x->kept[i].rival.looks /= 2;
	for (int i = 0; i < BTAG_RIVALS; i++) {
		x->rivals[i].looks /= 2;
		x->rivals[i].searches = (x->rivals[i].searches + 1) / 2;
	}
}

/* Gives the rival a place: a new one, or that of the kept triple with the smallest count. */
static void rival_enter(struct btag_index *x, struct btag_rival *r)
{
	struct btag_kept *k = &x->kept[0];

	if (x->triples < BTAG_TRIPLES) {
		k = &x->kept[x->triples++];
	} else {
		for (unsigned i = 1; i < BTAG_TRIPLES; i++)
			if (x->kept[i].rival.looks < k->rival.looks)
				k = &x->kept[i];
		if (r->looks < 2 * k->rival.looks)
			return;
	}
	*k = (struct btag_kept){*r, r->looks / r->searches, ++x->stamp};
	*r = (struct btag_rival){.looks = 0};
	x->order.update = update_all;
}

/* A search under the triple begins; returns its slot, 0 if it isn't kept. */
static unsigned triple_begin(struct btag_index *x, const struct btag_triple *t, bool first)
{
	struct btag_kept *k = kept_find(x, t);

	if (first && ++x->searches % INTERVAL == 0)
		counts_halve(x);
	if (!k) {
		rival_find(x, t)->searches += first;
		return 0;
	}
	k->rival.looks += first ? k->saves : 0;
	return 1 + (unsigned)(k - x->kept);
}

/* A step of a search under a kept triple looked at so many segments, the search at `all` by now:
 * while its numbers are bounds yet, the triple costs what it will save. */
static void kept_note(struct btag_kept *k, size_t looks, size_t all)
{
	k->rival.looks += looks;
	k->saves = all > k->saves ? all : k->saves;
}

/* The same under one that isn't kept.  Cheap ones earn no place. */
static void triple_end(struct btag_index *x, const struct btag_triple *t, size_t looks)
{
	struct btag_rival *r = rival_find(x, t);

	r->searches += r->searches == 0;
	r->looks += looks;
	if (r->looks > BTAG_LOOKS)
		rival_enter(x, r);
}

/* Searching */

/* The node with the greatest start at or below addr. */
static struct btag_node *node_at(struct btag_store *s, uintptr_t addr)
{
	struct tree_node *n = s->index.by_address.root, *best = NULL;

	for (; n; s->looks++) {
		bool below = addressed(n)->tag->start <= addr;

		best = below ? n : best;
		n = below ? n->right : n->left;
	}
	return addressed(best);
}

static inline struct tree_node *child(const struct tree_node *n, bool right)
{
	return right ? n->right : n->left;
}

static inline bool may_serve(
	const struct btag_index *x, const struct tree_node *n, unsigned slot, size_t size)
{
	return n && max_bound(x, addressed(n), slot) >= size;
}

/* The first node in a subtree that may serve, which has one; `down`: the last. */
static struct btag_node *first_in(
	struct btag_store *s, struct tree_node *n, unsigned slot, size_t size, bool down)
{
	const struct btag_index *x = &s->index;

	for (;; s->looks++) {
		if (may_serve(x, child(n, down), slot, size))
			n = child(n, down);
		else if (own_bound(x, addressed(n), slot) >= size)
			return addressed(n);
		else
			n = child(n, !down);
	}
}

/* The first node behind n that may serve, or NULL: in the subtrees to its right, and to the right
 * of those it lies to the left of.  `down`: everything the other way around. */
static struct btag_node *first_behind(
	struct btag_store *s, struct tree_node *n, unsigned slot, size_t size, bool down)
{
	const struct btag_index *x = &s->index;
	struct tree_node *above;

	for (;; s->looks++) {
		if (may_serve(x, child(n, !down), slot, size))
			return first_in(s, child(n, !down), slot, size, down);
		for (; (above = tree_parent(n)) != NULL && child(above, !down) == n; s->looks++)
			n = above;
		if (!above || own_bound(x, addressed(above), slot) >= size)
			return addressed(above);
		n = above;
	}
}

/* Makes the number that a search relied on exact. */
static void refine(struct btag_store *s, struct btag_node *n, unsigned slot)
{
	struct btag_index *x = &s->index;
	size_t own = btag_triple_largest(
		&x->kept[slot - 1].rival.triple, n->tag->start, btag_last(n->tag));

	if (own == own_bound(x, n, slot))
		return;
	renew(x, n);
	n->own[slot] = own;
	update_upward(x, n);
}

/* One step in the tree by address.  c->from is where it goes on; *looks counts segments. */
static enum btag_verdict step_by_address(struct btag_store *s, struct btag_search *c,
	unsigned slot, size_t *looks, struct btag_place *place)
{
	const struct btag_request *rq = c->rq;
	bool down = rq->fit == BTAG_FIT_HIGH;
	size_t end = s->looks + STEP_NODES;
	struct btag_node *n = node_at(s, c->from);

	/* The one at or across that place is looked at by itself; none is: the first of all. */
	if (!n && !down && may_serve(&s->index, s->index.by_address.root, slot, rq->size))
		n = first_in(s, s->index.by_address.root, slot, rq->size, down);
	while (n) {
		uintptr_t start = n->tag->start, last = btag_last(n->tag);

		if (down ? last < rq->lo : start > rq->hi)
			return BTAG_NOTHING;
		++*looks;
		if (btag_place_in(s, rq, n->tag, down ? rq->lo : c->from, place))
			return BTAG_FOUND;
		if (down ? start == 0 : last == UINTPTR_MAX)
			return BTAG_NOTHING;
		if (down)
			c->from = start - 1 < c->from ? start - 1 : c->from;
		else
			c->from = last + 1 > c->from ? last + 1 : c->from;
		if (slot > 0) {
			refine(s, n, slot);
			end -= REFINE_NODES;
		}
		if (*looks >= BTAG_STEP || s->looks + REFINE_NODES >= end)
			return BTAG_MORE;
		n = first_behind(s, &n->by_address, slot, rq->size, down);
	}
	return BTAG_NOTHING;
}

/* Where a search begins: next fit behind the last one, if that is in the window. */
static void begin_by_address(const struct btag_store *s, struct btag_search *c)
{
	const struct btag_cursor *next = &s->next_fit;
	const struct btag_request *rq = c->rq;
	bool behind = rq->fit == BTAG_FIT_NEXT && next->begun && next->last >= rq->lo && next->last < rq->hi;

	c->is_around = !behind;
	c->from = behind ? next->last + 1 : rq->fit == BTAG_FIT_HIGH ? rq->hi : rq->lo;
}

static enum btag_verdict search_by_address(
	struct btag_store *s, struct btag_search *c, struct btag_place *place)
{
	struct btag_index *x = &s->index;
	const struct btag_triple *t = &c->rq->triple;
	bool first = !c->by_index, is_plain = btag_triple_is_plain(s, t);
	unsigned slot = is_plain ? 0 : triple_begin(x, t, first);
	enum btag_verdict v;
	size_t looks = 0;

	if (first)
		begin_by_address(s, c);
	c->by_index = true;
	v = step_by_address(s, c, slot, &looks, place);
	if (v == BTAG_NOTHING && c->rq->fit == BTAG_FIT_NEXT && !c->is_around) {
		c->is_around = true;
		c->from = c->rq->lo;
		v = looks < BTAG_STEP / 2 ? step_by_address(s, c, slot, &looks, place) : BTAG_MORE;
	}
	c->looks += looks;
	if (slot > 0)
		kept_note(&x->kept[slot - 1], looks, c->looks);
	else if (!is_plain)
		triple_end(x, t, looks);
	return v;
}

/* The smallest segment that serves, the lowest among equals: once all are in the tree by size. */
static enum btag_verdict search_by_size(
	struct btag_store *s, struct btag_search *c, struct btag_place *place)
{
	const struct btag_request *rq = c->rq;
	struct btag_index *x = &s->index;
	struct tree_node *n, *best = NULL;

	for (int i = 0; i < SIZE_STEP && x->sized != UINTPTR_MAX; i++) {
		struct btag_node *at = node_at(s, x->sized);
		struct tree_node *next = at ? tree_next(&at->by_address) : tree_first(&x->by_address);

		c->looks++;
		x->sized = next ? addressed(next)->tag->start : UINTPTR_MAX;
		if (next)
			enter_by_size(x, addressed(next));
	}
	if (x->sized != UINTPTR_MAX)
		return BTAG_MORE;
	for (n = x->by_size.root; n; s->looks++) {
		bool serves = sized(n)->tag->size >= rq->size;

		best = serves ? n : best;
		n = serves ? n->left : n->right;
	}
	if (!best)
		return BTAG_NOTHING;
	/* Any place in it serves. */
	btag_place_in(s, rq, sized(best)->tag, 0, place);
	return BTAG_FOUND;
}

enum btag_verdict btag_index_step(
	struct btag_store *s, struct btag_search *c, struct btag_place *place)
{
	s->index.idle = 0;
	return c->rq->fit == BTAG_FIT_BEST ? search_by_size(s, c, place) : search_by_address(s, c, place);
}

bool btag_index_refine(struct btag_store *s, uintptr_t *from)
{
	struct btag_index *x = &s->index;
	struct btag_node *at = node_at(s, *from);
	struct tree_node *n = at && at->tag->start == *from ? &at->by_address :
			      at ? tree_next(&at->by_address) : tree_first(&x->by_address);

	if (!n || x->triples == 0)
		return false;
	compute_own(x, addressed(n));
	update_upward(x, addressed(n));
	*from = addressed(n)->tag->start + 1;
	return *from != 0;
}

size_t btag_index_largest(const struct btag_store *s)
{
	return addressed(s->index.by_address.root)->max[0];
}

/* Checks */

const char *btag_index_check_one(const struct btag_store *s, const struct btag *f)
{
	const struct btag_index *x = &s->index;

	if (!is_indexed(x, f->start))
		return NULL;
	if (!f->node || f->node->tag != f)
		return "a free segment isn't in the index";
	if (is_sized(f->node) != (f->start <= x->sized))
		return "a free segment isn't in the tree by size, or shouldn't be";
	for (unsigned i = 0; i < x->triples; i++)
		if (own_bound(x, f->node, 1 + i) <
			btag_triple_largest(&x->kept[i].rival.triple, f->start, btag_last(f)))
			return "a segment serves more under a triple than the index says";
	return NULL;
}

const char *btag_index_check(struct btag_store *s)
{
	struct btag_index *x = &s->index;
	const char *wrong;

	if (!x->live)
		return x->by_address.root || x->by_size.root ? "an index that isn't live has nodes" : NULL;
	wrong = tree_check(&x->by_address, &x->order);
	return wrong ? wrong : tree_check(&x->by_size, &size_order);
}
