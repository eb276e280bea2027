/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Spinlocks, and what debug builds find wrong about their use.
 */
#include "spinlock.h"

#include "port.h"
#include "lib/test.h"
#include "threads.h"

struct counted {
	struct spinlock lock;
	size_t value;
};

static void count(unsigned i, void *arg)
{
	struct counted *c = arg;

	for (size_t n = 0; n < test_ops(20000); n++) {
		port_irq_t irq = spin_lock(&c->lock);

		CHECK(!port_irq_enabled());
		c->value++;
		spin_unlock(&c->lock, irq);
	}
	CHECK(port_irq_enabled());
}

TEST("spinlock: one holder at a time")
{
	struct counted c = {SPINLOCK_INIT(SPIN_LEAF), 0};

	threads_run(THREADS_PINNED, port_core_count(), count, &c);
	CHECK_EQ(c.value, port_core_count() * test_ops(20000));
	CHECK(!spin_is_locked(&c.lock));
}

#if SPANDREL_DEBUG
TEST("spinlock: classes are taken in order, and both places are named")
{
	struct spinlock arena = SPINLOCK_INIT(SPIN_ARENA), other = SPINLOCK_INIT(SPIN_ARENA),
			supply = SPINLOCK_INIT(SPIN_SUPPLY), leaf = SPINLOCK_INIT(SPIN_LEAF);
	port_irq_t irq = spin_lock(&arena), inner;

	CHECK_PANICS(spin_lock(&supply),
		"spinlock of class tag supply taken at test_");
	CHECK_PANICS(spin_lock(&supply), "while one of class arena, taken at test_");
	CHECK_PANICS(spin_lock(&other), "wrong order");
	inner = spin_lock(&leaf);
	spin_unlock(&leaf, inner);
	spin_unlock(&arena, irq);
	irq = spin_lock(&supply);
	inner = spin_lock(&arena);
	spin_unlock(&arena, inner);
	spin_unlock(&supply, irq);
}

TEST("spinlock: taking one twice and releasing what isn't held are found")
{
	struct spinlock a = SPINLOCK_INIT(SPIN_ARENA), b = SPINLOCK_INIT(SPIN_LEAF);
	port_irq_t irq = spin_lock(&a), inner;

	CHECK_PANICS(spin_lock(&a), "is taken again at ");
	CHECK_PANICS(spin_unlock(&b, irq), "by one who doesn't hold it");
	inner = spin_lock(&b);
	CHECK_PANICS(spin_unlock(&a, irq), "before one of class leaf");
	spin_unlock(&b, inner);
	spin_unlock(&a, irq);
	CHECK_PANICS(spin_unlock(&a, irq), "by one who doesn't hold it");
}

TEST("spinlock: code of others isn't called with one held")
{
	struct spinlock a = SPINLOCK_INIT(SPIN_LEAF);
	port_irq_t irq = spin_lock(&a);

	CHECK_PANICS(spin_assert_none_held(), "while a spinlock of class leaf, taken at ");
	spin_unlock(&a, irq);
	spin_assert_none_held();
}
#endif
