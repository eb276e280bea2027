/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Failure injection.
 *
 * CONCEPTS
 *
 * A rule names an arena or a cache, or all of them, and perhaps a site, a range of addresses in the backtrace
 * of an allocation.  An allocation *matches* a rule that is about it.  The rule numbers those that match, from
 * 0 on, and decides from the number alone which of them fail.
 *
 *	number	0 ... after - 1   after   after + 1   ...
 *		   never	  one in `one_in`, until `times` have failed
 *
 * Arenas and caches *ask*: at the start of a request by a caller, and where the allocator takes something
 * for itself.  The asks are where the request would stand back for others, or find that there is nothing: so
 * a failure takes the way of a shortage from there on, and there is no other one.
 *
 * REPRESENTATION
 *
 * Rules lie in a list, each in a page of base_arena, the oldest first.  Whether there is any is added to
 * `shortage_marks_set`, so that a request that isn't hot learns by one look whether something is short or to
 * be failed.  What is hot asks nothing: the slab layer closes each core's magazines of what a rule names
 * (arena_fail_changed, slab/fail.c).
 *
 * INVARIANTS
 *
 *  1. A cache whose name a rule in the list has, and a quantum cache whose arena's, is closed while the
 *     rule is on.  So a rule is in the list before caches are closed, and on after; a cache is in the tree
 *     before it looks whether it has to be.
 *  2. A rule has failed `times` at most, and none of the first `after`.
 *
 * LOCKING
 *
 * The lock guards the list and its rules; none is taken beneath it.  It is taken under that of a tag supply.
 * The backtrace is made before.
 *
 * COST
 *
 * No rule: nothing.  Else each ask takes a step for each rule, and one for each frame where a rule with a
 * site has its name.
 *
 * QUESTIONS
 *
 * What of a request by MEM_ERROR that is made to fail beneath: of its slab, say?  It would sleep, and be
 * served by the server, whose tries aren't failed.  So the thread's word PORT_THREAD_FAILED says whether its last
 * ask was answered so, and then shortage_wait() refuses it at once.  Each try begins with an ask, so the word
 * is never an older one's.
 *
 * Why isn't the server asked?  It has another backtrace than the sleeper, and the numbers would depend on how
 * often it tried.  And a request by MEM_WAIT would sleep for as long as the rule is on.
 *
 * Why do the tags of an allocation have an ask of their own each time that some are fetched, when the supply
 * may have enough?  When it has none depends on all that went before.
 */
#include "kmem_fail.h"

#include "arena_impl.h"
#include "lib/check.h"
#include "lib/hash.h"
#include "lib/string.h"
#include "owner.h"

struct rule {
	struct rule *next;
	bool is_on;
	struct kmem_fail_stats s;
};
_Static_assert(sizeof(struct rule) <= PORT_PAGE_SIZE, "a rule fits in a page");

static struct spinlock lock = SPINLOCK_INIT(SPIN_LEAF);
static struct rule *rules; /* the oldest first */
static int last_number;

unsigned arena_fail_rules;
static unsigned sites; /* rules that have one; atomic */

static void close_nothing(void)
{
}

void (*arena_fail_changed)(void) = close_nothing;

static struct arena_owner owner = ARENA_OWNER("failure rules", base_arena);

/* Asking */

static bool is_about(const struct rule *r, const char *name)
{
	return !r->s.name[0] || strcmp(r->s.name, name) == 0;
}

static bool is_at_site(const struct rule *r, const uintptr_t *pcs, size_t n)
{
	size_t i = 0;

	if (r->s.to == 0)
		return true;
	while (i < n && pcs[i] - r->s.from >= r->s.to - r->s.from)
		i++;
	return i < n;
}

/* Whether the allocation that matches next is to fail. */
static bool decide(struct rule *r)
{
	uint64_t word[2] = {r->s.seed, r->s.matched++};

	if (word[1] < r->s.after || (r->s.times > 0 && r->s.failed == r->s.times))
		return false;
	if (r->s.one_in > 1 && hash_u64(hash_bytes(word, sizeof(word))) % r->s.one_in != 0)
		return false;
	r->s.failed++;
	return true;
}

/* A thread of reclaim; an interrupt is none. */
static bool is_exempt(void)
{
	return port_in_nmi() || (!port_in_irq() && port_word(PORT_THREAD_RECLAIM));
}

bool arena_fail_ask(const char *name, unsigned flags)
{
	bool fails = false, has_sites = __atomic_load_n(&sites, __ATOMIC_RELAXED) > 0;
	uintptr_t pcs[KMEM_FAIL_DEPTH];
	size_t n;
	port_irq_t irq;

	if (is_exempt())
		return false;
	if (!(flags & MEM_WAIT)) {
		n = has_sites ? port_backtrace(0, pcs, KMEM_FAIL_DEPTH) : 0;
		irq = spin_lock(&lock);
		for (struct rule *r = rules; r; r = r->next)
			if (r->is_on && is_about(r, name) && is_at_site(r, pcs, n) && decide(r))
				fails = true;
		spin_unlock(&lock, irq);
	}
	if (flags && !port_in_irq())
		port_set_word(PORT_THREAD_FAILED, fails);
	return fails;
}

