/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rules of arenas: what a refusal costs, what an atomic request may count on, where high fit takes
 * from, and when an index comes and goes.
 */
#include "arena.h"
#include "arena/arena_impl.h"
#include "arenas.h"
#include "kthread.h"
#include "model.h"
#include "lib/test.h"
#include "threads.h"

/* Refusals */

#define DEPTH_MAX 8

/* chain[0] has spans, the others import, each from the one before. */
static struct arena *chain[1 + DEPTH_MAX];

static void chain_make(size_t depth, const size_t *quanta)
{
	chain[0] = arenas_root(quanta[0], 64);
	for (size_t i = 1; i <= depth; i++)
		chain[i] = arenas_importer("above", chain[i - 1], quanta[i]);
}

/* Asks the last arena for a quantum that the first one doesn't have.  The last returns NULL once,
 * and each of the others as often as the first, once for each attempt. */
static void check_refused(size_t depth, unsigned flags, uint64_t attempts_max)
{
	uint64_t before[1 + DEPTH_MAX], attempts;

	for (size_t i = 0; i <= depth; i++)
		before[i] = arenas_stats(chain[i]).failures;
	CHECK_EQ((uintptr_t)arena_alloc(chain[depth], 1, flags), 0);
	attempts = arenas_stats(chain[0]).failures - before[0];
	CHECK_LE(1, attempts);
	CHECK_LE(attempts, attempts_max);
	for (size_t i = 0; i < depth; i++)
		CHECK_EQ(arenas_stats(chain[i]).failures - before[i], attempts);
	CHECK_EQ(arenas_stats(chain[depth]).failures - before[depth], 1);
}

static void check_chains(const size_t *quanta)
{
	for (size_t depth = 1; depth <= DEPTH_MAX; depth++) {
		size_t all = 64 * quanta[0];
		void *p;

		chain_make(depth, quanta);
		p = arena_alloc(chain[0], all, MEM_ATOMIC);
		check_refused(depth, MEM_ATOMIC, 1);
		check_refused(depth, MEM_ATOMIC | ARENA_BESTFIT, 1);
		check_refused(depth, MEM_ERROR, UINT64_MAX);
		arena_free(chain[0], p, all);
		for (size_t i = depth + 1; i-- > 0;)
			arenas_end(chain[i]);
	}
}

TEST("rules: a failing request counts one refusal for each attempt in each arena")
{
	static const size_t same[1 + DEPTH_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1};

	check_chains(same);
}

TEST("rules: the same where quanta differ")
{
	static const size_t rising[1 + DEPTH_MAX] = {1, 2, 4, 8, 16, 32, 32, 64, 64};
	static const size_t mixed[1 + DEPTH_MAX] = {16, 1, 8, 4, 32, 2, 16, 3, 1};

	check_chains(rising);
	check_chains(mixed);
}

/* Alignments in turn */

#define LOCATIONS 4096 /* free units */
#define STRIDE 3 /* between them: odd, so that an eighth of them has each phase */
#define PHASES 8

/* Which of the free units are in use. */
static bool in_use[LOCATIONS];

static struct arena *units_apart(size_t n)
{
	struct arena *a = arenas_ids(1, STRIDE * n);

	for (uintptr_t i = 0; i < n; i++) {
		CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ATOMIC | ARENA_NEXTFIT), 1 + STRIDE * i);
		CHECK_EQ((uintptr_t)arena_alloc(a, STRIDE - 1, MEM_ATOMIC | ARENA_NEXTFIT), 2 + STRIDE * i);
	}
	for (uintptr_t i = 0; i < n; i++)
		arena_free(a, (void *)(1 + STRIDE * i), 1);
	return a;
}

static void units_apart_end(struct arena *a, size_t n)
{
	for (uintptr_t i = 0; i < n; i++)
		arena_free(a, (void *)(2 + STRIDE * i), STRIDE - 1);
	arenas_end(a);
}

/* Thread i's constraint is no other's: one of PHASES phases, and a nocross that one unit can't
 * cross. */
