/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An arena's checker sees each invariant broken: words of the arena are overwritten, one at a time, and
 * mended when the checker has said what is wrong.
 */
#include "arenas.h"
#include "arena/wait_impl.h"
#include "broken.h"
#include "lib/array.h"
#include "lib/test.h"
#include "shortage.h"
#include "sleepers.h"

static struct arena *broken;

static int check_arena(struct sink *sink)
{
	return arena_check(broken, sink);
}

#define SEES(field, value, invariant, what) BROKEN(check_arena, field, value, invariant, what)

#define QUANTUM 10

static uintptr_t taken[] = {100, 120, 140}; /* in this order */

/* Its segments, named by where they start; those that are allocated are at 100, 120 and 140. */
static struct btag *at_10, *at_100, *at_110, *at_120, *at_130, *at_150, *at_2000;

static void segments_make(void)
{
	struct arena *a = broken = arenas_root(QUANTUM, 100);

	CHECK_EQ(arena_add(a, (void *)2000, 20 * QUANTUM, MEM_WAIT), 0);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		CHECK_EQ((uintptr_t)arena_xalloc(a, QUANTUM, 0, 0, 0, taken[i], taken[i] + QUANTUM, MEM_WAIT), taken[i]);
	at_10 = a->store.anchor.next->next;
	at_100 = at_10->next;
	at_110 = at_100->next;
	at_120 = at_110->next;
	at_130 = at_120->next;
	at_150 = at_130->next->next;
	at_2000 = at_150->next->next;
	CHECK_EQ(at_2000->start, 2000);
}

static void segments_end(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		arena_xfree(broken, (void *)taken[i], QUANTUM);
	arenas_end(broken);
}

#define NO_QUANTA "a segment is empty, contains 0 or is no whole quanta"
#define TORN "the list of segments is torn"
#define NOT_IN_BIN "a free segment isn't in its bin"
#define NOT_FIRST "a span's first segment doesn't start where the span does"

TEST("check: an arena's segment that isn't where its neighbours say is found")
{
	segments_make();
	SEES(at_110->size, 0, 3, NO_QUANTA);
	SEES(at_110->size, 15, 3, NO_QUANTA);
	SEES(at_10->start, 0, 3, NO_QUANTA);
	SEES(at_110->start, 115, 3, NO_QUANTA);
	SEES(at_110->start, 100, 1, "a segment doesn't start where the one before ends");
	SEES(at_100->kind, BTAG_FREE, 2, "two free segments are neighbours");
	SEES(at_10->start, 20, 1, NOT_FIRST);
	SEES(at_2000->start, 500, 1, NOT_FIRST);
	SEES(at_150->size, 100, 1, "a span's last segment doesn't end where the span does");
	SEES(at_110->prev, at_10, 1, TORN);
	SEES(at_10->prev->prev, at_10, 1, TORN);
	SEES(at_110->kind, BTAG_IDLE, 1, "the list of segments holds an idle tag");
	segments_end();
}

struct breach {
	struct btag *last;
	size_t asked;
};

/* Behind the first step. */
static bool break_last(void *arg)
{
	struct breach *b = arg;

	if (++b->asked == 2)
		b->last->size = 0;
	return false;
}

/* The arena isn't locked for longer than a step: so what breaks behind the first one is met by the last. */
TEST("check: an arena's segment that breaks during the walk, ahead of it, is found")
{
	size_t n = 4 * ARENA_WALK_STEP;
	struct arena *a = arenas_full(n);
	struct breach b = {.last = a->store.anchor.prev};
	int found = arena_check_until(a, NULL, break_last, &b);

	b.last->size = 1;
	CHECK_EQ(found, 3);
	CHECK_EQ(arena_check(a, &console_sink), 0);
	for (uintptr_t id = 1; id <= n; id++)
		arena_free(a, (void *)id, 1);
	arenas_end(a);
}

TEST("check: an arena's span that the tree doesn't lead to, or that overlaps, is found")
{
	segments_make();
	SEES(at_10->prev->size, 90, 6, "a segment lies in no span of the tree");
	SEES(at_10->prev->start, 50, 6, "a segment lies in no span of the tree");
	SEES(at_10->prev->start, 2000, 6, "the tree doesn't lead to a span");
	SEES(at_2000->prev->start, 1000, 6, "a span overlaps the one before");
	SEES(at_2000->kind, BTAG_SPAN, 1, "a span has no segment");
	segments_end();
}

TEST("check: an arena's bins that don't hold what is free are found")
{
	struct btag *head, *tail;
	struct btag_store *s;

	segments_make();
	s = &broken->store;
	head = s->bins[at_110->bin];
	tail = head->bin_next;
	CHECK(tail && (head == at_110 || tail == at_110) && (head == at_130 || tail == at_130));
	SEES(at_110->bin, BTAG_BINS - 1, 4, NOT_IN_BIN);
	SEES(tail->bin_prev, 0, 4, NOT_IN_BIN);
	SEES(head->bin_next, 0, 4, NOT_IN_BIN);
	CHECK_LT(tail->start, head->start);
	SEES(head->kind, BTAG_IDLE, 4, NOT_IN_BIN);
	SEES(s->bins[head->bin], 0, 4, NOT_IN_BIN);
	SEES(s->bins[BTAG_BINS - 1], at_10, 4, "a bin's bit is wrong");
	SEES(s->bin_map[1], s->bin_map[1] ^ 2, 4, "a bin's bit is wrong");
	SEES(s->bin_summary, s->bin_summary ^ 4, 4, "a bit of the bins' summary is wrong");
	segments_end();
}

