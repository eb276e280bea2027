/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Backtraces that are kept.
 *
 * They are records of their length, packed into pages, found by a hash of their addresses.  A record is
 * never changed and never goes, so whoever has a pointer to one reads it without a lock; two backtraces
 * whose hashes are equal are told apart by their addresses.  The lock guards hash and page.  The memory
 * for a record is had before the lock is taken, since base_arena is asked with none held.
 */
#include "stacks.h"

#include "arena_impl.h"
#include "lib/check.h"
#include "lib/frames.h"
#include "lib/hash.h"
#include "lib/linear_hash.h"
#include "lib/string.h"
#include "owner.h"

#define FRAMES_SKIPPED 24 /* frames of the allocator's own that may lie before the caller's */

struct stack {
	struct hash_link link; /* by a hash of pcs */
	struct stack *next;    /* the one kept before it */
	/* A tally's: whoever holds tally_lock. */
	size_t users, units;
	uint64_t oldest;
	size_t count;
	uintptr_t pcs[];
};

static struct linear_hash stacks;
static struct spinlock lock = SPINLOCK_INIT(SPIN_LEAF);
static size_t pages, count;
static char *page;  /* what it has left, of whole words, is `left` bytes */
static size_t left;

static struct stack *newest;
static struct qlock tally_lock = QLOCK_INIT(tally_lock); /* held from begin to end */

static struct arena_owner owner = ARENA_OWNER("backtraces", base_arena);

/* From the frame on that returns to `caller`; that alone, if it is none of the last ones. */
static size_t capture(void *caller, uintptr_t pcs[STACKS_DEPTH])
{
	uintptr_t all[FRAMES_SKIPPED + STACKS_DEPTH];
	size_t n = port_backtrace(0, all, FRAMES_SKIPPED + STACKS_DEPTH), from = 0, kept;

	while (from < n && all[from] != (uintptr_t)caller)
		from++;
	if (from == n) {
		pcs[0] = (uintptr_t)caller;
		return 1;
	}
	kept = n - from < STACKS_DEPTH ? n - from : STACKS_DEPTH;
	memcpy(pcs, all + from, kept * sizeof(*pcs));
	return kept;
}

/* Lock held. */
static struct stack *find(uint64_t hash, const uintptr_t *pcs, size_t n) SPANDREL_REQUIRES(&lock)
{
	struct hash_link *l = *linear_hash_seek(&stacks, hash);

	for (; l; l = l->next) {
		struct stack *s = container_of(l, struct stack, link);

		if (l->key == hash && s->count == n && memcmp(s->pcs, pcs, n * sizeof(*pcs)) == 0)
			return s;
	}
	return NULL;
}

/* Cuts a record for n addresses off the page; NULL: it has too little left.  Lock held. */
static struct stack *cut(uint64_t hash, const uintptr_t *pcs, size_t n) SPANDREL_REQUIRES(&lock)
{
	size_t size = sizeof(struct stack) + n * sizeof(*pcs);
	struct stack *s = (struct stack *)page;

	if (left < size)
		return NULL;
	page += size;
	left -= size;
	s->link.key = hash;
	s->count = n;
	memcpy(s->pcs, pcs, n * sizeof(*pcs));
	s->users = 0;
	s->next = newest;
	newest = s;
	linear_hash_insert(&stacks, &s->link);
	count++;
	return s;
}

/* As a segment of which no backtrace is kept: that would come back to here. */
static void *page_take(void)
{
	void *fresh = arena_segment_alloc(base_arena, PORT_PAGE_SIZE, 0);

	if (!fresh)
		return NULL;
	arena_owner_add(&owner, base_arena, PORT_PAGE_SIZE);
	__atomic_fetch_add(&pages, 1, __ATOMIC_RELAXED);
	return fresh;
}

/* A page for records; what the one before had left is lost.  No lock held. */
static bool page_add(void)
{
	char *fresh = page_take();
	port_irq_t irq;

	if (!fresh)
		return false;
	irq = spin_lock(&lock);
	page = fresh;
	left = PORT_PAGE_SIZE;
	spin_unlock(&lock, irq);
	return true;
}

