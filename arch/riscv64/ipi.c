/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts that cores raise.
 *
 * The processor has one such interrupt for each core, and the firmware raises it.  What it is for, each core
 * keeps as a bit for each vector, set before the interrupt is raised and taken in it.
 *
 * Functions to run.  A request lies on its caller's stack and in a list of the core it is for.  Any core
 * pushes to the list; only its owner takes from it, all requests at once.  The caller waits with interrupts
 * on, and so serves requests of others meanwhile: two cores that send requests to each other both make
 * progress.
 *
 * Flushes.  They are numbered.  One core at a time flushes: it takes the next number, interrupts all others,
 * and waits until each has stored that number.  What was unmapped before a flush began is in no TLB when it
 * has ended.  Other cores that need a flush wait with interrupts on; a core has nothing left to do if the
 * flush it needs has ended meanwhile.
 *
 * Freeze.  There is no interrupt that comes to a core with interrupts off: such a core is stopped where it waits for
 * another one (port_pause), and not if it hangs otherwise.
 */
#include "ipi.h"

#include <stddef.h>

#include "core.h"
#include "irq.h"
#include "lib/check.h"
#include "lib/panic.h"
#include "machine.h"
#include "riscv.h"
#include "sbi.h"

#define FREEZE_NS 1000000000ull /* the wait for cores to stop; a hypervisor may hold some up */

struct request {
	struct request *next;
	void (*fn)(void *arg);
	void *arg;
	bool done;
};

static unsigned poke_vector, run_vector, flush_vector; /* 0: not yet */

static uint64_t flushes_begun, flushes_ended;
static bool flushing;
static uint64_t shootdowns;

#define NO_CORE UINT32_MAX
static unsigned freezer = NO_CORE; /* the core that freezes all others */
static unsigned frozen;

/* Raising */

/* Release: pairs with the acquire in ipi_handle(). */
static void set_raised(struct core *core, unsigned vector)
{
	__atomic_fetch_or(&core->raised[vector / 64], 1ull << vector % 64, __ATOMIC_RELEASE);
}

static void raise_on(struct core *core, unsigned vector)
{
	set_raised(core, vector);
	sbi_send(core->hart);
}

/* Interrupts are off, so that this stays the running core. */
static void raise_here(unsigned vector)
{
	port_irq_t irq = port_irq_save();

	set_raised(core_self(), vector);
	csr_set(sip, 1u << IRQ_SOFTWARE);
	port_irq_restore(irq);
}

void machine_raise(unsigned vector)
{
	check_number("machine_raise", "vector", vector, MACHINE_VECTOR_FIRST, MACHINE_VECTOR_COUNT,
		__builtin_return_address(0));
	raise_here(vector);
}

static bool is_frozen(void)
{
	unsigned core = __atomic_load_n(&freezer, __ATOMIC_ACQUIRE);

	return core != NO_CORE && core != port_core_id();
}

static __attribute__((noreturn)) void freeze_own(uintptr_t frame)
{
	/* Release: pairs with the acquire in machine_core_backtrace(). */
	__atomic_store_n(&core_self()->frozen, frame, __ATOMIC_RELEASE);
	__atomic_fetch_add(&frozen, 1, __ATOMIC_RELEASE);
	csr_write(sie, 0);
	for (;;)
		wait_for_interrupt();
}

/* The instruction `pause`, which is a hint: processors without it do nothing. */
void port_pause(void)
{
	__asm__ volatile(".4byte 0x0100000f" : : : "memory");
	if (__builtin_expect(is_frozen(), 0))
		freeze_own((uintptr_t)__builtin_frame_address(0));
}

static void handle_word(struct core *core, unsigned word)
{
	uint64_t raised = __atomic_exchange_n(&core->raised[word], 0, __ATOMIC_ACQUIRE);

	for (; raised; raised &= raised - 1) {
		if (!irq_handle(word * 64 + (unsigned)__builtin_ctzll(raised)))
			core->spurious++;
	}
}

