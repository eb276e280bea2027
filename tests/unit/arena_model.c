/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on arenas, each answer held against the model.
 */
#include "model.h"

#include "arena.h"
#include "lib/test.h"

/*
 * A chain of arenas, each importing from the one before, all of them also used directly.  In one
 * kind of chain what moves between them passes through a pair of functions of ours, which tell the
 * models, and which the arenas take for translations; in the other they import by arena_alloc(),
 * constraints go down the chain where quanta are powers of two, and the models learn from the
 * arenas' spans what has moved.
 */
#define LEVELS_MAX 4

struct level {
	struct arena *arena;
	struct model *model;
	uint64_t moved; /* imports and returns that the models know of */
};

static struct level chain[LEVELS_MAX];
static size_t levels;
static bool passes_down;

static size_t level_of(const struct arena *a)
{
	for (size_t i = 0; i < levels; i++)
		if (chain[i].arena == a)
			return i;
	test_fail(__FILE__, __LINE__, "an arena that isn't in the chain");
}

static size_t round_up(size_t n, size_t quantum)
{
	return (n + quantum - 1) / quantum * quantum;
}

static size_t gcd(size_t a, size_t b)
{
	return b ? gcd(b, a % b) : a;
}

static bool is_power(size_t n)
{
	return (n & (n - 1)) == 0;
}

/* Whether constraints go down from level i to the one below it. */
static bool passes(size_t i)
{
	return passes_down && is_power(chain[i].model->quantum) && is_power(chain[i - 1].model->quantum);
}

/* Whether they go down from level i to the root. */
static bool passes_to_root(size_t i)
{
	for (; i > 0; i--)
		if (!passes(i))
			return false;
	return true;
}

/* What an import of `size` by level i asks its source for. */
static size_t import_size(size_t i, size_t size)
{
	size_t have = chain[i - 1].model->quantum, want = chain[i].model->quantum;

	return round_up(size + want - gcd(have, want), have);
}

static void *import(struct arena *source, size_t size, unsigned flags)
{
	struct level *from = &chain[level_of(source)], *to = from + 1;
	uintptr_t start = (uintptr_t)arena_alloc(source, size, flags);

	if (start == 0)
		return NULL;
	CHECK_EQ(size % from->model->quantum, 0);
	model_alloc(from->model, start, size)->foreign = true;

	uintptr_t first = round_up(start, to->model->quantum);
	size_t inside = (start + size - first) / to->model->quantum * to->model->quantum;

	model_add_span(to->model, first, inside, false);
	return (void *)start;
}

static void give_back(struct arena *source, void *addr, size_t size)
{
	struct level *from = &chain[level_of(source)], *to = from + 1;

	model_remove_span(to->model, round_up((uintptr_t)addr, to->model->quantum));
	model_free(from->model, (uintptr_t)addr, size);
	arena_free(source, addr, size);
}

static void chain_add(size_t quantum, struct arena *source)
{
	struct level *l = &chain[levels];

	l->model = model_create(quantum);
	l->moved = 0;
	if (source && passes_down)
		l->arena = arena_create(
			"test", NULL, 0, quantum, arena_alloc, arena_free, source, 0, MEM_WAIT);
	else
		l->arena = arena_create("test", NULL, 0, quantum, source ? import : NULL,
			source ? give_back : NULL, source, 0, MEM_WAIT);
	levels++;
}

/* The models learn what has moved */

static void forget_foreign(struct model *m)
{
	for (size_t u = m->used.count; u-- > 0;)
		if (m->used.at[u].foreign)
			model_free(m, m->used.at[u].start, m->used.at[u].size);
}

/* One of level *arg's spans: used in the level below. */
static bool learn_span(const struct arena_segment *s, void *arg)
{
	size_t i = *(size_t *)arg;
	struct model *m = chain[i].model;
	uintptr_t first = round_up(s->start, m->quantum);
	size_t inside = (s->start + (s->size - 1) - first + 1) / m->quantum * m->quantum;

	if (s->kind != ARENA_SEGMENT_SPAN)
		return true;
	m->spans.at[m->spans.count++] = (struct interval){.start = first, .size = inside};
	model_alloc(chain[i - 1].model, s->start, s->size)->foreign = true;
	return true;
}

