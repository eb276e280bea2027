/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Accesses to memory as steps.  The compiler, told to instrument for ThreadSanitizer, calls these functions before
 * each access and for each atomic one; here stands the simulation in place of that sanitizer's library.
 *
 * In some schedules an atomic store that isn't sequentially consistent stays with its core for a while, as in a
 * processor's store buffer: the core itself sees it, others don't yet.  It goes to memory with the core's next atomic
 * change, fence or step of the port, with an access of its own that overlaps it, when there are more than
 * STORES_MAX, or by chance.  So a missing fence between a store and a load shows.  Loads aren't delayed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "host.h"
#include "sim.h"

#include "port.h"

#define STORES_MAX 4

struct store {
	uintptr_t at;
	size_t size;
	uint64_t value;
};

static struct {
	struct store stores[STORES_MAX]; /* the oldest first */
	size_t count;
} buffers[SIM_CORES_MAX];
static size_t kept; /* stores in all of them */

static void drain_one(unsigned core)
{
	struct store s = buffers[core].stores[0];

	kept--;
	buffers[core].count--;
	memmove(buffers[core].stores, buffers[core].stores + 1, buffers[core].count * sizeof(s));
	memcpy((void *)s.at, &s.value, s.size);
}

void sim_stores_drain(unsigned core)
{
	while (buffers[core].count > 0)
		drain_one(core);
}

static void drain_mine(void)
{
	if (kept > 0 && host_self())
		sim_stores_drain(port_core_id());
}

/* An access of this core: by chance an older store goes to memory; all do before one that overlaps any. */
static void drain_for(uintptr_t at, size_t size)
{
	unsigned core;

	if (kept == 0 || !host_self())
		return;
	core = port_core_id();
	if (buffers[core].count > 0 && sim_schedule_drains())
		drain_one(core);
	for (size_t i = 0; i < buffers[core].count; i++) {
		const struct store *s = &buffers[core].stores[i];

		if (at < s->at + s->size && s->at < at + size) {
			sim_stores_drain(core);
			return;
		}
	}
}

static bool keep_store(uintptr_t at, size_t size, uint64_t value, int order)
{
	unsigned core;

	if (order == __ATOMIC_SEQ_CST || !host_self() || host_self()->whole || !sim_schedule_keeps_stores())
		return false;
	core = port_core_id();
	if (buffers[core].count == STORES_MAX)
		drain_one(core);
	kept++;
	buffers[core].stores[buffers[core].count++] = (struct store){at, size, value};
	return true;
}

static void step_plain(const void *at, size_t size, void *pc)
{
	if (sim_schedule_looks(SIM_PLAIN))
		sim_step(SIM_PLAIN, pc);
	drain_for((uintptr_t)at, size);
}

void __tsan_init(void);
void __tsan_func_entry(void *pc);
void __tsan_func_exit(void);

void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc)
{
}

void __tsan_func_exit(void)
{
}

#define PLAIN(name, size)                                                                          \
	void __tsan_##name(void *at);                                                              \
	void __tsan_##name(void *at)                                                               \
	{                                                                                          \
		step_plain(at, size, __builtin_return_address(0));                                 \
	}

PLAIN(read1, 1)
PLAIN(write1, 1)
PLAIN(read2, 2)
PLAIN(write2, 2)
PLAIN(read4, 4)
PLAIN(write4, 4)
PLAIN(read8, 8)
PLAIN(write8, 8)
PLAIN(read16, 16)
PLAIN(write16, 16)
PLAIN(unaligned_read2, 2)
PLAIN(unaligned_write2, 2)
PLAIN(unaligned_read4, 4)
PLAIN(unaligned_write4, 4)
PLAIN(unaligned_read8, 8)
PLAIN(unaligned_write8, 8)
PLAIN(unaligned_read16, 16)
PLAIN(unaligned_write16, 16)

#define RANGE(name)                                                                                \
	void __tsan_##name(void *at, size_t size);                                                 \
	void __tsan_##name(void *at, size_t size)                                                  \
	{                                                                                          \
		step_plain(at, size, __builtin_return_address(0));                                 \
	}

RANGE(read_range)
RANGE(write_range)

static void step_change(void *pc)
{
	sim_step(SIM_PORT, pc);
	drain_mine();
}

#define ATOMIC_CHANGE(bits, type, operation)                                                       \
	type __tsan_atomic##bits##_##operation(volatile type *at, type value, int order);          \
	type __tsan_atomic##bits##_##operation(volatile type *at, type value, int order)           \
	{                                                                                          \
		step_change(__builtin_return_address(0));                                          \
		return __atomic_##operation(at, value, __ATOMIC_SEQ_CST);                          \
	}

/* Neither fails without a reason. */
#define ATOMIC_COMPARE(bits, type, operation)                                                      \
	int __tsan_atomic##bits##_##operation(                                                     \
		volatile type *at, type *expected, type value, int order, int fail_order);         \
	int __tsan_atomic##bits##_##operation(                                                     \
		volatile type *at, type *expected, type value, int order, int fail_order)          \
	{                                                                                          \
		step_change(__builtin_return_address(0));                                          \
		return __atomic_compare_exchange_n(                                                \
			at, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);           \
	}

#define ATOMIC(bits, type)                                                                         \
	type __tsan_atomic##bits##_load(const volatile type *at, int order);                       \
	type __tsan_atomic##bits##_load(const volatile type *at, int order)                        \
	{                                                                                          \
		sim_step(SIM_ATOMIC, __builtin_return_address(0));                                 \
		drain_for((uintptr_t)at, sizeof(type));                                            \
		return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                      \
	}                                                                                          \
	void __tsan_atomic##bits##_store(volatile type *at, type value, int order);                \
	void __tsan_atomic##bits##_store(volatile type *at, type value, int order)                 \
	{                                                                                          \
		sim_step(SIM_ATOMIC, __builtin_return_address(0));                                 \
		drain_for((uintptr_t)at, sizeof(type));                                            \
		if (order == __ATOMIC_SEQ_CST)                                                     \
			drain_mine();                                                              \
		if (!keep_store((uintptr_t)at, sizeof(type), value, order))                        \
			__atomic_store_n(at, value, __ATOMIC_SEQ_CST);                             \
	}                                                                                          \
	type __tsan_atomic##bits##_exchange(volatile type *at, type value, int order);             \
	type __tsan_atomic##bits##_exchange(volatile type *at, type value, int order)              \
	{                                                                                          \
		step_change(__builtin_return_address(0));                                          \
		return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);                           \
	}                                                                                          \
	ATOMIC_COMPARE(bits, type, compare_exchange_strong)                                        \
	ATOMIC_COMPARE(bits, type, compare_exchange_weak)                                          \
	ATOMIC_CHANGE(bits, type, fetch_add)                                                       \
	ATOMIC_CHANGE(bits, type, fetch_sub)                                                       \
	ATOMIC_CHANGE(bits, type, fetch_and)                                                       \
	ATOMIC_CHANGE(bits, type, fetch_or)                                                        \
	ATOMIC_CHANGE(bits, type, fetch_xor)

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
	sim_step(SIM_ATOMIC, __builtin_return_address(0));
	if (order == __ATOMIC_SEQ_CST)
		drain_mine();
}

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
}
