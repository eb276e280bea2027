/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sentences of kthread.h, alarm.h, irq.h and port.h that no other test is about.
 */
#include "kthread.h"

#include "alarm.h"
#include "irq.h"
#include "machine.h"
#include "port.h"
#include "sync.h"
#include "threads.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"

/* The row of a ktask */

static struct ktask_stats row_of(const struct ktask *t)
{
	struct ktask_stats row;

	CHECK_EQ(ktask_stats(ktask_id(t), &row, 1), 1);
	CHECK_EQ(row.id, ktask_id(t));
	return row;
}

struct stages {
	struct semaphore go;
	unsigned stage; /* atomic */
	size_t frame;	/* bytes of stack to use */
};

static __attribute__((noinline)) void use_stack(size_t left)
{
	volatile char frame[512];

	frame[0] = 1;
	if (left > sizeof(frame))
		use_stack(left - sizeof(frame));
	frame[1] = frame[0];
}

static void set_stage(struct stages *s, unsigned stage)
{
	__atomic_store_n(&s->stage, stage, __ATOMIC_RELEASE);
}

static void await_stage(struct stages *s, unsigned stage)
{
	while (__atomic_load_n(&s->stage, __ATOMIC_ACQUIRE) < stage && !test_has_failed())
		kthread_yield();
}

static void go_through(void *arg)
{
	struct stages *s = arg;

	use_stack(s->frame);
	set_stage(s, 1);
	sem_down(&s->go, 1);
	set_stage(s, 2);
}

/* Whether it has that state, or comes to have it. */
static void await_state(const struct ktask *t, const char *state)
{
	uint64_t deadline = port_ns() + THREADS_PATIENCE;

	while (strcmp(row_of(t).state, state) != 0 && port_ns() < deadline)
		kthread_yield();
	CHECK_STR(row_of(t).state, state);
}

TEST("ktask: its row says where it runs, what it does, how often, how long, its stack")
{
	unsigned core = port_core_count() - 1;
	struct stages s = {.go = SEMAPHORE_INIT(s.go, 0), .frame = 40 * PORT_PAGE_SIZE};
	struct ktask_plan plan = {.name = "row", .fn = go_through, .arg = &s, .core = core,
		.stack_size = 120 * PORT_PAGE_SIZE};
	struct ktask *t = ktask_create(&plan);
	struct ktask_stats asleep, ended;

	await_stage(&s, 1);
	await_state(t, "asleep");
	asleep = row_of(t);
	CHECK_STR(asleep.name, "row");
	CHECK_EQ(asleep.core, core);
	CHECK(asleep.pinned);
	CHECK_EQ(asleep.stack_size, 120 * PORT_PAGE_SIZE);
	CHECK_LE(1, asleep.switches);
	CHECK_LT(0, asleep.ns);
	sem_up(&s.go, 1);
	await_stage(&s, 2);
	await_state(t, "ended");
	ended = row_of(t);
	CHECK_LT(asleep.switches, ended.switches);
	CHECK_LE(asleep.ns, ended.ns);
	ktask_join(t);
	CHECK_STR(row_of(ktask_self()).state, "running");
}

TEST("ktask: a row that is asked for by an id that is gone is the next one's")
{
	struct stages s = {.go = SEMAPHORE_INIT(s.go, 1)};
	struct ktask *t = ktask("gone", go_through, &s);
	uint64_t id = ktask_id(t);
	struct ktask_stats row;

	ktask_join(t);
	CHECK(ktask_stats(id, &row, 1) == 0 || row.id > id);
	CHECK_EQ(ktask_stats(UINT64_MAX, &row, 1), 0);
}

/* The token of port_thread_unblock() */

TEST("port: an unblock that came before ends the next block")
{
	port_thread_unblock(port_thread_self());
	port_thread_unblock(port_thread_self());
	port_thread_block(PORT_FOREVER);
}

