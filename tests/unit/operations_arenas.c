/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations on arenas.  The model of each (model.h) has its spans, what callers hold of it, and the spans of the
 * arenas that import from it; these, and its own if it imports, are read from the arenas after each operation.
 *
 * Where the model has all that is used, the arena's segments must be the model's, and what the arena holds must be
 * found as the header says.  It hasn't where caches take slabs from the arena.
 */
#include "operations.h"

#include "arena.h"
#include "lib/string.h"
#include "lib/test.h"
#include "unit/model.h"

#define HELD_MAX 120
#define LOOKS 64 /* free segments that an atomic request without an index looks at */
#define SIZE_LIMIT ((size_t)1 << 20)
#define SELF_MAX 40 /* spans that an arena makes itself */
#define SELF_FIRST ((uintptr_t)1 << 44)

static struct slot {
	struct arena *arena; /* NULL: there is none */
	struct model *model;
	uint64_t source;
	bool is_cached;
	int caches; /* that draw on it */
	size_t total; /* before the operation */
	struct held {
		uintptr_t start;
		size_t size; /* as asked for */
		bool by_xalloc;
	} held[HELD_MAX];
	size_t held_count;
} slots[OPERATION_ARENAS];

static bool refused; /* the operation was an allocation, and failed */

static size_t rounded(size_t size, size_t quantum)
{
	return (size + quantum - 1) / quantum * quantum;
}

static bool is_power(size_t n)
{
	return (n & (n - 1)) == 0;
}

static bool is_loose(const struct slot *s)
{
	return s->is_cached || s->caches > 0;
}

static bool imports(const struct slot *s)
{
	return s->source != OPERATION_ALONE;
}

/* Whether `child` is there and imports from s. */
static bool is_child(const struct slot *child, const struct slot *s)
{
	return child->arena && child->source == OPERATION_FROM + (uint64_t)(s - slots);
}

static bool has_child(const struct slot *s)
{
	bool has = false;

	for (size_t i = 0; i < OPERATION_ARENAS; i++)
		has |= is_child(&slots[i], s);
	return has;
}

struct arena *operations_arena(size_t i)
{
	return slots[i % OPERATION_ARENAS].arena;
}

size_t operations_quantum(size_t i)
{
	return slots[i % OPERATION_ARENAS].model->quantum;
}

void operations_draw(size_t i, int caches)
{
	slots[i % OPERATION_ARENAS].caches += caches;
}

/* Spans that an arena makes itself */

static struct self_span {
	struct arena *arena; /* NULL: free */
	uintptr_t start;
	size_t size;
} self_spans[SELF_MAX];
static uintptr_t self_next;

static void *make_span(struct arena *arena, size_t size, unsigned flags)
{
	struct arena_stats stats;

	arena_get_stats(arena, &stats);
	for (size_t i = 0; i < SELF_MAX; i++)
		if (!self_spans[i].arena) {
			self_next = rounded(self_next, stats.quantum);
			self_spans[i] = (struct self_span){arena, self_next, size};
			self_next += size;
			return (void *)self_spans[i].start;
		}
	return NULL;
}

/* Takes back what it made, as it was made. */
static void unmake_span(struct arena *arena, void *addr, size_t size)
{
	for (size_t i = 0; i < SELF_MAX; i++)
		if (self_spans[i].arena == arena && self_spans[i].start == (uintptr_t)addr) {
			CHECK_EQ(self_spans[i].size, size);
			self_spans[i].arena = NULL;
			return;
		}
	test_fail(__FILE__, __LINE__, "a span that was never made: %p, size %#zx", addr, size);
}

/* What the arenas say */

static bool learn_span(const struct arena_segment *s, void *arg)
{
	struct model *m = arg;
	uintptr_t first = rounded(s->start, m->quantum);
	size_t inside = (s->start + (s->size - 1) - first + 1) / m->quantum * m->quantum;

	if (s->kind == ARENA_SEGMENT_SPAN)
		model_add_span(m, first, inside, false);
	return true;
}

static bool learn_import(const struct arena_segment *s, void *arg)
{
	if (s->kind == ARENA_SEGMENT_SPAN)
		model_alloc(arg, s->start, s->size)->foreign = true;
	return true;
}

