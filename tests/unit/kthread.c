/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ktasks: creation, ends, yields, cores.
 */
#include "kthread.h"

#include "arena.h"
#include "lib/array.h"
#include "arenas.h"
#include "lib/catch.h"
#include "lib/string.h"
#include "table.h"
#include "machine.h"
#include "port.h"
#include "sync.h"
#include "lib/test.h"
#include "modes.h"
#include "threads.h"
#include "vmap.h"

static void set(void *flag)
{
	__atomic_store_n((bool *)flag, true, __ATOMIC_RELEASE);
}

TEST("ktask: runs its function and can be joined, before or after it has ended")
{
	bool ran = false;
	struct ktask *t = ktask("setter", set, &ran);

	CHECK(t != NULL);
	CHECK_STR(ktask_name(t), "setter");
	ktask_join(t);
	CHECK(ran);

	ran = false;
	t = ktask("setter", set, &ran);
	threads_await(&ran);
	kthread_usleep(1000);
	ktask_join(t);
}

TEST("ktask: a detached one goes by itself")
{
	size_t before = ktask_count();
	bool ran = false;

	CHECK(ktask_detached("setter", set, &ran));
	threads_await(&ran);
	while (ktask_count() != before)
		kthread_yield();
}

static void exit_early(void *flag)
{
	ktask_exit();
	set(flag);
}

TEST("ktask: ktask_exit() ends it where it stands")
{
	bool ran = false;

	ktask_join(ktask("leaver", exit_early, &ran));
	CHECK(!ran);
}

static struct semaphore ending;
static struct panic_catch selfish;

static void await_end(void *arg)
{
	sem_down(&ending, 1);
}

static void join_itself(void *arg)
{
	panic_catch_push(&selfish);
	if (machine_setjmp(&selfish.jump) == 0)
		ktask_join(ktask_self());
	panic_catch_pop(&selfish);
}

TEST("ktask: joining oneself or a detached one is a caller's bug")
{
	CHECK_PANICS(ktask_join(ktask_self()), "joined though it is detached");
	struct ktask_plan plan = {
		.name = "detached", .fn = await_end, .core = KTASK_ANY_CORE, .detached = true};
	size_t before = ktask_count();
	struct ktask *t;

	sem_init(&ending, 0);
	t = ktask_create(&plan);
	CHECK_PANICS(ktask_join(t), "ktask detached: joined though it is detached");
	sem_up(&ending, 1);
	while (ktask_count() != before)
		kthread_yield();
	ktask_join(ktask("selfish", join_itself, NULL));
	CHECK(strstr(selfish.message, "ktask selfish: joined by itself"));
	CHECK_PANICS(ktask_pinned("nowhere", set, NULL, port_core_count()), "pinned to core");
	CHECK_PANICS(ktask_pinned("anywhere", set, NULL, KTASK_ANY_CORE), "ktask anywhere: pinned to no core");
	CHECK_PANICS(ktask_pinned(NULL, set, NULL, KTASK_ANY_CORE), "ktask : pinned to no core");
}

#define TURNERS 12

struct turns {
	unsigned started;
	unsigned taken[TURNERS];
};

static void take_turns(unsigned i, void *arg)
{
	struct turns *all = arg;
	unsigned *turns = all->taken;

	__atomic_fetch_add(&all->started, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&all->started, __ATOMIC_RELAXED) < TURNERS)
		kthread_yield();
	for (unsigned n = 0; n < 10; n++) {
		CHECK_EQ(turns[i], n);
		turns[i]++;
		/* All others on this core have had as many turns, or one less. */
		for (unsigned j = i % port_core_count(); j < TURNERS; j += port_core_count())
			CHECK(turns[j] == turns[i] || turns[j] + 1 == turns[i] ||
				turns[j] == turns[i] + 1);
		kthread_yield();
	}
}

TEST("kthread: those that yield on one core take turns")
{
	struct turns turns = {0};

	threads_run(THREADS_PINNED, TURNERS, take_turns, &turns);
	for (unsigned i = 0; i < TURNERS; i++)
		CHECK_EQ(turns.taken[i], 10);
}