static void take_aligned(unsigned i, void *arg)
{
	struct arena *a = arg;
	size_t phase = i % PHASES, nocross = i < PHASES ? 0 : (size_t)1 << (i / PHASES);

	for (size_t n = test_ops(20000); n > 0; n--) {
		uintptr_t r = (uintptr_t)arena_xalloc(a, 1, PHASES, phase, nocross, 0, 0, MEM_ERROR);

		CHECK_NE(r, 0);
		CHECK_EQ(r % PHASES, phase);
		CHECK_EQ((r - 1) % STRIDE, 0);
		CHECK(!__atomic_exchange_n(&in_use[(r - 1) / STRIDE], true, __ATOMIC_RELAXED));
		if (n % 16 == 0)
			kthread_yield();
		__atomic_store_n(&in_use[(r - 1) / STRIDE], false, __ATOMIC_RELAXED);
		arena_xfree(a, (void *)r, 1);
		test_end_if_failed();
	}
}

static void check_threads(unsigned threads)
{
	struct arena *a = units_apart(LOCATIONS);

	threads_run(THREADS_PINNED, threads, take_aligned, a);
	units_apart_end(a, LOCATIONS);
}

TEST("rules: 4 threads with as many alignments all get on")
{
	check_threads(4);
}

TEST("rules: 5 threads with as many alignments all get on")
{
	check_threads(5);
}

TEST("rules: 8 threads with as many alignments all get on")
{
	check_threads(8);
}

TEST("rules: 32 threads with as many alignments all get on")
{
	check_threads(32);
}

/* Atomic requests without an index */

/* Takes n single units that lie apart, and no more than that. */
static void check_atomic(size_t n, unsigned fit)
{
	struct arena *a = units_apart(n);

	for (size_t i = 0; i < n; i++) {
		uintptr_t r = (uintptr_t)arena_alloc(a, 1, MEM_ATOMIC | fit);

		CHECK_NE(r, 0);
		CHECK_EQ((r - 1) % STRIDE, 0);
	}
	CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ATOMIC | fit), 0);
	CHECK_EQ(arenas_stats(a).index_bytes, 0);
	for (uintptr_t i = 0; i < n; i++)
		arena_free(a, (void *)(1 + STRIDE * i), 1);
	units_apart_end(a, n);
}

TEST("rules: an atomic best fit without an index is served where any fit serves")
{
	check_atomic(40, ARENA_BESTFIT);
	check_atomic(1000, ARENA_BESTFIT);
}

TEST("rules: an atomic next fit without an index is served where any fit serves")
{
	check_atomic(1000, ARENA_NEXTFIT);
}

TEST("rules: an atomic high fit without an index is served where any fit serves")
{
	check_atomic(1000, ARENA_HIGHFIT);
}

#define APART 400
#define MIDDLE ((uintptr_t)1 + STRIDE * (APART / 2))

/* The unit in the middle alone, which was freed neither among the first nor among the last. */
static void *take_middle(struct arena *a, unsigned flags)
{
	return arena_xalloc(a, 1, 0, 0, 0, MIDDLE, MIDDLE + 1, flags);
}

TEST("rules: a window refused to an atomic request is served after arena_index()")
{
	struct arena *a = units_apart(APART);

	CHECK_EQ((uintptr_t)take_middle(a, MEM_ATOMIC), 0);
	CHECK_EQ(arenas_stats(a).failures_by[ARENA_FAILURE_INDEX], 1);
	CHECK(arena_index(a));
	CHECK_EQ((uintptr_t)take_middle(a, MEM_ATOMIC), MIDDLE);
	arena_xfree(a, (void *)MIDDLE, 1);
	units_apart_end(a, APART);
}

static struct arena *poked;

static void note_poke(struct arena *a)
{
	poked = a;
}

TEST("rules: a window that was refused is served once reclaim has built the index")
{
	struct arena *a = units_apart(APART);
	void (*poke)(struct arena *) = arena_poke;
	void *p;

	poked = NULL;
	arena_poke = note_poke;
	p = take_middle(a, MEM_ATOMIC);
	arena_poke = poke;
	CHECK_EQ((uintptr_t)p, 0);
	CHECK(poked == a);
	CHECK(arena_indexes_build(a));
	CHECK_EQ((uintptr_t)take_middle(a, MEM_ATOMIC), MIDDLE);
	arena_xfree(a, (void *)MIDDLE, 1);
	units_apart_end(a, APART);
}

/* Random arenas against the model */

#define QUANTUM 16
#define SPANS 4
#define SPAN_QUANTA 512
#define SPAN_DISTANCE 1024 /* quanta from one to the next */

