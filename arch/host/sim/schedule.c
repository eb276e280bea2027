/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the simulation leaves to chance.
 *
 * A seed and the test's name first choose how a test is run: which places count as steps, how time passes, how often
 * interrupts come, whether stores are delayed (access.c), and one of three ways to choose the core that goes on.
 *
 * UNIFORM: at one step in `period` another core goes on, each with the same chance.
 *
 * PRIORITIES (Burckhardt, Kothari, Musuvathi and Nagarakatte, "A Randomized Scheduler with Probabilistic
 * Guarantees of Finding Bugs", ASPLOS 2010): each core has a random priority, and of those that can run the one
 * with the highest goes on; at each of `depth` - 1 steps, drawn from the first `length`, the priority of the core
 * that runs becomes the lowest.  A mistake that shows if `depth` steps come in a certain order, in a run of n cores
 * and at most `length` steps, is found by such a run with a chance of at least 1 / (n * length^(depth - 1)).
 * Differences from the paper: a core that waits for another becomes the lowest, too, else it would wait for ever,
 * and so does one that was alone for ALONE_MAX steps, since a loop may wait without telling the port; what has a
 * priority is a core, not a thread; and steps at which one of them alone can go on count.
 *
 * DELAYS: priorities whose changes don't end: at one step in `delays` the core that runs becomes the lowest, and so is
 * held up there until the others wait.  That has no such bound, but a test with many places where a delay shows the
 * mistake meets one of them sooner.
 *
 * With each of these a core may *stall* by chance: for up to STALL_MAX steps it doesn't go on though others wait for it,
 * as a virtual machine's core may, unless no other can.
 */
#include "host.h"
#include "sim.h"

#include <stdio.h>
#include <string.h>

#include "port.h"

#define STEP_NS 50
#define DRAIN_PERIOD 8 /* of stores that go to memory by chance */
#define DEPTH_MAX 6
#define LENGTH_SHIFT_MIN 8 /* of the number of steps from which changes are drawn */
#define LENGTH_SHIFTS 10
#define ALONE_MAX 5000 /* steps of one core */
#define STALL_MAX 4096 /* steps */

enum sim_kind sim_finest = SIM_PORT;

static uint64_t seed = 1, state;
static struct {
	bool begun, by_priority, keeps_stores;
	enum sim_kind kind; /* the finest */
	unsigned period;
	unsigned interrupts, nmis; /* one step in so many; 0: none */
	uint64_t step_ns;
	unsigned cores;
	unsigned depth;
	unsigned delays, stalls; /* one step in so many; 0: none */
	uint64_t length, steps;
	uint64_t alone; /* steps since another core ran */
	uint64_t change[DEPTH_MAX];	/* steps */
	int64_t priority[SIM_CORES_MAX], lowest;
	uint64_t stalled[SIM_CORES_MAX]; /* up to that step */
} plan;

/* SplitMix64, as lib/test.c has it. */
static uint64_t draw(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t random_below(uint64_t n)
{
	return (uint64_t)((unsigned __int128)draw() * n >> 64);
}

void host_seed(uint64_t s)
{
	seed = s;
}

static void draw_priorities(void)
{
	for (unsigned i = 0; i < plan.cores; i++) {
		unsigned j = (unsigned)random_below(i + 1);

		plan.priority[i] = plan.priority[j];
		plan.priority[j] = (int64_t)i;
	}
	plan.lowest = 0;
	for (unsigned i = 0; i + 1 < plan.depth; i++)
		plan.change[i] = 1 + random_below(plan.length);
}

void sim_schedule_begin(unsigned cores, uint64_t more)
{
	static const unsigned periods[] = {2, 4, 8, 16, 64, 256};
	static const unsigned rates[] = {0, 0, 8, 64, 512};
	static const unsigned delays[] = {0, 0, 0, 0, 16, 64, 256, 1024};
	static const unsigned stalls[] = {0, 0, 0, 128, 1024};
	static const uint64_t steps_ns[] = {5, 50, 500, 5000};

	state = seed ^ more;
	plan.begun = true;
	plan.cores = cores < SIM_CORES_MAX ? cores : SIM_CORES_MAX;
	sim_finest = plan.kind = (enum sim_kind)random_below(SIM_PLAIN + 1);
	plan.by_priority = random_below(3) != 0;
	plan.period = periods[random_below(sizeof(periods) / sizeof(periods[0]))];
	plan.interrupts = rates[random_below(sizeof(rates) / sizeof(rates[0]))];
	plan.nmis = rates[random_below(sizeof(rates) / sizeof(rates[0]))];
	plan.keeps_stores = random_below(2);
	plan.step_ns = steps_ns[random_below(sizeof(steps_ns) / sizeof(steps_ns[0]))];
	plan.depth = 1 + (unsigned)random_below(DEPTH_MAX);
	plan.delays = delays[random_below(sizeof(delays) / sizeof(delays[0]))];
	plan.stalls = stalls[random_below(sizeof(stalls) / sizeof(stalls[0]))];
	memset(plan.stalled, 0, sizeof(plan.stalled));
	plan.length = (uint64_t)1 << (LENGTH_SHIFT_MIN + random_below(LENGTH_SHIFTS));
	plan.steps = plan.alone = 0;
	draw_priorities();
}

void sim_schedule_end(void)
{
	plan.begun = false;
	sim_finest = SIM_PORT;
}

/* The i-th of those in the map. */
static unsigned nth(uint64_t map, unsigned i)
{
	while (i-- > 0)
		map &= map - 1;
	return (unsigned)__builtin_ctzll(map);
}

static unsigned next_uniform(unsigned self, uint64_t runnable, bool waits)
{
	uint64_t others = runnable & ~((uint64_t)1 << self);

	if (!others || (!waits && plan.begun && random_below(plan.period) != 0))
		return self;
	return nth(others, (unsigned)random_below((unsigned)__builtin_popcountll(others)));
}

static unsigned highest(uint64_t runnable)
{
	unsigned best = (unsigned)__builtin_ctzll(runnable);

	for (; runnable; runnable &= runnable - 1) {
		unsigned i = (unsigned)__builtin_ctzll(runnable);

		if (plan.priority[i] > plan.priority[best])
			best = i;
	}
	return best;
}

static unsigned next_by_priority(unsigned self, uint64_t runnable, bool waits)
{
	unsigned next;

	waits = waits || ++plan.alone > ALONE_MAX || (plan.delays && random_below(plan.delays) == 0);
	for (unsigned i = 0; i + 1 < plan.depth; i++)
		waits = waits || plan.change[i] == plan.steps;
	if (waits)
		plan.priority[self] = --plan.lowest;
	next = runnable ? highest(runnable) : self;
	if (waits || next != self)
		plan.alone = 0;
	return next;
}

/* Those of the map that aren't stalled; all, if they all are. */
static uint64_t not_stalled(uint64_t map)
{
	uint64_t left = map;

	for (unsigned i = 0; i < plan.cores; i++)
		if (plan.stalled[i] > plan.steps)
			left &= ~((uint64_t)1 << i);
	return left ? left : map;
}

unsigned sim_schedule_next(unsigned self, uint64_t runnable, bool waits)
{
	if (!plan.begun)
		return next_uniform(self, runnable, waits);
	plan.steps++;
	if (plan.stalls) {
		if (random_below(plan.stalls) == 0)
			plan.stalled[self] = plan.steps + random_below(STALL_MAX);
		runnable = not_stalled(runnable);
		waits = waits || plan.stalled[self] > plan.steps;
	}
	return plan.by_priority ? next_by_priority(self, runnable, waits) : next_uniform(self, runnable, waits);
}

bool sim_schedule_interrupts(void)
{
	return plan.interrupts && random_below(plan.interrupts) == 0;
}

bool sim_schedule_nmi(void)
{
	return plan.nmis && random_below(plan.nmis) == 0;
}

bool sim_schedule_keeps_stores(void)
{
	return plan.begun && plan.keeps_stores;
}

bool sim_schedule_drains(void)
{
	return random_below(DRAIN_PERIOD) == 0;
}

uint64_t sim_schedule_step_ns(void)
{
	return plan.begun ? plan.step_ns : STEP_NS;
}

void sim_schedule_describe(char *text, size_t size)
{
	static const char *const kinds[] = {"port and locks", "atomic accesses, too", "all accesses"};

	if (plan.by_priority && plan.delays)
		snprintf(text, size, "priorities, a delay in %u steps; steps: %s", plan.delays, kinds[plan.kind]);
	else if (plan.by_priority)
		snprintf(text, size, "priorities, depth %u in %llu steps; steps: %s", plan.depth,
			(unsigned long long)plan.length, kinds[plan.kind]);
	else
		snprintf(text, size, "uniform, one change in %u steps; steps: %s", plan.period, kinds[plan.kind]);
}