/* So many that no core runs out of them. */
static void yield_until_told(unsigned i, void *arg)
{
	uint64_t deadline = port_ns() + THREADS_PATIENCE;
	bool *told = arg;

	while (!__atomic_load_n(told, __ATOMIC_ACQUIRE) && port_ns() < deadline)
		kthread_yield();
	CHECK(__atomic_load_n(told, __ATOMIC_ACQUIRE));
}

TEST("kthread: a pinned one has its turn among those that go anywhere")
{
	bool told = false;
	struct threads *others = threads_start(THREADS_FREE, 3 * port_core_count(), yield_until_told, &told);
	struct ktask *pinned = ktask_pinned("teller", set, &told, port_core_id());

	threads_join(others);
	ktask_join(pinned);
}

static void stay(unsigned i, void *arg)
{
	for (unsigned n = 0; n < 100; n++) {
		CHECK_EQ(port_core_id(), i % port_core_count());
		if (n % 10 == 0)
			kthread_usleep(100);
		else
			kthread_yield();
	}
}

TEST("kthread: a pinned one runs on its core alone")
{
	threads_run(THREADS_PINNED, 3 * port_core_count(), stay, NULL);
}

/* Doesn't give its core up until the other one has run. */
static void hog(unsigned i, void *arg)
{
	bool *ran = arg;

	__atomic_store_n(&ran[i], true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&ran[!i], __ATOMIC_ACQUIRE) && !test_has_failed())
		port_pause();
}

TEST("kthread: an idle core takes what is ready on a busy one")
{
	bool ran[2] = {false, false};
	uint64_t before = kthread_steals();

	if (port_core_count() == 1)
		return;
	threads_run(THREADS_FREE, 2, hog, ran);
	CHECK_LT(before, kthread_steals());
}

static void count_one(unsigned i, void *count)
{
	__atomic_fetch_add((size_t *)count, 1, __ATOMIC_RELAXED);
}

static void spawn_some(unsigned i, void *count)
{
	for (int n = 0; n < 20; n++)
		threads_run(THREADS_FREE, 5, count_one, count);
}

TEST("ktask: storms of them are created and joined from all cores")
{
	size_t count = 0;

	threads_run(THREADS_FREE, 10, spawn_some, &count);
	CHECK_EQ(count, 10 * 20 * 5);
}

TEST("ktask: one for whose stack there is no memory isn't made, and leaves nothing")
{
	if (!modes_leave_layout())
		return;
	const size_t left = 64 * PORT_PAGE_SIZE;
	struct ktask_plan plan = {"large", set, NULL, KTASK_ANY_CORE, 1024 * PORT_PAGE_SIZE, false, false};
	size_t before = arena_amt_total(vaddr_arena) - arena_amt_free(vaddr_arena);
	/* All of kpages but what is in pieces smaller than that. */
	struct piece *taken = pieces_take_all(kpages_arena, (size_t)1 << 30, left, MEM_ATOMIC);
	struct ktask *t = ktask_create(&plan);

	pieces_give(kpages_arena, taken, SIZE_MAX);
	CHECK(!t);
	CHECK_EQ(arena_amt_total(vaddr_arena) - arena_amt_free(vaddr_arena), before);
}

TEST("kthread: usleep lasts as long as it says")
{
	uint64_t before = port_ns();

	kthread_usleep(3000);
	CHECK_LE(3000000, port_ns() - before);
}

TEST("kthread: ids are not used again soon")
{
	bool ran = false;
	struct ktask *t = ktask("first", set, &ran);
	uint64_t id = ktask_id(t);

	ktask_join(t);
	t = ktask("second", set, &ran);
	CHECK_NE(ktask_id(t), id);
	ktask_join(t);
}

static void sleep_for(void *flag)
{
	threads_sleep_for(flag);
}