static void learn(struct slot *s)
{
	struct model *m = s->model;

	if (imports(s)) {
		m->spans.count = 0;
		arena_walk(s->arena, learn_span, m);
	}
	m->used.count = 0;
	for (size_t i = 0; i < s->held_count; i++)
		model_alloc(m, s->held[i].start, rounded(s->held[i].size, m->quantum));
	for (size_t i = 0; i < OPERATION_ARENAS; i++)
		if (is_child(&slots[i], s))
			arena_walk(slots[i].arena, learn_import, m);
}

struct comparison {
	const struct model *m;
	size_t used, free;
};

static bool compare_segment(const struct arena_segment *s, void *arg)
{
	struct comparison *c = arg;
	const struct interval *u = &c->m->used.at[c->used];

	if (s->kind == ARENA_SEGMENT_USED) {
		CHECK_LT(c->used, c->m->used.count);
		CHECK_EQ(s->start, u->start);
		CHECK_EQ(s->size, u->size);
		c->used++;
	}
	c->free += s->kind == ARENA_SEGMENT_FREE;
	return true;
}

static void compare(const struct slot *s)
{
	struct comparison c = {.m = s->model};
	size_t total = model_amount(&s->model->spans), used = model_amount(&s->model->used);

	CHECK_EQ(arena_amt_total(s->arena), total);
	if (is_loose(s))
		return;
	CHECK_EQ(arena_amt_free(s->arena), total - used);
	arena_walk(s->arena, compare_segment, &c);
	CHECK_EQ(c.used, c.m->used.count);
	CHECK_EQ(c.free, model_gaps(c.m));
}

/* A request that was refused keeps no span. */
static void settle(void)
{
	for (size_t i = 0; i < OPERATION_ARENAS; i++)
		if (slots[i].arena)
			learn(&slots[i]);
	for (size_t i = 0; i < OPERATION_ARENAS; i++) {
		struct slot *s = &slots[i];

		if (!s->arena)
			continue;
		compare(s);
		if (refused && !is_loose(s))
			CHECK_LE(arena_amt_total(s->arena), s->total);
		s->total = arena_amt_total(s->arena);
	}
	refused = false;
}

static void check(void)
{
	for (size_t i = 0; i < OPERATION_ARENAS; i++)
		if (slots[i].arena)
			CHECK_EQ(arena_check(slots[i].arena, &console_sink), 0);
}

/* Create and destroy */

static struct arena *create(const struct operation *op, size_t cached)
{
	unsigned flags = operations_flags(op, true) & MEM_FLAGS;
	struct arena *from = op->source >= OPERATION_FROM ? operations_arena(op->source - OPERATION_FROM) :
							    kpages_arena;

	if (op->source == OPERATION_ALONE)
		return arena_create("operations", NULL, 0, op->quantum, NULL, NULL, NULL, cached, flags);
	if (op->source == OPERATION_SELF)
		return arena_create("operations", NULL, 0, op->quantum, make_span, unmake_span, ARENA_SELF_SOURCE,
			cached, flags);
	return arena_create(
		"operations", NULL, 0, op->quantum, arena_alloc, arena_free, from, cached, flags);
}

static void arena_begin(const struct operation *op, struct slot *s)
{
	size_t cached = op->size % 17 * op->quantum;
	struct arena *arena;

	if (s->arena || op->quantum == 0 || op->quantum > SIZE_LIMIT ||
		op->source >= OPERATION_FROM + OPERATION_ARENAS ||
		(op->source >= OPERATION_FROM && !operations_arena(op->source - OPERATION_FROM)))
		return;
	arena = create(op, cached);
	CHECK(arena || (operations_injected() && !(op->flags & MEM_WAIT)));
	if (!arena)
		return;
	*s = (struct slot){.arena = arena, .source = op->source, .is_cached = cached > 0};
	s->model = model_create(op->quantum);
}

static bool is_in_use(const struct slot *s)
{
	return has_child(s) || s->held_count > 0 || s->caches > 0;
}

static void arena_end(struct slot *s)
{
	bool busy = is_in_use(s);

	CHECK_EQ(arena_destroy(s->arena), busy ? -EBUSY : 0);
	if (busy)
		return;
	for (size_t i = 0; i < SELF_MAX; i++)
		CHECK(self_spans[i].arena != s->arena);
	model_destroy(s->model);
	s->arena = NULL;
}

/* Spans */

