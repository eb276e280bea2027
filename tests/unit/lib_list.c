/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lists against arrays.
 */
#include "lib/list.h"

#include "lib/string.h"
#include "lib/test.h"

#define THINGS 16

struct thing {
	int number;
	struct list link;
};

static struct thing things[THINGS];

/* Whether list `head` holds the things of these numbers, seen from both ends. */
static void check_holds(const struct list *head, const int *numbers, size_t n)
{
	const struct list *at = head->next;

	for (size_t i = 0; i < n; i++, at = at->next) {
		CHECK(at != head);
		CHECK_EQ(list_entry((uintptr_t)at, struct thing, link)->number, numbers[i]);
		CHECK(at->next->prev == at);
		CHECK(at->prev->next == at);
	}
	CHECK(at == head);
	CHECK_EQ(list_empty(head), n == 0);
}

#define CHECK_HOLDS(head, ...)                                                                     \
	check_holds(head, (const int[]){__VA_ARGS__},                                              \
		sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static void number_things(void)
{
	for (int i = 0; i < THINGS; i++) {
		things[i].number = i;
		list_init(&things[i].link);
	}
}

TEST("list: adds at either end and before any node")
{
	struct list all = LIST_INIT(all);

	number_things();
	check_holds(&all, NULL, 0);
	list_add_tail(&all, &things[1].link);
	list_add(&all, &things[0].link);
	list_add_tail(&all, &things[3].link);
	list_insert_before(&things[3].link, &things[2].link);
	CHECK_HOLDS(&all, 0, 1, 2, 3);
	CHECK(list_first_entry(&all, struct thing, link) == &things[0]);
}

TEST("list: unlinking works anywhere, and twice")
{
	struct list all = LIST_INIT(all);

	number_things();
	for (int i = 0; i < 5; i++)
		list_add_tail(&all, &things[i].link);
	list_del(&things[2].link);
	list_insert_before(&things[3].link, &things[5].link);
	list_del(&things[2].link);
	CHECK_HOLDS(&all, 0, 1, 5, 3, 4);
	list_del(&things[5].link);
	list_del(&things[0].link);
	list_del(&things[4].link);
	CHECK_HOLDS(&all, 1, 3);
	list_del(&things[1].link);
	list_del(&things[3].link);
	check_holds(&all, NULL, 0);
}

TEST("list: walks meet every node once, in order")
{
	struct list all = LIST_INIT(all), *at;
	struct thing *thing;
	int seen = 0;

	number_things();
	for (int i = 0; i < 6; i++)
		list_add_tail(&all, &things[i].link);
	list_for_each_entry (thing, &all, link)
		CHECK_EQ(thing->number, seen++);
	CHECK_EQ(seen, 6);
	list_for_each (at, &all)
		CHECK(at == &things[seen++ - 6].link);
	CHECK_EQ(seen, 12);
}

static size_t model_position(const int *model, size_t n, int number)
{
	size_t at = 0;

	while (at < n && model[at] != number)
		at++;
	return at;
}

TEST("list: random additions and removals match an array")
{
	struct list all = LIST_INIT(all);
	int model[THINGS];
	size_t n = 0, at;

	number_things();
	for (size_t ops = test_ops(20000); ops > 0; ops--) {
		int number = (int)test_random_below(THINGS);

		at = model_position(model, n, number);
		if (at < n) {
			list_del(&things[number].link);
			memmove(model + at, model + at + 1, (--n - at) * sizeof(model[0]));
		} else {
			at = test_random_below(n + 1);
			list_insert_before(
				at < n ? &things[model[at]].link : &all, &things[number].link);
			memmove(model + at + 1, model + at, (n++ - at) * sizeof(model[0]));
			model[at] = number;
		}
		check_holds(&all, model, n);
	}
}