static struct {
	struct arena *source, *arena; /* source: NULL, or where all of the arena's spans are from */
	struct model *model;
} rig;

static uintptr_t quanta(uintptr_t n)
{
	return n * QUANTUM;
}

/* Takes all of the next span of the source, which is one quantum there: one of ours stays in use,
 * so that it doesn't go back. */
static void span_import(void)
{
	uintptr_t kept = (uintptr_t)arena_alloc(rig.arena, QUANTUM, MEM_ATOMIC);
	uintptr_t rest = (uintptr_t)arena_alloc(rig.arena, quanta(SPAN_QUANTA - 1), MEM_ATOMIC);

	CHECK(kept && rest);
	model_alloc(rig.model, kept, QUANTUM)->foreign = true;
	model_alloc(rig.model, rest, quanta(SPAN_QUANTA - 1));
}

static void rig_make(bool imports)
{
	size_t quantum = imports ? quanta(SPAN_QUANTA) : QUANTUM;
	struct arena *own = arena_create("rules", NULL, 0, quantum, NULL, NULL, NULL, 0, MEM_WAIT);

	rig.source = imports ? own : NULL;
	rig.arena = imports ? arenas_importer("rules above", own, QUANTUM) : own;
	rig.model = model_create(QUANTUM);
	for (uintptr_t i = 1; i <= SPANS; i++) {
		uintptr_t start = quanta(SPAN_DISTANCE * i + (imports ? 0 : i));

		CHECK_EQ(arena_add(own, (void *)start, quanta(SPAN_QUANTA), MEM_WAIT), 0);
		model_add_span(rig.model, start, quanta(SPAN_QUANTA), false);
	}
	for (size_t i = 0; imports && i < SPANS; i++)
		span_import();
}

static void give(size_t k)
{
	struct interval u = rig.model->used.at[k];

	model_free(rig.model, u.start, u.size);
	if (u.xallocated)
		arena_xfree(rig.arena, (void *)u.start, u.size);
	else
		arena_free(rig.arena, (void *)u.start, u.size);
}

static void rig_end(void)
{
	while (rig.model->used.count > 0)
		give(rig.model->used.count - 1);
	arenas_end(rig.arena);
	if (rig.source)
		arenas_end(rig.source);
	model_destroy(rig.model);
}

static void random_give(void)
{
	size_t k = test_random_below(rig.model->used.count + 1);

	if (k < rig.model->used.count && !rig.model->used.at[k].foreign)
		give(k);
}

static size_t random_size(void)
{
	return quanta(1 + test_random_below(test_random_below(4) ? 4 : 30));
}

static void random_window(struct model_request *rq)
{
	uintptr_t span = 1 + test_random_below(SPANS);
	uintptr_t at = quanta(SPAN_DISTANCE * span) + test_random_below(quanta(SPAN_QUANTA));

	rq->min = test_random_below(4) ? at : 0;
	rq->max = test_random_below(4) || !rq->min ? at + rq->size + test_random_below(quanta(60)) : 0;
}

static void note(const struct model_request *rq, uintptr_t r, bool xallocated, unsigned fit)
{
	model_alloc(rig.model, r, rq->size)->xallocated = xallocated;
	if (fit == ARENA_NEXTFIT) {
		rig.model->next_begun = true;
		rig.model->next_last = r + (rq->size - 1);
	}
}

/* What nothing serves is mostly asked for atomically: with MEM_ERROR it costs a pass of reclaim. */
static unsigned flags_for(bool is_there)
{
	return is_there || test_random_below(32) == 0 ? MEM_ERROR : MEM_ATOMIC;
}

static uintptr_t ask(const struct model_request *rq, unsigned fit, bool is_there)
{
	return (uintptr_t)arena_xalloc(rig.arena, rq->size, rq->align, rq->phase, rq->nocross, rq->min,
		rq->max, flags_for(is_there) | fit);
}

/* High fit */

static void high_plain(void)
{
	struct model_request rq = {.size = random_size(), .quantum = QUANTUM};
	uintptr_t expected = model_highest(rig.model, &rq);
	uintptr_t r = (uintptr_t)arena_alloc(rig.arena, rq.size, flags_for(expected != 0) | ARENA_HIGHFIT);

	CHECK_EQ(r, expected);
	if (r)
		note(&rq, r, false, ARENA_HIGHFIT);
}

static struct model_request random_request(void)
{
	struct model_request rq = {.size = random_size(), .quantum = QUANTUM};