static bool overlaps(const struct model *m, uintptr_t start, size_t size)
{
	for (size_t i = 0; i < m->spans.count; i++)
		if (start + (size - 1) >= m->spans.at[i].start &&
			m->spans.at[i].start + (m->spans.at[i].size - 1) >= start)
			return true;
	return false;
}

/* What arena_add() must answer; *first and *inside: what it adds. */
static int expected_add(const struct slot *s, uintptr_t start, size_t size, uintptr_t *first, size_t *inside)
{
	size_t q = s->model->quantum, off = start % q ? q - start % q : 0;

	if (imports(s))
		return -EBUSY;
	if (size == 0)
		return -EINVAL;
	if (start + (size - 1) < start)
		return -ERANGE;
	if (start == 0)
		return -EDOM;
	if (overlaps(s->model, start, size))
		return -EEXIST;
	if (size <= off || (size - off) / q == 0)
		return -EINVAL;
	*first = start + off;
	*inside = (size - off) / q * q;
	return 0;
}

static void add(const struct operation *op, struct slot *s)
{
	size_t inside = 0;
	uintptr_t first = 0;
	int expected = expected_add(s, op->min, op->size, &first, &inside), got;

	got = arena_add(s->arena, (void *)op->min, op->size, operations_flags(op, true) & MEM_FLAGS);
	/* Which of two reasons it gives is left open. */
	if (got == -ENOMEM)
		CHECK(operations_injected() && !(op->flags & MEM_WAIT));
	else
		CHECK_EQ(got, expected);
	if (got == 0)
		model_add_span(s->model, first, inside, true);
}

/* Requests */

static bool is_constrained(const struct model_request *rq)
{
	return (rq->align > 1 && (rq->quantum % rq->align || rq->phase)) || rq->nocross || rq->min || rq->max;
}

/* What the arena must answer from what it holds, 0 if nothing serves; an instant fit takes any place, if it isn't
 * bound to a window. */
static uintptr_t oracle(const struct model *m, const struct model_request *rq, unsigned fit)
{
	if (fit == ARENA_HIGHFIT)
		return model_highest(m, rq);
	if (fit == ARENA_NEXTFIT)
		return model_next_lowest(m, rq);
	return is_constrained(rq) ? model_lowest(m, rq, 0) : model_best(m, rq->size);
}

static size_t gcd(size_t a, size_t b)
{
	return b ? gcd(b, a % b) : a;
}

/* Whether the arena can surely import what `size` units take; where constraints go down, or a source has too much
 * that is free to be looked at, it isn't known. */
static bool can_import(const struct slot *s, size_t size)
{
	const struct slot *from = &slots[(s->source - OPERATION_FROM) % OPERATION_ARENAS];
	size_t want = s->model->quantum, have, needed;
	bool has_room = false;

	for (size_t i = 0; i < SELF_MAX; i++)
		has_room |= !self_spans[i].arena;
	if (s->source < OPERATION_FROM)
		return s->source == OPERATION_SELF && has_room;
	have = from->model->quantum;
	needed = rounded(size + want - gcd(have, want), have);
	if (is_loose(from) || model_gaps(from->model) > LOOKS || (is_power(want) && is_power(have) && want > have))
		return false;
	return model_can_serve(from->model, needed) || can_import(from, needed);
}

/* Whether the constraints are no caller's bug. */
static bool is_sound(const struct operation *op, size_t quantum)
{
	return is_power(op->align) && is_power(op->nocross) && (!op->align ? op->phase == 0 : op->phase < op->align) &&
	       (!op->nocross || op->nocross >= op->size) && (!op->max || op->min <= op->max) &&
	       (is_power(quantum) || (op->align <= 1 && !op->nocross));
}

static uintptr_t ask(const struct operation *op, struct arena *arena, unsigned flags)
{
	if (op->kind == OP_ARENA_ALLOC)
		return (uintptr_t)arena_alloc(arena, op->size, flags);
	return (uintptr_t)arena_xalloc(arena, op->size, op->align, op->phase, op->nocross, op->min, op->max, flags);
}

static void hold(struct slot *s, uintptr_t start, const struct operation *op, unsigned fit)
{
	s->held[s->held_count++] = (struct held){start, op->size, op->kind == OP_ARENA_XALLOC};
	if (fit == ARENA_NEXTFIT) {
		s->model->next_begun = true;
		s->model->next_last = start + (rounded(op->size, s->model->quantum) - 1);
	}
}

