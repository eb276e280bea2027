/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contexts: how a call is made in each, and what the calls are about.
 */
#include "contexts.h"

#include "alarm.h"
#include "arenas.h"
#include "lib/catch.h"
#include "threads.h"
#include "lib/list.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "lib/test.h"

struct contexts contexts;

static struct kmem_cache *owned;

/* Attempts */

static const char *const names[] = {
	"a thread", "a thread with interrupts off", "a spinlock", "an interrupt", "a callback"};

struct attempt {
	void (*call)(void);
	bool panicked, done;
	char message[512];
};

/* Interrupts are as before, also if a call panicked.  A failed check ends the test from here. */
static void attempt(struct attempt *a)
{
	struct panic_catch catch;
	port_irq_t irq = port_irq_save();

	port_irq_restore(irq);
	panic_catch_push(&catch);
	if (machine_setjmp(&catch.jump) == 0)
		a->call();
	else
		a->panicked = true;
	panic_catch_pop(&catch);
	port_irq_restore(irq);
	str_copy(a->message, a->panicked ? catch.message : "", sizeof(a->message));
	__atomic_store_n(&a->done, true, __ATOMIC_RELEASE);
}

struct ring {
	struct alarm alarm;
	struct attempt *attempt;
};

static void ring(struct alarm *a)
{
	attempt(container_of(a, struct ring, alarm)->attempt);
}

static void attempt_in_interrupt(struct attempt *a)
{
	struct ring r = {.attempt = a};

	alarm_init(&r.alarm, ring);
	alarm_set(&r.alarm, 0);
	threads_await(&a->done);
	alarm_cancel(&r.alarm);
}

static size_t attempt_in_callback(void *a, size_t units)
{
	attempt(a);
	return 0;
}

static void attempt_in(enum context where, struct attempt *a)
{
	struct spinlock spin = SPINLOCK_INIT(SPIN_CALLER);
	port_irq_t irq;

	*a = (struct attempt){.call = a->call};
	switch (where) {
	case CONTEXT_IRQ_OFF:
		irq = port_irq_save();
		attempt(a);
		port_irq_restore(irq);
		break;
	case CONTEXT_SPINLOCK:
		irq = spin_lock(&spin);
		attempt(a);
		spin_unlock(&spin, irq);
		break;
	case CONTEXT_INTERRUPT:
		attempt_in_interrupt(a);
		break;
	case CONTEXT_CALLBACK:
		kmem_cache_set_reclaim(owned, attempt_in_callback, a);
		kmem_cache_reap(owned, KMEM_REAP_IDLE);
		kmem_cache_set_reclaim(owned, NULL, NULL);
		break;
	default:
		attempt(a);
	}
}

/* The report names the function, and not one that it calls. */
void contexts_refuses(enum context where, const struct contexts_row *row)
{
	struct attempt a = {.call = row->call};
	char name[40];

	attempt_in(where, &a);
	if (!a.panicked)
		test_fail(__FILE__, __LINE__, "%s in %s did not panic", row->name, names[where]);
	ksnprintf(name, sizeof(name), "%s in ", row->name);
	if (where == CONTEXT_IRQ_OFF || where == CONTEXT_SPINLOCK)
		ksnprintf(name, sizeof(name), "%s with interrupts off", row->name);
	test_check_contains(__FILE__, __LINE__, row->name, a.message, name);
}

void contexts_serves(enum context where, const struct contexts_row *row)
{
	struct attempt a = {.call = row->call};

	attempt_in(where, &a);
	if (a.panicked)
		test_fail(__FILE__, __LINE__, "%s in %s: %s", row->name, names[where], a.message);
}

/* What all calls need, and its end */

void contexts_begin(void)
{
	struct contexts *c = &contexts;

	c->ids = arenas_ids(1, 1000);
	c->fronted = arena_create("fronted", (void *)1, 100, 1, NULL, NULL, NULL, 4, MEM_WAIT);
	c->importer = arenas_importer("importer", c->ids, 1);
	c->loner = arenas_ids(1, 10);
	c->cache = kmem_cache_create("contexts", 64, 0, 0, NULL, NULL, NULL, NULL);
	owned = kmem_cache_create("owned", 64, 0, 0, NULL, NULL, NULL, NULL);
	c->fake = fake_disk_create(8);
	c->blocks = block_cache_create(&c->fake->disk);
	CHECK_EQ(block_get(c->blocks, 0, MEM_WAIT, &c->block), 0);
	qlock_init(&c->lock);
	sem_init(&c->sem, 1);
	cv_init(&c->cv);
	rendez_init(&c->rendez);
	rwlock_init(&c->rw);
}

void contexts_end(void)
{
	struct contexts *c = &contexts;

	block_put(c->block);
	CHECK_EQ(block_cache_destroy(c->blocks), 0);
	fake_disk_destroy(c->fake);
	CHECK_EQ(kmem_cache_destroy(owned), 0);
	CHECK_EQ(kmem_cache_destroy(c->cache), 0);
	arenas_end(c->importer);
	arenas_end(c->loner);
	arenas_end(c->fronted);
	arenas_end(c->ids);
}
