/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Functions of an owner's, in which nothing may sleep.
 *
 *	uintptr_t outer = callback_enter(a->name);
 *	a->ffunc(...);
 *	callback_leave(outer);
 *
 * What may sleep panics in between, and names the owner and its own caller.
 */
#ifndef SPANDREL_LIB_CALLBACK_H
#define SPANDREL_LIB_CALLBACK_H

#include <stdint.h>

#include "port.h"

/* The name must outlive the call.  Returns what callback_leave() takes.  Pairs nest. */
static inline uintptr_t callback_enter(const char *name)
{
	uintptr_t outer = port_word(PORT_THREAD_CALLBACK);

	port_set_word(PORT_THREAD_CALLBACK, (uintptr_t)name);
	return outer;
}

static inline void callback_leave(uintptr_t outer)
{
	port_set_word(PORT_THREAD_CALLBACK, outer);
}

#endif
