/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workload: a hog, which takes all free pages, atomically, and gives them back.
 *
 * So free memory goes to zero again and again.  The pages are linked through themselves.
 */
#include "work_impl.h"

#include "kmalloc.h"
#include "kthread.h"
#include "owner.h"
#include "port.h"
#include "stamp.h"

#define MS_MAX 60000
#define PAGES_A_TURN 64 /* between two yields */

struct hog_page {
	struct hog_page *next;
	uint64_t words[PORT_PAGE_SIZE / sizeof(uint64_t) - 1];
};
_Static_assert(sizeof(struct hog_page) == PORT_PAGE_SIZE, "a page is a page");

/* The longest times, in milliseconds, that it holds the pages, and that it pauses then: each is
 * random up to that. */
struct pace {
	uint64_t hold, pause;
};

static struct arena_owner owner = ARENA_OWNER("work hog", kpages_arena);

static struct hog_page *take_all(struct work_task *t, uint64_t stamp)
{
	struct hog_page *first = NULL, *page;
	size_t n = 0;

	while (work_goes_on(t) && (page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_ATOMIC))) {
		arena_owner_add(&owner, kpages_arena, PORT_PAGE_SIZE);
		page->next = first;
		stamp_put(page->words, sizeof(page->words), stamp);
		first = page;
		if (++n % PAGES_A_TURN == 0)
			kthread_yield();
	}
	return first;
}

static void give_all(struct work_task *t, struct hog_page *page, uint64_t stamp)
{
	size_t n = 0;

	while (page) {
		struct hog_page *next = page->next;

		if (stamp_check(page->words, sizeof(page->words), stamp) != sizeof(page->words))
			work_wrong(t, "page %p was changed", (void *)page);
		arena_owner_sub(&owner, kpages_arena, PORT_PAGE_SIZE);
		arena_free(kpages_arena, page, PORT_PAGE_SIZE);
		page = next;
		if (++n % PAGES_A_TURN == 0)
			kthread_yield();
	}
}

static void hog(struct work_task *t)
{
	const struct pace *pace = t->work->data;

	do {
		uint64_t stamp = work_random(t);
		struct hog_page *first = take_all(t, stamp);

		work_sleep(t, work_below(t, pace->hold * 1000 + 1));
		give_all(t, first, stamp);
		work_sleep(t, work_below(t, pace->pause * 1000 + 1));
	} while (work_step(t));
}

/* Start and end */

static void end(struct work *w)
{
	kfree(w->data);
}

bool work_start_hog(struct work *w, const struct work_args *args)
{
	struct pace pace = {10, 100}, *kept;

	if (!work_number(args, 0, 0, MS_MAX, &pace.hold) ||
		!work_number(args, 1, 0, MS_MAX, &pace.pause) || !work_add_tasks(w, args, 1, hog))
		return false;
	kept = kmalloc(sizeof(*kept), MEM_ERROR);
	if (!kept)
		return work_no_memory(args);
	*kept = pace;
	w->data = kept;
	w->end = end;
	return true;
}
