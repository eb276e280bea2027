/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keeper: a thread that raises each core's timer interrupt at its deadline, the input interrupt
 * when there is input, and a signal at the watch's deadline.  It isn't a core; it acts on cores only
 * by host_raise() and host_raise_late().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host.h"
#include "machine.h"
#include "port.h"

static int changed; /* an eventfd: wakes the keeper for a new deadline or `awaits_input` */
static uint64_t *deadlines; /* by core; atomic */
static unsigned count;
static uint64_t wakes_at;  /* when the keeper wakes by itself; atomic */
static uint64_t watch = PORT_FOREVER; /* atomic */
static bool awaits_input; /* the next input raises an interrupt; atomic */

static void wake_keeper(void)
{
	uint64_t one = 1;

	/* It fails only if the count is full, which wakes the keeper too. */
	if (write(changed, &one, sizeof(one)) < 0)
		return;
}

/* Seq_cst here and in next_deadline(): either the keeper sees the new deadline, or this core sees
 * that the keeper would wake too late. */
void machine_timer_set(uint64_t deadline)
{
	__atomic_store_n(&deadlines[port_core_id()], deadline, __ATOMIC_SEQ_CST);
	if (deadline < __atomic_load_n(&wakes_at, __ATOMIC_SEQ_CST))
		wake_keeper();
}

void machine_watch_set(uint64_t deadline)
{
	__atomic_store_n(&watch, deadline, __ATOMIC_SEQ_CST);
	if (deadline < __atomic_load_n(&wakes_at, __ATOMIC_SEQ_CST))
		wake_keeper();
}

void host_input_await(void)
{
	if (!__atomic_exchange_n(&awaits_input, true, __ATOMIC_SEQ_CST))
		wake_keeper();
}

/* Raises the core's timer interrupt if it is due; returns the deadline if it isn't.  If the core
 * sets a new deadline at the same time, the new one stays. */
static uint64_t raise_if_due(unsigned core, uint64_t now)
{
	uint64_t deadline = __atomic_load_n(&deadlines[core], __ATOMIC_SEQ_CST);

	if (deadline > now)
		return deadline;
	if (__atomic_compare_exchange_n(&deadlines[core], &deadline, PORT_FOREVER, false,
		    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		host_raise(core, HOST_TIMER);
	return PORT_FOREVER;
}

static uint64_t raise_late_if_due(uint64_t now)
{
	uint64_t deadline = __atomic_load_n(&watch, __ATOMIC_SEQ_CST);

	if (deadline > now)
		return deadline;
	if (__atomic_compare_exchange_n(
		    &watch, &deadline, PORT_FOREVER, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		host_raise_late();
	return PORT_FOREVER;
}

/* While the keeper reads the deadlines, wakes_at says never: a core that sets one then wakes it. */
static uint64_t next_deadline(void)
{
	uint64_t now = port_ns(), next;

	__atomic_store_n(&wakes_at, PORT_FOREVER, __ATOMIC_SEQ_CST);
	next = raise_late_if_due(now);
	for (unsigned i = 0; i < count; i++) {
		uint64_t deadline = raise_if_due(i, now);

		next = deadline < next ? deadline : next;
	}
	__atomic_store_n(&wakes_at, next, __ATOMIC_SEQ_CST);
	return next;
}

static void wait_until(uint64_t deadline)
{
	bool input = __atomic_load_n(&awaits_input, __ATOMIC_SEQ_CST);
	struct pollfd fds[] = {{changed, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
	uint64_t now = port_ns(), left = deadline > now ? deadline - now : 0;
	struct timespec time = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
	uint64_t wakes;

	if (ppoll(fds, input ? 2 : 1, deadline == PORT_FOREVER ? NULL : &time, NULL) <= 0)
		return;
	if (fds[0].revents && read(changed, &wakes, sizeof(wakes)) < 0)
		return;
	if (input && fds[1].revents) {
		__atomic_store_n(&awaits_input, false, __ATOMIC_SEQ_CST);
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
		host_refuse("timers", strerror(errno));
	for (unsigned i = 0; i < cores; i++)
		deadlines[i] = PORT_FOREVER;
	wakes_at = PORT_FOREVER;
	errno = pthread_create(&thread, NULL, keep, NULL);
	if (errno)
		host_refuse("timers", strerror(errno));
	pthread_detach(thread);
}
