/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What debug builds check about spinlocks.
 *
 * The locks a thread of execution holds are a chain, the last one taken first, that hangs off one
 * of the thread's words.  A handler that interrupts the thread uses the same word: while a lock is
 * held no interrupt comes, so the chain is empty then.  A chain descends in the order of classes,
 * so its first lock tells whether another may be taken.
 *
 * A violation is reported with the chain as it is: the caller of the function that panics still
 * holds what it held.
 */
#include "spinlock.h"

#if SPANDREL_DEBUG

#include "lib/panic.h"

static const char *class_name(enum spin_class class)
{
	static const char *const names[] = {
		[SPIN_DEPOT] = "depot",
		[SPIN_SLAB] = "slab",
		[SPIN_SUPPLY] = "tag supply",
		[SPIN_ARENA] = "arena",
		[SPIN_SYNC] = "sync",
		[SPIN_KTASK] = "ktask",
		[SPIN_RUN_QUEUE] = "run queue",
		[SPIN_ALARM] = "alarm",
		[SPIN_LEAF] = "leaf",
	};

	return names[class];
}

static uintptr_t *my_word(void)
{
	return &port_thread_words()[PORT_THREAD_SPIN];
}

static struct spinlock *last_taken(void)
{
	return (struct spinlock *)*my_word();
}

/* Relaxed: a lock of another's may change meanwhile; one of mine can't. */
static bool is_mine(struct spinlock *l)
{
	return __atomic_load_n(&l->holder, __ATOMIC_RELAXED) == my_word();
}

/* What was meant to be taken doesn't stay taken: interrupts are as before the panic, for who
 * catches it returns to where the port says. */
static void check(struct spinlock *l, bool nested, void *site)
{
	struct spinlock *last = last_taken();

	if (is_mine(l))
		panic("spinlock of class %s, taken at %pS, is taken again at %pS", class_name(l->class),
			l->site, site);
	if (last && (last->class > l->class || (last->class == l->class && !nested)))
		panic("spinlock of class %s taken at %pS while one of class %s, taken at %pS, is held: "
		      "wrong order",
			class_name(l->class), site, class_name(last->class), last->site);
}

__attribute__((noinline)) void spin_debug_check(struct spinlock *l)
{
	check(l, false, __builtin_return_address(0));
}

__attribute__((noinline)) void spin_debug_check_nested(struct spinlock *l)
{
	check(l, true, __builtin_return_address(0));
}

__attribute__((noinline)) void spin_debug_taken(struct spinlock *l)
{
	l->site = __builtin_return_address(0);
	l->below = last_taken();
	__atomic_store_n(&l->holder, my_word(), __ATOMIC_RELAXED);
	*my_word() = (uintptr_t)l;
}

__attribute__((noinline)) void spin_debug_released(struct spinlock *l)
{
	if (!is_mine(l))
		panic("spinlock of class %s released at %pS by one who doesn't hold it",
			class_name(l->class), __builtin_return_address(0));
	if (last_taken() != l)
		panic("spinlock of class %s, taken at %pS, released at %pS before one of class %s, taken at "
		      "%pS",
			class_name(l->class), l->site, __builtin_return_address(0),
			class_name(last_taken()->class), last_taken()->site);
	*my_word() = (uintptr_t)l->below;
	__atomic_store_n(&l->holder, NULL, __ATOMIC_RELAXED);
}

__attribute__((noinline)) void spin_assert_none_held(void)
{
	struct spinlock *last = last_taken();

	if (last)
		panic("code of others is called at %pS while a spinlock of class %s, taken at %pS, is held",
			__builtin_return_address(0), class_name(last->class), last->site);
}

#endif