static void learn(void)
{
	bool moved = false;

	for (size_t i = 1; passes_down && i < levels; i++) {
		struct arena_stats s;

		arena_get_stats(chain[i].arena, &s);
		moved |= s.imports + s.returns != chain[i].moved;
		chain[i].moved = s.imports + s.returns;
	}
	if (!moved)
		return;
	for (size_t i = 0; i < levels; i++)
		forget_foreign(chain[i].model);
	for (size_t i = 1; i < levels; i++) {
		chain[i].model->spans.count = 0;
		arena_walk(chain[i].arena, learn_span, &i);
	}
}

static void give(size_t i, struct interval u)
{
	model_free(chain[i].model, u.start, u.size);
	if (u.xallocated)
		arena_xfree(chain[i].arena, (void *)u.start, u.size);
	else
		arena_free(chain[i].arena, (void *)u.start, u.size);
	learn();
}

static void chain_free_all(size_t i)
{
	struct intervals *used = &chain[i].model->used;

	while (used->count > 0) {
		struct interval u = used->at[used->count - 1];

		give(i, u);
	}
}

static void chain_destroy(void)
{
	for (size_t i = levels; i-- > 0;) {
		chain_free_all(i);
		CHECK_EQ(arena_check(chain[i].arena, &console_sink), 0);
		CHECK_EQ(arena_destroy(chain[i].arena), 0);
		if (i > 0)
			forget_foreign(chain[i - 1].model);
		model_destroy(chain[i].model);
	}
	levels = 0;
}

/* The root's spans: three, of odd sizes, at odd places; the last ends at the end of all integers.
 */
static void chain_root_spans(size_t units)
{
	struct level *root = &chain[0];
	uintptr_t starts[] = {round_up(12345, root->model->quantum), (uintptr_t)1 << 40,
		-(units * root->model->quantum)};

	for (int i = 0; i < 3; i++) {
		size_t size = units * root->model->quantum + (i == 1 ? root->model->quantum / 2 : 0);
		uintptr_t first = round_up(starts[i], root->model->quantum);
		size_t inside = (starts[i] + (size - 1) - first + 1) / root->model->quantum *
				root->model->quantum;

		CHECK_EQ(arena_add(root->arena, (void *)starts[i], size, MEM_WAIT), 0);
		model_add_span(root->model, first, inside, true);
	}
}

/* Mostly small, now and then large: both keep the arena in pieces. */
static size_t random_size(size_t quantum)
{
	size_t quanta = 1 + test_random_below(test_random_below(8) ? 6 : 80);

	return (quanta - 1) * quantum + 1 + test_random_below(quantum);
}

/* Whether an atomic request may be refused though something serves, since it has no index: among
 * more free segments than it looks at. */
#define LOOKS 64

static bool may_miss(size_t i)
{
	return model_gaps(chain[i].model) > LOOKS || (i > 0 && may_miss(i - 1));
}

static void note(size_t i, uintptr_t r, size_t units, unsigned flags, bool xallocated)
{
	struct level *l = &chain[i];

	if (flags & ARENA_NEXTFIT) {
		l->model->next_begun = true;
		l->model->next_last = r + (units - 1);
	}
	learn();
	model_alloc(l->model, r, units)->xallocated = xallocated;
}

static unsigned random_flags(void)
{
	static const unsigned fits[] = {ARENA_INSTANTFIT, ARENA_BESTFIT, ARENA_NEXTFIT};

	return (test_random_below(4) ? MEM_ERROR : MEM_ATOMIC) | fits[test_random_below(3)];
}

/* What level i must answer: from what it holds, else, where constraints go down, from those below
 * it, in which the span must be whole quanta of every level between. */
static uintptr_t oracle(size_t i, const struct model_request *wanted, unsigned flags, bool *held)
{
	struct model_request rq = *wanted;
	uintptr_t r = flags & ARENA_NEXTFIT ? model_next_lowest(chain[i].model, &rq) :
					      model_lowest(chain[i].model, &rq, 0);

	*held = r != 0;
	for (size_t j = i; r == 0 && j > 0 && passes(j);) {
		j--;
		if (j + 1 < i)
			rq.clips[rq.clip_count++] = chain[j + 1].model->quantum;
		r = model_lowest(chain[j].model, &rq, 0);
	}
	return r;
}