/* The interrupt is ended before what was raised is taken: what is raised later raises it again. */
void ipi_handle(uintptr_t frame)
{
	csr_clear(sip, 1u << IRQ_SOFTWARE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (is_frozen())
		freeze_own(frame);
	for (unsigned word = 0; word < RAISED_WORDS; word++)
		handle_word(core_self(), word);
}

/* A poke's interrupt ends a halt. */
static void poke_interrupt(void *arg)
{
	kernel_poked();
}

/* This core needs no interrupt: it doesn't halt while `poked` is set (port.c). */
void port_core_poke(unsigned core)
{
	check_core("port_core_poke", core, __builtin_return_address(0));
	/* Seq_cst: before the interrupt is sent; halt_once() reads it with interrupts off. */
	__atomic_store_n(&cores[core]->poked, true, __ATOMIC_SEQ_CST);
	if (core != port_core_id())
		raise_on(cores[core], poke_vector);
}

/* Functions run elsewhere */

static struct request *reverse(struct request *r)
{
	struct request *reversed = NULL;

	while (r) {
		struct request *next = r->next;

		r->next = reversed;
		reversed = r;
		r = next;
	}
	return reversed;
}

static void run_interrupt(void *arg)
{
	/* Acquire: pairs with the release in push_request(). */
	struct request *r = reverse(__atomic_exchange_n(&core_self()->requests, NULL, __ATOMIC_ACQUIRE));

	while (r) {
		struct request *next = r->next;

		r->fn(r->arg);
		/* Release: pairs with the acquire in run_on_other(), after which r is gone. */
		__atomic_store_n(&r->done, true, __ATOMIC_RELEASE);
		r = next;
	}
}

static void push_request(struct core *core, struct request *r)
{
	r->next = __atomic_load_n(&core->requests, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(
		&core->requests, &r->next, r, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

static void run_on_other(unsigned core, struct request *r)
{
	push_request(cores[core], r);
	raise_on(cores[core], run_vector);
	while (!__atomic_load_n(&r->done, __ATOMIC_ACQUIRE))
		port_pause();
}

void port_core_run(unsigned core, void (*fn)(void *arg), void *arg)
{
	struct request r = {.fn = fn, .arg = arg};
	port_irq_t irq;

	check_core_run(core, fn, __builtin_return_address(0));
	if (core != port_core_id()) {
		run_on_other(core, &r);
		return;
	}
	irq = port_irq_save();
	fn(arg);
	port_irq_restore(irq);
}

/* Flushes */

void ipi_flush_own(void)
{
	struct core *core = core_self();
	/* Acquire: pairs with the add in flush_everywhere(), which follows the unmapping. */
	uint64_t number = __atomic_load_n(&flushes_begun, __ATOMIC_ACQUIRE);

	flush_all();
	/* Release: pairs with the acquire in wait_for_flush(). */
	__atomic_store_n(&core->flushed, number, __ATOMIC_RELEASE);
}

static void flush_interrupt(void *arg)
{
	ipi_flush_own();
}

static void wait_for_flush(uint64_t number, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		while (__atomic_load_n(&cores[i]->flushed, __ATOMIC_ACQUIRE) < number)
			port_pause();
	}
}

/* Context: `flushing` is held. */
static void flush_everywhere(void)
{
	uint64_t number = __atomic_add_fetch(&flushes_begun, 1, __ATOMIC_SEQ_CST);
	unsigned count = port_core_count();
	port_irq_t irq = port_irq_save();

	if (count > 1)
		__atomic_fetch_add(&shootdowns, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < count; i++)
		if (i != port_core_id())
			raise_on(cores[i], flush_vector);
	ipi_flush_own();
	port_irq_restore(irq);
	wait_for_flush(number, count);
	__atomic_store_n(&flushes_ended, number, __ATOMIC_RELEASE);
}

static bool has_ended(uint64_t number)
{
	return __atomic_load_n(&flushes_ended, __ATOMIC_ACQUIRE) >= number;
}

void ipi_flush_until(uint64_t number)
{
	while (!has_ended(number)) {
		ASSERT(machine_irq_enabled());
		if (__atomic_exchange_n(&flushing, true, __ATOMIC_ACQUIRE)) {
			port_pause();
			continue;
		}
		if (!has_ended(number))
			flush_everywhere();
		__atomic_store_n(&flushing, false, __ATOMIC_RELEASE);
	}
}

uint64_t ipi_next_flush(void)
{
	return __atomic_load_n(&flushes_begun, __ATOMIC_SEQ_CST) + 1;
}

uint64_t machine_shootdowns(void)
{
	return __atomic_load_n(&shootdowns, __ATOMIC_RELAXED);
}

/* Freeze */

static void send_freeze(void)
{
	for (unsigned i = 0; i < port_core_count(); i++)
		if (i != port_core_id())
			sbi_send(cores[i]->hart);
}

void machine_freeze(void)
{
	unsigned none = NO_CORE, others = port_core_count() - 1;
	uint64_t end = port_ns() + FREEZE_NS;
	port_irq_t irq = port_irq_save();

	if (__atomic_compare_exchange_n(
		    &freezer, &none, port_core_id(), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
		send_freeze();
		while (__atomic_load_n(&frozen, __ATOMIC_ACQUIRE) < others && port_ns() < end)
			port_pause();
	}
	port_irq_restore(irq);
}

bool ipi_init(void)
{
	static const struct irq_request requests[] = {
		{"poke", poke_interrupt, NULL},
		{"run", run_interrupt, NULL},
		{"flush", flush_interrupt, NULL},
	};
	unsigned first = irq_alloc_block(requests, 3);

	if (!first)
		return false;
	poke_vector = first;
	run_vector = first + 1;
	flush_vector = first + 2;
	irq_set_route(poke_vector, "from other cores");
	irq_set_route(run_vector, "from other cores");
	irq_set_route(flush_vector, "from other cores");
	return true;
}
