/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intrusive doubly linked circular lists.  The head is a node like the others, so there are no
 * special cases.  Every operation takes constant time.  Locking is up to the caller.
 *
 *	struct list all = LIST_INIT(all);
 *	struct thing { struct list link; ... };
 *	list_add_tail(&all, &thing->link);
 *	list_for_each_entry (thing, &all, link)
 *		...
 */
#ifndef SPANDREL_LIB_LIST_H
#define SPANDREL_LIB_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name) {&(name), &(name)}

/* The struct of type `type` whose member `member` is at `ptr`. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* Links `node` just before `at`, a node or a head. */
static inline void list_insert_before(struct list *at, struct list *node)
{
	node->next = at;
	node->prev = at->prev;
	at->prev->next = node;
	at->prev = node;
}

/* Links `node` at the front of list `head`. */
static inline void list_add(struct list *head, struct list *node)
{
	list_insert_before(head->next, node);
}

/* Links `node` at the end of list `head`. */
static inline void list_add_tail(struct list *head, struct list *node)
{
	list_insert_before(head, node);
}

/* Unlinks `node` and makes it an empty list of its own, so that unlinking it again is harmless. */
static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)

#define list_for_each(pos, head) for ((pos) = (head)->next; (pos) != (head); (pos) = (pos)->next)

/* The head, which may lie in none, is never taken for an entry. */
#define list_for_each_entry(pos, head, member)                                                     \
	for (struct list *link_ = (head)->next;                                                    \
		link_ != (head) && ((pos) = list_entry(link_, __typeof__(*(pos)), member), true);          \
		link_ = link_->next)

#endif
