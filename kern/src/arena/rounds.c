/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shortage: the server's side, pokes and rounds over the records.  Theory: wait.c.
 */
#include "wait_impl.h"

/* How often others may be served before a record holds them up. */
#define PASSED_MAX 64
#define SCAN_STEP 32 /* records that are passed under one hold of the queue's lock */

/* Pokes */

void shortage_poke_always(void)
{
	if (!__atomic_exchange_n(&shortage_queue.poked, true, __ATOMIC_SEQ_CST))
		rendez_wakeup(&shortage_queue.server);
}

/* What the server gives back doesn't poke it: it was there when the round's tries began.  An interrupt
 * may come while it runs. */
void shortage_poke(void)
{
	if (__atomic_load_n(&shortage_queue.unanswered, __ATOMIC_RELAXED) == 0)
		return;
	if (port_thread_self() == __atomic_load_n(&shortage_queue.server_thread, __ATOMIC_RELAXED) && !port_in_irq())
		return;
	shortage_poke_always();
}

static bool is_poked(void *arg)
{
	return __atomic_load_n(&shortage_queue.poked, __ATOMIC_ACQUIRE);
}

void shortage_await_poke(uint64_t deadline)
{
	__atomic_store_n(&shortage_queue.server_thread, port_thread_self(), __ATOMIC_RELAXED);
	rendez_sleep_timeout(&shortage_queue.server, is_poked, NULL, deadline);
	/* Acquire: what was freed before the poke is there for the round. */
	(void)__atomic_exchange_n(&shortage_queue.poked, false, __ATOMIC_SEQ_CST);
}

/* Order */

/* What was served since its last try has passed it.  Queue's lock held. */
static void count_passes(struct shortage *s, struct arena_account *account)
	SPANDREL_REQUIRES(&shortage_queue.lock)
{
	size_t serves = __atomic_load_n(&account->serves, __ATOMIC_RELAXED);

	__atomic_store_n(&s->passed, s->passed + (serves - s->passes_seen), __ATOMIC_RELAXED);
	s->passes_seen = serves;
	if (account->holder || s->is_parked || s->passed < PASSED_MAX ||
		!deadline_has_passed(account->hold_after))
		return;
	account->holder = s;
	account->hold_until = port_ns() + SHORTAGE_HOLD_NS;
	__atomic_store_n(&account->is_held, true, __ATOMIC_RELAXED);
	__atomic_fetch_add(&shortage_queue.holders, 1, __ATOMIC_RELAXED);
}

/* Whether another record holds this one up, any part of it.  Queue's lock held. */
static bool is_held_up(struct shortage *s) SPANDREL_REQUIRES(&shortage_queue.lock)
{
	struct shortage_part *p;

	for (unsigned i = 0; (p = shortage_part_of(s, i)); i++) {
		struct arena_account *account = &arena_root(p->arena)->account;

		if (account->holder && deadline_has_passed(account->hold_until))
			shortage_hold_end(account);
		if (account->holder && account->holder != s && account->holder->since <= s->since)
			return true;
	}
	return false;
}

/* Rounds */

void shortage_round_begin(void)
{
	port_irq_t irq = spin_lock(&shortage_queue.lock);

	shortage_queue.round++;
	shortage_link(shortage_queue.head.next, &shortage_queue.cursor);
	spin_unlock(&shortage_queue.lock, irq);
}

/* Moves the cursor behind the next record; NULL at the end, or if none is to be tried yet.  Queue's
 * lock held. */
static struct shortage *cursor_move(void) SPANDREL_REQUIRES(&shortage_queue.lock)
{
	struct shortage *s = shortage_queue.cursor.next;

	shortage_unlink(&shortage_queue.cursor);
	if (s == &shortage_queue.head)
		return NULL;
	shortage_link(s->next, &shortage_queue.cursor);
	return s->state == SHORTAGE_WAITING && !is_held_up(s) ? s : NULL;
}

struct shortage *shortage_round_next(void)
{
	struct shortage *s = NULL;
	bool ended = false;

	while (!s && !ended) {
		port_irq_t irq = spin_lock(&shortage_queue.lock);

		for (int i = 0; i < SCAN_STEP && !s && !ended; i++) {
			ended = shortage_queue.cursor.next == &shortage_queue.head;
			s = cursor_move();
		}
		if (s)
			s->state = SHORTAGE_TRYING;
		spin_unlock(&shortage_queue.lock, irq);
	}
	return s;
}

void shortage_round_settle(struct shortage *s, bool served, uint64_t hard_done)
{
	struct arena *a = shortage_arena(s);
	struct arena_account *account = &arena_root(a)->account;
	bool refused = !served && shortage_waits_for_pass(s) && hard_done > s->hard_begun;
	port_irq_t irq = spin_lock(&shortage_queue.lock);

	s->served = served;
	s->state = SHORTAGE_WAITING;
	if (served || refused)
		shortage_set_answered(s);
	shortage_queue.counts.served += served;
	if (served && port_ns() - s->since > shortage_queue.counts.longest_ns)
		shortage_queue.counts.longest_ns = port_ns() - s->since;
	shortage_queue.counts.refused += refused;
	if (served) {
		__atomic_fetch_add(&account->serves, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&a->waits_served, 1, __ATOMIC_RELAXED);
	} else {
		count_passes(s, account);
	}
	/* It may be waiting for the end of the try, too. */
	if (s->state == SHORTAGE_ANSWERED) {
		shortage_queue.counts.wakeups++;
		__atomic_fetch_add(&a->wakeups, 1, __ATOMIC_RELAXED);
		port_thread_unblock(s->thread);
	} else if (s->is_late) {
		port_thread_unblock(s->thread);
	}
	spin_unlock(&shortage_queue.lock, irq);
}

static bool has_front(const struct arena *a)
{
	while (a && !a->front)
		a = arena_source(a);
	return a != NULL;
}

/* A front may hold a round of one size and none of a smaller one. */
bool shortage_failed_before(const struct shortage *s)
{
	struct shortage_mark *m = shortage_mark_of(s);

	if (!s->is_plain || s->part_count != 1 || m->failed_round != shortage_queue.round)
		return false;
	return s->parts[0].piece == m->failed_size ||
	       (s->parts[0].piece > m->failed_size && !s->parts[0].cache && !has_front(shortage_arena(s)));
}

void shortage_note_failure(const struct shortage *s)
{
	struct shortage_mark *m = shortage_mark_of(s);

	if (!s->is_plain || s->part_count != 1)
		return;
	if (m->failed_round == shortage_queue.round && m->failed_size <= s->parts[0].piece)
		return;
	m->failed_round = shortage_queue.round;
	m->failed_size = s->parts[0].piece;
}