	if (test_random_below(2)) {
		rq.align = quanta(1) << test_random_below(6);
		rq.phase = quanta(test_random_below(rq.align / QUANTUM));
	}
	if (test_random_below(3) == 0) {
		rq.nocross = quanta(1) << test_random_below(3);
		while (rq.nocross < rq.size)
			rq.nocross *= 2;
	}
	if (test_random_below(2))
		random_window(&rq);
	return rq;
}

static void high_constrained(void)
{
	struct model_request rq = random_request();
	uintptr_t expected = model_highest(rig.model, &rq);
	uintptr_t r = ask(&rq, ARENA_HIGHFIT, expected != 0);

	CHECK_EQ(r, expected);
	if (r)
		note(&rq, r, true, ARENA_HIGHFIT);
}

static void check_high(bool imports)
{
	rig_make(imports);
	for (size_t ops = test_ops(20000), n = 0; n < ops; n++) {
		/* Tides: long runs that fill and long runs that empty. */
		if (test_random_below(8) < (n / 512 % 3 != 2 ? 4u : 2u))
			test_random_below(2) ? high_plain() : high_constrained();
		else
			random_give();
		if (n % 256 == 0)
			CHECK_EQ(arena_check(rig.arena, &console_sink), 0);
	}
	rig_end();
}

TEST("rules: high fit takes the highest address that serves, constraints or not")
{
	check_high(false);
}

TEST("rules: high fit takes the highest address that serves of what an importer holds")
{
	check_high(true);
}

/* Many constraints in turn */

#define TRIPLES 32

struct triple {
	size_t align, phase, nocross;
};

/* No two are the same. */
static struct triple triple_of(size_t t)
{
	size_t align = quanta(2) << t % 6;

	return (struct triple){align, quanta(t * 5) % align, t < 6 ? 0 : quanta(16) << t / 6};
}

static uintptr_t expected_in_window(const struct model_request *rq, unsigned fit)
{
	return fit == ARENA_HIGHFIT ? model_highest(rig.model, rq) :
	       fit == ARENA_NEXTFIT ? model_next_lowest(rig.model, rq) :
				      model_lowest(rig.model, rq, 0);
}

static void ask_triple(size_t t)
{
	static const unsigned fits[] = {ARENA_INSTANTFIT, ARENA_BESTFIT, ARENA_NEXTFIT, ARENA_HIGHFIT};
	struct triple triple = triple_of(t);
	struct model_request rq = {.size = random_size(), .quantum = QUANTUM, .align = triple.align,
		.phase = triple.phase, .nocross = triple.nocross};
	unsigned fit = fits[test_random_below(4)];
	uintptr_t lowest, expected, r;

	if (test_random_below(2))
		random_window(&rq);
	lowest = model_lowest(rig.model, &rq, 0);
	expected = expected_in_window(&rq, fit);
	r = ask(&rq, fit, lowest != 0);
	CHECK_EQ(r != 0, lowest != 0);
	if (!r)
		return;
	CHECK(model_satisfies(&rq, r));
	if (rq.min || rq.max)
		CHECK_EQ(r, expected);
	note(&rq, r, true, fit);
}

TEST("rules: 32 constraints in turn are served just where something serves")
{
	rig_make(false);
	CHECK(arena_index(rig.arena));
	for (size_t ops = test_ops(50000), n = 0; n < ops; n++) {
		if (test_random_below(8) < (n / 512 % 3 != 2 ? 5u : 2u))
			ask_triple(n % TRIPLES);
		else
			random_give();
		if (n % 256 == 0)
			CHECK_EQ(arena_check(rig.arena, &console_sink), 0);
	}
	rig_end();
}

/* An index comes and goes */

#define SEGMENTS 4000
#define HARD_MAX 2000

static uint64_t index_bytes(struct arena *a)
{
	return arenas_stats(a).index_bytes;
}

static void plain_pairs(struct arena *a, size_t n)
{
	for (; n > 0; n--) {
		void *p = arena_alloc(a, 1, MEM_WAIT);

		arena_free(a, p, 1);
	}
}

TEST("rules: a young arena has no index, and none after a few easy best fits")
{
	struct arena *a = units_apart(20);

	CHECK_EQ(index_bytes(a), 0);
	for (int i = 0; i < 5; i++) {
		void *p = arena_alloc(a, 1, MEM_WAIT | ARENA_BESTFIT);

		arena_free(a, p, 1);
	}
	CHECK_EQ(index_bytes(a), 0);
	units_apart_end(a, 20);
}

