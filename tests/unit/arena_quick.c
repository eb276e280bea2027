/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The constant-time paths of an arena, for instant and next fit, held against the model.  There are
 * so few free segments that no index comes to be, which would end them.
 */
#include "arena.h"
#include "model.h"
#include "lib/test.h"

#define LIVE_MAX 48
#define OPERATIONS 200000
#define CHECK_EVERY 64

static struct {
	struct arena *arena;
	struct model *model;
	size_t quantum;
	size_t live;
	struct {
		uintptr_t start;
		size_t size;
	} at[LIVE_MAX];
} rig;

static void quick_alloc(void)
{
	unsigned fit = test_random_below(2) ? ARENA_NEXTFIT : ARENA_INSTANTFIT;
	size_t quanta = 1 + test_random_below(test_random_below(4) ? 4 : 60), units = quanta * rig.quantum;
	size_t size = units - test_random_below(rig.quantum);
	bool can = model_can_serve(rig.model, units);
	uintptr_t next = model_next(rig.model, units);
	uintptr_t r = (uintptr_t)arena_alloc(rig.arena, size, MEM_ERROR | fit);

	CHECK_EQ(r != 0, can);
	if (!r)
		return;
	model_alloc(rig.model, r, units);
	if (fit == ARENA_NEXTFIT) {
		CHECK_EQ(r, next);
		rig.model->next_begun = true;
		rig.model->next_last = r + (units - 1);
	}
	rig.at[rig.live].start = r;
	rig.at[rig.live++].size = size;
}

static void quick_free(size_t i)
{
	size_t quanta = (rig.at[i].size + rig.quantum - 1) / rig.quantum;

	arena_free(rig.arena, (void *)rig.at[i].start, rig.at[i].size);
	model_free(rig.model, rig.at[i].start, quanta * rig.quantum);
	rig.at[i] = rig.at[--rig.live];
}

static void run(size_t quantum, size_t quanta)
{
	uintptr_t start = 1000 * quantum;

	rig.quantum = quantum;
	rig.live = 0;
	rig.arena = arena_create(
		"quick", (void *)start, quanta * quantum, quantum, NULL, NULL, NULL, 0, MEM_WAIT);
	rig.model = model_create(quantum);
	model_add_span(rig.model, start, quanta * quantum, true);
	for (size_t n = test_ops(OPERATIONS); n > 0; n--) {
		if (rig.live < LIVE_MAX && (rig.live == 0 || test_random_below(2)))
			quick_alloc();
		else
			quick_free(test_random_below(rig.live));
		if (n % CHECK_EVERY == 0)
			CHECK_EQ(arena_check(rig.arena, NULL), 0);
	}
	while (rig.live > 0)
		quick_free(0);
	CHECK_EQ(arena_amt_free(rig.arena), quanta * quantum);
	model_destroy(rig.model);
	CHECK_EQ(arena_destroy(rig.arena), 0);
}

TEST("arena: instant and next fit in constant time answer as the model does")
{
	run(1, 200);
	run(16, 400);
	run(4096, 2000);
}
