/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workload: replays of a recorded stream of the initrd, over and over, one for each ktask.
 */
#include "work_impl.h"

#include "boot.h"
#include "kmalloc.h"
#include "replay.h"

#define REPLAYS_MAX 16 /* each has tables of its own: 16 bytes for each object of the stream */

struct replays {
	size_t count;
	struct replay replay[];
};

static void play(struct work_task *t)
{
	struct replays *all = t->work->data;
	struct replay *r = &all->replay[t->number];
	struct replay_progress before, after = replay_progress(r);

	do {
		before = after;
		replay_step(r, MEM_WAIT);
		after = replay_progress(r);
		if (after.errors != before.errors)
			work_wrong(t, "object %u of the stream had changed", r->wrong_id);
		if (after.refused != before.refused)
			work_count(t, WORK_REFUSED);
	} while (work_step(t));
}

/* Frees what is live, too: the ktasks have ended. */
static void end(struct work *w)
{
	struct replays *all = w->data;

	while (all->count > 0)
		replay_close(&all->replay[--all->count]);
	kfree(all);
}

static bool open_all(struct work *w, const struct work_args *args, unsigned stream, size_t n)
{
	struct replays *all = w->data;

	for (; all->count < n; all->count++) {
		const char *wrong = replay_open(&all->replay[all->count], boot_info->initrd,
			boot_info->initrd_size, stream);

		if (wrong) {
			sink_printf(args->why, "stream %u: %s", stream, wrong);
			end(w);
			return false;
		}
	}
	return true;
}

bool work_start_replay(struct work *w, const struct work_args *args)
{
	uint64_t stream = 0, ktasks = 1;

	if (!work_number(args, 0, 0, UINT32_MAX - 1, &stream) ||
		!work_number(args, 1, 1, REPLAYS_MAX, &ktasks) ||
		!work_add_tasks(w, args, ktasks, play))
		return false;
	w->data = kzalloc(sizeof(struct replays) + ktasks * sizeof(struct replay), MEM_ERROR);
	if (!w->data)
		return work_no_memory(args);
	w->end = end;
	return open_all(w, args, (unsigned)stream, ktasks);
}