TEST("rules: an index comes for requests that are hard again and again, goes when idle")
{
	struct arena *a = units_apart(SEGMENTS);
	uintptr_t middle = 1 + STRIDE * (SEGMENTS / 2);
	size_t n = 0;

	CHECK_EQ(index_bytes(a), 0);
	for (; n < HARD_MAX && index_bytes(a) == 0; n++) {
		CHECK_EQ((uintptr_t)arena_xalloc(a, 1, 0, 0, 0, middle, middle + 1, MEM_WAIT), middle);
		arena_xfree(a, (void *)middle, 1);
	}
	CHECK_LT(n, HARD_MAX);
	plain_pairs(a, 10000);
	plain_pairs(a, 100);
	CHECK_EQ(index_bytes(a), 0);
	units_apart_end(a, SEGMENTS);
}

TEST("rules: an index that arena_index() built stays, however idle it is")
{
	struct arena *a = units_apart(SEGMENTS);

	CHECK(arena_index(a));
	CHECK_LT(0, index_bytes(a));
	plain_pairs(a, 20000);
	CHECK_LT(0, index_bytes(a));
	arena_reap(a, SIZE_MAX);
	CHECK_LT(0, index_bytes(a));
	units_apart_end(a, SEGMENTS);
}

#define ONES 300 /* spans of one unit each, free segments side by side */
#define HARD_TURNS 100
#define EVERY 64 /* of these numbers one serves */

TEST("rules: an index made exact again leaves out none of segments side by side")
{
	struct arena *a = arenas_ids(1, 1);
	size_t n = 0;

	for (uintptr_t at = 2; at <= ONES; at++)
		CHECK_EQ(arena_add(a, (void *)at, 1, MEM_WAIT), 0);
	CHECK(arena_index(a));
	/* So that the index comes to know which of them serve. */
	for (size_t turn = 0; turn < HARD_TURNS; turn++) {
		CHECK_EQ((uintptr_t)arena_xalloc(a, 1, EVERY, 5, 0, EVERY, 0, MEM_WAIT), EVERY + 5);
		arena_xfree(a, (void *)(EVERY + 5), 1);
	}
	CHECK(arena_index(a));
	CHECK_EQ(arena_check(a, &console_sink), 0);
	while (arena_xalloc(a, 1, EVERY, 5, 0, 0, 0, MEM_ATOMIC))
		n++;
	CHECK_EQ(n, (ONES - 5) / EVERY + 1);
	for (uintptr_t at = 5; at <= ONES; at += EVERY)
		arena_xfree(a, (void *)at, 1);
	arenas_end(a);
}

#define ODD 500 /* free units that no aligned request can use */
#define ALIGNED 300

TEST("rules: an aligned request without a window imports first, so no index comes")
{
	struct arena *a = arenas_root(64, 10000), *b = arenas_importer("above", a, 1);
	uintptr_t all = (uintptr_t)arena_alloc(b, 2 * ODD, MEM_ATOMIC), got[ALIGNED];

	arena_free(b, (void *)all, 2 * ODD);
	for (uintptr_t i = 0; i < 2 * ODD; i++)
		CHECK_EQ((uintptr_t)arena_alloc(b, 1, MEM_ATOMIC | ARENA_NEXTFIT), all + i);
	for (uintptr_t i = 1; i < 2 * ODD; i += 2)
		arena_free(b, (void *)(all + i), 1);
	for (int round = 0; round < 10; round++) {
		for (size_t i = 0; i < ALIGNED; i++) {
			got[i] = (uintptr_t)arena_xalloc(b, 1, 64, 0, 0, 0, 0, MEM_ERROR);
			CHECK_NE(got[i], 0);
			CHECK_EQ(got[i] % 64, 0);
		}
		for (size_t i = 0; i < ALIGNED; i++)
			arena_xfree(b, (void *)got[i], 1);
		CHECK_EQ(index_bytes(a), 0);
		CHECK_EQ(index_bytes(b), 0);
	}
	for (uintptr_t i = 0; i < 2 * ODD; i += 2)
		arena_free(b, (void *)(all + i), 1);
	arenas_end(b);
	arenas_end(a);
}
