/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: parts of spans and segments.
 *
 * A span goes back to its source when all of it is free, so one page of it that is used keeps the
 * others.  At the hardest level of reclaim an arena gives back free parts of its spans, too: the span
 * becomes two or three, the source's segment, which it is, as many, and the free one goes.  In the same
 * way a slab of a quantum cache becomes segments of its arena, one for each object that is used
 * (slab_dissolve() in slab.c).  Then nothing but tags, which lie apart, says that they were one.
 *
 * The span and the source's segment are split under two locks, one after the other.  Until both are,
 * the part is used in the arena, so that the span can't go; and one caller at a time does it.
 */
#include "arena_impl.h"

/* Tags looked at under one hold of the lock. */
#define PART_STEP 16
/* Tags that it takes to split a span twice, or the source's segment; and before, to carve a part out of a
 * free segment, too.  Those for the span are set aside meanwhile. */
#define SPLIT_TAGS 2
#define PART_TAGS (BTAG_CARVE_TAGS + SPLIT_TAGS)

/* A free part of a span that may go: in the source's quanta, and in the arena's. */
struct part {
	struct arena_span span; /* that it is of */
	uintptr_t start;
	size_t size;
	uintptr_t first; /* [first, first + inside) are whole quanta of the arena's */
	size_t inside;
};

static bool tags_ready(struct arena *a, size_t count)
{
	bool ready;

	do {
		port_irq_t irq = spin_lock(&a->lock);

		ready = arena_tags(a) >= count;
		spin_unlock(&a->lock, irq);
	} while (!ready && arena_tags_fetch(a));
	return ready;
}

/* What of free segment f, of `span`, the source could take: an end of the span that is free goes to its
 * very end.  Both quanta are powers of two. */
static bool part_find(const struct arena *a, const struct btag *span, const struct btag *f, struct part *p)
{
	size_t grain = a->source->store.quantum;
	uintptr_t end = f->start + f->size;

	if (grain < a->store.quantum)
		grain = a->store.quantum;
	p->first = f->prev == span ? f->start : (f->start + (grain - 1)) & -grain;
	p->start = f->prev == span ? span->start : p->first;
	if (f->next->kind != BTAG_SPAN)
		end &= -grain;
	p->inside = end - p->first;
	p->size = f->next->kind == BTAG_SPAN ? btag_last(span) - p->start + 1 : p->inside;
	p->span = (struct arena_span){span->start, span->size, span->by_xalloc};
	return p->first >= f->start && p->first - f->start < f->size && end - p->first - 1 < f->size;
}

/* The next part behind the cursor, which it makes a used segment; false at the end of the step.  One that the
 * source couldn't split may have come back under another tag, all of it behind the cursor: start is 0. */
static bool part_take(struct arena *a, struct btag_cursor *c, struct part *p, bool *more)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct btag *t = NULL;
	uintptr_t start;
	bool found = false;

	for (int i = 0; i < PART_STEP && !found && (t = btag_cursor_next(&a->store, c, &start)); i++)
		found = start != 0 && t->kind == BTAG_FREE && !btag_span_whole(t) &&
			part_find(a, btag_span_below(&a->store, t->start), t, p);
	*more = t != NULL;
	found = found && arena_tags(a) >= PART_TAGS;
	if (found) {
		arena_take(a, t, p->first, p->inside, BTAG_FIT_ANY, BTAG_USED);
		a->tag_reserve += SPLIT_TAGS;
	}
	spin_unlock(&a->lock, irq);
	return found;
}