static struct model_request request(const struct operation *op, size_t quantum)
{
	struct model_request rq = {.size = rounded(op->size, quantum), .quantum = quantum};

	if (op->kind == OP_ARENA_XALLOC) {
		rq.align = op->align;
		rq.phase = op->phase;
		rq.nocross = op->nocross;
		rq.min = op->min;
		rq.max = op->max;
	}
	return rq;
}

/* Holds an answer against what the model says; `expected`: what serves of what the arena holds, 0: nothing, or not
 * known.  A failure that was injected leaves open whether it is served, and where. */
static void judge(const struct slot *s, const struct model_request *rq, unsigned flags, uintptr_t expected,
	bool imported, uintptr_t got)
{
	bool misses = (flags & MEM_ATOMIC) && model_gaps(s->model) > LOOKS;
	bool is_sure = expected && !misses && !operations_injected();

	if (is_sure || (imported && !operations_injected()) || (flags & MEM_WAIT))
		CHECK_NE(got, 0);
	/* What importers retain comes back for a request that sleeps. */
	if (!expected && !imports(s) && !is_loose(s) && !((flags & MEM_ERROR) && has_child(s)))
		CHECK_EQ(got, 0);
	if (got)
		CHECK(model_satisfies(rq, got));
	if (is_sure && ((flags & ARENA_FITS) || rq->min || rq->max))
		CHECK_EQ(got, expected);
}

static void alloc(const struct operation *op, struct slot *s)
{
	struct model_request rq = request(op, s->model->quantum);
	unsigned fit = operations_flags(op, true) & ARENA_FITS, flags;
	uintptr_t expected, got;
	bool imported;

	if (s->held_count == HELD_MAX || op->size == 0 || op->size > SIZE_LIMIT ||
		(op->kind == OP_ARENA_XALLOC && !is_sound(op, rq.quantum)))
		return;
	expected = is_loose(s) ? 0 : oracle(s->model, &rq, fit);
	imported = op->kind == OP_ARENA_ALLOC && can_import(s, rq.size);
	flags = operations_flags(op, expected || imported);
	got = ask(op, s->arena, flags);
	judge(s, &rq, flags, expected, imported, got);
	refused = got == 0;
	if (got)
		hold(s, got, op, fit);
}

static void free_held(struct slot *s, size_t i)
{
	struct held h = s->held[i];

	s->held[i] = s->held[--s->held_count];
	(h.by_xalloc ? arena_xfree : arena_free)(s->arena, (void *)h.start, h.size);
}

static void operate(const struct operation *op)
{
	struct slot *s = &slots[op->on % OPERATION_ARENAS];

	if (op->kind == OP_ARENA_CREATE)
		arena_begin(op, s);
	else if (!s->arena)
		return;
	else if (op->kind == OP_ARENA_DESTROY)
		arena_end(s);
	else if (op->kind == OP_ARENA_ADD)
		add(op, s);
	else if (op->kind == OP_ARENA_ALLOC || op->kind == OP_ARENA_XALLOC)
		alloc(op, s);
	else if (op->kind == OP_ARENA_FREE && s->held_count > 0)
		free_held(s, op->nth % s->held_count);
	else if (op->kind == OP_ARENA_REAP)
		arena_reap(s->arena, op->size);
	else if (op->kind == OP_ARENA_INDEX)
		arena_index(s->arena);
}

static void begin(void)
{
	memset(slots, 0, sizeof(slots));
	memset(self_spans, 0, sizeof(self_spans));
	self_next = SELF_FIRST;
	refused = false;
}

/* Those that import go before their sources. */
static void end(void)
{
	for (size_t pass = 0; pass < OPERATION_ARENAS; pass++)
		for (size_t i = 0; i < OPERATION_ARENAS; i++) {
			struct slot *s = &slots[i];

			while (s->arena && s->held_count > 0)
				free_held(s, s->held_count - 1);
			if (s->arena && !is_in_use(s))
				arena_end(s);
		}
	for (size_t i = 0; i < OPERATION_ARENAS; i++)
		CHECK(!slots[i].arena);
}

const struct operation_family operations_on_arenas = {begin, operate, settle, check, end};
