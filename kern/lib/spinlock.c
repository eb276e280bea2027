/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting for a spinlock, and what debug builds check.
 *
 * A waiter that is in the order leaves it when it takes the lock or when its turn is ended, never
 * otherwise; so `waiting` counts the tickets from `turn` on, whether their waiters run or not.  A
 * ticket that isn't among them has lapsed.
 *
 * Debug builds.  The locks a thread of execution holds are a chain, the last one taken first, that
 * hangs off one of the thread's words.  A handler that interrupts the thread uses the same word:
 * while a lock is held no interrupt comes, so the chain is empty then.  A chain descends in the
 * order of classes, so its first lock tells whether another may be taken.
 *
 * A violation is reported with the chain as it is: the caller of the function that panics still
 * holds what it held.
 */
#include "spinlock.h"

#include "lib/check.h"
#include "lib/panic.h"
#include "lib/spinlock_impl.h"

/* Acquire: where it takes the lock it pairs with the release in spin_unlock(); changes that other
 * waiters make belong to the same release sequence.  A change of the order alone needs no order of
 * memory. */
static bool update(struct spinlock *l, union spin_word now, union spin_word then)
{
	return __atomic_compare_exchange_n(&l->word.whole, &now.whole, then.whole, false,
		__ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static bool take(struct spinlock *l, union spin_word now)
{
	union spin_word then = now;

	then.held = 1;
	if (now.waiting > 0) {
		then.turn++;
		then.waiting--;
	}
	return update(l, now, then);
}

static void end_turn(struct spinlock *l, union spin_word now)
{
	union spin_word then = now;

	then.turn++;
	then.waiting--;
	update(l, now, then);
}

static void join(struct spinlock *l, union spin_word now, struct spin_waiter *w)
{
	union spin_word then = now;

	then.waiting++;
	w->ticket = now.turn + now.waiting;
	w->is_ordered = update(l, now, then);
}

/* While the lock is free and the order isn't empty, only the turn's own waiter takes the lock, and
 * that moves the turn on: a turn seen at two polls wasn't taken between them. */
static bool is_late(struct spin_waiter *w, uint32_t turn)
{
	if (w->late_turn != turn) {
		w->late_turn = turn;
		w->late = 0;
	}
	return ++w->late > SPIN_TURN;
}

bool spin_poll(struct spinlock *l, struct spin_waiter *w)
{
	/* Relaxed: what is read here is compared again by update(). */
	union spin_word now = {.whole = __atomic_load_n(&l->word.whole, __ATOMIC_RELAXED)};

	w->is_ordered = w->is_ordered && w->ticket - now.turn < now.waiting;
	if (!now.held && (now.waiting == 0 || (w->is_ordered && w->ticket == now.turn)))
		return take(l, now);
	if (!now.held && is_late(w, now.turn))
		end_turn(l, now);
	else if (!w->is_ordered && ++w->alone > SPIN_ALONE && now.waiting < UINT16_MAX)
		join(l, now, w);
	return false;
}

void spin_wait(struct spinlock *l, port_irq_t irq)
{
	struct spin_waiter w = {0};

	if (panic_is_mine())
		return;
	do {
		port_irq_restore(irq);
		port_pause();
		port_irq_save();
	} while (!spin_poll(l, &w));
}

#if SPIN_CHECKS

const char *spin_class_name(enum spin_class class)
{
	static const char *const names[] = {
		[SPIN_CALLER] = "caller",
		[SPIN_DEPOT] = "depot",
		[SPIN_SLAB] = "slab",
		[SPIN_SUPPLY] = "tag supply",
		[SPIN_ARENA] = "arena",
		[SPIN_SHORTAGE] = "shortage",
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
__attribute__((noinline)) void spin_debug_check(struct spinlock *l)
{
	struct spinlock *last = last_taken();
	void *site = __builtin_return_address(0);

	if (panic_is_mine())
		return;
	check_given("spin_lock", "spinlock", l, site);
	if (is_mine(l))
		panic("spinlock of class %s, taken at %pS, is taken again at %pS", spin_class_name(l->class),
			l->site, site);
	if (last && last->class >= l->class)
		panic("spinlock of class %s taken at %pS while one of class %s, taken at %pS, is held: "
		      "wrong order",
			spin_class_name(l->class), site, spin_class_name(last->class), last->site);
}

__attribute__((noinline)) void spin_debug_taken(struct spinlock *l)
{
	if (panic_is_mine())
		return;
	l->site = __builtin_return_address(0);
	l->below = last_taken();
	__atomic_store_n(&l->holder, my_word(), __ATOMIC_RELAXED);
	*my_word() = (uintptr_t)l;
}

__attribute__((noinline)) void spin_debug_released(struct spinlock *l)
{
	if (panic_is_mine())
		return;
	if (!is_mine(l))
		panic("spinlock of class %s released at %pS by one who doesn't hold it",
			spin_class_name(l->class), __builtin_return_address(0));
	if (last_taken() != l)
		panic("spinlock of class %s, taken at %pS, released at %pS before one of class %s, taken at "
		      "%pS",
			spin_class_name(l->class), l->site, __builtin_return_address(0),
			spin_class_name(last_taken()->class), last_taken()->site);
	*my_word() = (uintptr_t)l->below;
	__atomic_store_n(&l->holder, NULL, __ATOMIC_RELAXED);
}

__attribute__((noinline)) void spin_assert_none_held(void)
{
	struct spinlock *last = last_taken();

	/* A chain descends: below one of SPIN_CALLER there is none. */
	if (last && last->class > SPIN_CALLER)
		panic("code of others is called at %pS while a spinlock of class %s, taken at %pS, is held",
			__builtin_return_address(0), spin_class_name(last->class), last->site);
}

#endif
