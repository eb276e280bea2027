/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tables sorted by a column, whichever command prints them.
 *
 * The text of rows is kept until the last row of a table has come, each with the value it is sorted by;
 * all else passes at once.
 */
#include "monitor_impl.h"

#include "lib/list.h"
#include "lib/string.h"
#include "port.h"
#include "vmap.h"

struct sort_row {
	uint64_t number; /* its value of the column; 0 if that is a text */
	size_t key, text, end; /* where in the text its value and its own text begin, and both end */
};

/* Makes `*size` bytes at `*memory` at least twice as many, for `least` of them to fit; returns false,
 * with nothing changed, without memory. */
static bool grow(void *memory, size_t *size, size_t least)
{
	size_t grown = 2 * *size > least ? 2 * *size : least;
	void *old = *(void **)memory, *new;

	grown = (grown + PORT_PAGE_SIZE - 1) & ~(size_t)(PORT_PAGE_SIZE - 1);
	new = vmalloc(grown, MEM_ERROR);
	if (!new)
		return false;
	if (old) {
		memcpy(new, old, *size);
		vfree(old, *size);
	}
	*(void **)memory = new;
	*size = grown;
	return true;
}

static bool keep(struct sort *s, const char *text, size_t n)
{
	if (s->length + n > s->size && !grow(&s->text, &s->size, s->length + n))
		return false;
	memcpy(s->text + s->length, text, n);
	s->length += n;
	return true;
}

/* Whether row a stands before row b: the greater number, the text that is first in the alphabet, or
 * what was printed first. */
static bool is_before(const struct sort *s, const struct sort_row *a, const struct sort_row *b)
{
	int texts = strcmp(s->text + a->key, s->text + b->key);

	if (a->number != b->number)
		return a->number > b->number;
	return texts != 0 ? texts < 0 : a->key < b->key;
}

/* Moves the row at `i` down the heap rows[0 .. count), whose top is the last row, to its place. */
static void sift_down(struct sort *s, size_t i, size_t count)
{
	for (size_t child; (child = 2 * i + 1) < count; i = child) {
		struct sort_row row = s->rows[i];

		if (child + 1 < count && is_before(s, &s->rows[child], &s->rows[child + 1]))
			child++;
		if (!is_before(s, &row, &s->rows[child]))
			return;
		s->rows[i] = s->rows[child];
		s->rows[child] = row;
	}
}

/* Heap sort: J. W. J. Williams, "Algorithm 232: Heapsort", CACM 7(6), 1964. */
static void sort_rows(struct sort *s)
{
	for (size_t i = s->count / 2; i-- > 0;)
		sift_down(s, i, s->count);
	for (size_t end = s->count; end-- > 1;) {
		struct sort_row last = s->rows[0];

		s->rows[0] = s->rows[end];
		s->rows[end] = last;
		sift_down(s, 0, end);
	}
}

static void end_last_row(struct sort *s)
{
	if (s->count)
		s->rows[s->count - 1].end = s->length;
}

/* Writes the rows in the order they have, and forgets them. */
static void write_rows(struct sort *s)
{
	for (size_t i = 0; i < s->count; i++)
		sink_write(s->out, s->text + s->rows[i].text, s->rows[i].end - s->rows[i].text);
	s->count = s->length = 0;
	s->is_row = false;
}

/* Without memory what has come is written as it is. */
static void give_up(struct sort *s)
{
	s->failed = true;
	end_last_row(s);
	write_rows(s);
}

static void write(struct sink *sink, const char *text, size_t n)
{
	struct sort *s = container_of(sink, struct sort, sink);

	if (s->is_row && !keep(s, text, n))
		give_up(s);
	if (!s->is_row)
		sink_write(s->out, text, n);
}

static void begin_row(struct table_order *order, uint64_t number, const char *text)
{
	struct sort *s = container_of(order, struct sort, order);
	size_t need = (s->count + 1) * sizeof(*s->rows), length = text ? strlen(text) : 0;
	struct sort_row row = {number, s->length, s->length + length + 1, 0};

	if (s->failed)
		return;
	end_last_row(s);
	if ((need > s->rows_size && !grow(&s->rows, &s->rows_size, need)) ||
		!keep(s, text ? text : "", length + 1)) {
		give_up(s);
		return;
	}
	s->rows[s->count++] = row;
	s->is_row = true;
}

static void end_table(struct table_order *order)
{
	struct sort *s = container_of(order, struct sort, order);

	end_last_row(s);
	sort_rows(s);
	write_rows(s);
}

struct sink *sort_out(struct sink *sink)
{
	return sink->write == write ? sort_out(container_of(sink, struct sort, sink)->out) : sink;
}

struct sink *sort_begin(struct sort *s, const char *column, struct sink *out)
{
	*s = (struct sort){
		.sink = {write, &s->order}, .order = {column, begin_row, end_table}, .out = out};
	return &s->sink;
}

void sort_end(struct sort *s)
{
	if (s->failed)
		sink_puts(s->out, "no memory to sort\n");
	if (s->text)
		vfree(s->text, s->size);
	if (s->rows)
		vfree(s->rows, s->rows_size);
}