/* Splits the segment of the source that the span is, around the part. */
static bool source_split(struct arena *source, const struct part *p)
{
	enum btag_kind kind = p->span.by_xalloc ? BTAG_XALLOCATED : BTAG_USED;
	uintptr_t end = p->start + p->size;
	port_irq_t irq = spin_lock(&source->lock);
	struct btag *t = btag_of_link(*btag_seek(&source->store, p->span.start));
	bool splits = t && t->kind == kind && t->size == p->span.size && arena_tags(source) >= SPLIT_TAGS;

	if (splits && end != p->span.start + p->span.size)
		arena_split(source, t, end);
	if (splits && p->start != p->span.start)
		arena_split(source, t, p->start);
	spin_unlock(&source->lock, irq);
	return splits;
}

/* As many spans of one may go: the part, and what lies below and above it if that came free meanwhile. */
#define PIECES 3

/* The same of the span, of which the part is none any more.  Returns how many pieces of it go. */
static size_t span_split(struct arena *a, const struct part *p, struct arena_span *gone)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct btag_store *s = &a->store;
	struct btag *t = btag_unuse(s, btag_seek(s, p->first)), *span = btag_span_below(s, p->start);
	struct btag *sides[] = {t->prev, t->next};
	size_t n = 0;

	a->tag_reserve -= SPLIT_TAGS;
	if (t->next->kind != BTAG_SPAN) {
		btag_span_split(s, span, t->next, p->start + p->size);
		a->imports++;
	}
	if (span->start != p->start) {
		btag_span_split(s, span, t, p->start);
		a->imports++;
	}
	arena_span_out(a, t->prev, &gone[n++]);
	for (size_t i = 0; i < PIECES - 1; i++)
		if (sides[i]->kind == BTAG_FREE && btag_span_whole(sides[i]))
			arena_span_out(a, sides[i]->prev, &gone[n++]);
	spin_unlock(&a->lock, irq);
	return n;
}

static void part_keep(struct arena *a, const struct part *p)
{
	port_irq_t irq = spin_lock(&a->lock);

	a->tag_reserve -= SPLIT_TAGS;
	spin_unlock(&a->lock, irq);
	arena_take_back(a, p->first, p->inside, __builtin_return_address(0), BTAG_USED);
}

static size_t part_give(struct arena *a, const struct part *p)
{
	struct arena_span gone[PIECES];
	size_t n, given = 0;

	if (!tags_ready(a->source, SPLIT_TAGS) || !source_split(a->source, p)) {
		part_keep(a, p);
		return 0;
	}
	n = span_split(a, p, gone);
	for (size_t i = 0; i < n; i++) {
		arena_span_return(a, &gone[i]);
		given += gone[i].size;
	}
	return given;
}

static bool begin(struct arena *a, struct btag_cursor *c)
{
	port_irq_t irq = spin_lock(&a->lock);
	bool begins = !a->is_parting;

	if (begins) {
		a->is_parting = true;
		btag_cursor_open(&a->store, c);
	}
	spin_unlock(&a->lock, irq);
	return begins;
}

static void end(struct arena *a, struct btag_cursor *c)
{
	port_irq_t irq = spin_lock(&a->lock);

	a->is_parting = false;
	btag_cursor_close(&a->store, c);
	spin_unlock(&a->lock, irq);
}

size_t arena_parts_reap(struct arena *a, size_t amount)
{
	struct btag_cursor c;
	struct part p = {0};
	size_t given = 0;
	bool more = true;

	if (!a->passes_down || !begin(a, &c))
		return 0;
	while (more && given < amount && tags_ready(a, PART_TAGS))
		if (part_take(a, &c, &p, &more))
			given += part_give(a, &p);
	end(a, &c);
	return given;
}

bool arena_segment_ready(struct arena *a, size_t pieces)
{
	return tags_ready(a, pieces - 1);
}

bool arena_segment_cut(struct arena *a, uintptr_t addr, const uintptr_t *at, size_t count)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct btag *t = btag_of_link(*btag_seek(&a->store, addr));
	bool cuts = arena_tags(a) >= count;

	for (size_t i = count; cuts && i > 0; i--)
		arena_split(a, t, at[i - 1]);
	spin_unlock(&a->lock, irq);
	return cuts;
}