static void note_core(void *arg)
{
	*(unsigned *)arg = machine_irq_enabled() ? UINT32_MAX : port_core_id();
}

TEST("port: a function is run on the caller's own core with interrupts off there, too")
{
	port_irq_t irq = port_irq_save();
	unsigned ran = UINT32_MAX, me = port_core_id();

	port_core_run(me, note_core, &ran);
	port_irq_restore(irq);
	CHECK_EQ(ran, me);
}

TEST("port: a backtrace from a frame that is none ends, and never faults")
{
	static uintptr_t loop[2], page[2];
	const uintptr_t frames[] = {1, 7, 8, PORT_PAGE_SIZE, UINTPTR_MAX, UINTPTR_MAX - 7, (uintptr_t)1 << 63,
		0x0000800000000000, 0xffff7ffffffffff8, (uintptr_t)&loop[0], (uintptr_t)&page[0],
		(uintptr_t)&loop[0] + 1};
	uintptr_t pcs[8];

	loop[0] = (uintptr_t)&loop[0];
	page[0] = 0x4000;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		CHECK_LE(port_backtrace(frames[i], pcs, ARRAY_SIZE(pcs)), ARRAY_SIZE(pcs));
	CHECK_LE(2, port_backtrace(0, pcs, ARRAY_SIZE(pcs)));
	CHECK_EQ(port_backtrace(0, pcs, 0), 0);
	CHECK_EQ(port_backtrace(0, pcs, 1), 1);
}

static void look_at_clock(unsigned i, void *arg)
{
	uint64_t last = port_ns();

	for (size_t n = 0; n < test_ops(100000); n++) {
		uint64_t now = port_ns();

		CHECK_LE(last, now);
		last = now;
	}
}

TEST("port: the clock never runs backward on a core")
{
	threads_run(THREADS_PINNED, port_core_count(), look_at_clock, NULL);
}

/* Alarms */

struct noted {
	struct alarm alarm;
	bool in_irq, irq_on;
	unsigned rings; /* atomic */
};

static void note_ring(struct alarm *a)
{
	struct noted *n = (struct noted *)a;

	n->in_irq = port_in_irq();
	n->irq_on = machine_irq_enabled();
	__atomic_fetch_add(&n->rings, 1, __ATOMIC_RELEASE);
}

TEST("alarm: its handler is called once, in an interrupt; one for ever never")
{
	struct noted once = {.rings = 0}, never = {.rings = 0};
	uint64_t deadline = port_ns() + THREADS_PATIENCE;

	alarm_init(&never.alarm, note_ring);
	alarm_set(&never.alarm, PORT_FOREVER);
	alarm_init(&once.alarm, note_ring);
	alarm_set(&once.alarm, port_ns() + 1000);
	while (!__atomic_load_n(&once.rings, __ATOMIC_ACQUIRE) && port_ns() < deadline)
		kthread_usleep(100);
	kthread_usleep(3000);
	CHECK_EQ(once.rings, 1);
	CHECK(once.in_irq && !once.irq_on);
	CHECK(!alarm_cancel(&once.alarm));
	CHECK_EQ(never.rings, 0);
	CHECK(alarm_cancel(&never.alarm));
}

TEST("alarm: setting one that is set is a caller's bug, and leaves it as it was")
{
	struct alarm a;

	alarm_init(&a, note_ring);
	alarm_set(&a, PORT_FOREVER);
	CHECK_PANICS(alarm_set(&a, 0), "is set while it is set (called from test_");
	CHECK_EQ(a.deadline, PORT_FOREVER);
	CHECK(alarm_cancel(&a));
	CHECK(!alarm_cancel(&a));
	alarm_set(&a, PORT_FOREVER);
	CHECK(alarm_cancel(&a));
}

