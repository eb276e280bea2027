/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The queue of requests that sleep, inside: wait.c has the theory and the records, marks.c the marks, and
 * rounds.c the server's side.
 */
#ifndef SPANDREL_ARENA_WAIT_IMPL_H
#define SPANDREL_ARENA_WAIT_IMPL_H

#include "arena_impl.h"
#include "shortage.h"

struct shortage_queue {
	struct spinlock lock;
	struct shortage head;	/* no record: the first is behind it, the last before it */
	struct shortage cursor; /* no record: the server's place, in the queue during a round */
	size_t count;		/* of all; atomic */
	size_t unanswered;	/* of those: atomic */
	size_t parked;		/* parts of them; atomic */
	uint64_t round;
	unsigned holders;	/* roots with a record that holds up others; atomic */
	uint64_t changes;	/* of accounts */
	bool poked;
	struct rendez server;
	port_thread_t *server_thread;
	struct shortage_counts counts;
};
extern struct shortage_queue shortage_queue;

/* Links; the queue's lock is held. */

static inline void shortage_link(struct shortage *at, struct shortage *s)
	SPANDREL_REQUIRES(&shortage_queue.lock)
{
	s->next = at;
	s->prev = at->prev;
	at->prev->next = s;
	at->prev = s;
}

static inline void shortage_unlink(struct shortage *s) SPANDREL_REQUIRES(&shortage_queue.lock)
{
	s->prev->next = s->next;
	s->next->prev = s->prev;
}

/* Records */

static inline struct shortage_part *shortage_part_of(struct shortage *s, unsigned i)
{
	return i < s->part_count ? &s->parts[i] : s->has_tag_part && i == s->part_count ? &s->tag_part : NULL;
}

static inline struct arena *shortage_arena(const struct shortage *s)
{
	return s->parts[0].arena;
}

/* The mark of what the record names first. */
static inline struct shortage_mark *shortage_mark_of(const struct shortage *s)
{
	return s->parts[0].cache ? s->parts[0].cache : &shortage_arena(s)->mark;
}

static inline bool shortage_waits_for_pass(const struct shortage *s)
{
	return (s->flags & MEM_ERROR) && (s->deadline == 0 || s->deadline == PORT_FOREVER);
}

/* Its answer is there.  The queue's lock is held. */
void shortage_set_answered(struct shortage *s) SPANDREL_REQUIRES(&shortage_queue.lock);
/* No record holds up others of the account's root, for a while.  The queue's lock is held. */
void shortage_hold_end(struct arena_account *account) SPANDREL_REQUIRES(&shortage_queue.lock);

/* A record that depends on what is marked comes, or goes.  shortage_marks_lock is held. */
void shortage_mark_add(struct shortage_mark *m) SPANDREL_REQUIRES(&shortage_marks_lock);
void shortage_mark_sub(struct shortage_mark *m) SPANDREL_REQUIRES(&shortage_marks_lock);

#endif
