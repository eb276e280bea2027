/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Callers' bugs: how each is reported, with its caller, and that nothing stays locked.
 *
 * A bug is made in a function of its own, whose name the report must hold, as it must the arena's
 * name and whatever address and size the bug is about.  Each is made once for each of these, so one
 * that left a lock held would meet it again.
 */
#include "arena.h"
#include "arena/arena_impl.h"
#include "machine.h"
#include "port.h"
#include "lib/test.h"

static struct arena *bugs;   /* quantum 16, [0xa0, 0x6e0) */
static struct arena *fronted; /* one unit at a time, through a magazine */
static void *plain, *constrained, *gone; /* of bugs: 0x30 at 0xa0, 0x20 behind it; 0x10, freed */

/* After a call: it isn't the function's last, which would be a jump and leave no trace of the function. */
#define stay() __asm__ volatile("")

#define BUG(name) static __attribute__((noinline)) void name(void)

BUG(alloc_nothing)
{
	arena_alloc(bugs, 0, MEM_ATOMIC);
	stay();
}

BUG(alloc_wrapping)
{
	arena_alloc(bugs, SIZE_MAX - 3, MEM_ATOMIC);
	stay();
}

BUG(alloc_without_memory_flag)
{
	arena_alloc(bugs, 16, ARENA_BESTFIT);
	stay();
}

BUG(alloc_with_two_memory_flags)
{
	arena_alloc(bugs, 16, MEM_ATOMIC | MEM_WAIT);
	stay();
}

BUG(alloc_with_two_fits)
{
	arena_alloc(bugs, 16, MEM_ATOMIC | ARENA_BESTFIT | ARENA_NEXTFIT);
	stay();
}

/* A hot path would hide a rare sleeper: there is plenty. */
BUG(alloc_waiting_with_interrupts_off)
{
	port_irq_save();
	arena_alloc(bugs, 16, MEM_WAIT);
	stay();
}

BUG(xalloc_waiting_with_interrupts_off)
{
	port_irq_save();
	arena_xalloc(bugs, 16, 32, 0, 0, 0, 0, MEM_WAIT);
	stay();
}

BUG(fronted_waiting_with_interrupts_off)
{
	port_irq_save();
	arena_alloc(fronted, 1, MEM_WAIT);
	stay();
}

BUG(xalloc_nothing)
{
	arena_xalloc(bugs, 0, 32, 0, 0, 0, 0, MEM_ATOMIC);
	stay();
}

BUG(xalloc_wrapping)
{
	arena_xalloc(bugs, SIZE_MAX - 3, 32, 0, 0, 0, 0, MEM_ATOMIC);
	stay();
}

BUG(xalloc_crooked_align)
{
	arena_xalloc(bugs, 16, 48, 0, 0, 0, 0, MEM_ATOMIC);
	stay();
}

BUG(xalloc_crooked_nocross)
{
	arena_xalloc(bugs, 16, 0, 0, 48, 0, 0, MEM_ATOMIC);
	stay();
}

BUG(xalloc_phase_beyond_align)
{
	arena_xalloc(bugs, 16, 32, 64, 0, 0, 0, MEM_ATOMIC);
	stay();
}

BUG(xalloc_larger_than_nocross)
{
	arena_xalloc(bugs, 0x50, 0, 0, 64, 0, 0, MEM_ATOMIC);
	stay();
}

BUG(xalloc_wrapping_window)
{
	arena_xalloc(bugs, 16, 0, 0, 0, 0x200, 0x180, MEM_ATOMIC);
	stay();
}

BUG(xalloc_waiting_for_what_cant_be)
{
	arena_xalloc(bugs, 0x20, 0, 0, 0, 0x180, 0x190, MEM_WAIT);
	stay();
}

BUG(free_nothing)
{
	arena_free(bugs, plain, 0);
	stay();
}

BUG(free_too_little)
{
	arena_free(bugs, plain, 0x20);
	stay();
}

BUG(free_wrapping)
{
	arena_free(bugs, plain, SIZE_MAX - 3);
	stay();
}

BUG(free_inside)
{
	arena_free(bugs, (char *)plain + 16, 0x10);
	stay();
}

BUG(free_twice)
{
	arena_free(bugs, gone, 0x10);
	stay();
}

BUG(free_elsewhere)
{
	arena_free(bugs, (void *)0x1000, 0x10);
	stay();
}

BUG(free_what_was_xallocated)
{
	arena_free(bugs, constrained, 0x20);
	stay();
}

BUG(xfree_what_was_not)
{
	arena_xfree(bugs, plain, 0x30);
	stay();
}

BUG(xfree_twice)
{
	arena_xfree(bugs, gone, 0x10);
	stay();
}

BUG(xfree_too_much)
{
	arena_xfree(bugs, constrained, 0x40);
	stay();
}

