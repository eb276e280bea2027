/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on arenas, each answer held against the model.
 */
#include "model.h"

#include "arena.h"
#include "test.h"

/*
 * A chain of arenas, each importing from the one before, all of them also used directly.  What moves
 * between them passes through a pair of functions that tells the models.
 */
#define LEVELS_MAX 4

struct level {
	struct arena *arena;
	struct model *model;
};

static struct level chain[LEVELS_MAX];
static size_t levels;

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

/* What an import of `size` by level i asks its source for. */
static size_t import_size(size_t i, size_t size)
{
	size_t have = chain[i - 1].model->quantum, want = chain[i].model->quantum;

	return round_up(size + want - gcd(have, want), have);
}

static bool can_serve(size_t i, size_t size)
{
	return model_can_serve(chain[i].model, size) ||
	       (i > 0 && can_serve(i - 1, import_size(i, size)));
}

static void *import(struct arena *source, size_t size, unsigned flags)
{
	struct level *from = &chain[level_of(source)], *to = from + 1;
	uintptr_t start = (uintptr_t)arena_alloc(source, size, flags);

	if (start == 0)
		return NULL;
	CHECK_EQ(size % from->model->quantum, 0);
	model_alloc(from->model, start, size);

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
	l->arena = arena_create("test", NULL, 0, quantum, source ? import : NULL,
		source ? give_back : NULL, source, 0, MEM_WAIT);
	levels++;
}

static void chain_free_all(size_t i)
{
	struct intervals *used = &chain[i].model->used;

	while (used->count > 0) {
		struct interval u = used->at[used->count - 1];

		model_free(chain[i].model, u.start, u.size);
		arena_free(chain[i].arena, (void *)u.start, u.size);
	}
}

static void chain_destroy(void)
{
	for (size_t i = levels; i-- > 0;) {
		chain_free_all(i);
		CHECK_EQ(arena_check(chain[i].arena, &console_sink), 0);
		CHECK_EQ(arena_destroy(chain[i].arena), 0);
		model_destroy(chain[i].model);
	}
	levels = 0;
}

/* The root's spans: three, of odd sizes, at odd places; the last ends at the end of all integers. */
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

static void random_alloc(size_t i)
{
	static const unsigned fits[] = {ARENA_INSTANTFIT, ARENA_BESTFIT, ARENA_NEXTFIT};
	struct level *l = &chain[i];
	unsigned fit = fits[test_random_below(3)];
	size_t size = random_size(l->model->quantum), units = round_up(size, l->model->quantum);
	bool held = model_can_serve(l->model, units), possible = can_serve(i, units);
	uintptr_t best = model_best(l->model, units), next = model_next(l->model, units);
	uintptr_t r = (uintptr_t)arena_alloc(l->arena, size, MEM_ATOMIC | fit);

	CHECK_EQ(r != 0, possible);
	if (r == 0)
		return;
	if (held && fit == ARENA_BESTFIT)
		CHECK_EQ(r, best);
	if (held && fit == ARENA_NEXTFIT)
		CHECK_EQ(r, next);
	model_alloc(l->model, r, units);
	if (fit == ARENA_NEXTFIT) {
		l->model->next_begun = true;
		l->model->next_last = r + (units - 1);
	}
}

/* Only what the level's own callers hold: what a level above imported isn't theirs to free. */
static bool is_import(size_t i, uintptr_t start)
{
	const struct model *above = i + 1 < levels ? chain[i + 1].model : NULL;

	for (size_t s = 0; above && s < above->spans.count; s++) {
		uintptr_t span = above->spans.at[s].start;

		if (span >= start && span - start < above->quantum)
			return true;
	}
	return false;
}

static void random_free(size_t i)
{
	struct level *l = &chain[i];
	struct interval u;

	if (l->model->used.count == 0)
		return;
	u = l->model->used.at[test_random_below(l->model->used.count)];
	if (is_import(i, u.start))
		return;
	model_free(l->model, u.start, u.size);
	arena_free(l->arena, (void *)u.start, u.size);
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
			random_alloc(i);
		else
			random_free(i);
		if (n % 256 == 0)
			compare_amounts(i);
	}
}

static void random_test(const size_t *quanta, size_t n)
{
	levels = 0;
	for (size_t i = 0; i < n; i++) {
		chain_add(quanta[i], i ? chain[i - 1].arena : NULL);
		if (i == 0)
			chain_root_spans(200 * n);
	}
	run_chain(test_ops(100000));
	chain_destroy();
}

#define RANDOM_TEST(text, ...)                                                                     \
	TEST("arena: random operations match the model, " text)                                    \
	{                                                                                          \
		static const size_t quanta[] = {__VA_ARGS__};                                      \
                                                                                                   \
		random_test(quanta, sizeof(quanta) / sizeof(quanta[0]));                           \
	}

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
