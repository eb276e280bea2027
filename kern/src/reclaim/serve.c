/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server: a ktask that tries for the requests that sleep.  Theory: arena/wait.c.
 *
 * A round goes over all records, the oldest first.  A plain request of an arena or cache isn't tried
 * if an equal one has failed in the same round, nor if a smaller one has and no front is in the way.
 * After SERVE_STEP tries the server lets other threads run, and goes on from there.
 *
 * While there are records the server also looks without a poke, after SERVE_PAUSE_MIN and then twice as
 * long each time, up to SERVE_PAUSE_MAX: for what changed where no free shows it.
 */
#include "reclaim_impl.h"

#include "lib/callback.h"
#include "lib/panic.h"
#include "port.h"
#include "sync.h"

#define SERVE_STEP 64
#define SERVE_PAUSE_MIN 100000000ull
#define SERVE_PAUSE_MAX 1000000000ull

static struct {
	uint64_t begun, done; /* rounds; atomic */
	uint64_t tries;
	struct rendez ended;  /* wakes serve_flush() */
} serve = {.ended = RENDEZ_INIT(ended)};

/* Returns whether it was served. */
static bool try_one(struct shortage *s)
{
	bool served;
	struct callback call;

	if (shortage_failed_before(s))
		return false;
	__atomic_store_n(&serve.tries, serve.tries + 1, __ATOMIC_RELAXED);
	call = callback_enter(arena_name(s->parts[0].arena));
	served = s->try(s);
	callback_leave(call);
	if (!served)
		shortage_note_failure(s);
	return served;
}

static void serve_round(void)
{
	/* Acquire: pairs with the release in reclaim.c, so that a try after a hardest pass sees all that the
	 * pass gave back. */
	uint64_t hard_done = __atomic_load_n(&shortage_hard_done, __ATOMIC_ACQUIRE);
	unsigned count = 0;
	struct shortage *s;

	shortage_round_begin();
	while ((s = shortage_round_next())) {
		shortage_round_settle(s, try_one(s), hard_done);
		if (++count % SERVE_STEP == 0)
			port_thread_yield();
	}
}

static uint64_t next_look(uint64_t *pause)
{
	struct shortage_counts c;
	uint64_t deadline;

	shortage_get_counts(&c);
	if (c.waiting == 0) {
		*pause = SERVE_PAUSE_MIN;
		return PORT_FOREVER;
	}
	deadline = port_ns() + *pause;
	/* What a record holds up is to be tried when that ends. */
	if (c.holders > 0 && *pause > SHORTAGE_HOLD_NS)
		deadline = port_ns() + SHORTAGE_HOLD_NS;
	*pause = *pause * 2 < SERVE_PAUSE_MAX ? *pause * 2 : SERVE_PAUSE_MAX;
	return deadline;
}

void serve_main(void *arg)
{
	uint64_t pause = SERVE_PAUSE_MIN;

	if (!PORT_HAS_THREADS)
		panic("serve_main in a port without PORT_HAS_THREADS (called from %pS)", __builtin_return_address(0));
	port_set_word(PORT_THREAD_RECLAIM, 1);
	__atomic_fetch_add(&shortage_ktasks, 1, __ATOMIC_RELEASE);
	for (;;) {
		shortage_await_poke(next_look(&pause));
		__atomic_fetch_add(&serve.begun, 1, __ATOMIC_SEQ_CST);
		serve_round();
		__atomic_store_n(&serve.done, serve.begun, __ATOMIC_RELEASE);
		rendez_wakeup(&serve.ended);
	}
}

static bool is_done(void *round)
{
	return __atomic_load_n(&serve.done, __ATOMIC_ACQUIRE) >= *(uint64_t *)round;
}

/* A round that has begun may be past a record that this is for. */
void serve_flush(void)
{
	uint64_t round = __atomic_load_n(&serve.begun, __ATOMIC_SEQ_CST) + 1;
	struct shortage_counts c;

	shortage_get_counts(&c);
	if (c.waiting == 0)
		return;
	shortage_poke_always();
	rendez_sleep(&serve.ended, is_done, &round);
}

void serve_get_counts(uint64_t *rounds, uint64_t *tries)
{
	*rounds = __atomic_load_n(&serve.done, __ATOMIC_RELAXED);
	*tries = __atomic_load_n(&serve.tries, __ATOMIC_RELAXED);
}
