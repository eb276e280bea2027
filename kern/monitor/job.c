/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands that wait for what can't be ended halfway: a ktask does that, so that Ctrl-C ends the command
 * alone.
 *
 * One ktask stands ready while lines are typed, since memory may be out when such a command is needed most.
 * If Ctrl-C comes before a command is done, the ktask ends after what it does, and another one is made
 * before the next line.
 */
#include "monitor_impl.h"

#include "kmalloc.h"
#include "kthread.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "port.h"
#include "sync.h"

#define LOOK_NS 20000000 /* between two looks for Ctrl-C */

enum state { READY, RUNS, ENDED, LEFT };

struct job {
	enum state state; /* atomic */
	struct rendez begun, ended;
	void (*run)(void *arg);
	uint64_t arg[COMMAND_JOB_WORDS];
};

static struct job *ready; /* the monitor's alone */

/* Acquire: what the other side has written comes with it. */
static enum state state_of(const struct job *j)
{
	return __atomic_load_n(&j->state, __ATOMIC_ACQUIRE);
}

static bool has_begun(void *j)
{
	return state_of(j) == RUNS || state_of(j) == LEFT;
}

static bool has_ended(void *j)
{
	return state_of(j) == ENDED;
}

static void job_main(void *arg)
{
	struct job *j = arg;

	do {
		rendez_sleep(&j->begun, has_begun, j);
		j->run(j->arg);
		if (__atomic_exchange_n(&j->state, ENDED, __ATOMIC_ACQ_REL) == LEFT)
			break;
		rendez_wakeup(&j->ended);
	} while (true);
	kfree(j);
}

/* NULL: there is no memory for it. */
static struct job *job_make(void)
{
	struct job *j = kzalloc(sizeof(*j), MEM_ATOMIC);

	if (!j)
		return NULL;
	rendez_init(&j->begun);
	rendez_init(&j->ended);
	if (ktask_detached("monitor-job", job_main, j))
		return j;
	kfree(j);
	return NULL;
}

void command_job_ready(void)
{
	if (!ready)
		ready = job_make();
}

static void job_begin(struct job *j, void (*run)(void *arg), const void *arg, size_t size)
{
	j->run = run;
	memcpy(j->arg, arg, size);
	__atomic_store_n(&j->state, RUNS, __ATOMIC_RELEASE);
	rendez_wakeup(&j->begun);
}

/* Whether it has ended; else it is left to itself. */
static bool job_await(struct job *j, struct sink *sink)
{
	enum state runs = RUNS;

	while (!rendez_sleep_timeout(&j->ended, has_ended, j, port_ns() + LOOK_NS))
		if (monitor_interrupted(sink))
			return !__atomic_compare_exchange_n(
				&j->state, &runs, LEFT, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	return true;
}

bool command_job(const struct command_call *call, void (*run)(void *arg), void *arg, size_t size)
{
	ASSERT(size <= sizeof(ready->arg));
	if (!ready) {
		run(arg);
		return true;
	}
	job_begin(ready, run, arg, size);
	if (!job_await(ready, call->sink)) {
		ready = NULL;
		return false;
	}
	memcpy(arg, ready->arg, size);
	return true;
}
