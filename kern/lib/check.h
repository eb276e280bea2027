/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What public functions check of the callers' arguments, each in one form.  `call` names the function,
 * `caller` is its return address.
 *
 *	check_given("disk_read", "disk", d, __builtin_return_address(0));
 *
 * Context: any.  Cost: constant.
 */
#ifndef SPANDREL_LIB_CHECK_H
#define SPANDREL_LIB_CHECK_H

#include "lib/panic.h"

/* Panics if `given`, the address of a `what`, is NULL. */
static inline void check_given(const char *call, const char *what, const void *given, void *caller)
{
	if (__builtin_expect(!given, 0))
		panic("%s of %s %s at NULL (called from %pS)", call, what[0] == 'a' || what[0] == 'i' ? "an" : "a",
			what, caller);
}

/* Panics if no core runs that has this number. */
static inline void check_core(const char *call, unsigned core, void *caller)
{
	if (__builtin_expect(core >= port_core_count(), 0))
		panic("%s of core %u of %u (called from %pS)", call, core, port_core_count(), caller);
}

/* Panics if a `what` of this number isn't one of the `count` ones from `first` on. */
static inline void check_number(
	const char *call, const char *what, unsigned number, unsigned first, unsigned count, void *caller)
{
	if (__builtin_expect(number - first >= count, 0))
		panic("%s of %s %u, which isn't from %u to %u (called from %pS)", call, what, number, first,
			first + (count - 1), caller);
}

/* Panics if no `size` bytes, a power of two, of the configuration space of a PCI function lie at `offset`. */
static inline void check_pci(const char *call, unsigned function, unsigned offset, unsigned size, void *caller)
{
	check_number(call, "function", function, 0, 1u << 16, caller);
	if (__builtin_expect(offset >= 256 || offset % size != 0, 0))
		panic("%s of offset %#x, which isn't a multiple of %u below 0x100 (called from %pS)", call, offset,
			size, caller);
}

/* For port_core_run(): panics if there is no such core, or the caller may not wait for it.  Two cores that
 * each waited in an interrupt for the other to take one would never end. */
static inline void check_core_run(unsigned core, void (*fn)(void *arg), void *caller)
{
	check_core("port_core_run", core, caller);
	if (port_in_irq() || (core != port_core_id() && !port_may_sleep()))
		panic("port_core_run of %pS on core %u %s (called from %pS)", (void *)(uintptr_t)fn, core,
			port_in_irq() ? "in an interrupt" : "with interrupts off", caller);
}

#endif