/* Whether the level asks its source for spans aligned to its quantum. */
static bool imports_aligned(size_t i)
{
	size_t have = chain[i - 1].model->quantum, want = chain[i].model->quantum;

	return passes(i) && want > have;
}

static bool can_serve(size_t i, size_t size)
{
	struct model_request rq = {.size = size, .quantum = chain[i].model->quantum};
	bool held;

	if (model_can_serve(chain[i].model, size))
		return true;
	if (i == 0)
		return false;
	return imports_aligned(i) ? oracle(i, &rq, 0, &held) != 0 : can_serve(i - 1, import_size(i, size));
}

static void random_alloc(size_t i)
{
	struct level *l = &chain[i];
	unsigned flags = random_flags();
	size_t size = random_size(l->model->quantum), units = round_up(size, l->model->quantum);
	bool held = model_can_serve(l->model, units), possible = can_serve(i, units);
	uintptr_t best = model_best(l->model, units), next = model_next(l->model, units);
	bool misses;
	uintptr_t r;

	/* A request by MEM_ERROR that is refused has spans given back, of which the model knows nothing. */
	if (!possible)
		flags ^= flags & MEM_ERROR ? MEM_ERROR | MEM_ATOMIC : 0;
	misses = (flags & MEM_ATOMIC) && may_miss(i);
	r = (uintptr_t)arena_alloc(l->arena, size, flags);
	if (!misses)
		CHECK_EQ(r != 0, possible);
	if (r == 0)
		return;
	if (held && (flags & ARENA_BESTFIT) && !misses)
		CHECK_EQ(r, best);
	if (held && (flags & ARENA_NEXTFIT) && !misses)
		CHECK_EQ(r, next);
	note(i, r, units, flags, false);
}

/* Constraints */

static size_t power_below(size_t n)
{
	return (size_t)1 << test_random_below(n);
}

/* A window near something that is there: from exact addresses to wide ones. */
static void random_window(const struct model *m, struct model_request *rq)
{
	const struct intervals *v = m->used.count && test_random_below(2) ? &m->used : &m->spans;
	size_t quantum = rq->quantum;

	if (v->count == 0)
		return;

	const struct interval *u = &v->at[test_random_below(v->count)];
	uintptr_t at = test_random_below(2) ? u->start : u->start + (u->size - 1) + 1;
	size_t off = test_random_below(4) * quantum, width = rq->size;

	at = test_random_below(2) ? at + off : at - off - rq->size;
	width += test_random_below(3) ? test_random_below(40 * quantum) : 0;
	rq->min = test_random_below(4) ? at : 0;
	rq->max = test_random_below(4) ? at + width : 0;
	if (rq->max && rq->min > rq->max)
		rq->max = 0;
}

static struct model_request random_constraints(const struct model *m, size_t units, size_t size)
{
	struct model_request rq = {.size = units, .quantum = m->quantum};
	unsigned bits = 0;

	while (m->quantum >> bits > 1)
		bits++;
	if (is_power(m->quantum) && test_random_below(3)) {
		rq.align = power_below(bits + 6);
		rq.phase = test_random_below(2) ? 0 : test_random_below(rq.align);
		if (test_random_below(2))
			rq.phase -= rq.phase % m->quantum;
	}
	if (is_power(m->quantum) && test_random_below(3) == 0) {
		rq.nocross = 1;
		while (rq.nocross < size)
			rq.nocross *= 2;
		rq.nocross <<= test_random_below(3);
	}
	if (test_random_below(2))
		random_window(m, &rq);
	return rq;
}

/* Whether a constraint says anything. */
static bool is_constrained(const struct model_request *rq)
{
	return (rq->align && rq->quantum % rq->align) || rq->nocross || rq->min || rq->max;
}

/* Whether no other place than the lowest is right: in a window, or by a fit of what the arena holds.  A source is
 * asked for any place. */
static bool is_exact(const struct model_request *rq, unsigned flags, bool held)
{
	return (held && (flags & ARENA_FITS)) || rq->min || rq->max;
}

