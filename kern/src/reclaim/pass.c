/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pass: the walk over a root's tree that asks each arena and cache to give back.  Theory: reclaim.c.
 */
#include "reclaim_impl.h"

#include "lib/panic.h"
#include "port.h"
#include "sync.h"

/* A callback that takes longer is reported, and left out for as long. */
#define SLOW_NS 100000000ull
#define SKIP_NS 10000000000ull

void pass_begin(struct pass *p, struct arena *root, size_t target)
{
	*p = (struct pass){.root = root, .target = target, .free_before = arena_amt_free(root)};
}

size_t pass_gain(const struct pass *p)
{
	size_t free = arena_amt_free(p->root);

	return free > p->free_before ? free - p->free_before : 0;
}

/* What is still to come free; and what owners are still to be asked for. */
static size_t remaining(const struct pass *p)
{
	size_t gain = pass_gain(p);

	return gain < p->target ? p->target - gain : 0;
}

static size_t unanswered(const struct pass *p)
{
	size_t left = remaining(p), other = p->answered < p->target ? p->target - p->answered : 0;

	return left < other ? left : other;
}

/* Accounts are read without a lock. */

static void set(uint64_t *field, uint64_t value)
{
	__atomic_store_n(field, value, __ATOMIC_RELAXED);
}

static void add(uint64_t *field, uint64_t value)
{
	set(field, *field + value);
}

/* Owners */

static void note_slow(const char *name, struct reclaim_account *account, uint64_t ns)
{
	add(&account->slow, 1);
	set(&account->skip_until, port_ns() + SKIP_NS);
	kprintf("reclaim: the callback of %s took %llu ms; it is left out for %llu s\n", name,
		(unsigned long long)(ns / 1000000), (unsigned long long)(SKIP_NS / 1000000000));
}

/* fn is a callback of the owner, or NULL. */
static size_t ask_owner(struct pass *p, const char *name, struct reclaim_account *account,
	size_t (*fn)(void *priv, size_t units), void *priv)
{
	size_t wanted = unanswered(p), answer;
	uint64_t begun = port_ns(), took;

	if (!fn || wanted == 0 || (begun < account->skip_until && !p->by_hand))
		return 0;
	answer = arena_call_owner(name, fn, priv, wanted);
	took = port_ns() - begun;
	if (took > SLOW_NS && !p->by_hand)
		note_slow(name, account, took);
	p->answered += answer;
	return answer;
}

static void note_given(struct reclaim_account *account, unsigned level, size_t given, uint64_t begun)
{
	if (given == 0)
		return;
	add(&account->given, given);
	set(&account->last_given, given);
	set(&account->last_instr, port_ticks() - begun);
	set(&account->last_level, level);
}

static void note(struct reclaim_account *account, unsigned level, size_t given, uint64_t begun)
{
	add(&account->asked, 1);
	note_given(account, level, given, begun);
}

/* Nodes */

static void visit_cache(struct pass *p, struct kmem_cache *c)
{
	struct reclaim_account *account = slab_reclaim_account(c);
	uint64_t begun = port_ticks();
	void *priv;
	size_t (*fn)(void *, size_t) = slab_owner(c, &priv);
	size_t given = ask_owner(p, slab_name(c), account, fn, priv);

	given += slab_reclaim(c, p->level, remaining(p));
	note(account, p->level, given, begun);
}

/* Moves the reference of a walk on to the next node; NULL: at the walk's beginning and end.
 * arenas_and_slabs_lock is held. */
static void move_ref(struct reclaim_account *from, struct reclaim_account *to)
	SPANDREL_REQUIRES(&arenas_and_slabs_lock)
{
	if (to)
		to->refs++;
	if (from)
		from->refs--;
}

static void move_arena_ref(struct arena *from, struct arena *to) SPANDREL_REQUIRES(&arenas_and_slabs_lock)
{
	move_ref(from ? arena_reclaim_account(from) : NULL, to ? arena_reclaim_account(to) : NULL);
}

/* The next cache of the arena behind c. */
static struct kmem_cache *next_cache(struct arena *a, struct kmem_cache *c)
{
	struct kmem_cache *next;

	qlock_lock(&arenas_and_slabs_lock);
	next = slab_walk_next(a, c);
	move_ref(c ? slab_reclaim_account(c) : NULL, next ? slab_reclaim_account(next) : NULL);
	qlock_unlock(&arenas_and_slabs_lock);
	return next;
}

static void visit_arena(struct pass *p, struct arena *a)
{
	struct reclaim_account *account = arena_reclaim_account(a);
	uint64_t begun;
	size_t (*fn)(void *, size_t), given = 0, pages;
	void *priv;

	for (struct kmem_cache *c = next_cache(a, NULL); c; c = next_cache(a, c))
		if (remaining(p) > 0)
			visit_cache(p, c);
	if (remaining(p) == 0)
		return;
	begun = port_ticks();
	if (p->level >= 2) {
		fn = arena_owner(a, &priv);
		given = ask_owner(p, arena_name(a), account, fn, priv);
		if (a == base_arena)
			given += slab_table_trim();
	}
	given += arena_reclaim(a, p->level, remaining(p), &pages);
	note(account, p->level, given, begun);
	/* Pages of tags and the like were the base's, whatever the arena's units are. */
	note_given(arena_reclaim_account(arena_base(a)), p->level, pages * PORT_PAGE_SIZE, begun);
}

static struct arena *next_arena(struct arena *root, struct arena *a)
{
	struct arena *next;

	qlock_lock(&arenas_and_slabs_lock);
	next = arena_walk_next(root, a);
	move_arena_ref(a, next);
	qlock_unlock(&arenas_and_slabs_lock);
	return next;
}

/* The root's own turn may be over before the others' are: the reference on it lasts as long. */
static void walk_tree(struct pass *p, struct arena *root)
{
	for (struct arena *a = next_arena(root, NULL); a; a = next_arena(root, a))
		if (remaining(p) > 0)
			visit_arena(p, a);
}

struct arena *pass_next_root(struct arena *root)
{
	struct arena *next;

	qlock_lock(&arenas_and_slabs_lock);
	next = arena_root_next(root);
	move_arena_ref(root, next);
	qlock_unlock(&arenas_and_slabs_lock);
	return next;
}

/* Trees of other roots whose tags, nodes and hashes are of this base's memory. */
static void walk_foreign(struct pass *p)
{
	for (struct arena *r = pass_next_root(NULL); r; r = pass_next_root(r))
		if (r != p->root && arena_base(r) == p->root && remaining(p) > 0)
			walk_tree(p, r);
}

void pass_walk(struct pass *p, unsigned level)
{
	p->level = level;
	if (level == RECLAIM_LEVELS && arena_base(p->root) == p->root)
		walk_foreign(p);
	walk_tree(p, p->root);
}
