/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The history of lines that were entered.
 */
#include "editor.h"

#include "lib/string.h"

struct history_line {
	struct list link;
	char text[];
};

static size_t line_size(const char *text)
{
	return sizeof(struct history_line) + strlen(text) + 1;
}

static void drop_oldest(struct history *h)
{
	struct history_line *oldest = list_first_entry(&h->lines, struct history_line, link);

	list_del(&oldest->link);
	h->count--;
	arena_free(h->arena, oldest, line_size(oldest->text));
}

static bool is_blank(const char *line)
{
	while (*line == ' ')
		line++;
	return *line == '\0';
}

void history_init(struct history *h, struct arena *arena)
{
	h->arena = arena;
	list_init(&h->lines);
	h->count = 0;
}

void history_add(struct history *h, const char *line)
{
	const char *last = history_get(h, 1);
	struct history_line *added;

	if (is_blank(line) || (last && strcmp(last, line) == 0))
		return;
	if (h->count == HISTORY_MAX)
		drop_oldest(h);
	while (!(added = arena_alloc(h->arena, line_size(line), MEM_ATOMIC))) {
		if (h->count == 0)
			return;
		drop_oldest(h);
	}
	str_copy(added->text, line, strlen(line) + 1);
	list_add_tail(&h->lines, &added->link);
	h->count++;
}

const char *history_get(const struct history *h, unsigned back)
{
	const struct list *at = &h->lines;

	if (back == 0 || back > h->count)
		return NULL;
	while (back--)
		at = at->prev;
	return list_entry(at, struct history_line, link)->text;
}

void history_clear(struct history *h)
{
	while (h->count)
		drop_oldest(h);
}
