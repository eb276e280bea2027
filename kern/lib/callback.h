/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Functions of an owner's, in which nothing may sleep.
 *
 *	struct callback call = callback_enter(a->name);
 *	a->ffunc(...);
 *	callback_leave(call);
 *
 * What may sleep panics in between, and names the owner and its own caller.  In debug builds a function that
 * returns with a spinlock or qlock held that it took is a panic, which names where that was taken and where it
 * returned to.
 */
#ifndef SPANDREL_LIB_CALLBACK_H
#define SPANDREL_LIB_CALLBACK_H

#include <stdint.h>

#include "port.h"
#include "sync.h"

/* What stands outside of a call. */
struct callback {
	uintptr_t outer; /* the word's value */
#if SPIN_CHECKS
	const char *name;
	uintptr_t spinlock, qlock; /* what the thread took last */
#endif
};

#if SPIN_CHECKS
/* Notes what the thread holds, before a function of the owner `name`; panics behind it if it holds more. */
void callback_note(struct callback *c, const char *name);
void callback_check(const struct callback *c);
/* A callback of reclaim begins, or has returned. */
void callback_is_reclaim(bool begins);
#else
static inline void callback_note(struct callback *c, const char *name)
{
}

static inline void callback_check(const struct callback *c)
{
}

static inline void callback_is_reclaim(bool begins)
{
}
#endif

/* The name must outlive the call.  Returns what callback_leave() takes.  Pairs nest. */
static inline struct callback callback_enter(const char *name)
{
	struct callback c;

	c.outer = port_word(PORT_THREAD_CALLBACK);
	callback_note(&c, name);
	port_set_word(PORT_THREAD_CALLBACK, (uintptr_t)name);
	return c;
}

/* Inlined, so that debug builds name where the function returned to. */
static inline __attribute__((always_inline)) void callback_leave(struct callback c)
{
	port_set_word(PORT_THREAD_CALLBACK, c.outer);
	callback_check(&c);
}

#endif