static void random_xalloc(size_t i)
{
	struct level *l = &chain[i];
	unsigned flags = random_flags();
	size_t size = random_size(l->model->quantum), units = round_up(size, l->model->quantum);
	struct model_request rq = random_constraints(l->model, units, size);
	bool held, misses;
	uintptr_t expected = oracle(i, &rq, flags, &held), r;

	if (!expected)
		flags ^= flags & MEM_ERROR ? MEM_ERROR | MEM_ATOMIC : 0;
	misses = (flags & MEM_ATOMIC) && may_miss(i);
	r = (uintptr_t)arena_xalloc(l->arena, size, rq.align, rq.phase, rq.nocross, rq.min, rq.max, flags);

	if (expected && !misses)
		CHECK_NE(r, 0);
	if (!expected && passes_to_root(i))
		CHECK_EQ(r, 0);
	if (r == 0)
		return;
	CHECK(model_satisfies(&rq, r));
	if (expected && !misses && is_constrained(&rq) && is_exact(&rq, flags, held))
		CHECK_EQ(r, expected);
	note(i, r, units, flags, true);
}

static void random_free(size_t i)
{
	struct level *l = &chain[i];
	struct interval u;

	if (l->model->used.count == 0)
		return;
	u = l->model->used.at[test_random_below(l->model->used.count)];
	/* Only what the level's own callers hold. */
	if (!u.foreign)
		give(i, u);
}

static void compare_amounts(size_t i)
{
	struct level *l = &chain[i];
	size_t total = model_amount(&l->model->spans), used = model_amount(&l->model->used);

	CHECK_EQ(arena_amt_total(l->arena), total);
	CHECK_EQ(arena_amt_free(l->arena), total - used);
	CHECK_EQ(arena_check(l->arena, &console_sink), 0);
}

static void run_chain(size_t ops)
{
	for (size_t n = 0; n < ops; n++) {
		size_t i = test_random_below(levels);
		/* Tides: long runs that fill and long runs that empty. */
		bool fills = n / 512 % 3 != 2;

		if (test_random_below(8) < (fills ? 5u : 2u))
			test_random_below(2) ? random_alloc(i) : random_xalloc(i);
		else
			random_free(i);
		if (n % 256 == 0)
			compare_amounts(i);
	}
}

static void random_test(const size_t *quanta, size_t n, bool down)
{
	levels = 0;
	passes_down = down;
	for (size_t i = 0; i < n; i++) {
		chain_add(quanta[i], i ? chain[i - 1].arena : NULL);
		if (i == 0)
			chain_root_spans(200 * n);
	}
	run_chain(test_ops(100000));
	chain_destroy();
}

#define RANDOM_TEST_OF(text, down, ...)                                                            \
	TEST("arena: random operations match the model, " text)                                    \
	{                                                                                          \
		static const size_t quanta[] = {__VA_ARGS__};                                      \
                                                                                                   \
		random_test(quanta, sizeof(quanta) / sizeof(quanta[0]), down);                     \
	}

#define RANDOM_TEST(text, ...) RANDOM_TEST_OF(text, false, __VA_ARGS__)
#define PASSING_TEST(text, ...) RANDOM_TEST_OF("down, " text, true, __VA_ARGS__)

RANDOM_TEST("quantum 1", 1)
RANDOM_TEST("quantum 3", 3)
RANDOM_TEST("quantum 7", 7)
RANDOM_TEST("quantum 16", 16)
RANDOM_TEST("quantum 4096", 4096)
RANDOM_TEST("1 from 4096", 4096, 1)
RANDOM_TEST("3 from 7", 7, 3)
RANDOM_TEST("7 from 3 from 1", 1, 3, 7)
RANDOM_TEST("16 from 7 from 4096 from 16", 16, 4096, 7, 16)
RANDOM_TEST("4096 from 16 from 3", 3, 16, 4096)
PASSING_TEST("16 from 4096", 4096, 16)
PASSING_TEST("16 from 4096 from 64", 64, 4096, 16)
PASSING_TEST("64 from 8 from 1", 1, 8, 64)
PASSING_TEST("3 from 7", 7, 3)
PASSING_TEST("12 from 8 from 3", 3, 8, 12)
PASSING_TEST("16 from 7 from 4096 from 16", 16, 4096, 7, 16)
PASSING_TEST("1 from 6 from 4 from 9", 9, 4, 6, 1)
