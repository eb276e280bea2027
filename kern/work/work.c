/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of workloads: start, list, stop.
 *
 * Running workloads stand in a list, in order of id, from before their ktasks exist until their
 * ktasks have ended and what these shared is freed.  `works_lock` guards the list and each state;
 * no memory is allocated and no ktask is waited for under it.  The thread that moves a workload
 * from "running" to "stopping" joins and frees it; any other that wants it stopped waits until it
 * has left the list.
 */
#include "kinds.h"
#include "kmalloc.h"
#include "kthread.h"
#include "lib/check.h"
#include "lib/panic.h"
#include "lib/printf.h"
#include "lib/string.h"

static struct list works = LIST_INIT(works);
static struct qlock works_lock = QLOCK_INIT(works_lock);
static struct condvar work_left = CONDVAR_INIT(work_left); /* a workload has left the list */
static uint64_t last_id;                                   /* under works_lock */

/* Free */

static void work_free(struct work *w)
{
	while (!list_empty(&w->tasks)) {
		struct work_task *t = list_first_entry(&w->tasks, struct work_task, link);

		list_del(&t->link);
		kfree(t);
	}
	kfree(w);
}

static void free_shared(struct work *w)
{
	if (w->end)
		w->end(w);
}

/* Waits until its ktasks, those that were started, have ended. */
static void join_tasks(struct work *w)
{
	struct work_task *t;

	list_for_each_entry (t, &w->tasks, link) {
		if (t->ktask)
			ktask_join(t->ktask);
	}
}

static void tell_to_stop(struct work *w)
{
	__atomic_store_n(&w->stops, true, __ATOMIC_RELAXED);
	rendez_wakeup(&w->wake);
}

static void leave_list(struct work *w)
{
	qlock_lock(&works_lock);
	list_del(&w->link);
	cv_broadcast(&work_left);
	qlock_unlock(&works_lock);
}

/* The end of a workload in the list that is starting or stopping.  While it is in the list, a look
 * at its row may count its ktasks' operations. */
static void finish(struct work *w)
{
	tell_to_stop(w);
	join_tasks(w);
	free_shared(w);
	leave_list(w);
	work_free(w);
}

/* Start */

static void keep_args(struct work *w, const struct work_args *args)
{
	size_t length = 0;

	for (size_t i = 0; i < args->n && length < sizeof(w->args); i++)
		length += ksnprintf(w->args + length, sizeof(w->args) - length, "%s%s",
			i ? " " : "", args->words[i]);
}

/* Whether n arguments are as many as a usage has words, those in brackets left out or not. */
static bool fits_usage(const char *usage, size_t n)
{
	size_t least = 0, most = 0;

	for (const char *word = *usage ? usage : NULL; word; word = strchr(word, ' ')) {
		word += *word == ' ';
		least += *word != '[';
		most++;
	}
	return least <= n && n <= most;
}

static const struct work_kind *find_kind(const char *name, const struct work_args *args)
{
	const struct work_kind *kind = work_kind_find(name);

	if (!kind)
		sink_printf(args->why, "no such workload: %s", name);
	else if (!fits_usage(kind->info.args, args->n))
		sink_printf(args->why, "the arguments of %s are %s", name, kind->info.args);
	else
		return kind;
	return NULL;
}

/* A workload with its ktasks still to be started, not in the list yet; or NULL. */
static struct work *make(const struct work_kind *kind, const struct work_args *args)
{
	struct work *w = kzalloc(sizeof(*w), MEM_ERROR);

	if (!w) {
		work_no_memory(args);
		return NULL;
	}
	w->info = kind->info;
	list_init(&w->tasks);
	rendez_init(&w->wake);
	keep_args(w, args);
	if (kind->start(w, args))
		return w;
	work_free(w);
	return NULL;
}

/* Whether no other workload has what w claims.  Lock held. */
static bool may_claim(const struct work *w, struct sink *why) SPANDREL_REQUIRES(&works_lock)
{
	struct work *other;

	list_for_each_entry (other, &works, link) {
		if (!w->claim || other->claim != w->claim)
			continue;
		sink_printf(why, "workload %llu uses it already", (unsigned long long)other->id);
		return false;
	}
	return true;
}

static bool enter_list(struct work *w, struct sink *why)
{
	bool may;

	qlock_lock(&works_lock);
	may = may_claim(w, why);
	if (may) {
		w->id = ++last_id;
		list_add_tail(&works, &w->link);
	}
	qlock_unlock(&works_lock);
	return may;
}

/* From now on it can be stopped. */
static void set_running(struct work *w)
{
	qlock_lock(&works_lock);
	w->state = WORK_RUNNING;
	qlock_unlock(&works_lock);
}