TEST("kthread: the backtrace of the running ktask is its own, one that went has none")
{
	bool ran = false, ends = false;
	struct ktask *t = ktask("gone", set, &ran), *later = ktask("later", sleep_for, &ends);
	uint64_t gone = ktask_id(t), self = ktask_id(ktask_self());
	uintptr_t pcs[4] = {0}, here[4] = {0};

	ktask_join(t);
	CHECK_LT(gone, ktask_id(later));
	CHECK_EQ(ktask_backtrace(gone, pcs, 4), 0);
	__atomic_store_n(&ends, true, __ATOMIC_RELEASE);
	ktask_join(later);
	CHECK_EQ(ktask_backtrace(UINT64_MAX, pcs, 4), 0);
	CHECK_LT(0, ktask_backtrace(self, pcs, 4));
	CHECK_LT(0, port_backtrace(0, here, 4));
	/* What called this function. */
	CHECK(pcs[1] == here[1] || pcs[2] == here[1]);
}

TEST("kthread: the table of ktasks has every ktask, in order, from any id on")
{
	struct ktask_stats rows[3];
	uint64_t last = 0;
	bool me = false;
	size_t total = 0, n;

	while ((n = ktask_stats(last + 1, rows, 3))) {
		for (size_t i = 0; i < n; i++, total++) {
			CHECK_LT(last, rows[i].id);
			last = rows[i].id;
			if (last == ktask_id(ktask_self())) {
				CHECK_STR(rows[i].state, "running");
				CHECK_EQ(rows[i].core, port_core_id());
				me = true;
			}
		}
	}
	CHECK_EQ(total, ktask_count());
	CHECK(me);
}

static void look_or_come(unsigned i, void *arg)
{
	static const char *const states[] = {"running", "ready", "asleep", "ended", "idle"};
	struct ktask_stats rows[32];
	bool ran;

	for (size_t round = 0; round < test_ops(2000); round++) {
		size_t n = i ? 0 : ktask_stats(0, rows, ARRAY_SIZE(rows)), known = 0;

		for (size_t row = 0; row < n; row++)
			for (size_t s = 0; s < ARRAY_SIZE(states); s++)
				known += strcmp(rows[row].state, states[s]) == 0;
		CHECK_EQ(known, n);
		if (i)
			ktask_join(ktask("passer-by", set, &ran));
		kthread_yield();
	}
}

TEST("kthread: the table of ktasks is looked at while they come, sleep and go")
{
	threads_run(THREADS_PINNED, 3, look_or_come, NULL);
}

/* Touches every page of its stack, and the one below. */
static __attribute__((noinline)) void touch_downward(void)
{
	char here;
	uintptr_t down = (uintptr_t)&here & -(uintptr_t)PORT_PAGE_SIZE;

	for (;; down -= PORT_PAGE_SIZE)
		*(volatile char *)down;
}

static void overflow(void *caught)
{
	struct panic_catch c;

	panic_catch_push(&c);
	if (machine_setjmp(&c.jump) == 0)
		touch_downward();
	panic_catch_pop(&c);
	str_copy(caught, c.message, 64);
}

TEST("ktask: a stack overflow is reported as one, with the ktask's name")
{
	char caught[64];

	ktask_join(ktask("deep one", overflow, caught));
	test_check_contains(__FILE__, __LINE__, "overflow", caught, "stack overflow of ktask");
	test_check_contains(__FILE__, __LINE__, "overflow", caught, "deep one");
}

/* Compilers for RISC-V don't touch the pages of a large frame as they make it. */
#if !defined(__riscv)
/* A frame with the guard page in its middle, of which only the lowest byte is written. */
static __attribute__((noinline)) char leap(void)
{
	char frame[2 * PORT_PAGE_SIZE + PORT_PAGE_SIZE / 2];

	/* For all the compiler knows, all of it is used. */
	__asm__ volatile("" : : "r"(frame) : "memory");
	*(volatile char *)frame = 1;
	return *frame;
}