/* A page for the hash. */
static void hash_care(void)
{
	void *fresh = page_take();
	port_irq_t irq = spin_lock(&lock);

	if (fresh)
		linear_hash_give_page(&stacks, fresh);
	spin_unlock(&lock, irq);
}

const struct stack *stacks_keep(void *caller)
{
	uintptr_t pcs[STACKS_DEPTH];
	size_t n = capture(caller, pcs);
	uint64_t hash = hash_bytes(pcs, n * sizeof(*pcs));
	struct stack *s;
	port_irq_t irq;
	bool wants;

	do {
		irq = spin_lock(&lock);
		if (!stacks.root)
			linear_hash_init(&stacks);
		s = find(hash, pcs, n);
		if (!s)
			s = cut(hash, pcs, n);
		wants = stacks.wants_page;
		spin_unlock(&lock, irq);
	} while (!s && page_add());
	if (wants)
		hash_care();
	return s;
}

size_t stacks_get(const struct stack *s, uintptr_t *pcs, size_t max)
{
	size_t n = !s ? 0 : s->count < max ? s->count : max;

	if (max > 0)
		check_given("stacks_get", "list of addresses", pcs, __builtin_return_address(0));
	if (n > 0)
		memcpy(pcs, s->pcs, n * sizeof(*pcs));
	return n;
}

void stacks_print(struct sink *sink, const struct stack *s)
{
	check_given("stacks_print", "sink", sink, __builtin_return_address(0));
	if (s)
		frames_print(sink, s->pcs, s->count);
	else
		sink_puts(sink, "  (not known)\n");
}

/* The list only grows at its head, so what hangs off one that was read stands still. */
static struct stack *first(void)
{
	port_irq_t irq = spin_lock(&lock);
	struct stack *s = newest;

	spin_unlock(&lock, irq);
	return s;
}

void stacks_tally_begin(void) SPANDREL_UNANALYSED
{
	sync_check_may_sleep("stacks_tally_begin", __builtin_return_address(0));
	qlock_lock(&tally_lock);
	for (struct stack *s = first(); s; s = s->next)
		s->users = 0;
}

void stacks_tally_add(const struct stack *stack, size_t units, uint64_t ns)
{
	struct stack *s = (struct stack *)stack;

	check_given("stacks_tally_add", "backtrace", s, __builtin_return_address(0));
	if (s->users == 0) {
		s->units = 0;
		s->oldest = ns;
	}
	s->users++;
	s->units += units;
	if (ns < s->oldest)
		s->oldest = ns;
}

static bool has_more(const struct stack *a, const struct stack *b)
{
	return a->units > b->units;
}

static bool is_older(const struct stack *a, const struct stack *b)
{
	return a->oldest < b->oldest;
}

static bool tally_take(struct stacks_tally *row, bool (*is_before)(const struct stack *a, const struct stack *b))
{
	struct stack *taken = NULL;

	for (struct stack *s = first(); s; s = s->next)
		if (s->users > 0 && (!taken || is_before(s, taken)))
			taken = s;
	if (!taken)
		return false;
	*row = (struct stacks_tally){taken, taken->users, taken->units, taken->oldest};
	taken->users = 0;
	return true;
}

bool stacks_tally_next(struct stacks_tally *row)
{
	check_given("stacks_tally_next", "place for a row", row, __builtin_return_address(0));
	sync_check_may_sleep("stacks_tally_next", __builtin_return_address(0));
	return tally_take(row, has_more);
}

bool stacks_tally_oldest(struct stacks_tally *row)
{
	check_given("stacks_tally_oldest", "place for a row", row, __builtin_return_address(0));
	sync_check_may_sleep("stacks_tally_oldest", __builtin_return_address(0));
	return tally_take(row, is_older);
}

void stacks_tally_end(void) SPANDREL_UNANALYSED
{
	qlock_unlock(&tally_lock);
}

bool stacks_find(uintptr_t addr)
{
	for (const struct stack *s = first(); s; s = s->next)
		if (((uintptr_t)s ^ addr) < PORT_PAGE_SIZE)
			return true;
	return false;
}

size_t stacks_count(void)
{
	return __atomic_load_n(&count, __ATOMIC_RELAXED);
}

size_t stacks_pages(void)
{
	return __atomic_load_n(&pages, __ATOMIC_RELAXED);
}