TEST("check: an arena's bin whose first segment has another behind it is found")
{
	struct btag *head;

	/* So that it lies below the others of its bin, and is met first. */
	taken[0] = 140;
	taken[2] = 100;
	segments_make();
	head = broken->store.bins[at_110->bin];
	CHECK_LT(head->start, head->bin_next->start);
	SEES(head->bin_next->bin_prev, at_10, 4, NOT_IN_BIN);
	segments_end();
	taken[0] = 100;
	taken[2] = 140;
}

TEST("check: an arena's hash that doesn't hold what is used is found")
{
	struct btag stranger = {.start = 100, .kind = BTAG_USED};

	segments_make();
	SEES(at_110->kind, BTAG_USED, 5, "a used segment isn't in the hash");
	SEES(at_100->link.next, &at_10->link, 5, "a bucket of the hash holds what it shouldn't");
	SEES(at_100->link.next, &at_120->link, 5, "a bucket of the hash holds what it shouldn't");
	SEES(at_100->link.next, &stranger.link, 5, "the hash doesn't hold as many segments as it should");
	segments_end();
}

#define SUM "the sum of the segments isn't the amount on record"
#define NUMBER "the number of segments isn't the one on record"
#define RETAINED "the spans that are wholly free aren't what is retained"

TEST("check: an arena's sums that aren't those of its segments are found")
{
	struct btag_store *s;

	segments_make();
	s = &broken->store;
	SEES(s->total, s->total + QUANTUM, 7, SUM);
	SEES(s->used, s->used - QUANTUM, 7, SUM);
	SEES(s->spans, 1, 7, NUMBER);
	SEES(s->segments_free, 0, 7, NUMBER);
	SEES(s->hash.entries, 4, 7, NUMBER);
	SEES(broken->retained, QUANTUM, 8, RETAINED);
	segments_end();
}

TEST("check: an arena that retains more than it may is found")
{
	struct arena *source = arenas_ids(1, 1000);

	broken = arenas_importer("retains", source, 1);
	arena_free(broken, arena_alloc(broken, 20, MEM_WAIT), 20);
	CHECK_LT(0, broken->retained);
	SEES(broken->retain_max, broken->retained - 1, 8, RETAINED);
	arenas_end(broken);
	arenas_end(source);
}

TEST("check: an arena's index that lacks a free segment is found")
{
	segments_make();
	CHECK(arena_index(broken));
	SEES(at_110->node, 0, 10, "a free segment isn't in the index");
	SEES(at_110->node, at_130->node, 10, "a free segment isn't in the index");
	SEES(broken->store.index.sized, 115, 10, "a free segment isn't in the tree by size, or shouldn't be");
	segments_end();
}

#define LITTLE 64 /* pages */
#define DISAGREE "the tag supply's pages and counts disagree"

TEST("check: a supply of tags whose pages and counts disagree is found")
{
	struct tag_supply *s;
	struct tag_page *page;
	struct btag *fresh;

	broken = arenas_base(LITTLE);
	s = broken->supply;
	page = NULL;
	for (size_t i = 0; i < TAG_SUPPLY_LISTS && !page; i++)
		if (!list_empty(&s->lists[i]))
			page = list_entry(s->lists[i].next, struct tag_page, link);
	CHECK(page && page->fresh < TAG_PAGE_TAGS);
	fresh = (struct btag *)((uintptr_t)page + PORT_PAGE_SIZE) - 1;
	SEES(s->idle, s->idle + 1, 9, DISAGREE);
	SEES(s->pages, 0, 9, DISAGREE);
	SEES(page->fresh, TAG_PAGE_TAGS + 1, 9, DISAGREE);
	SEES(page->fresh, page->fresh + 1, 9, DISAGREE);
	SEES(page->back.count, page->back.count + 1, 9, DISAGREE);
	SEES(page->back.head, &broken->store.anchor, 9, DISAGREE);
	*fresh = (struct btag){.kind = BTAG_FREE};
	SEES(page->back.head, fresh, 9, DISAGREE);
	*fresh = (struct btag){.kind = BTAG_IDLE, .idle_next = fresh};
	SEES(page->back.head, fresh, 9, DISAGREE);
	arenas_base_end(broken, LITTLE);
}

/* Records */

static int check_records(struct sink *sink)
{
	return shortage_check(sink);
}

#define SEES_RECORDS(name, field, value) BROKEN(check_records, field, value, 1, name " has a mark")

TEST("check: marks and accounts that aren't the sums over waiting requests are found")
{
	struct arena *full = arena_create("full", NULL, 0, 1, arena_alloc, arena_free, arenas_full(100), 0, MEM_WAIT);
	struct arena *source = arena_source(full);
	struct sleeper s = {.arena = full, .size = 10};

	sleeper_start(&s, 1);
	CHECK_EQ(shortage_check(&console_sink), 0);
	SEES_RECORDS("full", full->mark.count, full->mark.count + 1);
	SEES_RECORDS("full", full->mark.waiters, full->mark.waiters + 1);
	SEES_RECORDS("full", full->mark.is_set, !full->mark.is_set);
	SEES_RECORDS("full", full->is_short, !full->is_short);
	SEES_RECORDS("ids", source->account.wanted, source->account.wanted + 1);
	SEES_RECORDS("ids", source->account.short_records, source->account.short_records + 1);
	SEES_RECORDS("ids", source->account.parked, source->account.parked + 1);
	BROKEN(check_records, shortage_queue.unanswered, shortage_queue.unanswered + 1, 2, "without an answer");
	BROKEN(check_records, shortage_queue.unanswered, shortage_queue.unanswered - 1, 2, "without an answer");
	for (uintptr_t i = 1; i <= 100; i++)
		arena_free(source, (void *)i, 1);
	CHECK(sleeper_is_served(&s));
	sleeper_end(&s);
	CHECK_EQ(shortage_check(&console_sink), 0);
	arenas_end(full);
	arenas_end(source);
}