static void task_main(void *arg)
{
	struct work_task *t = arg;

	t->run(t);
}

/* Starts its ktasks; returns whether all of them could be. */
static bool start_tasks(struct work *w)
{
	char name[KTASK_NAME_MAX];
	struct work_task *t;

	list_for_each_entry (t, &w->tasks, link) {
		t->random = w->id << 32 | t->number;
		ksnprintf(name, sizeof(name), "%s %llu.%u", w->info.name, (unsigned long long)w->id,
			t->number);
		t->ktask = ktask(name, task_main, t);
		if (!t->ktask)
			return false;
	}
	return true;
}

uint64_t work_start(const char *name, size_t n, const char *const *words, struct sink *why)
{
	const struct work_args args = {n, words, why};
	const struct work_kind *kind;
	struct work *w;
	uint64_t id;

	sync_check_may_sleep("work_start", __builtin_return_address(0));
	check_given("work_start", "name", name, __builtin_return_address(0));
	check_given("work_start", "sink", why, __builtin_return_address(0));
	if (n > 0)
		check_given("work_start", "list of arguments", words, __builtin_return_address(0));
	kind = find_kind(name, &args);
	w = kind ? make(kind, &args) : NULL;
	if (!w)
		return 0;
	if (!enter_list(w, why)) {
		free_shared(w);
		work_free(w);
		return 0;
	}
	if (!start_tasks(w)) {
		work_no_memory(&args);
		finish(w);
		return 0;
	}
	id = w->id;
	set_running(w);
	return id;
}

/* Stop */

/* The first workload that runs or stops with an id of at least `from`, or NULL.  Lock held. */
static struct work *find_started(uint64_t from) SPANDREL_REQUIRES(&works_lock)
{
	struct work *w;

	list_for_each_entry (w, &works, link)
		if (w->id >= from && w->state != WORK_STARTING)
			return w;
	return NULL;
}

/* The same of exactly that id. */
static struct work *find(uint64_t id) SPANDREL_REQUIRES(&works_lock)
{
	struct work *w = find_started(id);

	return w && w->id == id ? w : NULL;
}

bool work_stop(uint64_t id)
{
	struct work *w, *mine = NULL;

	sync_check_may_sleep("work_stop", __builtin_return_address(0));
	qlock_lock(&works_lock);
	w = find(id);
	if (w && w->state == WORK_RUNNING) {
		w->state = WORK_STOPPING;
		mine = w;
	}
	while (!mine && find(id))
		cv_wait(&work_left, &works_lock);
	qlock_unlock(&works_lock);
	if (mine)
		finish(mine);
	return w != NULL;
}

size_t work_stop_all(void)
{
	uint64_t last = 0, id;
	struct work *w;
	size_t n = 0;

	sync_check_may_sleep("work_stop_all", __builtin_return_address(0));
	qlock_lock(&works_lock);
	list_for_each_entry (w, &works, link) {
		if (w->state == WORK_STARTING)
			continue;
		tell_to_stop(w);
		last = w->id;
	}
	qlock_unlock(&works_lock);
	do {
		qlock_lock(&works_lock);
		w = find_started(0);
		id = w ? w->id : UINT64_MAX;
		qlock_unlock(&works_lock);
		n += id <= last && work_stop(id);
	} while (id <= last);
	return n;
}

/* Inspect */

static const char *state_name(const struct work *w)
{
	static const char *const names[] = {"starting", "running", "stopping"};

	return names[w->state];
}

static void fill_row(const struct work *w, struct work_stats *row)
{
	uint64_t sums[WORK_COUNTS] = {0};
	struct work_task *t;

	list_for_each_entry (t, &w->tasks, link)
		for (int i = 0; i < WORK_COUNTS; i++)
			sums[i] += __atomic_load_n(&t->counts[i], __ATOMIC_RELAXED);
	*row = (struct work_stats){
		.id = w->id,
		.state = state_name(w),
		.ktasks = w->task_count,
		.ops = sums[WORK_OPS],
		.wrong = sums[WORK_WRONG],
		.refused = sums[WORK_REFUSED],
		.failed = sums[WORK_FAILED],
	};
	str_copy(row->name, w->info.name, sizeof(row->name));
	str_copy(row->args, w->args, sizeof(row->args));
}

size_t work_list(uint64_t from, struct work_stats *rows, size_t max)
{
	struct work *w;
	size_t n = 0;

	if (max > 0)
		check_given("work_list", "list of rows", rows, __builtin_return_address(0));
	sync_check_may_sleep("work_list", __builtin_return_address(0));
	qlock_lock(&works_lock);
	list_for_each_entry (w, &works, link)
		if (w->id >= from && n < max)
			fill_row(w, &rows[n++]);
	qlock_unlock(&works_lock);
	return n;
}
