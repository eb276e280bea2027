/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keeper: a thread that raises each core's timer at its deadline, and input when there is some.
 * It is no core; all it does to one is host_raise().
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host.h"
#include "machine.h"
#include "port.h"

static int changed; /* an eventfd: a deadline or `awaited` needs a look */
static uint64_t *deadlines; /* by core; atomic */
static unsigned count;
static uint64_t wakes_at; /* when the keeper looks next by itself; atomic */
static bool awaited;	  /* input is; atomic */

static void have_looked_at(void)
{
	uint64_t one = 1;

	/* It fails only when the keeper has long been told. */
	if (write(changed, &one, sizeof(one)) < 0)
		return;
}

/* Sequentially consistent here and in next_deadline(): either the keeper sees the deadline or it is
 * seen to wake too late. */
void machine_timer_set(uint64_t deadline)
{
	__atomic_store_n(&deadlines[port_core_id()], deadline, __ATOMIC_SEQ_CST);
	if (deadline < __atomic_load_n(&wakes_at, __ATOMIC_SEQ_CST))
		have_looked_at();
}

void host_input_await(void)
{
	if (!__atomic_exchange_n(&awaited, true, __ATOMIC_SEQ_CST))
		have_looked_at();
}

/* Raises the core's timer if it is due; returns when it is to be looked at again.  One that is set
 * anew at this very moment stays set. */
static uint64_t look_at(unsigned core, uint64_t now)
{
	uint64_t deadline = __atomic_load_n(&deadlines[core], __ATOMIC_SEQ_CST);

	if (deadline > now)
		return deadline;
	if (__atomic_compare_exchange_n(&deadlines[core], &deadline, PORT_FOREVER, false,
		    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		host_raise(core, HOST_TIMER);
	return PORT_FOREVER;
}

/* While it looks it would be too late for any deadline, so that whoever sets one has it look again. */
static uint64_t next_deadline(void)
{
	uint64_t now = port_ns(), next = PORT_FOREVER;

	__atomic_store_n(&wakes_at, PORT_FOREVER, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < count; i++) {
		uint64_t deadline = look_at(i, now);

		next = deadline < next ? deadline : next;
	}
	__atomic_store_n(&wakes_at, next, __ATOMIC_SEQ_CST);
	return next;
}

static void wait_until(uint64_t deadline)
{
	bool input = __atomic_load_n(&awaited, __ATOMIC_SEQ_CST);
	struct pollfd fds[] = {{changed, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
	uint64_t now = port_ns(), left = deadline > now ? deadline - now : 0;
	struct timespec time = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
	uint64_t told;

	if (ppoll(fds, input ? 2 : 1, deadline == PORT_FOREVER ? NULL : &time, NULL) <= 0)
		return;
	if (fds[0].revents && read(changed, &told, sizeof(told)) < 0)
		return;
	if (input && fds[1].revents) {
		__atomic_store_n(&awaited, false, __ATOMIC_SEQ_CST);
		host_raise(0, HOST_INPUT);
	}
}

static void *keep(void *arg)
{
	for (;;)
		wait_until(next_deadline());
	return NULL;
}

void host_keeper_start(unsigned cores)
{
	pthread_t thread;

	count = cores;
	deadlines = calloc(cores, sizeof(*deadlines));
	changed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!deadlines || changed < 0)
		abort();
	for (unsigned i = 0; i < cores; i++)
		deadlines[i] = PORT_FOREVER;
	wakes_at = PORT_FOREVER;
	if (pthread_create(&thread, NULL, keep, NULL) != 0)
		abort();
	pthread_detach(thread);
}