TEST("alarm: readying one that is set is a caller's bug, any other memory is good")
{
	struct alarm a, b;

	memset(&a, 0xff, sizeof(a));
	alarm_init(&a, note_ring);
	alarm_set(&a, PORT_FOREVER);
	CHECK_PANICS(alarm_init(&a, note_ring), "is readied while it is set (called from test_");
	b = a;
	alarm_init(&b, note_ring);
	CHECK(alarm_cancel(&a));
	alarm_init(&a, note_ring);
	CHECK(!alarm_cancel(&a) && !alarm_cancel(&b));
}

/* Interrupts */

static bool raise(unsigned vector)
{
	port_irq_t irq = port_irq_save();
	bool handled = irq_handle(vector);

	port_irq_restore(irq);
	return handled;
}

static void do_nothing(void *arg)
{
}

TEST("irq: a core counts all vectors' interrupts, a vector its own since handed out")
{
	static const char name[] = "counted";
	unsigned a = irq_alloc(name, do_nothing, NULL), b = irq_alloc("other", do_nothing, NULL), core;
	struct irq_info info;
	uint64_t before;
	port_irq_t irq = port_irq_save();

	core = port_core_id();
	before = irq_core_count(core);
	for (int i = 0; i < 3; i++)
		CHECK(irq_handle(a) && irq_handle(b) && irq_handle(b));
	CHECK_EQ(irq_core_count(core), before + 9);
	port_irq_restore(irq);
	CHECK(irq_next(a, &info));
	CHECK_EQ(info.count, 3);
	CHECK(info.name == name);
	CHECK(irq_next(b, &info));
	CHECK_EQ(info.count, 6);
	irq_free(b);
	irq_free(a);
}

TEST("irq: a route is cut where no more is kept, gone when the vector is handed out")
{
	unsigned v = irq_alloc("route", do_nothing, NULL), again;
	char text[2 * IRQ_ROUTE_MAX];
	struct irq_info info;

	memset(text, 'r', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	irq_set_route(v, "%s", text);
	CHECK(irq_next(v, &info));
	CHECK_EQ(strlen(info.route), IRQ_ROUTE_MAX - 1);
	irq_free(v);
	again = irq_alloc("route", do_nothing, NULL);
	CHECK(irq_next(again, &info));
	CHECK_STR(info.route, "");
	irq_free(again);
}

struct busy {
	unsigned vector;
	bool is_inside, may_leave; /* atomic */
};

static void stay_inside(void *arg)
{
	struct busy *b = arg;

	__atomic_store_n(&b->is_inside, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&b->may_leave, __ATOMIC_ACQUIRE))
		port_pause();
	/* A while after the free may have begun. */
	for (int i = 0; i < 1000; i++)
		port_pause();
	__atomic_store_n(&b->is_inside, false, __ATOMIC_RELEASE);
}

static void handle_or_free(unsigned i, void *arg)
{
	struct busy *b = arg;

	if (i == 0) {
		CHECK(raise(b->vector));
		return;
	}
	threads_await(&b->is_inside);
	__atomic_store_n(&b->may_leave, true, __ATOMIC_RELEASE);
	irq_free(b->vector);
	CHECK(!__atomic_load_n(&b->is_inside, __ATOMIC_ACQUIRE));
}

TEST("irq: when a vector has been freed, no core is inside its handler")
{
	struct busy b = {.is_inside = false};

	if (port_core_count() < 2)
		return;
	b.vector = irq_alloc("busy", stay_inside, &b);
	threads_run(THREADS_PINNED, 2, handle_or_free, &b);
}

static void note_run(void *arg)
{
	__atomic_store_n((bool *)arg, true, __ATOMIC_RELEASE);
}

TEST("kthread: a sleep of no time lets others of the core run")
{
	bool has_run = false;
	struct ktask *t = ktask_pinned("other", note_run, &has_run, port_core_id());

	while (!__atomic_load_n(&has_run, __ATOMIC_ACQUIRE))
		kthread_usleep(0);
	ktask_join(t);
}
