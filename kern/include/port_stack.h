/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The steps of per-core stacks (port.h) for a port that has none of its own: with interrupts off, which makes
 * choosing the stack and moving its pointers one step to all but NMIs.
 */
#ifndef SPANDREL_PORT_STACK_H
#define SPANDREL_PORT_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port.h"

#if !PORT_HAS_STACKS

struct port_stack {
	void **top, **bottom, **limit;
};

/* Interrupts are off. */
static inline struct port_stack *port_stack_self(struct port_stack *first, size_t stride)
{
	return (struct port_stack *)((char *)first + port_core_id() * stride);
}

static inline void *port_stack_pop(struct port_stack *first, size_t stride, struct port_stack **used)
{
	port_irq_t irq = port_irq_save();
	struct port_stack *s = *used = port_stack_self(first, stride);
	void *p = s->top <= s->bottom ? (void *)0 : *--s->top;

	port_irq_restore(irq);
	return p;
}

static inline bool port_stack_push(struct port_stack *first, size_t stride, void *p, struct port_stack **used)
{
	port_irq_t irq = port_irq_save();
	struct port_stack *s = *used = port_stack_self(first, stride);
	bool goes = s->top < s->limit && s->top[-1] != p;

	if (goes)
		*s->top++ = p;
	port_irq_restore(irq);
	return goes;
}

static inline size_t port_stack_pop_many(struct port_stack *first, size_t stride, void **to, size_t n)
{
	port_irq_t irq = port_irq_save();
	struct port_stack *s = port_stack_self(first, stride);
	size_t there = s->top > s->bottom ? (size_t)(s->top - s->bottom) : 0;
	size_t moved = there < n ? there : n;

	s->top -= moved;
	for (size_t i = 0; i < moved; i++)
		to[i] = s->top[i];
	port_irq_restore(irq);
	return moved;
}

static inline size_t port_stack_push_many(struct port_stack *first, size_t stride, void *const *from, size_t n)
{
	port_irq_t irq = port_irq_save();
	struct port_stack *s = port_stack_self(first, stride);
	size_t room = s->limit > s->top ? (size_t)(s->limit - s->top) : 0;
	size_t most = room < n ? room : n, moved = 0;

	for (; moved < most && s->top[-1] != from[moved]; moved++)
		*s->top++ = from[moved];
	port_irq_restore(irq);
	return moved;
}

static inline void port_stack_close(struct port_stack *s)
{
	s->bottom = (void **)UINTPTR_MAX;
	s->limit = (void **)0;
}

static inline void port_stack_set(struct port_stack *s, void **bottom, void **top, void **limit)
{
	s->top = top;
	s->limit = limit;
	s->bottom = bottom;
}

#endif
#endif