/* Calls itself until less than a page is left above `bottom`. */
static __attribute__((noinline)) char descend_and_leap(uintptr_t bottom)
{
	volatile char frame[PORT_PAGE_SIZE / 8];

	frame[0] = (uintptr_t)frame - bottom < PORT_PAGE_SIZE ? leap() : descend_and_leap(bottom);
	return frame[0];
}

static void overflow_by_leap(void *caught)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	uintptr_t top = (here + PORT_PAGE_SIZE - 1) & ~(uintptr_t)(PORT_PAGE_SIZE - 1);
	struct panic_catch c;

	panic_catch_push(&c);
	if (machine_setjmp(&c.jump) == 0)
		descend_and_leap(top - MACHINE_STACK_SIZE);
	panic_catch_pop(&c);
	str_copy(caught, c.message, 64);
}

TEST("ktask: a frame larger than the guard page doesn't leap over it")
{
	char caught[64] = "nothing";

	ktask_join(ktask("leaping one", overflow_by_leap, caught));
	test_check_contains(__FILE__, __LINE__, "overflow", caught, "stack overflow of ktask");
	test_check_contains(__FILE__, __LINE__, "overflow", caught, "leaping one");
}
#endif

static void fail_in_thread(unsigned i, void *arg)
{
	if (i == 1)
		panic("from a ktask");
	*(unsigned *)arg += 1;
}

static void catch_in_thread(unsigned i, void *arg)
{
	CHECK_PANICS(fail_in_thread(1, arg), "from a ktask");
	__atomic_fetch_add((unsigned *)arg, 1, __ATOMIC_RELAXED);
}

TEST("panic: each ktask catches its own")
{
	unsigned caught = 0;

	threads_run(THREADS_FREE, 8, catch_in_thread, &caught);
	CHECK_EQ(caught, 8);
}

/* Mistakes */

static void end_at_once(void *arg)
{
}

static struct ktask_plan plan_of(size_t stack_size)
{
	return (struct ktask_plan){.name = "sized", .fn = end_at_once, .core = KTASK_ANY_CORE, .stack_size = stack_size};
}

static void check_no_stack(size_t size)
{
	struct ktask_plan plan = plan_of(size);

	CHECK(!ktask_create(&plan));
}

static void check_ragged_stack(size_t size)
{
	struct ktask_plan plan = plan_of(size);

	CHECK_PANICS(ktask_create(&plan), "bytes is no whole pages (called from check_ragged_stack");
}

TEST("ktask: a stack beyond all memory isn't had, one of no whole pages is reported")
{
	size_t used = arena_amt_free(kpages_arena);

	check_no_stack((size_t)1 << 40);
	check_no_stack((size_t)1 << 63);
	check_no_stack(SIZE_MAX - PORT_PAGE_SIZE + 1);
	check_no_stack(SIZE_MAX - 2 * PORT_PAGE_SIZE + 1);
	check_ragged_stack(1);
	check_ragged_stack(SIZE_MAX);
	check_ragged_stack(((size_t)1 << 63) + 1);
	check_ragged_stack(MACHINE_STACK_SIZE + 8);
	CHECK_LE(used / 2, arena_amt_free(kpages_arena));
}

TEST("ktask: one without a function or a name is reported where it is made")
{
	struct ktask_plan plan = {.name = "idle hands", .core = KTASK_ANY_CORE};

	CHECK_PANICS(ktask("idle hands", NULL, NULL), "ktask idle hands: made without a function (called from test_");
	CHECK_PANICS(ktask_pinned("idle hands", NULL, NULL, 0), "made without a function");
	CHECK_PANICS(ktask_detached("idle hands", NULL, NULL), "made without a function");
	CHECK_PANICS(ktask_create(&plan), "made without a function");
	CHECK_PANICS(ktask(NULL, end_at_once, NULL), "made without a name");
}

TEST("ktask: joined twice it is reported, and doesn't sleep for ever")
{
	if (!modes_leave_layout())
		return;
	struct ktask *t = ktask("joined", end_at_once, NULL);

	ktask_join(t);
	CHECK_PANICS(ktask_join(t), "ktask joined: joined twice (called from test_");
}