bool arena_fail_names(const char *name)
{
	port_irq_t irq = spin_lock(&lock);
	const struct rule *r = rules;

	while (r && !is_about(r, name))
		r = r->next;
	spin_unlock(&lock, irq);
	return r;
}

/* Start and stop */

static void check_rule(const struct kmem_fail_rule *rule, void *caller)
{
	check_given("kmem_fail_start", "rule", rule, caller);
	if (rule->from > rule->to || (rule->to > 0 && rule->from == rule->to))
		panic("kmem_fail_start: the site [%#lx, %#lx) has no address (called from %pS)", rule->from,
			rule->to, caller);
	if (rule->name && strlen(rule->name) >= KMEM_FAIL_NAME_MAX)
		panic("kmem_fail_start: the name %s is too long (called from %pS)", rule->name, caller);
}

static void rule_init(struct rule *r, const struct kmem_fail_rule *from)
{
	r->s = (struct kmem_fail_stats){
		.from = from->from,
		.to = from->to,
		.after = from->after,
		.one_in = from->one_in,
		.seed = from->seed,
		.times = from->times,
	};
	str_copy(r->s.name, from->name ? from->name : "", sizeof(r->s.name));
}

/* Into the list, not on yet. */
static void enter(struct rule *r)
{
	port_irq_t irq = spin_lock(&lock);
	struct rule **at = &rules;

	r->s.number = ++last_number;
	while (*at)
		at = &(*at)->next;
	*at = r;
	__atomic_fetch_add(&sites, r->s.to > 0, __ATOMIC_RELAXED);
	spin_unlock(&lock, irq);
	/* A request reads the first before the second. */
	__atomic_fetch_add(&arena_fail_rules, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&shortage_marks_set, 1, __ATOMIC_SEQ_CST);
}

int kmem_fail_start(const struct kmem_fail_rule *rule)
{
	struct rule *r;
	port_irq_t irq;
	int number;

	check_rule(rule, __builtin_return_address(0));
	sync_check_may_sleep("kmem_fail_start", __builtin_return_address(0));
	r = base_zalloc(NULL, PORT_PAGE_SIZE, MEM_ERROR);
	if (!r)
		return -ENOMEM;
	arena_owner_add(&owner, base_arena, PORT_PAGE_SIZE);
	rule_init(r, rule);
	enter(r);
	arena_fail_changed();
	irq = spin_lock(&lock);
	r->is_on = true;
	number = r->s.number;
	spin_unlock(&lock, irq);
	return number;
}

/* Where the rule of that number hangs, or the list's end.  Lock held. */
static struct rule **seek(int number) SPANDREL_REQUIRES(&lock)
{
	struct rule **at = &rules;

	while (*at && (*at)->s.number != number)
		at = &(*at)->next;
	return at;
}

void kmem_fail_stop(int number)
{
	void *caller = __builtin_return_address(0);
	struct rule **at, *r;
	port_irq_t irq;

	sync_check_may_sleep("kmem_fail_stop", caller);
	irq = spin_lock(&lock);
	at = seek(number);
	r = *at;
	if (r) {
		*at = r->next;
		__atomic_fetch_sub(&sites, r->s.to > 0, __ATOMIC_RELAXED);
	}
	spin_unlock(&lock, irq);
	if (!r)
		panic("kmem_fail_stop: no rule has number %d (called from %pS)", number, caller);
	arena_fail_changed();
	__atomic_fetch_sub(&shortage_marks_set, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&arena_fail_rules, 1, __ATOMIC_RELAXED);
	arena_owner_sub(&owner, base_arena, PORT_PAGE_SIZE);
	base_free(NULL, r, PORT_PAGE_SIZE);
}

/* Inspection */

bool kmem_fail_get_stats(int number, struct kmem_fail_stats *stats)
{
	const struct rule *r;
	port_irq_t irq;

	check_given("kmem_fail_get_stats", "place for statistics", stats, __builtin_return_address(0));
	irq = spin_lock(&lock);
	r = *seek(number);
	if (r)
		*stats = r->s;
	spin_unlock(&lock, irq);
	return r;
}

int kmem_fail_next(int number)
{
	port_irq_t irq = spin_lock(&lock);
	const struct rule *r = rules;

	while (r && r->s.number <= number)
		r = r->next;
	number = r ? r->s.number : 0;
	spin_unlock(&lock, irq);
	return number;
}