static const struct {
	const char *name;
	void (*make)(void);
	const char *parts[3]; /* beside the function's name */
} made[] = {
#define MADE(name, ...) {#name, name, {__VA_ARGS__}}
	MADE(alloc_nothing, "arena bugs: ", "size 0"),
	MADE(alloc_wrapping, "arena bugs: ", "0xfffffffffffffffc", "too large"),
	MADE(alloc_without_memory_flag, "arena bugs: ", "memory flag"),
	MADE(alloc_with_two_memory_flags, "arena bugs: ", "memory flag"),
	MADE(alloc_with_two_fits, "arena bugs: ", "one fit"),
	MADE(alloc_waiting_with_interrupts_off, "arena bugs: ", "MEM_WAIT", "can't sleep"),
	MADE(xalloc_waiting_with_interrupts_off, "arena bugs: ", "MEM_WAIT", "can't sleep"),
	MADE(fronted_waiting_with_interrupts_off, "fronted", "MEM_WAIT", "can't sleep"),
	MADE(xalloc_nothing, "arena bugs: ", "size 0"),
	MADE(xalloc_wrapping, "arena bugs: ", "0xfffffffffffffffc", "too large"),
	MADE(xalloc_crooked_align, "arena bugs: ", "0x30", "not a power of two"),
	MADE(xalloc_crooked_nocross, "arena bugs: ", "0x30", "not a power of two"),
	MADE(xalloc_phase_beyond_align, "arena bugs: ", "0x40", "not below align 0x20"),
	MADE(xalloc_larger_than_nocross, "arena bugs: ", "0x50", "nocross 0x40"),
	MADE(xalloc_wrapping_window, "arena bugs: ", "[0x200, 0x180)", "ends before it begins"),
	MADE(xalloc_waiting_for_what_cant_be, "arena bugs: ", "0x20", "[0x180, 0x190)"),
	MADE(free_nothing, "arena bugs: ", "0xa0", "size 0"),
	MADE(free_too_little, "arena bugs: ", "0xa0", "wrong size: 0x20, allocated were 0x30"),
	MADE(free_wrapping, "arena bugs: ", "0xa0", "0xfffffffffffffffc"),
	MADE(free_inside, "arena bugs: ", "0xb0, size 0x10", "inside [0xa0, +0x30)"),
	MADE(free_twice, "arena bugs: ", "size 0x10", "freed twice"),
	MADE(free_elsewhere, "arena bugs: ", "0x1000, size 0x10", "no span"),
	MADE(free_what_was_xallocated, "arena bugs: ", "size 0x20", "wrong one"),
	MADE(xfree_what_was_not, "arena bugs: ", "0xa0, size 0x30", "wrong one"),
	MADE(xfree_twice, "arena bugs: ", "size 0x10", "freed twice"),
	MADE(xfree_too_much, "arena bugs: ", "wrong size: 0x40", "allocated were 0x20"),
};

/* Interrupts that the bug's function turned off are on again once it is reported. */
static void expect(void (*make)(void), const char *part)
{
	port_irq_t irq = port_irq_save();

	port_irq_restore(irq);
	CHECK_PANICS(make(), part);
	port_irq_restore(irq);
	CHECK(machine_irq_enabled());
}

TEST("arena: a caller's bug names arena, address, size, caller, and holds no lock")
{
	bugs = arena_create("bugs", (void *)0xa0, 0x640, 16, NULL, NULL, NULL, 0, MEM_WAIT);
	fronted = arena_create("fronted", (void *)1, 100, 1, NULL, NULL, NULL, 4, MEM_WAIT);
	plain = arena_alloc(bugs, 0x30, MEM_WAIT);
	constrained = arena_xalloc(bugs, 0x20, 0, 0, 0, 0xd0, 0xf0, MEM_WAIT);
	gone = arena_alloc(bugs, 0x10, MEM_WAIT);
	CHECK_EQ((uintptr_t)plain, 0xa0);
	CHECK_EQ((uintptr_t)constrained, 0xd0);
	arena_free(bugs, gone, 0x10);
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		expect(made[i].make, made[i].name);
		for (size_t k = 0; k < 3 && made[i].parts[k]; k++)
			expect(made[i].make, made[i].parts[k]);
	}
	CHECK_EQ(arena_amt_free(bugs), 0x640 - 0x50);
	CHECK_EQ(arena_check(bugs, &console_sink), 0);
	arena_free(bugs, plain, 0x30);
	arena_xfree(bugs, constrained, 0x20);
	CHECK_EQ(arena_destroy(bugs), 0);
	CHECK_EQ(arena_destroy(fronted), 0);
}

/* A free that a magazine takes is checked when the slab layer or the arena sees it. */
TEST("arena: a bad free that a front's magazine took is reported when it is drained")
{
	struct arena *a = arena_create("fronted", (void *)1, 100, 1, NULL, NULL, NULL, 4, MEM_WAIT);

	arena_free(a, arena_alloc(a, 1, MEM_WAIT), 1);
	CHECK_PANICS((arena_free(a, (void *)0x1000, 1), arena_reap(a, SIZE_MAX)), "0x1000");
	CHECK_EQ(arena_destroy(a), 0);
}

#if SPANDREL_DEBUG
TEST("arena: MEM_WAIT under arenas_and_slabs_lock is reported, however little it takes")
{
	struct arena *a = arena_create("fronted", (void *)1, 100, 1, NULL, NULL, NULL, 4, MEM_WAIT);

	arena_free(a, arena_alloc(a, 1, MEM_WAIT), 1);
	qlock_lock(&arenas_and_slabs_lock);
	CHECK_PANICS(arena_alloc(a, 1, MEM_WAIT), "under arenas_and_slabs_lock");
	CHECK_PANICS(arena_alloc(a, 9, MEM_WAIT), "under arenas_and_slabs_lock");
	qlock_unlock(&arenas_and_slabs_lock);
	CHECK_EQ(arena_destroy(a), 0);
}
#endif
